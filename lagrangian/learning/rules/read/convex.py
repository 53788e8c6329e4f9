"""The Legendre transform of a convex function of one number, from its slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: A covector, and a velocity, that are positive.
_p, _v, _w = (EngineSymbol(name, positive=True) for name in ("p", "v", "w"))
#: Where a slope is tried that SymPy cannot judge.
_TRIED = [sp.Rational(1, 10), sp.Rational(9, 10), sp.Integer(3), sp.Integer(40)]


@dataclass(frozen=True)
class Piece:
    """The slope between two covectors, both of them positive."""

    slope: Any
    start: Any
    end: Any


def positive_side(slope: Any, P: Any, length: Any) -> list[Piece] | None:
    """The slope at P > 0, piece by piece; None if that cannot be told.

    A function of the length is taken along a ray, on which P is |P|.
    """
    ray = slope.xreplace({P: _p, length: _p})
    if not ray.has(sp.Piecewise, sp.Min, sp.Max, sp.sign, sp.Abs):
        return [Piece(ray, sp.S.Zero, sp.oo)]
    ray = sp.piecewise_fold(ray.rewrite(sp.Piecewise))
    if not isinstance(ray, sp.Piecewise):
        return None if ray.has(sp.Piecewise) else [Piece(ray, sp.S.Zero, sp.oo)]
    left, found = sp.Interval.open(0, sp.oo), []
    for value, condition in ray.args:
        if condition.free_symbols - {_p}:
            return None
        where = left.intersect(condition.as_set())
        left = left - where
        for interval in where.args if isinstance(where, sp.Union) else (where,):
            if isinstance(interval, sp.Interval):
                found.append(Piece(value, interval.inf, interval.sup))
            elif not interval.is_FiniteSet and not interval.is_empty:
                return None
    return sorted(found, key=lambda piece: piece.start)


def is_increasing(slope: Any, P: Any, length: Any) -> bool:
    """Whether it is the slope of a convex function, on both sides of zero."""
    for side in (slope, -slope.xreplace({P: -P})):
        pieces = positive_side(side, P, length)
        if not pieces:
            return False
        before = None
        for piece in pieces:
            first = sp.limit(piece.slope, _p, piece.start, "+")
            if before is not None and not _at_least(first - before):
                return False
            if before is None and not _at_least(first):
                return False
            if not _grows(piece):
                return False
            before = sp.limit(piece.slope, _p, piece.end, "-")
    return True


def _at_least(difference: Any) -> bool:
    return bool(difference.is_nonnegative or sp.nsimplify(difference).is_nonnegative)


def _grows(piece: Piece) -> bool:
    change = piece.slope.diff(_p)
    if change.is_nonnegative:
        return True
    if change.free_symbols - {_p}:
        return False
    width = piece.end - piece.start
    for share in _TRIED:
        at = piece.start + (share if width == sp.oo else width * share / (1 + share))
        number = change.xreplace({_p: at}).evalf(20)
        if not number.is_real or number < 0:
            return False
    return True


def is_odd(slope: Any, P: Any) -> bool:
    return sp.expand(slope + slope.xreplace({P: -P})) == 0


def kinetic_energy(slope: Any, P: Any, length: Any, velocity: Any) -> Any:
    """T(v) = sup_p (p v - psi(p)) with -slope(-p) as psi'(p), for v >= 0.

    T' is the inverse of the slope: where the slope stands still T' jumps, where it
    jumps T' stands still, and beyond its supremum no velocity is ever reached.

    Raises:
        NotImplementedError: a slope that SymPy does not invert or integrate.
    """
    pieces = positive_side(-slope.xreplace({P: -P}), P, length)
    if pieces is None:
        raise NotImplementedError("a slope in pieces that depend on the state")
    energy, cases, reached = sp.S.Zero, [], sp.S.Zero  # type: ignore[var-annotated]

    def append(inverse: Any, until: Any, slope: Any = None) -> None:
        nonlocal energy, reached
        if until == reached:
            return
        grown = _grown(inverse, reached, slope)
        cases.append((energy + grown, _v <= until))
        energy = energy + (grown.xreplace({_v: until}) if until != sp.oo else 0)
        reached = until

    for piece in pieces:
        append(sp.sympify(piece.start), sp.limit(piece.slope, _p, piece.start, "+"))
        if piece.slope.has(_p):
            last = sp.limit(piece.slope, _p, piece.end, "-")
            last = sp.oo if last.has(sp.oo) else last
            append(_inverse(piece.slope, last), last, piece.slope)
    if cases and reached == sp.oo:
        cases[-1] = (cases[-1][0], True)
    else:
        cases.append((sp.oo, True))
    return sp.Piecewise(*cases).xreplace({_v: velocity})


def _grown(inverse: Any, start: Any, slope: Any) -> Any:
    """The integral of the inverse from `start` to v; by that of the slope, if given."""
    if slope is not None:
        potential = sp.integrate(slope, _p)
        if not potential.has(sp.Integral):
            told = _v * inverse - potential.xreplace({_p: inverse})
            return told - sp.limit(told, _v, start, "+")
    grown = sp.integrate(inverse.xreplace({_v: _w}), (_w, start, _v))
    if grown.has(sp.Integral):
        raise NotImplementedError(f"the integral of {inverse}")
    return grown


def _inverse(slope: Any, last: Any) -> Any:
    """The covector at which a slope is v: one operation undone after the other."""
    side, value = slope, _v
    while side != _p:
        inside = [a for a in side.args if a.has(_p)]
        others = [a for a in side.args if not a.has(_p)]
        if len(inside) != 1:
            break
        if side.is_Add:
            value -= sp.Add(*others)
        elif side.is_Mul:
            value /= sp.Mul(*others)
        elif side.is_Pow and side.base == inside[0]:
            value = value ** (1 / side.exp)
        elif side.is_Function and hasattr(side, "inverse"):
            value = side.inverse()(value)
        else:
            break
        side = inside[0]
    if side == _p:
        return value
    tried = last / 2 if last.is_number and last != sp.oo else sp.Rational(3, 2)
    for found in sp.solve(slope - _v, _p):
        at = found.xreplace({_v: tried}).evalf(20)
        if at.is_number and abs(sp.im(at)) < 1e-15 and sp.re(at) > 0:
            return found
    raise NotImplementedError(f"the inverse of {slope}")
