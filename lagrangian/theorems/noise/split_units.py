"""How a small difference between two equal tanh units grows by gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.theorems.noise.symmetry_constraint import tanh_loss

Weights = dict[str, np.ndarray]

#: The learning rate.
ETA = 0.1


def _differences(w: Any) -> Any:
    """Of the first two units, in all that they have."""
    return {k: w[k][..., 0] - w[k][..., 1] for k in ("first", "bias")} | {
        "second": w["second"][0] - w["second"][1]
    }


def _placed(d: Any, places: tuple[float, float], units: int) -> Any:
    """A direction that is so many times d in either of the first two units."""
    far = jnp.array([*places, *[0.0] * (units - 2)])
    return {
        "first": d["first"][:, None] * far,
        "bias": d["bias"] * far,
        "second": far[:, None] * d["second"],
        "last": jnp.zeros(10),
    }


def _size(d: Any) -> Any:
    return jnp.sqrt(sum(jnp.sum(part**2) for part in jax.tree.leaves(d)))


def split_units(
    data: Any, began: Weights, sizes: np.ndarray, steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How a difference between two equal units grows by gradient descent.

    Args:
        data: images and labels, of which the first 200 are used.
        began: a network whose first two units are equal.
        sizes: of the initial difference.
        seed: of its direction.

    Returns:
        by the product of 1 - eta (H_11 - H_12), by that of 1 - eta H_11, of shape
        (steps,), and measured, of shape (sizes, steps); per initial difference.
    """
    images, labels = data
    generator, units = np.random.default_rng(seed), len(began["bias"])
    direction = {
        "first": generator.normal(size=64),
        "bias": generator.normal(),
        "second": generator.normal(size=10),
    }
    with jax.enable_x64(True):
        batch = jnp.asarray(images[:200]), jnp.asarray(labels[:200])
        w = jax.tree.map(jnp.asarray, began)
        d = jax.tree.map(jnp.asarray, direction)
        length = _size(d)
        d = jax.tree.map(lambda part: part / length, d)
        slope: Callable[[Any], Any] = jax.grad(lambda v: tanh_loss(v, batch))

        def tangents(carry: Any, _: Any) -> Any:
            w, whole, alone = carry
            pull = slope(w)

            def pulled(part: Any) -> tuple[Any, Any]:
                """H_11 d and H_21 d."""
                found = jax.jvp(slope, (w,), (_placed(part, (1.0, 0.0), units),))[1]
                own = {"first": found["first"][:, 0], "bias": found["bias"][0]}
                other = {"first": found["first"][:, 1], "bias": found["bias"][1]}
                second = found["second"]
                return own | {"second": second[0]}, other | {"second": second[1]}

            own, other = pulled(whole)
            whole = jax.tree.map(lambda x, a, b: x - ETA * (a - b), whole, own, other)
            own, _ = pulled(alone)
            alone = jax.tree.map(lambda x, a: x - ETA * a, alone, own)
            w = jax.tree.map(lambda x, g: x - ETA * g, w, pull)
            return (w, whole, alone), (_size(whole), _size(alone))

        def descent(size: Any) -> Any:
            def step(w: Any, _: Any) -> Any:
                w = jax.tree.map(lambda x, g: x - ETA * g, w, slope(w))
                return w, _size(_differences(w)) / size

            apart = jax.tree.map(jnp.add, w, _placed(d, (size / 2, -size / 2), units))
            return jax.lax.scan(step, apart, None, steps)[1]

        predicted = jax.jit(
            lambda carry: jax.lax.scan(tangents, carry, None, steps)[1]
        )((w, d, d))
        measured = jax.jit(jax.vmap(descent))(jnp.asarray(sizes))
        return np.asarray(predicted[0]), np.asarray(predicted[1]), np.asarray(measured)
