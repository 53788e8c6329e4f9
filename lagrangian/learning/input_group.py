"""Finite groups that move the inputs of a network: turns, reflections, shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import (
    check_outputs,
    in_double,
    split_in_double,
    traced_loss,
)
from lagrangian.lowering.platform import float64
from lagrangian.prompt import AtPrompt

#: Larger groups are a mistake of a move, and their table would not fit.
MOST_ELEMENTS = 5000


class InputGroup(AtPrompt):
    """A finite group that permutes the features of an input.

    The element g takes x to x[permutations[g]], of the flat input.

    Args:
        permutations: whole numbers, shape (elements, features), one row an element.
        shape: of one input; (features,) if left out.

    Raises:
        LagrangianError: rows that are no permutations, occur twice, or are no group.

    >>> import numpy as np
    >>> import lagrangian as lg
    >>> square = lg.InputGroup.generated(np.rot90, np.transpose, shape=(8, 8))
    >>> len(square), square.is_abelian
    (8, False)
    >>> square.orbits(np.zeros((5, 8, 8))).shape
    (8, 5, 8, 8)
    """

    _next = "`.orbits(x)`, `.table`, `.defect(model, outputs, x)`"

    def __init__(self, permutations: ArrayLike, shape: Sequence[int] | None = None):
        rows = np.asarray(permutations)
        if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
            raise LagrangianError(
                f"`permutations` has shape {rows.shape} and type {rows.dtype}; pass "
                "whole numbers of shape (elements, features)."
            )
        self.permutations = rows = rows.astype(np.int64)
        self.shape = (rows.shape[1],) if shape is None else tuple(shape)
        if prod(self.shape) != rows.shape[1]:
            raise LagrangianError(
                f"`shape` is {self.shape}, of {prod(self.shape)} features, where "
                f"`permutations` moves {rows.shape[1]}; pass one of so many."
            )
        bad = np.flatnonzero((np.sort(rows) != np.arange(rows.shape[1])).any(axis=1))
        if len(bad):
            raise LagrangianError(
                f"row {bad[0]} of `permutations` is none: write each whole number "
                f"below {rows.shape[1]} once."
            )
        self._place = {row.tobytes(): g for g, row in enumerate(rows)}
        if len(self._place) < len(rows):
            raise LagrangianError("`permutations` has a row twice; leave one out.")
        if not len(rows) or (self.table < 0).any():
            raise LagrangianError(
                "`permutations` is no group: a product of two of its rows is not in "
                "it. Pass all, or let `lg.InputGroup.generated` find them."
            )

    @classmethod
    def generated(
        cls, *moves: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]
    ) -> InputGroup:
        """The group of all that some moves of an input make, the identity first.

        Args:
            moves: functions of an array of that shape that permute its entries, such as
                `np.rot90`.
            shape: of one input.

        Returns:
            An `InputGroup`.

        Raises:
            LagrangianError: a move that is no permutation, or more than 5,000 elements.

        >>> import numpy as np
        >>> import lagrangian as lg
        >>> len(lg.InputGroup.generated(lambda x: np.roll(x, 2), shape=(8,)))
        4
        """
        shape = tuple(shape)
        places = np.arange(prod(shape)).reshape(shape)
        steps = []
        for move in moves:
            moved = np.asarray(move(places))
            if moved.shape != shape or (np.sort(moved, None) != places.ravel()).any():
                raise LagrangianError(
                    f"`{getattr(move, '__name__', move)}` does not permute the entries "
                    f"of an array of shape {shape}; pass a function that does."
                )
            steps.append(moved.ravel())
        found = {places.tobytes(): places.ravel()}
        queue = list(found.values())
        for row in queue:
            for step in steps:
                product = row[step]
                if product.tobytes() not in found:
                    found[product.tobytes()] = product
                    queue.append(product)
            if len(queue) > MOST_ELEMENTS:
                raise LagrangianError(
                    f"these moves make more than {MOST_ELEMENTS} elements; pass fewer "
                    "moves, or `permutations` of a subgroup."
                )
        return cls(np.stack(queue), shape)

    def __len__(self) -> int:
        return len(self.permutations)

    def __str__(self) -> str:
        kind = "abelian" if self.is_abelian else "not abelian"
        return f"InputGroup of {len(self)} elements on inputs of {self.shape}, {kind}"

    @cached_property
    def table(self) -> np.ndarray:
        """At [g, h], the element that moves by g first, and then by h."""
        rows = self.permutations
        return np.array(
            [[self._place.get(g[h].tobytes(), -1) for h in rows] for g in rows]
        )

    @property
    def is_abelian(self) -> bool:
        """Whether the order of two moves does not matter."""
        return bool((self.table == self.table.T).all())

    def orbits(self, x: ArrayLike) -> Any:
        """Inputs moved by every element.

        Args:
            x: shape (..., *shape), of any dtype; NumPy's or JAX's.

        Returns:
            An array of the same kind, shape (elements, ..., *shape).

        Raises:
            LagrangianError: an x whose last axes are not of the group's shape.
        """
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        lead = x.shape[: x.ndim - len(self.shape)]
        if (*lead, *self.shape) != x.shape:
            raise LagrangianError(
                f"`x` has shape {x.shape}; pass inputs of shape (..., "
                f"{', '.join(map(str, self.shape))})."
            )
        flat = x.reshape(*lead, -1)
        xp: Any = jnp if isinstance(x, jax.Array) else np
        moved = xp.moveaxis(flat[..., self.permutations], -2, 0)
        return moved.reshape(len(self), *x.shape)

    def defect(
        self, model: PyTree, outputs: Callable[[Any, Any], Any], x: ArrayLike
    ) -> float:
        """How far a model's outputs are from not seeing the group at all.

        Args:
            model: a Flax NNX module, or a pytree of arrays. It is not changed.
            outputs: `outputs(model, x)`, real, with the examples as its first axis.
            x: inputs, shape (examples, *shape).

        Returns:
            The largest |f(g x) - f(x)|, relative to the standard deviation of f over
            the examples in all their copies, the largest of its entries; computed in
            float64. It is 0 for an invariant model, and of order 1 for most others.

        Raises:
            LagrangianError: a model without floating-point parameters.

        >>> import numpy as np
        >>> import lagrangian as lg
        >>> flips = lg.InputGroup.generated(np.flip, shape=(4,))
        >>> x = np.random.default_rng(0).normal(size=(20, 4))
        >>> even, odd = np.array([1.0, 2.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
        >>> [flips.defect({"w": w}, lambda p, x: x @ p["w"], x) > 1e-9
        ...  for w in (even, odd)]
        [False, True]
        """
        with float64():
            parts = split_in_double(model)
            bound = parts.bind(outputs)
            copies = in_double(np.asarray(self.orbits(np.asarray(x))))
            flat = copies.reshape(-1, *self.shape)
            with traced_loss("outputs"):
                value = jax.jit(lambda q, x: bound(q, parts.rest, x)[0])
                found = np.asarray(check_outputs(value(parts.parameters, flat)))
        found = found.reshape(len(self), copies.shape[1], -1)
        spread = found.reshape(-1, found.shape[-1]).std(axis=0).max()
        apart = np.abs(found - found[self._identity]).max()
        return float(apart / spread) if spread > 0 else 0.0

    @property
    def _identity(self) -> int:
        return self._place[np.arange(prod(self.shape)).tobytes()]
