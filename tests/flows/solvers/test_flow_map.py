"""The flow map and its derivatives, sections and Lyapunov exponents."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import LagrangianError

x, y = lg.coordinates("x y")
k = sp.Symbol("k", positive=True)
OSCILLATOR = lg.lower(lg.Lagrangian(x.dot**2 / 2, k * x**2 / 2), {k: 4.0})
QUARTIC = lg.lower(lg.Lagrangian(x.dot**2 / 2, k * x**4 / 4), {k: 2.0})
HENON_HEILES = lg.lower(
    lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + y**2) / 2 + x**2 * y - y**3 / 3)
)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def test_it_is_the_motion(float64):
    q, v = OSCILLATOR.flow_map(jnp.array([1.0]), jnp.array([0.5]), (0.0, 3.0))
    assert float(q[0]) == pytest.approx(np.cos(6) + 0.25 * np.sin(6), abs=1e-13)
    back = OSCILLATOR.flow_map(q, v, (3.0, 0.0))
    np.testing.assert_allclose(back, [[1.0], [0.5]], atol=1e-13)


def test_derivatives_by_state_time_and_parameter(float64):
    def final(state, times, value):
        flow = OSCILLATOR.with_parameters({k: value})
        return flow.flow_map(state[:1], state[1:], times)[0][0]

    arguments = jnp.array([1.0, 0.5]), jnp.array([0.5, 3.0]), jnp.asarray(4.0)

    def closed(state, times, value):
        omega, since = jnp.sqrt(value), times[1] - times[0]
        return (
            state[0] * jnp.cos(omega * since)
            + state[1] * jnp.sin(omega * since) / omega
        )

    expected = jax.grad(closed, (0, 1, 2))(*arguments)
    computed = jax.jit(jax.grad(final, (0, 1, 2)))(*arguments)
    for a, b in zip(computed, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
    forward = jax.jacfwd(final, (0, 1, 2))(*arguments)
    for a, b in zip(forward, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_many_starts_of_coupled_coordinates(float64):
    """Sums of more than 4096 elements, which XLA would give to a library."""
    q = lg.coordinates("q0 q1 q2 q3 q4 q5")
    coupled = sum(sp.cos(a - b) * a.dot * b.dot for a, b in pairwise(q))
    kinetic = sum(c.dot**2 for c in q) / 2 + coupled / 4
    flow = lg.lower(lg.Lagrangian(kinetic, sum(c**2 for c in q) / 2))

    def final(q0):
        return flow.flow_map(q0, jnp.zeros(6), (0.0, 1.0))[0]

    starts = jnp.linspace(-1, 1, 6 * 700).reshape(700, 6)
    many = jax.vmap(final)(starts)
    for i in (0, 600):
        np.testing.assert_allclose(many[i], final(starts[i]), atol=1e-13)


def test_derivatives_of_a_nonlinear_motion_by_differences(float64):
    def final(q0):
        return QUARTIC.flow_map(q0[None], jnp.zeros(1), (0.0, 5.0), tol=1e-14)[0][0]

    h = 1e-5
    difference = (final(jnp.asarray(1 + h)) - final(jnp.asarray(1 - h))) / (2 * h)
    assert float(jax.grad(final)(1.0)) == pytest.approx(float(difference), rel=1e-7)


def test_many_at_once(float64):
    q = jnp.linspace(0.5, 2, 4)[:, None]
    many = jax.vmap(lambda q: QUARTIC.flow_map(q, q, (0.0, 2.0)))(q)
    for i in range(4):
        alone = QUARTIC.flow_map(q[i], q[i], (0.0, 2.0))
        np.testing.assert_allclose(many[0][i], alone[0], rtol=1e-12)


def test_it_is_symplectic(float64):
    def step(state):
        q, v = HENON_HEILES.flow_map(state[:2], state[2:], (0.0, 7.0), tol=1e-14)
        return jnp.concatenate([q, v])

    jacobian = jax.jacfwd(step)(jnp.array([0.1, -0.2, 0.3, 0.25]))
    omega = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    np.testing.assert_allclose(jacobian.T @ omega @ jacobian, omega, atol=1e-11)


def test_single_precision_is_refused():
    with pytest.raises(LagrangianError, match="float64"):
        OSCILLATOR.flow_map(jnp.ones(1), jnp.ones(1), (0.0, 1.0))


def test_an_unknown_parameter_is_named():
    with pytest.raises(LagrangianError, match="no parameter `x`"):
        OSCILLATOR.with_parameters({x: 1.0})


def test_crossings_of_an_oscillator():
    path = OSCILLATOR.section([1.0], [0.0], x, (0, 20), direction=0)
    expected = (np.arange(len(path.t)) + 0.5) * np.pi / 2
    assert len(path.t) == 13
    np.testing.assert_allclose(path.t, expected, atol=1e-12)
    up = OSCILLATOR.section([1.0], [0.0], x, (0, 20))
    np.testing.assert_allclose(up.t, expected[1::2], atol=1e-12)
    assert (up[x.dot] > 0).all()
    first = OSCILLATOR.section([1.0], [0.0], x - sp.Rational(1, 2), (0, 20),
                               direction=-1, count=1)  # fmt: skip
    np.testing.assert_allclose(first.t, [np.pi / 6], atol=1e-13)
    none = OSCILLATOR.section([1.0], [0.0], x - 2, (0, 20))
    assert len(none.t) == 0 and "0 times" in repr(none)


@pytest.mark.parametrize("level", [0.9, 0.999, 0.999999])
def test_crossings_just_beside_a_turn_are_all_found(level):
    """Both of a pair, however near to each other: x = sin(t) is above for a moment."""
    unit = OSCILLATOR.with_parameters({k: 1.0})
    path = unit.section([0.0], [1.0], x - sp.Float(level), (0, 200), direction=0)
    turns = np.pi / 2 + 2 * np.pi * np.arange(32)
    expected = np.sort(
        np.concatenate([turns - np.arccos(level), turns + np.arccos(level)])
    )
    np.testing.assert_allclose(path.t, expected, atol=1e-9)
    none = unit.section([0.0], [1.0], x - 1 - 1e-9, (0, 200), direction=0)
    assert len(none.t) == 0


def test_a_surface_that_waves_faster_than_the_motion():
    """sin(40 x) along x = cos(t): x passes 25 multiples of pi/40 each half turn."""
    unit = OSCILLATOR.with_parameters({k: 1.0})
    path = unit.section([1.0], [0.0], sp.sin(40 * x), (0, 20), direction=0)
    multiples = np.pi / 40 * np.arange(-12, 13)
    times = np.concatenate([np.arccos(multiples) + 2 * np.pi * i for i in range(4)])
    times = np.sort(np.concatenate([times, 4 * np.pi * 2 - times]))
    np.testing.assert_allclose(path.t, times[(times > 0) & (times < 20)], atol=1e-12)


def test_a_ball_that_starts_on_the_ground_comes_back_to_it():
    """One Taylor step holds the whole flight, and the start is no collision."""
    ball = lg.lower(lg.Lagrangian(x.dot**2 / 2, 9.81 * x))
    path = ball.section([0.0], [10.0], x, (0, 100), direction=0)
    np.testing.assert_allclose(path.t, [20 / 9.81], rtol=1e-14)
    np.testing.assert_allclose(path[x.dot], [-10.0], rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": (1, 0)}, "`t` must be increasing"),
        ({"t": (0, np.inf)}, "`t` must be increasing"),
        ({"tol": 0.0}, "`tol` is 0.0"),
        ({"direction": 2}, "`direction` is 2"),
        ({"count": 0}, "`count` is 0"),
    ],
)
def test_arguments_of_a_section_are_checked(change, message):
    arguments = {"t": (0, 1)} | change
    with pytest.raises(LagrangianError, match=message):
        OSCILLATOR.section([1.0], [0.0], x, **arguments)


def test_a_poincare_section_stays_on_its_energy_shell():
    path = HENON_HEILES.section([0.0, 0.1], [0.4, 0.1], x, (0, 1000), tol=1e-14)
    assert len(path.t) > 100
    assert np.abs(path[x]).max() < 1e-13
    assert path.energy_drift < 1e-13


def test_an_unknown_symbol_in_the_surface_is_named():
    with pytest.raises(LagrangianError, match="`k2`"):
        OSCILLATOR.section([1.0], [0.0], x - sp.Symbol("k2"), (0, 1))


def test_lyapunov_exponents_of_an_unstable_equilibrium():
    # x = 0 of V = -k x^2/2 + ...: deviations grow and shrink like exp(+- sqrt(k) t).
    hill = lg.lower(lg.Lagrangian(x.dot**2 / 2, -k * x**2 / 2 + x**4), {k: 2.25})
    exponents = hill.lyapunov_exponents([0.0], [0.0], (0, 40))
    np.testing.assert_allclose(exponents, [1.5, -1.5], atol=0.05)


def test_exponents_of_a_motion_that_ends_are_refused():
    falling = lg.lower(lg.Lagrangian(x.dot**2 / 2, -(x**4)))  # infinite at t = 0.68
    with pytest.raises(lg.IntegrationFailed, match="between t = 0 and 1"):
        falling.lyapunov_exponents([1.0], [1.0], (0, 10))
    with pytest.raises(LagrangianError, match="`interval` is 0"):
        OSCILLATOR.lyapunov_exponents([1.0], [0.0], (0, 10), interval=0)


@pytest.mark.slow
def test_the_chaotic_orbit_of_henon_and_heiles():
    # E = 1/8, in the large chaotic sea: near 0.045 (Benettin, Galgani & Strelcyn,
    # "Kolmogorov entropy and numerical experiments", 1976). Single orbits stick to
    # islands for long (0.030 to 0.058 were seen), so five neighbours are averaged.
    def exponents(y0, t):
        v0 = [np.sqrt(2 * (1 / 8 - y0**2 / 2 + y0**3 / 3)), 0.0]
        return HENON_HEILES.lyapunov_exponents([0.0, y0], v0, (0, t))

    chaotic = np.array([exponents(-0.25 + i * 1e-5, 50_000) for i in range(5)])
    assert 0.035 < np.mean(chaotic[:, 0]) < 0.055
    assert np.abs(chaotic + chaotic[:, ::-1]).max() < 1e-3  # they come in pairs
    assert exponents(0.55, 20_000)[0] < 0.002
