"""What all rules share that are read from an optax transformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import optax
from jaxtyping import PyTree
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.read.at_run_time import field_arrays
from lagrangian.learning.rules.read.describe import (
    describe,
    groups,
    kinetic_latex,
    summary,
)
from lagrangian.learning.rules.read.elements import Reading
from lagrangian.learning.rules.read.kind import Covector, Kind
from lagrangian.learning.rules.read.part import Part
from lagrangian.learning.rules.rule import Rule
from lagrangian.prompt import formula, words


@dataclass(frozen=True, repr=False, eq=False)
class ReadRule(Rule):
    """A rule of which everything was read from an optax transformation.

    Attributes:
        transformation: the optax transformation.
        reading: its update in symbols, array by array (`reading.parts`).
        kinds: what was derived of each array.
    """

    transformation: GradientTransformation
    reading: Reading
    kinds: dict[str, Kind]

    def __repr__(self) -> str:
        return summary(self.reading, self.kinds)

    def __str__(self) -> str:
        return "\n".join(describe(self.reading, self.kinds))

    def _repr_html_(self) -> str:
        energies = dict.fromkeys(
            kinetic_latex(part, kind)
            for _, part, kind in groups(self.reading, self.kinds)
        )
        return "\n".join([*(formula(e) for e in energies if e), words(str(self))])

    def __format__(self, specification: str) -> str:
        # In a sentence it is named, and not described.
        return format(repr(self), specification)

    @property
    def kind(self) -> Kind:
        """Of the first array; of all where they are updated alike."""
        return next(iter(self.kinds.values()))

    @property
    def part(self) -> Part:
        return self.reading.parts[next(iter(self.kinds))]

    @property
    def _covector(self) -> Covector:
        return self.kind.covector

    @property
    def memory(self) -> float:
        return float(self._covector.memory)

    @property
    def gain(self) -> float:
        return float(self._covector.gain)

    @property
    def coupled_decay(self) -> float:
        return float(self._covector.decay)

    def optax(self) -> GradientTransformation:
        return optax.with_extra_args_support(self.transformation)

    def trace(self, state: PyTree) -> Any | None:
        kept, scale = self._covector.state, self._covector.scale
        if kept is None:
            return None
        arrays = field_arrays(self.reading, kept.name, state)
        if scale == 1:
            return arrays
        return {name: a / float(scale) for name, a in arrays.items()}

    def covector(self, new_state: PyTree, gradient: PyTree, parameters: PyTree) -> Any:
        kept = self.trace(new_state)
        if kept is not None:
            return kept
        decay = self.coupled_decay
        if not decay:
            return gradient
        return jax.tree.map(lambda g, q: g + decay * q, gradient, parameters)

    @property
    def unsolved(self) -> str:
        if len({self.reading.parts[name].form for name in self.kinds}) > 1:
            return "its arrays are updated by rules of their own (`rule.of(block)`)"
        if self.part.noise:
            return "random numbers move it, which a law of the loss knows nothing of"
        return self.kind.reason or "its metric moves"

    def _no(self, what: str) -> NoReturn:
        raise LagrangianError(
            f"{self!r} has no {what}: {self.unsolved}. Its discrete law is exact all "
            "the same; read that with `lg.check`."
        )
