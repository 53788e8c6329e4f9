"""A found generator as the engine's own `Symmetry`, from which laws are derived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.measure import Evidence
from lagrangian.learning.discover.terms import ABSORB, ANTISYMMETRIC, SHIFT, Term
from lagrangian.symbolic.algebra.blocks import Block, LinearMap, ones
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.symmetry import Symmetry

Function = Callable[[Any], Any]


class DiscoveredSymmetry(Symmetry):
    """A symmetry that `discover` found, with what it rests on.

    Attributes:
        maps: a function for each linear map in its generator, for `train(maps=...)`;
            empty for scales, rescales and plain shifts.
        evidence: the row of the table.
        generator: in coordinates.
    """

    def __init__(
        self,
        xi: Mapping[Any, Any],
        maps: Mapping[LinearMap, Function],
        evidence: Evidence,
        generator: Generator,
    ):
        super().__init__(xi, name=evidence.family)
        self.maps, self.evidence, self.generator = dict(maps), evidence, generator

    def _content(self) -> tuple[Any, ...]:
        return (*super()._content(), frozenset(self.maps.items()))


class Element(ByContent):
    """What one element of a family does to an array: a function that can be pickled.

    Args:
        terms: with their coefficients.
        chosen: the element, a number for each unit or a matrix.
    """

    def __init__(self, terms: tuple[tuple[Term, float], ...], chosen: np.ndarray):
        self.terms, self.chosen = terms, chosen

    def __call__(self, array: Any) -> Any:
        element = self.chosen.astype(array.dtype)
        return sum(c * term.field(array, element) for term, c in self.terms)

    def _content(self) -> tuple[Any, ...]:
        return "element", self.terms, self.chosen.shape, self.chosen.tobytes()


def to_symmetry(
    generator: Generator, evidence: Evidence, number: int
) -> DiscoveredSymmetry:
    """The symmetry of a generator.

    Scales and shifts of whole units become one symmetry with a charge for each unit.
    Where the units of a block are no axis of its array (the groups of a normalisation,
    the pixels of a flattened channel) all units move together. What acts by matrices
    becomes linear maps, for one element drawn at random from the family.

    Args:
        generator: what was found.
        evidence: kept with the symmetry.
        number: makes the names of the linear maps unique, and their elements.
    """
    plain = len({term.path for term, _ in generator.terms}) == len(generator.terms)
    absorbs = any(term.action == ABSORB for term, _ in generator.terms)
    axes = _unit_axes(generator, absorbs, plain)
    maps: dict[LinearMap, Function] = {}
    xi: dict[Any, Any] = {}
    chosen = generator.element(np.random.default_rng(number))
    if absorbs:
        chosen = np.ones(generator.units)
    for path in dict.fromkeys(term.path for term, _ in generator.terms):
        terms = [(t, c) for t, c in generator.terms if t.path == path]
        term, coefficient = terms[0][0], _exact(terms[0][1])
        block = Block(path, unit_axis=axes.get(path))
        if term.action == SHIFT and len(terms) == 1:
            xi[block] = coefficient * ones
        elif plain and not generator.is_matrix and term.action != ABSORB:
            xi[block] = coefficient * block
        else:
            source = Block(term.view.path, unit_axis=axes.get(term.view.path))
            linear_map = LinearMap(f"A{number}_{path}", _parity(term))
            maps[linear_map] = Element(tuple(terms), chosen)
            xi[block] = linear_map(source)
            xi.setdefault(source, 0)
    return DiscoveredSymmetry(xi, maps, evidence, generator)


def _exact(coefficient: float) -> Any:
    """A number with a small denominator as SymPy has it, so that laws read well."""
    near = Fraction(coefficient).limit_denominator(12)
    is_near = abs(near - coefficient) < 1e-12
    return sp.Rational(near.numerator, near.denominator) if is_near else coefficient


def _unit_axes(generator: Generator, absorbs: bool, plain: bool) -> dict[str, int]:
    """For each path the axis of its units, where one axis numbers them in all."""
    heads = len(generator.units) - generator.is_matrix
    whole = any(term.view.split for term, _ in generator.terms)
    if absorbs or whole or not plain or heads == 0:
        return {}
    position = int(np.argmax(generator.units[:heads]))
    return {term.path: term.view.axes[position] for term, _ in generator.terms}


def _parity(term: Term) -> int:
    """Scales and symmetric matrices are self-adjoint; antisymmetric ones turn sign."""
    if term.action == ABSORB:
        return 0
    return -1 if term.action == ANTISYMMETRIC else 1
