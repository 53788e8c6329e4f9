"""The heavy top: steady precession, and how fast it must spin to sleep."""

import numpy as np
import pytest

A, C, WEIGHT = 0.002, 0.001, 0.5 * 9.81 * 0.05


@pytest.mark.parametrize("branch", [-1, 1])
def test_steady_precession_has_two_rates(follow, branch):
    """The roots of A phi.dot^2 cos(theta) - C omega3 phi.dot + m g l = 0."""
    tilt, spin = 0.5, 120.0
    slow_or_fast = np.sqrt((C * spin) ** 2 - 4 * A * WEIGHT * np.cos(tilt))
    rate = (C * spin + branch * slow_or_fast) / (2 * A * np.cos(tilt))
    values = {"phi.dot": rate, "psi.dot": spin - rate * np.cos(tilt)}
    path, (phi, theta, psi) = follow("heavy-top", 1.0, values, tol=1e-13)
    np.testing.assert_allclose(path[theta], tilt, atol=1e-9)
    np.testing.assert_allclose(path[phi], rate * path.t, rtol=1e-8, atol=1e-8)


def test_a_fast_top_released_at_rest_precesses_slowly_on_average(follow):
    """m g l/(C omega3), to the order 1/omega3^2 of Euler's small nutations."""
    path, (phi, theta, _) = follow("heavy-top", 1.0, {"psi.dot": 800.0})
    rate = np.polyfit(path.t, path[phi], 1)[0]
    assert rate == pytest.approx(WEIGHT / (C * 800), rel=0.01)
    assert np.ptp(path[theta]) < 0.01


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_top_sleeps_above_its_critical_spin_only(follow, share):
    """omega3^2 = 4 A m g l/C^2, with the linear motion about the vertical.

    In the frame that turns at C omega3/(2 A) the tip moves as in an isotropic field of
    the frequency^2 (C omega3/(2 A))^2 - m g l/A, whose sign decides.
    """
    spin = share * np.sqrt(4 * A * WEIGHT) / C
    frame = C * spin / (2 * A)
    frequency = np.sqrt(complex(frame**2 - WEIGHT / A))
    small, sideways = 1e-4, 5.0
    rate = frame + sideways
    values = {
        "theta": small,
        "phi.dot": rate,
        "psi.dot": spin - rate * np.cos(small),
    }
    path, (_, theta, _) = follow("heavy-top", 0.5, values, tol=1e-13)
    phase = frequency * path.t
    expected = small * np.sqrt(
        np.cos(phase) ** 2 + (sideways / frequency * np.sin(phase)) ** 2
    )
    assert np.abs(expected.imag).max() < 1e-12
    np.testing.assert_allclose(path[theta], expected.real, rtol=1e-3)
    bound = small * max(1, sideways / abs(frequency))
    assert (path[theta].max() > 2 * bound) == (share < 1)
