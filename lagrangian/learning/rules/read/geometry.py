"""Rules that were found to have a metric of the parameters themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lagrangian.learning.rules.mirror import GeometricRule, geometric_lagrangian
from lagrangian.learning.rules.read.part import q
from lagrangian.learning.rules.read.read_rule import ReadRule
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.laws.discrete import learning_rate
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True, repr=False, eq=False)
class ReadGeometry(GeometricRule, ReadRule):
    """A gradient step in the geometry of a metric D(q), as `NaturalGradient` is."""

    def _metric_of(self, w: Any) -> Any:
        return self.kind.metric.xreplace({q: w})

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """That of the metric, with the force that keeps a step straight in q."""
        slope = self.kind.metric.diff(q)
        return geometric_lagrangian(
            loss, self._metric_of, lambda w: slope.xreplace({q: w})
        )

    def recursion(self, loss: Loss | None = None) -> Recursion:
        if loss is None:
            loss = Loss("f", Block("w"))
        return Recursion(
            {w: learning_rate * v for w, v in self.gradient_flow(loss).items()}
        )
