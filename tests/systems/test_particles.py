"""Gyration and drift, hyperbolic motion, and van der Pol's limit cycle."""

import numpy as np
import pytest


def test_a_charge_gyrates_and_drifts(follow):
    """v + i v_drift turns at q B/m; the centre drifts along -y at E/B."""
    m, q, B, E = 0.7, 1.3, 2.0, 0.4
    values = {"m": m, "q": q, "B": B, "E": E}
    path, (x, y, z) = follow("charged-particle", 20.0, values, tol=1e-13)
    speed = path[x.dot] + 1j * (path[y.dot] + E / B)
    expected = speed[0] * np.exp(-1j * q * B / m * path.t)
    np.testing.assert_allclose(speed, expected, atol=1e-9)
    np.testing.assert_allclose(path[z], 0.1 * path.t, atol=1e-12)


def test_without_a_magnetic_field_nothing_turns(follow):
    path, (x, y, _) = follow("charged-particle", 5.0, {"B": 0.0, "E": 0.4})
    np.testing.assert_allclose(path[x], 1 + 0.2 * path.t**2, atol=1e-10)
    np.testing.assert_allclose(path[y], -path.t, atol=1e-10)


def test_a_constant_force_makes_hyperbolic_motion(follow):
    m, c, F = 2.0, 3.0, 1.5
    values = {"m": m, "c": c, "F": F, "y.dot": 0.0}
    path, (x, y) = follow("relativistic-particle", 20.0, values, tol=1e-13)
    a = F / m
    expected = c**2 / a * (np.sqrt(1 + (a * path.t / c) ** 2) - 1)
    np.testing.assert_allclose(path[x], expected, rtol=1e-10, atol=1e-12)
    assert path[x.dot][-1] < c
    assert a * 20 > c  # where Newton's particle would have been faster than light


def test_a_sidewards_start_makes_a_catenary(follow):
    """x = (E0/F) (cosh(F y/(p c)) - 1), p the constant momentum along y."""
    path, (x, y) = follow("relativistic-particle", 10.0, tol=1e-13)
    gamma = 1 / np.sqrt(1 - 0.25)
    expected = gamma * (np.cosh(path[y] / (gamma * 0.5)) - 1)
    np.testing.assert_allclose(path[x], expected, rtol=1e-9, atol=1e-12)


def upward_crossings(t, x, v):
    """Times at which x rises through 0, by the cubic with the slopes at both ends."""
    times = []
    for i in np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0)):
        h = t[i + 1] - t[i]
        a, b, c, d = x[i], x[i + 1], v[i] * h, v[i + 1] * h
        roots = np.roots([2 * a - 2 * b + c + d, -3 * a + 3 * b - 2 * c - d, c, a])
        real = roots.real[(abs(roots.imag) < 1e-9) & (0 <= roots.real)]
        times.append(t[i] + h * real[real <= 1][0])
    return np.array(times)


def test_van_der_pols_cycle_at_mu_one(follow):
    """Amplitude 2.008620 and period 6.663287, from inside and from outside."""
    for start in (0.1, 4.0):
        path, (x,) = follow("van-der-pol", np.linspace(0, 60, 12001), {"x": start})
        late = path.t > 40
        times = upward_crossings(path.t[late], path[x][late], path[x.dot][late])
        assert np.diff(times) == pytest.approx(6.6632868594, abs=1e-7)
        assert path[x][late].max() == pytest.approx(2.0086198608, abs=1e-5)


def test_without_mu_every_amplitude_stays(follow):
    path, (x,) = follow("van-der-pol", 20.0, {"mu": 0.0, "x": 0.7})
    np.testing.assert_allclose(path[x], 0.7 * np.cos(path.t), atol=1e-10)
