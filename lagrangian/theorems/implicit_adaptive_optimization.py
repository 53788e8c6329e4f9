r"""Normalisation layers act like RMSProp.

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

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.learning.run import Run
from lagrangian.symbolic.discrete import learning_rate, momentum
from lagrangian.symbolic.noether import Law

#: Mass and friction of the heavy ball.
HYPERPARAMETERS = {
    mass: learning_rate * (1 + momentum) / 2,
    friction: 1 - momentum,
}


def rmsprop_average(run: Run, law: Law) -> np.ndarray:
    """The norm's fourth power as RMSProp's average predicts it, at every step.

    The average starts from the initial norm and is fed the squared gradient on the unit
    sphere that the measured velocity shows, mu^2 r^2 |qdot|^2: raw minibatch gradients
    would overestimate it by (1 + beta)/(1 - beta) under noise.

    Returns:
        float64 of shape (steps,) or (steps, units), to compare with `quantity` squared.
    """
    rule, record = heavy_ball(run), run[law]
    rates = run.learning_rates.reshape(-1, *[1] * (record.quantity.ndim - 1))
    square = record.quantity.astype(np.float64)
    gradient = (1 - rule.momentum) ** 2 * square * _speed_squared(run, law)
    keep = 1 - 4 * rates * rule.weight_decay / (1 - rule.momentum)
    gain = 2 * rates**2 * (1 + rule.momentum) / (1 - rule.momentum) ** 3
    average = np.empty_like(square)
    average[0] = square[0] ** 2
    for k in range(len(square) - 1):
        average[k + 1] = keep[k] * average[k] + gain[k] * gradient[k]
    return average


def heavy_ball(run: Run) -> HeavyBall:
    """The rule of a run, if this theorem is about it.

    Raises:
        LagrangianError: another rule than the heavy ball.
    """
    if not isinstance(run.rule, HeavyBall):
        raise LagrangianError(
            f"the dictionary to RMSProp is for `HeavyBall`; this run has {run.rule}."
        )
    return run.rule


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
    masses = np.array(
        [run.rule.parameters(rate)[mass] for rate in run.learning_rates]
    ).reshape(-1, *[1] * (source.ndim - 1))
    return source / masses
