"""Whether the generators of a function ring have no relations but the known ones."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from lagrangian.symbolic.exact.generators import Generators


def are_independent(table: Generators, ring: Any) -> bool:
    """Whether roots, signs, logarithms and exponents have no relation but the known.

    Args:
        table: the generators.
        ring: the `FunctionRing` in them, for its normal forms.
    """
    roots: list[tuple[dict[Any, Any], int]] = []
    constants: list[tuple[dict[Any, Any], int]] = []
    signs, logs = [], []
    rates: dict[tuple[bool, bool], list[Any]] = {}
    for atom, g in table.atoms.items():
        if not isinstance(atom, tuple):
            continue
        kind, inside = atom[:2]
        if kind == "root" and g not in table.moving:
            constants.append((_constant_factors(inside), atom[2]))
        elif kind == "root":
            powers = _factors(table, inside)
            if any(p % 2 for p in powers.values()) or atom[2] > 2:
                roots.append((powers, atom[2]))
            elif not _changes_sign(table, powers):
                return False
            else:
                # |p| = sqrt(p^2): the identity has to hold for both signs, which the
                # normal form a + b |p| = 0 says by itself.
                signs.append({f: sp.S(p) / 2 for f, p in powers.items()})
        elif kind == "log" and g in table.moving:
            logs.append(_factors(table, inside))
        elif kind in ("exp", "cos", "tan"):
            rate = ring.from_table(table.convert(inside))
            rates.setdefault((kind == "exp", g in table.moving), []).append(rate)
    checks = [_have_full_rank(logs, sp.QQ), _have_full_rank(signs, sp.GF(2))]
    # Real exponents and real angles do not meet: exp(f) and cos(f) have no relation.
    checks += [
        _are_unrelated(ring, found, moves) for (_, moves), found in rates.items()
    ]
    checks += [_generate_a_field(table, constants), _are_roots(roots)]
    # What is irreducible over the parameters may have factors over an extension: those
    # of different polynomials without roots of constants are different, no others.
    algebraic = {g for g in table.relations if g not in table.moving}
    split = [f for powers in (*logs, *(p for p, _ in roots), *signs) for f in powers]
    checks.append(not any(f.free_symbols & algebraic for f in split))
    return all(checks)


def _are_roots(roots: list[tuple[dict[Any, Any], int]]) -> bool:
    """Whether no product of powers of what they are roots of is such a power itself."""
    return all(
        _have_full_rank([p for p, degree in roots if degree % q == 0], sp.GF(q))
        for q in {q for _, degree in roots for q in sp.primefactors(degree)}
    )


def _generate_a_field(
    table: Generators, roots: list[tuple[dict[Any, Any], int]]
) -> bool:
    """Whether roots of constants generate an extension of their whole degree.

    Square roots do by Kummer's theory. Others do if they are real (Mordell, "On the
    linear independence of algebraic numbers", 1953), so that -1 must not be among
    what they are roots of. Roots inside of roots are not looked at.
    """
    for powers, degree in roots:
        if any(f.free_symbols & table.relations.keys() for f in powers):
            return False
        if degree > 2 and any(-1 in others for others, _ in roots):
            return False
    return _are_roots(roots)


def _constant_factors(polynomial: Any) -> dict[Any, Any]:
    """The powers of the primes, of -1 and of the irreducible factors of a constant."""
    number, factors = sp.factor_list(polynomial)
    powers = {sp.S(p): k for p, k in sp.factorrat(number).items()}
    for factor, power in factors:
        powers[factor] = powers.get(factor, 0) + power
    return powers


def _are_unrelated(ring: Any, rates: list[Any], moving: bool) -> bool:
    """Whether rates are independent over the rationals, modulo constants if moving."""
    one, *rows = map(dict, ring.normal([ring.ring.one, *rates]))
    parameters = {
        tuple(n * (i in ring.constant) for i, n in enumerate(monomial))
        for row in rows
        for monomial in row
        if moving
    }
    constants = [
        {tuple(map(sum, zip(m, n, strict=True))): c for m, c in one.items()}
        for n in parameters
    ]
    return _have_full_rank(constants + rows, sp.QQ)


def _changes_sign(table: Generators, powers: dict[Any, Any]) -> bool:
    """Whether every factor is of odd degree in a variable, and takes both signs."""
    variables = [table.atoms[v] for v in table.variables]
    return all(any(sp.degree(f, v) % 2 for v in variables) for f in powers)


def _factors(table: Generators, value: Any) -> dict[Any, Any]:
    """The powers of the irreducible factors that depend on variables."""
    powers: dict[Any, Any] = {}
    above, below = table.fraction(value)
    for part, sign in ((above, 1), (below, -1)):
        for factor, power in sp.factor_list(part)[1]:
            inner = {factor: 1} if table.depends(factor) else {}
            if factor in table.relations:  # a root counts as a part of its inside
                kind, inside, degree = table.relations[factor]
                if kind == "power" and degree > 1:
                    inner = _factors(table, inside)
                    power = sp.Rational(power, degree)
            for f, p in inner.items():
                powers[f] = powers.get(f, 0) + sign * power * p
    return {f: p for f, p in powers.items() if p}


def _have_full_rank(rows: list[dict[Any, Any]], field: Any) -> bool:
    if not rows:
        return True
    columns = {c: i for i, c in enumerate(dict.fromkeys(c for r in rows for c in r))}
    if any(sp.Rational(p).q > 1 for row in rows for p in row.values()):
        field = sp.QQ
    matrix = sp.zeros(len(rows), max(len(columns), 1))
    for i, row in enumerate(rows):
        for c, value in row.items():
            matrix[i, columns[c]] = value
    return DomainMatrix.from_Matrix(matrix).convert_to(field).rank() == len(rows)
