"""From rest, where sizes are zero: what waits for a motion that has not begun."""

import jax
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

x, y = lg.coordinates("x y")
A, B, C, T0 = sp.symbols("A B C T0", positive=True)
t = lg.time

#: Two masses that feel each other; one is pushed by a force that comes out of rounding.
COUPLED = lg.Lagrangian(
    x.dot**2 / 2 + y.dot**2 / 2 + C * x.dot * y.dot * sp.cos(x - y),
    -sp.cos(x) - 2 * sp.cos(y) - x * (1 + sp.tanh(4 * (t - T0))) / 2,
)
#: No series at rest: a force of power 3/2.
FALLING = lg.Lagrangian(
    (x.dot**2 + y.dot**2) / 2,
    A * y,
    dissipation=B * (x.dot**2 + y.dot**2) ** sp.Rational(3, 2) / 3,
)


def by(way, flow, q, v, end, tol):
    """The state at the end, of which nothing is known in between."""
    if way == "integrate":
        path = flow.integrate(q, v, (0.0, end), tol=tol, points=2)
        return np.concatenate([path.q[-1], path.v[-1]])
    if way == "ensemble":
        many = flow.ensemble([q], [v], (0.0, end), tol=tol, progress=False)
        assert not many.failures
        return np.concatenate([many.q[0, -1], many.v[0, -1]])
    with jax.enable_x64(True):
        return np.concatenate(MAP(flow, np.array(q), np.array(v), end, tol=tol))


MAP = jax.jit(
    lambda flow, q, v, end, tol: flow.flow_map(q, v, (0.0, end), tol=tol),
    static_argnames="tol",
)
tolerances = st.sampled_from([1e-5, 1e-8, 1e-11])


@settings(max_examples=12, deadline=None)
@given(st.floats(0.05, 0.8), st.floats(3, 7), st.sampled_from([0.0, np.pi]), tolerances)
def test_coupled_masses_wait_for_a_force_that_comes_out_of_rounding(c, at, angle, tol):
    """Upright or hanging: each mass feels the rounding of the other's force."""
    flow = lg.lower(COUPLED, {C: c, T0: at})
    start = [angle, angle], [0.0, 0.0]
    end = at + 1
    truth = by("integrate", flow, *start, end, 1e-13)
    # Upright, what is left of pi in float64 grows, too.
    allowed = 1e3 * tol + 1e-13 * np.exp(2.5 * end) * (angle > 0)
    found = by("ensemble", flow, *start, end, tol)
    assert np.abs(found - truth).max() < allowed


@settings(max_examples=8, deadline=None)
@given(st.floats(1, 20), st.floats(0.05, 1), tolerances)
@pytest.mark.parametrize("way", ["integrate", "ensemble", "flow map"])
def test_a_fall_through_a_force_without_a_series(way, weight, drag, tol):
    flow = lg.lower(FALLING, {A: weight, B: drag})
    end = 2.0
    found = by(way, flow, [0.0, 0.0], [0.0, 0.0], end, tol)
    # y'' = -A + B y'^2: the closed form for a force that grows with the square.
    pace = np.sqrt(weight * drag)
    speed = np.sqrt(weight / drag) * np.tanh(pace * end)
    way_down = np.log(np.cosh(pace * end)) / drag
    np.testing.assert_allclose(found, [0, -way_down, 0, -speed], atol=1e3 * tol)
