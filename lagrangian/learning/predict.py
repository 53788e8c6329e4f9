"""The continuous law, solved along a run: what the charge should have been."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.run import Run
from lagrangian.symbolic.noether import Law, Oscillator


def predict(run: Run, law: Law, raw: bool = False) -> np.ndarray:
    """The quantity of `law` at every step of `run`, by its continuous equation.

    Integrates mass x'' + damping x' + stiffness x = S from the initial state alone,
    with S measured (constant within a step) and the propagator of each step exact. The
    initial velocity is that of a run from rest (for the heavy ball -grad F/(1 + beta)),
    with which the error is of second order in the learning rate once the initial
    layer, a few times 1/(1 - beta) steps, is over (and of first order inside it). A
    law that is no oscillator is the balance of its charge: c' = S.

    Args:
        raw: whether to take S from the gradient of each step in place of the measured
            velocity, as closed forms in the gradient do. Under noise that is larger by
            (1 + beta)/(1 - beta).

    Returns:
        float64 of shape (steps,) or (steps, units).

    Raises:
        LagrangianError: the rule has no continuous law: its metric moves.
    """
    if not run.rule.is_euclidean:
        raise LagrangianError(
            f"{type(run.rule).__name__} has no continuous law to predict a charge by: "
            "its metric changes along the run. Its discrete law is exact; see `check`."
        )
    record = run[law]
    source = (record.raw_source if raw else record.source).astype(np.float64)
    rates = run.learning_rates
    predicted = np.empty_like(source)
    oscillator = law.oscillator
    if oscillator is None:
        predicted[0] = record.quantity[0]
        predicted[1:] = record.quantity[0] + np.cumsum(
            (source.T * rates).T[:-1], axis=0
        )
        return predicted
    state = np.stack([record.quantity[0], record.start[0]]).astype(np.float64)
    propagators = {
        rate: _propagator(oscillator, run.rule, rate) for rate in np.unique(rates)
    }
    for k, rate in enumerate(rates):
        predicted[k] = state[0]
        free, driven = propagators[rate]
        state = np.tensordot(free, state, 1) + np.multiply.outer(driven, source[k])
    return predicted


def _propagator(
    oscillator: Oscillator, rule: Rule, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """One step of the oscillator: the 2 x 2 matrix, and the response to S."""
    if rate == 0:  # no time passes in a step of a schedule that starts from zero
        return np.eye(2), np.zeros(2)
    values = rule.parameters(rate)
    mass, damping, stiffness = (
        float(term.xreplace(values))
        for term in (oscillator.mass, oscillator.damping, oscillator.stiffness)
    )
    generator = np.array(
        [
            [0.0, 1.0, 0.0],
            [-stiffness / mass, -damping / mass, 1 / mass],
            [0.0, 0.0, 0.0],
        ]
    )
    step = expm(generator * rate)
    return step[:2, :2], step[:2, 2]
