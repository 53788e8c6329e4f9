"""The flows of a learning rule on a network's loss, as a solver drives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lagrangian.flows.lower import lower
from lagrangian.learning.flat_loss import Network
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import modified_flow

#: All parameters as one block, and the loss of them.
PARAMETERS = Block("q")
LOSS = Loss("f", PARAMETERS)


@dataclass(frozen=True, eq=False)
class FirstOrderMotion:
    """A first-order flow of the one block, as `solve` drives it; v is empty."""

    network: Network
    expression: Any
    values: Mapping[Any, Any]

    def velocity(self, q: Any) -> Any:
        losses = {LOSS.name: self.network.loss}
        value = evaluate([self.expression], {PARAMETERS: q, **self.values}, losses)[0]
        return jnp.broadcast_to(value, q.shape)

    def along(self, states: Any) -> Any:
        """The velocity at each of the states, one after another."""
        return jax.lax.map(self.velocity, jnp.asarray(states))

    def field(self, t: Any, state: Any, _: Any) -> Any:
        """As diffrax takes it: (qdot, v) at (q, v)."""
        q, nothing = state
        return {PARAMETERS.name: self.velocity(q[PARAMETERS.name])}, nothing


@dataclass(frozen=True, eq=False)
class BlockwiseMotion(FirstOrderMotion):
    """A first-order flow with an expression for the velocity of each array."""

    expression: Mapping[Block, Any]

    def velocity(self, q: Any) -> Any:
        arrays, names = self.network.split(q), [b.name for b in self.expression]

        def loss(*given: Any) -> Any:
            tree = dict(zip(names, given, strict=True))
            return self.network.loss(self.network.join(tree, "the flow"))

        known = {block: arrays[block.name] for block in self.expression}
        found = evaluate(
            self.expression.values(), {**self.values, **known}, {LOSS.name: loss}
        )
        moved = {
            name: jnp.broadcast_to(value, arrays[name].shape)
            for name, value in zip(names, found, strict=True)
        }
        return self.network.join(moved, "the flow")


def differs(network: Network, rule: Rule) -> bool:
    """Whether the rule is another one for some arrays."""
    return any(
        rule.of(Block(name)) is not rule for name in network.split(network.start)
    )


def _gradient_flow(network: Network, rule: Rule) -> tuple[Any, Any, Any]:
    if differs(network, rule):
        blocks = [Block(name) for name in network.split(network.start)]
        fields = rule.gradient_flow(Loss(LOSS.name, blocks))
        motion = BlockwiseMotion(network, fields, rule.parameters())
        return motion, network.start, None
    field = rule.gradient_flow(LOSS)[PARAMETERS]
    return FirstOrderMotion(network, field, rule.parameters()), network.start, None


def _second_order_flow(network: Network, rule: Rule) -> tuple[Any, Any, Any]:
    initial = _at_start(network, rule, rule.initial_velocity(LOSS)[PARAMETERS])
    motion = lower(
        rule.lagrangian(LOSS), rule.parameters(), losses={LOSS.name: network.loss}
    )
    return motion, network.start, initial


def _modified_flow(network: Network, rule: Rule) -> tuple[Any, Any, Any]:
    velocity = modified_flow(rule.recursion(LOSS)).velocity[PARAMETERS]
    beside = _at_start(network, rule, rule.start_offset(LOSS)[PARAMETERS])
    motion = FirstOrderMotion(network, velocity, rule.recursion_parameters())
    return motion, network.start + beside, None


def _at_start(network: Network, rule: Rule, expression: Any) -> Any:
    motion = FirstOrderMotion(network, expression, rule.parameters())
    return motion.along(network.start[None])[0]


ORDERS = {
    "gradient": _gradient_flow,
    "second": _second_order_flow,
    "modified": _modified_flow,
}
