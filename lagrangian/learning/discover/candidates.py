"""Symmetries that the caller names, as `measure` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from lagrangian.errors import InvalidSymmetry
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.pytrees import pick
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock, LinearMap, ones
from lagrangian.symbolic.algebra.matrices import Matmul, Transposed
from lagrangian.symbolic.algebra.symmetry import Symmetry

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Candidate:
    """A symmetry of the engine, with what `measure` needs of a generator.

    Attributes:
        symmetry: as it was given.
        shapes: of the model's arrays.
        matrices: the shape of each constant matrix in it, which may be any matrix.
    """

    symmetry: Symmetry
    shapes: Shapes
    matrices: Mapping[ConstantBlock, tuple[int, int]]
    gap: tuple[float, float] = (np.nan, np.nan)
    defect: float = 0.0

    @classmethod
    def of(cls, symmetry: Symmetry, shapes: Shapes) -> Candidate:
        """Checks that the model has its blocks, and that they can be evaluated."""
        if symmetry.tau != 0 or len(symmetry.blocks) != len(symmetry.xi):
            raise InvalidSymmetry(
                f"{symmetry!r} moves more than blocks of parameters. Pass candidates "
                'such as `lg.Scale("dense.kernel")`.'
            )
        for direction in symmetry.xi.values():
            if direction.has(LinearMap):
                raise InvalidSymmetry(
                    f"the linear map in {symmetry!r} has no function here. Pass "
                    "candidates without linear maps."
                )
        pick(dict(shapes), [block.name for block in symmetry.blocks], "the model")
        return cls(symmetry, shapes, _matrices(symmetry, shapes))

    @property
    def _units(self) -> int:
        """Charges side by side."""
        counts = {
            1 if b.unit_axis is None else self.shapes[b.name][b.unit_axis]
            for b in self.symmetry.blocks
        }
        if len(counts) > 1:
            raise InvalidSymmetry(
                f"the blocks of {self.symmetry!r} have {sorted(counts)} units along "
                "their unit axes. Name axes of equal length."
            )
        return counts.pop()

    @property
    def count(self) -> int:
        """How many generators it stands for: a unit, or an entry of a matrix, each."""
        count = self._units
        for matrix, shape in self.matrices.items():
            if matrix.parity:
                count *= shape[0] * (shape[0] + matrix.parity) // 2
            else:
                count *= prod(shape)
        return count

    def element(self, generator: np.random.Generator) -> Any:
        """A random size of the motion for every unit, and random matrices."""
        sizes = generator.uniform(0.3, 0.7, self._units)
        sizes *= generator.choice([-1, 1], self._units)
        matrices = {}
        for matrix, shape in self.matrices.items():
            array = generator.standard_normal(shape) / np.sqrt(shape[0])
            parity = matrix.parity
            matrices[matrix] = (array + parity * array.T) / 2 if parity else array
        return sizes, matrices

    def field(self, theta: Mapping[str, Any], chosen: Any) -> dict[str, Any]:
        """xi at `theta`, every unit of a block by its own size."""
        sizes, matrices = chosen
        symmetry = self.symmetry
        values = {b: theta[b.name] for b in symmetry.blocks} | {ones: np.ones(())}
        directions = evaluate(symmetry.xi.values(), values | matrices)
        field = {}
        for block, direction in zip(symmetry.blocks, directions, strict=True):
            shape = [1] * len(self.shapes[block.name])
            if block.unit_axis is not None:
                shape[block.unit_axis] = len(sizes)
            whole = np.broadcast_to(direction, self.shapes[block.name])
            field[block.name] = whole * sizes.reshape(shape)
        return field


def _matrices(
    symmetry: Symmetry, shapes: Shapes
) -> dict[ConstantBlock, tuple[int, int]]:
    """The shape of each constant matrix, read from what it is multiplied with."""
    found = {
        matrix: shape
        for block, direction in symmetry.xi.items()
        for product in direction.atoms(Matmul)
        for matrix, shape in _in_product(product, block, shapes)
    }
    for matrix, (rows, columns) in found.items():
        if matrix.parity and rows != columns:
            raise InvalidSymmetry(
                f"the constant block `{matrix}` in {symmetry!r} has a parity, and the "
                f"shape {rows} x {columns} beside its blocks. Leave the parity out."
            )
    named = {
        c for d in symmetry.xi.values() for c in d.atoms(ConstantBlock) if c != ones
    }
    if unknown := sorted(map(str, named - set(found))):
        raise InvalidSymmetry(
            f"the constant block `{unknown[0]}` in {symmetry!r} has no array here. "
            "Pass candidates without it; only a matrix that multiplies blocks may be "
            "any."
        )
    return found


def _in_product(product: Any, moved: Block, shapes: Shapes) -> Iterator[Any]:
    factors = product.args
    whole = shapes[moved.name]
    for place, factor in enumerate(factors):
        if isinstance(factor, ConstantBlock):
            rows = _shape(factors[place - 1], shapes)[-1] if place else whole[0]
            last = place + 1 == len(factors)
            columns = whole[-1] if last else _shape(factors[place + 1], shapes)[0]
            yield factor, (rows, columns)


def _shape(factor: Any, shapes: Shapes) -> tuple[int, ...]:
    block = factor.args[0] if isinstance(factor, Transposed) else factor
    if not isinstance(block, Block):
        raise InvalidSymmetry(
            f"`{factor}` stands beside a constant matrix, whose shape is not known. "
            "Pass candidates in which such a matrix multiplies a block."
        )
    shape = shapes[block.name]
    return shape[::-1] if isinstance(factor, Transposed) else shape
