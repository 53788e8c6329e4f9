"""Cartesian coordinates with constraints: rods, a linkage, a rolling ball."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lagrangian as lg

from .case import Problem, Start

x, y, z, X, Y = lg.coordinates("x y z X Y")
G = 9.81
#: The ground, crank, coupler and follower of a four-bar linkage; the crank turns round.
GROUND, CRANK, COUPLER, FOLLOWER = 2.0, 0.5, 1.5, 1.5


def problems() -> list[Problem]:
    flat = lg.Lagrangian(
        (x.dot**2 + y.dot**2) / 2, G * y, constraints=[x**2 + y**2 - 1]
    )
    ball = lg.Lagrangian(
        (x.dot**2 + y.dot**2 + z.dot**2) / 2,
        G * z,
        constraints=[x**2 + y**2 + z**2 - 1],
    )
    return [
        Problem("Cartesian pendulum", "constrained", flat, {}, {
            "hanging": Start([0, -1], [0, 0]),
            "level": Start([1, 0], [0, 0], (0.0, 2.0)),
            "generic": Start([0.6, -0.8], [0.8, 0.6]),
            "whirling": Start([0, -1], [10, 0], (0.0, 3.0)),
        }, (0.0, 5.0), quick=True),
        Problem("Cartesian spherical pendulum", "constrained", ball, {}, {
            "in a plane": Start([0.6, 0, -0.8], [0, 0, 0]),
            "generic": Start([0.6, 0, -0.8], [0, 1, 0]),
            "level": Start([1, 0, 0], [0, 1, 0], (0.0, 2.0)),
        }, (0.0, 5.0)),
        linkage(),
    ]  # fmt: skip


def linkage() -> Problem:
    """A crank with a follower, masses at both pins; the crank's speed varies."""
    held = [
        x**2 + y**2 - CRANK**2,
        (X - x) ** 2 + (Y - y) ** 2 - COUPLER**2,
        (X - GROUND) ** 2 + Y**2 - FOLLOWER**2,
    ]
    system = lg.Lagrangian(
        (x.dot**2 + y.dot**2 + X.dot**2 + Y.dot**2) / 2,
        G * (y + Y),
        constraints=held,
        coordinates=(x, y, X, Y),
    )
    pins, speeds = assembled(math.pi / 3, 12.0)
    return Problem("four-bar linkage", "constrained", system, {}, {
        "turning": Start(pins, speeds),
    }, (0.0, 2.0))  # fmt: skip


def assembled(angle: float, rate: float) -> tuple[list[float], list[float]]:
    """The pins' positions and velocities with the crank at an angle."""

    def pins(angle: float) -> Any:
        a = CRANK * np.array([math.cos(angle), math.sin(angle)])
        rod = np.array([GROUND, 0.0]) - a
        far = math.hypot(*rod)
        along = (COUPLER**2 - FOLLOWER**2 + far**2) / (2 * far)
        across = math.sqrt(COUPLER**2 - along**2)
        unit = rod / far
        b = a + along * unit + across * np.array([-unit[1], unit[0]])
        return np.concatenate([a, b])

    here = pins(angle)
    (ax, ay, bx, by) = here
    va = rate * np.array([-ay, ax])
    rods = np.array([[bx - ax, by - ay], [bx - GROUND, by]])
    vb = np.linalg.solve(rods, [rods[0] @ va, 0.0])
    return here.tolist(), [*va.tolist(), *vb.tolist()]
