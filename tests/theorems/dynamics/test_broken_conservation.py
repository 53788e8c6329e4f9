"""Charges as damped oscillators: the closed form, its regimes, and what refutes it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lagrangian as lg
from lagrangian.theorems.dynamics import broken_conservation as module
from lagrangian.theorems.testbeds.classifier import SYMMETRIES, without_normalisation
from lagrangian.theorems.testbeds.oscillator import driven, green_function, regime_of

OSCILLATORS = {"underdamped": (0.3, 2.0), "critically damped": (1.5, 2.25)}
OSCILLATORS["overdamped"] = (2.0, 0.7)


@pytest.mark.parametrize("regime", OSCILLATORS)
def test_the_closed_form_is_what_a_solver_finds(regime):
    """SciPy's DOP853, from the same start, over the same constant pushes."""
    damping, stiffness = OSCILLATORS[regime]
    assert regime_of(damping, stiffness) == regime
    pushes = np.random.default_rng(0).normal(size=(12, 1))
    found = driven(
        damping, stiffness, np.array([0.7]), np.array([-0.4]), pushes, step=0.25
    )
    state, expected = np.array([0.7, -0.4]), []
    for (push,) in pushes:
        expected.append(state[0])
        state = solve_ivp(
            lambda t, y, s=push: [y[1], s - 2 * damping * y[1] - stiffness * y[0]],
            (0, 0.25),
            state,
            method="DOP853",
            rtol=1e-12,
            atol=1e-12,
        ).y[:, -1]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-10)


def test_the_derived_constants_are_the_stated_ones():
    claims = list(module._constants_claims())
    assert len(claims) == 9 and all(claim.holds for claim in claims)


def test_a_wrong_statement_is_refuted(monkeypatch):
    """Of the damping, twice the right one."""
    right = module._stated
    monkeypatch.setattr(
        module,
        "_stated",
        lambda name, rule: (2 * right(name, rule)[0], *right(name, rule)[1:]),
    )
    failed = [c.what for c in module._constants_claims() if not c.holds]
    assert failed == [f"{name}: gamma minus the stated" for name in SYMMETRIES]


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_a_rule_for_every_regime(ratio):
    rule = module.rule_of(ratio, turn=0.1)
    gamma, square = map(float, module.constants("scale", rule))
    assert gamma / np.sqrt(square) == pytest.approx(ratio)
    assert np.sqrt(square) * rule.rate(0) == pytest.approx(0.1)


def test_the_initial_velocity_of_a_run_from_rest_counts():
    run = module.observed(module.rule_of(0.5, 0.05), 80, seed=2)
    for name in SYMMETRIES:
        corrected = module.deviation(run, name)
        assert corrected < 1e-3
        assert module.deviation(run, name, from_rest=False) > 20 * corrected


def test_without_the_symmetry_it_fails():
    rule = module.rule_of(0.5, 0.05)
    broken = module.observed(rule, 80, 2, without_normalisation)
    assert module.deviation(broken, "scale") > 1e-2
    assert module.deviation(broken, "translation") < 1e-3


def test_no_decay_no_oscillation():
    """The limit that closed forms with a division by omega would miss."""
    rule = replace(module.rule_of(2.0, 0.05), weight_decay=1e-9)
    run = module.observed(rule, 40, seed=2)
    assert module.deviation(run, "scale") < 1e-3
    assert str(green_function("overdamped")) != str(green_function("underdamped"))


@pytest.mark.slow
def test_it_is_verified():
    assert lg.verify("broken-conservation", seed=1).holds
