"""What is recorded of a law in one training step, as a function that JAX traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from lagrangian.learning.rules import HeavyBall
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.symbolic.blocks import LinearMap, ones
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.discrete import (
    ROLES,
    discrete_law,
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
    - `velocity` and `source`: its time derivative and what drives it, at the measured
      velocity -p';
    - `discrete`: the residual of the exact discrete law, and `scale`, its bound;
    - `defect`: <grad f, xi(q)>, and `defect_scale`, its bound;
    - `balance`: the same residual with the measured defect taken into account.
    """

    def __init__(
        self,
        law: Law,
        rule: HeavyBall,
        maps: Mapping[LinearMap, Callable[..., Any]] | None = None,
    ):
        self.law, self.rule, self.maps = law, rule, dict(maps or {})
        self.blocks = law.lagrangian.coordinates
        self.names = [w.name for w in self.blocks]
        discrete = discrete_law(law.symmetry)
        oscillator = law.oscillator
        if oscillator is None:
            quantity, velocity, source = law.charge, law.rate, law.rate
        else:
            quantity, source = oscillator.quantity, oscillator.source
            velocity = law.charge / oscillator.mass
        self.expressions = {
            "quantity": quantity,
            "velocity": velocity,
            "source": source,
            "discrete": discrete.residual,
            "scale": discrete.scale,
            "defect": discrete.loss,
            "defect_scale": discrete.loss_scale,
            "balance": discrete.residual - discrete.loss,
        }
        roles = [role(w, name) for w in self.blocks for name in ROLES]
        symbols = [*self.blocks, *(w.dot for w in self.blocks), *roles, time]
        hyper = [learning_rate, momentum, weight_decay]
        check_lowerable(
            {f"observed {name}": e for name, e in self.expressions.items()},
            [*symbols, *hyper, *rule.parameters(1.0), *self.maps],
        )

    def _values(self, rate: Any) -> dict[Any, Any]:
        return {
            learning_rate: rate,
            momentum: self.rule.momentum,
            weight_decay: self.rule.weight_decay,
            **self.rule.parameters(rate),
            **self.maps,
        }

    def step(
        self,
        q: Mapping[str, Any],
        states: Mapping[str, Mapping[str, Any]],
        rate: Any,
    ) -> dict[str, Any]:
        """The recorded terms of one step.

        Args:
            q: the blocks before the step, by name.
            states: for each of the `ROLES` the arrays by name.
            rate: the learning rate of this step.
        """
        values = self._values(rate)
        for w in self.blocks:
            values[w] = q[w.name]
            values[w.dot] = -states["next trace"][w.name]
            values |= {role(w, name): states[name][w.name] for name in ROLES}
        if len(self.blocks) == 1:
            values[ones] = jnp.ones_like(q[self.names[0]])
        results = evaluate(self.expressions.values(), values)
        # A term that vanishes identically still has one entry a unit.
        arrays = jnp.broadcast_arrays(*map(jnp.asarray, results))
        return dict(zip(self.expressions, arrays, strict=True))
