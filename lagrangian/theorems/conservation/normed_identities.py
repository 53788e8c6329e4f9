"""Norms as units of one channel each, and what training does to a stream's charge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.symbolic.algebra.blocks import blocks
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Rescale, Scale
from lagrangian.symbolic.laws.discrete import learning_rate, weight_decay
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.theorem import Claim, identity

_CHANNELS = 5


def laws() -> tuple[Law, Law]:
    """Of the scale of all writers W, and of writers against alphas, by the heavy ball.

    The charges of the whole group of writers are those of one block that holds them.
    """
    rule = HeavyBall(0.1, 0.9)
    symmetries = Scale("W"), Rescale("W", "alpha")
    scale, rescale = (noether(rule.lagrangian(s.loss), s) for s in symmetries)
    return scale, rescale


def unit(shape: Any, u: Any, spread: Any, channels: Any) -> Any:
    """What a norm makes of a channel u: sqrt(n) u/sqrt(spread + u^2).

    Of LayerNorm n = C - 1, u is counted from the mean of the others, and spread is C
    times their variance; of RMSNorm n = C, and it is the sum of their squares.
    """
    return sp.sqrt(channels + shape) * u / sp.sqrt(spread + u**2)


def _units() -> Iterator[Claim]:
    x = sp.symbols(f"x_1:{_CHANNELS + 1}", real=True)
    others, count = x[1:], sp.Integer(_CHANNELS)
    mean = sum(x) / count
    layer = (x[0] - mean) ** 2 / (sum((y - mean) ** 2 for y in x) / count)
    middle = sum(others) / (count - 1)
    variance = sum((y - middle) ** 2 for y in others) / (count - 1)
    stated = unit(-1, x[0] - middle, count * variance, count)
    what = f"LayerNorm, {_CHANNELS} channels: squared, of one of them - (C-1)u^2/"
    yield identity(f"{what}(C v + u^2)", layer - stated**2)
    squares = sum(y**2 for y in x) / count
    stated = unit(0, x[0], sum(y**2 for y in others), count)
    what = f"RMSNorm, {_CHANNELS} channels: squared, of one of them - C x^2/(S + x^2)"
    yield identity(what, x[0] ** 2 / squares - stated**2)
    u, spread = sp.symbols("u S", positive=True)
    curve = unit(0, u, spread, count)
    yield identity(
        "its slope at 0, squared - C/S", curve.diff(u).subs(u, 0) ** 2 - 5 / spread
    )
    yield identity(
        "where it saturates - sqrt(C)", sp.limit(curve, u, sp.oo) - sp.sqrt(5)
    )
    tanh = sp.sqrt(5) * sp.tanh(u / sp.sqrt(spread))
    gap = sp.series(curve - tanh, u, 0, 4).removeO()
    what = "it - sqrt(C) tanh(x/sqrt(S)), to the first order in x"
    yield identity(what, gap.coeff(u, 1))
    yield identity("and to the third", gap.coeff(u, 3), control=True)


def gained(decays: tuple[Any, Any]) -> tuple[Any, Any]:
    """(|w'|^2 - |alpha'|^2 of a step of gradient descent, what is stated of it).

    Args:
        decays: of the writers and of the alphas.
    """
    w, alpha = blocks("W alpha")
    loss = Rescale(w, alpha).loss
    eta = learning_rate
    squares = []
    for block, decay in zip((w, alpha), decays, strict=True):
        later = (1 - eta * decay) * block - eta * loss.gradient(block)
        squares.append(sp.expand(Inner(later, later)))
    # By the symmetry <w, g_w> = <alpha, g_alpha>.
    pulled = variation(loss, {w: w, alpha: sp.S.Zero * alpha})
    same = {Inner(alpha, loss.gradient(alpha)): Inner(w, loss.gradient(w))}
    found = sp.expand((squares[0] - squares[1]).xreplace(same))
    own = [Inner(loss.gradient(b), loss.gradient(b)) for b in (w, alpha)]
    grown = eta**2 * (own[0] - own[1])
    sizes = [Inner(w, w), Inner(alpha, alpha)]
    kept = [(1 - eta * d) ** 2 * s for d, s in zip(decays, sizes, strict=True)]
    cross = 2 * eta**2 * (decays[0] - decays[1]) * pulled
    return found, sp.expand(kept[0] - kept[1] + grown + cross)


def _growth() -> Iterator[Claim]:
    for name, decays in (
        ("no decay", (0, 0)),
        ("decay of both", (weight_decay, weight_decay)),
        ("decay of the writers", (weight_decay, 0)),
    ):
        found, stated = gained(decays)
        what = f"gradient descent, {name}: |w'|^2 - |alpha'|^2, less what is stated"
        yield identity(what, found - stated)
    _, other = gained((weight_decay, weight_decay))
    found, _ = gained((weight_decay, 0))
    what = "decay of the writers: |w'|^2 - |alpha'|^2, less that of decay of both"
    yield identity(what, found - other, control=True)


def _fourth_root() -> Iterator[Claim]:
    """(alpha^2 - r^2)' = 2 lambda r^2 where A = alpha r stays, and alpha is large."""
    t, decay, product, begin = sp.symbols("t lambda A alpha_0", positive=True)
    alpha = (begin**4 + 4 * decay * product**2 * t) ** sp.Rational(1, 4)
    rate = (alpha**2).diff(t) - 2 * decay * (product / alpha) ** 2
    what = "alpha^4 = alpha_0^4 + 4 lambda A^2 t: (alpha^2)' - 2 lambda (A/alpha)^2"
    yield identity(what, rate)
    leading = sp.limit(alpha**2 / sp.sqrt(t), t, sp.oo)
    what = "alpha^2 of late times - 2 A sqrt(lambda t)"
    yield identity(what, leading - 2 * product * sp.sqrt(decay))


def identities() -> Iterator[Claim]:
    yield from _units()
    yield from _growth()
    yield from _fourth_root()
