r"""Normalisation layers act like RMSProp.

The dictionary is derived here, and applied to recorded runs; `adaptive_training` trains
both sides of it.

Statement. Let the loss be invariant under the scale of a block q = r u, |u| = 1, and
train it by the heavy ball with learning rate eta, momentum beta and weight decay
lambda. On the slow manifold G = r^4 obeys

    G' = -(4 lambda / mu) G + (4 m / mu^3) |grad f(u)|^2,
    u' = -grad f(u) / (mu sqrt(G)):

the fourth power of the norm is RMSProp's moving average of the squared gradient, with
decay 1 - 4 eta lambda/(1 - beta) a step, and the direction takes RMSProp's step. In
equilibrium the direction turns by sqrt(2 eta lambda/(1 + beta)) rad a step.

Source: Tanaka & Kunin, "Noether's Learning Dynamics: Role of Symmetry Breaking in
Neural Networks" (2021), with the constants of the discrete heavy ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.learning.training.run import Run
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Scale
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.testbeds.oscillator import exact_rule, oscillator_of

#: Mass and friction of the heavy ball.
HYPERPARAMETERS = {
    mass: learning_rate * (1 + momentum) / 2,
    friction: 1 - momentum,
}


#: Exact hyperparameters, so that SymPy compares without rounding.
EXACT = exact_rule("1/10", "9/10", "1/100")


def rmsprop_average(run: Run, law: Law) -> np.ndarray:
    """The norm's fourth power as RMSProp's average predicts it, at every step.

    The average starts from the initial norm and is fed the squared gradient on the unit
    sphere that the measured velocity shows, mu^2 r^2 |qdot|^2: raw minibatch gradients
    would overestimate it by (1 + beta)/(1 - beta) under noise.

    Returns:
        float64 of shape (steps,) or (steps, units), to compare with `quantity` squared.

    Raises:
        LagrangianError: a rule whose metric is not Euclidean.
    """
    if not run.rule.is_euclidean:
        raise LagrangianError(
            "the dictionary to RMSProp is for rules like `HeavyBall`, whose metric is "
            f"Euclidean; this run has {run.rule}. Train one by those."
        )
    record = run[law]
    square = record.quantity.astype(np.float64)
    m, mu, decay = (
        _hyperparameter(run, law, symbol) for symbol in (mass, friction, weight_decay)
    )
    gradient = mu**2 * square * _speed_squared(run, law)
    keep = 1 - 4 * record.rates * decay / mu
    gain = 4 * record.rates * m / mu**3
    average = np.empty_like(square)
    average[0] = square[0] ** 2
    for k in range(len(square) - 1):
        average[k + 1] = keep[k] * average[k] + gain[k] * gradient[k]
    return average


def equilibrium_angle(rule: HeavyBall) -> float:
    """The angle in rad by which a step turns the block once its norm is stationary."""
    eta = rule.rate(0)
    return math.sqrt(2 * eta * rule.weight_decay / (1 + rule.momentum))


def angles(run: Run, law: Law) -> np.ndarray:
    """The angle in rad between a block before and after each step but the last.

    From the chord |u' - u|^2 = (|q' - q|^2 - (r' - r)^2)/(r r'), which does not cancel
    digits as the arc cosine of an inner product would.
    """
    radius = np.sqrt(run[law].quantity.astype(np.float64))
    rates = run.learning_rates.reshape(-1, *[1] * (radius.ndim - 1))
    moved = (rates**2 * _speed_squared(run, law))[:-1]
    chord = (moved - np.diff(radius, axis=0) ** 2) / (radius[1:] * radius[:-1])
    return 2 * np.arcsin(np.sqrt(np.clip(chord, 0, 4)) / 2)


def _speed_squared(run: Run, law: Law) -> np.ndarray:
    """|qdot|^2 from the law's source, m |qdot|^2."""
    source = run[law].source.astype(np.float64)
    return source / _hyperparameter(run, law, mass)


def _hyperparameter(run: Run, law: Law, symbol: Any) -> np.ndarray:
    """Its value in each step, of a shape that multiplies the record's arrays."""
    values = [run.rule.parameters(rate)[symbol] for rate in run.learning_rates]
    return np.reshape(values, run[law].rates.shape)


# ------------------------------------------------------------------ dictionary


@dataclass(frozen=True)
class Dictionary:
    """What RMSProp on the sphere has to be, to be the heavy ball.

    RMSProp is G <- keep G + (1 - keep) |g|^2, u <- u - step g/sqrt(G), back to |u| = 1.

    With momentum beta, g/sqrt(G) goes through a dampened trace first.

    Attributes:
        decay, drive: of (r^4)' = -decay r^4 + drive |g|^2 in the time t = eta step.
        keep: what a step keeps of RMSProp's average G.
        ratio: r^4/G.
        step: RMSProp's learning rate.
    """

    decay: Any
    drive: Any
    keep: Any
    ratio: Any
    step: Any

    def at(self, rule: HeavyBall) -> tuple[float, float, float]:
        """`keep`, `ratio` and `step` at a rule's hyperparameters."""
        values = {
            learning_rate: rule.rate(0),
            momentum: rule.momentum,
            weight_decay: rule.weight_decay,
        }
        keep, ratio, step = (
            float(e.xreplace(HYPERPARAMETERS).subs(values))
            for e in (self.keep, self.ratio, self.step)
        )
        return keep, ratio, step


@cache
def scale_law() -> Law:
    """The law of a block `w` whose scale the loss does not feel."""
    symmetry = Scale("w")
    return noether(EXACT.lagrangian(symmetry.loss), symmetry)


def dictionary() -> Dictionary:
    """Derived from the scale law, in m, mu, lambda and eta.

    On the slow manifold the norm changes slowly: weight decay and squared gradient are
    small of the same order, and x'' is of the next one. So mu x'/2 + lambda x =
    m |wdot|^2, where wdot = -(grad f(w) + lambda w)/mu, grad f(w) = g(u)/r is tangent,
    and x = r^2.
    """
    law = scale_law()
    oscillator, (w,) = oscillator_of(law), law.symmetry.blocks
    loss, small = law.symmetry.loss, sp.Dummy("s")
    fourth, squared = sp.symbols("G g2", positive=True)
    velocity = EXACT.gradient_flow(loss)[w]
    moving = {Inner(w.dot, w.dot): sp.expand(Inner(velocity, velocity))}
    pull = loss.gradient(w)
    rate = sp.expand(
        (oscillator.source.xreplace(moving) - oscillator.stiffness * Inner(w, w))
        / oscillator.damping
    )
    on_sphere = {Inner(w, w): sp.sqrt(fourth)}
    on_sphere[Inner(pull, pull)] = squared / sp.sqrt(fourth)
    growth = sp.expand(2 * sp.sqrt(fourth) * rate.xreplace(on_sphere))
    scaled = growth.subs({weight_decay: small * weight_decay, squared: small * squared})
    leading = sp.expand(scaled.diff(small).subs(small, 0))
    decay, drive = -leading.coeff(fourth), leading.coeff(squared)
    ratio = sp.factor(drive / decay)
    return Dictionary(
        decay=decay,
        drive=drive,
        keep=1 - learning_rate * decay,
        ratio=ratio,
        step=learning_rate / (friction * sp.sqrt(ratio)),
    )
