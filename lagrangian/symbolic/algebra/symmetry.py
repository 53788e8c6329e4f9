"""Generators of symmetries: how coordinates or fields move, and time or variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidSymmetry
from lagrangian.symbolic.algebra.blocks import Block, LinearMap, is_block, ones
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.expressions import Expression, Named
from lagrangian.symbolic.algebra.fields import Field, certainly_differ, conjugate
from lagrangian.symbolic.algebra.inputs import written
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.matrices import matmul


class Symmetry(ByContent):
    """The generator of a symmetry, exact or broken: how everything moves with s.

    q -> q + s xi for a coordinate or a field, x^mu -> x^mu + s tau^mu for time or
    another variable. Along a symmetry up to a divergence, the whole L changes by
    D_mu K^mu, in which K is the `boundary`.

    Args:
        xi: the motion of each coordinate or field that moves. The conjugate of a
            complex field moves along by itself.
        tau: the motion of time; or, by variable, that of each one that moves.
        name: how laws and tables call it.
        boundary: K of time; or, by variable, each component of it.

    Attributes:
        tau, boundary: those of time alone.
        shifts, boundaries: those of all variables, without the ones that are zero.

    Raises:
        InvalidSymmetry: something else that moves, a block that moves by a scalar or
            the other way round, or a motion of a complex field and one of its conjugate
            that do not match.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> t, x = phi.over
    >>> lg.Symmetry({phi: phi}, tau={t: t, x: x}).shifts
    {t: t, x: x}
    """

    def __init__(
        self,
        xi: Mapping[Any, Any],
        tau: Expression = 0,
        name: str = "symmetry",
        *,
        boundary: Any = 0,
    ):
        if not isinstance(xi, Mapping):
            raise InvalidSymmetry(
                f"`xi` is {xi!r}. Write `{{q: xi}}` for the motion xi of a coordinate "
                "or a field q."
            )
        moved = {q: written(d, "xi", InvalidSymmetry) for q, d in xi.items()}
        for q, direction in moved.items():
            _check_motion(q, direction)
        self.xi: dict[Any, Any] = _with_conjugates(moved)
        self.shifts = _by_variable(tau, "tau")
        self.boundaries = _by_variable(boundary, "boundary")
        self.name = name

    @property
    def tau(self) -> Any:
        """The motion of time; 0 if it stands still."""
        return self.shifts.get(time, sp.S.Zero)

    @property
    def boundary(self) -> Any:
        """The component of K along time, by which `noether` makes the charge less."""
        return self.boundaries.get(time, sp.S.Zero)

    def _content(self) -> tuple[Any, ...]:
        moves = (self.xi, self.shifts, self.boundaries)
        return Symmetry, *(frozenset(m.items()) for m in moves), self.name

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(str(q) for q in self.xi)})"

    def charges(self, count: int, number: int) -> str:
        """How a report calls one of several charges side by side.

        Args:
            count: how many there are.
            number: which of them is spoken of, from 0.

        Returns:
            A phrase.
        """
        return f"{count} charges, number {number}"

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that it moves."""
        return tuple(q for q in self.xi if isinstance(q, Block))

    @property
    def loss(self) -> Loss:
        """An opaque loss of these blocks that is invariant under this symmetry.

        Raises:
            InvalidSymmetry: it moves no block.
        """
        if not self.blocks:
            raise InvalidSymmetry(
                f"{self!r} moves no blocks, so no opaque loss belongs to it. "
                'Name a block, as in `lg.Scale("dense.kernel")`.'
            )
        return Loss("f", self.blocks, [self.xi])


class TimeTranslation(Symmetry):
    """Translation in time, whose charge is the energy.

    Time runs backwards along it (tau = -1), so that C = <p, xi> - tau E is +E.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> lg.noether(spring, lg.TimeTranslation()).conserved
    x**2/2 + x.dot**2/2
    """

    def __init__(self) -> None:
        super().__init__({}, tau=-1, name="time translation")


class Translation(Symmetry):
    """q -> q + s direction.

    Args:
        coordinate: a coordinate, a block, or the path of a block such as
            `"dense.kernel"`.
        direction: how far it moves; by default 1, or for a block every entry by 1.
        unit_axis: for a path, the axis of its array that holds separate blocks.

    Raises:
        InvalidSymmetry: a direction that does not go with the coordinate, or
            `unit_axis` with a symbol.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> lg.Translation(x).xi
    {x: 1}
    """

    def __init__(
        self,
        coordinate: Named,
        direction: Expression | None = None,
        *,
        unit_axis: int | None = None,
    ):
        q = _coordinate(coordinate, unit_axis)
        if direction is None:
            direction = ones if isinstance(q, Block) else 1
        super().__init__({q: direction}, name="translation")


class Rotation(Symmetry):
    """Rotation in the plane of two coordinates, or of a block by an antisymmetric map.

    `Rotation(x, y)` moves x by -y and y by x; its charge is x p_y - y p_x.

    Args:
        first: a coordinate; or a block, or its path.
        second: another coordinate; or a `LinearMap` of parity -1.

    Raises:
        InvalidSymmetry: a map that is not declared antisymmetric, or no coordinate.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> lg.Rotation(x, y).xi
    {x: -y, y: x}
    """

    def __init__(self, first: Named, second: sp.Expr | LinearMap):
        if isinstance(second, LinearMap):
            if second.parity != -1:
                raise InvalidSymmetry(
                    f"a rotation needs an antisymmetric map, and `{second}` is not "
                    'declared so. Write `lg.LinearMap("A", parity=-1)`.'
                )
            q = _coordinate(first, None)
            super().__init__({q: second(q)}, name="rotation")
        else:
            super().__init__({first: -second, second: first}, name="rotation")


class Scale(Symmetry):
    """q -> (1 + s) q: weights that a normalisation layer follows.

    Args:
        coordinates: coordinates, blocks, or paths of blocks, scaled together.
        unit_axis: for paths, the axis of their arrays that holds separate blocks: -1
            for a Flax kernel means one scale symmetry for each output unit.

    Raises:
        InvalidSymmetry: what is no coordinate, or `unit_axis` with a symbol.

    >>> import lagrangian as lg
    >>> scale = lg.Scale("dense.kernel")
    >>> scale.loss, scale.xi
    (f(dense.kernel), {dense.kernel: dense.kernel})
    """

    def __init__(self, *coordinates: Named, unit_axis: int | None = None):
        scaled = [_coordinate(q, unit_axis) for q in coordinates]
        super().__init__({q: q for q in scaled}, name="scale")


class GeneralLinear(Symmetry):
    """W1 -> W1 (1 + s A), W2 -> (1 - s A) W2: two linear layers with nothing between.

    Args:
        first, second: blocks, or paths of Flax kernels (inputs, outputs), so that the
            product `first @ second` does not change.
        generator: the matrix A of shape (width, width); a `ConstantBlock` whose
            parity selects the symmetric or the antisymmetric half of the group.

    Raises:
        TypeError: a scalar in the place of a block or of the matrix.

    >>> import lagrangian as lg
    >>> w, v = lg.blocks("w v")
    >>> lg.GeneralLinear(w, v, lg.ConstantBlock("A")).xi
    {w: w@A, v: -A@v}
    """

    def __init__(self, first: Named, second: Named, generator: sp.Expr):
        a, b = _coordinate(first, None), _coordinate(second, None)
        super().__init__(
            {a: matmul(a, generator), b: -matmul(generator, b)}, name="general linear"
        )


class Rescale(Symmetry):
    """a -> (1 + s) a, b -> (1 - s) b: a homogeneous unit between two layers.

    What comes into a ReLU unit is its kernel and its bias, and leaving out the bias
    breaks the symmetry.

    Args:
        first, second: what grows and what shrinks; a block, its path, or a list of
            them. For one symmetry a unit, make the blocks with their unit axes:
            `lg.blocks("dense1.kernel dense1.bias", unit_axis=-1)` against
            `lg.blocks("dense2.kernel", unit_axis=0)`.

    Raises:
        InvalidSymmetry: what is no coordinate.

    >>> import lagrangian as lg
    >>> lg.Rescale("first.kernel", "second.kernel").xi
    {first.kernel: first.kernel, second.kernel: -second.kernel}
    """

    def __init__(self, first: Named | Sequence[Named], second: Named | Sequence[Named]):
        grown, shrunk = (
            [_coordinate(item, None) for item in side]
            if isinstance(side, list | tuple)
            else [_coordinate(side, None)]
            for side in (first, second)
        )
        super().__init__(
            {q: q for q in grown} | {q: -q for q in shrunk}, name="rescale"
        )


def _coordinate(item: Any, unit_axis: int | None) -> Any:
    if isinstance(item, str):
        return Block(item, unit_axis=unit_axis)
    if unit_axis is not None:
        raise InvalidSymmetry(
            f"`unit_axis` goes with the path of a block, and `{item}` is a symbol. "
            f'Write `lg.blocks("{item}", unit_axis={unit_axis})` for the block.'
        )
    return item


def _check_motion(q: Any, direction: Expression) -> None:
    if isinstance(q, Field):
        if q.index:
            raise InvalidSymmetry(
                f"`xi` moves `{q}`, a derivative, which moves along with its field. "
                f"Give the motion of `{q.base}`."
            )
        return
    if not isinstance(q, Coordinate) or q.order:
        raise InvalidSymmetry(
            f"`xi` moves `{q}`, which is no coordinate and no field. Make one with "
            '`lg.coordinates("q")`, `lg.blocks("w")` or `lg.fields("phi", over="t x")`.'
        )
    if direction != 0 and isinstance(q, Block) != is_block(direction):
        kind = "a block" if isinstance(q, Block) else "a scalar"
        raise InvalidSymmetry(
            f"`xi` moves `{q}`, {kind}, by `{direction}`, which is not. A block moves "
            "by a block (`lg.ones` is the constant one). Write such a motion."
        )


def _by_variable(given: Any, what: str) -> dict[Any, Any]:
    """What belongs to each variable; an expression alone belongs to time."""
    if not isinstance(given, Mapping):
        given = {time: given}
    parts = {v: written(part, what, InvalidSymmetry) for v, part in given.items()}
    for v in parts:
        if not isinstance(v, sp.Symbol) or isinstance(v, Coordinate | Field):
            raise InvalidSymmetry(
                f"`{what}` has a part along `{v}`, which is no variable. Use those of "
                "`phi.over` for a field phi, or `lg.time`."
            )
    return {v: part for v, part in parts.items() if part != 0}


def _with_conjugates(xi: dict[Any, Any]) -> dict[Any, Any]:
    moved = {
        phi.conjugate(): conjugate(motion)
        for phi, motion in xi.items()
        if isinstance(phi, Field) and not phi.is_real
    }
    for phi, motion in xi.items():
        if phi in moved and certainly_differ(motion, moved[phi]):
            raise InvalidSymmetry(
                f"the generator moves `{phi}` by {motion}, which is not the conjugate "
                f"of the motion of `{phi.conjugate()}`. Give the motion of one of them."
            )
    return moved | xi
