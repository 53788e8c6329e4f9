"""The continuous law of a symmetry whose blocks move by rules of their own.

In one time t for all, the steps times a reference learning rate, a block whose rate is
r times that one obeys

    (m_b/r^2) qddot + (mu_b/r) qdot + lambda_b q = -grad f

with the mass, the friction and the decay of its own rule. That is a Euclidean kinetic
energy with a mass for each block, and a friction and a decay beside it. The gradients
leave out of the sum over blocks what the symmetry makes zero, so that the quantity is
x = sum w_b x_b with w_b the block's mass in terms of the reference one; w = 1/r where
rules differ in their rates alone. As far as frictions and decays are not in the
proportion of the masses, no equation of x alone is closed: what they differ by is part
of the source, and measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.rule import Rule, friction, mass
from lagrangian.learning.training.groups import Rules
from lagrangian.learning.training.terms import age, starting_velocity, steady
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import pairing
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.laws.discrete import (
    learning_rate,
    linear_part,
    role,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Steps at which two schedules are compared, and by how much their ratio may vary:
#: optax computes them in float32.
_SAMPLED, _ROUNDING = (0, 1, 2, 5, 10, 30, 100, 300, 1000, 10**4), 1e-5
#: Masses, frictions and decays closer than this are the same.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Across:
    """What the blocks of a law have in common.

    Attributes:
        law: with a mass for each block, the `weights` times that of the rule.
        rule: of reference: its time is that of the law.
        rules: of each block.
        ratios: of a block's learning rate to the rule's.
    """

    law: Law
    rule: Rule
    rules: Mapping[Block, Rule]
    ratios: Mapping[Block, Any]

    @property
    def weights(self) -> dict[Block, float]:
        """The mass of each block in terms of the rule's."""
        own = self.rule.parameters(1.0)[mass]
        return {
            w: float(rule.parameters(1.0)[mass] / (own * self.ratios[w]))
            for w, rule in self.rules.items()
        }

    @property
    def is_closed(self) -> bool:
        """Whether frictions and decays are in the proportion of the masses."""
        return all(
            abs(float(rest.xreplace({learning_rate: sp.S.One}))) < _SAME
            for w in self.rules
            for rest in self._rest(w)
        )

    def __str__(self) -> str:
        first, *others = self.rules
        if not others:
            return f"it is the law of the rule that moves `{first.name}`"
        shares = ", ".join(f"{self.weights[w]:.4g} of `{w.name}`" for w in others)
        text = (
            f"the quantity weighs each block by its mass, 1 of `{first.name}`, {shares}"
        )
        if self.is_closed:
            return text
        return text + (
            "; frictions or decays are not in that proportion, and the source has what "
            "they differ by"
        )

    def terms(self) -> dict[str, Any]:
        """See `continuous_terms`."""
        blocks, oscillator = self.law.lagrangian.coordinates, self.law.oscillator
        if oscillator is None:
            quantity, velocity, source = self.law.charge, self.law.charge, self.law.rate
        else:
            quantity, source = oscillator.quantity, oscillator.source
            velocity = self.law.charge / oscillator.mass
        measured = {w.dot: self._in_time(w, self.rules[w].velocity(w)) for w in blocks}
        raw = {w.dot: self._in_time(w, self.rules[w].slow_velocity(w)) for w in blocks}
        start = {
            w.dot: self._in_time(w, starting_velocity(self.rules[w], w)) for w in blocks
        }
        source += self._forces()
        stated = source.xreplace(measured)
        found = {
            "quantity": quantity.xreplace(measured),
            "source": stated + self._kinetic_excess(measured),
            "stated_source": stated,
            "raw_source": source.xreplace(raw),
            "start": velocity.xreplace(start),
            "reach": self._reach(),
        }
        numbers = {_mass_of(w): sp.Float(n) for w, n in self.weights.items()}
        return {name: sp.sympify(e).xreplace(numbers) for name, e in found.items()}

    def _own(self, block: Block) -> dict[Any, Any]:
        """Values of the symbols of a block's rule, its learning rate among them."""
        rate = self.ratios[block] * learning_rate
        return {**self.rules[block].parameters(rate), learning_rate: rate}

    def _in_time(self, block: Block, velocity: Any) -> Any:
        """A velocity of a block's own time, in that of the rule."""
        return self.ratios[block] * velocity.xreplace(self._own(block))

    def _rest(self, block: Block) -> tuple[Any, Any]:
        """How friction and decay of a block differ from its share of the rule's."""
        here, own = self._own(block), self.rule.parameters(learning_rate)
        share = self.weights[block]
        drag = here[friction] / self.ratios[block] - share * own[friction]
        pull = here[weight_decay] - share * own[weight_decay]
        return sp.sympify(drag), sp.sympify(pull)

    def _forces(self) -> Any:
        """What these add to the rate of the charge, in the middle of a step.

        At its beginning, with the velocity of the step, it would be of first order.
        """
        middle = {w: w + learning_rate / 2 * w.dot for w in self.rules}
        total = sp.S.Zero
        for w, direction in self.law.symmetry.xi.items():
            drag, pull = self._rest(w)
            direction = sp.sympify(direction).xreplace(middle)
            if drag.free_symbols or abs(drag) > _SAME:
                total -= drag * pairing(w.dot, direction)
            if abs(pull) > _SAME:
                total -= pull * pairing(middle[w], direction)
        return total

    def _kinetic_excess(self, measured: Mapping[Any, Any]) -> Any:
        """See that of one rule, in `terms`; block by block."""
        velocities = {w: measured[w.dot] for w in self.law.symmetry.xi}
        turned = linear_part(self.law.symmetry, velocities)
        total = sp.S.Zero
        for w in velocities:
            rule = self.rules[w]
            velocity = rule.velocity(w)
            if role(w, "gradient") not in velocity.free_symbols:
                continue
            covector = -steady(rule) * role(w, "next trace") - velocity
            covector -= sp.sympify(rule.decoupled_decay) * w
            momentum = (age(rule) * friction * covector).xreplace(self._own(w))
            total += pairing(momentum, turned[w]) / self.ratios[w]
        return total

    def _reach(self) -> Any:
        oscillator = self.law.oscillator
        if oscillator is None:
            return sp.S.Zero
        xi = self.law.symmetry.xi
        size = sp.Add(*(pairing(w, w) for w in xi))
        length = sp.Add(*(self.weights[w] ** 2 * pairing(d, d) for w, d in xi.items()))
        return sp.sqrt(size) * sp.sqrt(length) * mass / oscillator.mass


def across(law: Law, rules: Rules) -> Across | str:
    """The law across the groups of a rule; or why there is none, in words."""
    moved = [w for w, direction in law.symmetry.xi.items() if direction != 0]
    blocks = [*moved, *(w for w in law.symmetry.loss.blocks if w not in moved)]
    own = {w: rules.of(w) for w in blocks}
    for w, rule in own.items():
        if not rule.is_euclidean:
            return f"{rule.unsolved} where it updates `{w.name}`"
    reference = own[blocks[0]]
    ratios = {w: _ratio(rule, reference) for w, rule in own.items()}
    for w, ratio in ratios.items():
        if ratio is None:
            return f"the rates of `{blocks[0].name}` and `{w.name}` have no fixed ratio"
    return Across(_weighted(law, reference, own), reference, own, ratios)


def _mass_of(block: Block) -> EngineSymbol:
    return EngineSymbol(f"mass of {block.name}", positive=True)


def _weighted(law: Law, rule: Rule, rules: Mapping[Block, Rule]) -> Law:
    """The law with a mass and a decay of each block in this share of the rule's.

    Those that the rule moves have its own, so that nothing can be taken out of all.
    """
    loss = law.symmetry.loss
    usual = rule.lagrangian(loss)

    def share(w: Block) -> Any:
        return sp.S.One if rules[w] is rule else _mass_of(w)

    kinetic, decay = (
        sp.Add(*(share(w) * Inner(v, v) / 2 for w, v in pairs))
        for pairs in (
            [(w, w.dot) for w in loss.blocks],
            [(w, w) for w in loss.blocks],
        )
    )
    weighted = Lagrangian(
        mass * kinetic,
        loss + weight_decay * decay,
        damping=usual.damping,
        coordinates=loss.blocks,
    )
    return noether(weighted, law.symmetry)


def _ratio(rule: Rule, reference: Rule) -> Any | None:
    """Of the learning rates, if it is the same at every step."""
    if rule is reference:
        return sp.S.One
    with jax.ensure_compile_time_eval():
        rates, others = (
            np.array([float(r.rate(jnp.asarray(k))) for k in _SAMPLED])
            for r in (rule, reference)
        )
    largest = int(np.argmax(others))
    if not others[largest] > 0 or not rates[largest] > 0:
        return None
    ratio = rates[largest] / others[largest]
    alike = np.all(np.abs(rates - ratio * others) <= _ROUNDING * np.abs(rates))
    if not alike:
        return None
    return sp.S.One if ratio == 1 else sp.Float(ratio)
