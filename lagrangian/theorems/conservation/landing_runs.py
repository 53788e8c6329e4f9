"""A neuron a w.x trained on digits until it fits them, and where it lands.

Everything in float64, with a rate of its own for each layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.networks.digits import load_digits

#: Images that are fitted, and how well: the largest residual.
IMAGES, FITTED = 20, 1e-14
#: eta_a and eta_w, which multiply the learning rate of the layers.
RATES = (1.0, 0.5)
#: Of minibatches: their size, and how many are drawn before they repeat.
BATCH, DRAWN = 5, 4000


def imbalance(a: Any, w: Any, rates: tuple[float, float] = RATES) -> float:
    """delta = eta_w a^2 - eta_a |w|^2."""
    return float(rates[1] * a**2 - rates[0] * np.dot(w, w))


def landing(
    data: tuple[np.ndarray, np.ndarray],
    w: np.ndarray,
    delta: float,
    sign: float,
    rates: tuple[float, float] = RATES,
) -> np.ndarray:
    """The interpolator beta = a w with the charges <v, w> and delta.

    Args:
        data: inputs of shape (n, d) and targets of shape (n,).
        w: any weights with the charges <v, w>, such as those of the start.
        delta: the imbalance where training ends.
        sign: of a where training ends, which the charges leave open.
        rates: eta_a and eta_w.

    Returns:
        of shape (d,).
    """
    inputs, targets = data
    inverse = np.linalg.pinv(inputs)
    least, free = inverse @ targets, w - inverse @ (inputs @ w)
    return least + sign * output_weight(least, free, delta, rates) * free


def output_weight(
    least: np.ndarray, free: np.ndarray, delta: float, rates: tuple[float, float]
) -> float:
    """|a| where training ends, by beta* and the part of w that no input sees."""
    eta_a, eta_w = rates
    known = delta + eta_a * free @ free
    root = np.hypot(known, 2 * np.sqrt(eta_a * eta_w) * np.linalg.norm(least))
    # Without cancellation for a negative `known`.
    square = known + root if known > 0 else 4 * eta_a * eta_w * (least @ least)
    square = square if known > 0 else square / (root - known)
    return float(np.sqrt(square / (2 * eta_w)))


# ------------------------------------------------------------------ digits


def digits(seed: int, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (images, 64) and their parities as +-1, in convenient units.

    The largest singular value of the first 20 images, and the norm of the least
    interpolator of these, are 1.
    """
    (pixels, labels), _ = load_digits(seed)
    inputs = pixels[:images].reshape(images, -1).astype(float)
    targets = 1.0 - 2.0 * (labels[:images] % 2)
    inputs /= np.linalg.norm(inputs[:IMAGES], 2)
    least = np.linalg.pinv(inputs[:IMAGES]) @ targets[:IMAGES]
    return inputs, targets / np.linalg.norm(least)


def start(seed: int, delta: float, against: bool = False) -> tuple[float, np.ndarray]:
    """a > 0 and w with this imbalance.

    Args:
        against: whether w points where the loss pulls a down, so that a changes its
            sign if it is small.
    """
    eta_a, eta_w = RATES
    w = np.random.default_rng([seed, 1]).normal(size=64) / 8
    inputs, targets = digits(seed)
    if against:
        pull = inputs.T @ targets
        w -= 2 * pull / np.linalg.norm(pull)
    w *= np.sqrt((max(0.0, -delta) + 0.5) / eta_a) / np.linalg.norm(w)
    return float(np.sqrt((delta + eta_a * w @ w) / eta_w)), w


# ------------------------------------------------------------------ training


@dataclass(frozen=True)
class Landed:
    """Where a run ends.

    Attributes:
        a, w: the weights.
        residual: of the 20 images, the largest.
        steps: that were made.
        summed: eta_a |p_a|^2 - eta_w |p_w|^2 of the updates -p, summed over steps.
    """

    a: float
    w: np.ndarray
    residual: float
    steps: int
    summed: float

    @property
    def beta(self) -> np.ndarray:
        return self.a * self.w

    @property
    def imbalance(self) -> float:
        return imbalance(self.a, self.w)

    def distance(self, place: np.ndarray) -> float:
        """Of beta from a place, relative to its norm."""
        return float(np.linalg.norm(self.beta - place) / np.linalg.norm(self.beta))


@cache
def heavy_ball(momentum: float = 0.0) -> optax.GradientTransformation:
    return optax.trace(momentum)


@cache
def decayed(decay: float) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(decay), optax.trace(0.0))


def _loss(w: Any, inputs: Any, targets: Any) -> Any:
    return ((w["a"] * (inputs @ w["w"]) - targets) ** 2).sum() / 2


@partial(jax.jit, static_argnames="rule")
def _train(rule: Any, eta: Any, first: Any, data: Any, rows: Any, most: Any) -> Any:
    eta_a, eta_w = RATES

    def goes_on(carry: Any) -> Any:
        w, _, count, _ = carry
        left = w["a"] * (data[0] @ w["w"]) - data[1]
        return (count < most) & (jnp.abs(left).max() > FITTED)

    def step(carry: Any) -> Any:
        w, state, count, summed = carry
        chosen = rows[count % len(rows)]
        slope = jax.grad(_loss)(w, data[0][chosen], data[1][chosen])
        p, state = rule.update(slope, state, w)
        after = {
            "a": w["a"] - eta * eta_a * p["a"],
            "w": w["w"] - eta * eta_w * p["w"],
        }
        summed += eta_a * p["a"] ** 2 - eta_w * (p["w"] ** 2).sum()
        return after, state, count + 1, summed

    zero = jnp.zeros((), jnp.float64)
    begin = (first, rule.init(first), jnp.zeros((), jnp.int64), zero)
    return jax.lax.while_loop(goes_on, step, begin)


def train(
    seed: int,
    first: tuple[float, np.ndarray],
    eta: float,
    rule: Any,
    minibatches: bool = False,
    images: int = IMAGES,
    most: int = 5_000_000,
) -> Landed:
    """Train a neuron until it fits the digits, for `most` steps at most.

    Args:
        seed: of the digits and of the minibatches.
        first: a and w.
        eta: the learning rate.
        rule: a transformation of optax, whose updates are multiplied by -eta and the
            layer's own rate. Rules that are compared equal are compiled once.
        minibatches: of 5 images, or all of them.
        images: how many are fitted.
    """
    data = digits(seed, images)
    rows = np.arange(images)[None]
    if minibatches:
        generator = np.random.default_rng([seed, 2])
        rows = generator.permuted(np.tile(rows, (DRAWN, 1)), axis=1)[:, :BATCH]
    with jax.enable_x64(True):
        a, w = (jnp.asarray(part, jnp.float64) for part in first)
        arrays = jax.tree.map(jnp.asarray, ({"a": a, "w": w}, data, rows))
        found = jax.device_get(_train(rule, eta, *arrays, most))
    end, _, steps, summed = found
    a, w = float(end["a"]), np.asarray(end["w"])
    left = a * (data[0][:IMAGES] @ w) - data[1][:IMAGES]
    return Landed(a, w, float(np.abs(left).max()), int(steps), float(summed))
