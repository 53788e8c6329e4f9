"""Noether's theorem for a learning rule as a map: exact at any learning rate.

Heavy-ball training is a variational integrator: the discrete Lagrangian
beta^-k (|q_{k+1} - q_k|^2 / (2 eta) - F(q_k)) has the optimiser's update as its
discrete Euler-Lagrange equation. Its charge is <p_k, xi(q_k)>, p the trace. Other
rules make another update of p, or of an average of gradients in its place; the charge
and its balance stay the same, with their update in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import pairing, variation
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.algebra.shown import combination
from lagrangian.symbolic.algebra.symmetry import Symmetry

learning_rate, momentum, weight_decay, gain = sp.symbols(
    "eta beta lambda kappa", nonnegative=True, real=True
)

#: The number of a training step, which time is counted in.
step = EngineSymbol("k", real=True)

#: What a training step has of every block, besides the block q itself.
ROLES = ("trace", "gradient", "next", "next trace", "update")


def role(block: Block, name: str) -> Block:
    """The symbol of one of the `ROLES` of a block, with its unit axis.

    Args:
        block: whose.
        name: "gradient", "update", "trace", "next" or "next trace".

    Returns:
        A `Block`.

    >>> import lagrangian as lg
    >>> w = lg.Block("w")
    >>> lg.role(w, "update")
    w (update)
    """
    return Block(f"{block.name} ({name})", unit_axis=block.unit_axis)


class Steps(AtPrompt, ByContent):
    """The steps of a learning rule on a loss, as a theory: `noether` takes it.

    With q' = q + update and p' = beta p + kappa (grad f + lambda q), the charge
    <p, xi(q)> of any generator changes in a step by

    - `kinetic`: <p', xi(q') - xi(q)>, which is <p', A update> for the linear part A of
      an affine generator; the heavy ball's is -eta <p', A p'>, zero for an
      antisymmetric A, and a metric shows in it;
    - `loss`: kappa <grad f, xi(q)>, zero exactly when the symmetry is one of f;
    - `decay`: kappa lambda <q, xi(q)>;
    - `friction`: (beta - 1) <p, xi(q)>.

    It is the discrete theorem of Noether (Marsden & West, "Discrete mechanics and
    variational integrators", 2001, 1.3.2), with what breaks it.

    Everything is a SymPy expression in the blocks, their `role`s and the gradients of
    f, whose role is "gradient".

    Args:
        loss: f; along its declared symmetries `loss` is zero.
        memory, gain, weight_decay: beta, kappa and lambda, by default their symbols.
        updates: that of each block; by default its `role`, any update.

    Raises:
        InvalidLagrangian: no loss.

    >>> import lagrangian as lg
    >>> scale = lg.Scale("w")
    >>> lg.noether(lg.Steps(scale.loss), scale).changes["loss"]
    0
    """

    def __init__(
        self,
        loss: Loss,
        *,
        memory: Expression = momentum,
        gain: Expression = gain,
        weight_decay: Expression = weight_decay,
        updates: Mapping[Any, Any] | None = None,
    ):
        if not isinstance(loss, Loss):
            raise InvalidLagrangian(
                f"`loss` is of type {type(loss).__name__}; expected an opaque loss, "
                'such as `lg.Scale("w").loss` or `lg.Loss("f", lg.blocks("w"))`.'
            )
        self.loss = loss
        self.memory, self.gain = sp.sympify(memory), sp.sympify(gain)
        self.weight_decay = sp.sympify(weight_decay)
        self.updates = {
            q: (updates or {}).get(q, role(q, "update")) for q in self.coordinates
        }

    def _content(self) -> tuple[Any, ...]:
        numbers = (self.memory, self.gain, self.weight_decay)
        return Steps, self.loss, *numbers, *self.updates.values()

    _next = "`lg.noether(steps, symmetry)`"
    _engine = frozenset(
        "factor variables pairing variation total_derivative on_shell".split()
    )

    def __str__(self) -> str:
        slope = combination({"grad f": 1, "q": self.weight_decay})
        if not (self.weight_decay.is_zero or (self.gain - 1).is_zero):
            slope = f"({slope})"
        trace = combination({"p": self.memory, slope: self.gain})
        return f"Steps: p' = {trace}, q' = q + update"

    @property
    def coordinates(self) -> tuple[Block, ...]:
        """The blocks of the loss."""
        return tuple(self.loss.blocks)

    @property
    def variables(self) -> tuple[Any, ...]:
        """The number of the step."""
        return (step,)

    @property
    def factor(self) -> Any:
        return sp.S.One

    def pairing(self, symmetry: Symmetry) -> dict[Any, Any]:
        """<p, xi(q)>, the charge, with the trace p."""
        trace = {q: role(q, "trace") for q in symmetry.xi}
        return {step: _paired(trace, symmetry.xi)}

    def variation(self, symmetry: Symmetry) -> dict[str, Any]:
        """What a step adds to the charge, by cause."""
        if symmetry.shifts:
            raise InvalidSymmetry(
                f"{symmetry!r} moves time, and steps are counted. Give the motion of "
                "the blocks alone."
            )
        xi = symmetry.xi
        covector = {q: role(q, "next trace") for q in xi}
        return {
            "kinetic": _paired(covector, self._turned(xi)),
            "loss": self.gain * variation(self.loss, xi),
            "decay": self.gain * self.weight_decay * _paired({q: q for q in xi}, xi),
            "friction": sp.expand_mul((self.memory - 1) * self.pairing(symmetry)[step]),
        }

    def _turned(self, xi: Mapping[Any, Any]) -> dict[Any, Any]:
        """xi(q') - xi(q), and A update where xi(q) = A q + a shows."""
        places = {
            "zero": {q: sp.S.Zero for q in xi},
            "update": self.updates,
            "sum": {q: q + self.updates[q] for q in xi},
            "next": {q: role(q, "next") for q in xi},
        }
        turned = {}
        for q, direction in xi.items():
            at = {name: direction.xreplace(place) for name, place in places.items()}
            linear = at["update"] - at["zero"]
            # Also where the generator is infinite at zero.
            is_affine = sp.expand(at["sum"] - direction - linear) == 0
            turned[q] = linear if is_affine else at["next"] - direction
        return turned

    def total_derivative(self, variable: sp.Expr, expression: Expression) -> Any:
        """What `expression`, in q and the trace, is more after a step than before."""
        after: dict[Any, Any] = {}
        for q in self.coordinates:
            after |= {q: role(q, "next"), role(q, "trace"): role(q, "next trace")}
        return sp.sympify(expression).xreplace(after) - expression

    def on_shell(self, expression: Expression) -> Any:
        """An expression with the step put in, in q, p, the gradient and the update."""
        known: dict[Any, Any] = {}
        for q in self.coordinates:
            known[self.loss.gradient(q)] = role(q, "gradient")
            slope = role(q, "gradient") + self.weight_decay * q
            known[role(q, "next trace")] = (
                self.memory * role(q, "trace") + self.gain * slope
            )
            known[role(q, "next")] = q + self.updates[q]
        # An update may have the next trace in it.
        return sp.sympify(expression).xreplace(known).xreplace(known)


def _paired(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> Any:
    return sp.Add(*(pairing(left[q], direction) for q, direction in right.items()))


def linear_part(symmetry: Symmetry, at: Mapping[Any, Any]) -> dict[Any, Any]:
    """A v of an affine generator xi(q) = A q + a, for each of its blocks."""
    still = {q: sp.S.Zero for q in symmetry.xi}
    return {
        q: direction.xreplace(dict(at)) - direction.xreplace(still)
        for q, direction in symmetry.xi.items()
    }
