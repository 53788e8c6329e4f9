"""A found generator as the engine's own `Symmetry`, from which laws are derived."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.measure import Evidence
from lagrangian.learning.discover.members import Members
from lagrangian.learning.discover.stretches import Stretch
from lagrangian.learning.discover.terms import (
    ABSORB,
    ANTISYMMETRIC,
    CENTRED,
    SCALE,
    SHIFT,
    TURN,
    Term,
)
from lagrangian.symbolic.algebra.blocks import Block, LinearMap, ones
from lagrangian.symbolic.algebra.symmetry import Symmetry


class DiscoveredSymmetry(Symmetry):
    """A symmetry that `discover` found, with what it rests on.

    A run observes a charge for each generator. Those of matrices are arrays (..., k, k)
    of them, head by head: the entries of a matrix such as W1^T W1 - W2 W2^T.

    Attributes:
        maps: a function for each linear map in its generator, for `train(maps=...)`;
            empty for scales, rescales and plain shifts.
        evidence: the row of the table.
        generator: in coordinates.
    """

    def __init__(
        self,
        xi: Mapping[Any, Any],
        maps: Mapping[LinearMap, Members],
        evidence: Evidence,
        generator: Generator,
    ):
        super().__init__(xi, name=evidence.family)
        self.maps, self.evidence, self.generator = dict(maps), evidence, generator

    def _content(self) -> tuple[Any, ...]:
        return (*super()._content(), frozenset(self.maps.items()))

    def charges(self, count: int, number: int) -> str:
        if not self.generator.is_matrix:
            return super().charges(count, number)
        return next(iter(self.maps.values())).written(number)


def to_symmetry(
    generator: Generator, evidence: Evidence, number: int
) -> DiscoveredSymmetry:
    """The symmetry of a generator.

    Scales and shifts of whole units become one symmetry with a charge for each unit.
    Where the units of a block are no axis of its array (the groups of a normalisation,
    the heads of a fused kernel), and where matrices mix them, the generator has linear
    maps, whose functions are `Members`: also then there is a charge for each generator.

    Args:
        generator: what was found.
        evidence: kept with the symmetry.
        number: makes the names of the linear maps unique.
    """
    if isinstance(generator, Stretch):
        return DiscoveredSymmetry(generator.directions(), {}, evidence, generator)
    axes = _unit_axes(generator)
    maps: dict[LinearMap, Members] = {}
    xi: dict[Any, Any] = {}
    chosen = generator.element(np.random.default_rng(number))
    for path in dict.fromkeys(term.path for term, _ in generator.terms):
        terms = [(t, c) for t, c in generator.terms if t.path == path]
        block = Block(path, unit_axis=(axes or {}).get(path))
        if axes is not None:
            xi[block] = sum(_direction(t, block) * _exact(c) for t, c in terms)
            continue
        xi[block] = 0
        for i, (source, parts) in enumerate(_by_source(terms).items()):
            if source is None and all(_is_plain(t) for t, _ in parts):
                xi[block] += sum(_exact(c) for _, c in parts) * ones
                continue
            name = f"A{number}_{path}" + (f"_{i}" if i else "")
            linear_map = LinearMap(name, _parity(parts, path == source))
            maps[linear_map] = Members(tuple(parts), chosen)
            argument = ones if source is None else Block(source)
            xi[block] += linear_map(argument)
            if source is not None:
                xi.setdefault(argument, 0)
    return DiscoveredSymmetry(xi, maps, evidence, generator)


def _exact(coefficient: float) -> Any:
    """A number with a small denominator as SymPy has it, so that laws read well."""
    near = Fraction(coefficient).limit_denominator(12)
    is_near = abs(near - coefficient) < 1e-12
    return sp.Rational(near.numerator, near.denominator) if is_near else coefficient


def _direction(term: Term, block: Block) -> Any:
    return ones if term.action == SHIFT else block


def _unit_axes(generator: Generator) -> dict[str, int | None] | None:
    """For each path the axis of its units; None where a block does not move as a whole.

    Blocks move by multiples of themselves and of ones. Their units are numbered by one
    axis of the array, or they have none.
    """
    if any(t.action not in (SCALE, SHIFT) for t, _ in generator.terms):
        return None
    if any(not t.view.piece.is_all for t, _ in generator.terms):
        return None
    views = {(t.path, t.view) for t, _ in generator.terms}
    if len({path for path, _ in views}) < len(views):
        return None
    common = set.intersection(*({*view.axis_by_units} for _, view in views))
    if not common:
        return dict.fromkeys(path for path, _ in views)
    largest = max(common, key=lambda places: prod(generator.units[i] for i in places))
    return {path: view.axis_by_units[largest] for path, view in views}


def _parity(terms: list[tuple[Term, float]], own: bool) -> int:
    """Scales and symmetric matrices are self-adjoint; antisymmetric ones turn sign.

    Args:
        terms: of one block, with one source.
        own: whether the source is the block itself.
    """
    actions = {term.action for term, _ in terms}
    if not own or actions & {ABSORB, SHIFT}:
        return 0
    if actions <= {ANTISYMMETRIC, CENTRED}:
        return -1
    turns = {
        (t.view.piece, t.moved, t.view.axes): c for t, c in terms if t.action == TURN
    }
    if not turns:
        return 1
    signs = {
        sign
        for (one, other, axes), c in turns.items()
        for sign in (1, -1)
        if abs(turns.get((other, one, axes), 0.0) - sign * c) < 1e-9
    }
    alone = actions == {TURN}
    return signs.pop() if len(signs) == 1 and (alone or 1 in signs) else 0


def _is_plain(term: Term) -> bool:
    """Whether a shift moves all entries of an array by the same."""
    return term.view.piece.is_all and not term.view.units


def _by_source(
    terms: list[tuple[Term, float]],
) -> dict[str | None, list[tuple[Term, float]]]:
    """Terms by the array that they take; None for shifts, which take none."""
    sources: dict[str | None, list[tuple[Term, float]]] = {}
    for term, c in terms:
        source = None if term.action == SHIFT else term.view.path
        sources.setdefault(source, []).append((term, c))
    return sources
