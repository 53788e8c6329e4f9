"""Linear flows dx/dt = W(t) x + b(t) in other coordinates and by another clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

SIZE, POINTS = 4, 6

#: W(t) and b(t), side by side.
Connection = Callable[[float], tuple[Any, Any]]


def _drawn(seed: int) -> tuple[Connection, np.ndarray]:
    generator = np.random.default_rng([seed, 5])
    weights = generator.normal(size=(3, SIZE, SIZE + 1)) / 2

    def connection(t: float) -> tuple[Any, Any]:
        both = weights[0] + weights[1] * np.cos(np.pi * t) + weights[2] * t**2
        return both[:, :-1], both[:, -1:]

    return connection, generator.normal(size=(SIZE, POINTS))


def _moved(connection: Connection, seed: int, share: float, end: float) -> Connection:
    """The same flow in x' = A(t) x + c(t), t = t' + `share` sin(2 pi t').

    W' = (A_t A^-1 + A W A^-1) dt/dt' and b' = (A b + c_t) dt/dt' - W' c, with A = 1 and
    c = 0 at t = 0, and at t = 1 if `end` is 0.
    """
    generator = np.random.default_rng([seed, 6])
    first, second = generator.normal(size=(2, SIZE, SIZE)) / 2
    offset = generator.normal(size=(SIZE, 1))

    def there(clock: float) -> tuple[Any, Any]:
        t = clock + share * np.sin(2 * np.pi * clock)
        rate = 1 + 2 * np.pi * share * np.cos(2 * np.pi * clock)
        weights, bias = connection(t)
        outer = expm((np.sin(np.pi * t) + end * t) * first)
        a = outer @ expm(t * (1 - t) * second)
        back = np.linalg.inv(a)
        # A_t A^-1 of a product of two exponentials.
        turn = (np.pi * np.cos(np.pi * t) + end) * first
        turn = turn + (1 - 2 * t) * outer @ second @ np.linalg.inv(outer)
        c, c_t = np.sin(np.pi * t) * offset, np.pi * np.cos(np.pi * t) * offset
        moved = (turn + a @ weights @ back) * rate
        return moved, (a @ bias + c_t) * rate - moved @ c

    return there


def end_points(connection: Connection, start: np.ndarray) -> np.ndarray:
    """Where the flow takes the columns of `start` from 0 to 1."""

    def rate(t: float, flat: np.ndarray) -> np.ndarray:
        weights, bias = connection(t)
        return (weights @ flat.reshape(SIZE, -1) + bias).ravel()

    found = solve_ivp(rate, (0, 1), start.ravel(), "DOP853", rtol=1e-12, atol=1e-12)
    return found.y[:, -1].reshape(SIZE, -1)


def end_gap(seed: int, end: float = 0.0) -> float:
    """How far apart a flow and the moved one end, relative to how far they went.

    `end` other than 0: with coordinates that are not the old ones at the end.
    """
    connection, start = _drawn(seed)
    plain = end_points(connection, start)
    moved = end_points(_moved(connection, seed, 0.1, end), start)
    return float(np.linalg.norm(moved - plain) / np.linalg.norm(plain - start))
