"""Pendulums, and a bead that swings on a turning hoop.

All in SI units; angles in rad, from the downward vertical.
"""

from __future__ import annotations

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.system import System


def double_pendulum() -> System:
    """Two equal point masses on massless rods of equal length.

    m in kg, l in m, g in m/s^2; angles from the vertical in rad.
    """
    a, b = coordinates("a b")
    m, l, g = sp.symbols("m l g", positive=True)
    return System(
        name="double-pendulum",
        description="two equal point masses on massless rods",
        lagrangian=Lagrangian(
            T=m * l**2 * (a.dot**2 + b.dot**2 / 2 + a.dot * b.dot * sp.cos(a - b)),
            V=-m * g * l * (2 * sp.cos(a) + sp.cos(b)),
        ),
        parameters={m: 1.0, l: 1.0, g: 9.81},
        positions={a: 2.0, b: 1.0},
        velocities={a: 0.0, b: 0.0},
    )


def n_pendulum(links: int = 3) -> System:
    """Equal point masses on a chain of `links` equal massless rods.

    theta1, theta2, ... are the angles of the rods from the vertical. Small swings have
    omega^2 = (g/l) x, x the zeros of the Laguerre polynomial of degree `links` (Daniel
    Bernoulli's hanging chain).

    Args:
        links: how many, 1 or more.

    Returns:
        A `System`, in SI units.

    Raises:
        LagrangianError: fewer.
    """
    if links < 1:
        raise LagrangianError(f"`links` is {links}; write 1 or more.")
    angles = coordinates(f"theta1:{links + 1}")
    m, l, g = sp.symbols("m l g", positive=True)
    # Rod i carries every mass from its own end downwards.
    carried = [links - i for i in range(links)]
    squares = [carried[i] * q.dot**2 / 2 for i, q in enumerate(angles)]
    products = [
        carried[j] * p.dot * q.dot * sp.cos(p - q)
        for j, q in enumerate(angles)
        for p in angles[:j]
    ]
    heights = [-n * sp.cos(q) for n, q in zip(carried, angles, strict=True)]
    return System(
        name="n-pendulum",
        description="equal point masses on a chain of massless rods",
        lagrangian=Lagrangian(
            T=m * l**2 * sp.Add(*squares, *products),
            V=m * g * l * sp.Add(*heights),
            coordinates=angles,
        ),
        parameters={m: 1.0, l: 1.0, g: 9.81},
        positions=dict.fromkeys(angles, 1.0),
        velocities=dict.fromkeys(angles, 0.0),
    )


def spherical_pendulum() -> System:
    """A point mass on a massless rod that swings in space; phi is the azimuth.

    On a cone: phi.dot^2 = g/(l cos theta). In SI units.
    """
    theta, phi = coordinates("theta phi")
    m, l, g = sp.symbols("m l g", positive=True)
    return System(
        name="spherical-pendulum",
        description="a point mass on a rod that swings in space",
        lagrangian=Lagrangian(
            T=m * l**2 * (theta.dot**2 + sp.sin(theta) ** 2 * phi.dot**2) / 2,
            V=-m * g * l * sp.cos(theta),
            coordinates=(theta, phi),
        ),
        parameters={m: 1.0, l: 1.0, g: 9.81},
        positions={theta: 1.0, phi: 0.0},
        velocities={theta: 0.0, phi: 2.0},
    )


def foucault_pendulum() -> System:
    """Small swings over the turning Earth: x to the east, y to the north, in m.

    Omega is the Earth's sidereal rate in rad/s and latitude in rad; the values are
    those of Foucault's pendulum in the Pantheon. The plane of the swing turns clockwise
    at the rate Omega sin(latitude), exactly so in this model (Coriolis force kept, the
    centrifugal one counted into g).
    """
    x, y = coordinates("x y")
    m, l, g, Omega, latitude = sp.symbols("m l g Omega latitude", positive=True)
    turning = Omega * sp.sin(latitude)
    return System(
        name="foucault-pendulum",
        description="small swings over the turning Earth",
        lagrangian=Lagrangian(
            T=m * (x.dot**2 + y.dot**2) / 2,
            V=m * g / (2 * l) * (x**2 + y**2) - m * turning * (x * y.dot - y * x.dot),
        ),
        parameters={
            m: 28.0,
            l: 67.0,
            g: 9.81,
            Omega: 7.2921159e-5,
            latitude: 0.85252,
        },
        positions={x: 3.0, y: 0.0},
        velocities={x: 0.0, y: 0.0},
        t=3600.0,
    )


def rotating_hoop() -> System:
    """A bead on a frictionless hoop of radius R that is driven about the vertical.

    Above Omega^2 = g/R the bead leaves the bottom for cos theta = g/(R Omega^2). In SI
    units.
    """
    theta = coordinates("theta")
    m, R, g, Omega = sp.symbols("m R g Omega", positive=True)
    return System(
        name="rotating-hoop",
        description="a bead on a hoop that turns about the vertical",
        lagrangian=Lagrangian(
            T=m * R**2 * (theta.dot**2 + Omega**2 * sp.sin(theta) ** 2) / 2,
            V=-m * g * R * sp.cos(theta),
        ),
        parameters={m: 1.0, R: 1.0, g: 9.81, Omega: 5.0},
        positions={theta: 0.1},
        velocities={theta: 0.0},
    )


def elastic_pendulum() -> System:
    """A point mass on a spring of natural length l and stiffness k, in a plane.

    r is its length in m. The values are those of the 2:1 resonance k l = 3 m g, where
    bouncing and swinging exchange their energy (Vitt and Gorelik, 1933).
    """
    r, theta = coordinates("r theta")
    m, l, k, g = sp.symbols("m l k g", positive=True)
    return System(
        name="elastic-pendulum",
        description="a point mass on a spring",
        lagrangian=Lagrangian(
            T=m * (r.dot**2 + r**2 * theta.dot**2) / 2,
            V=k * (r - l) ** 2 / 2 - m * g * r * sp.cos(theta),
        ),
        parameters={m: 1.0, l: 1.0, k: 29.43, g: 9.81},
        positions={r: 1.5, theta: 0.05},
        velocities={r: 0.0, theta: 0.0},
        t=30.0,
    )
