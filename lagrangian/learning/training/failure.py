"""Why training goes wrong: where a step stopped being finite, or has no gradient."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun

from lagrangian.errors import LagrangianError
from lagrangian.learning.training.step import TrainingStep
from lagrangian.lowering.pytrees import named_leaves


def locate(step: TrainingStep, carry: Any, batch: Any) -> str:
    """What is not finite first in the step that starts from `carry`, in words."""
    parameters, rest, _ = carry
    if bad := _not_finite(parameters):
        return f"the parameters {bad} are not finite"
    if (layer := _first_layer(step, parameters, rest, batch)) is not None:
        return f"the forward pass is not finite from {layer} on"
    gradient = jax.grad(lambda p: step.value(p, rest, batch)[0])(parameters)
    if bad := _not_finite(gradient):
        return f"the gradient of {bad} is not finite"
    value, _ = step.value(parameters, rest, batch)
    updates, _ = step.update(gradient, carry, batch, value)
    if bad := _not_finite(updates):
        return f"the update of {bad} is not finite"
    return (
        f"{_largest(optax.apply_updates(parameters, updates))} is too large to square"
    )


def check_gradient(step: TrainingStep, start: Any, end: Any, batch: Any) -> None:
    """Raise if nothing but weight decay moved the parameters, for want of a gradient.

    Args:
        start, end: the state of the training before and after some steps.
        batch: on which the gradient at `start` is taken, where there is doubt.

    Raises:
        LagrangianError: the gradient is zero for every parameter.
    """
    (parameters, rest, _), (moved, _, _) = start, end
    pairs = zip(jax.tree.leaves(parameters), jax.tree.leaves(moved), strict=True)
    if not all(_is_parallel(a, b) for a, b in pairs):
        return
    gradient = jax.grad(lambda p: step.value(p, rest, batch)[0])(parameters)
    if not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient)):
        raise LagrangianError(
            "`loss` has no gradient: it is zero for every parameter, as where "
            "`argmax`, `round` or a comparison hides them. Train on a smooth loss, "
            "such as a cross entropy."
        )


def _is_parallel(a: Any, b: Any) -> bool:
    scale = jnp.vdot(a, b) / jnp.maximum(jnp.vdot(a, a), jnp.finfo(a.dtype).tiny)
    gap, size = jnp.linalg.norm(b - scale * a), jnp.linalg.norm(b)
    return bool(gap <= 100 * jnp.finfo(a.dtype).eps * size)


def _not_finite(tree: Any) -> str:
    named = named_leaves(tree)
    bad = [path for path, leaf in named.items() if not jnp.isfinite(leaf).all()]
    listed = ", ".join(f"`{path}`" for path in bad[:3])
    return f"{listed} and {len(bad) - 3} more" if len(bad) > 3 else listed


def _largest(tree: Any) -> str:
    named = named_leaves(tree)
    return max(named, key=lambda path: float(jnp.abs(named[path]).max()))


def _first_layer(
    step: TrainingStep, parameters: Any, rest: Any, batch: Any
) -> str | None:
    """The parameter that was used last before the forward pass ceased to be finite.

    Runs the loss operation by operation; None if all of it is finite.
    """
    arguments = (parameters, rest, batch)
    program = jax.make_jaxpr(lambda *a: step.value(*a)[0])(*arguments)
    paths = list(named_leaves(parameters))
    # For every variable the parameter that it met last, and when.
    inputs = program.jaxpr.invars[: len(paths)]
    met = {v: (0, path) for v, path in zip(inputs, paths, strict=True)}
    values = _intermediates(program, jax.tree.leaves(arguments))
    for time, equation in enumerate(program.jaxpr.eqns, start=1):
        known = [met[v] for v in equation.invars if _is_variable(v) and v in met]
        fresh = [(time, path) for when, path in known if when == 0]
        layer = max(fresh or known, default=None)
        for variable in equation.outvars:
            if layer is not None:
                met[variable] = layer
            if variable in values and not _is_finite(values[variable]):
                return "the data" if layer is None else f"`{layer[1]}`"
    return None


def _intermediates(program: Any, arguments: list[Any]) -> dict[Any, Any]:
    """The value of every variable of a program whose result is used."""
    jaxpr = program.jaxpr
    results = [v for e in jaxpr.eqns for v in e.outvars if _is_variable(v)]
    everything = jaxpr.replace(
        outvars=results, debug_info=jaxpr.debug_info._replace(result_paths=None)
    )
    function = jaxpr_as_fun(ClosedJaxpr(everything, program.consts))
    return dict(zip(results, function(*arguments), strict=True))


def _is_variable(atom: Any) -> bool:
    """Whether it is neither a number nor a result that is thrown away."""
    return type(atom) is Var  # not a `DropVar`, which is one too


def _is_finite(value: Any) -> bool:
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return True
    # Minus infinity is how masks and maxima begin.
    return not bool(jnp.isnan(value).any() | jnp.isposinf(value).any())
