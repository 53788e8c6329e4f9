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
from flax.errors import TraceContextError

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
        # Copied: what is done to the model is not done to a state that goes on.
        return nnx.merge(self.graph, parameters, rest, copy=True)

    def bind(self, loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """`loss` as (parameters, rest, batch) -> (loss, (parameters, rest)).

        Traceable by JAX. The second pair is what the call made of the model: `rest`
        moves on, and a few layers write into their parameters. What a loss returns
        beside its value, as for `has_aux`, is left out.
        """
        return _BoundLoss(self.graph, loss)


@dataclass(frozen=True, eq=False)
class _BoundLoss:
    """A function that can be pickled where the loss can."""

    graph: Any
    loss: Callable[[Any, Any], Any]

    def __call__(self, parameters: Any, rest: Any, batch: Any) -> Any:
        if self.graph is None:
            return _alone(self.loss(parameters, batch)), (parameters, None)
        # Copied, so that the variables belong to this trace and may be updated.
        model = nnx.merge(self.graph, parameters, rest, copy=True)
        result = _alone(self.loss(model, batch))
        return result, nnx.split(model, nnx.Param, ...)[1:]


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
def traced_loss(name: str = "loss") -> Generator[None, None, None]:
    """Where a user's loss is traced: what JAX cannot do with it, in other words.

    Args:
        name: what messages call it.

    Raises:
        LagrangianError: a loss that computes outside of JAX, or is no real number; that
            changes state which is not the model's; or that communicates along an axis.
    """
    try:
        yield
    except TraceContextError as error:
        first = str(error).split(" (http")[0]
        raise LagrangianError(
            f"`{name}` changes an `nnx.Variable` that is not the model's, such as the "
            "counts of an `nnx.Rngs` from outside. Keep it in the model, as in "
            "`self.rngs = rngs` or `nnx.Dropout(0.1, rngs=rngs)`: what is in there is "
            f"carried from step to step. ({first})"
        ) from error
    except NameError as error:
        if "unbound axis name" not in str(error):
            raise
        axis = str(error).partition("axis name: ")[2].split(".")[0]
        raise LagrangianError(
            f"the model communicates along the axis {axis!r}, as a normalisation with "
            f"`axis_name={axis!r}` does, and there is none: a batch is seen whole "
            "here. Leave `axis_name` out, or write `axis_name=None`, which computes "
            "the same, also where `mesh` shares a batch among devices."
        ) from error
    except TypeError as error:
        first = str(error).strip().splitlines()[0]
        if isinstance(error, _OUTSIDE):
            raise LagrangianError(
                f"`{name}` does something that JAX cannot differentiate: a function of "
                "NumPy, `float()`, or a Python `if` on a value. Write those of "
                f"`jax.numpy`, with `jnp.where` in the place of `if`. ({first})"
            ) from error
        if "real-valued outputs" in first:
            raise LagrangianError(
                f"`{name}` returns whole numbers, which have no gradient. Return real "
                f"ones that can be differentiated, such as a cross entropy. ({first})"
            ) from error
        raise


_OUTSIDE = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
)


def _alone(result: Any) -> Any:
    """The value of a loss that returns (value, auxiliary), as for `has_aux`."""
    return result[0] if isinstance(result, tuple) and len(result) == 2 else result


def _check(named: Mapping[str, Any], model: Any) -> None:
    if isinstance(model, linen.Module):
        raise LagrangianError(
            f"`model`, a {type(model).__name__}, is a Linen module, which holds no "
            'parameters. Pass `model.init(...)["params"]`, with a loss of them that '
            "calls `model.apply`."
        )
    if hasattr(model, "params") and hasattr(model, "opt_state"):
        raise LagrangianError(
            f"`model`, a {type(model).__name__}, is the state of a training, which "
            "holds more than parameters. Pass `model=state.params`, with a loss of "
            "them."
        )
    if isinstance(model, Mapping) and {"params", "batch_stats"} <= set(model):
        raise LagrangianError(
            "`model` has batch statistics beside its parameters, and would train both. "
            'Pass `variables["params"]`, and let the loss call `module.apply` with '
            '`{"params": ..., "batch_stats": ...}`; or have them carried along, and '
            "random keys as well: `nnx.bridge.lazy_init(nnx.bridge.ToNNX(module, "
            "nnx.Rngs(0)), inputs)` is a module for `model`, to be called with "
            '`mutable=["batch_stats"]`.'
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


def check_outputs(values: Any) -> Any:
    """What a model returned in 64-bit mode, if it is finite and has all its digits.

    Raises:
        LagrangianError: it is not.
    """
    if values.dtype != jnp.float64:
        raise LagrangianError(
            f"`outputs` returns {values.dtype}: it rounds inside, and all digits of "
            "float64 are needed here. Leave out its casts."
        )
    if not jnp.isfinite(values).all():
        raise LagrangianError(
            "`outputs` is not finite at the model's parameters. Pass parameters and "
            "inputs at which it is."
        )
    return values


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
