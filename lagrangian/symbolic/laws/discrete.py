"""Noether's theorem for a learning rule as a map: exact at any learning rate.

Heavy-ball training is a variational integrator: the discrete Lagrangian
beta^-k (|q_{k+1} - q_k|^2 / (2 eta) - F(q_k)) has the optimiser's update as its
discrete Euler-Lagrange equation. Its charge is <p_k, xi(q_k)>, p the trace. Other
rules make another update of p, or of an average of gradients in its place; the charge
and its balance stay the same, with their update in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import pairing
from lagrangian.symbolic.algebra.symmetry import Symmetry

learning_rate, momentum, weight_decay, gain = sp.symbols(
    "eta beta lambda kappa", nonnegative=True, real=True
)

#: What a training step has of every block, besides the block q itself.
ROLES = ("trace", "gradient", "next", "next trace", "update")


def role(block: Block, name: str) -> Block:
    """The symbol of one of the `ROLES` of a block, with its unit axis."""
    return Block(f"{block.name} ({name})", unit_axis=block.unit_axis)


@dataclass(frozen=True)
class DiscreteLaw:
    """The inner products of one step that an affine generator's exact law joins.

    With q' = q + update and p' = beta p + kappa (grad f + lambda q):

        after = beta before + kappa (loss + lambda decay) + step

    where `loss`, <grad f, xi(q)>, is zero exactly when the symmetry is one of f.
    `step` is <p', A update>, A the linear part of xi; the heavy ball's is
    -eta <p', A p'>, zero for an antisymmetric A, and a metric shows in it.
    Every field is a SymPy expression in a block and its `role`s; `loss_scale` and
    `scale` are the Cauchy-Schwarz bounds against which `loss` and the whole balance
    are to be called small.
    """

    after: Any
    before: Any
    loss: Any
    decay: Any
    step: Any
    loss_scale: Any
    scale: Any

    @property
    def residual(self) -> Any:
        """What is left of the balance under the claim that `loss` is zero."""
        return (
            self.after
            - momentum * self.before
            - gain * weight_decay * self.decay
            - self.step
        )


def linear_part(symmetry: Symmetry, at: Mapping[Any, Any]) -> dict[Any, Any]:
    """A v of an affine generator xi(q) = A q + a, for each of its blocks."""
    still = {q: sp.S.Zero for q in symmetry.xi}
    return {
        q: direction.xreplace(dict(at)) - direction.xreplace(still)
        for q, direction in symmetry.xi.items()
    }


def discrete_law(symmetry: Symmetry) -> DiscreteLaw:
    """The exact law of training for a generator that is affine in the blocks."""
    xi = symmetry.xi
    now = {q: q for q in xi}
    trace, gradient, after, trace_after, update = (
        {q: role(q, name) for q in xi} for name in ROLES
    )

    def moved(at: dict[Any, Any]) -> dict[Any, Any]:
        return {q: direction.xreplace(at) for q, direction in xi.items()}

    def paired(left: dict[Any, Any], right: dict[Any, Any]) -> Any:
        return sp.Add(*(pairing(left[q], right[q]) for q in xi))

    def bound(left: dict[Any, Any], right: dict[Any, Any]) -> Any:
        return sp.sqrt(paired(left, left)) * sp.sqrt(paired(right, right))

    turned = linear_part(symmetry, update)
    loss_scale = bound(gradient, moved(now))
    return DiscreteLaw(
        after=paired(trace_after, moved(after)),
        before=paired(trace, moved(now)),
        loss=paired(gradient, moved(now)),
        decay=paired(now, moved(now)),
        step=paired(trace_after, turned),
        loss_scale=loss_scale,
        scale=gain * loss_scale
        + bound(trace_after, moved(after))
        + momentum * bound(trace, moved(now)),
    )
