"""The continuous law, solved along a run: what the charge should have been."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import sympy as sp
from scipy.linalg import toeplitz

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.run import Record, Run
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law, Oscillator

#: Steps of one learning rate that are made by one matrix.
_AT_ONCE = 64
#: Steps whose propagators, one for each rate, are in memory together.
_TOGETHER = 2**14


def predict(run: Run, law: Law | Symmetry, raw: bool = False) -> np.ndarray:
    """The quantity of `law` at every step of `run`, by its continuous equation.

    Integrates mass x'' + damping x' + stiffness x = S from the initial state alone,
    with S measured (constant within a step) and the propagator of each step exact. The
    initial velocity is that of a run from rest (for the heavy ball -grad F/(1 + beta)),
    with which the error is of second order in the learning rate once the initial
    layer, a few times 1/(1 - beta) steps, is over (and of first order inside it). A
    law that is no oscillator is the balance of its charge: c' = S.

    Args:
        run: what `train` or `recorded` returned.
        law: one that the run observed, or its symmetry.
        raw: whether to take S from the gradient of each step in place of the measured
            velocity, as closed forms in the gradient do. Under noise that is larger by
            (1 + beta)/(1 - beta).

    Returns:
        float64 of shape (steps,) or (steps, units).

    Raises:
        LagrangianError: there is no continuous law: the rule's metric moves, or blocks
            of the law have learning rates without a fixed ratio.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> rule = lg.HeavyBall(0.01, momentum=0.9)
    >>> run = lg.train(model, loss, data, rule, steps=50, observe=[scale])
    >>> predicted = lg.predict(run, scale)
    >>> measured = run[scale].quantity
    >>> bool(abs(predicted - measured).max() < 0.05 * np.ptp(measured))
    True
    """
    law = run.law(law)
    record = run[law]
    if run.continuous(law) is None and record.note:
        raise LagrangianError(
            f"the blocks of {law.symmetry!r} have rules of their own and no continuous "
            f"law: {record.note}. Their discrete law is exact; read that with "
            "`lg.check`."
        )
    if run.continuous(law) is None:
        rule = record.rule or run.rule
        raise LagrangianError(
            f"{type(rule).__name__} has no continuous law to predict a charge by: its "
            "metric changes along the run. Its discrete law is exact; read that with "
            "`lg.check`."
        )
    return predictor(run, law, raw)(run[law])


def predictor(run: Run, law: Law, raw: bool = False) -> Callable[[Record], np.ndarray]:
    """`predict` of one part of the run's record after the other, as they are passed."""
    record, equation = run[law], run.continuous(law)
    assert equation is not None  # callers have asked
    oscillator = equation.oscillator
    first, rule = record.rows(0, 1), record.rule or run.rule
    if oscillator is None:
        return _Balance(first.quantity[0], raw)
    state = np.stack([first.quantity[0], first.start[0]])
    return _Driven(state, raw, _Propagators(oscillator, rule))


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
    """mass x'' + damping x' + stiffness x = S, in bounded memory.

    `scipy.signal.lfilter`, two filters in a row, is not faster, and importing it takes
    longer than most checks; as one filter of second order it loses up to five digits.
    """

    def __init__(self, state: np.ndarray, raw: bool, propagators: _Propagators):
        self.state, self.raw = state.reshape(2, -1), raw
        self.propagators = propagators

    def __call__(self, part: Record) -> np.ndarray:
        source = _source(part, self.raw)
        driving, rates = source.reshape(len(source), -1), part.rates.ravel()
        predicted = np.empty_like(driving)
        for start in range(0, len(rates), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            self._predict(rates[rows], driving[rows], predicted[rows])
        return predicted.reshape(source.shape)

    def _predict(
        self, rates: np.ndarray, driving: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Fill `predicted`, a stretch of one rate after the other."""
        changes = [0, *(np.flatnonzero(np.diff(rates)) + 1), len(rates)]
        for propagator, (begin, end) in zip(
            self.propagators(rates[changes[:-1]]), pairwise(changes), strict=True
        ):
            rows = slice(begin, end)
            move = self._one_by_one if end - begin < _AT_ONCE else self._at_once
            move(propagator, driving[rows], predicted[rows])

    def _one_by_one(
        self, propagator: np.ndarray, driving: np.ndarray, predicted: np.ndarray
    ) -> None:
        step, response = propagator[:, :2], propagator[:, 2:]
        for row, source in enumerate(driving):
            predicted[row] = self.state[0]
            self.state = step @ self.state + response * source

    def _at_once(
        self, propagator: np.ndarray, driving: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Many steps by one matrix."""
        step, response = propagator[:, :2], propagator[:, 2]
        powers = [np.eye(2)]
        for _ in range(_AT_ONCE):
            powers.append(step @ powers[-1])
        free = np.array(powers)
        # Of a source that many steps ago; the last one first.
        responses = (free[:-1] @ response)[::-1].T
        driven = toeplitz([0.0, *responses[0, :0:-1]], np.zeros(_AT_ONCE))
        for start in range(0, len(driving), _AT_ONCE):
            sources = driving[start : start + _AT_ONCE]
            count = len(sources)
            predicted[start : start + count] = (
                free[:count, 0] @ self.state + driven[:count, :count] @ sources
            )
            self.state = (
                free[count] @ self.state + responses[:, _AT_ONCE - count :] @ sources
            )


class _Propagators:
    """One step of an oscillator at each of many rates, shape (rates, 2, 3).

    The first two columns are of the state before it, the last is of S.
    """

    def __init__(self, oscillator: Oscillator, rule: Rule):
        self.rule, self.symbols = rule, tuple(rule.parameters(1.0))
        terms = oscillator.mass, oscillator.damping, oscillator.stiffness
        self.terms = sp.lambdify(self.symbols, terms, "numpy")

    def __call__(self, rates: np.ndarray) -> np.ndarray:
        # No time passes in a step of a schedule that starts from zero, at any rate.
        values = self.rule.parameters(np.where(rates > 0, rates, 1.0))
        mass, damping, stiffness = self.terms(*(values[s] for s in self.symbols))
        generators = np.zeros((len(rates), 3, 3))
        generators[:, 0, 1] = 1.0
        generators[:, 1, 0] = -stiffness / mass
        generators[:, 1, 1] = -damping / mass
        generators[:, 1, 2] = 1 / mass
        return _exponentials(generators * rates[:, None, None])[:, :2]


def _exponentials(matrices: np.ndarray) -> np.ndarray:
    """exp of a stack of small matrices, by series and squaring.

    `scipy.linalg.expm` takes them one by one, each by a LAPACK that wakes its threads:
    2 us here are 5 there on one thread, and up to 1,600 on two of a busy machine.
    """
    norm = np.abs(matrices).sum(axis=2).max()
    halvings = max(0, math.frexp(norm)[1] + 1)  # the norm of the rest is below 1/2
    small = matrices * 0.5**halvings
    # Without the identity, next to which a slow decay has few digits.
    change = term = small
    for k in range(2, 17):
        term = term @ small / k
        change = change + term
    for _ in range(halvings):
        change = 2 * change + change @ change
    return np.eye(matrices.shape[-1]) + change
