"""Rigid bodies with a fixed point."""

from __future__ import annotations

import sympy as sp

from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.system import System


def heavy_top() -> System:
    """A heavy symmetric top on its tip (Lagrange's), in Euler's angles.

    phi precesses, theta is the tilt from the upward vertical and psi the spin. A and C
    are the moments of inertia across and along the axis in kg m^2, l the height of the
    centre of mass in m. It precesses steadily at A phi.dot^2 cos(theta) -
    C omega3 phi.dot + m g l = 0 and sleeps stably at omega3^2 > 4 A m g l/C^2, with
    omega3 = psi.dot + phi.dot cos(theta). The angles are singular at theta = 0.
    """
    phi, theta, psi = coordinates("phi theta psi")
    A, C, m, g, l = sp.symbols("A C m g l", positive=True)
    spin = psi.dot + phi.dot * sp.cos(theta)
    return System(
        name="heavy-top",
        description="a heavy symmetric top on its tip",
        lagrangian=Lagrangian(
            T=A * (theta.dot**2 + phi.dot**2 * sp.sin(theta) ** 2) / 2
            + C * spin**2 / 2,
            V=m * g * l * sp.cos(theta),
            coordinates=(phi, theta, psi),
        ),
        parameters={A: 0.002, C: 0.001, m: 0.5, g: 9.81, l: 0.05},
        positions={phi: 0.0, theta: 0.5, psi: 0.0},
        velocities={phi: 0.0, theta: 0.0, psi: 100.0},
        t=2.0,
    )
