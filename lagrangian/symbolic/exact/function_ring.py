"""Identities between functions as linear equations over the field of the parameters.

An identity that is linear in unknown constants, and must hold for every value of the
variables, splits into linear equations once the functions in it are linearly
independent. `FunctionRing` writes functions as polynomials in generators that are
algebraically independent up to relations with known normal forms:

- exp(a f), for each term f of an exponent (powers with a symbolic exponent too);
- sin and cos, for each term of an angle, with sin^2 = 1 - cos^2;
- the q-th root r of a function or constant p, with r^q = p;
- log |p| of each irreducible factor p, and any other function as it stands;
- the inverse 1/d of each irreducible denominator d, which is cleared in the end.

The exponentials of functions that are linearly independent over the rationals modulo
constants are algebraically independent over the algebraic functions, and so are
logarithms of multiplicatively independent ones (Ax, "On Schanuel's conjectures",
1971); roots are independent up to r^q = p if no product of powers of the p is a q-th
power (Kummer). Roots of constants generate an algebraic extension of the field of the
parameters: an unknown constant is a combination of its basis, so that linear equations
over the extension are such over the field, in more unknowns.

So an identity holds if and only if every coefficient of its normal form vanishes.
`FunctionRing.complete` says whether these conditions were checked: if not, every
identity that reduces to zero still holds, but one may hold unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import sympy as sp
from sympy.polys.rings import PolyElement, PolyRing

from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.exact.generators import Generators, OutsideRing
from lagrangian.symbolic.exact.independence import are_independent

#: Roots of constants that generate a larger extension are left without relations.
LARGEST_EXTENSION = 8


class FunctionRing:
    """Functions of `variables` as polynomials; all other symbols are parameters.

    Args:
        expressions: what will be written as polynomials, with all derivatives.
        variables: coordinates, their derivatives and time.
    """

    def __init__(self, expressions: Iterable[Any], variables: Sequence[Any]):
        self.variables = tuple(variables)
        table = self._table = Generators(expressions, variables)
        generators = list(table.originals)
        self.ring = PolyRing(generators, sp.QQ, sp.lex)
        self._index = {g: i for i, g in enumerate(generators)}
        powers = {
            g: d for g, (kind, _, d) in table.relations.items() if kind == "power"
        }
        roots = {i: powers[g] for g, i in self._index.items() if g in powers}
        roots = {i: d for i, d in roots.items() if generators[i] not in table.moving}
        is_small = prod(roots.values()) <= LARGEST_EXTENSION
        self.roots = roots if is_small else {}
        self.constant = [
            i
            for g, i in self._index.items()
            if i not in self.roots
            and g not in table.moving
            and table.originals[g] is not None
        ]
        self.moving = [i for g, i in self._index.items() if g in table.moving]
        parameters = [generators[i] for i in self.constant]
        self.field: Any = sp.QQ.frac_field(*parameters) if parameters else sp.QQ
        self._open = [self._index[g] for g in table.open]
        self._derivations = {
            v: {
                self._index[g]: slope
                for g, slopes in table.slopes.items()
                if v in slopes and (slope := self.from_table(slopes[v]))
            }
            for v in self.variables
        }
        self.complete = is_small and table.complete and are_independent(table, self)

    def polynomial(self, expression: Any) -> PolyElement:
        """`expression` as an element of the ring, not yet in normal form."""
        return self.from_table(self._table.convert(expression))

    def from_table(self, expression: Any) -> PolyElement:
        """A polynomial expression in the generators as an element of the ring."""
        return self.ring.from_expr(sp.sympify(expression))

    def derivative(self, p: PolyElement, variable: Any) -> PolyElement:
        """The partial derivative by a variable, through all functions of it."""
        result = self.ring.zero
        for i in self._open:
            if any(monomial[i] for monomial in p):
                raise OutsideRing(
                    f"`{self.expression(p)}` is differentiated too often."
                )
        for i, slope in self._derivations[variable].items():
            change = p.diff(self.ring.gens[i])
            if change:
                result += change * slope
        return result

    def total_derivative(self, p: PolyElement) -> PolyElement:
        """d/dt, along jets that the ring must have among its variables."""
        result = self.ring.zero
        for v in self.variables:
            slope = self.derivative(p, v)
            if slope:
                result += slope * (1 if v == time else self.generator(v.dot))
        return result

    def depends(self, i: int, variable: Any) -> bool:
        """Whether the generator at this position depends on a variable."""
        return i in self._derivations[variable]

    def place(self, variable: Any) -> int:
        """The position of a variable among the generators."""
        if variable not in self._table.atoms:
            raise OutsideRing(f"`{variable}` is no variable of this ring.")
        return self._index[self._table.atoms[variable]]

    def generator(self, variable: Any) -> PolyElement:
        return self.ring.gens[self.place(variable)]

    def normal(self, polynomials: Sequence[PolyElement]) -> list[PolyElement]:
        """Normal forms: no inverses, and no powers that a relation lowers.

        Parts that differ in generators of which no denominator speaks are linearly
        independent over the rest, so each of them is cleared of denominators for
        itself, by a factor that all the polynomials share. Monomials in the variables
        may be multiplied in afterwards.
        """
        lowered = self._eliminate(list(polynomials), ("power",))
        groups: dict[tuple[int, ...], list[PolyElement]] = {}
        apart = self._apart()
        for at, p in enumerate(lowered):
            for monomial, number in p.items():
                key = tuple(monomial[i] for i in apart)
                if key not in groups:
                    groups[key] = [self.ring.zero for _ in lowered]
                groups[key][at][monomial] = number
        result = [self.ring.zero for _ in lowered]
        for parts in groups.values():
            cleared = self._eliminate(parts, ("power", "inverse"))
            for at, part in enumerate(cleared):
                result[at] += part
        return result

    def _apart(self) -> list[int]:
        """The functions that no denominator, and no relation of one, contains."""
        inside: set[Any] = set()
        for kind, expression, _ in self._table.relations.values():
            if kind == "inverse":
                inside |= expression.free_symbols
        for g in sorted(self._table.relations, key=lambda g: -self._index[g]):
            kind, expression, _ = self._table.relations[g]
            if g in inside and kind == "power":
                inside |= expression.free_symbols
        inverses = {w for w, r in self._table.relations.items() if r[0] == "inverse"}
        skip = inside | inverses | {self._table.atoms[v] for v in self.variables}
        return [i for g, i in self._index.items() if g in self._table.moving - skip]

    def _eliminate(
        self, polynomials: list[PolyElement], kinds: tuple[str, ...]
    ) -> list[PolyElement]:
        """Applies relations; for inverses, this multiplies by what they invert."""
        # A relation only speaks of generators made before its own.
        for g in sorted(self._table.relations, key=lambda g: -self._index[g]):
            kind, expression, degree = self._table.relations[g]
            i = self._index[g]
            most = max((m[i] for p in polynomials for m in p), default=0)
            if kind not in kinds or most < degree:
                continue
            powers = [self.ring.one]
            for _ in range(most // degree):
                powers.append(powers[-1] * self.from_table(expression))
            for at, p in enumerate(polynomials):
                parts: dict[int, PolyElement] = {}
                for monomial, number in p.items():
                    n, rest = divmod(monomial[i], degree)
                    key = most - n if kind == "inverse" else n
                    plain = (*monomial[:i], rest, *monomial[i + 1 :])
                    parts.setdefault(key, self.ring.zero)[plain] = number
                polynomials[at] = sum(
                    (part * powers[key] for key, part in parts.items()), self.ring.zero
                )
        return polynomials

    @cached_property
    def basis(self) -> list[tuple[int, ...]]:
        """The monomials in the roots of constants, a basis over the field; 1 first."""
        zero = [0] * self.ring.ngens
        monomials = []
        for powers in product(*(range(degree) for degree in self.roots.values())):
            monomial = list(zero)
            for i, power in zip(self.roots, powers, strict=True):
                monomial[i] = power
            monomials.append(tuple(monomial))
        return monomials

    def multiples(self, p: PolyElement) -> list[PolyElement]:
        """Its products with the basis, in normal form if it is."""
        if len(self.basis) == 1:
            return [p]
        return self._eliminate([p.mul_monom(m) for m in self.basis], ("power",))

    def split(self, p: PolyElement) -> dict[tuple, PolyElement]:
        """The coefficients, polynomials in the parameters, by monomials in the rest."""
        parts: dict[tuple, Any] = {}
        ring = self.field.field.ring if self.constant else None
        apart = [*self.moving, *self.roots]
        for monomial, number in p.items():
            key = tuple(monomial[i] for i in apart)
            if ring is None:
                parts[key] = number
            else:
                part = parts.setdefault(key, ring.zero)
                part[tuple(monomial[i] for i in self.constant)] = number
        return parts

    def expression(self, p: PolyElement) -> Any:
        """Back from the ring."""
        return self._table.shown(p.as_expr())

    def values(self, solution: Mapping[int, Any]) -> dict[int, Any]:
        """The unknowns of a `linear_system` that are not zero, as expressions."""
        found: dict[int, Any] = {}
        for place, element in solution.items():
            unknown, at = divmod(place, len(self.basis))
            root = self.ring.term_new(self.basis[at], 1).as_expr()
            part = self._table.shown(self.field.to_sympy(element) * root)
            found[unknown] = found.get(unknown, sp.S.Zero) + part
        return found

    def leading(self, solutions: Iterable[Mapping[int, Any]]) -> list[Any]:
        """Of solutions and their multiples, in echelon form, one that begins with 1."""
        return [s for s in solutions if min(s) % len(self.basis) == 0]


def vanishes(expression: Any, variables: Sequence[Any]) -> bool:
    """Whether an expression reduces to zero, which proves that it is zero."""
    ring = FunctionRing([expression], variables)
    return not ring.normal([ring.polynomial(expression)])[0]
