"""Mechanical systems by name, with parameters and a state to start from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from lagrangian.errors import LagrangianError, nearest
from lagrangian.systems.celestial import henon_heiles, kepler, three_body
from lagrangian.systems.chains import fput_chain, toda_chain
from lagrangian.systems.particles import (
    charged_particle,
    relativistic_particle,
    van_der_pol,
)
from lagrangian.systems.pendulums import (
    double_pendulum,
    elastic_pendulum,
    foucault_pendulum,
    n_pendulum,
    rotating_hoop,
    spherical_pendulum,
)
from lagrangian.systems.system import System
from lagrangian.systems.tops import heavy_top

#: What `lagrangian simulate NAME` knows.
SYSTEMS: dict[str, Callable[..., System]] = {
    "double-pendulum": double_pendulum,
    "n-pendulum": n_pendulum,
    "spherical-pendulum": spherical_pendulum,
    "foucault-pendulum": foucault_pendulum,
    "rotating-hoop": rotating_hoop,
    "elastic-pendulum": elastic_pendulum,
    "kepler": kepler,
    "three-body": three_body,
    "henon-heiles": henon_heiles,
    "toda-chain": toda_chain,
    "fput-chain": fput_chain,
    "charged-particle": charged_particle,
    "relativistic-particle": relativistic_particle,
    "van-der-pol": van_der_pol,
    "heavy-top": heavy_top,
}


#: More links or masses than this take hours to derive.
MOST_BODIES = 400


def sizes(name: str) -> dict[str, int]:
    """The whole numbers that the factory of a system takes, with their defaults."""
    arguments = inspect.signature(SYSTEMS[name]).parameters
    return {argument: value.default for argument, value in arguments.items()}


def make_system(name: str, values: Mapping[str, float] | None = None) -> System:
    """The system of that name with its sizes, parameters and initial state as given.

    >>> make_system("n-pendulum", {"links": 2, "g": 1.62}).lagrangian.coordinates
    (theta1, theta2)

    Raises:
        LagrangianError: an unknown name, or a size that is no whole number.
    """
    if name not in SYSTEMS:
        raise LagrangianError(f"no system `{name}`. {nearest(name, SYSTEMS)}")
    values = dict(values or {})
    chosen = {size: values.pop(size) for size in sizes(name) if size in values}
    for size, number in chosen.items():
        if not (float(number).is_integer() and 1 <= number <= MOST_BODIES):
            raise LagrangianError(
                f"`{size}` is {number:g}; write a whole number from 1 to {MOST_BODIES}."
            )
    system = SYSTEMS[name](**{size: int(n) for size, n in chosen.items()})
    return system.with_values(values)
