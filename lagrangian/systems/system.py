"""A Lagrangian with values: what a simulation starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lagrangian.errors import LagrangianError, nearest
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True)
class System:
    """A Lagrangian, a value for each of its parameters, and a state to start from.

    `parameters` are in SI units, or dimensionless where the factory says so;
    `positions` and `velocities` are the initial state. `t` (the end time) and `tol`
    (the tolerance of a step) are what a simulation takes unless told otherwise.
    """

    name: str
    description: str
    lagrangian: Lagrangian
    parameters: dict[Any, float]
    positions: dict[Any, float]
    velocities: dict[Any, float]
    t: float = 10.0
    tol: float = 1e-12

    @property
    def is_conservative(self) -> bool:
        """Whether its energy is constant: no friction, no forces, no explicit time."""
        system = self.lagrangian
        return not (
            system.forces
            or system.dissipation != 0
            or system.expression.has(time)
            or any(c.has(time) for c in system.constraints.expressions)
        )

    def with_values(self, values: Mapping[str, float]) -> System:
        """The same system with other numbers, by name.

        A name is that of a parameter (`g`), a position (`a`) or a velocity (`a.dot`).

        Raises:
            LagrangianError: a name that this system does not have.
        """
        places = {
            f"{symbol.name}{dots}": (field, symbol)
            for field, dots in (
                ("parameters", ""),
                ("positions", ""),
                ("velocities", ".dot"),
            )
            for symbol in getattr(self, field)
        }
        changed: dict[str, dict[Any, float]] = {}
        for name, number in values.items():
            if name not in places:
                raise LagrangianError(
                    f"`{self.name}` has nothing called `{name}` to set. "
                    f"{nearest(name, places)}"
                )
            field, symbol = places[name]
            changed.setdefault(field, dict(getattr(self, field)))[symbol] = number
        return replace(self, **changed)
