"""Adam's scaling with one average of squares for each array."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from optax import GradientTransformation


def scale_by_block_adam(b1: float, b2: float, eps: float) -> GradientTransformation:
    """`optax.scale_by_adam` with one average of |g|^2 for each array."""

    def init(params: PyTree) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        squares = jax.tree.map(lambda q: jnp.zeros((), q.dtype), zeros)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, squares)

    def update(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        count = optax.safe_increment(state.count)
        mean = jax.tree.map(lambda p, g: b1 * p + (1 - b1) * g, state.mu, updates)
        squares = jax.tree.map(
            lambda v, g: b2 * v + (1 - b2) * jnp.sum(g**2), state.nu, updates
        )

        def moved(p: Any, v: Any) -> Any:
            return p / (1 - b1**count) / (jnp.sqrt(v / (1 - b2**count)) + eps)

        after = optax.ScaleByAdamState(count, mean, squares)
        return jax.tree.map(moved, mean, squares), after

    return GradientTransformation(init, update)
