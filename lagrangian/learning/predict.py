"""The continuous law, solved along a run: what the charge should have been."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import expm

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.run import Record, Run
from lagrangian.symbolic.noether import Law, Oscillator

#: Steps of one learning rate that are made by one matrix.
_AT_ONCE = 64
#: Matrices that are kept for later steps.
_KEPT = 1024


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
    return predictor(run, law, raw)(run[law])


def predictor(run: Run, law: Law, raw: bool = False) -> Callable[[Record], np.ndarray]:
    """`predict` of one part of the run's record after the other, as they are passed."""
    first, oscillator = run[law].rows(0, 1), law.oscillator
    if oscillator is None:
        return _Balance(first.quantity[0], raw)
    state = np.stack([first.quantity[0], first.start[0]])
    return _Driven(state, raw, partial(_propagator, oscillator, run.rule))


def _source(part: Record, raw: bool) -> np.ndarray:
    return part.raw_source if raw else part.source


class _Balance:
    """c' = S."""

    def __init__(self, charge: np.ndarray, raw: bool):
        self.charge, self.raw = charge, raw

    def __call__(self, part: Record) -> np.ndarray:
        gained = np.cumsum(part.rates * _source(part, self.raw), axis=0)
        predicted = self.charge + np.concatenate([0 * gained[:1], gained[:-1]])
        self.charge = self.charge + gained[-1]
        return predicted


class _Driven:
    """mass x'' + damping x' + stiffness x = S, many steps of one rate at once."""

    def __init__(self, state: np.ndarray, raw: bool, propagator: Callable[..., Any]):
        self.state, self.raw = state.reshape(2, -1), raw
        # A schedule may have a rate a step: not all of them are kept.
        self.steps = lru_cache(_KEPT)(partial(_steps, propagator))

    def __call__(self, part: Record) -> np.ndarray:
        source = _source(part, self.raw)
        driving, rates = source.reshape(len(source), -1), part.rates.ravel()
        predicted = np.empty_like(driving)
        changes = [0, *(np.flatnonzero(np.diff(rates)) + 1), len(rates)]
        for begin, end in pairwise(changes):
            for start in range(begin, end, _AT_ONCE):
                rows = slice(start, min(start + _AT_ONCE, end))
                steps = self.steps(float(rates[start]), rows.stop - start)
                free, driven, onward, gained = steps
                predicted[rows] = free @ self.state + driven @ driving[rows]
                self.state = onward @ self.state + gained @ driving[rows]
        return predicted.reshape(source.shape)


def _steps(
    propagator: Callable[..., Any], rate: float, count: int
) -> tuple[np.ndarray, ...]:
    """What the state and the sources do to x before each of `count` steps.

    Returns:
        of shapes (count, 2) and (count, count) for that, and (2, 2) and (2, count) for
        the state behind them.
    """
    step, response = propagator(rate)
    powers = [np.eye(2)]
    for _ in range(count):
        powers.append(step @ powers[-1])
    # Of a source that many steps ago.
    responses = [power @ response for power in powers[:-1]]
    driven = np.zeros((count, count))
    for k in range(1, count):
        driven[k, :k] = [x for x, _ in responses[k - 1 :: -1]]
    free = np.stack([power[0] for power in powers[:-1]])
    return free, driven, powers[-1], np.stack(responses[::-1], axis=1)


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
