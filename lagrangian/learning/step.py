"""One training step, as a function that JAX traces: the update and its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lagrangian.learning.observe import Observer
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.pytrees import named_leaves


def prepare(
    graph: Any,
    parameters: Any,
    rest: Any,
    loss: Callable[[Any, Any], Any],
    rule: Rule,
    observers: Sequence[Observer],
) -> tuple[Callable[[Any, Any], Any], Any]:
    """The step (carry, batch) -> (carry, record), and the carry to start from."""
    transformation = rule.optax()

    def value(parameters: Any, rest: Any, batch: Any) -> Any:
        # Copied, so that the variables belong to this trace and may be updated in it.
        model = nnx.merge(graph, parameters, rest, copy=True)
        result = loss(model, batch)
        return result, nnx.split(model, nnx.Param, ...)[2]

    def step(carry: Any, batch: Any) -> tuple[Any, Any]:
        count, parameters, rest, state = carry
        (result, new_rest), gradient = jax.value_and_grad(value, has_aux=True)(
            parameters, rest, batch
        )
        updates, new_state = transformation.update(gradient, state, parameters)
        new_parameters = optax.apply_updates(parameters, updates)
        rate = jnp.asarray(rule.rate(count))
        trace, new_trace = rule.covectors(state, new_state, gradient, parameters)
        states = {
            "trace": named_leaves(trace),
            "gradient": named_leaves(gradient),
            "next": named_leaves(new_parameters),
            "next trace": named_leaves(new_trace),
            "update": named_leaves(updates),
        }
        metric = rule.metric(new_state, gradient, state)
        if metric is not None:
            states["metric"] = named_leaves(metric)
        before = named_leaves(parameters)
        record = {
            "loss": result,
            "rate": rate,
            "laws": [observer.step(before, states, rate) for observer in observers],
        }
        return (count + 1, new_parameters, new_rest, new_state), record

    start = (jnp.asarray(0), parameters, rest, transformation.init(parameters))
    return step, start
