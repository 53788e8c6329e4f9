"""Identities between functions as linear equations over the field of the parameters.

An identity that is linear in unknown constants, and must hold for every value of the
variables, splits into linear equations once the functions in it are linearly
independent. `FunctionRing` writes functions as polynomials in generators that are
algebraically independent up to relations with known normal forms:

- exp(a f), for each term f of an exponent (powers with a symbolic exponent too);
- sin and cos, for each term of an angle, with sin^2 = 1 - cos^2;
- the q-th root r of a function p, with r^q = p;
- log p, and any other function as it stands;
- the inverse 1/d of each irreducible denominator d, which is cleared in the end.

The exponentials of functions that are linearly independent over the rationals modulo
constants are algebraically independent over the algebraic functions, and so are
logarithms of multiplicatively independent ones (Ax, "On Schanuel's conjectures",
1971); roots are independent up to r^q = p if no product of powers of the p is a q-th
power (Kummer). So an identity holds if and only if every coefficient of its normal
form vanishes. `FunctionRing.complete` says whether these conditions were checked: if
not, every identity that reduces to zero still holds, but one may hold unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import lcm
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.polys.matrices import DomainMatrix
from sympy.polys.rings import PolyElement, PolyRing

from lagrangian.symbolic.coordinates import time

#: Other functions than the known ones are differentiated this often in advance.
DERIVATIVES = 4

#: The field of the random tests in `null_space`.
PRIME = 2**61 - 1


class FunctionRing:
    """Functions of `variables` as polynomials; all other symbols are parameters.

    Args:
        expressions: what will be written as polynomials, with all derivatives.
        variables: coordinates, their derivatives and time.
    """

    def __init__(self, expressions: Iterable[Any], variables: Sequence[Any]):
        self.variables = tuple(variables)
        self.complete = True
        self._originals: dict[Any, Any] = {}  # generator -> what it stands for
        self._atoms: dict[Any, Any] = {}  # the inverse look-up
        self._relations: dict[Any, tuple[str, Any, int]] = {}  # in order of creation
        self._slopes: dict[Any, dict[Any, Any]] = {}
        self._moving: set[Any] = set()  # the generators that depend on variables
        self._known: dict[Any, Any] = {}
        self._scales: dict[Any, int] = {}  # the common denominator of a term's factors
        self._places: dict[Any, Any] = {}  # the arguments of undefined functions
        expressions = [_exact(e) for e in expressions]
        for _ in range(2):  # the first pass only learns the common denominators
            self._originals.clear(), self._atoms.clear(), self._relations.clear()
            self._slopes.clear(), self._moving.clear(), self._known.clear()
            self.complete = True
            for variable in self.variables:
                self._generator(variable, variable, moves=True)
            for expression in expressions:
                self._rational(expression)
            self._close()
        generators = list(self._originals)
        self.ring = PolyRing(generators, sp.QQ, sp.lex)
        self._index = {g: i for i, g in enumerate(generators)}
        self.constant = [
            i
            for g, i in self._index.items()
            if g not in self._moving and self._originals[g] is not None
        ]
        self.moving = [i for g, i in self._index.items() if g in self._moving]
        parameters = [generators[i] for i in self.constant]
        self.field: Any = sp.QQ.frac_field(*parameters) if parameters else sp.QQ
        self._derivations = {
            v: {
                self._index[g]: slope
                for g, slopes in self._slopes.items()
                if v in slopes and (slope := self.ring.from_expr(slopes[v]))
            }
            for v in self.variables
        }
        self._check_independence()

    # ------------------------------------------------------------ to polynomials

    def polynomial(self, expression: Any) -> PolyElement:
        """`expression` as an element of the ring, not yet in normal form."""
        known = len(self._originals)
        converted = self._rational(_exact(expression))
        if len(self._originals) > known:
            raise KeyError(f"`{expression}` has functions that this ring lacks.")
        return self.ring.from_expr(sp.sympify(converted))

    def _generator(self, atom: Any, stands_for: Any, moves: bool) -> Any:
        if atom not in self._atoms:
            g = sp.Dummy(f"g{len(self._originals)}")
            self._atoms[atom], self._originals[g] = g, stands_for
            self._slopes[g] = {atom: sp.S.One} if atom in self.variables else {}
            if moves:
                self._moving.add(g)
        return self._atoms[atom]

    def _rational(self, e: Any) -> Any:
        """`e` as a polynomial expression in generators."""
        if e not in self._known:
            self._known[e] = self._convert(e)
        return self._known[e]

    def _convert(self, e: Any) -> Any:
        if e in self._atoms:
            return self._atoms[e]
        if e.is_Rational:
            return e
        if e.is_Add or e.is_Mul:
            return e.func(*(self._rational(a) for a in e.args))
        if e.is_Pow:
            return self._power(e.base, e.exp)
        if isinstance(e, sp.exp):
            return self._power(sp.E, e.exp)
        if isinstance(e, sp.sin | sp.cos):
            return self._angle(e.args[0])[isinstance(e, sp.sin)]
        if isinstance(e, sp.Abs):
            return self._root(sp.expand(self._rational(e.args[0]) ** 2), 2, e)
        if isinstance(e, sp.log):
            inside = sp.expand(self._rational(e.args[0]))
            g = self._generator(("log", inside), e, self._depends(inside))
            return self._chain(g, inside, self._inverse(inside))
        if e.is_Symbol:
            return self._parameter(e, 1)
        moves = bool(e.free_symbols & set(self.variables))
        if not moves:  # pi, gamma(a), ...
            self.complete &= e.is_NumberSymbol
        elif isinstance(e, AppliedUndef):
            # At one place any function is free, with all its derivatives.
            self.complete &= self._places.setdefault(e.func, e.args) == e.args
        elif not isinstance(e, sp.Derivative | sp.Subs):
            self.complete = False  # it may satisfy an equation that nobody told
        return self._generator(e, e, moves)

    def _parameter(self, symbol: Any, power: Any) -> Any:
        """A power of a parameter: of a root of it, where roots of it occur."""
        n, _ = self._multiple(sp.S(power), symbol)
        unit = sp.Pow(symbol, sp.Rational(1, self._scales[symbol]))
        g = self._generator(("parameter", symbol), unit, moves=False)
        return g**n if n > 0 else self._inverse(g) ** -n

    def _power(self, base: Any, exponent: Any) -> Any:
        whole, result = sp.S.Zero, sp.S.One
        for term in sp.Add.make_args(sp.expand(exponent)):
            factor, kind = term.as_coeff_Mul(rational=True)
            if kind == 1 and base != sp.E:
                whole += factor
                continue
            rate = kind if base == sp.E else kind * sp.log(base)
            result *= self._exponential(factor, rate, base)
        if whole == 0:
            return result
        if base.is_Symbol and base not in self.variables:
            return result * self._parameter(base, whole)
        inside = self._rational(base)
        if whole.q > 1:
            steps = whole.p // whole.q
            shown = sp.Pow(base, sp.Rational(1, whole.q))
            root = self._root(sp.expand(inside), whole.q, shown)
            result *= root ** (whole.p - steps * whole.q)
            whole = sp.Integer(steps)
        if whole < 0:
            inside, whole = self._inverse(inside), -whole
        return result * inside**whole

    def _multiple(self, factor: Any, term: Any) -> tuple[int, Any]:
        """factor*term = n*unit, with one unit for all factors of this term."""
        scale = self._scales[term] = lcm(self._scales.get(term, 1), int(factor.q))
        return int(factor * scale), term / scale

    def _exponential(self, factor: Any, term: Any, base: Any) -> Any:
        n, unit = self._multiple(factor, term)
        inside = self._rational(unit)
        shown = sp.exp(unit) if base == sp.E else sp.Pow(base, unit / sp.log(base))
        g = self._generator(("exp", unit), shown, self._depends(inside))
        self._chain(g, inside, g)
        return g**n if n >= 0 else self._inverse(g) ** -n

    def _angle(self, argument: Any) -> tuple[Any, Any]:
        """The cosine and sine, by the addition theorems."""
        cosine, sine = sp.S.One, sp.S.Zero
        for term in sp.Add.make_args(sp.expand(argument)):
            n, unit = self._multiple(*term.as_coeff_Mul(rational=True))
            inside = self._rational(unit)
            if self._depends(inside):
                c = self._generator(("cos", unit), sp.cos(unit), moves=True)
                s = self._generator(("sin", unit), sp.sin(unit), moves=True)
                self._relations[s] = ("power", 1 - c**2, 2)
                self._chain(c, inside, -s)
                self._chain(s, inside, c)
            else:  # a constant phase: by its half, the field stays one of fractions
                half = self._generator(("tan", unit), sp.tan(unit / 2), moves=False)
                below = self._inverse(1 + half**2)
                c, s = (1 - half**2) * below, 2 * half * below
            if n < 0:
                n, s = -n, -s
            for _ in range(n):
                cosine, sine = cosine * c - sine * s, sine * c + cosine * s
        return cosine, sine

    def _root(self, inside: Any, degree: int, stands_for: Any) -> Any:
        moves = self._depends(inside)
        g = self._generator(("root", inside, degree), stands_for, moves)
        if not moves:
            self.complete = False  # an algebraic constant: its relation is not used
            return g
        if g not in self._relations:
            self._relations[g] = ("power", inside, degree)
        return self._chain(g, inside, g * self._inverse(inside) / degree)

    def _inverse(self, value: Any) -> Any:
        """1/value, by a generator for the inverse of each irreducible factor."""
        above, below = self._fraction(value)
        number, factors = sp.factor_list(above)
        result = below / number
        for factor, power in factors:
            if ("inverse", -factor) in self._atoms:
                factor, result = -factor, result * (-1) ** power
            w = self._generator(("inverse", factor), None, self._depends(factor))
            self._relations[w] = ("inverse", factor, 1)
            self._chain(w, factor, -(w**2))
            result *= w**power
        return result

    def _fraction(self, value: Any) -> tuple[Any, Any]:
        inverses = {
            w: 1 / d for w, (kind, d, _) in self._relations.items() if kind == "inverse"
        }
        return sp.fraction(sp.together(sp.sympify(value).xreplace(inverses)))

    def _chain(self, g: Any, inside: Any, slope: Any) -> Any:
        """Sets the derivatives of g, a function of `inside`, by the chain rule."""
        if not self._slopes[g]:
            self._slopes[g] = {
                v: slope * change
                for v in self.variables
                if (change := self._derivative(inside, v)) != 0
            }
        return g

    def _derivative(self, value: Any, variable: Any) -> Any:
        return sp.Add(
            *(
                value.diff(g) * self._slopes[g][variable]
                for g in value.free_symbols
                if variable in self._slopes[g]
            )
        )

    def _depends(self, value: Any) -> bool:
        return bool(value.free_symbols & self._moving)

    def _close(self) -> None:
        """The derivatives of functions that only SymPy knows how to differentiate."""
        done: set[Any] = set()
        for _ in range(DERIVATIVES):
            others = [
                (atom, g)
                for atom, g in self._atoms.items()
                if isinstance(atom, sp.Expr) and not atom.is_Symbol and g not in done
            ]
            for atom, g in others:
                done.add(g)
                self._slopes[g] = {
                    v: self._rational(_exact(atom.diff(v)))
                    for v in self.variables
                    if v in atom.free_symbols
                }

    def _check_independence(self) -> None:
        """Whether roots, logarithms and exponents have no relation but the known."""
        roots: list[tuple[dict[Any, Any], int]] = []
        logs, rates = [], [self.ring.one]
        for atom, g in self._atoms.items():
            if not isinstance(atom, tuple):
                continue
            kind, inside = atom[:2]
            if kind == "root" and g in self._relations:
                powers = self._factors(inside)
                # |p| = sqrt(p^2): the identity has to hold for both signs, which the
                # normal form a + b |p| = 0 says by itself.
                if any(p % 2 for p in powers.values()) or atom[2] > 2:
                    roots.append((powers, atom[2]))
            elif kind == "log" and g in self._moving:
                logs.append(self._factors(inside))
            elif kind in ("exp", "cos") and g in self._moving:
                rates.append(self.ring.from_expr(self._rational(inside)))
        # Exponents and angles must be independent over the rationals, modulo constants.
        one, *rates = map(dict, self.normal(rates))
        parameters = {
            tuple(n * (i in self.constant) for i, n in enumerate(monomial))
            for rate in rates
            for monomial in rate
        }
        constants = [
            {tuple(map(sum, zip(m, n, strict=True))): c for m, c in one.items()}
            for n in parameters
        ]
        self.complete &= _independent(constants + rates, sp.QQ)
        for prime in {p for _, degree in roots for p in sp.primefactors(degree)}:
            rows = [powers for powers, degree in roots if degree % prime == 0]
            self.complete &= _independent(rows, sp.GF(prime))
        self.complete &= _independent(logs, sp.QQ)

    def _factors(self, value: Any) -> dict[Any, Any]:
        """The powers of the irreducible factors that depend on variables."""
        powers: dict[Any, Any] = {}
        above, below = self._fraction(value)
        for part, sign in ((above, 1), (below, -1)):
            for factor, power in sp.factor_list(part)[1]:
                inner = {factor: 1} if self._depends(factor) else {}
                if factor in self._relations:  # a root counts as a part of its inside
                    _, inside, degree = self._relations[factor]
                    if self._relations[factor][0] == "power" and degree > 1:
                        inner = self._factors(inside)
                        power = sp.Rational(power, degree)
                for f, p in inner.items():
                    powers[f] = powers.get(f, 0) + sign * power * p
        return {f: p for f, p in powers.items() if p}

    # ------------------------------------------------------------ with polynomials

    def derivative(self, p: PolyElement, variable: Any) -> PolyElement:
        """The partial derivative by a variable, through all functions of it."""
        result = self.ring.zero
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
        return self._index[self._atoms[variable]]

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
        for kind, expression, _ in self._relations.values():
            if kind == "inverse":
                inside |= expression.free_symbols
        for g in sorted(self._relations, key=lambda g: -self._index[g]):
            kind, expression, _ = self._relations[g]
            if g in inside and kind == "power":
                inside |= expression.free_symbols
        inverses = {w for w, r in self._relations.items() if r[0] == "inverse"}
        skip = inside | inverses | {self._atoms[v] for v in self.variables}
        return [i for g, i in self._index.items() if g in self._moving - skip]

    def _eliminate(
        self, polynomials: list[PolyElement], kinds: tuple[str, ...]
    ) -> list[PolyElement]:
        """Applies relations; for inverses, this multiplies by what they invert."""
        # A relation only speaks of generators made before its own.
        for g in sorted(self._relations, key=lambda g: -self._index[g]):
            kind, expression, degree = self._relations[g]
            i = self._index[g]
            most = max((m[i] for p in polynomials for m in p), default=0)
            if kind not in kinds or most < degree:
                continue
            powers = [self.ring.one]
            for _ in range(most // degree):
                powers.append(powers[-1] * self.ring.from_expr(sp.sympify(expression)))
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

    def split(self, p: PolyElement) -> dict[tuple, PolyElement]:
        """The coefficients, polynomials in the parameters, by monomials in the rest."""
        parts: dict[tuple, Any] = {}
        ring = self.field.field.ring if self.constant else None
        for monomial, number in p.items():
            key = tuple(monomial[i] for i in self.moving)
            if ring is None:
                parts[key] = number
            else:
                part = parts.setdefault(key, ring.zero)
                part[tuple(monomial[i] for i in self.constant)] = number
        return parts

    def expression(self, p: PolyElement) -> Any:
        """Back from the ring."""
        values = {g: e for g, e in self._originals.items() if e is not None}
        for w, (kind, d, _) in self._relations.items():
            if kind == "inverse":
                values[w] = 1 / d.xreplace(values)
        return p.as_expr().xreplace(values)

    def value(self, element: Any) -> Any:
        """An element of the field of the parameters as an expression."""
        return self.field.to_sympy(element).xreplace(
            {g: e for g, e in self._originals.items() if e is not None}
        )


#: Functions that are written by others.
REWRITTEN: dict[Any, Callable[[Any], Any]] = {
    sp.tan: lambda a: sp.sin(a) / sp.cos(a),
    sp.cot: lambda a: sp.cos(a) / sp.sin(a),
    sp.sec: lambda a: 1 / sp.cos(a),
    sp.csc: lambda a: 1 / sp.sin(a),
    sp.sinh: lambda a: (sp.exp(a) - sp.exp(-a)) / 2,
    sp.cosh: lambda a: (sp.exp(a) + sp.exp(-a)) / 2,
    sp.tanh: lambda a: 1 - 2 / (sp.exp(2 * a) + 1),
    sp.coth: lambda a: 1 + 2 / (sp.exp(2 * a) - 1),
    sp.sech: lambda a: 2 * sp.exp(a) / (sp.exp(2 * a) + 1),
    sp.csch: lambda a: 2 * sp.exp(a) / (sp.exp(2 * a) - 1),
    sp.sign: lambda a: a / sp.Abs(a),
}


def vanishes(expression: Any, variables: Sequence[Any]) -> bool:
    """Whether an expression reduces to zero, which proves that it is zero."""
    ring = FunctionRing([expression], variables)
    return not ring.normal([ring.polynomial(expression)])[0]


def _exact(expression: Any) -> Any:
    """Fractions for floats, and only functions that the ring knows where possible."""
    expression = sp.sympify(expression)
    if expression.has(sp.Float):
        expression = sp.nsimplify(expression, rational=True)
    for old, new in REWRITTEN.items():
        if expression.has(old):
            expression = expression.replace(old, new)
    return expression


def _independent(rows: list[dict[Any, Any]], field: Any) -> bool:
    columns = {c: i for i, c in enumerate(dict.fromkeys(c for r in rows for c in r))}
    if len(rows) < 2:
        return all(rows)
    if any(sp.Rational(p).q > 1 for row in rows for p in row.values()):
        field = sp.QQ
    matrix = sp.zeros(len(rows), max(len(columns), 1))
    for i, row in enumerate(rows):
        for c, value in row.items():
            matrix[i, columns[c]] = value
    return DomainMatrix.from_Matrix(matrix).convert_to(field).rank() == len(rows)
