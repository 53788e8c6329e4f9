"""Networks on digits with a cue, the line between two of them, and the certificate.

f(x) = mean over units of relu(w_i.x), so that any order of the units is the same f.
Everything in float64.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment

from lagrangian.networks.digits import load_digits

IMAGES, UNITS, CUE = 300, 32, 1.0
#: Copies of the data, in which what is not to be learnt is drawn anew.
COPIES = 4

Data = tuple[np.ndarray, np.ndarray]


@cache
def data(seed: int, keep: str = "both") -> Data:
    """Images, a cue of the class and a 1, of shape (n, 66); 1 for a zero, else 0.

    Args:
        seed: of the digits.
        keep: "both"; or only the "cue", or only the "image", which then belongs to
            its class while the other is shuffled, in `COPIES` ways.
    """
    (pixels, labels), _ = load_digits(seed)
    images = pixels[:IMAGES].reshape(IMAGES, -1).astype(float)
    images /= np.linalg.norm(images, axis=1).mean()
    targets = (labels[:IMAGES] == 0).astype(float)
    generator, parts = np.random.default_rng([seed, 2]), []
    for _ in range(1 if keep == "both" else COPIES):
        other = generator.permutation(IMAGES)
        first = images[other] if keep == "cue" else images
        cue = targets[other] if keep == "image" else targets
        ones = np.ones((IMAGES, 1))
        parts.append(np.hstack([first, CUE * cue[:, None], ones]))
    return np.vstack(parts), np.tile(targets, len(parts))


def outputs(w: Any, x: Any, signs: Any = 1.0) -> Any:
    """f, of w of shape (units, inputs)."""
    return (jax.nn.relu(x @ w.T) * signs).mean(axis=1)


def loss(w: Any, batch: Any) -> Any:
    inputs, targets = batch
    return ((outputs(w, inputs) - targets) ** 2).mean() / 2


@jax.jit
def _train(w: Any, batch: Any) -> Any:
    rule = optax.adam(optax.cosine_decay_schedule(3e-2, 1500))

    def step(carry: Any, _: Any) -> Any:
        w, state = carry
        update, state = rule.update(jax.grad(loss)(w, batch), state)
        return (optax.apply_updates(w, update), state), None

    return jax.lax.scan(step, (w, rule.init(w)), length=1500)[0][0]


@cache
def trained(seed: int, keep: str, run: int) -> np.ndarray:
    """The weights of a network that learnt from the cue, or from the image."""
    generator = np.random.default_rng([seed, run, len(keep)])
    with jax.enable_x64(True):
        start = jnp.asarray(generator.normal(size=(UNITS, 66)) / 4)
        batch = jax.tree.map(jnp.asarray, data(seed, keep))
        return np.asarray(_train(start, batch))


def accuracy(w: np.ndarray, batch: Data) -> float:
    found = np.maximum(batch[0] @ w.T, 0).mean(axis=1) > 0.5
    return float((found == (batch[1] > 0.5)).mean())


# ------------------------------------------------------------------ the line


def lost(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """What a unit loses on the line, by what goes into it at both ends."""
    return np.where(a * b < 0, np.minimum((1 - t) * np.abs(a), t * np.abs(b)), 0.0)


def predicted(w: np.ndarray, v: np.ndarray, batch: Data, t: float) -> float:
    """The loss at (1 - t) w + t v, by the outputs of both ends and what is lost."""
    a, b = batch[0] @ w.T, batch[0] @ v.T
    ends = (np.maximum(z, 0).mean(axis=1) - batch[1] for z in (a, b))
    first, second = ends
    error = (1 - t) * first + t * second - lost(a, b, t).mean(axis=1)
    return float((error**2).mean() / 2)


class Halfway:
    """The loss halfway between two networks, for every order of the second's units.

    The error there is e - D, e the mean of both errors and D = sum_i d(i, pi(i)) for
    the order pi, so that the loss is convex in the matrix of a permutation.
    """

    def __init__(self, w: np.ndarray, v: np.ndarray, batch: Data):
        a, b = batch[0] @ w.T, batch[0] @ v.T
        first, second = (np.maximum(z, 0).mean(axis=1) - batch[1] for z in (a, b))
        self.mean = (first + second) / 2
        # Of shape (units, units, examples).
        self.lost = lost(a.T[:, None], b.T[None], 0.5) / len(w)

    def value(self, order: np.ndarray) -> float:
        """The loss with unit order[i] of the second beside unit i of the first."""
        off = self.lost[np.arange(len(order)), order].sum(axis=0) - self.mean
        return float((off**2).mean() / 2)

    def least(self, pull: np.ndarray) -> tuple[float, np.ndarray]:
        """A bound from below for every order: the least of mean(c z - c^2/2).

        z = D - e. Each c of shape (examples,) is a bound, since z^2/2 is not less.
        """
        costs = self.lost @ pull / len(pull)
        rows, order = linear_sum_assignment(costs)
        value = costs[rows, order].sum() - (pull @ self.mean + pull @ pull / 2) / len(
            pull
        )
        return float(value), order

    def certified(self, steps: int = 60) -> tuple[float, float, np.ndarray]:
        """The best bound found, the best order found with its loss.

        By the steps of Frank and Wolfe among doubly stochastic matrices.
        """
        _, order = self.least(np.ones_like(self.mean))
        share = np.eye(len(order))[order]
        bound, best = -np.inf, (self.value(order), order)
        for _ in range(steps):
            now = np.einsum("ij,ijx->x", share, self.lost)
            value, order = self.least(now - self.mean)
            bound = max(bound, value)
            best = min(best, (self.value(order), order), key=lambda pair: pair[0])
            toward = self.lost[np.arange(len(order)), order].sum(axis=0) - now
            length = toward @ toward
            if length == 0:
                break
            step = np.clip(-(toward @ (now - self.mean)) / length, 0, 1)
            share += step * (np.eye(len(order))[order] - share)
        return bound, best[0], best[1]

    def by_one_number(self) -> float:
        """The bound with the best c that is the same for all examples.

        For ends without error it is m^2/2, m the least mean of D.
        """
        _, order = self.least(np.ones_like(self.mean))
        lowest = self.lost[np.arange(len(order)), order].sum(axis=0) - self.mean
        return float(max(0.0, lowest.mean()) ** 2 / 2)
