"""A model's parameters as one vector, and its loss as a function of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import in_double, split_in_double, traced_loss
from lagrangian.lowering.pytrees import named_leaves, pick


class Network:
    """A model's parameters end to end, and its loss as a function of them.

    Attributes:
        start: the given parameters, shape (count,), float64.
        rounding: the relative rounding of the loss: of float32, if it computes in that.
    """

    def __init__(self, model: Any, loss: Callable[[Any, Any], Any], batch: Any):
        self._parts = split_in_double(model)
        self._loss, self._batch = self._parts.bind(loss), jax.tree.map(in_double, batch)
        self.start, self._unravel = ravel_pytree(self._parts.parameters)
        with traced_loss():
            value = jax.jit(self.loss)(self.start)
        self.rounding = float(jnp.finfo(value.dtype).eps)
        if jnp.shape(value) != ():
            raise LagrangianError(
                f"`loss` must return a scalar; its shape is {jnp.shape(value)}. "
                "Reduce it, as in `losses.mean()`."
            )
        if not jnp.isfinite(value):
            raise LagrangianError(
                f"`loss` is {value} at the model's parameters; it must be finite. Pass "
                "parameters and a batch at which it is."
            )

    def loss(self, vector: Any) -> Any:
        """The loss; a JAX function of the parameters."""
        return self._loss(self._unravel(vector), self._parts.rest, self._batch)[0]

    def model(self, vector: Any) -> Any:
        """The model with these parameters, sharing no variable with another one."""
        rest = jax.tree.map(lambda leaf: leaf, self._parts.rest)
        return self._parts.merge(self._unravel(vector), rest)

    def split(self, vector: Any) -> dict[str, Any]:
        """The arrays by dotted path."""
        return named_leaves(self._unravel(vector))

    def join(self, tree: Any, where: str) -> Any:
        """The inverse of `split`, for arrays by path or a tree like the parameters."""
        known = named_leaves(self._parts.parameters)
        arrays = pick(named_leaves(tree), known, where)
        for path, array in arrays.items():
            if jnp.shape(array) != known[path].shape:
                raise LagrangianError(
                    f"{where} has shape {jnp.shape(array)} for `{path}`; the "
                    f"parameter's is {known[path].shape}. Pass an array of that shape."
                )
        return jnp.concatenate([jnp.ravel(a) for a in arrays.values()], dtype=float)
