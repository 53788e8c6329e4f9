"""Generators made of linear maps and of constants."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

RULE = lg.HeavyBall(0.05, 0.9, 1e-3)
DATA = np.ones((4, 1), np.float32)
(W,) = [lg.blocks("w")]
A, S, R = lg.LinearMap("A"), lg.LinearMap("S", 1), lg.LinearMap("R", -1)


def run_of(generator, maps, loss, steps=30):
    symmetry = lg.Symmetry({W: generator})
    run = lg.train(
        {"w": jnp.array([1.0, -0.5, 2.0])},
        lambda q, batch: loss(q["w"]) + 0 * jnp.sum(batch),
        DATA,
        RULE,
        steps,
        observe=[symmetry],
        maps=maps,
        batch_size=None,
    )
    return lg.check(run)[0]


@settings(max_examples=3, deadline=None)
@given(st.lists(st.sampled_from([-2.0, 1.0, 3.0]), min_size=3, max_size=3))
def test_a_shift_by_any_constant_array(entries):
    """As a constant block, and as a map of the block of ones."""
    shift = jnp.array(entries)

    def loss(w, broken=0.0):
        rest = w - shift * (shift @ w) / (shift @ shift)
        return jnp.sum(jnp.sin(rest)) + broken * jnp.sin(shift @ w)

    constant = lg.ConstantBlock("a")
    for generator, maps in (
        (constant, {constant: shift}),
        (A(lg.ones), {A: lambda one: shift * one}),
    ):
        assert run_of(generator, maps, loss).holds
        broken = run_of(generator, maps, lambda w: loss(w, 1.0))
        assert broken.verdict == "symmetry absent"


MATRIX = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("linear_map", "function", "message"),
    [
        (A, lambda x: 0 * x + 1, "`A` is not linear.*`lg.ConstantBlock`"),
        (A, lambda x: x**2, "`A` is not linear"),
        (S, lambda x: jnp.asarray(MATRIX) @ x, "`S` is not symmetric"),
        (R, lambda x: jnp.asarray(MATRIX + MATRIX.T) @ x, "`R` is not antisymmetric"),
        (S, lambda x: x[:2], "the shape .3,. to .2,.. Leave the parity out"),
    ],
)
def test_maps_that_are_not_what_they_are_said_to_be(linear_map, function, message):
    with pytest.raises(lg.LagrangianError, match=message):
        run_of(linear_map(W), {linear_map: function}, jnp.sum, 2)


def test_maps_that_are():
    matrix = jnp.asarray(MATRIX)
    for linear_map, chosen in ((A, matrix), (R, matrix - matrix.T)):
        run_of(linear_map(W), {linear_map: lambda x, m=chosen: m @ x}, jnp.sum, 2)
