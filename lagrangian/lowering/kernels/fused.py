"""One machine-code function for a whole loop, where XLA would interpret its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from lagrangian.lowering.platform import on_cpu

#: Constants with more entries are handed to a kernel as data. Inside of it, tables of
#: some thousands of places end the process, in a check of XLA's compiler; and so do
#: small ones from outside, in the derivative of a kernel.
LARGE_CONSTANT = 256


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a single kernel on the CPU; unchanged elsewhere.

    XLA's CPU backend runs a compiled program as a list of kernels and interprets loops
    over them, at 0.1 us or more for each kernel and iteration. Only loops that touch
    less than 1 KiB an iteration become one kernel, by a mark on a call that this sets
    on purpose: ten times faster for a loop of small operations such as a Taylor step,
    and slower for large arrays, whose kernels could have used several threads. What
    calls into a library (LAPACK, FFT, sorting, large sums) cannot be inside; for those
    see `total`, `largest` and `smallest`.
    """

    # The mark must be on a call inside of a compiled function, never on its outside.
    @jax.jit
    def marked(*arguments: Any) -> Any:
        if not on_cpu():
            return function(*arguments)
        # Traced outside of the mark, so that functions inside do not get it as well and
        # become calls.
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        given = [*program.consts, *jax.tree.leaves(arguments)]
        constants = [_constant(value) for value in given]
        handed = [
            value
            if isinstance(value, Tracer)
            else jax.lax.optimization_barrier(jnp.asarray(value))
            for value, constant in zip(given, constants, strict=True)
            if constant is None
        ]

        @jax.jit
        def kernel(handed: Any) -> Any:
            data = iter(handed)
            values = [next(data) if c is None else c for c in constants]
            count = len(program.consts)
            closed = ClosedJaxpr(program.jaxpr, values[:count])
            return jaxpr_as_fun(closed)(*values[count:]), _read(handed)

        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            results, read = kernel(handed)
        results = [_beside(read, result) for result in results]
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return marked


def _constant(value: Any) -> Any:
    """What stands for `value` inside of a kernel; None for what is handed to it."""
    if np.size(value) == 0:
        return np.zeros(value.shape, value.dtype)
    known = not isinstance(value, Tracer)
    return value if known and np.size(value) <= LARGE_CONSTANT else None


def _read(handed: Sequence[Any]) -> Any:
    """A number that needs all that is handed to a kernel.

    XLA's compiler ends the process where a kernel does not read one of its arguments.
    Whether it does is only known once XLA has simplified it, by rules that differ from
    version to version, so each is read once more for this number, which is returned.
    """
    first = (jax.lax.slice(x, (0,) * x.ndim, (1,) * x.ndim) for x in handed)
    return sum((x.reshape(()).astype(float) for x in first), jnp.zeros(()))


def _beside(read: Any, result: Any) -> Any:
    """`result`, so that JAX takes `read` to be needed for it; XLA knows better."""
    other = jnp.broadcast_to(read.astype(result.dtype), result.shape)
    return jax.lax.select(np.True_, result, other)


def total(array: Any, axis: int = 0) -> Any:
    """`jnp.sum`, in a form that can be inside of `fused`.

    The CPU backend of JAX 0.12 hands sums and maxima of 4096 elements or more to a
    library. It knows them by the operation that they repeat, which here is another one.
    """
    return jax.lax.reduce(array, array.dtype.type(0), lambda a, b: a - (-b), (axis,))


def largest(array: Any, axis: int = 0) -> Any:
    """`jnp.max`, in a form that can be inside of `fused`."""

    def larger(a: Any, b: Any) -> Any:
        return -jax.lax.min(-a, -b)

    return jax.lax.reduce(array, array.dtype.type(-np.inf), larger, (axis,))


def smallest(array: Any, axis: int = 0) -> Any:
    """`jnp.min`, in a form that can be inside of `fused`."""
    return -largest(-array, axis)


def either(condition: Any, chosen: Any, other: Any) -> Any:
    """`jnp.where`, in a form that costs nothing inside of `fused`.

    That is a function of its own, which is then called, some 10 ns each time.
    """
    chosen, other = jnp.asarray(chosen), jnp.asarray(other)
    shape = jnp.broadcast_shapes(condition.shape, chosen.shape, other.shape)
    dtype = jnp.result_type(chosen, other)
    parts = (jnp.broadcast_to(x.astype(dtype), shape) for x in (chosen, other))
    return jax.lax.select(jnp.broadcast_to(condition, shape), *parts)


def computed_after(value: Any, tree: Any, never: Any) -> Any:
    """`tree`, so that on the CPU what is computed of it is computed after `value`.

    The state of a loop stays in its place if nothing reads the old one once the new one
    is written. XLA must see that in the dependencies; otherwise it copies the state
    first, and a dozen of copies without an order make its executor wake another thread
    in every iteration, which costs more than they do.

    Args:
        value: an array that was computed from `tree`; if it is empty, nothing was.
        never: a boolean that is always false, which XLA must not know.
    """
    if not on_cpu() or value.size == 0:
        return tree
    first = value.reshape(-1)[0]

    def after(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.where(never, first.astype(leaf.dtype), leaf)

    return jax.tree.map(after, tree)
