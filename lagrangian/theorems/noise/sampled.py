"""Training in float64 by batches that are drawn with replacement, in one scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import GradientTransformation


@partial(jax.jit, static_argnames=("loss", "rule", "watch"))
def _scan(
    start: Any, data: Any, rows: Any, rates: Any, loss: Any, rule: Any, watch: Any
) -> Any:
    def step(carry: Any, chosen: Any) -> Any:
        parameters, state = carry
        batch = jax.tree.map(lambda array: array[chosen], data)
        slope = jax.grad(loss)(parameters, batch)
        update, state = rule.update(slope, state, parameters)
        update = {name: rates.get(name, 1.0) * u for name, u in update.items()}
        parameters = optax.apply_updates(parameters, update)
        return (parameters, state), watch(parameters)

    (end, _), watched = jax.lax.scan(step, (start, rule.init(start)), rows)
    return end, watched


def drawn(rows: int, batch: int, steps: int, seed: int) -> np.ndarray:
    """Rows of a batch for every step, with replacement: (steps, batch)."""
    return np.random.default_rng(seed).integers(0, rows, (steps, batch))


def nothing(parameters: Any) -> Any:
    """For runs of which only the end counts."""
    return ()


def trained(
    start: Mapping[str, Any],
    loss: Callable[[Any, Any], Any],
    data: Any,
    rule: GradientTransformation,
    rows: np.ndarray,
    *,
    rates: Mapping[str, float] | None = None,
    watch: Callable[[Any], Any] = nothing,
) -> tuple[dict[str, np.ndarray], Any]:
    """Where the rule leads in so many batches.

    Args:
        data: arrays with one leading axis.
        rows: of the batches, of shape (steps, batch).
        rates: by what the updates of single arrays are multiplied.
        watch: of the parameters after every step; a JAX function.

    Returns:
        the parameters, and what was watched, with a leading axis of the steps.
    """
    with jax.enable_x64(True):
        arrays = {
            name: jnp.asarray(value, jnp.float64) for name, value in start.items()
        }
        data = jax.tree.map(jnp.asarray, data)
        given = dict(rates or {})
        end, watched = _scan(arrays, data, rows, given, loss, rule, watch)
        end = {name: np.asarray(value) for name, value in end.items()}
        return end, jax.tree.map(np.asarray, watched)
