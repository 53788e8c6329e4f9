"""A probe in a fluid whose trap is moved slowly: the entropy that this makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

from lagrangian.theorems.dynamics.path_action import (
    ENERGY,
    ENTROPY,
    G,
    Probe,
    Z,
    heat,
    mass,
    spring,
    trap,
)

#: Friction at small speeds is Gamma/T, with T = e/C = 1 at the start.
VALUES = {mass: 1.0, spring: 2.0, heat: 3.0, G: 1.5}
BEGUN = (0.0, 0.0, 3.0)
#: The square of the speed of the trap, 6s(1 - s), integrated over s from 0 to 1.
SPEED = 6 / 5


class Moved(NamedTuple):
    """Of one motion of the trap from 0 to 1: what it made, and how far E is off."""

    entropy: float
    first_law: float


@cache
def _functions() -> tuple[Callable[..., Any], ...]:
    """(z', S, E, the slope of E in the trap), of z and the trap."""
    found = Probe().likely, ENTROPY, ENERGY, sp.diff(ENERGY, trap)
    return tuple(
        sp.lambdify((Z, trap, *VALUES), expression, "math") for expression in found
    )


def _at(function: Callable[..., Any]) -> Callable[[Any, float], Any]:
    return lambda z, place: function(z, place, *VALUES.values())


def told(epsilon: float | np.ndarray) -> Any:
    """The entropy to first order: epsilon (gamma/T) times the squared speed."""
    return epsilon * VALUES[G] / (BEGUN[2] / VALUES[heat]) ** 2 * SPEED


def slowly(epsilon: float) -> Moved:
    """Along 3 s^2 - 2 s^3 with s = epsilon t."""
    velocity, entropy, energy, push = (_at(f) for f in _functions())

    def slope(t: float, state: np.ndarray) -> list[float]:
        s = epsilon * t
        place, speed = s**2 * (3 - 2 * s), epsilon * 6 * s * (1 - s)
        z = state[:3]
        return [*velocity(z, place), push(z, place) * speed]

    found = _solved(slope, (*BEGUN, 0.0), 1 / epsilon)
    last, work = found[:3], found[3]
    made = entropy(last, 1.0) - entropy(BEGUN, 0.0)
    gained = energy(last, 1.0) - energy(BEGUN, 0.0)
    return Moved(made, gained - work)


def suddenly(time: float) -> float:
    """The entropy that a jump of the trap has made after `time`."""
    velocity, entropy, _, _ = (_at(f) for f in _functions())
    last = _solved(lambda t, z: velocity(z, 1.0), BEGUN, time)
    return entropy(last, 1.0) - entropy(BEGUN, 0.0)


def jump() -> float:
    """The same by the first law: all that the trap holds becomes heat."""
    stored = VALUES[spring] / 2
    return float(VALUES[heat] * np.log(1 + stored / BEGUN[2]))


def _solved(slope: Any, start: Any, time: float) -> np.ndarray:
    found = solve_ivp(slope, (0, time), start, "DOP853", rtol=1e-10, atol=1e-12)
    return found.y[:, -1]
