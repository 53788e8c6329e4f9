"""An optax transformation of which nothing is known but that it makes updates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import optax
import sympy as sp
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.read.read import rule as read_rule
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

    Attributes:
        transformation: the optax transformation.
        reason: why no more is known of it, in words.
    """

    transformation: GradientTransformation
    reason: str = "its rule was not read"

    @classmethod
    def made_by(cls, tx: Any, name: str = "tx") -> Unread:
        """The rule of a transformation, the argument `name`.

        Raises:
            LagrangianError: it is none.
        """
        if not (hasattr(tx, "init") and hasattr(tx, "update")):
            raise LagrangianError(
                f"`{name}` is a {type(tx).__name__}. Pass an optax transformation, "
                "such as `optax.adam(1e-3)`, or a rule, such as `lg.Adam(1e-3)`."
            )
        return cls(1.0, tx)

    def read(self, parameters: Any) -> Rule:
        """The rule that the transformation is of these parameters, by `lg.rule`.

        This rule, with the reason, where it cannot be read: no training is refused for
        what its laws could have said.
        """
        try:
            return read_rule(self.transformation, parameters)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            if not isinstance(error, LagrangianError):
                first = f"{type(error).__name__}: {first}"
            return replace(self, reason=f"its rule could not be read ({first})")

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
            f"no {what} is known of this optax transformation: {self.reason}. Its "
            "discrete law is exact all the same; read that with `lg.check`."
        )
