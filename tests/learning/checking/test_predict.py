"""The prediction along a run against its equation, solved one step after the other."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

import lagrangian as lg
from lagrangian.learning.checking.predict import _Driven, _Propagators
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.symbolic.laws.noether import Oscillator

STEPS = 700
RULE = lg.HeavyBall(0.01, 0.9)
#: Of mass x'' + damping x' + stiffness x = S, in the symbols of a rule.
STIFFNESS = {
    "undamped by a stiffness": sp.S.Zero,
    "over-damped": friction**2 / (400 * mass),
    "critically damped": friction**2 / (4 * mass),
    "critically damped, nearly": friction**2 / (4 * mass) * (1 + sp.Float(1e-9)),
    "under-damped": 30 * friction**2 / mass,
}
RATES = {
    "constant": np.full(STEPS, 0.01),
    "in stretches": np.repeat([0.01, 0.003, 0.02, 0.01], [65, 5, 500, 130]),
    "its own every step": 0.01 * (1 + np.cos(np.linspace(0, 3, STEPS))),
    "from zero": np.concatenate([np.zeros(3), np.linspace(0, 0.02, STEPS - 3)]),
}


def oscillator(stiffness):
    return Oscillator(sp.Symbol("x"), mass, friction, stiffness, sp.Symbol("S"))


def one_by_one(oscillator, rule, state, rates, source):
    """x before every step."""
    positions, state = [], np.array(state)
    for rate, force in zip(rates, source, strict=True):
        positions.append(state[0])
        if rate == 0:
            continue
        m, c, k = (
            float(term.xreplace(rule.parameters(rate)))
            for term in (oscillator.mass, oscillator.damping, oscillator.stiffness)
        )
        step = expm(rate * np.array([[0, 1, 0], [-k / m, -c / m, 1 / m], [0, 0, 0]]))
        state = step[:2, :2] @ state + step[:2, 2:] * force
    return np.array(positions)


def part(source, rates):
    """What is read of a record."""
    return SimpleNamespace(source=source, raw_source=2 * source, rates=rates[:, None])


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("stiffness", STIFFNESS)
def test_it_is_the_solution_of_the_equation(stiffness, rates):
    generator = np.random.default_rng(0)
    equation = oscillator(STIFFNESS[stiffness])
    state = generator.normal(size=(2, 3))
    source = generator.normal(size=(STEPS, 3))
    expected = one_by_one(equation, RULE, state, RATES[rates], source)
    size = np.abs(expected).max()

    predicted = _Driven(state, False, _Propagators(equation, RULE))
    # In parts of any length, as those of a long record.
    pieces = [
        predicted(part(source[rows], RATES[rates][rows]))
        for rows in (slice(0, 1), slice(1, 200), slice(200, None))
    ]
    np.testing.assert_allclose(
        np.concatenate(pieces), expected, rtol=0, atol=1e-13 * size
    )


def test_the_source_of_raw_gradients():
    source, state = np.ones((STEPS, 2)), np.zeros((2, 2))
    equation = oscillator(sp.S.Zero)
    measured, raw = (
        _Driven(state, raw, _Propagators(equation, RULE))(
            part(source, RATES["constant"])
        )
        for raw in (False, True)
    )
    np.testing.assert_allclose(raw, 2 * measured, rtol=1e-13)


@pytest.mark.parametrize("rates", ["constant", "its own every step"])
def test_its_memory_does_not_grow_with_the_run(rates):
    """Besides what it returns: a propagator is kept of few of the steps."""

    def needed(steps):
        source = np.ones((steps, 1))
        rates_ = np.interp(np.linspace(0, 1, steps), [0, 1], RATES[rates][[0, -1]])
        record = part(source, rates_)
        predicted = _Driven(
            np.zeros((2, 1)), False, _Propagators(oscillator(weight_decay), RULE)
        )
        tracemalloc.start()
        predicted(record)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - source.nbytes

    assert needed(40_000) < 1.2 * needed(20_000)
