"""One training step, as a function that JAX traces: the update and its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import Parts
from lagrangian.learning.observe import Observation
from lagrangian.learning.rules.rule import Rule
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
        new_carry, q, states, record = self._move(carry, batch)
        row = self.observation.step(q, states, record["rate"])
        return new_carry, record | {"products": row}

    def _move(self, carry: Any, batch: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
        count, parameters, rest, state = carry
        (result, new_rest), gradient = jax.value_and_grad(self.value, has_aux=True)(
            parameters, rest, batch
        )
        _check_state(rest, new_rest)
        updates, new_state = self._transformation.update(gradient, state, parameters)
        new_parameters = optax.apply_updates(parameters, updates)
        rate = jnp.asarray(self.rule.rate(count))
        states = {
            "gradient": gradient,
            "next": new_parameters,
            "next trace": self.rule.covector(new_state, gradient, parameters),
            "update": updates,
            "trace": self.rule.trace(state),
            "metric": self.rule.metric(new_state, gradient, state),
        }
        named = {
            k: named_leaves(tree) for k, tree in states.items() if tree is not None
        }
        record = {"loss": result, "rate": rate}
        new_carry = (count + 1, new_parameters, new_rest, new_state)
        return new_carry, named_leaves(parameters), named, record

    def closing(self, carry: Any) -> Any:
        """What a run that ends with `carry` records of its last state."""
        trace = self.rule.trace(carry[3])
        states = {} if trace is None else {"trace": named_leaves(trace)}
        return self.observation.closing(named_leaves(carry[1]), states)

    def model(self, carry: Any) -> Any:
        """The model with what `carry` holds."""
        return self.parts.merge(carry[1], carry[2])

    def shapes(self, batch: Any) -> tuple[Any, list[tuple[int, ...]]]:
        """The record of a step, and the products, without computing them."""

        def move(carry: Any, batch: Any) -> Any:
            return self._move(carry, batch)[1:]

        q, states, record = jax.eval_shape(move, self.start, batch)
        return record, self.observation.shapes(q, states, record["rate"])


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
