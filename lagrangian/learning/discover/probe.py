"""A model and its loss in float64, sampled at random parameters and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import in_double, split_in_double, traced_loss
from lagrangian.lowering.pytrees import named_leaves

#: Rows of the batch that one sample uses.
ROWS = 16
#: How far a draw is from the given parameters, relative to their root mean square,
#: and what stands for that of an array that is zero.
SPREAD, ZERO_ARRAY = 0.5, 0.3
#: What counts as zero, relative to a sum with random signs: in float64, and where the
#: loss rounds to a shorter type on its way.
EXACT, COARSE = 1e-11, 1e-6


@dataclass(frozen=True)
class Probe:
    """Draws of parameters and batches, and the loss and its gradient there.

    Attributes:
        parameters: the given ones by dotted path, float64.
        loss: (parameters, batch) -> loss, traceable by JAX.
        batch: the given one, its floating-point leaves in float64.
    """

    parameters: dict[str, np.ndarray]
    loss: Callable[[Mapping[str, Any], Any], Any]
    batch: Any

    @cached_property
    def value(self) -> Callable[[Mapping[str, Any], Any], Any]:
        """The loss, compiled."""
        return jax.jit(lambda theta, batch: self.loss(theta, batch))

    @cached_property
    def rounding(self) -> float:
        """What counts as zero: more where the loss computes below float64 inside."""
        theta, batch = next(self.draws(1, seed=0))
        program = jax.make_jaxpr(self.loss)(theta, batch)
        return COARSE if any(map(_rounds, _equations(program.jaxpr))) else EXACT

    @cached_property
    def _gradient(self) -> Callable[[Mapping[str, Any], Any], Any]:
        return jax.jit(jax.grad(self.loss))

    def gradient(self, theta: Mapping[str, Any], batch: Any) -> dict[str, np.ndarray]:
        """The gradient by path, its norm over all paths 1."""
        gradient = jax.device_get(self._gradient(theta, batch))
        norm = np.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        return {path: g / (norm or 1.0) for path, g in gradient.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {path: array.shape for path, array in self.parameters.items()}

    def draws(self, count: int, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Random parameters around the given ones, each with rows of the batch."""
        generator = np.random.default_rng(seed)
        leaves, structure = jax.tree.flatten(self.batch)
        lengths = {leaf.shape[:1] for leaf in leaves}
        length = lengths.pop()[0] if len(lengths) == 1 and () not in lengths else None
        for _ in range(count):
            theta = {
                path: array
                + SPREAD * _size(array) * generator.standard_normal(array.shape)
                for path, array in self.parameters.items()
            }
            rows = slice(None)
            if length is not None:
                rows = generator.permutation(length)[:ROWS]
            chosen = [leaf if length is None else leaf[rows] for leaf in leaves]
            yield theta, jax.tree.unflatten(structure, chosen)


def make_probe(model: Any, loss: Callable[[Any, Any], Any], batch: Any) -> Probe:
    """The probe of an NNX module, or of a function of a pytree of parameters.

    To be called, and used, in 64-bit mode.

    Raises:
        LagrangianError: parameters that cannot be differentiated by, a loss that is no
            scalar, not finite, not differentiable, or not a function of its arguments.
    """
    parts = split_in_double(model)
    value, tree = parts.bind(loss), parts.parameters
    structure = jax.tree.structure(tree)
    parameters = {path: np.asarray(leaf) for path, leaf in named_leaves(tree).items()}

    def of_paths(theta: Mapping[str, Any], batch: Any) -> Any:
        leaves = [theta[path] for path in parameters]
        return value(jax.tree.unflatten(structure, leaves), parts.rest, batch)[0]

    probe = Probe(parameters, of_paths, jax.tree.map(in_double, batch))
    _check_loss(probe)
    return probe


def _equations(program: Any) -> Iterator[Any]:
    """Those of a jaxpr, and of the jaxprs within."""
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _rounds(equation: Any) -> bool:
    """Whether something in float64 goes in and a shorter floating-point type comes out.

    Steps, masks and random bits in a short type do not count: they are not rounded.
    """
    inside, outside = (
        [v.aval.dtype for v in variables if hasattr(v.aval, "dtype")]
        for variables in (equation.invars, equation.outvars)
    )
    return any(t == jnp.float64 for t in inside) and any(
        jnp.issubdtype(t, jnp.floating) and t != jnp.float64 for t in outside
    )


def _size(array: np.ndarray) -> float:
    """The root mean square of the entries."""
    size = float(np.sqrt(np.mean(array**2))) if array.size else 0.0
    return size or ZERO_ARRAY


def _check_loss(probe: Probe) -> None:
    if any(0 in leaf.shape[:1] for leaf in jax.tree.leaves(probe.batch)):
        raise LagrangianError("`batch` has no examples: its arrays have length 0.")
    theta, batch = next(probe.draws(1, seed=0))
    with traced_loss():
        first = probe.value(theta, batch)
    if jnp.shape(first) != ():
        raise LagrangianError(
            f"`loss` must return a scalar; its shape is {jnp.shape(first)}. "
            "Reduce it, as in `losses.mean()`."
        )
    if not jnp.isfinite(first):
        raise LagrangianError(
            f"`loss` is {first} near the model's parameters; it must be finite."
        )
    # A second probe traces the loss again, and would meet other random numbers.
    if replace(probe).value(theta, batch) != first:
        raise LagrangianError(
            "`loss` returns another value when it is called again with the same "
            "parameters and batch. Supported is state that the model carries "
            "(`nnx.BatchStat`, `nnx.Rngs`); keep random numbers and counters there."
        )
    with traced_loss():
        gradient = probe.gradient(theta, batch)
    if bad := [path for path, g in gradient.items() if not np.isfinite(g).all()]:
        raise LagrangianError(
            f"the gradient of `loss` by `{bad[0]}` is not finite. Supported are losses "
            "that can be differentiated almost everywhere."
        )
    if not any(g.any() for g in gradient.values()):
        raise LagrangianError(
            "the gradient of `loss` is zero everywhere: it goes through something that "
            "is not differentiable, such as argmax, round, sign or `stop_gradient`. "
            "Pass the loss that the model is trained with."
        )
