"""Functions of one element: their derivatives, at branches of a modulus, too."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.learning.rules.potentials import elementwise

x = sp.Symbol("x", real=True)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([sp.Rational(5, 4), sp.Rational(3, 2), sp.S(2), sp.S(3), sp.S(5)]),
    st.integers(-2, 2),
    st.floats(0.1, 3),
)
def test_the_curvature_of_powers_of_a_modulus(power, centre, distance):
    """Its branch is a matter of writing: beside it, |x - c|^p is a power."""
    h = elementwise(lambda w: abs(w - centre) ** power / power + w**2 / 2, x)
    for side in (-1, 1):
        at = sp.Float(centre + side * distance)
        found = float(h.derivative(2).subs(x, at))
        wanted = 1 + float(power - 1) * distance ** float(power - 2)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert not h.derivative(3).has(sp.DiracDelta)


@pytest.mark.parametrize("kind", [lg.NaturalGradient, lg.MirrorDescent])
def test_a_slope_that_jumps_has_no_curvature(kind):
    with pytest.raises(lg.LagrangianError, match=r"`potential` is .* slope jumps"):
        kind(0.1, lambda w: abs(w) + w**2 / 2)


def test_a_step_in_the_geometry_of_a_modulus():
    rule = lg.NaturalGradient(0.1, lambda w: abs(w) ** 3 / 6).optax()
    w = {"w": jnp.array([1.0, -2.0, 0.5])}
    moved, _ = rule.update({"w": jnp.ones(3)}, rule.init(w), w)
    np.testing.assert_allclose(moved["w"], [-0.1, -0.05, -0.2], rtol=1e-6)
