"""Nesterov, dampening and decoupled decay: twins, flows and their orders."""

import numpy as np
import optax
import pytest

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import (
    gain,
    learning_rate,
    momentum,
    weight_decay,
)

RATES = [0.02, 0.01, 0.005, 0.0025]
VARIANTS = {
    "nesterov": {"nesterov": True},
    "decoupled": {"decoupled": True},
    "dampened": {"dampening": 0.4},
    "all": {"nesterov": True, "decoupled": True, "dampening": 0.4},
}


def variant(name, eta):
    return lg.HeavyBall(eta, 0.5, weight_decay=0.3, **VARIANTS[name])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_recursion_that_is_stated(name, discrete, slope, start):
    """In plain NumPy, as the docstring has it."""
    rule = variant(name, 0.1)
    q, p = start, 0.0
    for _ in range(20):
        coupled, decoupled = (0, 0.3) if rule.decoupled else (0.3, 0)
        g = (1 - rule.dampening) * (np.asarray(slope(q)) + coupled * q)
        p = 0.5 * p + g
        move = 0.5 * p + g if rule.nesterov else p
        q = q - 0.1 * (move + decoupled * q)
    np.testing.assert_allclose(discrete(rule.optax(), start, 20), q, rtol=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_twin_of_optax(nesterov, discrete, start):
    ours = lg.HeavyBall(0.1, 0.9, nesterov=nesterov).optax()
    theirs = optax.sgd(0.1, momentum=0.9, nesterov=nesterov)
    np.testing.assert_array_equal(
        discrete(ours, start, 30), discrete(theirs, start, 30)
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_the_second_order_flow_from_rest(name, discrete, second_order, start, order):
    """Order two with the variant's own mass, friction and initial velocity."""
    right, plain, still = [], [], []
    for eta in RATES:
        rule = variant(name, eta)
        end = discrete(rule.optax(), start, round(2 / eta))
        right.append(np.linalg.norm(end - second_order(rule, start, 2.0)))
        heavy = lg.HeavyBall(eta, 0.5, weight_decay=0.3)
        plain.append(np.linalg.norm(end - second_order(heavy, start, 2.0)))
        flow = second_order(rule, start, 2.0, velocity=0 * start)
        still.append(np.linalg.norm(end - flow))
    assert order(right, RATES) == pytest.approx(2, abs=0.1)
    # Controls: the plain heavy ball's numbers, and a start at velocity zero.
    assert order(plain, RATES) < 1.3
    assert order(still, RATES) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("highest", [0, 1])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_modified_flow(name, highest, discrete, first_order, start, order, slope):
    errors = []
    for eta in RATES:
        rule = variant(name, eta)
        flow = lg.modified_flow(rule, highest)
        (w,) = flow.velocity
        values = {
            learning_rate: eta,
            momentum: 0.5,
            weight_decay: 0.3,
            gain: rule.gain,
        }
        # A run from rest falls behind by this while its trace grows.
        pull = np.asarray(slope(start)) + rule.coupled_decay * start
        behind = 0.25 if rule.nesterov else 0.5
        offset = eta * behind * rule.gain * pull / 0.5**2
        field = flow.velocity[w].xreplace({s: value for s, value in values.items()})
        end = discrete(rule.optax(), start, round(2 / eta))
        reached = first_order(field, start + (offset if highest else 0), 2.0)
        errors.append(np.linalg.norm(end - reached))
    assert order(errors, RATES) == pytest.approx(highest + 1, abs=0.15)


def test_dampening_by_the_momentum_averages_the_gradients():
    """m of an average of gradients: half a step and their mean age b/(1 - b)."""
    averaged = lg.HeavyBall(0.1, 0.9, dampening=0.9).parameters()
    mass, friction = list(averaged.values())[:2]
    assert mass == pytest.approx(0.1 * (0.5 + 0.9 / 0.1))
    assert friction == pytest.approx(1)
