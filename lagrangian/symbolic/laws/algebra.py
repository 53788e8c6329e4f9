"""The Lie algebra of generators: their brackets, written in themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from lagrangian.errors import InvalidSymmetry
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.algebra.shown import aligned, shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry

#: Longer lists of brackets are cut where they are printed.
MOST_SHOWN = 20


@dataclass(frozen=True, repr=False)
class LieAlgebra(AtPrompt):
    """Generators X_1, ..., X_n whose brackets are combinations of themselves.

    [X_i, X_j] = sum_k c_ij^k X_k, where a generator is the vector field
    X = sum_q xi_q d/dq + tau d/dt and the bracket that of vector fields,
    [X, Y] f = X(Y f) - Y(X f) (Olver, "Applications of Lie Groups to Differential
    Equations", 1993, 1.4). For X_A = (A q) d/dq it is [X_A, X_B] = X_{BA - AB}.

    Attributes:
        generators: X_1, ..., X_n, linearly independent.
        constants: c_ij^k at [i, j, k] (counted from 0), of shape (n, n, n); numbers, or
            expressions in the parameters.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> plane = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, x - x)
    >>> shifts = [lg.Translation(x), lg.Translation(y)]
    >>> euclidean = lg.LieAlgebra.of([*shifts, lg.Rotation(x, y)])
    >>> print(euclidean)
    LieAlgebra of 3 generators
      X1 = translation(x), X2 = translation(y), X3 = rotation(x, y)
      [X1, X3] = X2
      [X2, X3] = -X1
    >>> euclidean.constants[0, 2, 1], euclidean.is_abelian
    (1, False)
    """

    generators: tuple[Symmetry, ...]
    constants: Any

    @classmethod
    def of(cls, generators: Sequence[Symmetry]) -> LieAlgebra:
        """The algebra of generators that move scalar coordinates and time.

        Args:
            generators: linearly independent, of scalar coordinates and time.

        Returns:
            A `LieAlgebra`.

        Raises:
            InvalidSymmetry: the motion of one contains velocities (their bracket is
                defined along solutions alone, and its constants may be functions of
                conserved quantities), is no polynomial, or moves a block or a field;
                one is a combination of the others; or a bracket is none of them.
        """
        generators = tuple(generators)
        fields = [_field(generator) for generator in generators]
        variables = _variables(fields)
        n = len(generators)
        pairs = list(combinations(range(n), 2))
        brackets = [_bracket(fields[i], fields[j]) for i, j in pairs]
        found = _in_terms_of(fields, brackets, variables)
        constants = sp.MutableDenseNDimArray.zeros(n, n, n)
        for (i, j), combination in zip(pairs, found, strict=True):
            if combination is None:
                said = f"[{generators[i]!r}, {generators[j]!r}]"
                raise InvalidSymmetry(
                    f"{said} is no combination of these {n} generators, so that they "
                    "are not closed. Add it, or look for symmetries of a higher degree."
                )
            for k, c in enumerate(combination):
                constants[i, j, k], constants[j, i, k] = c, -c
        return cls(generators, sp.ImmutableDenseNDimArray(constants))

    @property
    def is_abelian(self) -> bool:
        """Whether all brackets vanish."""
        return all(c == 0 for c in sp.flatten(self.constants))

    def brackets(self) -> Iterator[tuple[int, int, dict[int, Any]]]:
        """(i, j, {k: c_ij^k}) of each pair i < j whose bracket does not vanish."""
        n = len(self.generators)
        for i, j in combinations(range(n), 2):
            row = {k: self.constants[i, j, k] for k in range(n)}
            if parts := {k: c for k, c in row.items() if c != 0}:
                yield i, j, parts

    _next = "`.constants[i, j, k]`, `.brackets()`, `.is_abelian`, `.generators`"

    def __str__(self) -> str:
        n = len(self.generators)
        head = f"LieAlgebra of {n} generator{'s' if n != 1 else ''}"
        names = [f"X{i + 1} = {x!r}" for i, x in enumerate(self.generators)]
        cut = [*names[: MOST_SHOWN - 1], "..."] if n > MOST_SHOWN else names
        rows = [
            f"[X{i + 1}, X{j + 1}] = {shown(_sum(parts, 'X{}'))}"
            for i, j, parts in self.brackets()
        ]
        if len(rows) > MOST_SHOWN:
            left = len(rows) - MOST_SHOWN + 1
            rows = [*rows[: MOST_SHOWN - 1], f"... and {left} more"]
        lines = [", ".join(cut), *(rows or ["all brackets vanish"])]
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def _repr_latex_(self) -> str:
        rows = [
            rf"&[X_{{{i + 1}}}, X_{{{j + 1}}}] = {shown_latex(_sum(parts, 'X_{}'))}"
            for i, j, parts in self.brackets()
        ]
        if len(rows) > MOST_SHOWN:
            rows = [*rows[: MOST_SHOWN - 1], r"&\vdots"]
        return aligned(rows or [r"&[X_i, X_j] = 0"])


#: How time and each coordinate move; without those that rest.
_Field = dict[Any, Any]


def _field(generator: Symmetry) -> _Field:
    motion = {q: d for q, d in generator.xi.items() if d != 0} | generator.shifts
    if generator.blocks or any(
        not isinstance(d, sp.Expr) or not d.is_scalar for d in motion.values()
    ):
        raise InvalidSymmetry(
            f"{generator!r} moves blocks or fields; `LieAlgebra` takes generators of "
            "scalar coordinates and time. Pass those alone."
        )
    if any(symbol.order for d in motion.values() for symbol in jets(d)):
        raise InvalidSymmetry(
            f"{generator!r} contains velocities: its brackets are defined along "
            "solutions alone, and may be multiples by conserved quantities. Take the "
            "generators that move coordinates and time, as `lg.find_symmetries(L)` "
            "finds them without `velocities`."
        )
    return motion


def _variables(fields: Sequence[_Field]) -> list[Any]:
    moved = {q for field in fields for q in field}
    found = {s for f in fields for d in f.values() for s in jets(d)}
    return sorted(moved | found | {time}, key=str)


def _bracket(first: _Field, second: _Field) -> _Field:
    """X(Y) - Y(X), component by component."""
    result = {}
    for q in {**first, **second}:
        forward = _along(first, second.get(q, sp.S.Zero))
        backward = _along(second, first.get(q, sp.S.Zero))
        result[q] = sp.expand(forward - backward)
    return {q: d for q, d in result.items() if d != 0}


def _along(field: _Field, expression: Any) -> Any:
    """The derivative of an expression along a vector field."""
    return sp.Add(*(d * sp.diff(expression, q) for q, d in field.items()))


def _in_terms_of(
    fields: Sequence[_Field], brackets: Sequence[_Field], variables: list[Any]
) -> list[list[Any] | None]:
    """The coefficients of each bracket, or None where it is no combination.

    Raises:
        InvalidSymmetry: the fields are linearly dependent.
    """
    n = len(fields)
    columns = [_coefficients(field, variables) for field in [*fields, *brackets]]
    keys = list({key: None for column in columns for key in column})
    if not keys:
        if n:
            raise InvalidSymmetry(
                "a generator that moves nothing is no basis. Leave it out."
            )
        return []
    table = sp.Matrix([[column.get(k, 0) for column in columns] for k in keys])
    reduced, pivots = DomainMatrix.from_Matrix(table).to_field().rref()
    if pivots[:n] != tuple(range(n)):
        free = next(i for i in range(n) if i >= len(pivots) or pivots[i] != i)
        raise InvalidSymmetry(
            f"generator number {free + 1} is a combination of those before it. Leave "
            "it out."
        )
    solved = reduced.to_Matrix()
    return [
        None
        if any(solved[row, n + b] != 0 for row in range(n, solved.rows))
        or n + b in pivots
        else [sp.factor(solved[k, n + b]) for k in range(n)]
        for b in range(len(brackets))
    ]


def _coefficients(field: _Field, variables: list[Any]) -> dict[Any, Any]:
    """By component and monomial of coordinates and time.

    Raises:
        InvalidSymmetry: a motion is no polynomial, of which relations may be unknown.
    """
    found = {}
    for q, motion in field.items():
        if not motion.is_polynomial(*variables):
            raise InvalidSymmetry(
                f"`{q}` moves by `{shown(motion)}`, which is no polynomial in "
                "coordinates and time: `LieAlgebra` would not know its relations to "
                "others. Choose coordinates in which it is one."
            )
        for powers, c in sp.Poly(motion, *variables).terms():
            found[q, powers] = c
    return found


def _sum(parts: dict[int, Any], name: str) -> Any:
    return sp.Add(*(c * sp.Symbol(name.format(k + 1)) for k, c in parts.items()))
