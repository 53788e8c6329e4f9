"""SGD on f = u w x, one sample a step with x = +-1, in many replicas.

Samples are drawn with replacement; only the products xy count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from lagrangian.networks.digits import load_digits


@dataclass(frozen=True)
class Signs:
    """Samples with x = +-1, of which only xy counts: E xx = 1.

    Attributes:
        products: xy of every sample, drawn with equal probability.
    """

    products: np.ndarray

    @property
    def mean(self) -> float:
        """b2 = E xy."""
        return float(self.products.mean())

    @property
    def variance(self) -> float:
        """a3 = Var xy."""
        return float(self.products.var())

    def exponent(self, eta: float, gamma: float = 0.0) -> float:
        """E ln|1 - 2 eta gamma + 2 eta xy|: half the rate of ln v a step, near zero."""
        values = np.abs(1 - 2 * eta * gamma + 2 * eta * self.products)
        return float(np.log(values).mean())

    def spread(self, eta: float) -> float:
        """The standard deviation of that logarithm."""
        return float(np.log(np.abs(1 + 2 * eta * self.products)).std())

    def threshold(self) -> float:
        """eta_c, where the exponent changes its sign."""
        guess = self.mean / self.variance
        most = min(2 * guess, 0.499 / abs(self.products.min()))
        return float(brentq(self.exponent, 0.3 * guess, most, xtol=1e-15, rtol=1e-14))


def two_points(k: float, s: float = 1.0) -> Signs:
    return Signs(np.array([k + s, k - s]))


def parity_of_digits(seed: int, weak: float) -> Signs:
    """The sign of a pixel against the parity of the digit: xy is +1 or -1.

    Of all pixels the one whose E xy is closest to `weak`.
    """
    (images, labels), _ = load_digits(seed)
    pixels = images.reshape(len(images), -1)
    signs = np.where(pixels > np.median(pixels, axis=0), 1.0, -1.0)
    products = signs * (2.0 * (labels[:, None] % 2) - 1)
    products = products * np.sign(products.mean(axis=0))
    chosen = np.abs(products.mean(axis=0) - weak).argmin()
    return Signs(products[:, chosen])


@partial(jax.jit, static_argnames=("steps", "kind", "every"))
def _descend(
    key: Any,
    u: Any,
    w: Any,
    products: Any,
    eta: Any,
    gamma: Any,
    steps: int,
    kind: str,
    every: int,
) -> Any:
    """SGD on l = (u w x - y)^2 + gamma (u^2 + w^2), a sample a step, x = +-1."""

    def gradients(key: Any, u: Any, w: Any) -> tuple[Any, Any]:
        if kind == "depth 0":
            # f = v x: u is v, and w stays 1.
            r = 2 * (u - _drawn(key, products, u.shape))
            return r, jnp.zeros_like(w)
        first, second = jax.random.split(key)
        m = _drawn(first, products, u.shape)
        other = _drawn(second, products, u.shape) if kind == "independent" else m
        r_u, r_w = 2 * (u * w - m), 2 * (u * w - other)
        if kind == "isotropic":
            mean = 2 * (u * w - products.mean())
            size = 2 * products.std() * jnp.sqrt((u**2 + w**2) / 2)
            noise = size * jax.random.normal(first, (2, *u.shape), u.dtype)
            return mean * w + noise[0], mean * u + noise[1]
        return r_u * w, r_w * u

    def step(carry: Any, key: Any) -> Any:
        u, w = carry
        g_u, g_w = gradients(key, u, w)
        kept = 1 - 2 * eta * gamma
        return (kept * u - eta * g_u, kept * w - eta * g_w), None

    def block(carry: Any, key: Any) -> Any:
        carry, _ = jax.lax.scan(step, carry, jax.random.split(key, every))
        return carry, carry

    _, path = jax.lax.scan(block, (u, w), jax.random.split(key, steps // every))
    return path


def _drawn(key: Any, products: Any, shape: tuple[int, ...]) -> Any:
    rows = jax.random.bits(key, shape, jnp.uint32) % len(products)
    return products[rows]


def descend(
    data: Signs,
    eta: float,
    steps: int,
    replicas: int,
    seed: int,
    *,
    u: float,
    w: float,
    gamma: float = 0.0,
    kind: str = "sgd",
    every: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """u and w of every replica after each `every` steps, of shape (times, replicas).

    Args:
        kind: "sgd"; or for controls "independent" (a sample each for u and w),
            "isotropic" (full batch, with Gaussian noise of the same trace) or
            "depth 0" (f = u x).
    """
    with jax.enable_x64(True):
        first, second = (jnp.full(replicas, value) for value in (u, w))
        key, products = jax.random.key(seed, impl="rbg"), jnp.asarray(data.products)
        found = _descend(key, first, second, products, eta, gamma, steps, kind, every)
        us, ws = (np.asarray(part) for part in found)
    return us, ws
