"""Gradient descent, and the loss that it dissipates as heat: identities in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block, LinearMap, blocks
from lagrangian.symbolic.algebra.calculus import gradient, variation
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.dynamics.path_action import shift
from lagrangian.theorems.theorem import Claim, identity

w, f = blocks("w f_w")
e, f_e = coordinates("e f_e")
T, mu, rate = sp.symbols("T mu r", positive=True)
loss = Loss("f", w)
F = loss + weight_decay / 2 * Inner(w, w)
ENTROPY = e / T


def dissipation(along: Any, hot: Any, slope: Any) -> Any:
    """Psi* = T/mu |xi_w - xi_e grad F|^2, in which xi_e is a number."""
    cross = hot * Inner(along, slope)
    return T / mu * (Inner(along, along) - 2 * cross + hot**2 * Inner(slope, slope))


def hamiltonian(along: Any = f, hot: Any = f_e, slope: Any = None) -> Any:
    """Psi*(f + dS/2) - Psi*(dS/2), dS = (0, 1/T): nothing is reversible here."""
    slope = gradient(F, w) if slope is None else slope
    still = dissipation(sp.S.Zero, 1 / (2 * T), slope)
    return sp.expand(dissipation(along, hot + 1 / (2 * T), slope) - still)


def law() -> Law:
    """Of the weights fixed, f -> f - s dS, along the action of a path."""
    pairs = Inner(f, w.dot) - Inner(w, f.dot) + f_e * e.dot - e * f_e.dot
    return noether(Lagrangian(pairs / 2, hamiltonian()), shift([e], [f_e], ENTROPY))


def heat_identities() -> Iterator[Claim]:
    """The entropy of gradient flow as a charge."""
    H, g = hamiltonian(), gradient(F, w)
    velocity = {w: gradient(H, f), e: sp.diff(H, f_e)}
    found = law()
    yield identity("learning: charge of f -> f - s dS, less S", found.charge - ENTROPY)
    what = "learning, every path: its rate less dH/df dS"
    yield identity(what, sp.expand(found.rate - velocity[e] / T))
    changes = variation(F + e, velocity | {weight_decay: rate})
    what = "learning, every path: (F + e)' - lambda' |w|^2/2"
    yield identity(what, sp.expand(changes - rate * Inner(w, w) / 2))
    moved = {name: x.subs({f: 0, f_e: 0}) for name, x in velocity.items()}
    yield identity("learning, f = 0: mu w' + grad F", sp.expand(mu * moved[w] + g))
    what = "learning, f = 0: mu e' - |grad F|^2"
    yield identity(what, sp.expand(mu * moved[e] - Inner(g, g)))
    back = hamiltonian(-f, -f_e - 1 / T)
    yield identity("learning, detailed balance: H at -f - dS, less at f", back - H)
    back = hamiltonian(-f, -f_e)
    yield identity("learning: H at -f, less at f", back - H, control=True)
    yield from _slowly()
    yield from _steps()


def _slowly() -> Iterator[Claim]:
    """Near the minima, where grad F and f are of the order of s: T dH/df dS."""
    s, phi_e = sp.symbols("s phi_e")
    phi, sigma = blocks("phi sigma")
    heating = sp.diff(hamiltonian(s * phi, f_e, s * sigma), f_e)
    made = sp.expand(heating.subs(f_e, s * phi_e))
    for power in range(3):
        what = f"learning, grad F = O(s), f = O(s): T dH/df dS at s^{power}"
        yield identity(what, made.coeff(s, power), control=power == 2)
    X = Block("X")
    moved = variation(gradient(F, w), {w: X, weight_decay: sp.S.One})
    curved = Gradient(loss, w, (w, X)) + weight_decay * X
    what = "minimum in motion, w' = X: (grad F)' - (Hess f + lambda) X - w"
    yield identity(what, sp.expand(moved - curved - w))


def drop(step: Any, before: Any, hessian: LinearMap) -> Any:
    """What the loss loses by a step of the heavy ball, were it quadratic."""
    pushed = Inner(step, step - momentum * before) / learning_rate
    return pushed - Inner(step, hessian(step)) / 2


def _steps() -> Iterator[Claim]:
    """One step of the heavy ball where the loss is quadratic, and a steady one."""
    hessian, (d, before) = LinearMap("H", parity=1), blocks("d d_0")
    value = lambda at: Inner(at, hessian(at)) / 2
    step = momentum * before - learning_rate * hessian(w)
    dropped = value(w) - value(w + step)
    what = "quadratic loss, a step d after d_0: drop of the loss, less "
    what += "<d, d - beta d_0>/eta - <d, H d>/2"
    yield identity(what, sp.expand(dropped - drop(step, before, hessian)))
    steady, friction = drop(d, d, hessian), (1 - momentum) / learning_rate
    what = "the same for d = d_0, less <d, [(1 - beta)/eta - H/2] d>"
    yield identity(what, sp.expand(steady - Inner(d, friction * d - hessian(d) / 2)))
    what = "the same, less <d, d>(1 - beta)/eta"
    yield identity(what, sp.expand(steady - friction * Inner(d, d)), control=True)
