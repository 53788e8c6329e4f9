"""A model and its loss in float64, sampled at random parameters and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from lagrangian.errors import LagrangianError
from lagrangian.learning.discover.cuts import cuts_of_arguments
from lagrangian.learning.discover.in_double import equations, evaluated
from lagrangian.learning.discover.pieces import Piece, pieces_of
from lagrangian.learning.model import split, traced_loss
from lagrangian.lowering.pytrees import named_leaves

#: Rows of the batch that one sample uses.
ROWS = 16
#: How far a draw is from the given parameters, relative to their root mean square,
#: and what stands for that of an array that is zero.
SPREAD, ZERO_ARRAY = 0.5, 0.3
#: The root mean square is at most so many medians: entries that were set by hand, such
#: as a bias that keeps a unit off, do not spread to the others.
OUTLIER = 3.0
#: What counts as zero, relative to a sum with random signs, and between which bounds
#: the widest gap is looked for. Float64 rounds to 2e-16, and deep networks multiply
#: that by a thousand or more; what is above 1e-8 is a number of its own, such as an
#: epsilon.
EXACT, BOUNDS = 1e-10, (1e-14, 1e-8)
#: The same where a part of the loss cannot be evaluated in float64.
COARSE, COARSE_BOUNDS = 1e-5, (1e-8, 1e-3)
#: A difference of values and the slope that the gradient gives agree to this.
SLOPE, STEP = 1e-6, 1e-5

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """Draws of parameters and batches, and the loss and its gradient there.

    Attributes:
        parameters: the given ones by dotted path, float64.
        program, slopes: the loss and its gradient as JAX traced them in the model's own
            types, of the leaves of (parameters, batch).
        batch: the given one; what is no array stays as it is.
        short: the types below float64 in which the loss computes, from short to long.
    """

    parameters: dict[str, np.ndarray]
    program: ClosedJaxpr
    slopes: ClosedJaxpr
    batch: list[np.ndarray]
    short: tuple[str, ...]
    _rounded: set[str] = field(default_factory=set)

    @cached_property
    def value(self) -> Callable[[Arrays, Any], Any]:
        """The loss in float64, compiled."""
        return jax.jit(self._value)

    def _value(self, theta: Arrays, batch: Any) -> Any:
        leaves = [theta[path] for path in self.parameters]
        return evaluated(self.program, self._rounded)(*leaves, *batch)[0]

    @cached_property
    def _gradient(self) -> Callable[[Arrays, Any], Any]:
        @jax.jit
        def gradient(theta: Arrays, batch: Any) -> Any:
            leaves = [theta[path] for path in self.parameters]
            slopes = evaluated(self.slopes, self._rounded)(*leaves, *batch)
            return dict(zip(self.parameters, slopes, strict=True))

        return gradient

    @cached_property
    def _own_gradient(self) -> Callable[[Arrays, Any], Any]:
        return jax.jit(jax.grad(self._value))

    def gradient(self, theta: Arrays, batch: Any) -> dict[str, np.ndarray]:
        """The gradient that training uses, by path, its norm over all paths 1."""
        return _unit(jax.device_get(self._gradient(theta, batch)))

    def own_gradient(self, theta: Arrays, batch: Any) -> dict[str, np.ndarray]:
        """That of the value itself, through every `stop_gradient`; its norm is 1."""
        return _unit(jax.device_get(self._own_gradient(theta, batch)))

    @cached_property
    def is_detached(self) -> bool:
        """Whether the gradient of training is another than that of the value."""
        generator = np.random.default_rng(1)
        for theta, batch in self.draws(2, seed=1):
            gradient = jax.device_get(self._gradient(theta, batch))
            ahead = {
                path: _size(a) * generator.standard_normal(a.shape)
                for path, a in theta.items()
            }
            slope = sum(float((gradient[path] * d).sum()) for path, d in ahead.items())
            bound = sum(float(np.abs(g * ahead[p]).sum()) for p, g in gradient.items())
            first, second = (
                float(
                    self.value({p: a + s * ahead[p] for p, a in theta.items()}, batch)
                )
                for s in (STEP, -STEP)
            )
            if abs((first - second) / (2 * STEP) - slope) > SLOPE * bound:
                return True
        return False

    @property
    def _is_coarse(self) -> bool:
        # Known once the loss and its gradient were traced, as `make_probe` does.
        return bool(self._rounded)

    @property
    def rounding(self) -> float:
        """What counts as zero."""
        return COARSE if self._is_coarse else EXACT

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the widest gap parts zeros from the rest."""
        return COARSE_BOUNDS if self._is_coarse else BOUNDS

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {path: array.shape for path, array in self.parameters.items()}

    @cached_property
    def pieces(self) -> list[Piece]:
        """The parts of its arrays that the model uses by themselves."""
        cuts = cuts_of_arguments(self.program, len(self.parameters))
        return pieces_of(self.shapes, dict(zip(self.parameters, cuts, strict=True)))

    def draws(self, count: int, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Random parameters around the given ones, each with rows of the batch."""
        generator = np.random.default_rng(seed)
        for _ in range(count):
            theta = {
                path: array
                + SPREAD * _size(array) * generator.standard_normal(array.shape)
                for path, array in self.parameters.items()
            }
            yield theta, self.rows(self.batch, generator)

    def rows(self, batch: list[Any], generator: np.random.Generator) -> list[Any]:
        """Some rows of a batch, as many as the loss was traced with."""
        length = _length(batch)
        if length is None:
            return batch
        rows = generator.permutation(length)[:ROWS]
        return [leaf[rows] for leaf in batch]


def make_probe(model: Any, loss: Callable[[Any, Any], Any], batch: Any) -> Probe:
    """The probe of an NNX module, or of a function of a pytree of parameters.

    To be called, and used, in 64-bit mode.

    Raises:
        LagrangianError: parameters that cannot be differentiated by, a loss that is no
            scalar, not finite, not differentiable, or not a function of its arguments.
    """
    parts = split(model)
    value, tree = parts.bind(loss), parts.parameters
    structure, named = jax.tree.structure(tree), named_leaves(tree)
    leaves, shape = jax.tree.flatten(batch)
    arrays = [leaf for leaf in leaves if hasattr(leaf, "dtype")]
    if any(0 in leaf.shape[:1] for leaf in arrays):
        raise LagrangianError("`batch` has no examples: its arrays have length 0.")

    def of_leaves(theta: Any, given: Any) -> Any:
        rows = iter(given)
        filled = [next(rows) if hasattr(leaf, "dtype") else leaf for leaf in leaves]
        tree, rows = (
            jax.tree.unflatten(structure, theta),
            jax.tree.unflatten(shape, filled),
        )
        return value(tree, parts.rest, rows)[0]

    long = any(leaf.dtype == np.float64 for leaf in named.values())
    with jax.enable_x64(long), traced_loss():
        kept = _length(arrays)
        rows = [a if kept is None else a[:ROWS] for a in arrays]
        example = (
            [jnp.asarray(leaf) for leaf in named.values()],
            [jnp.asarray(row) for row in rows],
        )
        program, result = jax.make_jaxpr(of_leaves, return_shape=True)(*example)
        _check_scalar(result)
        slopes = jax.make_jaxpr(jax.grad(of_leaves))(*example)
        # Another function, since JAX knows the program of this one by now.
        again = jax.make_jaxpr(lambda *given: of_leaves(*given))(*example)
    probe = Probe(
        {path: np.asarray(leaf, np.float64) for path, leaf in named.items()},
        program,
        slopes,
        [_long(row) for row in arrays],
        _short(program),
    )
    _check_loss(probe, again)
    return probe


def _long(leaf: Any) -> Any:
    """An array of the batch as NumPy has it, its real numbers in float64."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return np.asarray(leaf, np.float64 if real else None)


def _length(leaves: list[Any]) -> int | None:
    """The length that all leading axes have, if it is the same."""
    lengths = {leaf.shape[:1] for leaf in leaves}
    return lengths.pop()[0] if len(lengths) == 1 and () not in lengths else None


def _short(program: ClosedJaxpr) -> tuple[str, ...]:
    """Types in which something is multiplied or summed, of those below float64.

    Steps, masks and random bits in a short type do not count: they are not rounded.
    """
    types = {
        v.aval.dtype
        for equation in equations(program.jaxpr)
        if equation.primitive.name in _ROUNDING
        for v in equation.outvars
        if jnp.issubdtype(getattr(v.aval, "dtype", int), jnp.floating)
    }
    short = sorted((jnp.finfo(t).bits, np.dtype(t).name) for t in types)
    return tuple(name for bits, name in short if bits < 64)


_ROUNDING = {
    "add",
    "sub",
    "mul",
    "div",
    "integer_pow",
    "square",
    "rsqrt",
    "exp",
    "tanh",
    "logistic",
    "dot_general",
    "reduce_sum",
    "conv_general_dilated",
}


def _unit(gradient: dict[str, Any]) -> dict[str, np.ndarray]:
    norm = np.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
    return {path: np.asarray(g) / (norm or 1.0) for path, g in gradient.items()}


def _size(array: np.ndarray) -> float:
    """The root mean square of the entries, but for a few that are far larger."""
    if not array.any():
        return ZERO_ARRAY
    size = float(np.sqrt(np.mean(array**2)))
    return min(size, OUTLIER * float(np.median(np.abs(array))) or size)


def _is_same(one: ClosedJaxpr, other: ClosedJaxpr) -> bool:
    """Whether two programs are written in the same way, with the same constants."""
    if str(one.jaxpr) != str(other.jaxpr) or len(one.consts) != len(other.consts):
        return False
    return all(
        a is b or np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
        for a, b in zip(one.consts, other.consts, strict=True)
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    )


def _check_scalar(result: Any) -> None:
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or isinstance(result, tuple | list | dict):
        raise LagrangianError(
            f"`loss` must return a scalar; it returns {len(leaves)} arrays. Pass a "
            "loss without what it returns beside (`lambda m, b: loss(m, b)[0]`)."
        )
    if result.shape != ():
        raise LagrangianError(
            f"`loss` must return a scalar; its shape is {result.shape}. "
            "Reduce it, as in `losses.mean()`."
        )


def _check_loss(probe: Probe, again: ClosedJaxpr) -> None:
    theta, batch = next(probe.draws(1, seed=0))
    first = probe.value(theta, batch)
    if not jnp.isfinite(first):
        raise LagrangianError(
            f"`loss` is {first} near the model's parameters; it must be finite."
        )
    # Traced once more, the loss would meet other random numbers.
    if (
        not _is_same(probe.program, again)
        and first
        != jax.jit(evaluated(again))(
            *[theta[path] for path in probe.parameters], *batch
        )[0]
    ):
        raise LagrangianError(
            "`loss` returns another value when it is called again with the same "
            "parameters and batch. Supported is state that the model carries "
            "(`nnx.BatchStat`, `nnx.Rngs`); keep random numbers and counters there."
        )
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
