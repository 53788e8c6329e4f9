"""How many independent laws training a model has: the dimensions that no loss reaches.

A law is a function of the parameters that stays, whatever the targets are. Its gradient
is orthogonal to the gradients of all losses, hence to the brackets of these, to the
brackets of the brackets, and so on. Where the span of them all has the dimension k,
there are D - k independent laws, by Frobenius (Marcotte, Gribonval & Peyre, "Abide by
the Law and Follow the Flow", 2023, theorem 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from lagrangian.elapsed import elapsed
from lagrangian.errors import LagrangianError
from lagrangian.learning.model import (
    check_outputs,
    in_double,
    split_in_double,
    traced_loss,
)
from lagrangian.lowering.platform import float64
from lagrangian.prompt import AtPrompt

#: A singular value counts if it is above this share of the largest ...
ZERO = 1e-9
#: ... and the rank is clear if those that do are above those that do not by this much.
CLEAR = 1e3
#: A row is zero if it is below this share of the longest.
_ROUNDED = 1e-12
#: More vectors than directions, so that chance cannot lose one.
_SURPLUS = 10
#: Beside a special point, such as zero biases: relative to the size of the parameters.
_NUDGE = 1e-3
#: Combinations that are evaluated together.
_AT_ONCE = 128
#: The span of k directions costs k^3.
_MOST = 2000

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True, repr=False)
class LawCount(AtPrompt):
    """The number of independent laws, and what it was found from; made by `count_laws`.

    Attributes:
        laws: D less the last of `levels`.
        dimensions: D: of the parameters; in phase space, of these, of their velocities,
            and time.
        levels: how many dimensions the gradients reach, with one bracket, with two, and
            so on, until the number repeats or is all of them.
        smallest, dropped: the singular values nearest to the threshold, of those that
            count and of those that do not, relative to the largest.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> outputs = lambda model, x: x @ model["w"]
    >>> count = lg.count_laws({"w": np.ones(3)}, outputs, np.eye(2, 3))
    >>> count.laws, count.dimensions
    (1, 3)
    """

    laws: int
    dimensions: int
    levels: tuple[int, ...]
    smallest: float
    dropped: float

    _next = "`.laws`, `.levels`, `lg.discover(model, loss, data)`, which names them"

    def __str__(self) -> str:
        levels = ", ".join(map(str, self.levels))
        return (
            f"LawCount({self.laws} laws; {self.dimensions} dimensions; reached: "
            f"{levels}; gap from {self.smallest:.0e} to {self.dropped:.0e})"
        )


@dataclass(frozen=True)
class Closure:
    """The directions of some fields and of their brackets, at one point.

    Attributes:
        bases: orthonormal rows without brackets, with one, with two, and so on.
        smallest, dropped: as a `LawCount` has them.
    """

    bases: tuple[np.ndarray, ...]
    smallest: float
    dropped: float

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(len(basis) for basis in self.bases)

    @property
    def reached(self) -> np.ndarray:
        return self.bases[-1]

    @property
    def count(self) -> LawCount:
        size = self.reached.shape[1]
        laws = size - len(self.reached)
        return LawCount(laws, size, self.levels, self.smallest, self.dropped)


def count_laws(
    model: PyTree,
    outputs: Callable[[Any, Any], Any],
    batch: PyTree,
    *,
    momentum: bool = False,
    seed: int = 0,
    most_brackets: int = 5,
) -> LawCount:
    """How many independent laws training a model has, on these inputs for any targets.

    The laws are counted beside the parameters of `model`, a little way off in a random
    direction: what holds at a special point alone, such as zero biases, is none. They
    may be others elsewhere, where other units of a ReLU network are dead. With few
    inputs there are more of them: give as many as it takes for the number to stay.

    Args:
        model: a Flax NNX module, or a pytree of arrays such as Linen's
            `variables["params"]`. It is not changed; everything is in float64.
        outputs: `outputs(model, batch)`, an array of any shape, which the loss is a
            function of: the loss may pull at every entry of it. For a cross entropy,
            which cannot pull at the sum of the logits, give log-probabilities.
        batch: what `outputs` gets, in any pytree; it needs no targets.
        momentum: count in phase space: the laws, functions of parameters, velocities
            and time, of q'' + mu q' = -grad f, for any mu. Otherwise those of gradient
            flow, functions of the parameters.
        seed: of the random point and the random combinations.
        most_brackets: where to give up. It takes some three times as long with each.

    Returns:
        A `LawCount`.

    Raises:
        LagrangianError: more than 2,000 dimensions; outputs that are not finite or are
            rounded to float32; a number that still grows with `most_brackets`, or that
            rounding leaves unclear.

    Marcotte, Gribonval & Peyre, "Abide by the Law and Follow the Flow" (2023), and
    "Keep the Momentum" (2024).

    >>> import jax, numpy as np
    >>> import lagrangian as lg
    >>> normal = np.random.default_rng(0).normal
    >>> model = {"first": normal(size=(4, 3)), "second": normal(size=(3, 2))}
    >>> def outputs(w, x):
    ...     return jax.nn.relu(x @ w["first"]) @ w["second"]
    >>> lg.count_laws(model, outputs, normal(size=(60, 4))).laws    # one a hidden unit
    3
    """
    with float64(), elapsed("counting laws"):
        parts = split_in_double(model)
        start, unravel = ravel_pytree(parts.parameters)
        bound, batch = parts.bind(outputs), jax.tree.map(in_double, batch)

        def flat_outputs(x: Any) -> Any:
            return jnp.ravel(bound(unravel(x), parts.rest, batch)[0])

        with traced_loss("outputs"):
            values = jax.jit(flat_outputs)(start)
        _check(values, start.size * (2 if momentum else 1))
        chance = np.random.default_rng(seed)
        size = float(jnp.sqrt(jnp.mean(start**2))) or 1.0
        start = start + _NUDGE * size * chance.normal(size=start.size)
        if momentum:
            field, coefficients = phase_space(flat_outputs, values.size)
            x = np.concatenate([start, size * chance.normal(size=start.size), [0.0]])
        else:
            field, coefficients, x = gradients(flat_outputs), values.size, start
    return lie_closure(field, coefficients, x, seed, most_brackets).count


def gradients(outputs: Callable[[Any], Any]) -> Field:
    """The gradient at `x` of a combination of outputs."""
    return lambda combination, x: jax.grad(lambda x: combination @ outputs(x))(x)


def phase_space(
    outputs: Callable[[Any], Any], count: int, friction: float = 1.0
) -> tuple[Field, int]:
    """The motion at x = (q, v, t), and what a loss adds to it; and how many there are.

    The last coefficient is that of the motion without a loss.
    """
    slope = gradients(outputs)

    def field(combination: Any, x: Any) -> Any:
        q, v = jnp.split(x[:-1], 2)
        drift = jnp.concatenate([v, -friction * v, jnp.ones(1)])
        pull = slope(combination[:-1], q)
        pull = jnp.concatenate([jnp.zeros_like(q), pull, jnp.zeros(1)])
        return combination[-1] * drift + pull

    return field, count + 1


def lie_closure(
    field: Field, coefficients: int, x: Any, seed: int, most_brackets: int = 5
) -> Closure:
    """Where some fields and all brackets of them point, at a generic point x.

    Brackets that are nested to one side span all, and since they are linear in each
    field, those of random combinations do. Once the number of directions repeats, the
    fields are in involution.

    Args:
        field: (combination, x) -> (D,), linear in the combination.
        coefficients: the length of a combination.
        x: shape (D,).
        seed: of the combinations.
        most_brackets: where to give up.

    Raises:
        LagrangianError: it still grows, or rounding leaves the number unclear.
    """
    chance = np.random.default_rng(seed)
    with float64():
        x = jnp.asarray(x, float)
        rows, bases = np.zeros((0, x.size)), []
        nested = _Nested(field, x)
        for brackets in range(most_brackets + 1):
            shape = brackets + 1, x.size + _SURPLUS, coefficients
            found = nested.brackets(chance.normal(size=shape))
            rows = np.concatenate([rows, found])
            basis, smallest, dropped = _row_space(rows)
            bases.append(basis)
            if len(basis) in (x.size, *(len(earlier) for earlier in bases[:-1])):
                _check_clear(smallest, dropped)
                return Closure(tuple(bases), smallest, dropped)
    raise LagrangianError(
        f"with {most_brackets} brackets the directions that training reaches still "
        f"grow: {', '.join(str(len(basis)) for basis in bases)}. Pass a larger "
        "`most_brackets`; it takes some three times as long with each."
    )


class _Nested:
    """Nested brackets of a field at one point, by the derivatives of the field there.

    To compile a bracket of brackets takes 3^k times as long as the field; a derivative
    along k directions 2^k times, and the brackets of all levels share them.
    """

    def __init__(self, field: Field, x: Any):
        self._field, self._x = field, x
        self._compiled: dict[int, Any] = {}

    def brackets(self, combinations: np.ndarray) -> np.ndarray:
        """[...[[F_0, F_1], F_2], ...], for combinations (fields, rows, coefficients).

        A row for each, over the size of the two terms that make its last bracket: it is
        rounding where that bracket is zero.
        """
        *first, last = combinations
        if not first:
            return unit_rows(self._field_along(last, []))
        turned = self._field_along(last, [self._along(first, [])])
        other = self._along(first, [self._field_along(last, [])])
        sizes = (
            np.linalg.norm(part, axis=1, keepdims=True) for part in (turned, other)
        )
        size = sum(sizes)
        return (turned - other) / np.where(size > 0, size, 1.0)

    def _along(self, combinations: Any, directions: list[np.ndarray]) -> np.ndarray:
        """The derivative of a nested bracket along directions, by the product rule."""
        *first, last = combinations
        if not first:
            return self._field_along(last, directions)
        total = np.zeros((len(last), self._x.size))
        for chosen in product((True, False), repeat=len(directions)):
            one = [v for v, c in zip(directions, chosen, strict=True) if c]
            rest = [v for v, c in zip(directions, chosen, strict=True) if not c]
            total += self._field_along(last, [*one, self._along(first, rest)])
            total -= self._along(first, [*one, self._field_along(last, rest)])
        return total

    def _field_along(
        self, combination: np.ndarray, directions: list[np.ndarray]
    ) -> np.ndarray:
        """The derivative of the field along directions, row by row."""
        count = len(directions)
        if count not in self._compiled:
            self._compiled[count] = jax.jit(jax.vmap(self._derivative))
        run = self._compiled[count]
        # Some at a time, since there is one batch for each of them.
        cuts = range(0, len(combination), _AT_ONCE)
        parts = [
            run(
                combination[i : i + _AT_ONCE], [v[i : i + _AT_ONCE] for v in directions]
            )
            for i in cuts
        ]
        return np.concatenate([np.asarray(part) for part in parts])

    def _derivative(self, combination: Any, directions: list[Any]) -> Any:
        found = lambda x: self._field(combination, x)
        for v in directions:
            found = _along(found, v)
        return found(self._x)


def _along(function: Callable[[Any], Any], v: Any) -> Callable[[Any], Any]:
    return lambda x: jax.jvp(function, (x,), (v,))[1]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Each row over its length; zero if that is rounding beside the longest one."""
    lengths = _lengths(rows)
    long = lengths > _ROUNDED * lengths.max(initial=0.0)
    return np.where(long, rows / np.where(long, lengths, 1.0), 0.0)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1, keepdims=True)


def row_space(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what the rows span; shape (rank, columns)."""
    return _row_space(rows)[0]


def _row_space(rows: np.ndarray) -> tuple[np.ndarray, float, float]:
    """And the singular values on both sides of the threshold, over the largest."""
    _, values, basis = np.linalg.svd(rows, full_matrices=False)
    largest = values.max(initial=0.0) or 1.0
    counts = values > ZERO * largest
    smallest = values[counts].min(initial=largest) / largest
    dropped = values[~counts].max(initial=0.0) / largest
    return basis[counts], float(smallest), float(dropped)


def _check(values: Any, dimensions: int) -> None:
    if dimensions > _MOST:
        raise LagrangianError(
            f"`model` has {dimensions} dimensions to count in, and at most {_MOST} are "
            "supported. Count the laws of a narrower network of the same kind."
        )
    check_outputs(values)


def _check_clear(smallest: float, dropped: float) -> None:
    if smallest < CLEAR * dropped:
        raise LagrangianError(
            f"the number of laws is unclear: singular values go from {smallest:.0e} to "
            f"{dropped:.0e} without a gap. Pass parameters and inputs of the order of "
            "one, more inputs, or another `seed`."
        )
