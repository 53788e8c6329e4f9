"""The driven damped oscillator in closed form, by its Green function."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.laws.noether import Law, Oscillator
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.theorem import Claim, identity

#: Of X'' + 2 gamma X' + omega^2 X = S, and nu = sqrt(|gamma^2 - omega^2|).
gamma, nu = sp.symbols("gamma nu", positive=True)

#: omega^2 in each regime.
REGIMES = {
    "underdamped": gamma**2 + nu**2,
    "critically damped": gamma**2,
    "overdamped": gamma**2 - nu**2,
}


def exact_rule(learning_rate: str, momentum: str, weight_decay: str) -> HeavyBall:
    """A heavy ball with rational hyperparameters: SymPy compares without rounding."""
    numbers: list[Any] = [*map(sp.Rational, (learning_rate, momentum, weight_decay, 0))]
    return HeavyBall(*numbers)


def oscillator_of(law: Law) -> Oscillator:
    """The oscillator of a law that is one.

    Raises:
        TypeError: the law is none.
    """
    if law.oscillator is None:
        raise TypeError(
            f"the law of {law.symmetry!r} is no oscillator. Pass a law whose charge is "
            "the rate of a function of q."
        )
    return law.oscillator


def as_latex(oscillator: Oscillator) -> str:
    """Its equation, without the dollars."""
    return oscillator._repr_latex_().strip("$").removeprefix(r"\displaystyle ")


@cache
def green_function(regime: str) -> Any:
    """G(t) with G'' + 2 gamma G' + omega^2 G = 0, G(0) = 0 and G'(0) = 1.

    In `lg.time`, gamma and nu.
    """
    t = sp.Dummy("t", nonnegative=True)
    x: Any = UndefinedFunction("x")(t)
    equation = x.diff(t, 2) + 2 * gamma * x.diff(t) + REGIMES[regime] * x
    start = {x.subs(t, 0): 0, x.diff(t).subs(t, 0): 1}
    return sp.dsolve(equation, x, ics=start).rhs.subs(t, time)


def green_claims() -> list[Claim]:
    """The Green functions solve the Euler-Lagrange equation, and start as they must."""
    x, claims = Coordinate("x"), []
    for regime, square in REGIMES.items():
        motion = Lagrangian(
            x.dot**2 / 2, square * x**2 / 2, damping=2 * gamma * time, coordinates=[x]
        )
        green = green_function(regime)
        values = {x.ddot: green.diff(time, 2), x.dot: green.diff(time), x: green}
        (equation,) = motion.equations
        left = (equation.lhs - equation.rhs).subs(values)
        at_zero = [green.subs(time, 0), green.diff(time).subs(time, 0) - 1]
        claims += [
            identity(f"{regime}: G'' + 2 gamma G' + omega^2 G = 0", left),
            identity(f"{regime}: G(0) = 0, G'(0) = 1", sp.Matrix(at_zero).norm()),
        ]
    return claims


def free_motion(regime: str) -> Any:
    """The motion from X(0) = 1 and X'(0) = 0 without a source: G' + 2 gamma G."""
    green = green_function(regime)
    return green.diff(time) + 2 * gamma * green


def regime_of(damping: float, stiffness: float) -> str:
    """Which of the `REGIMES` it is at gamma and omega^2; critical within rounding."""
    excess = damping**2 - stiffness
    if abs(excess) <= 1e-12 * stiffness:
        return "critically damped"
    return "overdamped" if excess > 0 else "underdamped"


def driven(
    damping: float,
    stiffness: float,
    start: np.ndarray,
    velocity: np.ndarray,
    source: np.ndarray,
    step: float,
) -> np.ndarray:
    """X of X'' + 2 gamma X' + omega^2 X = S, for S that is constant in each step.

    Args:
        damping, stiffness: gamma and omega^2, above 0.
        start, velocity: X(0) and X'(0), of shape (units,).
        source: S in each step, of shape (steps, units).
        step: how long a step takes.

    Returns:
        X before each step, float64 of shape (steps, units).
    """
    regime, steps = regime_of(damping, stiffness), len(source)
    green, free = (
        sp.lambdify((time, gamma, nu), expression, "numpy")
        for expression in (green_function(regime), free_motion(regime))
    )
    t, root = step * np.arange(steps + 1), np.sqrt(abs(damping**2 - stiffness))
    left = free(t, damping, root)
    # The integral of G over a step, from that of G: (1 - free motion)/omega^2.
    weight = -np.diff(left) / stiffness
    found = np.multiply.outer(left[:-1], start)
    found += np.multiply.outer(green(t[:-1], damping, root), velocity)
    for unit, pushes in enumerate(source.T):
        found[1:, unit] += np.convolve(pushes, weight)[: steps - 1]
    return found
