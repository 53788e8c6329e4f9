r"""One number a mode: what weight decay leaves of a deep linear network.

At rest, Noether's law of the general linear group makes neighbouring layers equal, so
that a mode of D hidden layers is the amplitude x of each of them, with the product
s = x^(D+1), and

    l(s) = a s^2 - 2 sigma s + gamma (D+1) s^(2/(D+1)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock
from lagrangian.symbolic.algebra.calculus import gradient
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.symbolic.laws.noether import noether
from lagrangian.theorems.testbeds.oscillator import exact_rule, oscillator_of
from lagrangian.theorems.theorem import Claim, identity

#: E xx^T = a I, |E xy| of the mode, weight decay gamma |W|^2, and the product.
curvature, signal, decay, product = sp.symbols("a sigma gamma s", positive=True)


def balance_at_rest() -> Any:
    """The matrix that must vanish where a network with weight decay stands still."""
    even = ConstantBlock("A", parity=1)
    first, second = Block("first"), Block("second")
    symmetry = GeneralLinear(first, second, even)
    rule: HeavyBall = exact_rule("1/10", "0", "1/100")
    oscillator = oscillator_of(noether(rule.lagrangian(symmetry.loss), symmetry))
    at_rest = oscillator.stiffness * oscillator.quantity
    return sp.expand(gradient(at_rest, even) / weight_decay)


def potential(layers: Any) -> Any:
    """l(s) for any depth, from the sum of the squares of equal layers."""
    n = sp.sympify(layers) + 1
    return (
        curvature * product**2 - 2 * signal * product + decay * n * product ** (2 / n)
    )


def first_order(layers: int) -> dict[str, Any]:
    """Where l touches zero, and where its minimum ends; for D >= 2.

    Returns:
        gamma and s of the transition, and of the end of the trained branch.
    """
    n = sp.sympify(layers) + 1
    # l(s)/s^(2/n) is extremal where it is zero: one linear equation for s.
    reduced = sp.expand(sp.powsimp(sp.expand(potential(layers) * product ** (-2 / n))))
    slope = sp.expand(sp.powsimp(sp.expand(reduced.diff(product) * product ** (2 / n))))
    touching = _root(slope)
    level = sp.solve(reduced, decay)[0].subs(product, touching)
    # A double root of l', divided by the power of s that makes gamma stand alone.
    force = potential(layers).diff(product) * product ** (1 - 2 / n)
    force = sp.expand(sp.powsimp(sp.expand(force)))
    ending = _root(
        sp.expand(sp.powsimp(sp.expand(force.diff(product) * product ** (2 / n))))
    )
    last = sp.solve(force, decay)[0].subs(product, ending)
    return {"gamma_c": level, "s_c": touching, "gamma_sp": last, "s_sp": ending}


def _root(linear: Any) -> Any:
    slope = sp.simplify(linear.diff(product))
    return sp.factor(sp.simplify(-linear.subs(product, 0) / slope))


def stated(layers: int) -> dict[str, Any]:
    """The formulas of the theorem."""
    d = sp.Integer(layers)
    share = (d - 1) / d
    s_c = signal * share / curvature
    ended = (signal * share / (2 * curvature)) ** (2 * d / (d + 1))
    return {
        "gamma_c": signal / d * s_c ** ((d - 1) / (d + 1)),
        "s_c": s_c,
        "gamma_sp": curvature * (d + 1) / (d - 1) * ended,
        "s_sp": s_c / 2,
    }


def derivation() -> tuple[str, ...]:
    """What the engine finds, in LaTeX."""
    found = first_order(2)
    names = {"gamma_c": r"\gamma_c", "s_c": "s_c", "gamma_sp": r"\gamma_{sp}"}
    thresholds = (f"{names[key]} = {sp.latex(found[key])}" for key in names)
    return (
        rf"\text{{at rest: }} 0 = {sp.latex(balance_at_rest())}",
        rf"D = 2: \quad \ell(s) = {sp.latex(potential(2))}",
        rf"D = 2: \quad {', '.join(thresholds)}",
    )


def identities() -> Iterator[Claim]:
    """What the engine derives, less what the theorem says."""
    first, second = Block("first"), Block("second")
    charge = matmul(transpose(first), first) - matmul(second, transpose(second))
    yield identity("at rest: the charge of GL(h) is zero", balance_at_rest() - charge)
    yield from _equal_layers()
    for layers in (2, 3, 4):
        found, said = first_order(layers), stated(layers)
        for name, value in found.items():
            yield identity(f"D = {layers}: {name}/stated - 1", value / said[name] - 1)
    ridge = sp.solve(potential(0).diff(product), product)[0]
    yield identity("D = 0: s - sigma/(a+gamma)", ridge - signal / (curvature + decay))
    linear = sp.solve(sp.expand(potential(1)).diff(product), product)[0]
    yield identity("D = 1: s - (sigma-gamma)/a", linear - (signal - decay) / curvature)
    value = potential(1).subs(product, linear)
    yield identity("D = 1: jump of L'' - 2/a", -value.diff(decay, 2) - 2 / curvature)
    envelope = value.diff(decay) - 2 * linear
    yield identity("D = 1: dL/dgamma - (|u|^2+|w|^2)", envelope)
    touching = stated(2)
    jump = potential(2).diff(decay).subs(product, touching["s_c"])
    yield identity(
        "D = 2: jump of L' - 3 s_c^(2/3)",
        jump - 3 * touching["s_c"] ** sp.Rational(2, 3),
    )
    wrong = stated(3)["gamma_c"] / stated(2)["gamma_c"] - 1
    yield identity("gamma_c of D = 3 for D = 2", wrong, control=True)


def _equal_layers() -> Iterator[Claim]:
    """The least sum gamma_i a_i^2 at a given product, by Lagrange's condition."""
    for n in (2, 3, 4):
        decays = sp.symbols(f"gamma_1:{n + 1}", positive=True)
        layers = sp.symbols(f"a_1:{n + 1}", positive=True)
        mean = sp.Mul(*decays) ** sp.Rational(1, n)
        least = [sp.sqrt(mean / g) * product ** sp.Rational(1, n) for g in decays]
        at = dict(zip(layers, least, strict=True))
        total = sum(g * x**2 for g, x in zip(decays, layers, strict=True))
        # Stationary: a_i d/da_i of the sum is the same for every i.
        forces = [(x * total.diff(x)).subs(at) for x in layers]
        cost = total.subs(at) - n * mean * product ** sp.Rational(2, n)
        uneven = sum((force - forces[0]) ** 2 for force in forces)
        kept = sp.Mul(*least) - product
        residual = sp.powsimp(sp.expand(cost**2 + uneven + kept**2), force=True)
        yield identity(f"{n} layers: least decay - {n} gamma s^(2/{n})", residual)


# ------------------------------------------------------------------ numbers


def branch(sigma: Any, gamma: Any, layers: int, a: float = 1.0) -> Any:
    """s of the minimum that training finds from above, zero where it has ended.

    Args:
        sigma, gamma: of shapes that broadcast.
        layers: D, the number of hidden layers.
    """
    sigma, gamma = np.broadcast_arrays(sigma, gamma)
    if layers == 0:
        return sigma / (a + gamma)
    if layers == 1:
        return np.maximum(sigma - gamma, 0) / a
    n = layers + 1
    # l'/(2 n x) = a x^(2n-2) - sigma x^(n-2) + gamma, whose largest root is the branch.
    x = (sigma / a) ** (1 / n)
    alive = gamma < number("gamma_sp", sigma, layers, a)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(200):
            slope = a * (2 * n - 2) * x ** (2 * n - 3)
            slope -= sigma * (n - 2) * x ** (n - 3)
            x = x - (a * x ** (2 * n - 2) - sigma * x ** (n - 2) + gamma) / slope
    return np.where(alive, x**n, 0.0)


def number(name: str, sigma: Any, layers: int, a: float = 1.0) -> Any:
    """A formula of `stated`, in numbers; at D = 1 both thresholds are sigma."""
    if layers == 1:
        return sigma if name.startswith("gamma") else 0 * sigma
    formula = stated(layers)[name].subs(curvature, a)
    return sp.lambdify(signal, formula, "numpy")(sigma)
