"""Backward error analysis: the flow that a discrete update follows, order by order.

A map with step eta is, up to higher order in eta, the time-eta flow of a modified
vector field f_0 + eta f_1 + eta^2 f_2 + ... (Hairer, Lubich & Wanner, "Geometric
Numerical Integration", chapter IX). For gradient descent the first correction is the
implicit gradient regularisation of Barrett & Dherin (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.blocks import collected
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.power_series import PowerSeries, constant, expansion
from lagrangian.symbolic.algebra.shown import aligned, shown, shown_latex
from lagrangian.symbolic.laws.discrete import learning_rate


@dataclass(frozen=True)
class Average:
    """An average over the past: a_{k+1} = decay a_k + (1 - decay) source(q_k).

    Attributes:
        decay: its share of the old value in the new one, between 0 and 1.
        source: what is averaged, of the blocks or coordinates.

    >>> import lagrangian as lg
    >>> averages = lg.Adam(1e-3).recursion().averages
    >>> len(averages)
    2
    >>> next(iter(averages.values()))
    Average(decay=beta, source=grad f)
    """

    decay: Expression
    source: Expression


@dataclass(frozen=True)
class Recursion:
    """q_{k+1} - q_k = momentum (q_k - q_{k-1}) + displacement(q_k) + lagged(q_{k-1}).

    Attributes:
        displacement: for each coordinate or block, an expression in them and in the
            step size, zero at step size zero.
        momentum: 0 for a one-step map.
        step_size: the symbol of the step size.
        lagged: like `displacement`, at the state before (Nesterov's look ahead).
        averages: of the symbols in `displacement` that stand for averages of the past
            (Adam's), those of the step that is taken.

    Raises:
        LagrangianError: what moves is no coordinate or block.

    >>> import lagrangian as lg
    >>> import sympy as sp
    >>> x = lg.coordinates("x")
    >>> eta = lg.learning_rate
    >>> euler = lg.Recursion({x: -eta * x})
    >>> print(lg.modified_flow(euler, order=1))
    x.dot = -eta*x/2 - x
    """

    displacement: Mapping[Any, Any]
    momentum: Expression = sp.S.Zero
    step_size: Expression = learning_rate
    lagged: Mapping[Any, Any] = field(default_factory=dict)
    averages: Mapping[Any, Average] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for q, change in (*self.displacement.items(), *self.lagged.items()):
            if not isinstance(q, Coordinate) or q.order:
                raise LagrangianError(
                    f"`displacement` moves `{q}`, which is no coordinate. Make one "
                    'with `lg.coordinates("q")` or `lg.blocks("w")`.'
                )
            if sp.sympify(change).subs(self.step_size, 0) != 0:
                raise LagrangianError(
                    f"the displacement of `{q}` is {change}, which does not vanish "
                    f"with the step size `{self.step_size}`. Backward error analysis "
                    "needs a map near the identity. Multiply the displacement by that "
                    "symbol."
                )

    def rewritten(self, written: Callable[[Any], Any]) -> Recursion:
        """With each of its expressions written in another way.

        Args:
            written: from an expression to another that is equal to it.

        Returns:
            A `Recursion`.
        """

        def each(moves: Mapping[Any, Any]) -> dict[Any, Any]:
            return {q: written(sp.sympify(move)) for q, move in moves.items()}

        averages = {
            a: Average(written(sp.sympify(x.decay)), written(sp.sympify(x.source)))
            for a, x in self.averages.items()
        }
        momentum, lagged = written(sp.sympify(self.momentum)), each(self.lagged)
        moves = each(self.displacement)
        return Recursion(moves, momentum, self.step_size, lagged, averages)

    @property
    def free_symbols(self) -> set[Any]:
        """Of all its expressions."""
        averages = [e for a in self.averages.values() for e in (a.decay, a.source)]
        moves = (*self.displacement.values(), *self.lagged.values())
        return set().union(
            *(sp.sympify(e).free_symbols for e in (*moves, self.momentum, *averages))
        )


@dataclass(frozen=True, repr=False)
class ModifiedFlow(AtPrompt):
    """The modified vector field: `terms[n][q]` is the coefficient of eta^n.

    Attributes:
        terms: for each order n, by coordinate or block, an expression.
        step_size: the symbol eta.

    >>> import lagrangian as lg
    >>> flow = lg.modified_flow(lg.HeavyBall(0.1), order=1)
    >>> flow.order, sorted(map(str, flow.velocity))
    (1, ['w'])
    """

    terms: tuple[Mapping[Any, Any], ...]
    step_size: Expression

    @property
    def order(self) -> int:
        """The highest power of the step size; the error is of one power more."""
        return len(self.terms) - 1

    @cached_property
    def velocity(self) -> dict[Any, Any]:
        """The whole field: for each coordinate its velocity."""
        return {
            q: sp.Add(*(self.step_size**n * f[q] for n, f in enumerate(self.terms)))
            for q in self.terms[0]
        }

    _next = "`.velocity`, `.terms[n]`, `.order`"

    def __str__(self) -> str:
        return "\n".join(f"{q.dot} = {shown(v)}" for q, v in self.velocity.items())

    def _repr_latex_(self) -> str:
        rows = self.velocity.items()
        return aligned([f"{sp.latex(q.dot)} &= {shown_latex(v)}" for q, v in rows])


def modified_flow(rule: Any, order: int = 1) -> ModifiedFlow:
    """The modified flow of a learning rule or of a map, through eta^order.

    Followed for a fixed time, it agrees with the discrete run to O(eta^(order + 1)); a
    rule with a memory has to be on its slow manifold, which it reaches after a few
    times 1/(1 - momentum) steps. A heavy ball that starts at rest at q_0 then follows
    the flow from q_0 + eta momentum grad F/(1 - momentum)^2 (`rule.start_offset`).
    Averages of the past enter as functions of the state, whose past is that of the flow
    (Cattaneo, Klusowski & Shigida, "On the implicit bias of Adam", 2024).

    Args:
        rule: a learning rule (its flow is given for one block `w` and an opaque loss,
            in the symbols of `rule.recursion_parameters()`, at one learning rate),
            or a `Recursion`, or a mapping from each coordinate to its next value, in
            the coordinates and the symbol `lg.learning_rate`.
        order: the highest power of eta, 0 or more.

    Returns:
        A `ModifiedFlow`, with the velocity of each coordinate or block.

    Raises:
        LagrangianError: a map that is not near the identity, or a negative order.

    With D the derivative along f = sum eta^n f_n, the flow moves q by
    sum_j eta^j D^j q / j!, and the previous step by the same with -eta; so
    sum_j c_j eta^j D^j q / j! = displacement, c_j = 1 + (-1)^j momentum, is solved for
    f_n power by power. An average of s is (1 - decay)/(1 - decay exp(-eta D)) s.

    >>> import lagrangian as lg
    >>> q, eta = lg.coordinates("q"), lg.learning_rate
    >>> print(modified_flow({q: q - eta * q**2}, order=2))
    q.dot = -3*q**4*eta**2/2 - q**3*eta - q**2
    """
    if order < 0:
        raise LagrangianError(f"`order` is {order}; pass 0 or more.")
    recursion = _as_recursion(rule)
    eta, momentum = recursion.step_size, recursion.momentum
    # Multiplied out, terms cancel; but the powers of an average have too many of them.
    spread = (lambda e: e) if recursion.averages else sp.expand
    field: dict[Any, PowerSeries] = {}
    averages = {
        a: constant(average.source).shifted(field, _weights(average.decay).__getitem__)
        for a, average in recursion.averages.items()
    }

    def backwards(j: int) -> Any:
        return sp.S.NegativeOne**j / sp.factorial(j)

    def higher(j: int) -> Any:
        return -(1 + momentum * (-1) ** j) / sp.factorial(j) if j > 1 else sp.S.Zero

    def velocity(q: Any) -> PowerSeries:
        parts = [
            expansion(recursion.displacement[q], eta, averages),
            constant(q).shifted(field, higher, spread),
        ]
        if q in recursion.lagged:
            lagged = expansion(recursion.lagged[q], eta)
            parts.append(lagged.shifted(field, backwards))
        return PowerSeries(
            lambda n: spread(sp.Add(*(p[n + 1] for p in parts)) / (1 - momentum))
        )

    field |= {q: velocity(q) for q in recursion.displacement}
    terms = [{q: f[n] for q, f in field.items()} for n in range(order + 1)]
    if not recursion.averages:
        terms = [{q: collected(v) for q, v in f.items()} for f in terms]
    return ModifiedFlow(tuple(terms), eta)


def _weights(decay: Expression) -> PowerSeries:
    """The Taylor coefficients of (1 - decay)/(1 - decay exp(-z))."""
    decay = sp.sympify(decay)

    def weight(n: int) -> Any:
        if n == 0:
            return sp.S.One
        past = (
            sp.S.NegativeOne**j / sp.factorial(j) * weights[n - j]
            for j in range(1, n + 1)
        )
        return sp.factor(decay / (1 - decay) * sp.Add(*past))

    weights = PowerSeries(weight)
    return weights


def _as_recursion(rule: Any) -> Recursion:
    if isinstance(rule, Recursion):
        return rule
    if isinstance(rule, Mapping):
        return Recursion({q: sp.expand(after - q) for q, after in rule.items()})
    return rule.recursion()
