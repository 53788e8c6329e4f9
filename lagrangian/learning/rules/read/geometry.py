"""Rules that were found to have a metric of the parameters themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp
from jax.typing import ArrayLike

from lagrangian.learning.rules.mirror import geometric_lagrangian, rate_symbol
from lagrangian.learning.rules.read.part import q
from lagrangian.learning.rules.read.read_rule import ReadRule
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.laws.discrete import learning_rate, weight_decay
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True, repr=False, eq=False)
class ReadGeometry(ReadRule):
    """A gradient step in the geometry of a metric D(q), as `NaturalGradient` is."""

    def _metric_of(self, w: Any) -> Any:
        return self.kind.metric.xreplace({q: w})

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """That of the metric, with the force that keeps a step straight in q."""
        slope = self.kind.metric.diff(q)
        return geometric_lagrangian(
            loss, self._metric_of, lambda w: slope.xreplace({q: w})
        )

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        return {
            w: -(loss.gradient(w) + weight_decay * w) / self._metric_of(w)
            for w in loss.blocks
        }

    def initial_velocity(self, loss: Loss) -> dict[Any, Any]:
        """That of the first-order flow: there is no memory to grow."""
        decay = {weight_decay: sp.sympify(self.coupled_decay)}
        return {w: v.xreplace(decay) for w, v in self.gradient_flow(loss).items()}

    def recursion(self, loss: Loss | None = None) -> Recursion:
        if loss is None:
            loss = Loss("f", Block("w"))
        return Recursion(
            {w: learning_rate * v for w, v in self.gradient_flow(loss).items()}
        )

    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        return {
            rate_symbol: self._eta(learning_rate),
            weight_decay: self.coupled_decay,
        }
