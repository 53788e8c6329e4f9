"""A Lagrangian with values: what a simulation starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lagrangian.errors import LagrangianError, nearest
from lagrangian.prompt import AtPrompt, formula, line
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.shown import few, rows
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.tables import html_table, shortened

if TYPE_CHECKING:
    from lagrangian.flows.trajectory import Trajectory


@dataclass(frozen=True, repr=False)
class System(AtPrompt):
    """A Lagrangian, a value for each of its parameters, and a state to start from.

    Attributes:
        name, description: of the system, for lists and files.
        lagrangian: its `Lagrangian`.
        parameters: numbers by symbol, in SI units, or dimensionless where the factory
            says so.
        positions, velocities: the initial state: numbers by coordinate.
        t: the end of a simulation, unless told otherwise.
        tol: the tolerance of a step, unless told otherwise.
    """

    name: str
    description: str
    lagrangian: Lagrangian
    parameters: dict[Any, float]
    positions: dict[Any, float]
    velocities: dict[Any, float]
    t: float = 10.0
    tol: float = 1e-12

    _next = "`.lagrangian.equations`, `.integrate().plot()`, `.with_values({...})`"

    def _values(self) -> dict[str, str]:
        """The parameters and the start, by name."""
        velocities = {q.dot: v for q, v in self.velocities.items()}
        values = self.parameters | self.positions | velocities
        return {str(symbol): f"{number:.6g}" for symbol, number in values.items()}

    def __str__(self) -> str:
        count = len(self.lagrangian.coordinates)
        values = few(f"{name} = {value}" for name, value in self._values().items())
        return "\n".join(
            [
                f"{self.name}: {self.description} ({count} coordinates)",
                *rows(self.lagrangian.parts),
                f"  {values}",
            ]
        )

    def _in_notebook(self) -> Iterable[str]:
        yield line(f"`{self.name}`: {self.description}")
        yield formula(self.lagrangian._repr_latex_())
        yield html_table(shortened([("", "value"), *self._values().items()]))

    def integrate(self, **options: Any) -> Trajectory:
        """Its motion from its start.

        Args:
            options: as `Flow.integrate` takes them, such as `t`, `points` or `solver`.

        Returns:
            A `Trajectory`.

        Raises:
            LagrangianError, IntegrationFailed: as `Flow.integrate`.

        >>> from lagrangian import systems
        >>> systems.kepler().integrate(t=(0, 1), points=3).energy_drift < 1e-12
        True
        """
        from lagrangian.flows.lower import lower

        flow = lower(self.lagrangian, self.parameters)
        options = {"t": (0.0, self.t), "tol": self.tol} | options
        return flow.integrate(self.positions, self.velocities, **options)

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

        Args:
            values: numbers by name.

        Returns:
            A `System`.

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
