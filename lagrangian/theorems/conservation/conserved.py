"""What gradient flow conserves, as the limit without inertia of Noether's laws.

And what moves it at a finite learning rate: by the continuous law to first order, by
the discrete one exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.algebra.blocks import ConstantBlock
from lagrangian.symbolic.algebra.calculus import gradient, variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.matrices import transpose
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.discrete import (
    Steps,
    learning_rate,
    momentum,
    role,
    step,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.testbeds import classifier
from lagrangian.theorems.testbeds.oscillator import exact_rule, oscillator_of
from lagrangian.theorems.testbeds.symmetric_networks import (
    EVEN,
    MATRIX_SYMMETRIES,
    ODD,
)
from lagrangian.theorems.theorem import Claim, identity

SYMMETRIES = classifier.SYMMETRIES | {
    name: make(EVEN) for name, make in MATRIX_SYMMETRIES.items()
}
#: The antisymmetric halves of the matrix groups.
ROTATIONS = {name: make(ODD) for name, make in MATRIX_SYMMETRIES.items()}

#: Only its form counts: the laws are in the symbols m, mu and lambda.
_RULE = exact_rule("1/10", "9/10", "1/100")
_HYPERPARAMETERS = {
    mass: learning_rate * (1 + momentum) / 2,
    friction: 1 - momentum,
    weight_decay: sp.S.Zero,
}


@cache
def law_of(symmetry: Symmetry) -> Law:
    """Its law under every heavy ball."""
    return noether(_RULE.lagrangian(symmetry.loss), symmetry)


@dataclass(frozen=True)
class Conserved:
    """A constant X of gradient flow, in blocks and their velocities.

    Attributes:
        value: X: a scalar, one for each unit, or a matrix.
        rate: dX/dt at any velocity.
        growth: to what the law tends for little inertia, dX/dt = growth, without decay.
    """

    value: Any
    rate: Any
    growth: Any


def conserved(symmetry: Symmetry) -> Conserved:
    """What the law of a symmetry with an oscillator conserves.

    For a matrix group, the matrix P of which <P, A> is the constant for every A.
    """
    oscillator = oscillator_of(law_of(symmetry))
    parts = (
        oscillator.quantity,
        sp.expand(law_of(symmetry).charge / oscillator.mass),
        sp.expand(oscillator.source / oscillator.damping),
    )
    return Conserved(*(_matrix(part, EVEN) for part in parts))


def angular_momentum(symmetry: Symmetry) -> Any:
    """The antisymmetric matrix J with <J, A> = <qdot, A q> for each such A."""
    return _matrix(sp.expand(law_of(symmetry).charge / mass), ODD)


def _matrix(expression: Any, generator: ConstantBlock) -> Any:
    """The M of <M, A>, with the parity of A; what has no A in it stays as it is."""
    if not expression.has(generator):
        return expression
    found = gradient(expression, generator)
    return sp.expand((found + generator.parity * transpose(found)) / 2)


# ------------------------------------------------------------------ gradient flow


def _without_inertia(symmetry: Symmetry) -> Any:
    """The law as m -> 0, less the first-order one that is claimed."""
    oscillator = oscillator_of(law_of(symmetry))
    left = sp.Matrix([oscillator.mass, oscillator.source])
    return left.applyfunc(lambda e: sp.limit(e, mass, 0)).norm()


def along_gradient_flow(symmetry: Symmetry, loss: Loss) -> Any:
    """dX/dt along mu qdot = -grad F, less what the weight decay does to X."""
    oscillator = oscillator_of(law_of(symmetry))
    decaying = -oscillator.stiffness / oscillator.damping * oscillator.quantity
    return sp.expand(rate_along_flow(oscillator.quantity, loss) - decaying)


def rate_along_flow(value: Any, loss: Loss) -> Any:
    """dX/dt along mu qdot = -grad F, with the weight decay."""
    return variation(value, _RULE.gradient_flow(loss))


def _charge_of_gradient_flow(symmetry: Symmetry) -> Any:
    """The charge itself along the gradient flow, without decay."""
    velocity = _RULE.gradient_flow(symmetry.loss)
    found = law_of(symmetry).charge.xreplace({q.dot: v for q, v in velocity.items()})
    return sp.expand(found.subs(weight_decay, 0))


def with_momentum(symmetry: Symmetry) -> Any:
    """exp(-mu t/m) d/dt (exp(mu t/m) charge), without decay."""
    law = law_of(symmetry)
    grown = law.rate + friction / mass * law.charge
    return sp.expand(grown.subs(weight_decay, 0))


# ------------------------------------------------------------------ discrete


def _discrete_excess(
    symmetry: Symmetry, values: Mapping[Any, Any] = _HYPERPARAMETERS
) -> Any:
    """By how much Y = X + eta beta/(1 - beta) dX/dt misses its growth in one step.

    dX/dt at the velocity -p of the last step. With its exact law the step must add
    eta times the growth at the velocity of the new step, at any learning rate.
    """
    law, steps = law_of(symmetry), Steps(symmetry.loss)
    discrete = noether(steps, symmetry)
    oscillator, xi = oscillator_of(law), symmetry.xi
    after = {q: role(q, "next trace") for q in xi}
    # Everything in q' and p': q = q' + eta p'.
    earlier = {q: role(q, "next") + learning_rate * p for q, p in after.items()}
    later = {q: role(q, "next") for q in xi}
    x = oscillator.quantity
    moved = x.xreplace(later) - x.xreplace(earlier)
    updates = {role(q, "update"): -learning_rate * p for q, p in after.items()}
    change = steps.total_derivative(step, discrete.charge)
    balance = change - (discrete.kinetic + discrete.friction).xreplace(updates)
    # <p, xi> is m/mass of the oscillator times dX/dt.
    lag = learning_rate / (1 - momentum) * mass / oscillator.mass
    stored = -lag * momentum * change
    grown = oscillator.source / oscillator.damping
    grown = grown.xreplace({q.dot: -p for q, p in after.items()})
    # The claim holds on shell: up to a multiple of the exact law, which is zero.
    excess = moved + stored - learning_rate * grown + lag * balance
    return sp.expand(sp.cancel(sp.expand(excess.xreplace(dict(values)))))


def _growth_factor() -> Any:
    """Of |qdot|^2 in the growth of a squared norm."""
    symmetry = SYMMETRIES["scale"]
    (w,) = symmetry.blocks
    squared = {Inner(w.dot, w.dot): sp.S.One}
    return conserved(symmetry).growth.xreplace(squared | _HYPERPARAMETERS)


def derived_claims() -> Iterator[Claim]:
    """The identities, each with its control."""
    for name, symmetry in SYMMETRIES.items():
        free = Loss("f", symmetry.blocks)
        yield identity(
            f"{name}: inertia and source as m -> 0", _without_inertia(symmetry)
        )
        what = f"{name}: X' + 2 lambda/mu X along the gradient flow"
        if name == "translation":
            what = what.replace("2 lambda", "lambda")
        yield identity(what, along_gradient_flow(symmetry, symmetry.loss))
        yield identity(
            f"{what}, f not invariant",
            along_gradient_flow(symmetry, free),
            control=True,
        )
        what = f"{name}: growth of Y in a step, less the law's"
        yield identity(what, _discrete_excess(symmetry))
    lighter = _HYPERPARAMETERS | {mass: learning_rate / 2}
    excess = _discrete_excess(SYMMETRIES["scale"], lighter)
    yield identity("scale: growth of Y, with m = eta/2", excess, control=True)
    stated = learning_rate * (1 + momentum) / (1 - momentum)
    what = "growth of |q|^2 over |q'|^2, less eta (1+beta)/(1-beta)"
    yield identity(what, _growth_factor() - stated)
    for name, symmetry in ROTATIONS.items():
        what = f"{name}, A antisymmetric: charge of the gradient flow"
        yield identity(what, _charge_of_gradient_flow(symmetry))
        what = f"{name}, A {{}}: d/dt e^(mu t/m) c with momentum"
        yield identity(what.format("antisymmetric"), with_momentum(symmetry))
        yield identity(
            what.format("symmetric"), with_momentum(SYMMETRIES[name]), control=True
        )
