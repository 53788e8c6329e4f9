"""Rules that were found to have a metric at the state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import sympy as sp
from jaxtyping import PyTree

from lagrangian.learning.rules.adaptive import AdaptiveRule
from lagrangian.learning.rules.read.at_run_time import Step
from lagrangian.learning.rules.read.kind import coefficients_of_decay
from lagrangian.learning.rules.read.linear import ratio
from lagrangian.learning.rules.read.part import Part, q
from lagrangian.learning.rules.read.part import g as slope
from lagrangian.learning.rules.read.read_rule import ReadRule
from lagrangian.learning.rules.read.settled import (
    averages,
    caught_up,
    filled,
    longer,
)
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.symbolic.algebra.blocks import EngineBlock
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Average


@dataclass(frozen=True, repr=False, eq=False)
class ReadMetric(ReadRule, AdaptiveRule):
    """A rule with a metric that is made of the state: T = <v, D v>/2, D held fixed."""

    @property
    def _decay(self) -> tuple[float, bool]:
        kind = self.kind
        if kind.decoupled.is_number and kind.decoupled != 0:
            return float(kind.decoupled), True
        return float(kind.coupled), False

    @property
    def coupled_decay(self) -> float:
        return float(self._covector.decay)

    @property
    def _mass_in_steps(self) -> float:
        return 0.5 + float(self.kind.age)

    @property
    def _move(self) -> Any:
        """The update per learning rate, without the decay that acts on q."""
        _, rest = coefficients_of_decay(self.kind.update)
        return ratio(rest, self.kind.rate)

    def _divided(self, g: Any) -> Any:
        return _in_blocks(self._settled, {slope: g})

    @property
    def _settled(self) -> Any:
        """The move once the averages have met nothing but one gradient."""
        move, part = self._forced
        settled = caught_up(part, move)
        if settled is None:
            self._no("gradient flow")
        return settled

    @property
    def _forced(self) -> tuple[Any, Part]:
        """The move, and the part, with g for what the gradient is with its decay."""
        coupled = self.kind.coupled
        if coupled == 0:
            return self._move, self.part
        put = {slope: slope - coupled * q}
        states = tuple(
            replace(s, update=sp.expand(s.update.xreplace(put)))
            for s in self.part.states
        )
        return sp.expand(self._move.xreplace(put)), replace(self.part, states=states)

    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        if self.kind.name == "convex":
            # A sign is that of g, until an entry of g changes its own.
            return self._settled.xreplace({slope: g}), {}
        move, part = self._forced
        move, kept = filled(move), averages(part)
        blocks = {a: EngineBlock(f"{a.name.rstrip(chr(39))}({name})") for a in kept}
        known = {slope, *kept}
        if not move.free_symbols <= known or any(
            not e.free_symbols <= known for _, e in kept.values()
        ):
            self._no("recursion in averages of the gradient alone")
        put = {**blocks, slope: g}
        used = {a for a in kept if a in move.free_symbols}
        return _in_blocks(move, put), {
            blocks[a]: Average(kept[a][0], _in_blocks(kept[a][1], put)) for a in used
        }

    def start_offset(self, loss: Loss) -> dict[Any, Any]:
        ahead = longer(self.part, self._move)
        if not ahead:
            return super().start_offset(loss)
        eta = self._eta(None)
        return {w: eta * ahead * v for w, v in self.gradient_flow(loss).items()}

    def metric(self, new_state: PyTree, gradient: PyTree, state: PyTree) -> Any:
        gradients = named_leaves(gradient)
        parts = {name: self._part_of(name) for name in gradients}
        step = Step(self.reading, parts, gradients, state, new_state)
        others = set(self.reading.parts) - set(self.kinds)  # of other groups
        found = {
            name: jnp.broadcast_to(step(name, self.kind.metric), leaf.shape)
            for name, leaf in gradients.items()
            if name not in others
        }
        # A schedule that starts from zero moves nothing then, by whichever metric.
        return {n: jnp.where(jnp.isfinite(d), d, 1.0) for n, d in found.items()}

    def _part_of(self, name: str) -> Part:
        return self.reading.parts.get(name, self.part)


def _in_blocks(expression: Any, put: dict[Any, Any]) -> Any:
    """With blocks for symbols, and |x| and sign(x) as blocks are calculated with."""
    if expression in put:
        return put[expression]
    if not expression.args:
        return expression
    inside = [_in_blocks(a, put) for a in expression.args]
    if isinstance(expression, sp.Abs):
        return sp.sqrt(inside[0] ** 2)
    if isinstance(expression, sp.sign):
        return inside[0] / sp.sqrt(inside[0] ** 2)
    return expression.func(*inside)
