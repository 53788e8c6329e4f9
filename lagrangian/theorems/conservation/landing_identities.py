"""Where training lands: the two laws, what follows of them, and whole linear maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Rescale, Translation
from lagrangian.symbolic.laws.discrete import Steps, learning_rate, momentum, role
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.conservation.conserved import conserved
from lagrangian.theorems.testbeds.symmetric_networks import EVEN
from lagrangian.theorems.theorem import Claim, identity

eta_a, eta_w = sp.symbols("eta_a eta_w", positive=True)
delta = sp.Symbol("delta", real=True)
size = sp.Symbol("r", positive=True)

_A, _W, _V = Block("a"), Block("w"), ConstantBlock("v")
_RESCALE, _TRANSLATION = Rescale(_A, _W), Translation(_W, _V)
#: Of a w.x, and v a direction that no input sees.
_LOSS = Loss("f", (_A, _W), [_TRANSLATION.xi, _RESCALE.xi])
_TRACES = {q: role(q, "next trace") for q in (_A, _W)}
_UPDATES = {
    _A: -learning_rate * eta_a * _TRACES[_A],
    _W: -learning_rate * eta_w * _TRACES[_W],
}


def laws(loss: Loss = _LOSS) -> tuple[Law, Law]:
    """Of the translation and of the rescaling, under the heavy ball."""
    steps = Steps(loss, gain=1, weight_decay=0, updates=_UPDATES)
    return noether(steps, _TRANSLATION), noether(steps, _RESCALE)


# ------------------------------------------------------------------ two charges


def charge_identities() -> Iterator[Claim]:
    """What a step of the heavy ball adds to the two charges."""
    what = "heavy ball: <v, p'> - beta <v, p>, v a direction that no input sees"
    free = Loss("f", (_A, _W), [_RESCALE.xi])
    for loss in (_LOSS, free):
        law, _ = laws(loss)
        left = law.charge + sum(law.changes.values()) - momentum * law.charge
        if loss is free:
            what = "the same of a direction that an input sees"
        yield identity(what, left, control=loss is free)
    _, law = laws()
    lag = 2 * learning_rate * eta_a * eta_w * momentum / (1 - momentum)
    change = _imbalance_change()
    grown = (
        learning_rate**2
        * eta_a
        * eta_w
        * (
            eta_a * Inner(_TRACES[_A], _TRACES[_A])
            - eta_w * Inner(_TRACES[_W], _TRACES[_W])
        )
    )
    stored = lag * sum(law.changes.values())
    factor = (1 + momentum) / (1 - momentum)
    left = change - stored - factor * grown
    what = (
        "heavy ball: growth of delta - 2 eta eta_a eta_w beta/(1-beta) <p, xi>, "
        "less eta^2 eta_a eta_w (1+beta)/(1-beta) (eta_a |p_a'|^2 - eta_w |p_w'|^2)"
    )
    yield identity(what, sp.expand(left))
    what = "the same without (1+beta)/(1-beta)"
    yield identity(what, sp.expand(change - stored - grown), control=True)
    what = "gradient descent: growth of delta, less that of the squared gradients"
    yield identity(what, sp.expand(change - grown).subs(momentum, 0))


def _imbalance_change() -> Any:
    """What a step adds to eta_w |a|^2 - eta_a |w|^2, with the law of rescaling."""
    _, law = laws()
    balance = eta_w * Inner(_A, _A) - eta_a * Inner(_W, _W)
    later = balance.xreplace({q: q + update for q, update in _UPDATES.items()})
    change = sp.expand(later - balance)
    # <p', xi(q)>, before the blocks have moved.
    pulled = law.charge + sum(law.changes.values()) - law.changes["kinetic"]
    pulled += Inner(_W, _TRACES[_W])
    return sp.expand(change.xreplace({Inner(_A, _TRACES[_A]): pulled}))


# ------------------------------------------------------------------ the landing


def landing_identities() -> Iterator[Claim]:
    """From the charges to the place, and to the potential of Theorem 3.1."""
    square, least, free = sp.symbols("x s n", positive=True)
    # w = beta*/a + the part that is free, which are orthogonal.
    kept = eta_w * square - eta_a * (least**2 / square + free**2)
    known = delta + eta_a * free**2
    root = sp.sqrt(known**2 + 4 * eta_a * eta_w * least**2)
    stated = (known + root) / (2 * eta_w)
    found = sp.solve(sp.numer(sp.together(kept - delta)), square)
    what = "a^2 of delta, |beta*| and |w0_perp|, which has {} roots: one - stated"
    gap = min((sp.simplify(x - stated) for x in found), key=sp.count_ops)
    yield identity(what.format(len(found)), gap)
    what = "the product of the roots + eta_a |beta*|^2/eta_w: one is positive"
    yield identity(what, sp.prod(found) + eta_a * least**2 / eta_w)
    what = "delta at a^2 without the charges of the translations"
    wrong = stated.subs(free, 0)
    yield identity(what, kept.subs(square, wrong) - delta, control=True)
    yield from _potential()
    yield from _limits()


def spread(x: Any, imbalance: Any, rates: Any) -> Any:
    """K = sqrt(delta^2 + 4 eta_a eta_w x^2), by the product of the rates."""
    return sp.sqrt(imbalance**2 + 4 * rates * x**2)


def potential(x: Any, imbalance: Any, rates: Any) -> Any:
    """Psi of Theorem 3.1, for any rates."""
    k = spread(x, imbalance, rates)
    return (k - 2 * imbalance) * sp.sqrt(k + imbalance) / (3 * sp.sqrt(rates))


def _potential() -> Iterator[Claim]:
    product = eta_a * eta_w
    k = spread(size, delta, product)
    stated = sp.sqrt(k - delta)
    what = "Psi'(|beta|)^2 - (K - delta)"
    slope = sp.diff(potential(size, delta, product), size)
    yield identity(what, slope**2 - stated**2)
    wrong = (k - delta) * sp.sqrt(k + delta) / (3 * sp.sqrt(product))
    what = "the same with K - delta for K - 2 delta in Psi"
    yield identity(what, sp.diff(wrong, size) ** 2 - stated**2, control=True)
    a, w = sp.symbols("a w", positive=True)
    at = {delta: eta_w * a**2 - eta_a * w**2, size: a * w}
    what = "Psi'(|beta|)/|beta| - sqrt(2 eta_a)/|a|, at beta = a w"
    summed = sp.sqrt(sp.factor((k**2).xreplace(at)))
    slope = sp.sqrt(sp.expand(summed - at[delta]))
    yield identity(what, slope / (a * w) - sp.sqrt(2 * eta_a) / a)


def _limits() -> Iterator[Claim]:
    """(a at the end/a at the start)^2 from a given beta0, far from balance."""
    begin, least, angle, small = sp.symbols("b s theta epsilon", positive=True)
    product, far = eta_a * eta_w, 1 / small
    k = spread(begin, far, product)
    # K + |delta| and K - |delta|, the latter without cancellation; one of them is
    # 2 eta_w a_0^2, and the other 2 eta_a |w_0|^2.
    heavy, light = k + far, 4 * product * begin**2 / (k + far)
    known = far + light / 2 * sp.sin(angle) ** 2
    root = sp.sqrt(known**2 + 4 * product * least**2)
    found = sp.limit(sp.simplify((known + root) / heavy), small, 0, "+")
    what = "delta -> oo, nearest to beta0: lim a_inf^2/a_0^2 - 1"
    yield identity(what, found - 1)
    known = heavy / 2 * sp.sin(angle) ** 2 - far
    root = sp.sqrt(known**2 + 4 * product * least**2)
    ratio = 4 * product * least**2 / (root - known) / light
    found = sp.limit(sp.simplify(ratio), small, 0, "+")
    what = "delta -> -oo, as beta0 leans: lim a_inf^2/a_0^2 - (|beta*|/|beta0_par|)^2"
    yield identity(what, found - (least / (begin * sp.cos(angle))) ** 2)


# ------------------------------------------------------------------ whole maps


def map_identities() -> Iterator[Claim]:
    """Theorems 4.2, B.6 and B.10."""
    w, a = Block("W"), Block("A")
    balance = conserved(GeneralLinear(w, a, EVEN)).value
    wt, at = transpose(w), transpose(a)
    # With Flax's order of the axes the map is W A.
    outer, inner = matmul(at, a), matmul(w, wt)
    right = matmul(at, wt, w, a)
    left = matmul(w, a, at, wt)
    what = "two layers, Y = A^T A, D = W^T W - A A^T: Y^2 + A^T D A - (WA)^T WA"
    yield identity(what, matmul(outer, outer) + matmul(at, balance, a) - right)
    what = "two layers, Z = W W^T: Z^2 - W D W^T - WA (WA)^T"
    yield identity(what, matmul(inner, inner) - matmul(w, balance, wt) - left)
    what = "the same with D of the other sign"
    yield identity(
        what, matmul(inner, inner) + matmul(w, balance, wt) - left, control=True
    )
    product = eta_a * eta_w
    k = spread(size, delta, product)
    for sign, name in ((1, "eta_w A^T A"), (-1, "eta_a W W^T")):
        value = (sign * delta + k) / 2
        what = f"an eigenvalue of {name}, by that of the map"
        left = value**2 - sign * delta * value - product * size**2
        yield identity(what, left)
    yield from _singular_values()
    yield from _depth()


def mirror_slope(x: Any, imbalance: Any, rates: Any, asinh: Any = sp.asinh) -> Any:
    """q' of Theorem B.6, for any rates."""
    root = rates**0.5 if isinstance(rates, float) else sp.sqrt(rates)
    return asinh(2 * root * x / abs(imbalance)) / (2 * root)


def _singular_values() -> Iterator[Claim]:
    product = eta_a * eta_w
    heavy = sp.Symbol("D", positive=True)
    k = spread(size, heavy, product)
    whole = size * mirror_slope(size, heavy, product) + (heavy - k) / (4 * product)
    slope = sp.diff(whole, size)
    yield identity("q'_delta, less stated", slope - mirror_slope(size, heavy, product))
    yield identity("q''_delta - 1/K", sp.diff(slope, size) - 1 / k)
    published = size * sp.asinh(2 * size / heavy) / 2
    published -= (sp.sqrt(4 * size**2 + heavy**2) - heavy) / 4
    what = "q_delta at unit rates, less the published one"
    yield identity(what, whole.subs({eta_a: 1, eta_w: 1}) - published)
    what = "q''_delta - 1/K of the published one at any rates"
    yield identity(what, sp.diff(published, size, 2) - 1 / k, control=True)


def _depth() -> Iterator[Claim]:
    """N balanced layers of rank one.

    Each of them moves beta along itself by r^(2 - 2/N), the first in every direction.
    """
    layers = sp.Symbol("N", positive=True)
    across = size ** (2 - 2 / layers)
    along = layers * across
    whole = layers / (layers + 1) * size ** ((layers + 1) / layers)
    slope = sp.diff(whole, size)
    what = "depth N, psi = Phi': psi'/psi - 1/(N r)"
    yield identity(what, sp.diff(slope, size) / slope - 1 / (layers * size))
    what = "depth N: Hess Phi is the inverse of the metric up to a factor"
    left = along * sp.diff(slope, size) - across * slope / size
    yield identity(what, left)
    what = "the same with one layer more in Phi"
    more = sp.diff(whole.subs(layers, layers + 1), size)
    left = along * sp.diff(more, size) - across * more / size
    yield identity(what, left, control=True)
