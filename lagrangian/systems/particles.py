"""Single particles: in fields, near the speed of light, and driven by friction."""

from __future__ import annotations

import sympy as sp

from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.system import System


def charged_particle() -> System:
    """A charge q in a magnetic field B along z and an electric field E along x.

    It turns at the rate q B/m while its centre drifts along -y at the speed E/B.
    Dimensionless; V = -q A.v - q E x with A = B (-y, x, 0)/2.
    """
    x, y, z = coordinates("x y z")
    m, q, B, E = sp.symbols("m q B E", real=True)
    return System(
        name="charged-particle",
        description="a charge in crossed magnetic and electric fields",
        lagrangian=Lagrangian(
            T=m * (x.dot**2 + y.dot**2 + z.dot**2) / 2,
            V=-q * B * (x * y.dot - y * x.dot) / 2 - q * E * x,
        ),
        parameters={m: 1.0, q: 1.0, B: 1.0, E: 0.1},
        positions={x: 1.0, y: 0.0, z: 0.0},
        velocities={x: 0.0, y: -1.0, z: 0.1},
        t=30.0,
    )


def relativistic_particle() -> System:
    """A particle of rest mass m under a constant force F along x, in a plane.

    L = -m c^2 sqrt(1 - v^2/c^2) + F x, so that `T` is no kinetic energy but the free
    Lagrangian. From rest x = (c^2/a) (sqrt(1 + (a t/c)^2) - 1) with a = F/m: hyperbolic
    motion. Dimensionless.
    """
    x, y = coordinates("x y")
    m, c, F = sp.symbols("m c F", positive=True)
    return System(
        name="relativistic-particle",
        description="a fast particle under a constant force",
        lagrangian=Lagrangian(
            T=-m * c**2 * sp.sqrt(1 - (x.dot**2 + y.dot**2) / c**2),
            V=-F * x,
            coordinates=(x, y),
        ),
        parameters={m: 1.0, c: 1.0, F: 1.0},
        positions={x: 0.0, y: 0.0},
        velocities={x: 0.0, y: 0.5},
    )


def van_der_pol() -> System:
    """x'' - mu (1 - x^2) x' + x = 0, by a Rayleigh dissipation of either sign.

    At mu = 1 its limit cycle has the amplitude 2.00862 and the period 6.66329 (van der
    Pol, 1926). Dimensionless.
    """
    x = coordinates("x")
    mu = sp.Symbol("mu", real=True)
    return System(
        name="van-der-pol",
        description="an oscillator whose friction changes its sign",
        lagrangian=Lagrangian(
            T=x.dot**2 / 2,
            V=x**2 / 2,
            dissipation=-mu * (1 - x**2) * x.dot**2 / 2,
        ),
        parameters={mu: 1.0},
        positions={x: 0.1},
        velocities={x: 0.0},
        t=30.0,
    )
