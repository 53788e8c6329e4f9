"""A model and its loss in float64, sampled at random parameters and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from lagrangian.learning.discover.cuts import cuts_of_arguments
from lagrangian.learning.discover.in_double import evaluated
from lagrangian.learning.discover.pieces import Piece, pieces_of
from lagrangian.lowering.programs import equations

#: Rows of the batch that one sample uses; and of models with more parameters than
#: `LARGE`, where a row is dear, and draws are many.
ROWS, FEW_ROWS, LARGE = 16, 4, 500_000
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

#: What may give a value another gradient than its own.
_CUTTING = {
    "stop_gradient",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
}

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
            return _unit(dict(zip(self.parameters, slopes, strict=True)))

        return gradient

    @cached_property
    def _own_gradient(self) -> Callable[[Arrays, Any], Any]:
        return jax.jit(lambda *given: _unit(jax.grad(self._value)(*given)))

    def gradient(self, theta: Arrays, batch: Any) -> dict[str, np.ndarray]:
        """The gradient that training uses, by path, its norm over all paths 1."""
        return jax.device_get(self._gradient(theta, batch)[0])

    def own_gradient(self, theta: Arrays, batch: Any) -> dict[str, np.ndarray]:
        """That of the value itself, through every `stop_gradient`; its norm is 1."""
        return jax.device_get(self._own_gradient(theta, batch)[0])

    @cached_property
    def is_detached(self) -> bool:
        """Whether the gradient of training is another than that of the value."""
        names = {e.primitive.name for e in equations(self.program.jaxpr)}
        if not names & _CUTTING:
            return False
        draws = self.draws(2, seed=1)
        return any(self._is_detached_at(theta, batch) for theta, batch in draws)

    def _is_detached_at(self, theta: Arrays, batch: Any) -> bool:
        """Along one direction: the slope by the gradient, and the value's own.

        A difference of values is cheap, but crosses kinks; where it does not agree, the
        value is differentiated, along that direction alone.
        """
        generator = np.random.default_rng(1)
        ahead = {
            path: self._sizes[path] * generator.standard_normal(a.shape)
            for path, a in theta.items()
        }
        gradient, norm = jax.device_get(self._gradient(theta, batch))
        products = [norm * gradient[path] * d for path, d in ahead.items()]
        slope = sum(float(p.sum()) for p in products)
        bound = sum(float(np.abs(p).sum()) for p in products)
        first, second = (
            float(self.value({p: a + s * ahead[p] for p, a in theta.items()}, batch))
            for s in (STEP, -STEP)
        )
        if abs((first - second) / (2 * STEP) - slope) <= SLOPE * bound:
            return False
        apart = abs(float(self._derivative(theta, ahead, batch)) - slope)
        return bool(np.isfinite(apart)) and apart > self.rounding * bound

    @cached_property
    def _derivative(self) -> Callable[[Arrays, Arrays, Any], Any]:
        @jax.jit
        def derivative(theta: Arrays, ahead: Arrays, batch: Any) -> Any:
            value = partial(self._value, batch=batch)
            return jax.jvp(value, (theta,), (ahead,))[1]

        return derivative

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

    @cached_property
    def _sizes(self) -> dict[str, float]:
        return {path: _size(array) for path, array in self.parameters.items()}

    def draws(self, count: int, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Random parameters around the given ones, each with rows of the batch."""
        generator = np.random.default_rng(seed)
        for _ in range(count):
            theta = {
                path: _near(array, SPREAD * self._sizes[path], generator)
                for path, array in self.parameters.items()
            }
            yield theta, self.rows(self.batch, generator)

    def rows(self, batch: list[Any], generator: np.random.Generator) -> list[Any]:
        """Some rows of a batch, as many as the loss was traced with."""
        length = length_of(batch)
        if length is None:
            return batch
        rows = generator.permutation(length)[: rows_of(self.parameters.values())]
        return [leaf[rows] for leaf in batch]


def rows_of(arrays: Iterable[Any]) -> int:
    """How many rows a sample of a model with these arrays uses."""
    return FEW_ROWS if sum(a.size for a in arrays) > LARGE else ROWS


def _near(array: np.ndarray, spread: float, chance: np.random.Generator) -> np.ndarray:
    """Random numbers around an array's, with this standard deviation.

    They are uniform: of 10^7 normal ones, each draw would take longer than a gradient.
    """
    drawn = chance.random(array.shape)
    drawn -= 0.5
    drawn *= spread * np.sqrt(12)
    drawn += array
    return drawn


def length_of(leaves: list[Any]) -> int | None:
    """The length that all leading axes have, if it is the same."""
    lengths = {leaf.shape[:1] for leaf in leaves}
    return lengths.pop()[0] if len(lengths) == 1 and () not in lengths else None


def _unit(gradient: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The gradient over its norm, and that norm; of a zero one, itself."""
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradient.values()))
    scale = jnp.where(norm == 0, 1.0, norm)
    return {path: g / scale for path, g in gradient.items()}, norm


def _size(array: np.ndarray) -> float:
    """The root mean square of the entries, but for a few that are far larger."""
    if not array.any():
        return ZERO_ARRAY
    size = float(np.sqrt(np.mean(array**2)))
    return min(size, OUTLIER * float(np.median(np.abs(array))) or size)
