"""Training normed streams on digits, by the heavy ball and by gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.integrate import solve_ivp

from lagrangian.learning.checking.check import check
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.training.train import train
from lagrangian.symbolic.algebra.symmetry import Rescale, Scale, Symmetry, Translation
from lagrangian.theorems.conservation.normed_streams import (
    alphas,
    digits,
    loss_of,
    start,
    writers,
)

BALL = HeavyBall(0.05, 0.9)


def scale_of_writers(w: Mapping[str, Any]) -> Symmetry:
    return Scale(*writers(w))


def against_alphas(w: Mapping[str, Any]) -> Symmetry:
    return Rescale(writers(w), alphas(w))


def against_the_others(w: Mapping[str, Any]) -> Symmetry:
    """For a control: one of the alphas is left out."""
    return Rescale(writers(w), alphas(w)[1:])


def pixels_along_ones(w: Mapping[str, Any]) -> Symmetry:
    """Each pixel's row of the embedding, along the vector of ones."""
    return Translation("embed", unit_axis=0)


def decayed_writers(w: Mapping[str, Any], decay: float, momentum: float = 0.0) -> Any:
    """Gradient descent whose weight decay acts on the writers alone."""
    mask = {name: name in writers(w) for name in w}
    decays = optax.masked(optax.add_decayed_weights(decay), mask)
    return optax.chain(decays, optax.sgd(BALL.rate(0), momentum))


def judged(
    norm: str,
    symmetries: Sequence[Callable[[Mapping[str, Any]], Symmetry]],
    seed: int,
    steps: int,
    rule: Callable[[Any], Any] = lambda w: BALL,
    epsilon: float = 0.0,
) -> list[float]:
    """The residuals of laws of one block, along a run on minibatches of 32."""
    w, data = start(norm, seed, 1), digits(seed, 256)
    with jax.enable_x64(True):
        run = train(
            jax.tree.map(jnp.asarray, w),
            loss_of(norm, epsilon),
            data,
            rule(w),
            steps,
            observe=[symmetry(w) for symmetry in symmetries],
            batch_size=32,
            seed=seed,
            progress=False,
        )
        return [row.discrete for row in check(run)]


@dataclass(frozen=True)
class Descended:
    """A run of gradient descent: sums of squares before each step, and at the end.

    Attributes:
        writers, alphas: |w|^2 and sum alpha^2, of shape (steps + 1,).
        gained: eta^2 (|g_w|^2 - |g_alpha|^2) of each step.
        pulled: <w, g_w>, of each.
    """

    writers: np.ndarray
    alphas: np.ndarray
    gained: np.ndarray
    pulled: np.ndarray

    @property
    def charge(self) -> np.ndarray:
        return self.writers - self.alphas


@partial(jax.jit, static_argnames="steps")
def _descend(w: Any, etas: Any, decays: Any, batch: Any, steps: int) -> Any:
    names = writers(w), alphas(w)

    def squares(tree: Any) -> Any:
        return [sum(jnp.sum(tree[n] ** 2) for n in some) for some in names]

    def of_rate(eta: Any) -> Any:
        def step(w: Any, _: Any) -> Any:
            slope = jax.grad(_LOSS)(w, batch)
            pulled = sum(jnp.sum(w[n] * slope[n]) for n in names[0])
            of_writers, of_alphas = squares(slope)
            row = (*squares(w), eta**2 * (of_writers - of_alphas), pulled)
            own = dict.fromkeys(names[0], decays[0]) | dict.fromkeys(
                names[1], decays[1]
            )
            later = {n: w[n] - eta * (slope[n] + own.get(n, 0.0) * w[n]) for n in w}
            return later, row

        return jax.lax.scan(step, w, None, steps)[1]

    return jax.vmap(of_rate)(etas)


def descend(
    seed: int, etas: Any, time: float, decays: tuple[float, float] = (0.0, 0.0)
) -> list[Descended]:
    """A DyT network on 64 images, all in each step, for `time` at each rate.

    Args:
        decays: of the writers and of the alphas.
    """
    steps = [round(time / eta) for eta in etas]
    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, start("DyT", seed, 1))
        given = jnp.asarray(etas, float), decays, digits(seed, 64)
        rows = [np.asarray(row) for row in _descend(w, *given, max(steps) + 1)]
    return [
        Descended(*(r[i, : n + 1] for r in rows[:2]), *(r[i, :n] for r in rows[2:]))
        for i, n in enumerate(steps)
    ]


_LOSS = loss_of("DyT")


def toy(decay: float, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """alpha and r along the gradient flow of (alpha r - 1)^2/2 + decay r^2/2."""

    def velocity(t: float, state: Any) -> Any:
        alpha, r = state
        miss = alpha * r - 1
        return [-miss * r, -miss * alpha - decay * r]

    found = solve_ivp(
        velocity,
        (0, times[-1]),
        [0.5, 1.0],
        "Radau",
        t_eval=times,
        rtol=1e-9,
        atol=1e-12,
    )
    return found.y[0], found.y[1]
