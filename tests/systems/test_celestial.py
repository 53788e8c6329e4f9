"""Kepler's laws, the figure eight, and Henon and Heiles's escape energy."""

import numpy as np
import pytest
import scipy.special
import sympy as sp

import lagrangian as lg
from lagrangian.systems.mechanics import make_system


@pytest.mark.parametrize(("mu", "eccentricity"), [(1.0, 0.6), (2.5, 0.2)])
def test_keplers_third_law(follow, mu, eccentricity):
    """From the perihelion back to it in 2 pi sqrt(a^3/mu), and half-way across."""
    a, e = 1.7, eccentricity
    near, far = a * (1 - e), a * (1 + e)
    speed = np.sqrt(mu / a * (1 + e) / (1 - e))
    values = {"mu": mu, "x": near, "y.dot": speed}
    path, (x, y) = follow("kepler", 2 * np.pi * np.sqrt(a**3 / mu), values, tol=1e-13)
    np.testing.assert_allclose(path.q[-1], [near, 0], atol=1e-10)
    np.testing.assert_allclose(path.q[100], [-far, 0], atol=1e-10)


def test_the_default_orbit_has_the_period_two_pi(follow):
    path, _ = follow("kepler", 2 * np.pi, tol=1e-13)
    np.testing.assert_allclose(path.q[-1], [0.4, 0.0], atol=1e-10)


def test_the_perihelion_stays_unless_the_force_is_another(follow):
    """The Runge-Lenz vector; -h/r^2 more turns it by 2 pi (1/sqrt(1 - 2 h/L^2) - 1)."""
    system = make_system("kepler")
    x, y = system.lagrangian.coordinates
    turning = x * y.dot - y * x.dot
    runge_lenz = sp.Matrix([y.dot * turning, -x.dot * turning])
    runge_lenz -= sp.Matrix([x, y]) / sp.sqrt(x**2 + y**2)
    path, _ = follow("kepler", 20.0, tol=1e-13)
    vector = np.stack([path.evaluate(part) for part in runge_lenz], axis=-1)
    np.testing.assert_allclose(vector, np.tile([0.6, 0.0], (201, 1)), atol=1e-10)

    h, momentum, m = 0.01, 0.8, sp.Symbol("m", positive=True)
    more = lg.Lagrangian(
        system.lagrangian.T, system.lagrangian.V - m * h / (x**2 + y**2)
    )
    flow = lg.lower(more, system.parameters)
    long = flow.integrate(
        system.positions, system.velocities, list(np.linspace(0, 8, 8001)), tol=1e-12
    )
    radius, angle = np.hypot(long[x], long[y]), np.unwrap(np.arctan2(long[y], long[x]))
    nearest = 1000 + np.argmin(radius[1000:])  # the next perihelion
    # A parabola through three samples; the angle is linear between two of them.
    before, at, after = radius[nearest - 1 : nearest + 2]
    shift = (before - after) / (2 * (before - 2 * at + after))
    found = angle[nearest] + shift * (angle[nearest + 1] - angle[nearest - 1]) / 2
    turn = 2 * np.pi * (1 / np.sqrt(1 - 2 * h / momentum**2) - 1)
    assert turn > 0.09
    assert found - 2 * np.pi == pytest.approx(turn, abs=1e-4)


PERIOD = 6.32591398  # Chenciner and Montgomery (2000)


def test_the_figure_eight_closes_after_its_period(follow):
    path, coordinates = follow("three-body", PERIOD, tol=1e-13)
    assert [c.name for c in coordinates] == ["x1", "y1", "x2", "y2", "x3", "y3"]
    np.testing.assert_allclose(path.q[-1], path.q[0], atol=1e-7)
    np.testing.assert_allclose(path.v[-1], path.v[0], atol=1e-7)


def test_on_the_figure_eight_each_body_follows_another(follow):
    """After a third of the period the bodies have changed places cyclically."""
    path, _ = follow("three-body", PERIOD / 3, tol=1e-13)
    start, end = (q.reshape(3, 2) for q in (path.q[0], path.q[-1]))
    orders = [[1, 2, 0], [2, 0, 1]]
    errors = [np.abs(end - start[order]).max() for order in orders]
    assert min(errors) < 1e-7 and max(errors) > 0.5


def test_with_another_mass_there_is_no_figure_eight(follow):
    path, _ = follow("three-body", PERIOD, {"m1": 1.1})
    assert np.abs(path.q[-1] - path.q[0]).max() > 0.01


def test_the_saddles_of_henon_and_heiles_lie_at_one_sixth():
    system = make_system("henon-heiles").lagrangian
    x, y = system.coordinates
    slopes = [system.V.diff(x), system.V.diff(y)]
    heights = [system.V.subs(at) for at in sp.solve(slopes, [x, y], dict=True)]
    strength = sp.Symbol("lambda", positive=True)
    assert sorted(map(sp.expand, heights)) == [0, *[1 / (6 * strength**2)] * 3]


@pytest.mark.parametrize(("energy", "escapes"), [(0.166, False), (0.168, True)])
def test_a_star_escapes_above_one_sixth_only(energy, escapes):
    system = make_system("henon-heiles", {"x.dot": 0.0, "y.dot": np.sqrt(2 * energy)})
    flow = lg.lower(system.lagrangian, system.parameters)
    start = system.positions, system.velocities
    if escapes:
        with pytest.raises(lg.IntegrationFailed):
            flow.integrate(*start, (0, 100), tol=1e-10, max_steps=5000)
    else:
        assert np.abs(flow.integrate(*start, (0, 100), tol=1e-10).q).max() < 1


def test_the_straight_orbit_of_henon_and_heiles_has_its_elliptic_period(follow):
    """2 sqrt(6/(c - a)) K((b - a)/(c - a)), as y'^2 = (2/3)(y - a)(y - b)(y - c)."""
    energy = 1 / 12
    a, b, c = np.sort(np.roots([2 / 3, -1.0, 0.0, 2 * energy]).real)
    period = 2 * np.sqrt(6 / (c - a)) * scipy.special.ellipk((b - a) / (c - a))
    start = {"x.dot": 0.0, "y.dot": 0.0, "y": b}
    path, (x, y) = follow("henon-heiles", period, start, tol=1e-13)
    assert path[y][-1] == pytest.approx(b, abs=1e-10)
    assert path[y][100] == pytest.approx(a, abs=1e-10)
    assert np.abs(path[x]).max() == 0
