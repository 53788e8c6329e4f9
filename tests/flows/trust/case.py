"""What is integrated: a Lagrangian with numbers, and the states to start it from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

import lagrangian as lg

#: Output times of each case: its start, and so many further, equally far apart.
OUTPUTS = 4


@dataclass(frozen=True, eq=False)
class Start:
    """A state, and the interval over which to follow it if not that of the problem."""

    q: Sequence[float]
    v: Sequence[float]
    t: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A Lagrangian with its parameters, and named states to start from.

    `feature` is the shortest time over which anything happens; the reference takes no
    longer steps. `singular` names the starts from which no motion reaches the end:
    they must be refused, and no others. `quick` problems are in the daily tests.
    """

    name: str
    kind: str
    lagrangian: lg.Lagrangian
    parameters: dict[Any, float]
    starts: dict[str, Start]
    t: tuple[float, float] = (0.0, 10.0)
    feature: float | None = None
    singular: tuple[str, ...] = ()
    quick: bool = False

    @property
    def cases(self) -> list[Case]:
        return [Case(self, label) for label in self.starts]

    def lower(self) -> Any:
        return lg.lower(self.lagrangian, self.parameters)


@dataclass(frozen=True)
class Case:
    """One problem from one of its starts."""

    problem: Problem
    label: str

    @property
    def name(self) -> str:
        return f"{self.problem.name}: {self.label}"

    @property
    def start(self) -> Start:
        return self.problem.starts[self.label]

    @property
    def solvable(self) -> bool:
        return self.label not in self.problem.singular

    @property
    def q(self) -> np.ndarray:
        return np.array(self.start.q, float)

    @property
    def v(self) -> np.ndarray:
        return np.array(self.start.v, float)

    @property
    def times(self) -> np.ndarray:
        return np.linspace(*(self.start.t or self.problem.t), OUTPUTS + 1)

    @property
    def longest_step(self) -> float:
        """No feature of the motion fits between two steps of this length."""
        length = float(self.times[-1] - self.times[0])
        return min(length / 200, self.problem.feature or length)

    @property
    def fingerprint(self) -> str:
        """Changes with everything that the true motion depends on."""
        system = self.problem.lagrangian
        terms = [system.T, system.V, system.damping, system.dissipation]
        terms += [*system.constraints.expressions]
        terms += [x for pair in system.forces.items() for x in pair]
        values = sorted((str(k), float(x)) for k, x in self.problem.parameters.items())
        numbers = [float(x).hex() for x in (*self.q, *self.v, *self.times)]
        text = "; ".join([*map(sp.sstr, terms), str(values), *numbers])
        return hashlib.sha256(text.encode()).hexdigest()[:12]
