"""The flows of a learning rule on a network's loss, as a solver drives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp

from lagrangian.flows.lower import lower
from lagrangian.learning.flat_loss import Network
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion, modified_flow
from lagrangian.symbolic.laws.discrete import weight_decay

#: All parameters as one block, and the loss of them.
PARAMETERS = Block("q")
LOSS = Loss("f", PARAMETERS)

#: What the error of a flow is called beside the parameters.
ERROR = "error"


@dataclass(frozen=True, eq=False)
class FirstOrderMotion:
    """A first-order flow of the one block, as `solve` drives it; v is empty.

    Attributes:
        network: whose loss it is.
        expression: the velocity.
        values: for the symbols in it.
        decay: lambda, where the loss in it has lambda/2 |q|^2 in it.
    """

    network: Network
    expression: Any
    values: Mapping[Any, Any]
    decay: float = 0.0

    def loss(self, q: Any) -> Any:
        loss = self.network.loss(q)
        return loss + self.decay / 2 * jnp.sum(q**2) if self.decay else loss

    def velocity(self, q: Any) -> Any:
        losses = {LOSS.name: self.loss}
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


@dataclass(frozen=True, eq=False)
class TangentMotion:
    """q' = f(q) and E' = f'(q) E - f_(n+1)(q), as `solve` drives them.

    Attributes:
        motion: of f, the modified field through eta^n.
        beyond: whose velocity is the next coefficient of that, f_(n+1).
        order: n.
    """

    motion: FirstOrderMotion
    beyond: FirstOrderMotion
    order: int

    def field(self, t: Any, state: Any, _: Any) -> Any:
        """As diffrax takes it: the slopes of (q and E, nothing)."""
        joint, nothing = state
        q, error = joint[PARAMETERS.name], joint[ERROR]
        velocity, carried = jax.jvp(self.motion.velocity, (q,), (error,))
        grown = carried - self.beyond.velocity(q)
        return {PARAMETERS.name: velocity, ERROR: grown}, nothing


def differs(network: Network, rule: Rule) -> bool:
    """Whether the rule is another one for some arrays."""
    return any(
        rule.of(Block(name)) is not rule for name in network.split(network.start)
    )


def gradient_flow(network: Network, rule: Rule) -> FirstOrderMotion:
    """The first-order flow of the rule, which may be another one for some arrays."""
    if differs(network, rule):
        blocks = [Block(name) for name in network.split(network.start)]
        fields = rule.gradient_flow(Loss(LOSS.name, blocks))
        return BlockwiseMotion(network, fields, rule.parameters())
    field = rule.gradient_flow(LOSS)[PARAMETERS]
    return FirstOrderMotion(network, field, rule.parameters())


def second_order_flow(network: Network, rule: Rule) -> tuple[Any, Any]:
    """The Euler-Lagrange equation of the rule, and the velocity of its start."""
    initial = at_start(network, rule, rule.initial_velocity(LOSS)[PARAMETERS])
    motion = lower(
        rule.lagrangian(LOSS), rule.parameters(), losses={LOSS.name: network.loss}
    )
    return motion, initial


def flow_through(network: Network, rule: Rule, order: int) -> FirstOrderMotion:
    """The flow of backward error analysis through eta^order, which is above 0."""
    recursion, decay = _written(rule)
    velocity = modified_flow(recursion, order).velocity[PARAMETERS]
    values = rule.recursion_parameters()
    return FirstOrderMotion(network, velocity, values, decay)


def tangent_motion(motion: FirstOrderMotion, rule: Rule, order: int) -> TangentMotion:
    """The leading error of a flow through eta^order, beside the flow itself."""
    recursion, decay = _written(rule)
    beyond = modified_flow(recursion, order + 1).terms[order + 1][PARAMETERS]
    values = rule.recursion_parameters()
    field = FirstOrderMotion(motion.network, beyond, values, decay)
    return TangentMotion(motion, field, order)


def _written(rule: Rule) -> tuple[Recursion, float]:
    """Its recursion with as few symbols as it needs, and the decay left to the loss.

    Each order has several times the terms of the one before, by grad f and lambda q
    apart as many again: where the rule knows only grad F of F = f + lambda/2 |q|^2, F
    is the loss.
    """
    recursion, values = rule.recursion(LOSS), rule.recursion_parameters()
    zeros = {symbol: sp.S.Zero for symbol, v in values.items() if v == 0}
    gradient = LOSS.gradient(PARAMETERS)
    of_whole = {gradient: gradient - weight_decay * PARAMETERS}
    whole = recursion.rewritten(lambda e: sp.expand(e.xreplace(of_whole)))
    if weight_decay in whole.free_symbols:
        return recursion.rewritten(lambda e: e.xreplace(zeros)), 0.0
    return whole.rewritten(lambda e: e.xreplace(zeros)), values[weight_decay]


def remembers(rule: Rule) -> bool:
    """Whether a step depends on those before it."""
    return rule.memory != 0 or bool(rule.recursion(LOSS).averages)


def at_start(network: Network, rule: Rule, expression: Any) -> Any:
    """The value of a block expression, in the symbols of `parameters`, at the start."""
    motion = FirstOrderMotion(network, expression, rule.parameters())
    return motion.along(network.start[None])[0]
