"""Discrete symmetries of a model: mirrors and permutations of the units of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from scipy.sparse.linalg import LinearOperator, eigsh

from lagrangian.errors import InvalidSymmetry
from lagrangian.learning.flat_loss import Network
from lagrangian.learning.model import in_double, split
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.platform import float64
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.shown import few


class UnitSymmetry(AtPrompt):
    """An orthogonal map of the units of a layer, in all arrays that have them.

    `lg.Reflection` and `lg.Permutation` make one. Called with a model, it returns the
    model that it is moved to.

    Args:
        matrix: R of shape (units, units), orthogonal and of finite order: the new unit
            j is sum_i R_ji times the old unit i.
        blocks: the arrays that have the units, along the unit axis of each.

    Attributes:
        matrix, blocks: as given.
        order: how often it is done until everything is where it was.
        kept: of shape (units, units), the projector on what it leaves alone.

    Raises:
        InvalidSymmetry: a block without units, or no block.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> units = lg.Block("w", unit_axis=0)
    >>> quarter = lg.UnitSymmetry(np.array([[0.0, -1.0], [1.0, 0.0]]), [units], order=4)
    >>> (quarter({"w": np.array([1, 0], np.float32)})["w"] + 0.0).tolist()
    [0.0, 1.0]
    """

    _next = "`.defect(model, loss, batch)`, `.fixed(model)`, `.odd_block(...).lowest()`"

    def __init__(self, matrix: np.ndarray, blocks: Sequence[Block], order: int):
        self.matrix, self.blocks, self.order = matrix, _with_units(blocks), order
        powers = [np.linalg.matrix_power(matrix, j) for j in range(order)]
        self.kept: np.ndarray = np.add.reduce(powers) / order

    def __str__(self) -> str:
        kind, names = type(self).__name__, few(b.name for b in self.blocks)
        return f"{kind}({len(self.matrix)} units of {names}; order {self.order})"

    def __call__(self, model: PyTree) -> Any:
        """The model with its units moved.

        Args:
            model: a Flax NNX module, or a pytree of arrays. It is not changed.

        Returns:
            A model of its kind and dtypes, which shares no variable with it.

        Raises:
            UnknownBlock: a block that the model does not have.
            InvalidSymmetry: an array with another number of units.
            LagrangianError: a model without floating-point parameters.
        """
        return self._moved(model, self.matrix)

    def fixed(self, model: PyTree) -> Any:
        """The nearest model that the symmetry leaves alone: the mean of all moved ones.

        Gradient descent never leaves the set of these, if the loss has the symmetry.

        Args:
            model: as for a call.

        Returns:
            A model of its kind and dtypes.

        Raises:
            UnknownBlock, InvalidSymmetry, LagrangianError: as of a call.
        """
        return self._moved(model, self.kept)

    def distance(self, model: PyTree) -> Any:
        """How far the model is from the nearest that the symmetry leaves alone.

        Args:
            model: as for a call.

        Returns:
            The Euclidean norm of the difference, a scalar; traceable by JAX.

        Raises:
            UnknownBlock, InvalidSymmetry, LagrangianError: as of a call.
        """
        arrays = self._arrays(split(model).parameters)
        odd = np.eye(len(self.kept)) - self.kept
        with _own_precision(arrays):
            return self._norm(arrays, odd)

    def _norm(self, arrays: list[Any], odd: np.ndarray) -> Any:
        moved = [
            self._along(a, odd, b) for b, a in zip(self.blocks, arrays, strict=True)
        ]
        return jnp.sqrt(sum(jnp.sum(array**2) for array in moved))

    def fixed_dimension(self, model: PyTree) -> int:
        """How many parameters the models have that the symmetry leaves alone.

        The trace of the projector, which is the mean of the traces of all powers (the
        character formula; Serre, "Linear Representations of Finite Groups", 1977, 2.3).

        Args:
            model: as for a call.

        Returns:
            A whole number.

        Raises:
            UnknownBlock, InvalidSymmetry, LagrangianError: as of a call.
        """
        parameters = split(model).parameters
        total = sum(leaf.size for leaf in named_leaves(parameters).values())
        lost = len(self.kept) - round(float(np.trace(self.kept)))
        arrays = self._arrays(parameters)
        return total - sum(a.size // len(self.kept) * lost for a in arrays)

    def defect(
        self, model: PyTree, loss: Callable[[Any, Any], Any], batch: PyTree
    ) -> float:
        """By how much the loss of the moved model differs, as a share of it.

        Args:
            model: as for a call.
            loss: `loss(model, batch)`, a scalar.
            batch: what `loss` gets, in any pytree.

        Returns:
            |f(moved) - f| / |f|, computed in float64.

        Raises:
            UnknownBlock, InvalidSymmetry: as of a call.
            LagrangianError: a loss that is no scalar or not finite.
        """
        with float64():
            network = Network(model, loss, batch)
            moved = split(self(network.model(network.start))).parameters
            moved = network.join(moved, "the moved model")
            here, there = network.loss(network.start), network.loss(moved)
            return float(abs(there - here) / jnp.maximum(abs(here), 1e-300))

    def commutes_with(self, rule: Rule, model: PyTree, seed: int = 0) -> bool:
        """Whether the rule moves mirrored gradients to mirrored parameters.

        Only then does training by it stay among the models that the symmetry leaves
        alone. Tried with three steps of random gradients in float64.

        Args:
            rule: any learning rule.
            model: as for a call; its arrays say the shapes.
            seed: of the gradients.

        Returns:
            True if the two ways differ by less than 1e-9 of the way.

        Raises:
            UnknownBlock, InvalidSymmetry, LagrangianError: as of a call.

        >>> import lagrangian as lg
        >>> import numpy as np
        >>> model = {"first": np.ones((3, 2)), "second": np.ones((2, 3))}
        >>> first = lg.blocks("first", unit_axis=-1)
        >>> second = lg.blocks("second", unit_axis=0)
        >>> mirror = lg.Reflection([3, 4], first, second)
        >>> mirror.commutes_with(lg.HeavyBall(0.1, 0.9), model)
        True
        >>> mirror.commutes_with(lg.Adam(0.1), model)
        False
        """
        with float64():
            start = jax.tree.map(in_double, split(model).parameters)
            there = self(_walked(rule, start, lambda slope: slope, seed))
            mirrored = _walked(rule, self(start), self, seed)
            gap, way = _farthest(there, mirrored), _farthest(there, self(start))
            return gap <= 1e-9 * way

    def odd_block(
        self, model: PyTree, loss: Callable[[Any, Any], Any], batch: PyTree
    ) -> OddBlock:
        """The Hessian of the loss on the directions that break the symmetry.

        Args:
            model, loss, batch: as for `defect`.

        Returns:
            An `OddBlock`, whose products are taken in float64.

        Raises:
            LagrangianError: as of `defect`.
        """
        with float64():
            return OddBlock(self, Network(model, loss, batch))

    def _arrays(self, parameters: Any) -> list[Any]:
        names = [block.name for block in self.blocks]
        arrays = list(pick(named_leaves(parameters), names, "the model").values())
        for block, array in zip(self.blocks, arrays, strict=True):
            if array.shape[block.unit_axis] != len(self.matrix):
                raise InvalidSymmetry(
                    f"the symmetry moves {len(self.matrix)} units, and `{block.name}` "
                    f"has {array.shape[block.unit_axis]} along its unit axis "
                    f"{block.unit_axis}; its shape is {array.shape}. Pass a "
                    "`unit_axis` of that length."
                )
        return arrays

    def _moved(self, model: Any, matrix: np.ndarray) -> Any:
        parts = split(model)
        self._arrays(parts.parameters)
        by_name = {block.name: block for block in self.blocks}
        leaves, structure = jax.tree.flatten(parts.parameters)
        names = named_leaves(parts.parameters)
        with _own_precision(leaves):
            moved = [
                self._along(leaf, matrix, by_name[name]) if name in by_name else leaf
                for name, leaf in zip(names, leaves, strict=True)
            ]
        # Copied, so that both models can be trained.
        rest = jax.tree.map(lambda leaf: leaf, parts.rest)
        return parts.merge(jax.tree.unflatten(structure, moved), rest)

    @staticmethod
    def _along(array: Any, matrix: np.ndarray, block: Block) -> Any:
        array, axis = jnp.asarray(array), _axis(block)
        ahead = jnp.moveaxis(array, axis, 0)
        turned = jnp.asarray(matrix, array.dtype) @ ahead.reshape(len(matrix), -1)
        return jnp.moveaxis(turned.reshape(ahead.shape), 0, axis)


class Reflection(UnitSymmetry):
    """A mirror of the units of a layer: what lies along `normal` changes its sign.

    With `normal` e_i it turns the sign of unit i, a symmetry of odd units such as tanh;
    with e_i - e_j it swaps two units; with any other it mirrors a linear layer.

    Args:
        normal: of shape (units,), of any length but zero.
        blocks: the arrays that have the units, such as
            `*lg.blocks("layers.0.kernel layers.0.bias", unit_axis=-1),
            lg.blocks("layers.1.kernel", unit_axis=0)`.

    Raises:
        InvalidSymmetry: a normal that has no direction, or a block without units.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> model = {"first": np.ones((3, 2)), "second": np.ones((2, 4))}
    >>> first = lg.blocks("first", unit_axis=-1)
    >>> second = lg.blocks("second", unit_axis=0)
    >>> swap = lg.Reflection([1, -1], first, second)
    >>> swap.fixed_dimension(model), float(swap.distance(model))
    (7, 0.0)
    """

    def __init__(self, normal: Any, *blocks: Block):
        direction = np.asarray(normal, dtype=float)
        if (
            direction.ndim != 1
            or not np.isfinite(direction).all()
            or not direction.any()
        ):
            raise InvalidSymmetry(
                f"`normal` is {normal!r}. Pass one finite number a unit, not all "
                "zero, such as `[1, -1]` to swap two."
            )
        # As sums of products over |n|^2, a swap of units is exact.
        outer = np.outer(direction, direction) / (direction @ direction)
        self.normal: np.ndarray = direction / np.linalg.norm(direction)
        super().__init__(np.eye(len(direction)) - 2 * outer, blocks, 2)


class Permutation(UnitSymmetry):
    """A permutation of the units of a layer.

    Args:
        order: which unit comes to each place, such as [1, 0, 2] to swap the first two.
        blocks: the arrays that have the units, as for `lg.Reflection`.

    Raises:
        InvalidSymmetry: an order that is no permutation, or a block without units.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> model = {"first": np.arange(6.0).reshape(2, 3), "second": np.ones((3, 1))}
    >>> first = lg.blocks("first", unit_axis=-1)
    >>> second = lg.blocks("second", unit_axis=0)
    >>> turned = lg.Permutation([1, 2, 0], first, second)(model)
    >>> turned["first"].tolist()
    [[1.0, 2.0, 0.0], [4.0, 5.0, 3.0]]
    """

    def __init__(self, order: Sequence[int], *blocks: Block):
        places = [int(place) for place in order]
        if sorted(places) != list(range(len(places))) or not places:
            raise InvalidSymmetry(
                f"`order` is {order!r}, which is no permutation. Pass each number from "
                f"0 to {max(len(places) - 1, 0)} once."
            )
        matrix = np.eye(len(places))[places]
        super().__init__(matrix, blocks, math.lcm(*_cycles(places)))


@dataclass(frozen=True, repr=False)
class OddBlock(AtPrompt):
    """The Hessian on the directions that a symmetry does not leave alone.

    Only products with it are taken. Where the model is one that the symmetry leaves
    alone, and the loss has the symmetry, no product leaves the block.

    Attributes:
        symmetry, network: of which it is.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> swap = lg.Permutation([1, 0], lg.Block("w", unit_axis=0))
    >>> saddle = lambda model, batch: model["w"].prod()
    >>> block = swap.odd_block({"w": np.zeros(2)}, saddle, np.ones(1))
    >>> block.dimension, float(block.lowest()[0][0].round(9))
    (1, -1.0)
    """

    symmetry: UnitSymmetry
    network: Network

    _next = "`.lowest()`, its eigenvalues, `.times(direction)`"

    def __str__(self) -> str:
        return f"OddBlock({self.dimension} directions; {self.symmetry})"

    @property
    def dimension(self) -> int:
        """How many such directions there are."""
        model = self.network.model(self.network.start)
        return int(self.network.start.size) - self.symmetry.fixed_dimension(model)

    def times(self, direction: Any) -> Any:
        """The Hessian's product with a vector (parameters,), on the odd directions.

        Args:
            direction: of shape (parameters,): the entries of all parameters, one array
                after the other in the order of the pytree.

        Returns:
            float64 of the same shape.
        """
        with float64():
            return self._odd(self._product(self._odd(jnp.asarray(direction))))

    def lowest(self, count: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Its lowest eigenvalues and their directions, by the Lanczos method.

        Args:
            count: how many.
            seed: of the vector that the method starts with.

        Returns:
            shapes (count,) and (count, parameters).
        """
        frame, size = self._frame(), int(self.network.start.size)
        with float64():

            def turned(z: np.ndarray) -> np.ndarray:
                return frame.T @ np.asarray(
                    self._product(jnp.asarray(frame @ z.ravel()))
                )

            dimension = frame.shape[1]
            if dimension <= 2 * count + 1:
                dense = np.stack([turned(e) for e in np.eye(dimension)], axis=1)
                values, vectors = np.linalg.eigh((dense + dense.T) / 2)
            else:
                operator = LinearOperator(
                    (dimension, dimension),
                    turned,
                    dtype=float,  # ty: ignore[parameter-already-assigned]
                )
                start = np.random.default_rng(seed).normal(size=dimension)
                values, vectors = eigsh(operator, count, which="SA", v0=start)
        chosen = np.argsort(values)[:count]
        directions = (frame @ vectors[:, chosen]).T.reshape(-1, size)
        return values[chosen], directions

    def mixing(self, seed: int = 0) -> float:
        """The even share of the Hessian's product with a random odd direction.

        Args:
            seed: of the direction.

        Returns:
            0 up to rounding where the model and the loss are symmetric; at most 1.
        """
        with float64():
            drawn = np.random.default_rng(seed).normal(size=self.network.start.size)
            found = self._product(self._odd(jnp.asarray(drawn)))
            even = found - self._odd(found)
            return float(jnp.linalg.norm(even) / jnp.linalg.norm(found))

    def model(self, direction: Any, size: float) -> Any:
        """The model moved by `size` along a vector (parameters,).

        Args:
            direction: of shape (parameters,), as for `times`.
            size: how far.

        Returns:
            A model of the given one's kind, in float64.
        """
        with float64():
            moved = self.network.start + size * jnp.asarray(direction)
            return self.network.model(moved)

    @cached_property
    def _product(self) -> Callable[[Any], Any]:
        slope, here = jax.grad(self.network.loss), self.network.start
        return jax.jit(lambda vector: jax.jvp(slope, (here,), (vector,))[1])

    def _odd(self, vector: Any) -> Any:
        model = self.network.model(vector)
        return vector - self.network.join(
            split(self.symmetry.fixed(model)).parameters, "the model"
        )

    def _frame(self) -> Any:
        """Orthonormal odd directions as columns, sparse: (parameters, dimension)."""
        from scipy.sparse import coo_array

        kept = self.symmetry.kept
        sizes, vectors = np.linalg.eigh(np.eye(len(kept)) - kept)
        odd = vectors[:, sizes > 0.5]
        with float64():
            count = self.network.start.size
            places = self.network.split(jnp.arange(count, dtype=float))
        rows, columns, values = [], [], []
        for block in self.symmetry.blocks:
            place = np.asarray(places[block.name]).astype(int)
            place = np.moveaxis(place, _axis(block), 0).reshape(len(kept), -1)
            for entries in place.T:
                for vector in odd.T:
                    rows += entries.tolist()
                    columns += [len(values) // len(kept)] * len(kept)
                    values += vector.tolist()
        shape = (int(count), len(values) // len(kept))
        return coo_array((values, (rows, columns)), shape=shape).tocsr()


def _walked(
    rule: Rule, start: Any, mirror: Callable[[Any], Any], seed: int, steps: int = 3
) -> Any:
    """Where the rule leads by mirrored random gradients."""
    generator, optimiser, now = np.random.default_rng(seed), rule.optax(), start
    state = optimiser.init(now)
    for _ in range(steps):
        slope = jax.tree.map(
            lambda a: jnp.asarray(generator.normal(size=jnp.shape(a))), start
        )
        update, state = optimiser.update(mirror(slope), state, now)
        now = jax.tree.map(jnp.add, now, update)
    return now


def _farthest(first: Any, second: Any) -> float:
    gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), first, second)
    return max(float(gap) for gap in jax.tree.leaves(gaps))


def _axis(block: Block) -> int:
    """The unit axis, which `_with_units` has seen to be one."""
    assert block.unit_axis is not None
    return block.unit_axis


def _own_precision(arrays: Sequence[Any]) -> Any:
    """A context in which arrays of float64 stay what they are."""
    return jax.enable_x64(any(array.dtype == np.float64 for array in arrays))


def _with_units(blocks: Sequence[Block]) -> tuple[Block, ...]:
    for block in blocks:
        if not isinstance(block, Block) or block.unit_axis is None:
            raise InvalidSymmetry(
                f"`{block}` has no unit axis, along which its units could move. Write "
                '`lg.blocks("dense.kernel", unit_axis=-1)`.'
            )
    if not blocks:
        raise InvalidSymmetry(
            "the symmetry has no `blocks` whose units it moves. Pass some, such as "
            '`lg.blocks("dense.kernel", unit_axis=-1)`.'
        )
    return tuple(blocks)


def _cycles(places: Sequence[int]) -> list[int]:
    """The lengths of the cycles of a permutation."""
    left, lengths = set(range(len(places))), []
    while left:
        first = place = min(left)
        length = 0
        while place in left:
            left.remove(place)
            place, length = places[place], length + 1
        assert place == first
        lengths.append(length)
    return lengths
