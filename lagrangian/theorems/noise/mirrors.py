"""What follows from a mirror for the gradient and the Hessian on its plane.

A loss with a mirror is a function F(z^2, y) of the distance z from the plane and the
place y along it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.theorems.theorem import Claim, equal, identity

z, y = sp.symbols("z y", real=True)


def _even() -> Any:
    square = sp.Symbol("square")
    function: Any = UndefinedFunction("F")(square, y)
    return function, square


def _on_the_plane(expression: Any) -> Any:
    return sp.simplify(expression.doit().subs(z, 0).doit())


def identities() -> Iterator[Claim]:
    """On the plane: no force off it, no mixing, and when decay makes it a minimum."""
    function, square = _even()
    loss = function.subs(square, z**2)
    yield identity("force off the plane", _on_the_plane(loss.diff(z)))
    yield identity("Hessian between off and along", _on_the_plane(loss.diff(z, y)))
    tilted = loss + z * y
    broken = _on_the_plane(tilted.diff(z))
    yield identity("the same force without the mirror", broken, control=True)
    # [l(0) - l(z)]/z^2 by Taylor: a polynomial stands for F.
    powers = sp.symbols("c_0:4", real=True)
    series = sum(c * z ** (2 * i) for i, c in enumerate(powers))
    bound = sp.expand((series.subs(z, 0) - series) / z**2)
    curvature = series.diff(z, 2).subs(z, 0)
    yield identity("gamma_0 + l_zz/2 at z = 0", bound.subs(z, 0) + curvature / 2)
    yield identity("d gamma_0/dz at z = 0", bound.diff(z).subs(z, 0))
    yield from _equal_units()
    for k in (2, 3, 4):
        group = list(permutations(range(k)))
        traces = sum(sum(i == j for i, j in enumerate(p)) for p in group)
        what = f"dimension of what S_{k} fixes, by characters"
        yield equal(what, 1, traces // len(group) if traces % len(group) == 0 else -1)


def _equal_units() -> Iterator[Claim]:
    """k equal units u phi(w) move like one, U phi(w) with U = k u, at other rates."""
    eta, slope, u, w, big = sp.symbols("eta slope u w U", real=True)
    unit: Any = UndefinedFunction("phi")
    merged = big * unit(w)
    for k in (2, 3, 4):
        outputs, inputs = sp.symbols(f"u_1:{k + 1}"), sp.symbols(f"w_1:{k + 1}")
        says = sum(a * unit(b) for a, b in zip(outputs, inputs, strict=True))
        equal_now = dict.fromkeys(outputs, u) | dict.fromkeys(inputs, w)
        # The slope of the loss by what the network says is the same for both.
        moved = {"w": says.diff(inputs[0]), "U": k * says.diff(outputs[0])}
        alone = {"w": merged.diff(w), "U": merged.diff(big)}
        rates = {"w": sp.Rational(1, k), "U": sp.Integer(k)}
        for name, rate in rates.items():
            step = eta * slope * moved[name].subs(equal_now).doit()
            one = eta * slope * alone[name].subs(big, k * u)
            what = f"{k} equal units as one: step of {name}"
            yield identity(f"{what} at {rate} eta", step - rate * one)
            if k == 2:
                yield identity(f"{what} at eta", step - one, control=True)
