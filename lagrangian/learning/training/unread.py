"""An optax transformation of which nothing is known but that it makes updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optax
import sympy as sp
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True, repr=False)
class Unread(Rule):
    """Any update: its covector is the gradient, and its time counts steps.

    The exact discrete law, <g, xi(q')> = <g, A u> for the update u, holds whatever the
    rule is. Its Lagrangian is that of free motion, whose charge is <u, xi>.
    """

    transformation: GradientTransformation

    @classmethod
    def made_by(cls, tx: Any) -> Unread:
        """The rule of a transformation.

        Raises:
            LagrangianError: it is none.
        """
        if not (hasattr(tx, "init") and hasattr(tx, "update")):
            raise LagrangianError(
                f"`tx` is a {type(tx).__name__}. Pass an optax transformation, such as "
                "`optax.adam(1e-3)`, or a learning rule, such as `lg.Adam(1e-3)`."
            )
        return cls(1.0, tx)

    def __repr__(self) -> str:
        return "an optax transformation"

    def lagrangian(self, loss: Loss) -> Lagrangian:
        kinetic = sp.Add(*(Inner(w.dot, w.dot) for w in loss.blocks))
        return Lagrangian(kinetic / 2, loss, coordinates=loss.blocks)

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        raise self._unknown("gradient flow")

    def recursion(self, loss: Loss | None = None) -> Recursion:
        raise self._unknown("recursion")

    def parameters(self, learning_rate: Any = None) -> dict[Any, Any]:
        return {}

    def optax(self) -> GradientTransformation:
        return optax.with_extra_args_support(self.transformation)

    def _unknown(self, what: str) -> LagrangianError:
        return LagrangianError(
            f"no {what} is known of an optax transformation by itself. Pass the "
            "learning rule that it is, such as `lg.HeavyBall(0.1, momentum=0.9)`."
        )
