"""Functions of arrays in lanes as functions of single lanes' numbers.

An accelerator's thread has one lane, and its registers hold the numbers of that lane:
no arrays whose rows are taken, stacked and summed. So the arrays of a traced function
are taken apart into their rows here, and what it does with them is done number by
number, each of them a vector over lanes, or the same in all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

#: The number of lanes while a function is traced, by which an axis of lanes is known: a
#: prime, and larger than any other axis.
LANES = 1_000_003

#: Operations on numbers, of those that Pallas has for Triton.
NUMBERS = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp "
    "convert_element_type cos cosh div eq exp exp2 expm1 floor ge gt integer_pow "
    "is_finite le log log1p logistic lt max min mul ne neg not or pow rem rsqrt "
    "select_n sign sin sinh sqrt square sub tan tanh xor".split()
)
_CALLS = frozenset(
    "jit pjit closed_call core_call custom_jvp_call custom_vjp_call custom_vmap_call "
    "checkpoint remat2".split()
)


class NotByRows(Exception):
    """An operation that is none of rows."""


class ByRows:
    """A function whose arrays end in the axis of lanes, for the numbers of lanes.

    Args:
        function: of pytrees of arrays.
        arguments: pytrees of `jax.ShapeDtypeStruct`, whose axes of lanes are `LANES`.

    Attributes:
        consts: what it has taken from outside: arrays without lanes.

    Raises:
        NotByRows: the function does what cannot be done row by row.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        self._jaxpr = program.jaxpr
        self._out = jax.tree.structure(shape)
        self.consts = program.consts
        _check(self._jaxpr)

    def __call__(self, consts: Sequence[np.ndarray], *arguments: Any) -> Any:
        """The function of arrays of numbers.

        Args:
            consts: those of this object, as `rows` has them.
            arguments: pytrees of arrays of numbers, each a vector of the lanes, or one
                number for all.

        Returns:
            a pytree of arrays of numbers.
        """
        given = jax.tree.leaves(arguments)
        lanes = np.broadcast_shapes(*(np.shape(x) for leaf in given for x in leaf.flat))
        found = _evaluated(self._jaxpr, consts, given)
        # What is the same in all lanes was computed once.
        for i, variable in enumerate(self._jaxpr.outvars):
            if _has_lanes(variable):
                dtype = variable.aval.dtype
                full = [_spread(x, lanes, dtype) for x in found[i].flat]
                found[i] = array_of(found[i].shape, full)
        return jax.tree.unflatten(self._out, found)


def rows(array: Any) -> np.ndarray:
    """An array without lanes as an array of numbers."""
    array = np.asarray(array)
    return array_of(array.shape, [array[place] for place in np.ndindex(*array.shape)])


def number(x: Any) -> np.ndarray:
    """A number, or a vector of lanes, as `ByRows` takes it."""
    return array_of((), [x])


def array_of(shape: tuple[int, ...], parts: Sequence[Any]) -> np.ndarray:
    """An array of numbers. NumPy, asked for one, would look into vectors of lanes."""
    flat = np.empty(len(parts), object)
    for i, part in enumerate(parts):
        flat[i] = part
    return flat.reshape(shape)


def _has_lanes(variable: Any) -> bool:
    return tuple(variable.aval.shape)[-1:] == (LANES,)


def _shape(variable: Any) -> tuple[int, ...]:
    """The shape of the array of numbers that stands for it."""
    shape = tuple(variable.aval.shape)
    return shape[:-1] if _has_lanes(variable) else shape


def _inner(equation: Any) -> tuple[Any, Sequence[np.ndarray]]:
    """The function that is called, and what it has taken from outside."""
    names = "jaxpr", "call_jaxpr", "call"
    inner = next(equation.params[n] for n in names if n in equation.params)
    consts = [rows(c) for c in getattr(inner, "consts", ())]
    return getattr(inner, "jaxpr", inner), consts


def _check(jaxpr: Any) -> None:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in _CALLS or name == "reduce":
            _check(_inner(equation)[0])
        elif name not in NUMBERS and name not in _RULES:
            raise NotByRows(name)
        laned = [any(map(_has_lanes, x)) for x in (equation.invars, equation.outvars)]
        last = len(equation.outvars[0].aval.shape) - 1
        turned = name == "rev" and last in equation.params["dimensions"]
        if laned == [True, False] or turned:
            raise NotByRows(f"{name} mixes lanes")


def _evaluated(
    jaxpr: Any, consts: Sequence[np.ndarray], arguments: Sequence[np.ndarray]
) -> list[np.ndarray]:
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> np.ndarray:
        if isinstance(variable, Literal):
            return rows(np.asarray(variable.val, variable.aval.dtype))
        return known[variable]

    for equation in jaxpr.eqns:
        taken = [read(x) for x in equation.invars]
        name = equation.primitive.name
        if name in _CALLS:
            found = _evaluated(*_inner(equation), taken)
        elif name in NUMBERS:
            found = [_number_by_number(equation, taken)]
        else:
            found = [_RULES[name](equation, *taken)]
        known |= dict(zip(equation.outvars, found, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _number_by_number(equation: Any, taken: Sequence[np.ndarray]) -> np.ndarray:
    shape = _shape(equation.outvars[0])
    # One number for all lanes is an axis of one.
    taken = [x[..., 0] if x.ndim > len(shape) else x for x in taken]
    taken = [np.broadcast_to(x, shape) for x in taken]
    places = np.ndindex(*shape)
    return array_of(shape, [_apply(equation, *(x[p] for x in taken)) for p in places])


def _apply(equation: Any, *numbers: Any) -> Any:
    """One operation on numbers; of those that are known, at once."""
    dtypes = [x.aval.dtype for x in equation.invars]
    bind = functools.partial(equation.primitive.bind, **equation.params)
    if all(isinstance(x, np.ndarray | np.generic) for x in numbers):
        with jax.ensure_compile_time_eval():
            known = zip(numbers, dtypes, strict=True)
            return np.asarray(bind(*(jnp.asarray(x, d) for x, d in known)))
    shape = np.broadcast_shapes(*(np.shape(x) for x in numbers))
    return bind(*(_spread(x, shape, d) for x, d in zip(numbers, dtypes, strict=True)))


def _spread(x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return x if np.shape(x) == shape else jnp.full(shape, x, dtype)


# ------------------------------------------- operations on arrays, besides on numbers


def _folded(combine: Callable[[Any, Any], Any], array: Any, axes: Any) -> np.ndarray:
    kept = [a for a in range(array.ndim) if a not in axes]
    shape = tuple(array.shape[a] for a in kept)
    moved = array.transpose([*kept, *axes]).reshape(*shape, -1)
    places = np.ndindex(*shape)
    return array_of(shape, [functools.reduce(combine, moved[p]) for p in places])


def _reduced(equation: Any, array: np.ndarray, _: np.ndarray) -> np.ndarray:
    """By any operation, whose neutral element is left away."""
    inner, consts = _inner(equation)

    def combine(a: Any, b: Any) -> Any:
        return _evaluated(inner, consts, [number(a), number(b)])[0][()]

    return _folded(combine, array, equation.params["dimensions"])


def _reduced_by(combine: Callable[[Any, Any], Any]) -> Callable[..., np.ndarray]:
    return lambda equation, array: _folded(combine, array, equation.params["axes"])


def _broadcast(equation: Any, array: np.ndarray) -> np.ndarray:
    [result], given = equation.outvars, len(equation.invars[0].aval.shape)
    sizes = [1] * len(result.aval.shape)
    known = [*array.shape, *[1] * (given - array.ndim)]
    dimensions = equation.params["broadcast_dimensions"]
    for dimension, size in zip(dimensions, known, strict=True):
        sizes[dimension] = size
    out, array = _shape(result), array.reshape(sizes)
    return np.broadcast_to(array[..., 0] if len(out) < len(sizes) else array, out)


def _reshaped(equation: Any, array: np.ndarray) -> np.ndarray:
    return array.reshape(_shape(equation.outvars[0]))


def _sliced(equation: Any, array: np.ndarray) -> np.ndarray:
    given = equation.params
    strides = given["strides"] or (1,) * len(given["start_indices"])
    cuts = zip(given["start_indices"], given["limit_indices"], strides, strict=True)
    return array[(..., *[slice(*cut) for cut in cuts][: array.ndim])]


_RULES: dict[str, Callable[..., np.ndarray]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda e, *x: np.concatenate(x, e.params["dimension"]),
    "expand_dims": _reshaped,
    "reduce": _reduced,
    "reduce_max": _reduced_by(jax.lax.max),
    "reduce_min": _reduced_by(jax.lax.min),
    "reduce_sum": _reduced_by(jax.lax.add),
    "reshape": _reshaped,
    "rev": lambda e, x: np.flip(x, e.params["dimensions"]),
    "slice": _sliced,
    "squeeze": _reshaped,
    "stack": lambda e, *x: np.stack(x, e.params["axis"]),
    "transpose": lambda e, x: x.transpose(e.params["permutation"][: x.ndim]),
}
