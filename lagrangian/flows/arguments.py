"""The arguments of flows: what was given as numbers, or which of it is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.core import Tracer
from jax.typing import ArrayLike

from lagrangian.errors import CannotLower, LagrangianError, nearest
from lagrangian.symbolic.algebra.blocks import LinearMap
from lagrangian.symbolic.algebra.coordinates import Coordinate, time

#: Positions or velocities: numbers (or arrays) by coordinate, or in their order.
State: TypeAlias = Mapping[Any, Any] | ArrayLike | Sequence[Any]
#: What holds the numbers of a state.
Array: TypeAlias = jax.Array | np.ndarray
#: Output times, or the start and end of an interval of them.
Times: TypeAlias = Sequence[float] | np.ndarray | jax.Array


def is_traced(*things: Any) -> bool:
    """Whether JAX traces something of them."""
    for thing in things:
        if isinstance(thing, Mapping):  # whose keys JAX cannot sort
            found = is_traced(*thing.values())
        else:
            found = any(isinstance(x, Tracer) for x in jax.tree.leaves(thing))
        if found:
            return True
    return False


def known(tree: Any) -> Any:
    """A pytree of arrays as NumPy's, unless JAX traces them."""
    return tree if is_traced(tree) else jax.tree.map(np.asarray, tree)


# ------------------------------------------------------------------ parameters


def check_parameters(parameters: Any, *, arrays: bool) -> dict[Any, Any]:
    """The user's parameters, exact numbers among them as floats.

    Args:
        parameters: a mapping from symbols to finite real numbers, traced ones included,
            and from linear maps to functions.
        arrays: whether a value may be an array.

    Raises:
        CannotLower: names the parameter, what was got and what to write.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise CannotLower(
            f"`parameters` is {_shown(parameters)}; pass a mapping from symbols to "
            "numbers, such as `{g: 9.81}`."
        )
    return {key: _parameter(key, value, arrays) for key, value in parameters.items()}


def _parameter(key: Any, value: Any, arrays: bool) -> Any:
    if key == time or isinstance(key, Coordinate):
        what = "time" if key == time else "a coordinate"
        raise CannotLower(
            f"`parameters` has a value for `{key}`, which is {what} and moves. Leave "
            "it out, or use a `sympy.Symbol` of another name for the constant."
        )
    if not isinstance(key, sp.Basic):
        raise CannotLower(
            f"`parameters` has the key {key!r}, which is no symbol. Pass the symbol "
            "itself, as in `{g: 9.81}` with `g` of `sympy.symbols`."
        )
    if isinstance(key, LinearMap):
        if callable(value):
            return value
        raise CannotLower(
            f"`parameters` has {_shown(value)} for the linear map `{key}`. Pass a "
            f"function, such as `{{{key}: lambda x: A @ x}}`."
        )
    if isinstance(value, Tracer):
        number: Any = None if jnp.iscomplexobj(value) else value
    else:
        number = real_array(value)
    if number is None or (np.ndim(number) and not arrays) or not _is_finite(number):
        raise CannotLower(
            f"`parameters` has {_shown(value)} for `{key}`. Pass "
            f"{'finite real numbers' if arrays else 'a finite real number'}, such as "
            f"`{{{key}: 1.0}}`."
        )
    if hasattr(value, "dtype"):
        return value
    # Python's integers have no bounds, and those of JAX do.
    return number if number.ndim else float(number)


# ------------------------------------------------------------------ states


def traced_state(coordinates: Sequence[Any], state: Any, what: str) -> Any:
    """As `initial_state`, of numbers of which JAX traces some."""
    if isinstance(state, Mapping):
        check_keys(coordinates, state, what)
        state = [state[c] for c in coordinates]
    array = jnp.stack([jnp.asarray(x, float) for x in state])
    if array.shape != (len(coordinates),):
        raise LagrangianError(
            f"`{what}` has shape {array.shape}; expected a mapping from coordinates to "
            f"numbers, or one number for each of {_names(coordinates)}. For many "
            "states at once, write `jax.vmap`, or use `ensemble`."
        )
    return array


def traced_times(t: Any, points: Any) -> Any:
    """As `output_times`, of times of which JAX traces some."""
    times = jnp.asarray(t, float)
    if times.shape == (2,):
        count = whole_number(points, "points", 2)
        times = jnp.linspace(times[0], times[1], count)
    return times


def initial_state(coordinates: Sequence[Any], state: Any, what: str) -> np.ndarray:
    """Positions or velocities as one float64 number for each coordinate.

    Args:
        coordinates: those of the state, in their order.
        state: a mapping from all of them to numbers, or as many numbers.
        what: what to call it in errors.

    Raises:
        LagrangianError: names what is missing, unknown or no finite real number.
    """
    if isinstance(state, Mapping):
        check_keys(coordinates, state, what)
        numbers = {c: real_array(state[c]) for c in coordinates}
        for c, x in numbers.items():
            if x is None or x.ndim or not np.isfinite(x):
                raise _no_number(state[c], what, c)
        return np.array([numbers[c] for c in coordinates], np.float64)
    array = real_array(state)
    if array is None or array.shape != (len(coordinates),):
        plain = array is None or array.ndim == 0
        got = f"is {_shown(state)}" if plain else f"has shape {array.shape}"
        raise LagrangianError(
            f"`{what}` {got}; expected a mapping from coordinates to numbers, or "
            f"one number for each of {_names(coordinates)}."
        )
    for c, x in zip(coordinates, array, strict=True):
        if not np.isfinite(x):
            raise _no_number(float(x), what, c)
    return array


def members_states(coordinates: Sequence[Any], states: Any, what: str) -> Any:
    """The states of an ensemble's members as real numbers, in the layout of `states`.

    Raises:
        LagrangianError: names what is missing, unknown, no real number, or not finite
            in any member.
    """
    if not isinstance(states, Mapping):
        array = real_array(states)
        if array is None:
            raise LagrangianError(
                f"`{what}` is {_shown(states)}; expected an array of shape (members, "
                f"{len(coordinates)}), or a mapping from coordinates to arrays."
            )
        if array.ndim == 2 and array.shape[1] == len(coordinates):
            for c, column in zip(coordinates, array.T, strict=True):
                _check_members(column, what, c)
        return array
    check_keys(coordinates, states, what)
    columns: dict[Any, np.ndarray] = {}
    for c in coordinates:
        column = real_array(states[c])
        if column is None or column.ndim > 1:
            raise _no_number(states[c], what, c)
        columns[c] = np.atleast_1d(column)
        _check_members(columns[c], what, c)
    sizes = {c: len(column) for c, column in columns.items() if len(column) != 1}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size} for `{c}`" for c, size in sizes.items())
        raise LagrangianError(
            f"`{what}` has {listed}: pass as many numbers for each coordinate, or one "
            "that serves all members."
        )
    return columns


def _check_members(column: np.ndarray, what: str, coordinate: Any) -> None:
    # Single members that are not finite are marked as failed, as later ones are.
    if column.size and not np.isfinite(column).any():
        raise _no_number(float(column[0]), what, coordinate)


def check_keys(coordinates: Sequence[Any], state: Mapping[Any, Any], what: str) -> None:
    """Raise unless the keys of a state are the coordinates."""
    if foreign := [key for key in state if key not in coordinates]:
        raise unknown_coordinate(coordinates, foreign[0], f"`{what}`")
    if missing := [c for c in coordinates if c not in state]:
        raise LagrangianError(
            f"`{what}` has no value for {_names(missing)}. "
            f"Pass `{{{missing[0]}: 0.0, ...}}`."
        )


def unknown_coordinate(
    coordinates: Sequence[Any], key: Any, place: str
) -> LagrangianError:
    """The error of a key that is none of the coordinates."""
    names = [c.name for c in coordinates]
    if isinstance(key, str):
        return LagrangianError(
            f"{place} has the text {key!r} as a key. Write the symbol, without quotes. "
            + nearest(key, names)
        )
    if isinstance(key, Coordinate) and key.base in coordinates:
        return LagrangianError(
            f"{place} has the key `{key}`. Its keys are coordinates: write "
            f"`{key.base}`."
        )
    reason = "no coordinate of this system"
    if str(key) in names:
        reason = "another symbol than the coordinate of this name"
    return LagrangianError(
        f"{place} has the key `{key}`, which is {reason}. " + nearest(str(key), names)
    )


def _no_number(value: Any, what: str, coordinate: Any) -> LagrangianError:
    return LagrangianError(
        f"`{what}` has {_shown(value)} for `{coordinate}`. Write a finite real number, "
        f"as in `{{{coordinate}: 0.0}}`."
    )


# ------------------------------------------------------------------ times and demands


def output_times(t: Any, points: Any) -> np.ndarray:
    """The output times that `t` asks for, checked."""
    times = real_array(t)
    listed = times is not None and times.ndim == 1 and len(times) > 1
    if not listed or not (np.isfinite(times).all() and np.all(np.diff(times) > 0)):
        raise LagrangianError(
            f"`t` must be increasing times, or a pair (start, end); got {_shown(t)}."
        )
    if len(times) > 2:
        return times
    count = whole_number(
        points, "points", 2, "an interval has at least its start and its end"
    )
    try:
        return np.linspace(times[0], times[1], count)
    except (MemoryError, ValueError):
        raise LagrangianError(
            f"`points` is {points!r}, and so many times do not fit into memory. Keep "
            "fewer of them."
        ) from None


def whole_number(value: Any, what: str, least: int, why: str = "") -> int:
    """A whole number from `least` on; raises with its name if it is none."""
    found = real_number(value)
    if not (found >= least and found < np.inf and found == np.floor(found)):
        raise LagrangianError(
            f"`{what}` is {value!r}; {why or f'write a whole number from {least} on'}."
        )
    return int(value)


def check_floor(atol: Any, count: int) -> np.ndarray:
    """`atol` as one number for each coordinate, zeros for None; checked."""
    if atol is None:
        return np.zeros(count)
    floor = real_array(atol)
    if floor is None or floor.shape not in ((), (1,), (count,)):
        floor = np.full(count, np.nan)
    if not (np.all(floor >= 0) and np.isfinite(floor).all()):
        raise LagrangianError(
            f"`atol` is {atol!r}; write a number from zero on, or one for each of the "
            f"{count} coordinates in their order."
        )
    return np.broadcast_to(floor, (count,))


def check_longest(max_step: Any) -> float:
    """`max_step`, infinite for None; raises unless it is a positive time."""
    if max_step is None:
        return np.inf
    if not (longest := real_number(max_step)) > 0:
        raise LagrangianError(
            f"`max_step` is {max_step!r}; write a positive time, or leave it out."
        )
    return longest


def check_tolerance(tol: Any) -> None:
    """Raise unless `tol` is a positive number."""
    if not 0 < real_number(tol) < np.inf:
        raise LagrangianError(
            f"`tol` is {tol!r}; write a positive number, such as 1e-9."
        )


# ------------------------------------------------------------------ numbers


def real_number(value: Any) -> float:
    """The value as a float; nan if it is no real number."""
    array = None if isinstance(value, bool) else real_array(value)
    return np.nan if array is None or array.ndim else float(array)


def real_array(value: Any) -> np.ndarray | None:
    """The value as a float64 array; None if it is no array of real numbers.

    Exact numbers, SymPy's and those of Python, are rounded.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            if any(isinstance(x, str | bytes) for x in array.flat):
                return None
            numbers = np.array([float(x) for x in array.flat], np.float64)
            return numbers.reshape(array.shape)
    except (TypeError, ValueError, OverflowError):
        return None
    kinds = np.issubdtype(array.dtype, np.number) or array.dtype.kind == "b"
    if not kinds and not jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16
        return None
    return None if np.iscomplexobj(array) else array.astype(np.float64)


def _is_finite(number: Any) -> bool:
    return isinstance(number, Tracer) or bool(np.isfinite(number).all())


def _shown(value: Any) -> str:
    """A short text of what was got."""
    if isinstance(value, Tracer):
        return f"a traced {value.dtype} of shape {value.shape}"
    if np.ndim(value) and hasattr(value, "shape"):
        return f"an array of shape {value.shape}, {value.dtype},"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _names(symbols: Sequence[Any]) -> str:
    return ", ".join(f"`{s}`" for s in symbols)
