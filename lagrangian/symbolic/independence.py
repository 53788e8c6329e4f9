"""Whether the generators of a function ring have no relations but the known ones."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from lagrangian.symbolic.generators import Generators


def are_independent(table: Generators, ring: Any) -> bool:
    """Whether roots, signs, logarithms and exponents have no relation but the known.

    Args:
        table: the generators.
        ring: the `FunctionRing` in them, for its normal forms.
    """
    roots: list[tuple[dict[Any, Any], int]] = []
    signs, logs = [], []
    rates: dict[tuple[bool, bool], list[Any]] = {}
    for atom, g in table.atoms.items():
        if not isinstance(atom, tuple):
            continue
        kind, inside = atom[:2]
        if kind == "root" and g in table.relations:
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
    for prime in {p for _, degree in roots for p in sp.primefactors(degree)}:
        rows = [powers for powers, degree in roots if degree % prime == 0]
        checks.append(_have_full_rank(rows, sp.GF(prime)))
    return all(checks)


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
