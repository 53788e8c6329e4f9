"""Motion under gravity, and the motion of a star in a galaxy.

Dimensionless, as the literature has them.
"""

from __future__ import annotations

from itertools import combinations

import sympy as sp

from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.system import System


def kepler() -> System:
    """A planet about a fixed sun, in the plane; mu is the sun's G M.

    It starts at the perihelion of an ellipse with semi-axis 1 and eccentricity 0.6,
    whose period is 2 pi. Dimensionless.
    """
    x, y = coordinates("x y")
    m, mu = sp.symbols("m mu", positive=True)
    return System(
        name="kepler",
        description="a planet about a fixed sun",
        lagrangian=Lagrangian(
            T=m * (x.dot**2 + y.dot**2) / 2,
            V=-m * mu / sp.sqrt(x**2 + y**2),
        ),
        parameters={m: 1.0, mu: 1.0},
        positions={x: 0.4, y: 0.0},
        velocities={x: 0.0, y: 2.0},
    )


def three_body() -> System:
    """Three bodies in a plane; with these values, on the figure eight.

    The bodies follow one another on one curve (Chenciner and Montgomery, 2000), a
    third of the period 6.32591398 apart. The initial state is Simo's. Dimensionless.
    """
    x1, y1, x2, y2, x3, y3 = order = coordinates("x1 y1 x2 y2 x3 y3")
    m1, m2, m3, G = sp.symbols("m1 m2 m3 G", positive=True)
    bodies = [(m1, x1, y1), (m2, x2, y2), (m3, x3, y3)]
    kinetic = [m * (x.dot**2 + y.dot**2) / 2 for m, x, y in bodies]
    potential = [
        -G * m * M / sp.sqrt((x - X) ** 2 + (y - Y) ** 2)
        for (m, x, y), (M, X, Y) in combinations(bodies, 2)
    ]
    x, y = 0.97000435669734, -0.24308753153583
    vx, vy = -0.93240737144104, -0.86473146092102
    return System(
        name="three-body",
        description="three bodies in a plane, on the figure eight",
        lagrangian=Lagrangian(sp.Add(*kinetic), sp.Add(*potential), coordinates=order),
        parameters={m1: 1.0, m2: 1.0, m3: 1.0, G: 1.0},
        positions={x1: x, y1: y, x2: -x, y2: -y, x3: 0.0, y3: 0.0},
        velocities={
            x1: -vx / 2,
            y1: -vy / 2,
            x2: -vx / 2,
            y2: -vy / 2,
            x3: vx,
            y3: vy,
        },
    )


def henon_heiles() -> System:
    """A star near the centre of a galaxy (Henon and Heiles, 1964).

    Below the energy 1/(6 lambda^2) it cannot escape; the state has the energy 1/8 of
    their second section. Dimensionless.
    """
    x, y = coordinates("x y")
    strength = sp.Symbol("lambda", positive=True)
    return System(
        name="henon-heiles",
        description="a star near the centre of a galaxy",
        lagrangian=Lagrangian(
            T=(x.dot**2 + y.dot**2) / 2,
            V=(x**2 + y**2) / 2 + strength * (x**2 * y - y**3 / 3),
        ),
        parameters={strength: 1.0},
        positions={x: 0.0, y: 0.0},
        velocities={x: 0.4, y: 0.3},
        t=100.0,
    )
