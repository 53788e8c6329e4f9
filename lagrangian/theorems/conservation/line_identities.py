"""The line between two ReLU networks: what is exact on it."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from lagrangian.theorems.theorem import Claim, identity

_t = sp.Symbol("t", positive=True)
_x, _y = sp.symbols("x y", positive=True)


def line_identities() -> Iterator[Claim]:
    """Of one unit, by the signs of what goes into it at both ends."""
    # x = (1 - t)|a| and y = t |b|.
    for sign, other in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        relu = lambda z: (z + sp.Abs(z)) / 2
        mixed = relu(sign * _x) + relu(other * _y)
        lost = (_x + _y - sp.Abs(_x - _y)) / 2 if sign != other else 0
        what = f"signs {sign:+d}, {other:+d}: relu on the line - the mix + what is lost"
        left = relu(sign * _x + other * _y) - mixed + lost
        yield identity(what, left.rewrite(sp.Piecewise) if sign == other else left)
    relu = (_x - _y + sp.Abs(_x - _y)) / 2
    yield identity("signs +1, -1: the same, nothing lost", relu - _x, control=True)
    v, u, a, b = sp.symbols("v v' a b", real=True)
    mixed = ((1 - _t) * v + _t * u) * ((1 - _t) * a + _t * b)
    mixed -= (1 - _t) * v * a + _t * u * b
    what = "an active unit, f_t - the mix + t (1 - t)(v - v')(a - b)"
    yield identity(what, sp.expand(mixed + _t * (1 - _t) * (v - u) * (a - b)))
    c, z = sp.Symbol("c", positive=True), sp.Symbol("z", real=True)
    chord = ((1 - _t) + _t * c) * ((1 - _t) + _t / c)
    what = "the chord of a rescaling, w -> c w, v -> v/c"
    left = chord - 1 - _t * (1 - _t) * (c + 1 / c - 2)
    yield identity(what, sp.expand(left))
    yield identity("the same as if it were flat", sp.expand(chord - 1), control=True)
    moved, inverse = sp.symbols("A B", commutative=False)
    chord = sp.expand(((1 - _t) + _t * inverse) * ((1 - _t) + _t * moved))
    chord = chord.subs(inverse * moved, 1)
    what = "the chord of W -> A W, V -> V A^-1"
    left = chord - 1 - _t * (1 - _t) * (moved + inverse - 2)
    yield identity(what, sp.expand(left))
    what = "z^2/2 - c z + c^2/2 - (z - c)^2/2, of the certificate"
    yield identity(what, sp.expand(z**2 / 2 - c * z + c**2 / 2 - (z - c) ** 2 / 2))
