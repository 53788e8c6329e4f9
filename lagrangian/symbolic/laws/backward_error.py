"""Backward error analysis: the flow that a discrete update follows, order by order.

A map with step eta is, up to higher order in eta, the time-eta flow of a modified
vector field f_0 + eta f_1 + eta^2 f_2 + ... (Hairer, Lubich & Wanner, "Geometric
Numerical Integration", chapter IX). For gradient descent the first correction is the
implicit gradient regularisation of Barrett & Dherin (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.blocks import EngineBlock, collected, is_block
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.laws.discrete import learning_rate


@dataclass(frozen=True)
class Average:
    """An average over the past: a_{k+1} = decay a_k + (1 - decay) source(q_k)."""

    decay: Any
    source: Any


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
    """

    displacement: Mapping[Any, Any]
    momentum: Any = sp.S.Zero
    step_size: Any = learning_rate
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
                    "needs a map near the identity."
                )


@dataclass(frozen=True)
class ModifiedFlow:
    """The modified vector field: `terms[n][q]` is the coefficient of eta^n."""

    terms: tuple[Mapping[Any, Any], ...]
    step_size: Any

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

    def __str__(self) -> str:
        return "\n".join(f"{q.dot} = {v}" for q, v in self.velocity.items())

    def _repr_latex_(self) -> str:
        rows = r" \\ ".join(
            f"{sp.latex(q.dot)} &= {sp.latex(v)}" for q, v in self.velocity.items()
        )
        return rf"$\displaystyle \begin{{aligned}} {rows} \end{{aligned}}$"


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
            the coordinates and the symbol `eta` (nonnegative, real).
        order: the highest power of eta, 0 or more.

    Raises:
        LagrangianError: a map that is not near the identity, or a negative order.

    With D the derivative along f = sum eta^n f_n, the flow moves q by
    sum_j eta^j D^j q / j!, and the previous step by the same with -eta; so
    sum_j c_j eta^j D^j q / j! = displacement, c_j = 1 + (-1)^j momentum, is solved for
    f_n power by power. An average of s is (1 - decay)/(1 - decay exp(-eta D)) s.
    """
    if order < 0:
        raise LagrangianError(f"`order` is {order}; pass 0 or more.")
    recursion = _as_recursion(rule)
    eta, momentum = recursion.step_size, recursion.momentum
    expansions = {
        a: [_numbered(a, k) for k in range(order + 2)] for a in recursion.averages
    }
    motion = {eta: sp.S.One} | {
        here: (k + 1) * above
        for expansion in expansions.values()
        for k, (here, above) in enumerate(pairwise(expansion))
    }
    powers, lagged = (
        {q: _powers(sp.sympify(c), eta, motion, order + 1) for q, c in moves.items()}
        for moves in (recursion.displacement, recursion.lagged)
    )
    # Multiplied out, terms cancel; but the powers of an average have too many of them.
    spread = (lambda e: e) if recursion.averages else sp.expand
    averages: dict[Any, Any] = {}  # by the symbols of their Taylor coefficients
    weight = [1 + (-1) ** j * momentum for j in range(order + 2)]
    # derivatives[j - 1][n][q] is the coefficient of eta^n in D^j q.
    derivatives: list[list[dict[Any, Any]]] = [[] for _ in range(order + 1)]
    for n in range(order + 1):
        for a, average in recursion.averages.items():
            averages[expansions[a][n]] = _shifted(
                [average.source], _weights_of_average(average.decay, n), derivatives[0]
            )
        known = {q: powers[q][n + 1].xreplace(averages) for q in powers}
        for q, coefficients in lagged.items():
            weights = [sp.S.NegativeOne**j / sp.factorial(j) for j in range(n + 2)]
            known[q] += _shifted(coefficients, weights, derivatives[0])
        for j in range(2, n + 2):
            along = _along(derivatives, j, n + 1 - j)
            term = {q: spread(change) for q, change in along.items()}
            derivatives[j - 1].append(term)
            for q in known:
                known[q] -= weight[j] * term[q] / sp.factorial(j)
        derivatives[0].append(
            {q: spread(change / weight[1]) for q, change in known.items()}
        )
    if not recursion.averages:
        derivatives[0] = [
            {q: collected(v) for q, v in f.items()} for f in derivatives[0]
        ]
    return ModifiedFlow(tuple(derivatives[0]), eta)


def _along(derivatives: list[list[dict[Any, Any]]], j: int, n: int) -> dict[Any, Any]:
    """The coefficient of eta^n in D^j q, from those of D^(j-1) q and of f."""
    inner, field = derivatives[j - 2], derivatives[0]
    return {
        q: sp.Add(*(variation(inner[n - i][q], field[i]) for i in range(n + 1)))
        for q in field[0]
    }


def _shifted(coefficients: list[Any], weights: list[Any], field: list[Any]) -> Any:
    """The coefficient of eta^n in sum_j weights[j] (eta D)^j of a function.

    `coefficients` are those of the function itself by power of eta, the rest being
    zero; n is that of the last weight.
    """
    n, total = len(weights) - 1, sp.S.Zero
    for i, coefficient in enumerate(coefficients[: n + 1]):
        if coefficient == 0:
            continue
        # tower[a] is the coefficient of eta^a in D^j of the function's i-th one.
        tower = [coefficient, *[sp.S.Zero] * (n - i)]
        total += weights[0] * tower[n - i]
        for j in range(1, n - i + 1):
            tower = [
                sp.Add(*(variation(tower[a - b], field[b]) for b in range(a + 1)))
                for a in range(n - i - j + 1)
            ]
            total += weights[j] * tower[-1]
    return total


def _weights_of_average(decay: Any, highest: int) -> list[Any]:
    """The Taylor coefficients of (1 - decay)/(1 - decay exp(-z)), to that power."""
    decay = sp.sympify(decay)
    weights: list[Any] = [sp.S.One]
    for n in range(1, highest + 1):
        past = sp.Add(
            *(
                sp.S.NegativeOne**j / sp.factorial(j) * weights[n - j]
                for j in range(1, n + 1)
            )
        )
        weights.append(sp.factor(decay / (1 - decay) * past))
    return weights


def _numbered(symbol: Any, k: int) -> Any:
    """The symbol of the k-th Taylor coefficient of what `symbol` stands for."""
    if k == 0:
        return symbol
    name = f"{symbol.name} {k}"
    return EngineBlock(name) if is_block(symbol) else sp.Dummy(name)


def _powers(expression: Any, eta: Any, motion: Any, highest: int) -> list[Any]:
    """The Taylor coefficients of `expression` in eta, from 0 to `highest`."""
    coefficients = []
    for n in range(highest + 1):
        coefficients.append(expression.subs(eta, 0) / sp.factorial(n))
        expression = variation(expression, motion)
    return coefficients


def _as_recursion(rule: Any) -> Recursion:
    if isinstance(rule, Recursion):
        return rule
    if isinstance(rule, Mapping):
        return Recursion({q: sp.expand(after - q) for q, after in rule.items()})
    return rule.recursion()
