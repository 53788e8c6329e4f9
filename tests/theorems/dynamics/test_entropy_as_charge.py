"""Entropy as a charge: the minima, the steps along them, and what is refuted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian as lg
from lagrangian.theorems.dynamics import (
    descent_heat,
    path_action,
    slow_probe,
    slow_schedules,
)
from lagrangian.theorems.dynamics import entropy_as_charge as module
from lagrangian.theorems.dynamics.slow_schedules import Ball, geometric, linear

BALL = Ball(0.1, 0.9)


@pytest.fixture(scope="module")
def curve():
    return slow_schedules.minima(0)


def value(q, decay, x, y):
    logits = jax.nn.log_softmax(x @ q.reshape(slow_schedules.SIZES))
    return -(logits * y).sum(axis=1).mean() + decay / 2 * q @ q


def test_slopes_and_curvatures_are_those_of_automatic_differentiation(curve):
    data = curve.inputs, curve.targets
    q = np.random.default_rng(0).normal(size=curve.weights.shape[1])
    found = slow_schedules.shape_of(q, 0.3, *data)
    with jax.enable_x64(True):
        given = jnp.asarray(q), 0.3, *map(jnp.asarray, data)
        told = [f(*given) for f in (value, jax.grad(value), jax.hessian(value))]
    for one, other in zip(found, told, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


def test_minima_have_no_slope_and_are_joined_by_their_tangents(curve):
    data = curve.inputs, curve.targets
    for i in (0, 8, 16):
        decay = np.exp(curve.logs[i])
        _, slope, _ = slow_schedules.shape_of(curve.weights[i], decay, *data)
        np.testing.assert_allclose(slope, 0, atol=1e-10)
    step = 1e-4
    sides = [
        slow_schedules.minimum(curve.weights[8], np.exp(curve.logs[8] + h), *data)[0]
        for h in (step, -step)
    ]
    between = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(curve.tangents[8], between, atol=1e-7)


def test_steps_are_those_of_optax(curve):
    """The heavy ball, with the weight decay that the schedule has at each step."""
    steps, beside = 12, np.linspace(-1, 1, curve.weights.shape[1])
    found = slow_schedules.descend(
        curve, BALL, (linear, geometric), steps, steps, beside
    )
    with jax.enable_x64(True):
        data = tuple(map(jnp.asarray, (curve.inputs, curve.targets)))
        decays = np.exp(geometric(np.arange(steps + 1) / steps))
        for lane, start in ((1, 0 * beside), (2, beside)):
            q = jnp.asarray(curve.weights[0] + start)
            rule = optax.sgd(BALL.eta, BALL.beta)
            state, work = rule.init(q), 0.0
            first = value(q, decays[0], *data)
            for now, later in zip(decays[:-1], decays[1:], strict=True):
                update, state = rule.update(jax.grad(value)(q, now, *data), state)
                q = q + update
                work += value(q, later, *data) - value(q, now, *data)
            spread = float(value(q, decays[-1], *data) - first)
            assert found.spread[lane] == pytest.approx(spread, abs=1e-12)
            assert found.work[lane] == pytest.approx(float(work), abs=1e-12)
            above = float(first) + float(work) - curve.values[-1]
            assert found.dissipated[lane] == pytest.approx(above, abs=1e-12)


def test_a_pace_costs_the_square_of_its_speed(curve):
    steady, least = curve.steady(BALL), curve.length(BALL) ** 2
    assert curve.cost(steady, BALL) == pytest.approx(least, rel=1e-5)
    waves = np.array([0.3, -0.2])
    uneven = curve.cost(slow_schedules.uneven(steady, waves), BALL)
    assert uneven == pytest.approx(least * (1 + waves @ waves / 2), rel=1e-5)


def test_it_is_verified_quickly():
    assert lg.verify("entropy-as-charge", quick=True).holds


def refuted(claims):
    return [c for c in claims if isinstance(c, module.Claim) and not c.is_as_expected]


def test_another_friction_of_the_probe_is_refuted(monkeypatch):
    assert not refuted(module._probe())
    told = slow_probe.told
    monkeypatch.setattr(slow_probe, "told", lambda epsilon: 1.02 * told(epsilon))
    assert refuted(module._probe())


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_another_metric_is_refuted(monkeypatch, share):
    """eta/4 or eta in the place of eta/2, where the metric tells."""
    right = slow_schedules.Minima.metric

    def wrong(self, ball):
        return right(self, dataclasses.replace(ball, eta=share * ball.eta))

    monkeypatch.setattr(slow_schedules.Minima, "metric", wrong)
    assert refuted(module._learning(0, True))


def test_another_action_is_refuted(monkeypatch):
    monkeypatch.setattr(path_action, "ENTROPY", path_action.heat * path_action.e)
    assert refuted(path_action.probe_identities())
    right = descent_heat.dissipation
    wrong = lambda along, hot, slope: right(along, 2 * hot, slope)
    monkeypatch.setattr(descent_heat, "dissipation", wrong)
    assert refuted(descent_heat.heat_identities())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("entropy-as-charge", seed=seed).holds
