"""Functions as polynomial expressions in generators, with their derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import lcm
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.trigonometric import TrigonometricFunction

from lagrangian.symbolic.exact.rewritten import exact

#: Other functions than the known ones are differentiated this often in advance.
DERIVATIVES = 4

#: The sine of a higher multiple of an angle is not written by that of the angle.
MOST_MULTIPLES = 60


class OutsideRing(LookupError):
    """A function is needed that a ring lacks, so that the ring cannot say."""


class Generators:
    """The table of generators that some expressions need, grown as they are converted.

    Attributes:
        variables: what all functions are functions of.
        originals: what each generator stands for, in order of creation; None for an
            inverse.
        atoms: the generator of each atom: of a variable, parameter or other function as
            it stands, and of (kind, what it is of, ...) for the functions known here.
        relations: for some generators (kind, expression, degree): its power of that
            degree is the expression ("power"), or it is the inverse of it ("inverse").
            A relation only speaks of generators made before its own.
        slopes: the derivatives of each generator by variable.
        moving: the generators that depend on variables.
        open: those of them whose derivatives are not known.
        complete: whether every constant and function could be given its relations.
    """

    def __init__(self, expressions: Iterable[Any], variables: Sequence[Any]):
        self.variables = tuple(variables)
        self._degrees: dict[Any, int] = {}  # the common denominator of a base's powers
        self._units: dict[Any, Any] = {}  # the common divisor of a term's factors
        self._places: dict[Any, Any] = {}  # the arguments of undefined functions
        expressions = [exact(e) for e in expressions]
        for _ in range(2):  # the first pass only learns the common denominators
            self.complete = True
            self.originals: dict[Any, Any] = {}
            self.atoms: dict[Any, Any] = {}
            self.relations: dict[Any, tuple[str, Any, int]] = {}
            self.slopes: dict[Any, dict[Any, Any]] = {}
            self.moving: set[Any] = set()
            self.open: set[Any] = set()
            self._names: dict[Any, Any] = {}  # generator -> its atom
            self._known: dict[Any, Any] = {}
            for variable in self.variables:
                self._generator(variable, variable, moves=True)
            for expression in expressions:
                self._rational(expression)
            self._close()

    def convert(self, expression: Any) -> Any:
        """A polynomial expression in the generators.

        Raises:
            OutsideRing: it needs a generator that the table lacks.
        """
        known = len(self.originals)
        converted = self._rational(exact(expression))
        if len(self.originals) > known:
            raise OutsideRing(f"`{expression}` has functions that this ring lacks.")
        return sp.sympify(converted)

    def _generator(self, atom: Any, stands_for: Any, moves: bool) -> Any:
        if atom not in self.atoms:
            g = sp.Dummy(f"g{len(self.originals)}")
            self.atoms[atom], self.originals[g] = g, stands_for
            self._names[g] = atom
            self.slopes[g] = {atom: sp.S.One} if atom in self.variables else {}
            if moves:
                self.moving.add(g)
        return self.atoms[atom]

    def _rational(self, e: Any) -> Any:
        """`e` as a polynomial expression in generators."""
        if e not in self._known:
            self._known[e] = self._convert(e)
        return self._known[e]

    def _convert(self, e: Any) -> Any:
        if e in self.atoms:
            return self.atoms[e]
        if e.is_Rational:
            return e
        if e is sp.I:
            return self._root(sp.S.NegativeOne, 2, e)
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
            return self._logarithm(self._rational(e.args[0]), e)
        if e is sp.E:
            return self._power(e, sp.S.One)
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
        n, degree = self._steps(sp.S(power), symbol)
        unit = sp.Pow(symbol, sp.Rational(1, degree))
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
        if whole.q > 1 and base.is_Rational and base > 0:
            return result * self._radical(base, whole)
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

    def _radical(self, number: Any, power: Any) -> Any:
        """A power of a positive number, by one root of each prime in it."""
        result = sp.S.One
        for prime, times in sp.factorrat(number).items():
            base = sp.Integer(prime)
            n, degree = self._steps(times * power, base)
            if degree == 1:
                result *= base**n
                continue
            shown = sp.Pow(base, sp.Rational(1, degree))
            g = self._generator(("root", base, degree), shown, moves=False)
            self.relations[g] = ("power", base, degree)
            whole, rest = divmod(n, degree)
            result *= base**whole * g**rest
        return result

    def _steps(self, power: Any, base: Any) -> tuple[int, int]:
        """power = n/degree, with one degree for all powers of this base."""
        degree = self._degrees[base] = lcm(self._degrees.get(base, 1), int(power.q))
        return int(power * degree), degree

    def _multiple(self, factor: Any, term: Any) -> tuple[int, Any]:
        """factor*term = n*unit, with one unit for all factors of this term."""
        unit = self._units[term] = sp.gcd(self._units.get(term, sp.S.Zero), factor)
        return int(factor / unit), unit * term

    def _exponential(self, factor: Any, term: Any, base: Any) -> Any:
        n, unit = self._multiple(factor, term)
        inside = self._rational(unit)
        shown = sp.exp(unit) if base == sp.E else sp.Pow(base, unit / sp.log(base))
        g = self._generator(("exp", unit), shown, self.depends(inside))
        self._chain(g, inside, g)
        return g**n if n >= 0 else self._inverse(g) ** -n

    def _logarithm(self, inside: Any, shown: Any = None) -> Any:
        """By the logarithms of the absolute values of irreducible factors."""
        inside = sp.expand(inside)
        parts: list[tuple[Any, Any]] = []
        for part, sign in zip(self.fraction(inside), (1, -1), strict=True):
            number, factors = sp.factor_list(part)
            parts += [(factor, sign * power) for factor, power in factors]
            primes = sp.factorrat(abs(number))
            parts += [(sp.Integer(p), sign * power) for p, power in primes.items()]
        result = sp.S.Zero
        for factor, power in parts:
            atom: Any = self._names.get(factor, ())
            kind = atom[0] if isinstance(atom, tuple) and atom else ""
            if kind == "exp":
                result += power * self._rational(atom[1])
            elif kind == "root" and factor in self.relations:
                result += power * self._logarithm(atom[1]) / atom[2]
            else:
                if ("log", -factor) in self.atoms:
                    factor = -factor
                alone = shown is not None and factor == inside
                text = shown if alone else sp.log(sp.Abs(self.shown(factor)))
                g = self._generator(("log", factor), text, self.depends(factor))
                if factor.free_symbols:
                    self._chain(g, factor, self._inverse(factor))
                result += power * g
        return result

    def _angle(self, argument: Any) -> tuple[Any, Any]:
        """The cosine and sine, by the addition theorems."""
        cosine, sine = sp.S.One, sp.S.Zero
        for term in sp.Add.make_args(sp.expand(argument)):
            n, unit = self._multiple(*term.as_coeff_Mul(rational=True))
            if abs(n) > MOST_MULTIPLES:  # an angle of its own, whose relation is unused
                self.complete = False
                n, unit = 1, term
            inside = self._rational(unit)
            if (term / sp.pi).is_Rational:
                n, c, s = 1, sp.cos(term), sp.sin(term)
                known = not any(value.has(TrigonometricFunction) for value in (c, s))
                if not known:  # algebraic, by equations that are not used
                    self.complete = False
                    c, s = (self._generator(v, v, moves=False) for v in (c, s))
                else:
                    c, s = self._rational(c), self._rational(s)
            elif self.depends(inside):
                c = self._generator(("cos", unit), sp.cos(unit), moves=True)
                s = self._generator(("sin", unit), sp.sin(unit), moves=True)
                self.relations[s] = ("power", 1 - c**2, 2)
                self._chain(c, inside, -s)
                self._chain(s, inside, c)
            else:  # a constant phase: by its half, the field stays one of fractions
                half = self._generator(("tan", unit), sp.tan(unit / 2), moves=False)
                below = self._inverse(1 + half**2)
                c, s = (1 - half**2) * below, 2 * half * below
            if n < 0:
                n, s = -n, -s
            if n != 1:
                c, s = sp.chebyshevt_poly(n, c), s * sp.chebyshevu_poly(n - 1, c)
            cosine, sine = cosine * c - sine * s, sine * c + cosine * s
        return cosine, sine

    def _root(self, inside: Any, degree: int, stands_for: Any) -> Any:
        if not self.depends(inside):
            return self._constant_root(inside, degree, stands_for)
        g = self._generator(("root", inside, degree), stands_for, moves=True)
        if g not in self.relations:
            self.relations[g] = ("power", inside, degree)
        return self._chain(g, inside, g * self._inverse(inside) / degree)

    def _constant_root(self, inside: Any, degree: int, stands_for: Any) -> Any:
        """By the root of a primitive polynomial: no denominators, no common number."""
        above, below = self.fraction(inside)
        polynomial = sp.expand(above * below ** (degree - 1))
        number, _ = sp.factor_list(polynomial)
        if number == 0:
            return sp.S.Zero
        radical = self._radical(abs(number), sp.Rational(1, degree))
        primitive = sp.expand(polynomial / abs(number))
        if primitive != 1:
            # Where a denominator is negative, the root of the product has another sign.
            shown = (
                sp.Pow(self.shown(primitive), sp.Rational(1, degree))
                if below == 1
                else stands_for * self.shown(below / radical)
            )
            atom = ("root", primitive, degree, below)
            g = self._generator(atom, shown, moves=False)
            self.relations[g] = ("power", primitive, degree)
            radical *= g
        return radical * self._inverse(below)

    def _inverse(self, value: Any) -> Any:
        """1/value, by a generator for the inverse of each irreducible factor."""
        above, below = self.fraction(value)
        number, factors = sp.factor_list(above)
        result = below / number
        for factor, power in factors:
            if ("inverse", -factor) in self.atoms:
                factor, result = -factor, result * (-1) ** power
            w = self._generator(("inverse", factor), None, self.depends(factor))
            self.relations[w] = ("inverse", factor, 1)
            self._chain(w, factor, -(w**2))
            result *= w**power
        return result

    def fraction(self, value: Any) -> tuple[Any, Any]:
        inverses = {
            w: 1 / d for w, (kind, d, _) in self.relations.items() if kind == "inverse"
        }
        return sp.fraction(sp.together(sp.sympify(value).xreplace(inverses)))

    def _chain(self, g: Any, inside: Any, slope: Any) -> Any:
        """Sets the derivatives of g, a function of `inside`, by the chain rule."""
        if not self.slopes[g]:
            self.slopes[g] = {
                v: slope * change
                for v in self.variables
                if (change := self._derivative(inside, v)) != 0
            }
        return g

    def _derivative(self, value: Any, variable: Any) -> Any:
        return sp.Add(
            *(
                value.diff(g) * self.slopes[g][variable]
                for g in value.free_symbols
                if variable in self.slopes[g]
            )
        )

    def depends(self, value: Any) -> bool:
        return bool(value.free_symbols & self.moving)

    def shown(self, value: Any) -> Any:
        """Back from generators to what they stand for."""
        values = {g: e for g, e in self.originals.items() if e is not None}
        for w, (kind, d, _) in self.relations.items():
            if kind == "inverse":
                values[w] = 1 / d.xreplace(values)
        return value.xreplace(values)

    def _close(self) -> None:
        """The derivatives of functions that only SymPy knows how to differentiate."""
        done: set[Any] = set()
        for level in range(DERIVATIVES + 1):
            others = [
                (atom, g)
                for atom, g in self.atoms.items()
                if isinstance(atom, sp.Expr) and not atom.is_Symbol and g not in done
            ]
            if level == DERIVATIVES:
                self.open = {g for _, g in others if g in self.moving}
                return
            for atom, g in others:
                done.add(g)
                self.slopes[g] = {
                    v: self._rational(exact(atom.diff(v)))
                    for v in self.variables
                    if v in atom.free_symbols
                }
