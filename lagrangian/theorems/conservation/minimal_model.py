"""The minimal model of rich and lazy learning, solved: a w.x on whitened data.

Gradient flow of |a w - beta*|^2/2, with a rate for each layer, for every imbalance and
sign, and where a passes through zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Minimal:
    """A neuron at its start, and what it is to learn.

    Attributes:
        a, w: of the start, a scalar and shape (d,).
        wanted: beta*, of shape (d,); not zero.
        rates: eta_a and eta_w.
    """

    a: float
    w: np.ndarray
    wanted: np.ndarray
    rates: tuple[float, float] = (1.0, 1.0)

    @property
    def delta(self) -> float:
        """The imbalance eta_w a^2 - eta_a |w|^2, which stays."""
        return float(self.rates[1] * self.a**2 - self.rates[0] * self.w @ self.w)

    def opposite(self) -> Minimal:
        """The neuron of the same a w whose imbalance is -delta; a is not zero."""
        size = np.sqrt(self.rates[0] / self.rates[1]) * np.linalg.norm(self.w)
        a, w = float(np.sign(self.a) * size), self.w * abs(self.a) / size
        return Minimal(a, w, self.wanted, self.rates)

    def coefficients(self) -> tuple[float, float, float, float]:
        """Delta + delta and Delta - delta, and P and Q of A = P e^(Dt/2) + Q e^(-Dt/2).

        Delta = sqrt(delta^2 + 4 eta_a eta_w |beta*|^2).
        """
        eta_a, eta_w = self.rates
        product = 4 * eta_a * eta_w * (self.wanted @ self.wanted)
        delta, whole = self.delta, np.hypot(self.delta, np.sqrt(product))
        # The smaller of the two without cancellation.
        large = whole + abs(delta)
        up, down = (large, product / large)[:: 1 if delta > 0 else -1]
        pull = 2 * eta_a * (self.w @ self.wanted)
        grows = (up * self.a + pull) / (2 * whole)
        return up, down, grows, (down * self.a - pull) / (2 * whole)

    @property
    def sign(self) -> float:
        """Of a at the end."""
        return float(np.sign(self.coefficients()[2]))

    def at(self, times: Any) -> tuple[np.ndarray, np.ndarray]:
        """a and w at these times.

        Returns:
            of shapes (times,) and (times, d).
        """
        t = np.asarray(times, float)
        eta_a, eta_w = self.rates
        up, down, grows, falls = self.coefficients()
        # All over e^((delta + Delta) t/2), so that nothing overflows.
        fallen = falls * np.exp(-(up + down) / 2 * t)
        summed = grows**2 * _share(up, t) + falls**2 * np.exp(-up * t) * _share(down, t)
        summed += 2 * grows * falls * self._crossed(t)
        scale = np.sqrt(np.exp(-up * t) + 2 * eta_w * summed)
        a = (grows + fallen) / scale
        along = (down * grows - up * fallen) / (2 * eta_a * scale)
        square = self.wanted @ self.wanted
        across = self.w - (self.w @ self.wanted) / square * self.wanted
        left = np.exp(-up / 2 * t) / scale
        w = np.multiply.outer(along / square, self.wanted)
        return a, w + np.multiply.outer(left, across)

    def _crossed(self, t: np.ndarray) -> np.ndarray:
        """The integral of e^(delta u) from 0 to t, over e^((delta + Delta) t)."""
        up, down, *_ = self.coefficients()
        delta, whole = (up - down) / 2, (up + down) / 2
        if delta > 0:
            return np.exp(-whole * t) * _share(delta, t)
        return np.exp(-up * t) * _share(-delta, t)


def _share(rate: float, t: np.ndarray) -> np.ndarray:
    """(1 - e^(-rate t))/rate."""
    return t if rate == 0 else -np.expm1(-rate * t) / rate


def kernel_distance(
    first: tuple[float, np.ndarray],
    second: tuple[float, np.ndarray],
    rates: tuple[float, float],
    *,
    as_published: bool = False,
) -> float:
    """S = 1 - <K1, K2>/(|K1| |K2|) of the tangent kernels X M X^T, for X^T X = 1.

    M = eta_w a^2 + eta_a w w^T.

    Args:
        first, second: a and w.
        rates: eta_a and eta_w.
        as_published: with the first a in the norm of the second kernel, as the code
            beside the paper has it.
    """
    eta_a, eta_w = rates
    (a, w), (b, v) = first, second

    def product(a: Any, w: Any, b: Any, v: Any) -> Any:
        crossed = eta_w * eta_a * (a**2 * (v @ v) + b**2 * (w @ w))
        return len(w) * (eta_w * a * b) ** 2 + crossed + (eta_a * w @ v) ** 2

    c = a if as_published else b
    size = np.sqrt(product(a, w, a, w) * product(c, v, c, v))
    return float(1 - product(a, w, b, v) / size)
