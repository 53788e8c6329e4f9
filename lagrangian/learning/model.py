"""A model as the parameters that are trained, what else it carries, and the way back.

A Flax NNX module carries batch statistics and random streams. A pytree of parameters,
such as Linen's `variables["params"]`, carries nothing: its loss is a function of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from lagrangian.errors import LagrangianError
from lagrangian.lowering.pytrees import named_leaves


@dataclass(frozen=True)
class Parts:
    """What `split` makes of a model.

    Attributes:
        parameters: a pytree of arrays.
        rest: the module's other state; None for a pytree.
        graph: the module's structure; None for a pytree.
        name: how messages call the model.
    """

    parameters: Any
    rest: Any
    graph: Any
    name: str

    def merge(self, parameters: Any, rest: Any) -> Any:
        """The model with these parameters and this state."""
        if self.graph is None:
            return parameters
        return nnx.merge(self.graph, parameters, rest)

    def bind(self, loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """`loss` as (parameters, rest, batch) -> (loss, new rest), traceable by JAX."""
        return _BoundLoss(self.graph, loss)


@dataclass(frozen=True, eq=False)
class _BoundLoss:
    """A function that can be pickled where the loss can."""

    graph: Any
    loss: Callable[[Any, Any], Any]

    def __call__(self, parameters: Any, rest: Any, batch: Any) -> Any:
        if self.graph is None:
            return self.loss(parameters, batch), None
        # Copied, so that the variables belong to this trace and may be updated.
        model = nnx.merge(self.graph, parameters, rest, copy=True)
        result = self.loss(model, batch)
        return result, nnx.split(model, nnx.Param, ...)[2]


def split(model: Any) -> Parts:
    """The parts of an NNX module, or of a pytree of parameters.

    Raises:
        LagrangianError: no parameters, or some that cannot be differentiated by.
    """
    name = type(model).__name__
    if isinstance(model, nnx.Module):
        graph, parameters, rest = nnx.split(model, nnx.Param, ...)
        parts = Parts(parameters, rest, graph, name)
    else:
        name = "the parameters" if isinstance(model, Mapping) else name
        parts = Parts(model, None, None, name)
    _check(named_leaves(parts.parameters), model)
    return parts


@contextmanager
def traced_loss() -> Generator[None, None, None]:
    """Where a user's loss is traced: what JAX cannot do with it, in other words.

    Raises:
        LagrangianError: a loss that computes outside of JAX, or is no real number.
    """
    try:
        yield
    except TypeError as error:
        first = str(error).strip().splitlines()[0]
        if isinstance(error, _OUTSIDE):
            raise LagrangianError(
                "`loss` does something that JAX cannot differentiate: a function of "
                "NumPy, `float()`, or a Python `if` on a value. Supported are those "
                f"of `jax.numpy`, with `jnp.where` in the place of `if`. ({first})"
            ) from error
        if "real-valued outputs" in first:
            raise LagrangianError(
                "`loss` returns whole numbers, which have no gradient. Return a real "
                f"number that can be differentiated, such as a cross entropy. ({first})"
            ) from error
        raise


_OUTSIDE = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
)


def _check(named: Mapping[str, Any], model: Any) -> None:
    if isinstance(model, linen.Module):
        raise LagrangianError(
            f"`model`, a {type(model).__name__}, is a Linen module, which holds no "
            'parameters. Pass `model.init(...)["params"]`, with a loss of them that '
            "calls `model.apply`."
        )
    if isinstance(model, Mapping) and {"params", "batch_stats"} <= set(model):
        raise LagrangianError(
            "`model` has batch statistics beside its parameters, and would train both. "
            'Pass `variables["params"]`, and let the loss call `module.apply` with '
            '`{"params": ..., "batch_stats": ...}`.'
        )
    is_tree = bool(named) and any(hasattr(leaf, "dtype") for leaf in named.values())
    if not is_tree:
        raise LagrangianError(
            f"`model`, a {type(model).__name__}, has no parameters. Pass a "
            "`flax.nnx.Module` with `nnx.Param`s, or a pytree of arrays such as "
            'Linen\'s `variables["params"]` with a loss of it.'
        )
    for path, leaf in named.items():
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            kind = dtype or type(leaf).__name__
            raise LagrangianError(
                f"the parameter `{path}` is {kind}. Supported are parameters that a "
                "loss is differentiated by: real floating-point arrays. Keep integers, "
                "counters and other state in an `nnx.Variable` that is no `nnx.Param`."
            )


def in_double(leaf: Any) -> Any:
    """An array leaf, in float64 if it holds real numbers of another type."""
    if not hasattr(leaf, "dtype") or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.asarray(leaf, jnp.float64)
    return jnp.asarray(leaf)


def module_in_double(model: nnx.Module) -> nnx.Module:
    """A copy whose layers compute in float64 where they were told a float type."""
    model = nnx.clone(model)
    for _, node in nnx.iter_graph(model):
        for name in ("dtype", "param_dtype"):
            kind = vars(node).get(name) if isinstance(node, nnx.Module) else None
            if kind is not None and jnp.issubdtype(kind, jnp.floating):
                setattr(node, name, jnp.float64)
    return model


def split_in_double(model: Any) -> Parts:
    """`split`, with everything computed in float64; in 64-bit mode only."""
    if isinstance(model, nnx.Module):
        model = module_in_double(model)
    parts = split(model)
    return Parts(
        jax.tree.map(in_double, parts.parameters),
        jax.tree.map(in_double, parts.rest),
        parts.graph,
        parts.name,
    )
