"""Mechanical systems by name, with parameters and a state to start from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module

from lagrangian.errors import LagrangianError, nearest
from lagrangian.systems.names import FILES, function
from lagrangian.systems.system import System

#: What `lagrangian simulate NAME` knows.
SYSTEMS: dict[str, Callable[..., System]] = {
    name: getattr(import_module(f"lagrangian.systems.{file}"), function(name))
    for name, file in FILES.items()
}


#: More links or masses than this take hours to derive.
MOST_BODIES = 400


def sizes(name: str) -> dict[str, int]:
    """The whole numbers that the factory of a system takes, with their defaults."""
    arguments = inspect.signature(SYSTEMS[name]).parameters
    return {argument: value.default for argument, value in arguments.items()}


def make_system(name: str, values: Mapping[str, float] | None = None) -> System:
    """The system of that name with its sizes, parameters and initial state as given.

    Args:
        name: such as "double-pendulum"; `lg.systems.SYSTEMS` has all.
        values: numbers by name: of a size (`links`, `masses`), a parameter (`g`), a
            position (`theta1`) or a velocity (`theta1.dot`).

    Returns:
        A `System`.

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
