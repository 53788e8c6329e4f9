"""A jaxpr evaluated in SymPy: arrays of few elements, each an expression.

Sums and maxima over elements become symbols of their own, and so does what has no
symbolic form; those remember the primitive and the line of code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import sympy as sp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from lagrangian.learning.rules.read.control import CONTROL
from lagrangian.learning.rules.read.exact_numbers import exact
from lagrangian.learning.rules.read.primitives import PRIMITIVES, RANDOM, chosen
from lagrangian.learning.rules.read.shapes import NoSymbolicForm
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: Iterations of one loop that are written out.
_LOOP = 64
#: Operations in one element, above which it is given up.
_LARGEST = 5_000


class Element(EngineSymbol):
    """A symbol of one element of an array: its family's name and where it is."""

    __slots__ = ("family", "index")

    def __new__(cls, family: str, index: tuple[int, ...], **assumptions: Any) -> Any:
        name = family + (str(list(index)) if index else "")
        self = super().__new__(cls, name, **assumptions)
        self.family, self.index = family, index
        return self

    def __getnewargs_ex__(self) -> Any:
        return (self.family, self.index), self._assumptions_orig


@dataclass(frozen=True)
class Reduction:
    """A sum, maximum or the like over elements, which has a symbol of its own."""

    kind: str
    terms: tuple[Any, ...]


@dataclass(frozen=True)
class Opaque:
    """What has no symbolic form: the primitive, and the line that calls it."""

    primitive: str
    place: str


@dataclass
class Evaluation:
    """What is known after a jaxpr was evaluated, and how elements are renamed.

    Attributes:
        reductions: of the symbols that stand for one.
        opaque: of the symbols that stand for what has no symbolic form.
        noise: the symbols of random numbers.
        results: where an expression was computed: in which equation, the how manieth
            time, as which of its results, at which index.
        names: the symbols by which what is computed in a place is called from there on.
        defined: what the symbols of `names` stand for.
        squares: what is not negative, as the operation says that made it.
        counts: expressions in the place of some literals: `counts_of`.
    """

    reductions: dict[Any, Reduction] = field(default_factory=dict)
    opaque: dict[Any, Opaque] = field(default_factory=dict)
    noise: set[Any] = field(default_factory=set)
    results: dict[Any, list[Any]] = field(default_factory=dict)
    names: dict[Any, Any] = field(default_factory=dict)
    defined: dict[Any, Any] = field(default_factory=dict)
    squares: set[Any] = field(default_factory=set)
    counts: Mapping[Any, Any] = field(default_factory=dict)
    _times: dict[int, int] = field(default_factory=dict)
    _known: dict[Any, Any] = field(default_factory=dict)
    _sizes: dict[Any, int] = field(default_factory=dict)

    def __call__(self, closed: ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
        """The arrays that the jaxpr returns, of object dtype."""
        constants = [constant_array(c) for c in closed.consts]
        return self._run(closed.jaxpr, constants, arguments)

    def _run(self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Any) -> list[Any]:
        values: dict[Any, Any] = {}
        values.update(zip(jaxpr.constvars, constants, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(variable: Any) -> Any:
            if isinstance(variable, Literal):
                return constant_array(variable.val)
            return values[variable]

        for equation in jaxpr.eqns:
            inputs = [read(v) for v in equation.invars]
            for i in range(len(inputs) * bool(self.counts)):
                if (count := self.counts.get((id(equation), i))) is not None:
                    inputs[i] = _filled((), lambda count=count: count)
            outputs = self._equation(equation, inputs)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, parameters = equation.primitive.name, equation.params
        if name in RANDOM or _draws(equation):
            return self._random(equation)
        inner = inner_jaxpr(parameters)
        try:
            if name in CONTROL:
                found = CONTROL[name](self, inputs, parameters)
                if len(found) != len(equation.outvars):
                    raise NoSymbolicForm(f"{name}, of a form that is not known,")
                return found
            if inner is not None:
                return self._run(
                    inner.jaxpr, list(map(constant_array, inner.consts)), inputs
                )
            if name == "div" and not _is_float(equation.outvars[0]):
                name = "div of integers"
            if name not in PRIMITIVES:
                raise NoSymbolicForm(name)
            result = PRIMITIVES[name](self, *inputs, **parameters)
        except NoSymbolicForm as error:
            return self._unknown(equation, str(error) or name)
        outputs = result if isinstance(result, list) else [result]
        outputs = [
            as_array(out, v.aval.shape)
            for out, v in zip(outputs, equation.outvars, strict=True)
        ]
        if _makes_squares(equation):
            self.squares.update(e for out in outputs for e in out.flat)
        if any(self._size(e) > _LARGEST for out in outputs for e in out.flat):
            return self._unknown(equation, f"{name}, of too many terms")
        known = id(equation)
        time = self._times[known] = self._times.get(known, 0) + 1
        return [self._renamed(out, (known, time, k)) for k, out in enumerate(outputs)]

    def _size(self, expression: Any) -> int:
        """The nodes of the tree that it would print as."""
        if not expression.args:
            return 1
        if expression not in self._sizes:
            size = 1 + sum(map(self._size, expression.args))
            self._sizes[expression] = min(size, 10 * _LARGEST)
        return self._sizes[expression]

    def _renamed(self, array: Any, computation: tuple[int, int, int]) -> Any:
        """Note where each element was computed, and rename those that have a name."""
        out = np.empty_like(array)
        for index in np.ndindex(array.shape):
            element: Any = array[index]
            out[index] = element
            if not element.args:
                continue
            if hidden := element.free_symbols & self.opaque.keys():
                # Nothing is gained by what is made of it.
                first = min(hidden, key=lambda s: int(s.name.removeprefix("X_")))
                out[index] = self._hidden(self.opaque[first])
                continue
            place = computation, index
            self.results.setdefault(element, []).append(place)
            if (name := self.names.get(place)) is not None:
                self.defined.setdefault(name, element)
                out[index] = name
        return out

    def reduced(self, kind: str, terms: Sequence[Any]) -> Any:
        """The symbol of a reduction of elements; a number where all are numbers."""
        terms = tuple(terms)
        if len(terms) == 1:
            return terms[0]
        if all(not t.free_symbols for t in terms):
            return _REDUCED[kind](terms)
        if (condition := _shared_condition(terms)) is not None:
            yes, no = (
                self.reduced(kind, [t.args[k].expr for t in terms]) for k in (0, 1)
            )
            return chosen(condition, yes, no)
        key = kind, tuple(sorted(terms, key=sp.default_sort_key))
        if key not in self._known:
            number = sum(r.kind == kind for r in self.reductions.values()) + 1
            # Of squares: zero only where all of them are, as nowhere on the way.
            positive = kind == "sum" and all(
                t in self.squares or _is_square(t) for t in terms
            )
            sign = {"positive": True} if positive else {"real": True}
            symbol = EngineSymbol(f"{kind}_{number}", **sign)
            self.reductions[symbol], self._known[key] = Reduction(kind, terms), symbol
        return self._known[key]

    def _unknown(self, equation: Any, primitive: str) -> list[Any]:
        place = _place(equation)
        return [
            _filled(v.aval.shape, lambda: self._hidden(Opaque(primitive, place)))
            for v in equation.outvars
        ]

    def _hidden(self, what: Opaque) -> Any:
        symbol = EngineSymbol(f"X_{len(self.opaque) + 1}", real=True)
        self.opaque[symbol] = what
        return symbol

    def _random(self, equation: Any) -> list[Any]:
        def symbol() -> Any:
            made = EngineSymbol(f"xi_{len(self.noise) + 1}", real=True)
            self.noise.add(made)
            return made

        return [_filled(getattr(v.aval, "shape", ()), symbol) for v in equation.outvars]

    # What `CONTROL` calls back.
    def closed(self, closed: Any, inputs: Sequence[Any]) -> list[Any]:
        return self(closed, inputs)

    @property
    def longest_loop(self) -> int:
        return _LOOP


_REDUCED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda t: sp.Add(*t),
    "max": lambda t: sp.Max(*t),
    "min": lambda t: sp.Min(*t),
    "prod": lambda t: sp.Mul(*t),
    "and": lambda t: sp.And(*t),
    "or": lambda t: sp.Or(*t),
}


def _shared_condition(terms: Sequence[Any]) -> Any:
    """The condition of cases that is the same for all elements; None if none is."""
    if not all(isinstance(t, sp.Piecewise) and len(t.args) == 2 for t in terms):
        return None
    conditions = {t.args[0].cond for t in terms}
    if len(conditions) > 1:
        return None
    (condition,) = conditions
    if any(isinstance(s, Element) for s in condition.free_symbols):
        return None
    return condition


def _makes_squares(equation: Any) -> bool:
    name = equation.primitive.name
    if name == "mul":
        return equation.invars[0] is equation.invars[1]
    if name == "integer_pow":
        return equation.params["y"] % 2 == 0
    return name in ("square", "abs", "sqrt", "exp")


def _is_square(term: Any) -> bool:
    """Whether a real expression is seen not to be negative."""
    if term.is_Mul:
        return all(map(_is_square, term.args))
    return bool(
        (term.is_Pow and term.exp.is_even)
        or isinstance(term, sp.Abs)
        or term.is_nonnegative
    )


def _is_float(variable: Any) -> bool:
    dtype = getattr(variable.aval, "dtype", np.dtype(np.int32))
    return jax.dtypes.issubdtype(dtype, np.floating)


def constant_array(value: Any) -> Any:
    """Numbers as exact ones, in an array of object dtype."""
    if jax.dtypes.issubdtype(getattr(value, "dtype", None), jax.dtypes.prng_key):
        return _filled(value.shape, lambda: EngineSymbol("key"))
    array = np.asarray(value)
    out = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        out[index] = exact(array[index])
    return out


def as_array(value: Any, shape: tuple[int, ...]) -> Any:
    """An object array of a shape; one element is spread over it."""
    if isinstance(value, np.ndarray) and value.shape == tuple(shape):
        return value
    if isinstance(value, np.ndarray):
        return np.broadcast_to(value, shape)
    out = np.empty(shape, object)
    out[...] = value
    return out


def _filled(shape: tuple[int, ...], make: Callable[[], Any]) -> Any:
    out = np.empty(shape, object)
    for index in np.ndindex(*shape):
        out[index] = make()
    return out


def inner_jaxpr(parameters: Any) -> ClosedJaxpr | None:
    """The one jaxpr that an equation only wraps (jit, custom_jvp, remat)."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        found = parameters.get(name)
        if isinstance(found, ClosedJaxpr):
            return found
        if isinstance(found, Jaxpr):
            return ClosedJaxpr(found, ())
    return None


def _draws(equation: Any) -> bool:
    """Whether a wrapped function does nothing but draw random numbers."""
    inner = inner_jaxpr(equation.params)
    if inner is None or equation.primitive.name in CONTROL:
        return False
    return _has_random(inner.jaxpr) and all(
        not _is_float(v) or not v.aval.shape for v in equation.invars
    )


def _has_random(jaxpr: Jaxpr) -> bool:
    return any(
        e.primitive.name in RANDOM
        or ((inner := inner_jaxpr(e.params)) is not None and _has_random(inner.jaxpr))
        for e in jaxpr.eqns
    )


def _place(equation: Any) -> str:
    """Where in the user's, or optax's, code an equation was written."""
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in traceback.frames if traceback is not None else ():
        file = frame.file_name
        if not any(part in file for part in ("/jax/", "/jaxlib/", "/lagrangian/")):
            short = file.rpartition("site-packages/")[2]
            return f"{short}:{frame.line_num}"
    return "its code"
