"""What is recorded of one law in one training step, as a function that JAX traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import sympy as sp

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import Rule, metric_block
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.symbolic.blocks import Block, LinearMap, ones
from lagrangian.symbolic.calculus import pairing
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.discrete import (
    ROLES,
    discrete_law,
    gain,
    learning_rate,
    momentum,
    role,
    weight_decay,
)
from lagrangian.symbolic.noether import Law


class Observer:
    """Evaluates one law at the states around one training step.

    The recorded terms, each a scalar or a vector over units:

    - `quantity`: x of the law's oscillator (its charge where it is none), before the
      step;
    - `source`: what drives it, at the measured velocity;
    - `raw_source`: the same at the velocity that this step's gradient alone would keep
      up, as closed forms in the gradient take it;
    - `start`: the quantity's time derivative in a run that begins here from rest;
    - `discrete`: the residual of the exact discrete law, and `scale`, its bound;
    - `defect`: <grad f, xi(q)>, and `defect_scale`, its bound;
    - `balance`: the residual with the measured defect taken into account;
    - `kinetic` and `decay`: what the update and the weight decay add to the charge;
    - `metric`: what the part of the update that is not along the covector p' adds to
      <update, xi>, times |p'|^2; and `metric_scale`, its bound.

    `source` and the like follow the continuous law, which a rule that is not Euclidean
    has only for a metric at rest: there `source` is the law's rate.
    """

    def __init__(
        self,
        law: Law,
        rule: Rule,
        maps: Mapping[LinearMap, Callable[..., Any]] | None = None,
    ):
        self.law, self.rule, self.maps = law, rule, dict(maps or {})
        self.blocks = law.lagrangian.coordinates
        self.names = [w.name for w in self.blocks]
        self._continuous = _continuous_terms(law, rule)
        self._discrete = _discrete_terms(law, rule)
        roles = [role(w, name) for w in self.blocks for name in ROLES]
        metrics = [metric_block(w) for w in self.blocks]
        hyper = [learning_rate, momentum, weight_decay, gain]
        check_lowerable(
            {
                f"observed {name}": e
                for name, e in (self._continuous | self._discrete).items()
            },
            [*self.blocks, *roles, *metrics, time, *hyper]
            + [*rule.parameters(1.0), *self.maps],
        )

    def step(
        self,
        q: Mapping[str, Any],
        states: Mapping[str, Mapping[str, Any]],
        rate: Any,
    ) -> dict[str, Any]:
        """The recorded terms of one step.

        Args:
            q: the blocks before the step, by name.
            states: for each of the `ROLES`, and for "metric", the arrays by name.
            rate: the learning rate of this step.
        """
        values: dict[Any, Any] = dict(self.maps)
        for w in self.blocks:
            values[w] = q[w.name]
            values |= {role(w, name): states[name][w.name] for name in ROLES}
            if "metric" in states:
                values[metric_block(w)] = states["metric"][w.name]
        if len(self.blocks) == 1:
            values[ones] = jnp.ones_like(q[self.names[0]])
        rule = self.rule
        # Where the rate is zero nothing moves, and any rate gives the velocity zero.
        shown = jnp.where(rate > 0, rate, 1.0)
        results = evaluate(
            self._continuous.values(),
            values | {learning_rate: shown, **rule.parameters(shown)},
        ) + evaluate(
            self._discrete.values(),
            values
            | {
                learning_rate: rate,
                momentum: rule.memory,
                gain: rule.gain,
                weight_decay: rule.coupled_decay,
            },
        )
        # A term that vanishes identically still has one entry a unit.
        arrays = jnp.broadcast_arrays(*map(jnp.asarray, results))
        return dict(zip([*self._continuous, *self._discrete], arrays, strict=True))


def _continuous_terms(law: Law, rule: Rule) -> dict[str, Any]:
    """`quantity`, `source`, `raw_source` and `start`, in the `role`s of the blocks."""
    oscillator = law.oscillator if rule.is_euclidean else None
    if oscillator is None:
        quantity, velocity, source = law.charge, law.rate, law.rate
    else:
        quantity, source = oscillator.quantity, oscillator.source
        velocity = law.charge / oscillator.mass
    blocks = law.lagrangian.coordinates
    measured = {w.dot: rule.velocity(w) for w in blocks}
    terms = {
        "quantity": quantity.xreplace(measured),
        "source": source.xreplace(measured),
    }
    raw, start = measured, measured
    if isinstance(rule, HeavyBall):
        raw = {w.dot: rule.slow_velocity(w) for w in blocks}
        start = {w.dot: rule.starting_velocity(w) for w in blocks}
    return terms | {
        "raw_source": source.xreplace(raw),
        "start": velocity.xreplace(start),
    }


def _discrete_terms(law: Law, rule: Rule) -> dict[str, Any]:
    discrete = discrete_law(law.symmetry)
    terms = {
        "discrete": discrete.residual,
        "scale": discrete.scale,
        "defect": discrete.loss,
        "defect_scale": discrete.loss_scale,
        "balance": discrete.residual - gain * discrete.loss,
        "kinetic": discrete.step,
        "decay": gain * weight_decay * discrete.decay,
    }
    return terms | _metric_terms(law, rule)


def _metric_terms(law: Law, rule: Rule) -> dict[str, Any]:
    """<u, xi> |p'|^2 - <u, p'> <p', xi>: zero if the update u is along p'."""
    if rule.is_euclidean:
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
