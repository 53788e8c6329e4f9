"""Pendulums against their small oscillations and steady motions."""

import math

import numpy as np
import pytest
import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.systems.mechanics import make_system

G = 9.81


def test_small_swings_of_the_double_pendulum_have_the_known_frequencies(follow):
    """omega^2 = (2 -+ sqrt 2) g/l, the normal modes with angles 1 : -+ sqrt 2."""
    for sign in (-1, 1):
        omega = np.sqrt((2 + sign * np.sqrt(2)) * G)
        start = {"a": 1e-4, "b": -sign * np.sqrt(2) * 1e-4}
        period, (a, b) = follow("double-pendulum", 2 * np.pi / omega, start, tol=1e-13)
        assert period[a][-1] == pytest.approx(1e-4, rel=1e-6)
        assert period[b][-1] == pytest.approx(start["b"], rel=1e-6)


def test_the_chain_of_two_links_is_the_double_pendulum():
    chain = make_system("n-pendulum", {"links": 2}).lagrangian
    double = make_system("double-pendulum").lagrangian
    angles = dict(zip(chain.coordinates, double.coordinates, strict=True))
    angles |= {q.dot: p.dot for q, p in angles.items()}
    assert sp.expand(chain.T.xreplace(angles) - double.T) == 0
    assert sp.expand(chain.V.xreplace(angles) - double.V) == 0


@pytest.mark.parametrize("links", [1, 3])
def test_small_swings_of_a_chain_are_bernoullis(follow, links):
    """omega^2 = (g/l) x with L_n(x) = 0; the shape of a mode is L_k(x) by its end k."""
    system = make_system("n-pendulum", {"links": links})
    angles = system.lagrangian.coordinates
    for zero in np.polynomial.laguerre.lagroots([0] * links + [1]):
        ends = [
            np.polynomial.laguerre.lagval(zero, [0] * (links - k) + [1])
            for k in range(links + 1)
        ]
        # The displacements of the masses, from the lowest (L_0 = 1) to the support (0).
        shape = np.diff(ends)
        start = 1e-4 * shape / np.abs(shape).max()
        values = {q.name: s for q, s in zip(angles, start, strict=True)}
        period = 2 * np.pi / np.sqrt(G * zero)
        path, _ = follow("n-pendulum", period, {"links": links, **values}, tol=1e-13)
        np.testing.assert_allclose(path.q[-1], start, atol=1e-10)
        np.testing.assert_allclose(path.q[100], -start, atol=1e-10)


def test_a_chain_needs_a_whole_number_of_links():
    with pytest.raises(LagrangianError, match="`links` is 0"):
        make_system("n-pendulum", {"links": 0})
    with pytest.raises(LagrangianError, match=r"`links` is 2.5; write a whole number"):
        make_system("n-pendulum", {"links": 2.5})


def test_the_conical_pendulum_keeps_its_angle(follow):
    """phi.dot^2 = g/(l cos theta), and at no other rate."""
    rate = np.sqrt(G / (0.7 * np.cos(1.1)))
    values = {"l": 0.7, "theta": 1.1, "phi.dot": rate}
    path, (theta, phi) = follow("spherical-pendulum", 5.0, values)
    np.testing.assert_allclose(path[theta], 1.1, atol=1e-9)
    np.testing.assert_allclose(path[phi], rate * path.t, atol=1e-8)
    control, _ = follow("spherical-pendulum", 5.0, values | {"phi.dot": 1.1 * rate})
    assert np.ptp(control[theta]) > 0.05


@pytest.mark.parametrize("latitude", [0.85252, 0.0, math.pi / 6])
def test_foucaults_pendulum_turns_by_omega_sin_latitude(follow, latitude):
    """z = x + i y = exp(-i W t) w(t), w at the frequency sqrt(g/l + W^2)."""
    turn = 7.2921159e-5 * np.sin(latitude)
    path, (x, y) = follow(
        "foucault-pendulum", 3600.0, {"latitude": latitude}, tol=1e-13
    )
    omega = np.sqrt(G / 67 + turn**2)
    # From rest on the turning ground: w(0) = 3 and w'(0) = i W 3.
    swing = 3 * (np.cos(omega * path.t) + 1j * turn / omega * np.sin(omega * path.t))
    expected = np.exp(-1j * turn * path.t) * swing
    np.testing.assert_allclose(path[x] + 1j * path[y], expected, atol=1e-7)


def test_foucaults_pendulum_takes_32_hours_in_paris(follow):
    """The plane of the swing, fitted to the path, against the published 11.3 deg/h."""
    path, (x, y) = follow("foucault-pendulum", np.linspace(0, 3600, 4001), tol=1e-11)
    last = path.t > 3600 - 2 * np.pi * np.sqrt(67 / G)
    xx, yy, xy = (
        (path[p][last] * path[q][last]).mean() for p, q in ((x, x), (y, y), (x, y))
    )
    plane = np.degrees(np.arctan2(2 * xy, xx - yy) / 2)
    assert plane == pytest.approx(-11.3, abs=0.05)
    assert 360 / -plane == pytest.approx(31.8, abs=0.1)


def test_the_bead_leaves_the_bottom_above_the_critical_rate(follow):
    """cos theta = g/(R Omega^2), about it at the frequency Omega sin(theta)."""
    rest = np.arccos(G / (0.8 * 25))
    omega = 5 * np.sin(rest)
    values = {"R": 0.8, "theta": rest}
    path, (theta,) = follow("rotating-hoop", 5.0, values)
    np.testing.assert_allclose(path[theta], rest, atol=1e-10)
    period, _ = follow(
        "rotating-hoop", 2 * np.pi / omega, values | {"theta": rest + 1e-4}, tol=1e-13
    )
    assert period[theta][-1] == pytest.approx(rest + 1e-4, abs=1e-9)
    assert period[theta][100] == pytest.approx(rest - 1e-4, abs=1e-7)


@pytest.mark.parametrize("rate", [3.0, 3.2])
def test_the_bottom_of_the_hoop_is_stable_below_sqrt_of_g_over_r(follow, rate):
    """sqrt(9.81) = 3.132: a swing at 3.0 and exponential growth at 3.2."""
    path, (theta,) = follow("rotating-hoop", 3.0, {"Omega": rate, "theta": 1e-5})
    growth = np.sqrt(complex(rate**2 - G))
    expected = 1e-5 * np.cosh(growth * path.t).real
    np.testing.assert_allclose(path[theta], expected, atol=1e-12)


def test_small_oscillations_of_the_elastic_pendulum(follow):
    """sqrt(k/m) along the spring and sqrt(g/r0) across, r0 = l + m g/k."""
    values = {"m": 0.5, "l": 0.9, "k": 40.0}
    rest = 0.9 + 0.5 * G / 40
    for omega, r0, theta0 in (
        (np.sqrt(80.0), rest + 1e-5, 0.0),
        (np.sqrt(G / rest), rest, 1e-5),
    ):
        path, (r, theta) = follow(
            "elastic-pendulum",
            2 * np.pi / omega,
            values | {"r": r0, "theta": theta0},
            tol=1e-13,
        )
        assert path[r][-1] == pytest.approx(r0, abs=1e-9)
        assert path[theta][-1] == pytest.approx(theta0, abs=1e-9)
        assert np.ptp(path[r]) + np.ptp(path[theta]) > 1.9e-5


@pytest.mark.parametrize(("stiffness", "grows"), [(3 * G, True), (4 * G, False)])
def test_bouncing_feeds_swinging_at_the_resonance_only(follow, stiffness, grows):
    """At k l = 3 m g the swing grows at the rate 3 omega C/(4 r0), C the bounce.

    Mathieu's equation for theta with r = r0 + C cos(2 omega t), to first order in C.
    """
    rest, bounce = 1 + G / stiffness, 0.01
    omega = np.sqrt(G / rest)
    rate = 3 * omega * bounce / (4 * rest)
    path, (r, theta) = follow(
        "elastic-pendulum",
        np.linspace(0, 4 / rate, 4001),
        {"k": stiffness, "r": rest + bounce, "theta": 1e-7},
    )
    swing = np.hypot(path[theta], path[theta.dot] / omega)
    half = len(path.t) // 2
    early, late = swing[half - 200 : half].max(), swing[-200:].max()
    measured = np.log(late / early) / (path.t[-1] - path.t[half - 1])
    if grows:
        assert measured == pytest.approx(rate, rel=0.03)
    else:
        assert abs(measured) < 0.03 * rate
