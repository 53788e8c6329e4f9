"""Networks that learn orbits of digits, with units in orbits of the same group.

One hidden layer, f(x) = sum_u v_u tanh(w_u.x/sqrt(d) + b_u)/sqrt(units). If every
filter is there in all its moved copies, with the same bias and |v|, the tangent kernel
is invariant: K(g x, g x') = K(x, x').
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.input_group import InputGroup
from lagrangian.learning.tangent_kernel import tangent_kernel

Weights = dict[str, Any]


def start(seed: int, group: InputGroup, filters: int, *, tied: bool = True) -> Weights:
    """`filters` filters of 64 pixels in all their copies; or as many free units."""
    generator = np.random.default_rng([seed, 7])
    units, size = filters * len(group), group.permutations.shape[1]
    if tied:
        drawn = generator.normal(size=(filters, size))
        weights = drawn[:, group.permutations].reshape(units, size)
        biases = np.repeat(generator.normal(size=filters), len(group))
    else:
        weights = generator.normal(size=(units, size))
        biases = generator.normal(size=units)
    signs = generator.choice([-1.0, 1.0], size=units)
    return {"in": weights, "bias": biases, "out": signs}


def outputs(w: Weights, x: Any) -> Any:
    hidden = jnp.tanh(x @ w["in"].T / np.sqrt(x.shape[-1]) + w["bias"])
    return hidden @ w["out"] / np.sqrt(len(w["out"]))


def kernel(w: Weights, points: np.ndarray) -> np.ndarray:
    return tangent_kernel(w, outputs, points)


@partial(jax.jit, static_argnames="steps")
def _fit(w: Weights, x: Any, target: Any, kept: Any, rate: Any, steps: int) -> Any:
    begin = outputs(w, x)

    def loss(w: Weights) -> Any:
        return (kept * (outputs(w, x) - begin - target) ** 2).sum() / 2

    def step(k: Any, carry: Any) -> Any:
        w, before = carry
        # Nesterov's momentum, for directions in which the kernel is small.
        share = k / (k + 3)
        ahead = jax.tree.map(lambda a, b: a + share * (a - b), w, before)
        slope = jax.grad(loss)(ahead)
        return jax.tree.map(lambda a, s: a - rate * s, ahead, slope), w

    w, _ = jax.lax.fori_loop(0, steps, step, (w, w))
    return outputs(w, x) - begin, loss(w)


def left_out_error(
    w: Weights, points: np.ndarray, labels: np.ndarray, size: float, steps: int
) -> tuple[float, float]:
    """Train all points but the first to their labels times `size`, by what f changes.

    Returns:
        how far the first one is from its label, in units of `size`; and the largest
        residual of the others, likewise.
    """
    kept = np.ones(len(labels))
    kept[0] = 0
    rate = 1 / np.linalg.eigvalsh(kernel(w, points))[-1]
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (w, points, size * labels, kept))
        change, loss = _fit(*arrays, rate, steps)
    change, loss = np.asarray(change), float(loss)
    error = float(labels[0] * (labels[0] - change[0] / size))
    return error, float(np.sqrt(2 * loss) / size)
