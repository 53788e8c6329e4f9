"""What is said of a law in every step, as expressions in the `role`s of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.rules import ReadSchedule
from lagrangian.learning.rules.rule import Rule, friction, mass
from lagrangian.learning.training.unread import Unread
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import pairing
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.discrete import (
    Steps,
    gain,
    learning_rate,
    linear_part,
    momentum,
    role,
    step,
)
from lagrangian.symbolic.laws.noether import Law, noether


def continuous_terms(law: Law, rule: Rule) -> dict[str, Any]:
    """What a record has of the continuous law, in the `role`s of the blocks."""
    if isinstance(rule, Unread):
        law = noether(rule.lagrangian(law.symmetry.loss), law.symmetry)
    oscillator = law.oscillator if rule.is_euclidean else None
    if oscillator is None:
        quantity, velocity, source = law.charge, law.rate, law.rate
    else:
        quantity, source = oscillator.quantity, oscillator.source
        velocity = law.charge / oscillator.mass
    blocks = law.lagrangian.coordinates
    measured = {w.dot: rule.velocity(w) for w in blocks}
    raw, start = measured, measured
    if rule.is_euclidean:
        raw = {w.dot: rule.slow_velocity(w) for w in blocks}
        start = {w.dot: starting_velocity(rule, w) for w in blocks}
    stated = source.xreplace(measured)
    return {
        "quantity": quantity.xreplace(measured),
        "source": stated + _kinetic_excess(law, rule),
        "stated_source": stated,
        "raw_source": source.xreplace(raw),
        "start": velocity.xreplace(start),
        "reach": _reach(law, rule),
    }


def starting_velocity(rule: Rule, block: Block) -> Any:
    """The velocity from which the flow follows a run whose trace may not be at rest.

    Of a trace p the moves to come add up to -eta p beta/(1 - beta) in a heavy ball, by
    which the run is ahead of one from rest; a velocity v takes the flow (m/mu) v ahead.
    """
    if not rule.memory:
        return rule.starting_velocity(block)
    ahead = age(rule) * friction / mass * steady(rule)
    return rule.starting_velocity(block) - ahead * role(block, "trace")


def age(rule: Rule) -> Any:
    """By how much older than half a step the gradients in a move are, in time."""
    return mass / friction - learning_rate / 2


def steady(rule: Rule) -> Any:
    """The velocity over -p under a constant gradient: p is gain/(1 - beta) of that."""
    return sp.sympify(1 - rule.memory) / (sp.sympify(rule.gain) * friction)


def _kinetic_excess(law: Law, rule: Rule) -> Any:
    """What the covector p' of a step adds to the kinetic term, beside the velocity's.

    The quantity gains <xi, u> + <u, A u>/2 in a step, and of <xi, u> that which the
    trace carries on. Both together are <P, A v>, with the momentum

        P = (eta mu/2) v - (m - eta mu/2) p'

    (p' in the units of the velocity): m v where the velocity is along p', as the heavy
    ball's is; and for Nesterov's rule, which adds the newest gradient, wherever the
    gradients are smooth in time. Under noise it is lighter.
    """
    blocks = law.symmetry.xi
    if not rule.is_euclidean or not any(
        role(w, "gradient") in rule.velocity(w).free_symbols for w in blocks
    ):
        return sp.S.Zero
    velocity = {w: rule.velocity(w) for w in blocks}
    turned = linear_part(law.symmetry, velocity)
    return (
        age(rule)
        * friction
        * sp.Add(
            *(
                pairing(
                    -steady(rule) * role(w, "next trace")
                    - velocity[w]
                    - sp.sympify(rule.decoupled_decay) * w,
                    turned[w],
                )
                for w in blocks
            )
        )
    )


def _reach(law: Law, rule: Rule) -> Any:
    oscillator = law.oscillator if rule.is_euclidean else None
    if oscillator is None:
        return sp.S.Zero
    xi = law.symmetry.xi
    size = sp.Add(*(pairing(w, w) for w in xi))
    length = sp.Add(*(pairing(direction, direction) for direction in xi.values()))
    return sp.sqrt(size) * sp.sqrt(length) * mass / oscillator.mass


def discrete_terms(
    law: Law, rules: Mapping[Any, Rule], rates: Mapping[Any, Any]
) -> dict[str, Any]:
    """What a record has of the discrete law, each block with its own numbers.

    With p' = beta p + kappa (grad f + lambda q) in each block, the charge is
    <p/kappa, xi>, in the unit kappa if all have the same: then the gradients' share of
    it is <grad f, xi>, which the symmetry makes zero.

    Args:
        rules: of each block.
        rates: the learning rate of its step.
    """
    xi = law.symmetry.xi
    blocks = law.lagrangian.coordinates
    memory, gains, decays = (
        {w: sp.sympify(getattr(rules[w], name)) for w in blocks}
        for name in ("memory", "gain", "coupled_decay")
    )
    alike = len(set(gains.values())) == 1
    unit = gains[blocks[0]] if alike else sp.S.One
    share = {w: unit / gains[w] for w in blocks}
    # A loss that has no symmetry for certain: its part of the law is measured.
    loss = Loss("f", law.symmetry.blocks)
    steps = Steps(loss)
    discrete = noether(steps, law.symmetry)
    measured = {loss.gradient(q): role(q, "gradient") for q in xi} | {gain: unit}
    driven = discrete.changes["loss"].xreplace(measured)
    after = {role(w, "next trace"): share[w] * role(w, "next trace") for w in blocks}
    kept = {role(w, "trace"): memory[w] * share[w] * role(w, "trace") for w in blocks}
    charge = discrete.charge
    later = steps.total_derivative(step, charge) + charge
    kinetic = discrete.kinetic.xreplace(after)
    decay = unit * sp.Add(*(decays[w] * pairing(w, xi[w]) for w in xi))
    # Friction leaves of each block's part of the charge what its momentum says.
    marks = {w: sp.Dummy() for w in blocks}
    marked = {role(w, "trace"): marks[w] * share[w] * role(w, "trace") for w in blocks}
    left = sp.expand((charge + discrete.friction).xreplace(marked))
    rest = sp.Add(
        *(left.coeff(marks[w]).xreplace({momentum: memory[w]}) for w in blocks)
    )
    residual = sp.expand_mul(later.xreplace(after) - rest - kinetic - decay)
    terms = {
        "discrete": residual,
        "defect": driven / unit,
        "balance": residual - driven,
        "kinetic": kinetic,
        "decay": decay,
        **_scales(law, unit, after, kept),
        **_metric_terms(law, rules),
    }
    # The update is what the rule says; that it was made shows in <p', xi(q')>.
    # Where a schedule was read, it is exact, and optax's own may be rounded to float32
    # (its counts are int32, in 64-bit mode too): there the update is measured.
    velocities = {
        w: rules[w].velocity(w)
        for w in blocks
        if rules[w].is_euclidean
        and not isinstance(rules[w].learning_rate, ReadSchedule)
    }
    updates = {
        role(w, "update"): rates[w] * velocity
        for w, velocity in velocities.items()
        if role(w, "update") not in velocity.free_symbols  # else it is measured
    }
    return {name: sp.sympify(e).xreplace(updates) for name, e in terms.items()}


def _scales(law: Law, unit: Any, after: Any, kept: Any) -> dict[str, Any]:
    """The bounds of Cauchy and Schwarz, beside which `defect` and all are small."""
    xi = law.symmetry.xi
    later = {q: role(q, "next") for q in xi}

    def bound(name: str, at: Mapping[Any, Any], weighed: Mapping[Any, Any]) -> Any:
        left = {q: role(q, name).xreplace(dict(weighed)) for q in xi}
        right = {q: direction.xreplace(dict(at)) for q, direction in xi.items()}
        squares = (
            sp.Add(*(pairing(side[q], side[q]) for q in xi)) for side in (left, right)
        )
        return sp.Mul(*map(sp.sqrt, squares))

    defect = bound("gradient", {}, {})
    before, now = bound("trace", {}, kept), bound("next trace", later, after)
    return {"defect_scale": defect, "scale": unit * defect + now + before}


def _metric_terms(law: Law, rules: Mapping[Any, Rule]) -> dict[str, Any]:
    """<u, xi> |p'|^2 - <u, p'> <p', xi>: zero if the update u is along p'."""
    if all(rule.is_euclidean for rule in rules.values()):
        return {"metric": sp.S.Zero, "metric_scale": sp.S.One}
    xi = law.symmetry.xi

    def along(left: Any, right: Any) -> Any:
        return sp.Add(*(pairing(left(q), right(q)) for q in xi))

    def update(q: Block) -> Any:
        return role(q, "update")

    def covector(q: Block) -> Any:
        return role(q, "next trace")

    def direction(q: Block) -> Any:
        return xi[q]

    length = along(covector, covector)
    return {
        "metric": along(update, direction) * length
        - along(update, covector) * along(covector, direction),
        "metric_scale": sp.sqrt(along(update, update) * along(direction, direction))
        * length,
    }
