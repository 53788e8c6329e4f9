"""Gradient flow of linear networks beside what is said of the whole map.

In NumPy, by an integrator that is not the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize

from lagrangian.theorems.conservation.landing_runs import imbalance

Field = Callable[[np.ndarray], np.ndarray]
#: Inputs, outputs, hidden units.
Shape = tuple[int, int, int]


def integrate(field: Field, start: np.ndarray, horizon: float) -> np.ndarray:
    """Where an autonomous flow ends."""
    found = solve_ivp(
        lambda t, x: field(x), (0, horizon), start, "DOP853", rtol=1e-12, atol=1e-13
    )
    return found.y[:, -1]


def random_inputs(generator: np.random.Generator, rows: int, columns: int) -> Any:
    """A matrix whose singular values lie between 0.7 and 1.3."""
    left, _, right = np.linalg.svd(
        generator.normal(size=(rows, columns)), full_matrices=False
    )
    return left * generator.uniform(0.7, 1.3, left.shape[1]) @ right


# ------------------------------------------------------------------ a neuron


@dataclass(frozen=True)
class Neuron:
    """a w.x along its gradient flow, from the start until it fits."""

    data: tuple[np.ndarray, np.ndarray]
    first: tuple[float, np.ndarray]
    last: tuple[float, np.ndarray]
    rates: tuple[float, float]

    @property
    def crosses(self) -> bool:
        return self.first[0] * self.last[0] < 0

    @property
    def delta(self) -> float:
        return imbalance(*self.first, self.rates)

    @property
    def beta(self) -> np.ndarray:
        return self.last[0] * self.last[1]


def neuron(
    generator: np.random.Generator, rates: tuple[float, float], against: bool
) -> Neuron:
    """Two examples of five numbers, and a random start.

    Args:
        against: whether it starts so far from what is to be learnt that a has to change
            its sign; else a w and the least interpolator are on the same side.
    """
    inputs, targets = random_inputs(generator, 2, 5), generator.normal(size=2)
    least = np.linalg.pinv(inputs) @ targets
    least, targets = (1.5 / np.linalg.norm(least) * x for x in (least, targets))
    w = generator.normal(size=5) / 2
    w += (np.sign(w @ least) * w @ least - w @ least) / (least @ least) * least
    a = generator.uniform(0.5, 2.0)
    if against:
        w, a = w - least, 0.2
    first = np.concatenate([[a], w])

    def field(x: np.ndarray) -> np.ndarray:
        a, w = x[0], x[1:]
        pull = inputs.T @ (a * (inputs @ w) - targets)
        return -np.concatenate([[rates[0] * w @ pull], rates[1] * a * pull])

    last = integrate(field, first, 300.0)
    halves = ((x[0], x[1:]) for x in (first, last))
    return Neuron((inputs, targets), *halves, rates)


def least_potential(found: Neuron, potential: Any, slope: Any) -> np.ndarray:
    """The interpolator of the least Psi(|beta|) - Psi'(|beta0|) beta0.beta/|beta0|.

    Args:
        potential, slope: Psi and its derivative, by |beta| and delta.
    """
    inputs, targets = found.data
    inverse = np.linalg.pinv(inputs)
    least = inverse @ targets
    free = np.linalg.svd(inputs)[2][len(inputs) :].T
    begin = found.first[0] * found.first[1]
    pull = slope(np.linalg.norm(begin), found.delta) * begin / np.linalg.norm(begin)

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        beta = least + free @ z
        size = np.linalg.norm(beta)
        gradient = slope(size, found.delta) * beta / size - pull
        return potential(size, found.delta) - pull @ beta, free.T @ gradient

    best = minimize(value, free.T @ begin, jac=True, method="BFGS", tol=1e-12)
    return least + free @ best.x


# ------------------------------------------------------------------ two layers


def isotropic(
    generator: np.random.Generator,
    shape: Shape,
    delta: float,
    rates: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """W (h, d) and A (h, c) with eta_w A A^T - eta_a W W^T = delta."""
    d, c, h = shape
    small, large = (d, c) if delta > 0 else (c, d)
    unequal = (rates[0], rates[1]) if delta > 0 else (rates[1], rates[0])
    light = generator.normal(size=(h, small)) / 2
    square = (abs(delta) * np.eye(h) + unequal[0] * light @ light.T) / unequal[1]
    turn = np.linalg.qr(generator.normal(size=(large, h)))[0].T
    heavy = np.linalg.cholesky(square) @ turn
    return (light, heavy) if delta > 0 else (heavy, light)


def root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def map_error(
    generator: np.random.Generator,
    shape: Shape,
    delta: float | None,
    rates: tuple[float, float] = (1.0, 1.0),
    horizon: float = 2.0,
) -> float:
    """How far W^T A along its flow is from the flow of the map alone.

    Args:
        delta: the imbalance of every hidden unit, or None for unequal ones, for which
            their mean is put in.

    Returns:
        relative to the map.
    """
    d, c, h = shape
    eta_a, eta_w = rates
    if delta is None:
        first, second = generator.normal(size=(h, d)), generator.normal(size=(h, c))
        balance = eta_w * second @ second.T - eta_a * first @ first.T
        delta = float(np.trace(balance)) / h
    else:
        first, second = isotropic(generator, shape, delta, rates)
    inputs = random_inputs(generator, 2 * d, d)
    targets = generator.normal(size=(2 * d, c))

    def pull(beta: np.ndarray) -> np.ndarray:
        return inputs.T @ (inputs @ beta - targets)

    def weights(x: np.ndarray) -> np.ndarray:
        w, a = x[: h * d].reshape(h, d), x[h * d :].reshape(h, c)
        slope = pull(w.T @ a)
        change = (-eta_w * a @ slope.T, -eta_a * w @ slope)
        return np.concatenate([part.ravel() for part in change])

    def whole(x: np.ndarray) -> np.ndarray:
        beta = x.reshape(d, c)
        slope, both = pull(beta), 4 * eta_a * eta_w
        right = root(delta**2 * np.eye(c) + both * beta.T @ beta)
        left = root(delta**2 * np.eye(d) + both * beta @ beta.T)
        return -((slope @ right + left @ slope) / 2).ravel()

    begin = np.concatenate([first.ravel(), second.ravel()])
    end = integrate(weights, begin, horizon)
    map_ = end[: h * d].reshape(h, d).T @ end[h * d :].reshape(h, c)
    said = integrate(whole, (first.T @ second).ravel(), horizon).reshape(d, c)
    return float(np.linalg.norm(map_ - said) / np.linalg.norm(map_))


def singular_error(
    generator: np.random.Generator,
    shape: Shape,
    delta: float,
    mirror: tuple[Callable[[Any, float], Any], Callable[[Any, float], Any]],
    horizon: float = 1.5,
) -> float:
    """How far singular values are from mirror descent, for whitened, aligned data.

    Both rates are 1.

    Args:
        mirror: q' of (x, delta) and its inverse.

    Returns:
        the largest distance of a singular value from where mirror descent takes it.
    """
    d, c, h = shape
    units = min(d, c)
    alive = min(h, units)
    left = np.linalg.qr(generator.normal(size=(d, d)))[0]
    right = np.linalg.qr(generator.normal(size=(c, c)))[0]
    turn = np.linalg.qr(generator.normal(size=(h, h)))[0]
    light = np.zeros(h)
    light[:alive] = generator.uniform(0.3, 0.8, alive)
    heavy = np.sqrt(light**2 + abs(delta))
    # Hidden units beyond the smaller side are fed, or read, by the larger alone.
    first, second = (light, heavy) if delta > 0 else (heavy, light)
    w = turn[:, : min(h, d)] * first[: min(h, d)] @ left[:, : min(h, d)].T
    a = turn[:, : min(h, c)] * second[: min(h, c)] @ right[:, : min(h, c)].T
    wanted = generator.uniform(1.0, 2.0, units)
    goal = left[:, :units] * wanted @ right[:, :units].T

    def weights(x: np.ndarray) -> np.ndarray:
        w, a = x[: h * d].reshape(h, d), x[h * d :].reshape(h, c)
        slope = w.T @ a - goal
        return -np.concatenate([(a @ slope.T).ravel(), (w @ slope).ravel()])

    dual, primal = mirror
    begin = np.diag(left.T @ w.T @ a @ right)[:units]
    end = integrate(weights, np.concatenate([w.ravel(), a.ravel()]), horizon)
    map_ = end[: h * d].reshape(h, d).T @ end[h * d :].reshape(h, c)
    values = np.diag(left.T @ map_ @ right)[:units]
    said = integrate(lambda y: wanted - primal(y, delta), dual(begin, delta), horizon)
    return float(np.abs(values - primal(said, delta)).max())


# ------------------------------------------------------------------ deep


def deep_landing(
    data: tuple[np.ndarray, np.ndarray], begin: np.ndarray, layers: int
) -> np.ndarray:
    """The interpolator that balanced layers of rank one reach from a product beta0.

    |beta|^(1/N - 1) beta keeps its part that no input sees.
    """
    inputs, targets = data
    inverse = np.linalg.pinv(inputs)
    least = inverse @ targets
    free = begin - inverse @ (inputs @ begin)
    power = 1 - 1 / layers
    kept = free / np.linalg.norm(begin) ** power
    lowest, more = np.linalg.norm(least), np.linalg.norm(kept)
    # r^2 = |beta*|^2 + r^(2 - 2/N) |kept|^2 has one root.
    most = 2 * (lowest + more**layers) + 1
    size = brentq(
        lambda r: r**2 - lowest**2 - r ** (2 * power) * more**2,
        lowest,
        most,
        xtol=1e-14,
        rtol=1e-14,
    )
    return least + size**power * kept


def deep_error(
    generator: np.random.Generator, layers: int, unbalanced: float = 0.0
) -> float:
    """How far the flow of a deep linear network ends from `deep_landing`.

    Args:
        layers: N = L + 1, of which all but the last have three units.
        unbalanced: by what the last layer is longer than balanced, relatively.
    """
    d, h = 5, 3
    inputs, targets = random_inputs(generator, 2, d), generator.normal(size=2)
    sizes = [d] + [h] * (layers - 1) + [1]
    units = [generator.normal(size=size) for size in sizes]
    units = [unit / np.linalg.norm(unit) for unit in units]
    # On the side of what is to be learnt, so that the product does not reach zero.
    units[0] *= np.sign(units[0] @ np.linalg.pinv(inputs) @ targets)
    units[-1] = np.ones(1)
    scales = [0.9] * layers
    scales[-1] *= 1 + unbalanced
    start = [
        s * np.outer(out, into)
        for s, into, out in zip(scales, units, units[1:], strict=False)
    ]
    shapes = [w.shape for w in start]
    cuts = np.cumsum([w.size for w in start])[:-1]

    def split(x: np.ndarray) -> list[np.ndarray]:
        parts = np.split(x, cuts)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def field(x: np.ndarray) -> np.ndarray:
        weights = split(x)
        beta = _product(weights)[0]
        slope = (inputs.T @ (inputs @ beta - targets))[None]
        change = []
        for i in range(layers):
            after, before = _product(weights[i + 1 :]), _product(weights[:i])
            pulled = slope if i == 0 else slope @ before.T
            change.append(pulled if i == layers - 1 else after.T @ pulled)
        return -np.concatenate([part.ravel() for part in change])

    end = integrate(field, np.concatenate([w.ravel() for w in start]), 300.0)
    beta, begin = _product(split(end))[0], _product(start)[0]
    place = deep_landing((inputs, targets), begin, layers)
    return float(np.linalg.norm(beta - place) / np.linalg.norm(beta))


def _product(weights: Sequence[np.ndarray]) -> Any:
    """W_N ... W_1; of none, 1."""
    total: Any = np.eye(1)
    for i, w in enumerate(weights):
        total = w if i == 0 else w @ total
    return total
