"""Kinetic symmetry breaking in explicit coordinates: the Lie derivative of the metric.

Nothing here is numerical: every claim is an identity in the symbols of coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.learning.rules.rule import mass
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock, LinearMap
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import noether
from lagrangian.symbolic.mechanics.bregman import bregman_lagrangian
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.theorem import Claim, identity

_x, _y = _both = (Coordinate("x", positive=True), Coordinate("y", positive=True))
_velocities = sp.Matrix([_x.dot, _y.dot])
_s = sp.Symbol("s", positive=True)


def _function(name: str) -> Any:
    return UndefinedFunction(name, real=True)


def kinetic_term(T: Any, xi: Sequence[Any]) -> Any:
    """The engine's kinetic term of a law, for T of x and y that move by xi."""
    system = Lagrangian(T, coordinates=_both)
    return noether(system, Symmetry(dict(zip(_both, xi, strict=True)))).kinetic


def energy_of(metric: Any) -> Any:
    """m/2 <qdot, G qdot> for a 2 x 2 matrix G of expressions in x and y."""
    return (mass / 2 * _velocities.T * metric * _velocities)[0]


def lie_derivative(metric: Any, xi: Sequence[Any], stretched: bool = True) -> Any:
    """L_xi G, component by component.

    (L_xi G)_ij = xi^k d_k G_ij + G_kj d_i xi^k + G_ik d_j xi^k, of which the last two
    are left out if not `stretched`.
    """
    moved = sum(
        (c * metric.diff(q) for c, q in zip(xi, _both, strict=True)), sp.zeros(2)
    )
    if not stretched:
        return moved
    jacobian = sp.Matrix(xi).jacobian(list(_both))
    return moved + jacobian.T * metric + metric * jacobian


def _form(matrix: Any) -> Any:
    return sp.expand(energy_of(matrix))


def _lie_claims() -> Iterator[Claim]:
    """For every metric and every generator in two coordinates."""
    g = [_function(name)(_x, _y) for name in ("G_11", "G_12", "G_22")]
    metric = sp.Matrix([[g[0], g[1]], [g[1], g[2]]])
    xi = [_function(name)(_x, _y) for name in ("X", "Y")]
    found = sp.expand(kinetic_term(energy_of(metric), xi))
    what = "any G, any xi: kinetic term - (m/2)(L_xi G)(qdot, qdot)"
    yield identity(what, found - _form(lie_derivative(metric, xi)))
    # A quadratic form that is zero for every qdot has a Hessian that is zero.
    hessian = sp.hessian(found, [_x.dot, _y.dot])
    gap = (hessian - mass * lie_derivative(metric, xi)).expand()
    yield identity("any G, any xi: its Hessian in qdot - m L_xi G", gap.norm())
    metric, xi = sp.diag(g[0], 1), [xi[0], 0]
    flawed = kinetic_term(energy_of(metric), xi) - _form(
        lie_derivative(metric, xi, stretched=False)
    )
    what = "diag(G, 1), any xi: without the derivatives of xi"
    yield identity(what, flawed, control=True)


def _potential_claims() -> Iterator[Claim]:
    """Under the metric h'' of any elementwise h, a root and not a translation stays."""
    h = _function("h")
    bent = [h(q).diff(q, 2) for q in _both]
    T = energy_of(sp.diag(*bent))
    roots = [1 / sp.sqrt(b) for b in bent]
    what = "metric h'', any h: kinetic term of xi = 1/sqrt(h'')"
    yield identity(what, sp.expand(kinetic_term(T, roots)))
    third = sum(h(q).diff(q, 3) * q.dot**2 for q in _both)
    moved = kinetic_term(T, [1, 1])
    what = "metric h'': kinetic term of the translation - (m/2) h''' qdot^2"
    yield identity(what, sp.expand(moved - mass / 2 * third))
    what = "metric h'': kinetic term of the translation of x"
    yield identity(what, kinetic_term(T, [1, 0]), control=True)
    what = "Euclidean: kinetic term of xi = (1/sqrt(h''), 0)"
    flat = energy_of(sp.eye(2))
    yield identity(what, kinetic_term(flat, [roots[0], 0]), control=True)


def _isometry_claims() -> Iterator[Claim]:
    """The finite maps whose generators are 1/sqrt(h''), for three potentials."""
    for name, bent, moved in (
        ("q log q - q", 1 / _x, (sp.sqrt(_x) + _s) ** 2),
        ("-log q", 1 / _x**2, _x * sp.exp(_s)),
        ("e^q", sp.exp(_x), 2 * sp.log(sp.exp(_x / 2) + _s)),
    ):
        T = energy_of(sp.diag(bent, 1))
        there = {_x: moved, _x.dot: moved.diff(_x) * _x.dot}
        what = f"h = {name}: T after the finite map - T before"
        yield identity(what, T.subs(there, simultaneous=True) - T)
        xi = moved.diff(_s).subs(_s, 0)
        what = f"h = {name}: kinetic term of its generator"
        yield identity(what, kinetic_term(T, [xi, 0]))


def _normal_claims() -> Iterator[Claim]:
    """The hyperbolic plane: normal distributions by x = mean/sqrt(2), y = deviation.

    Their Fisher metric, that of the natural gradient, is twice this one.
    """
    T = energy_of(sp.eye(2) / _y**2)
    fields = {
        "(1, 0)": [1, 0],
        "(x, y)": [_x, _y],
        "(x^2 - y^2, 2 x y)": [_x**2 - _y**2, 2 * _x * _y],
    }
    for name, xi in fields.items():
        yield identity(f"metric 1/y^2: kinetic term of {name}", kinetic_term(T, xi))
    for name, xi in {"(0, 1)": [0, 1], "(-y, x)": [-_y, _x]}.items():
        what = f"metric 1/y^2: kinetic term of {name}"
        yield identity(what, kinetic_term(T, xi), control=True)


def _degree_claims() -> Iterator[Claim]:
    """Scale under an energy that is homogeneous of degree p: its kinetic term is p T.

    The divergence of h = -log q is that of Itakura and Saito, and p is 0.
    """
    # The point q + m q' lies where h is defined, too, which a velocity does not say.
    p, ahead = sp.symbols("p ahead", positive=True)
    point = _x + mass * _x.dot
    speed = (ahead - _x) / mass
    for name, h, power in (
        ("q^p", lambda q: q**p / (p * (p - 1)), p),
        ("q log q - q", lambda q: q * sp.log(q) - q, 1),
        ("-log q", lambda q: -sp.log(q), 0),
    ):
        slope, bent = h(_x).diff(_x), h(_x).diff(_x, 2)
        divergence = (h(point) - h(_x) - slope * mass * _x.dot) / mass
        for kind, T in (
            ("metric", mass / 2 * bent * _x.dot**2),
            ("Bregman", divergence),
        ):
            system = Lagrangian(T, coordinates=[_x])
            found = noether(system, Symmetry({_x: _x})).kinetic
            what = f"h = {name}, {kind}: kinetic term of the scale - {power} T"
            gap = sp.expand((found - power * T).xreplace({_x.dot: speed}))
            yield identity(what, sp.powsimp(gap))


def _bregman_claims() -> Iterator[Claim]:
    """Opaque h of whole blocks, and alpha a function of time."""
    q, a, A = Block("q"), ConstantBlock("a"), LinearMap("A")
    alpha = _function("alpha")(time)
    point = q + sp.exp(-alpha) * q.dot
    here, there = Loss("h", q), Loss("h", point)
    D = Gradient(there, point) - Gradient(here, q)
    bent = Gradient(here, q, (q, q.dot))
    for name, xi in (("translation", a), ("any linear generator", A(q))):
        symmetry = Symmetry({q: xi})
        system = bregman_lagrangian(
            symmetry.loss, alpha, 0, time, lambda x: Loss("h", x)
        )
        stated = sp.exp(alpha) * Inner(D, xi) - Inner(bent, xi)
        turned = total_derivative(xi)
        if turned != 0:
            stated += Inner(D, turned)
        law = noether(system, symmetry)
        gap = sp.expand(sp.expand(law.kinetic - stated), power_exp=False)
        what = f"Bregman, any h, {name}: kinetic term - <D, xi'> - e^alpha <...>"
        yield identity(what, gap)
    g = ConstantBlock("g")
    flat = bregman_lagrangian(
        Loss("f", q), -sp.log(mass), 0, time, lambda x: Inner(x, g * x) / 2
    )
    gap = sp.expand(flat.T - mass / 2 * Inner(q.dot, g * q.dot))
    yield identity("Bregman, h = <q, G q>/2: T - (m/2) <qdot, G qdot>", gap)


def killing_claims() -> list[Claim]:
    """No breaking exactly by Killing fields, and the term by which others break."""
    return [
        *_lie_claims(),
        *_potential_claims(),
        *_isometry_claims(),
        *_normal_claims(),
        *_degree_claims(),
        *_bregman_claims(),
    ]
