"""A traced function evaluated in float64, whatever types it was written in.

What a loss leaves alone does not depend on how its numbers are rounded. So the program
that JAX traced in the model's own types (float32 caches, bfloat16 layers, int32
indices) is run again with each real number in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal

#: Where a primitive keeps the program that it calls once, with the same arguments.
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
}
#: What looks at the bits of a number: evaluated in the type that it was written for.
_BITS = {"bitcast_convert_type", "nextafter", "rng_uniform", "random_gamma"}
#: Parameters that name the type of the result.
_TYPES = ("new_dtype", "dtype", "preferred_element_type")
Watch = Callable[[Any, list[Any]], None]
_SCATTER: dict[str, Callable[..., Any]] = {
    "scatter": lax.scatter,
    "scatter_add": lax.scatter_add,
    "scatter-add": lax.scatter_add,
    "scatter_mul": lax.scatter_mul,
    "scatter_min": lax.scatter_min,
    "scatter_max": lax.scatter_max,
}


def doubled(dtype: Any) -> Any:
    """The type with the longest real numbers of the same kind."""
    if jnp.issubdtype(dtype, jnp.floating):
        return jnp.float64
    return jnp.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else dtype


def as_double(value: Any) -> Any:
    """An array, in float64 if it holds real numbers of another type."""
    return value if _is_key(value) else jnp.asarray(value, doubled(value.dtype))


def _is_key(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


@dataclass(frozen=True)
class _Notes:
    """What is kept of a run beside its results."""

    rounded: set[str]
    watch: Watch | None = None

    @property
    def inside(self) -> _Notes:
        """In a loop, whose values do not leave it."""
        return _Notes(self.rounded)


def evaluated(
    program: ClosedJaxpr,
    rounded: set[str] | None = None,
    watch: Watch | None = None,
) -> Callable[..., list[Any]]:
    """The program as a function of flat arguments in float64, to be called in 64 bits.

    `stop_gradient` and custom derivatives are left out: what is differentiated here is
    the value itself.

    Args:
        program: what `jax.make_jaxpr` returned.
        rounded: the names of primitives that could not be evaluated in float64 are
            added to it while the function is traced.
        watch: is given each equation outside of loops, and what goes in.
    """
    note = _Notes(set() if rounded is None else rounded, watch)

    def run(*values: Any) -> list[Any]:
        typed = [
            value if _is_key(value) else jnp.asarray(value, doubled(v.aval.dtype))
            for value, v in zip(values, program.jaxpr.invars, strict=True)
        ]
        return _run(program.jaxpr, program.consts, typed, note)

    return run


def opened(program: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and its constants."""
    if hasattr(program, "consts"):
        return program.jaxpr, program.consts
    return program, ()


def called(equation: Any) -> Any | None:
    """The program that an equation calls once, with its own arguments."""
    if equation.primitive.name not in _CALLS:
        return None
    found = [equation.params[name] for name in _CALLED if name in equation.params]
    return found[0] if found else None


def scan_counts(jaxpr: Any, ranks: Sequence[int], results: Sequence[int]) -> Any:
    """How many constants a scan has, and how many values it carries.

    What it scans has one axis more outside of its program `jaxpr` than inside.

    Args:
        jaxpr: the program of one step.
        ranks, results: how many axes the arguments and the results have outside.
    """
    inside = [len(v.aval.shape) for v in jaxpr.invars]
    rows = sum(one > two for one, two in zip(ranks, inside, strict=True))
    outside = [len(v.aval.shape) for v in jaxpr.outvars]
    carried = sum(one == two for one, two in zip(results, outside, strict=True))
    return len(inside) - rows - carried, carried


def _run(
    jaxpr: Any, constants: Sequence[Any], values: Sequence[Any], note: _Notes
) -> list[Any]:
    known: dict[Any, Any] = {}

    def read(variable: Any) -> Any:
        if isinstance(variable, Literal):
            dtype = doubled(variable.aval.dtype)
            return jnp.asarray(np.asarray(variable.val, variable.aval.dtype), dtype)
        return known[variable]

    constants = [as_double(jnp.asarray(c)) for c in constants]
    known.update(zip(jaxpr.constvars, constants, strict=True))
    known.update(zip(jaxpr.invars, values, strict=True))
    for equation in jaxpr.eqns:
        given = [read(v) for v in equation.invars]
        if note.watch is not None:
            note.watch(equation, given)
        results = _step(equation, given, note)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _step(equation: Any, values: list[Any], note: _Notes) -> Sequence[Any]:
    name, params = equation.primitive.name, dict(equation.params)
    inner = called(equation)
    if inner is not None:
        return _run(*opened(inner), values, note)
    if name in _LOOPS:
        params["results"] = [len(v.aval.shape) for v in equation.outvars]
        return _LOOPS[name](params, values, note.inside)
    if name in ("stop_gradient", "reduce_precision"):
        return values[:1]
    if name in _BITS:
        return _natively(equation, values, note)
    for key in _TYPES:
        if params.get(key) is not None:
            params[key] = doubled(params[key])
    if name in _SCATTER:
        return [_scattered(name, params, values)]
    try:
        params = equation.primitive.get_bind_params(params)
        results = equation.primitive.bind(*values, **params)
    except (TypeError, ValueError, NotImplementedError):
        return _natively(equation, values, note)
    return list(results) if equation.primitive.multiple_results else [results]


def _natively(equation: Any, values: list[Any], note: _Notes) -> list[Any]:
    """In the types that the primitive was traced with."""
    types = [v.aval.dtype for v in equation.invars]
    if any(jnp.issubdtype(t, jnp.inexact) and doubled(t) != t for t in types):
        note.rounded.add(equation.primitive.name)
    short = [
        v if v.dtype == t else lax.convert_element_type(v, t)
        for v, t in zip(values, types, strict=True)
    ]
    params = equation.primitive.get_bind_params(equation.params)
    results = equation.primitive.bind(*short, **params)
    results = results if equation.primitive.multiple_results else [results]
    return [as_double(r) for r in results]


def _scattered(name: str, params: dict[str, Any], values: list[Any]) -> Any:
    """By the public function, since the primitive holds a sum of the old type."""
    names = ("indices_are_sorted", "unique_indices", "mode")
    options = {key: params[key] for key in names}
    return _SCATTER[name](*values, params["dimension_numbers"], **options)


def _scan(params: dict[str, Any], values: list[Any], note: _Notes) -> Sequence[Any]:
    step = opened(params["jaxpr"])
    consts, count = scan_counts(step[0], [v.ndim for v in values], params["results"])
    fixed, carry = values[:consts], values[consts : consts + count]

    def body(carry: Any, rows: Any) -> Any:
        out = _run(*step, [*fixed, *carry, *rows], note)
        return out[:count], out[count:]

    last, rows = lax.scan(
        body,
        list(carry),
        list(values[consts + count :]),
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*last, *rows]


def _while(params: dict[str, Any], values: list[Any], note: _Notes) -> Sequence[Any]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    of_test, of_body = values[:first], values[first : first + second]

    def test(carry: Any) -> Any:
        return _run(*opened(params["cond_jaxpr"]), [*of_test, *carry], note)[0]

    def body(carry: Any) -> Any:
        return _run(*opened(params["body_jaxpr"]), [*of_body, *carry], note)

    return lax.while_loop(test, body, list(values[first + second :]))


def _cond(params: dict[str, Any], values: list[Any], note: _Notes) -> Sequence[Any]:
    branches = [
        lambda *given, branch=branch: _run(*opened(branch), given, note)
        for branch in params["branches"]
    ]
    return lax.switch(values[0].astype(jnp.int32), branches, *values[1:])


_LOOPS = {"scan": _scan, "while": _while, "cond": _cond}
