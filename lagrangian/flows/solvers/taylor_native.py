"""The loop over the steps of a Taylor series as machine code, for one trajectory.

What a step is stands in `taylor_step`, from whose program this is made: only the series
itself, and the loop around the steps, are written here once more. It gives the answers
of `taylor` to rounding, where the graph of recurrences is small.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive

from lagrangian.flows.solvers.taylor_step import (
    Limits,
    Point,
    State,
    advance,
    increment,
)
from lagrangian.flows.structure import kept
from lagrangian.lowering.functions import number
from lagrangian.lowering.in_numpy import InNumpy, NotInNumpy
from lagrangian.lowering.native.code import (
    BOOLEAN,
    DOUBLE,
    INTEGER,
    Code,
    NotNative,
    values,
)
from lagrangian.lowering.native.compiled import Compiled
from lagrangian.lowering.native.program import emit, kind_of
from lagrangian.lowering.native.recursion import Recursion, check_native, coefficients
from lagrangian.lowering.taylor import Expansion, TaylorSeries

#: The places of the whole numbers that drive a path.
_COUNT, _UNTIL, _WRITTEN, _KNOWN, _STEPS, _HEALTHY = range(6)


def native_steps(flow: Any, order: int, rates: tuple[Any, ...]) -> NativeSteps | None:
    """What goes on with the paths of a flow; None where that is left to JAX."""
    if not hasattr(flow, "recurrences") or flow.settle is not None:
        return None
    return _kept_steps(flow.recurrences(rates), order)


@kept
def _kept_steps(series: TaylorSeries, order: int) -> NativeSteps | None:
    try:
        return NativeSteps(series, order)
    except NotNative:
        return None


class NativeSteps:
    """The steps of all flows that share their recurrences.

    Raises:
        NotNative: something of which there is no machine code.
    """

    def __init__(self, series: TaylorSeries, order: int):
        check_native(series, order)
        weights = coefficients(series)
        self._moving = [w for w in weights if not w.is_number]
        symbols = set().union(*(w.free_symbols for w in self._moving))
        self._parameters = sorted(symbols, key=str)
        try:
            self._weights = InNumpy(self._moving, self._parameters)
        except NotInNumpy as error:
            raise NotNative(str(error)) from error
        self._compiled = Compiled(_written(series, order, weights))

    def __call__(
        self, flow: Any, path: Any, times: np.ndarray, limits: Limits, until: int
    ) -> Any:
        """The path with the steps up to number `until`, or fewer at its end.

        As `taylor._segment`, for a path of NumPy's arrays.
        """
        numbers = np.empty(6, np.int64)
        numbers[[_COUNT, _UNTIL]] = len(times), until
        driven = path.written, path.known, path.steps, path.healthy
        numbers[[_WRITTEN, _KNOWN, _STEPS, _HEALTHY]] = driven
        state = _packed(path.state)
        limited = _packed(jax.tree.map(np.float64, limits))  # `max_step=1`, it may be
        rows = np.array(path.y)
        given = {s: np.float64(flow.parameters[s]) for s in self._parameters}
        with np.errstate(all="ignore"):
            weights = np.array([*self._weights(given), 0.0], np.float64)
        times = np.ascontiguousarray(times, np.float64)
        self._compiled(rows, times, numbers, state, limited, weights)
        return path._replace(
            state=_unpacked(state, path.state),
            y=rows,
            written=numbers[_WRITTEN],
            known=numbers[_KNOWN],
            steps=numbers[_STEPS],
            healthy=bool(numbers[_HEALTHY]),
        )


def _packed(tree: Any) -> np.ndarray:
    """All numbers of a pytree in places of eight bytes."""
    leaves = map(np.asarray, jax.tree.leaves(tree))
    wide = (x if x.dtype == np.float64 else x.astype(np.int64) for x in leaves)
    return np.concatenate([x.ravel().view(np.float64) for x in wide])


def _unpacked(packed: np.ndarray, like: Any) -> Any:
    leaves, structure = jax.tree.flatten(like)
    found, place = [], 0
    for leaf in map(np.asarray, leaves):
        held = packed[place : place + leaf.size].reshape(leaf.shape)
        is_real = leaf.dtype == np.float64
        found.append(held if is_real else held.view(np.int64).astype(leaf.dtype))
        place += leaf.size
    return jax.tree.unflatten(structure, found)


# ------------------------------------------------------------ what is compiled


#: The series of a step, in its program for JAX.
_expansion = Primitive("expansion")
_expansion.multiple_results = True


@_expansion.def_abstract_eval
def _(y: Any, t: Any, unit: Any, *, order: int, n: int) -> list[Any]:
    shapes = (order + 1, *y.shape), t.shape, (n, 1), (n, 1)
    return [ShapedArray(shape, y.dtype) for shape in shapes]


class _Unexpanded(TaylorSeries):
    """A series for `advance` to be traced with."""

    def __init__(self, count: int):
        self.count, self.settle = count, None

    def expand(self, y: Any, t: Any, unit: Any, order: int) -> Expansion:
        return Expansion(*_expansion.bind(y, t, unit, order=order, n=self.count))


class _Programs:
    """What JAX makes of a step and of a row of the output.

    Attributes:
        begun, limits: the shapes of what a step starts from.
        step: from (begun, the last time, limits) to the leaves of a `Step`.
        taken: the structure of that.
        row: from (terms, start, unit, time) to the state at that time.
    """

    def __init__(self, n: int, width: int, order: int):
        real = lambda *shape: jax.ShapeDtypeStruct(shape, np.float64)
        point = Point(real(1), real(width, 1), real(1), real(width, 1))
        whole, truth = (jax.ShapeDtypeStruct((1,), x) for x in (np.int64, np.bool_))
        self.begun = State(point, point, real(1), real(n, 1), real(1), whole, truth)
        self.limits = Limits(real(), real(n, 1), real(), real())
        series = _Unexpanded(n)

        def step(state: State, end: Any, limits: Limits) -> Any:
            return advance(series, state, end, limits, order)

        def row(terms: Any, start: Point, unit: Any, time: Any) -> Any:
            since = (time - start.t) - start.t_rest
            change, _ = increment(terms, since / unit, order, n)
            return terms[0] + change

        with jax.enable_x64(True):
            traced = jax.make_jaxpr(step, return_shape=True)
            self.step, shape = traced(self.begun, real(1), self.limits)
            terms = real(order + 1, width, 1)
            self.row = jax.make_jaxpr(row)(terms, point, real(1), real())
        self.taken = jax.tree.structure(shape)


def _written(series: TaylorSeries, order: int, weights: Iterable[Any]) -> Code:
    """The loop of `taylor._segment`."""
    width = 2 * series.count + series.integrals
    programs = _Programs(series.count, width, order)
    pointers = ["rows", "times", "numbers", "state", "limits", "weights"]
    code = Code("steps", pointers)
    rows, times, numbers, state, limits, held = code.pointers
    count, until = (code.read(numbers, INTEGER, i) for i in (_COUNT, _UNTIL))
    end = code.read(times, place=code.binary("sub", count, 1, INTEGER))
    bounds = _read(code, limits, programs.limits)
    weighed = {w: float(number(w, np.float64)) for w in weights if w.is_number}
    moving = (w for w in weights if not w.is_number)
    weighed |= {w: code.read(held, place=i) for i, w in enumerate(moving)}

    def expand(code: Code, y: Any, t: Any, unit: Any, **_: Any) -> Expansion:
        return Recursion(code, series, weighed.__getitem__, order).expand(y, t, unit)

    code.label("next")
    written, known, steps, healthy = (
        code.read(numbers, INTEGER, i) for i in (_WRITTEN, _KNOWN, _STEPS, _HEALTHY)
    )
    unfinished = _less(code, known, count)
    for other in (_less(code, steps, until), _less(code, 0, healthy)):
        unfinished = code.binary("and", unfinished, other, BOOLEAN)
    code.go(unfinished, "step", "end")

    code.label("step")
    begun = _read(code, state, programs.begun)
    given = [*begun, np.array([end], object), *bounds]
    found = emit(code, programs.step, given, {"expansion": expand})
    step = jax.tree.unflatten(programs.taken, found)
    _write(code, step.state, programs.begun, state)
    good = step.confirmed[0]
    first = code.select(good, written, known, INTEGER)
    more = code.binary("add", steps, 1, INTEGER)
    for value, place in ((first, _WRITTEN), (first, _KNOWN), (more, _STEPS)):
        code.write(value, numbers, INTEGER, place)
    code.write(step.healthy[0], numbers, BOOLEAN, _HEALTHY)
    code.go(good, "outputs", "next")

    code.label("outputs")
    written = code.read(numbers, INTEGER, _WRITTEN)
    code.go(_less(code, written, count), "time", "next")
    code.label("time")
    time = code.read(times, place=written)
    passed = code.binary("fcmp ole", time, step.state.now.t[0], DOUBLE, BOOLEAN)
    code.go(passed, "output", "next")
    code.label("output")
    given = [step.terms, *jax.tree.leaves(step.start), step.unit, values(time)]
    (row,) = emit(code, programs.row, given)
    here = code.at(rows, code.binary("mul", written, width, INTEGER))
    for i, value in enumerate(row[:, 0]):
        code.write(value, here, place=i)
    code.write(code.binary("add", written, 1, INTEGER), numbers, INTEGER, _WRITTEN)
    code.go(True, "outputs", "outputs")
    code.label("end")
    return code


def _less(code: Code, one: Any, other: Any) -> Any:
    return code.binary("icmp slt", one, other, INTEGER, BOOLEAN)


def _read(code: Code, pointer: str, like: Any) -> list[Any]:
    """The leaves of a pytree, as `_packed` lays them out."""
    found, place = [], 0
    for leaf in jax.tree.leaves(like):
        held = np.empty(leaf.shape, object)
        for i in np.ndindex(leaf.shape):
            held[i] = code.read(pointer, kind_of(leaf), place)
            place += 1
        found.append(held)
    return found


def _write(code: Code, tree: Any, like: Any, pointer: str) -> None:
    place = 0
    kinds = map(kind_of, jax.tree.leaves(like))
    for leaf, kind in zip(jax.tree.leaves(tree), kinds, strict=True):
        for value in leaf.flat:
            code.write(value, pointer, kind, place)
            place += 1
