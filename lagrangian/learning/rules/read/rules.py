"""The learning rules that are read from the code of an optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.learning.rules.read.elements import Reading
from lagrangian.learning.rules.read.euclidean import ReadEuclidean
from lagrangian.learning.rules.read.geometry import ReadGeometry
from lagrangian.learning.rules.read.kind import Covector, Kind
from lagrangian.learning.rules.read.metric import ReadMetric
from lagrangian.learning.rules.read.part import Part, count, q, value
from lagrangian.learning.rules.read.read_rule import ReadRule
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True, repr=False, eq=False)
class AnyRule(ReadRule):
    """A rule without a kinetic energy, or with one for each of several arrays.

    Its discrete law is exact; its Lagrangian is that of free motion at unit mass, whose
    charge is <v, xi>.
    """

    @property
    def _covector(self) -> Covector:
        found = {k.covector for k in self.kinds.values()}
        alike = len(found) == 1 and self.reading.traced.scales
        if alike and self.kind.covector.state is not None:
            return self.kind.covector
        return Covector(None, sp.S.Zero, sp.S.One, sp.S.Zero)

    def of(self, block: Block) -> Rule:
        return self._groups.get(block.name, self)

    @cached_property
    def _groups(self) -> dict[str, ReadRule]:
        """The rule of each array, one for all that are updated alike.

        None where all are, or where the arrays are not those that were read.
        """
        known: dict[Any, list[str]] = {}
        for name in self.kinds:
            known.setdefault(self.reading.parts[name].form, []).append(name)
        if len(known) < 2:
            return {}
        return {
            name: rule
            for names in known.values()
            for rule in [_alone(self, names)]
            for name in names
        }

    def lagrangian(self, loss: Loss) -> Lagrangian:
        kinetic = sp.Add(*(Inner(w.dot, w.dot) for w in loss.blocks))
        return Lagrangian(kinetic / 2, loss, coordinates=loss.blocks)

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        self._no("gradient flow")

    def recursion(self, loss: Loss | None = None) -> Recursion:
        self._no("recursion")

    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        return {}


def made(tx: Any, reading: Reading, kinds: dict[str, Kind]) -> ReadRule:
    """The rule of these arrays."""
    forms = {part.form for leaf, part in reading.parts.items() if leaf in kinds}
    kind = next(iter(kinds.values()))
    noisy = any(reading.parts[leaf].noise for leaf in kinds)
    if len(forms) > 1 or not reading.traced.scales or noisy:
        return AnyRule(_common_rate(kinds), tx, reading, kinds)
    if kind.name == "euclidean" and not kind.runs_away:
        return ReadEuclidean(rate_of(kind), tx, reading, kinds)
    part = reading.parts[next(iter(kinds))]
    if kind.metric is None or not kind.rate.free_symbols <= {count}:
        return AnyRule(rate_of(kind), tx, reading, kinds)
    if _is_of_q(kind):
        return ReadGeometry(rate_of(kind), tx, reading, kinds)
    if not _needed(kind.metric, part) & {q, value}:
        return ReadMetric(rate_of(kind), tx, reading, kinds)
    return AnyRule(rate_of(kind), tx, reading, kinds)


def _is_of_q(kind: Kind) -> bool:
    """Whether it has one metric at every q, and no memory."""
    same = kind.metric.free_symbols == {q} and kind.name == "metric"
    return same and kind.covector.state is None and kind.decoupled == 0


def _needed(expression: Any, part: Part) -> set[Any]:
    """The symbols that it takes to evaluate an expression, those in sums as well."""
    found, pending = set(), [expression]  # type: ignore[var-annotated]
    while pending:
        new = pending.pop().free_symbols - found
        found |= new
        pending += [part.sums[s][1] for s in new if s in part.sums]
    return found


def _common_rate(kinds: dict[str, Kind]) -> Any:
    moved = [kind for kind in kinds.values() if kind.name not in ("none", "opaque")]
    return rate_of(moved[0]) if moved else 1.0


def _alone(rule: ReadRule, leaves: list[str]) -> ReadRule:
    """The rule as it treats arrays that are updated alike."""
    kinds = {name: rule.kinds[name] for name in leaves}
    return made(rule.transformation, rule.reading, kinds)


@dataclass(frozen=True)
class ReadSchedule:
    """A learning rate as a function of the step, from its expression."""

    expression: Any

    def __call__(self, step: Any) -> Any:
        return evaluate([self.expression], {count: jnp.asarray(step)})[0]

    def __repr__(self) -> str:
        return str(self.expression)


def rate_of(kind: Kind) -> float | Callable[[Any], Any]:
    """A learning rate as a number or a schedule."""
    if kind.rate.is_number:
        return float(kind.rate)
    return ReadSchedule(kind.rate)
