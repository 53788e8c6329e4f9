"""Phase transitions of networks with tanh and with ReLU units, on the digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lagrangian.theorems.noise.decayed_networks import (
    RELU,
    TANH,
    Digits,
    digits,
    repeated,
    settled,
    start,
)
from lagrangian.theorems.theorem import Claim, below, close, order


def nonlinear_claims(seed: int) -> Iterator[Claim]:
    """Where their order parameters begin, and how."""
    yield from _tanh(seed)
    yield from _relu(seed)


def _tanh(seed: int) -> Iterator[Claim]:
    """tanh units bend the order parameter by the third moment, and no more."""
    data = digits(seed, parity=True, rows=400)
    c = data.signal[0]
    critical, n = float(np.linalg.norm(c)), c / np.linalg.norm(c)
    third = float((data.targets[:, 0] * (data.inputs @ n) ** 3).mean())
    distances = np.array([0.1, 0.05, 0.025])
    for units in (1, 4):
        network = start([len(c), units, 1], len(distances), seed, 0.3)
        gamma = critical * (1 - distances)
        first, second = settled(data, network, gamma, TANH, steps=12_000)
        size = np.abs(second @ first @ n)[:, 0]
        slope = 1 / (1 + 2 * third / (3 * units))
        predicted = slope * critical * distances
        what = (
            f"tanh, {units} unit{'s'[: units > 1]}: s/((gamma_c-gamma)/(a+2m/3h)) - 1"
        )
        yield order(what, 1, distances, np.abs(size / predicted - 1))
        what = f"tanh, {units}: the slope of linear units"
        ratio = float(size[-1] / (critical * distances[-1]))
        yield close(what, 1.0, ratio, 0.05, control=True)


def relu_threshold(data: Digits, seed: int) -> float:
    """max |E y relu(w.x)| over unit vectors w: by ascent from 100 starts."""
    generator = np.random.default_rng(seed)
    best = 0.0
    for sign in (1.0, -1.0):
        w = generator.normal(size=(50, data.inputs.shape[1]))
        for _ in range(500):
            on = data.inputs @ w.T > 0
            w = sign * (data.targets * on).T @ data.inputs / len(data.inputs)
            sizes = np.linalg.norm(w, axis=1, keepdims=True)
            w = w / sizes
        best = max(best, float(sizes.max()))
    return best


def _relu(seed: int) -> Iterator[Claim]:
    data = digits(seed, parity=True, rows=400)
    critical = relu_threshold(data, seed)
    before = start([data.inputs.shape[1], 8, 1], 1, seed, 0.5)
    before = settled(data, before, [0.5 * critical], RELU, steps=4000)
    gamma = critical * np.array([0.95, 1.02])
    found = settled(data, repeated(before, 2), gamma, RELU, steps=20_000)
    alive, dead = np.sqrt(sum((m**2).sum(axis=(1, 2)) for m in found))
    yield below("ReLU: |W| at 1.02 max |E y relu(w.x)|", dead, 1e-6)
    yield below("ReLU: |W| at 0.95 of it", alive, 1e-6, control=True)
