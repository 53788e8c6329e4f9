"""One training step, as a function that JAX traces: the update and its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import Parts
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.observe import Observation
from lagrangian.lowering.kernels.fused import computed_after
from lagrangian.lowering.pytrees import named_leaves


class TrainingStep:
    """The step (carry, batch) -> (carry, record).

    The carry is (step count, parameters, the model's other state, the optimiser's
    state); `start` is the one to start from.
    """

    def __init__(
        self,
        parts: Parts,
        loss: Callable[[Any, Any], Any],
        rule: Rule,
        observation: Observation,
    ):
        self.parts, self.rule, self.observation = parts, rule, observation
        #: (parameters, rest, batch) -> (loss, new rest).
        self.value = parts.bind(loss)
        self._transformation = rule.optax()
        self.start = (
            jnp.zeros([], jnp.int32),  # as optax counts, whose schedules depend on it
            parts.parameters,
            parts.rest,
            self._transformation.init(parts.parameters),
        )

    def __call__(self, carry: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        gradient, new_rest, record = self._differentiate(carry, batch)
        if self.observation.precedes_update:
            # Then the update can take the place of what it was computed from.
            before = {"gradient": gradient, "trace": self.rule.trace(carry[3])}
            row = self._row(carry, before, record)
            carry = computed_after(row, carry, never=carry[0] < 0)
            new_carry, _ = self._update(carry, gradient, new_rest)
        else:
            new_carry, states = self._update(carry, gradient, new_rest)
            row = self._row(carry, states, record)
        return new_carry, record | {"products": row}

    def _row(self, carry: Any, states: dict[str, Any], record: Any) -> Any:
        q = named_leaves(carry[1])
        return self.observation.step(q, _named(states), record["rate"])

    def _differentiate(self, carry: Any, batch: Any) -> tuple[Any, Any, dict[str, Any]]:
        count, parameters, rest, _ = carry
        (result, new_rest), gradient = jax.value_and_grad(self.value, has_aux=True)(
            parameters, rest, batch
        )
        _check_state(rest, new_rest)
        rate = jnp.asarray(self.rule.rate(count))
        return gradient, new_rest, {"loss": result, "rate": rate}

    def _update(
        self, carry: Any, gradient: Any, new_rest: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The carry after the step, and what can be observed of the step."""
        count, parameters, _, state = carry
        updates, new_state = self._transformation.update(gradient, state, parameters)
        new_parameters = optax.apply_updates(parameters, updates)
        states = {
            "gradient": gradient,
            "next": new_parameters,
            "next trace": self.rule.covector(new_state, gradient, parameters),
            "update": updates,
            "trace": self.rule.trace(state),
            "metric": self.rule.metric(new_state, gradient, state),
        }
        count = optax.safe_increment(count)
        return (count, new_parameters, new_rest, new_state), states

    def closing(self, carry: Any) -> Any:
        """What a run that ends with `carry` records of its last state."""
        states = _named({"trace": self.rule.trace(carry[3])})
        return self.observation.closing(named_leaves(carry[1]), states)

    def model(self, carry: Any) -> Any:
        """The model with what `carry` holds."""
        return self.parts.merge(carry[1], carry[2])

    def shapes(self, batch: Any) -> tuple[Any, list[tuple[int, ...]]]:
        """The record of a step, and the products, without computing them."""

        def step(carry: Any, batch: Any) -> Any:
            gradient, new_rest, record = self._differentiate(carry, batch)
            _, states = self._update(carry, gradient, new_rest)
            return _named(states), record

        states, record = jax.eval_shape(step, self.start, batch)
        q = named_leaves(self.start[1])
        return record, self.observation.shapes(q, states, record["rate"])


def _named(states: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of those that the rule has, the arrays by name."""
    return {k: named_leaves(tree) for k, tree in states.items() if tree is not None}


def _check_state(before: Any, after: Any) -> None:
    """Raise if a call of the model made state that it did not have."""
    if jax.tree.structure(before) == jax.tree.structure(after):
        return
    old, new = (set(named_leaves(tree)) for tree in (before, after))
    raise LagrangianError(
        f"the model's state changes in its call: {', '.join(sorted(old ^ new))}. "
        "Supported is state that keeps its form: make every `nnx.Variable` in "
        "`__init__`."
    )
