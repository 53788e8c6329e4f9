"""Mechanical systems by name, with parameters and a state to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.symbolic.coordinates import coordinates
from lagrangian.symbolic.system import Lagrangian


@dataclass(frozen=True)
class System:
    """A Lagrangian with values: what a simulation needs.

    `parameters` are in SI units; `positions` and `velocities` are the initial state.
    """

    name: str
    description: str
    lagrangian: Lagrangian
    parameters: dict[Any, float]
    positions: dict[Any, float]
    velocities: dict[Any, float]


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


#: What `lagrangian simulate NAME` knows.
SYSTEMS: dict[str, Callable[[], System]] = {"double-pendulum": double_pendulum}
