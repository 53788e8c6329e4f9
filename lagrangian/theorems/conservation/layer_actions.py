"""How GL(h) acts between the layers of a network for one batch, in three versions.

With activations h of a layer's inputs, of full column rank, and a bijective sigma,
g takes (V, U) to (sigma^-1(g sigma(V h)) h^+, U g^-1): the hidden activations become
g sigma(V h), and the outputs stay what they are. For the next layer h is g sigma(V h).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Samples, inputs, and the widths of the layers: the regression that was published.
SAMPLES, WIDTHS = 4, (5, 6, 7, 8)
#: The slope of the leaky ReLU for negative numbers.
_LEAK = 0.1


def _leaky(x: Any) -> Any:
    return jnp.where(x < 0, _LEAK * x, x)


def _inverse(y: Any) -> Any:
    return jnp.where(y < 0, y / _LEAK, y)


def problem(
    seed: int, lowest: float = -1.0
) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Weights, and (inputs, targets) with the samples as columns, uniform up to 1.

    The regression that was published begins with positive numbers alone, `lowest` = 0:
    the leaky ReLU is linear there.
    """
    chance = np.random.default_rng([seed, 8])
    sizes = [*zip(WIDTHS[1:], WIDTHS[:-1], strict=True)]
    sizes += [(WIDTHS[0], SAMPLES), (WIDTHS[-1], SAMPLES)]
    *weights, inputs, targets = (chance.uniform(lowest, 1, size=size) for size in sizes)
    return weights, (inputs, targets)


def loss(weights: Any, batch: Any) -> Any:
    """Half the squared distance."""
    hidden, targets = batch
    for matrix in weights[:-1]:
        hidden = _leaky(matrix @ hidden)
    return jnp.sum((weights[-1] @ hidden - targets) ** 2) / 2


def generators(seed: int) -> list[np.ndarray]:
    """A random matrix of norm 1 for each hidden layer."""
    normal = np.random.default_rng([seed, 9]).normal
    drawn = [normal(size=(width, width)) for width in WIDTHS[1:-1]]
    return [matrix / np.linalg.norm(matrix) for matrix in drawn]


def acted(
    weights: Any,
    inputs: Any,
    moves: Any,
    *,
    updated: bool = True,
    exact: bool = True,
) -> list[Any]:
    """The weights that g = 1 + T takes a network to, layer after layer.

    Args:
        weights, inputs: as in `problem`.
        moves: T of each hidden layer.
        updated: whether the activations are those of the moved layers below; in the
            published code they are those of the weights before.
        exact: whether the next layer is multiplied by g^-1, or by 1 - T.
    """
    moved, old, hidden = list(weights), inputs, inputs
    for m, move in enumerate(moves):
        g = jnp.eye(len(move)) + move
        known = hidden if updated else old
        grown = _inverse(g @ _leaky(moved[m] @ known))
        after = jnp.linalg.solve(g.T, moved[m + 1].T).T
        moved[m + 1] = after if exact else moved[m + 1] - moved[m + 1] @ move
        moved[m] = grown @ jnp.linalg.pinv(known)
        hidden, old = _leaky(moved[m] @ hidden), _leaky(weights[m] @ old)
    return moved


def loss_changes(seed: int, sizes: Any, **version: bool) -> np.ndarray:
    """By how much the loss changes, over what it was, for g = 1 + size T."""
    with jax.enable_x64(True):
        weights, batch = jax.tree.map(jnp.asarray, problem(seed))
        before = loss(weights, batch)
        found = [
            loss(acted(weights, batch[0], [e * T for T in generators(seed)], **version),
                 batch)
            for e in sizes
        ]  # fmt: skip
        return np.asarray(jnp.stack(found) / before - 1)


def published_teleport(
    seed: int, *, descents: int = 5, rate: float = 1e-4, steps: int = 8
) -> float:
    """The loss after a teleport as published, over the loss before it.

    After `descents` steps of gradient descent at `rate`, so many `steps` of ascent of
    |grad L|^2 at the published rate of 1e-7, each of which moves the weights at once.
    """
    with jax.enable_x64(True):
        weights, batch = jax.tree.map(jnp.asarray, problem(seed, lowest=0.0))

        def square(moves: Any, weights: Any) -> Any:
            moved = acted(weights, batch[0], moves, exact=False)
            return sum(jnp.sum(g**2) for g in jax.grad(loss)(moved, batch))

        @jax.jit
        def descended(weights: Any) -> Any:
            slope = jax.grad(loss)(weights, batch)
            return jax.tree.map(lambda w, g: w - rate * g, weights, slope)

        @jax.jit
        def climbed(weights: Any) -> Any:
            zero = [jnp.zeros((k, k)) for k in WIDTHS[1:-1]]
            moves = [1e-7 * slope for slope in jax.grad(square)(zero, weights)]
            return acted(weights, batch[0], moves, updated=False, exact=False)

        for _ in range(descents):
            weights = descended(weights)
        before = loss(weights, batch)
        for _ in range(steps):
            weights = climbed(weights)
        return float(loss(weights, batch) / before)
