"""Verdicts where rounding, or the noise of minibatches, is all that a charge meets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

TARGET = np.random.default_rng(3).normal(size=(20, 20))
START = np.random.default_rng(5).normal(size=20)
NOISE = np.random.default_rng(7).normal(size=(4096, 20))


def smooth(q, batch):
    u = q["w"] / jnp.sqrt(jnp.sum(q["w"] ** 2))
    return jnp.sin(u @ jnp.asarray(TARGET, u.dtype) @ u) + 0 * jnp.sum(batch)


def white(q, batch):
    """A random direction in every step, and nothing else to learn."""
    return batch.mean(axis=0) @ (q["w"] / jnp.sqrt(jnp.sum(q["w"] ** 2)))


def row(rule, loss, steps, dtype=jnp.float64, judged_by=None, **keywords):
    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    with jax.enable_x64(dtype == jnp.float64):
        model = {"w": jnp.asarray(START, dtype)}
        run = lg.train(
            model, loss, NOISE.astype(dtype), rule, steps, observe=[law], **keywords
        )
        run = dataclasses.replace(run, rule=judged_by or rule)
        return lg.check(run, [law])[0]


@settings(max_examples=6, deadline=None)
@given(
    exponent=st.floats(-6, -3),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    nesterov=st.booleans(),
)
def test_rounding_refutes_no_law(exponent, momentum, nesterov):
    """In float32 q + u may be q itself; in float64 the same run holds."""
    rule = lg.HeavyBall(10**exponent, momentum, nesterov=nesterov)
    assert row(rule, smooth, 100).verdict == "holds"
    found = row(rule, smooth, 100, jnp.float32)
    assert found.verdict in ("holds", "undecided"), found
    if found.verdict == "undecided":
        assert "rounding of the parameters to float32" in found.reason
        assert found.continuous - found.drift <= 0.05 < found.continuous
    if exponent < -5:
        assert found.verdict == "undecided"


def test_a_wrong_law_is_refuted_in_float32_as_well():
    rule = lg.HeavyBall(0.02, 0.9, 2e-2)
    wrong = dataclasses.replace(rule, weight_decay=2e-3)
    assert row(rule, smooth, 300, jnp.float32).holds
    found = row(rule, smooth, 300, jnp.float32, wrong)
    assert found.verdict == "law fails" and found.drift < 0.01


def white_noise_mass(b):
    """Of Nesterov's rule, over that for smooth gradients: from the second moments."""
    return ((1 - b) + 2 * b**2 * (1 + b - b**2) / (1 + 2 * b - 2 * b**3)) / (
        1 - b + 2 * b**2
    )


@settings(max_examples=4, deadline=None)
@given(momentum=st.sampled_from([0.3, 0.5, 0.8, 0.9]), seed=st.integers(0, 9))
def test_nesterovs_law_holds_under_noise_with_the_mass_that_noise_leaves(
    momentum, seed
):
    rule = lg.HeavyBall(0.01, momentum, nesterov=True)
    found = row(rule, white, 1500, batch_size=4, seed=seed)
    assert found.holds and found.continuous < 0.02, found
    assert found.mass == pytest.approx(white_noise_mass(momentum), rel=0.04)
    assert "under the noise of the gradients" in found.reason
    # The law with the stated mass is off by that much, and would have been refuted.
    assert abs(1 - 1 / found.mass) > 2 * found.continuous


def test_without_noise_the_mass_is_the_stated_one():
    for nesterov in (False, True):
        rule = lg.HeavyBall(1e-3, 0.9, 1e-3, nesterov=nesterov)
        found = row(rule, smooth, 500)
        assert found.holds and found.mass == pytest.approx(1, abs=1e-2)
        assert "noise" not in found.reason
