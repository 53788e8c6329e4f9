"""Holonomic and velocity-linear constraints, differentiated down to accelerations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.coordinates import jets
from lagrangian.symbolic.algebra.own_symbols import engine_symbol


@dataclass(frozen=True)
class Constraints:
    """Constraints g = 0 in the form J qdot + b = 0, whose derivative is J qddot = c.

    Attributes:
        expressions: what the user wrote, each to be zero.
        velocity_level: each as an expression J qdot + b.
        jacobian: J, of shape (constraints, coordinates).
        bias: b, a column.
        curvature: c, a column.
        multipliers: one symbol for each constraint.
    """

    expressions: tuple[Any, ...]
    velocity_level: tuple[Any, ...]
    jacobian: Any
    bias: Any
    curvature: Any
    multipliers: tuple[Any, ...]

    def power(self, directions: Sequence[Any], tau: Any) -> Any:
        """lambda (J xi - tau J qdot), in which the constraint says that J qdot = -b."""
        along = self.jacobian * sp.Matrix(directions)
        rows = zip(self.multipliers, along, self.bias, strict=True)
        return sp.Add(*(x * (rate + tau * b) for x, rate, b in rows))


def constrain(
    expressions: Sequence[Any],
    coordinates: Sequence[Any],
    taken: Collection[str] = (),
) -> Constraints:
    """Differentiate constraints on the given coordinates.

    A constraint without velocities is holonomic; one with velocities must be linear in
    them, and may be nonholonomic. No multiplier gets one of the names that are `taken`.

    Raises:
        InvalidLagrangian: blocks among the coordinates; or a constraint that contains
            no coordinate (it can only be true or false), or others than these, or is
            not linear in the velocities, or follows from or contradicts those before.
    """
    written = tuple(map(sp.sympify, expressions))
    if written and (held := [q for q in coordinates if isinstance(q, Block)]):
        raise InvalidLagrangian(
            f"the constraint {written[0]} = 0 is on a system with the block "
            f"`{held[0]}`, and constraints act on scalar coordinates alone. Write the "
            "block in coordinates of its own, or add a penalty to `V`."
        )
    speeds = [q.dot for q in coordinates]
    still = dict.fromkeys(speeds, sp.S.Zero)
    levels = tuple(_velocity_level(e, coordinates) for e in written)
    rows = [[variation(level, {v: 1}) for v in speeds] for level in levels]
    jacobian = sp.Matrix(len(written), len(speeds), [x for row in rows for x in row])
    for i, level in enumerate(levels):
        if jets(jacobian[i, :], order=1):
            raise InvalidLagrangian(
                f"the constraint {written[i]} = 0 is not linear in the velocities. "
                "Only constraints on coordinates, or linear in velocities, are "
                f"supported; its velocity form is {level}. Write one that is."
            )
    _check_independent(jacobian, written)
    at_rest = {q.ddot: sp.S.Zero for q in coordinates}
    return Constraints(
        expressions=written,
        velocity_level=levels,
        jacobian=jacobian,
        bias=sp.Matrix([level.xreplace(still) for level in levels]),
        curvature=sp.Matrix(
            [-total_derivative(level).xreplace(at_rest) for level in levels]
        ),
        multipliers=tuple(
            engine_symbol(f"lambda_{k}", taken, real=True)
            for k in range(1, len(written) + 1)
        ),
    )


def _velocity_level(expression: Any, coordinates: Sequence[Any]) -> Any:
    found = jets(expression)
    if not found:
        raise InvalidLagrangian(
            f"the constraint {expression} = 0 contains no coordinate. Write it as an "
            "expression that is zero, such as `x**2 + y**2 - l**2`."
        )
    if stray := [c for c in found if c.base not in coordinates or c.order > 1]:
        raise InvalidLagrangian(
            f"the constraint {expression} = 0 contains `{stray[0]}`, which is neither "
            "a coordinate of this Lagrangian nor its velocity. Add a kinetic term for "
            "it, or make it a constant, a `sympy.Symbol` of its own."
        )
    has_velocity = any(c.order for c in found)
    return expression if has_velocity else total_derivative(expression)


def _check_independent(jacobian: Any, written: Sequence[Any]) -> None:
    """The rank at one point in general position, in exact arithmetic."""
    symbols = sorted(jacobian.free_symbols, key=str)
    point = {s: sp.Rational(3 + 7 * i, 5 + 4 * i) for i, s in enumerate(symbols)}
    numbers = jacobian.xreplace(point).evalf(40)
    rank = 0
    for i, expression in enumerate(written):
        new = numbers[: i + 1, :].rank(iszerofunc=lambda x: abs(x) < 1e-25)
        if new == rank:
            raise InvalidLagrangian(
                f"the constraint {expression} = 0 follows from, or contradicts, those "
                "before it: their gradients are linearly dependent. Leave it out."
            )
        rank = new
