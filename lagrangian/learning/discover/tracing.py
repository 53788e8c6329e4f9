"""From a model and its loss to a probe: traced as it is written, and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from lagrangian.errors import LagrangianError
from lagrangian.learning.discover.in_double import evaluated
from lagrangian.learning.discover.probe import Probe, length_of, rows_of
from lagrangian.learning.model import split, traced_loss
from lagrangian.lowering.programs import equations
from lagrangian.lowering.pytrees import named_leaves


def make_probe(model: Any, loss: Callable[[Any, Any], Any], batch: Any) -> Probe:
    """The probe of an NNX module, or of a function of a pytree of parameters.

    To be called, and used, in 64-bit mode.

    Raises:
        LagrangianError: parameters that cannot be differentiated by, a loss that is no
            scalar, not finite, not differentiable, or not a function of its arguments.
    """
    parts = split(model)
    value, tree = parts.bind(loss), parts.parameters
    structure, named = jax.tree.structure(tree), named_leaves(tree)
    leaves, shape = jax.tree.flatten(batch)
    arrays = [leaf for leaf in leaves if hasattr(leaf, "dtype")]
    if any(0 in leaf.shape[:1] for leaf in arrays):
        raise LagrangianError(
            "`batch` has no examples: its arrays have length 0. Pass one or more."
        )

    def of_leaves(theta: Any, given: Any) -> Any:
        rows = iter(given)
        filled = [next(rows) if hasattr(leaf, "dtype") else leaf for leaf in leaves]
        tree, rows = (
            jax.tree.unflatten(structure, theta),
            jax.tree.unflatten(shape, filled),
        )
        return value(tree, parts.rest, rows)[0]

    long = any(leaf.dtype == np.float64 for leaf in named.values())
    with jax.enable_x64(long), traced_loss():
        kept = length_of(arrays)
        rows = [a if kept is None else a[: rows_of(named.values())] for a in arrays]
        example = (
            [jnp.asarray(leaf) for leaf in named.values()],
            [jnp.asarray(row) for row in rows],
        )
        program, result = jax.make_jaxpr(of_leaves, return_shape=True)(*example)
        _check_scalar(result)
        slopes = jax.make_jaxpr(jax.grad(of_leaves))(*example)
        # Another function, since JAX knows the program of this one by now.
        again = jax.make_jaxpr(lambda *given: of_leaves(*given))(*example)
    probe = Probe(
        {path: np.asarray(leaf, np.float64) for path, leaf in named.items()},
        program,
        slopes,
        [_long(row) for row in arrays],
        _short(program),
    )
    _check_loss(probe, again)
    return probe


def _long(leaf: Any) -> Any:
    """An array of the batch as NumPy has it, its real numbers in float64."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return np.asarray(leaf, np.float64 if real else None)


def _short(program: ClosedJaxpr) -> tuple[str, ...]:
    """Types in which something is multiplied or summed, of those below float64.

    Steps, masks and random bits in a short type do not count: they are not rounded.
    """
    types = {
        v.aval.dtype
        for equation in equations(program.jaxpr)
        if equation.primitive.name in _ROUNDING
        for v in equation.outvars
        if jnp.issubdtype(getattr(v.aval, "dtype", int), jnp.floating)
    }
    short = sorted((jnp.finfo(t).bits, np.dtype(t).name) for t in types)
    return tuple(name for bits, name in short if bits < 64)


_ROUNDING = {
    "add",
    "sub",
    "mul",
    "div",
    "integer_pow",
    "square",
    "rsqrt",
    "exp",
    "tanh",
    "logistic",
    "dot_general",
    "reduce_sum",
    "conv_general_dilated",
}


def _is_same(one: ClosedJaxpr, other: ClosedJaxpr) -> bool:
    """Whether two programs are written in the same way, with the same constants."""
    if str(one.jaxpr) != str(other.jaxpr) or len(one.consts) != len(other.consts):
        return False
    return all(
        a is b or np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
        for a, b in zip(one.consts, other.consts, strict=True)
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    )


def _check_scalar(result: Any) -> None:
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or isinstance(result, tuple | list | dict):
        raise LagrangianError(
            f"`loss` must return a scalar; it returns {len(leaves)} arrays. Pass a "
            "loss without what it returns beside (`lambda m, b: loss(m, b)[0]`)."
        )
    if result.shape != ():
        raise LagrangianError(
            f"`loss` must return a scalar; its shape is {result.shape}. "
            "Reduce it, as in `losses.mean()`."
        )


def _check_loss(probe: Probe, again: ClosedJaxpr) -> None:
    theta, batch = next(probe.draws(1, seed=0))
    first = probe.value(theta, batch)
    if not jnp.isfinite(first):
        raise LagrangianError(
            f"`loss` is {first} near the model's parameters; it must be finite. Pass "
            "parameters and a batch at which it is."
        )
    # Traced once more, the loss would meet other random numbers.
    if (
        not _is_same(probe.program, again)
        and first
        != jax.jit(evaluated(again))(
            *[theta[path] for path in probe.parameters], *batch
        )[0]
    ):
        raise LagrangianError(
            "`loss` returns another value when it is called again with the same "
            "parameters and batch. Supported is state that the model carries "
            "(`nnx.BatchStat`, `nnx.Rngs`); keep random numbers and counters there."
        )
    gradient = probe.gradient(theta, batch)
    if bad := [path for path, g in gradient.items() if not np.isfinite(g).all()]:
        raise LagrangianError(
            f"the gradient of `loss` by `{bad[0]}` is not finite. Pass a loss "
            "that can be differentiated almost everywhere."
        )
    if not any(g.any() for g in gradient.values()):
        raise LagrangianError(
            "the gradient of `loss` is zero everywhere: it goes through something that "
            "is not differentiable, such as argmax, round, sign or `stop_gradient`. "
            "Pass the loss that the model is trained with."
        )
