"""What `noether` asks of a theory, whatever it is a theory of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import sympy as sp

from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.symmetry import Symmetry


@runtime_checkable
class Theory(Protocol):
    """A theory with an action: mechanics, fields, or the steps of a learning rule.

    Along any generator, symmetric or not, the pairing J of its momenta with the motion
    has the divergence D_mu J^mu that the variation says, on every solution: Noether's
    identity. A theory that is multiplied by a `factor` (of damping) has it divided out
    of all that it answers.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> isinstance(spring, lg.Theory), spring.coordinates, spring.variables
    (True, (x,), (t,))
    """

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """What a generator may move: coordinates, blocks or fields."""
        ...

    @property
    def variables(self) -> tuple[Any, ...]:
        """What they depend on: time, or the variables of fields."""
        ...

    @property
    def factor(self) -> Any:
        """What is divided out of the action: 1, or the damping factor."""
        ...

    def pairing(self, symmetry: Symmetry) -> Mapping[Any, Any]:
        """The momenta along a generator: the components of J by variable.

        Args:
            symmetry: the generator.

        Returns:
            An expression for each of the `variables`.
        """
        ...

    def variation(self, symmetry: Symmetry) -> Mapping[str, Any]:
        """How the action changes along a generator, by what causes it.

        Args:
            symmetry: the generator.

        Returns:
            Expressions, whose sum is the divergence of `pairing` on shell.
        """
        ...

    def total_derivative(self, variable: sp.Expr, expression: Expression) -> Any:
        """D of an expression by one variable; for steps, its change in a step.

        Args:
            variable: one of the `variables`.
            expression: in what a generator may move, and its derivatives.

        Returns:
            An expression.
        """
        ...

    def on_shell(self, expression: Expression) -> Any | None:
        """An expression in what the equations leave free, or None if that is open.

        Args:
            expression: in what a generator may move, and its derivatives.

        Returns:
            An expression, or None.
        """
        ...
