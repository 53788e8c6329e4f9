"""Equations of motion straight from the definition, for NumPy and for heyoka.

Nothing here uses the derivation or the lowering of the library: the matrix and the
forces are derivatives that SymPy takes of T - V, and the accelerations come from an
elimination that knows only +, -, * and /, so that it serves arrays of any precision
and heyoka's expressions alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

import lagrangian as lg


@cache
def linear_system(problem: Any) -> tuple[list[list[Any]], list[Any]]:
    """The matrix and the right side whose solution starts with the accelerations."""
    system = problem.lagrangian
    q, t = system.coordinates, lg.time
    v = [x.dot for x in q]
    # An exponent that is a whole number has derivatives at zero, a symbol has none.
    whole = {k: int(x) for k, x in problem.parameters.items() if float(x).is_integer()}
    powers = [e for e in (system.T - system.V).atoms(sp.Pow) if e.exp.free_symbols]
    whole = {k: x for k, x in whole.items() if any(e.exp.has(k) for e in powers)}

    def given(expression: Any) -> Any:
        return sp.sympify(expression).subs(whole)

    energy, sigma = given(system.T - system.V), given(system.damping)
    drag = given(system.dissipation)
    matrix, right = [], []
    for x, u in zip(q, v, strict=True):
        p = sp.diff(energy, u)
        matrix.append([sp.diff(p, w) for w in v])
        moved = sum(sp.diff(p, y) * w for y, w in zip(q, v, strict=True))
        force = given(system.forces.get(x, 0)) - sp.diff(drag, u)
        lost = sp.diff(p, t) + sp.diff(sigma, t) * p
        right.append(sp.diff(energy, x) + force - moved - lost)
    for held in system.constraints.expressions:
        rate = sum(sp.diff(held, y) * w for y, w in zip(q, v, strict=True))
        row = [sp.diff(held, y) for y in q]
        for line, slope in zip(matrix, row, strict=False):
            line.append(-slope)
        right.append(-sum(sp.diff(rate, y) * w for y, w in zip(q, v, strict=True)))
        matrix.append(row)
    size = len(matrix)
    return [[*row, *[sp.S.Zero] * (size - len(row))] for row in matrix], right


def eliminate(matrix: Any, right: Any, is_zero: Callable[[Any], bool]) -> list[Any]:
    """The solution without pivots: those of a mass matrix come first and are positive.

    The multipliers' block comes last, where its Schur complement is negative.
    """
    a, b, n = [list(row) for row in matrix], list(right), len(right)
    for k in range(n):
        for i in range(k + 1, n):
            if is_zero(a[i][k]):
                continue
            factor = a[i][k] / a[k][k]
            for j in range(k + 1, n):
                if not is_zero(a[k][j]):
                    a[i][j] = a[i][j] - factor * a[k][j]
            b[i] = b[i] - factor * b[k]
    for k in reversed(range(n)):
        for j in range(k + 1, n):
            if not is_zero(a[k][j]):
                b[k] = b[k] - a[k][j] * b[j]
        b[k] = b[k] / a[k][k]
    return b


def numpy_field(problem: Any, kind: Any = float) -> Callable[[Any, Any], Any]:
    """f(t, y) for y of shape (2 n, ...) in the precision `kind`."""
    matrix, right = linear_system(problem)
    q = problem.lagrangian.coordinates
    n, size = len(q), len(right)
    arguments = [*q, *(x.dot for x in q), lg.time, *problem.parameters]
    nonzero = [(i, j) for i in range(size) for j in range(size) if matrix[i][j] != 0]
    entries = [*(matrix[i][j] for i, j in nonzero), *right]
    function = sp.lambdify(arguments, entries, "numpy", cse=True)
    values = [kind(x) for x in problem.parameters.values()]

    def field(t: Any, y: Any) -> Any:
        found = function(*y, t, *values)
        # Entries that are zero stay of type int.
        rows: list[list[Any]] = [[0] * size for _ in range(size)]
        for (i, j), entry in zip(nonzero, found, strict=False):
            rows[i][j] = entry
        solution = eliminate(rows, found[len(nonzero) :], lambda x: isinstance(x, int))
        accelerations = [np.broadcast_to(a, np.shape(y[0])) for a in solution[:n]]
        return np.stack([*y[n:], *accelerations]).astype(kind)

    return field


def translated(expression: Any, values: Mapping[Any, Any], hy: Any) -> Any:
    """A SymPy expression as heyoka's, with whole powers as products.

    heyoka's own powers have no series about a base that is zero.
    """
    known: dict[Any, Any] = {}

    def whole(base: Any, n: int) -> Any:
        if n == 1:
            return base
        half = whole(base, n // 2)
        square = half * half
        return square * base if n % 2 else square

    def visit(e: Any) -> Any:
        if e not in known:
            known[e] = make(e)
        return known[e]

    def make(e: Any) -> Any:
        if e in values:
            return values[e]
        if e.is_Rational:
            return hy.expression(np.longdouble(int(e.p)) / np.longdouble(int(e.q)))
        if e.is_number and not e.free_symbols:
            return hy.expression(np.longdouble(str(e.evalf(25))))
        if isinstance(e, sp.Pow):
            if e.exp.is_Integer:
                power = whole(visit(e.base), abs(int(e.exp)))
                return 1.0 / power if e.exp < 0 else power
            if e.exp.is_Rational and e.exp.q == 2:
                power = whole(hy.sqrt(visit(e.base)), abs(int(e.exp.p)))
                return 1.0 / power if e.exp < 0 else power
            return hy.pow(visit(e.base), visit(e.exp))
        parts = [visit(a) for a in e.args]
        if isinstance(e, sp.Add):
            return sum(parts[1:], parts[0])
        if isinstance(e, sp.Mul):
            total = parts[0]
            for part in parts[1:]:
                total = total * part
            return total
        return getattr(hy, type(e).__name__)(*parts)

    return visit(sp.sympify(expression))


def heyoka_equations(problem: Any, hy: Any) -> tuple[list[Any], list[Any]]:
    """The first-order equations, and the variables in their order."""
    matrix, right = linear_system(problem)
    q = problem.lagrangian.coordinates
    symbols = [*q, *(x.dot for x in q)]
    n = len(q)
    variables = hy.make_vars(*(f"y{i:03d}" for i in range(2 * n)))
    values = dict(zip(symbols, variables, strict=True)) | {lg.time: hy.time}
    for symbol, number in problem.parameters.items():
        values[symbol] = hy.expression(np.longdouble(number))
    rows = [[translated(e, values, hy) if e != 0 else 0 for e in r] for r in matrix]
    sides = [translated(e, values, hy) for e in right]
    found = eliminate(rows, sides, lambda x: isinstance(x, int))
    return [
        *zip(variables[:n], variables[n:], strict=True),
        *zip(variables[n:], found[:n], strict=True),
    ], variables
