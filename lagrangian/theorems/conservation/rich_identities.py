"""The minimal model of rich and lazy learning: its law, its solution, its regimes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.theorems.conservation.conserved import conserved, rate_along_flow
from lagrangian.theorems.conservation.landing_identities import (
    delta,
    eta_a,
    eta_w,
    mirror_slope,
    spread,
)
from lagrangian.theorems.theorem import Claim, identity

t, goal = sp.symbols("t s", positive=True)
angle = sp.Symbol("phi", real=True)
#: a, and w along beta* and across it.
_a, _p, _n = sp.symbols("a p n", positive=True)
_STATE = (_a, _p, _n)
_FLOW = {
    _a: eta_a * (goal * _p - _a * (_p**2 + _n**2)),
    _p: eta_w * _a * (goal - _a * _p),
    _n: -eta_w * _a**2 * _n,
}
_IMBALANCE = eta_w * _a**2 - eta_a * (_p**2 + _n**2)
#: The layers a/sqrt(eta_a) and w/sqrt(eta_w), of which a network of rates 1 is made.
_A, _W = Block("a"), Block("w")


def law_identities() -> Iterator[Claim]:
    """The imbalance, as the charge of rescaling without inertia."""
    rescale = Rescale(_A, _W)
    kept = conserved(rescale).value
    squares = {Inner(_A, _A): _a**2 / eta_a, Inner(_W, _W): (_p**2 + _n**2) / eta_w}
    kept_here = kept.xreplace(squares)
    ratio = sp.cancel(kept_here / _IMBALANCE)
    what = "the charge of rescaling as m -> 0, over delta: its slopes"
    yield identity(what, sum(abs(sp.diff(ratio, x)) for x in _STATE))
    for control, symmetries in ((False, [rescale.xi]), (True, [])):
        rate = rate_along_flow(kept, Loss("f", (_A, _W), symmetries))
        what = "delta' along gradient flow, any loss of a w.x"
        what = "delta' where rescaling is no symmetry" if control else what
        yield identity(what, rate.subs(weight_decay, 0), control=control)
    what = "delta' along the flow that is solved here"
    yield identity(what, _along(_IMBALANCE))
    swapped = eta_a * _a**2 - eta_w * (_p**2 + _n**2)
    yield identity("the same with the rates exchanged", _along(swapped), control=True)


def _along(value: Any) -> Any:
    """The derivative along the flow."""
    return sp.expand(sum(sp.diff(value, x) * v for x, v in _FLOW.items()))


# ------------------------------------------------------------------ the map


def motion_identities() -> Iterator[Claim]:
    """beta' = -M X^T rho, and the motion of |beta| and of the angle."""
    a, size = _a, sp.sqrt(_p**2 + _n**2)
    kappa = eta_w * a**2 + eta_a * size**2
    w, slope = sp.Matrix(sp.symbols("w1:4")), sp.Matrix(sp.symbols("g1:4"))
    moved = a * (-eta_w * a * slope) + w * (-eta_a * w.dot(slope))
    metric = eta_w * a**2 * sp.eye(3) + eta_a * w * w.T
    what = "beta' + (eta_w a^2 + eta_a w w^T) X^T rho"
    yield identity(what, sum(abs(x) for x in sp.expand(moved + metric * slope)))
    imbalance = eta_w * a**2 - eta_a * w.dot(w)
    long = imbalance + 2 * eta_a * w.dot(w)
    stated = (long + imbalance) / 2 * sp.eye(3)
    stated += (long - imbalance) / 2 * w * w.T / w.dot(w)
    what = "M, less (kappa + delta)/2 + (kappa - delta)/2 beta beta^T/|beta|^2"
    yield identity(what, sum(abs(x) for x in sp.simplify(metric - stated)))
    product = eta_a * eta_w
    what = "kappa^2 - delta^2 - 4 eta_a eta_w |beta|^2"
    left = kappa**2 - spread(a * size, _IMBALANCE, product) ** 2
    yield identity(what, sp.expand(left))
    mu, phi = a * size, _p / size
    yield identity("mu' - kappa (phi s - mu)", _along(mu) - kappa * (phi * goal - mu))
    stated = 2 * product * mu * goal / (kappa - _IMBALANCE) * (1 - phi**2)
    what = "phi' - 2 eta_a eta_w mu s (1 - phi^2)/(kappa - delta)"
    yield identity(what, _along(phi) - stated)
    wrong = 2 * product * mu * goal / (kappa + _IMBALANCE) * (1 - phi**2)
    yield identity("the same with kappa + delta", _along(phi) - wrong, control=True)
    r, heavy = sp.Symbol("r", positive=True), sp.Symbol("D", positive=True)
    slope = sp.diff(mirror_slope(r, heavy, product), r)
    what = "where beta lies along beta*: d/dt q'_delta(mu) - (s - mu)"
    moved = spread(r, heavy, product) * (goal - r)
    yield identity(what, slope * moved - (goal - r))


# ------------------------------------------------------------------ the solution

_whole = sp.sqrt(delta**2 + 4 * eta_a * eta_w * goal**2)
_a0, _p0 = sp.symbols("a0 p0", real=True)


def _amplitude() -> Any:
    """A(t)."""
    half = _whole * t / 2
    pull = (delta * _a0 + 2 * eta_a * goal * _p0) / _whole
    grows, falls = (_a0 + pull) / 2, (_a0 - pull) / 2
    return grows * sp.exp(half) + falls * sp.exp(-half)


def solution_identities() -> Iterator[Claim]:
    """The solution, by putting it in."""
    function: Any = sp.Function
    amplitude, norm = function("A")(t), function("N")(t)
    grown = sp.exp(delta * t / 2) / sp.sqrt(norm)
    a = grown * amplitude
    p = grown * (2 * amplitude.diff(t) - delta * amplitude) / (2 * eta_a * goal)
    n = sp.Symbol("n0", positive=True) / sp.sqrt(norm)
    rules = {
        amplitude.diff(t, 2): _whole**2 / 4 * amplitude,
        norm.diff(t): 2 * eta_w * sp.exp(delta * t) * amplitude**2,
    }
    put = {_a: a, _p: p, _n: n}

    def residual(x: Any, value: Any) -> Any:
        found = value.diff(t).subs(rules) - _FLOW[x].xreplace(put)
        return sp.simplify(found.subs(rules))

    # Where it starts with this imbalance, it has it always ...
    left = (_IMBALANCE.xreplace(put) - delta) * norm
    what = "d/dt of N (imbalance of the solution - delta)"
    yield identity(what, left.diff(t).subs(rules).expand())
    # ... and a' needs no more than that.
    excess = _IMBALANCE.xreplace(put) - delta
    what = "a' of the solution, less the flow's, + a (its imbalance - delta)"
    yield identity(what, residual(_a, a) + a * excess)
    yield identity("w.beta*/s likewise, exactly", residual(_p, p))
    yield identity("what of w is across beta*, exactly", residual(_n, n))
    stated = _amplitude()
    what = "A'' - (delta^2 + 4 eta_a eta_w s^2) A/4 of the stated A"
    yield identity(what, sp.diff(stated, t, 2) - _whole**2 / 4 * stated)
    start = stated.subs(t, 0) - _a0
    yield identity("A(0) - a0", start)
    slope = sp.diff(stated, t).subs(t, 0)
    along = (2 * slope - delta * _a0) / (2 * eta_a * goal)
    yield identity("w0.beta*/s of A'(0), less that of the start", along - _p0)
    ratio = goal * _p / _a
    stated = eta_w * goal**2 - _IMBALANCE * ratio - eta_a * ratio**2
    what = "nu = w.beta*/a: nu' - eta_w s^2 + delta nu + eta_a nu^2"
    yield identity(what, _along(ratio) - stated)
    what = "the same with eta_a and eta_w exchanged"
    wrong = eta_a * goal**2 - _IMBALANCE * ratio - eta_w * ratio**2
    yield identity(what, _along(ratio) - wrong, control=True)


# ------------------------------------------------------------------ regimes


def overlap(
    first: tuple[Any, Any], second: tuple[Any, Any], cosine: Any, inputs: Any
) -> Any:
    """(1 - S)^2 of two kernels X M X^T, whitened, by (eta_w a^2, eta_a |w|^2) of each.

    Args:
        first, second: of each kernel.
        cosine: between the two w.
        inputs: d.
    """

    def product(x: Any, y: Any, cosine: Any) -> Any:
        crossed = x[0] * y[1] + x[1] * y[0]
        return inputs * x[0] * y[0] + crossed + x[1] * y[1] * cosine**2

    size = product(first, first, 1) * product(second, second, 1)
    return product(first, second, cosine) ** 2 / size


def regime_identities() -> Iterator[Claim]:
    """How far the kernel has turned at the end, when lazy, balanced and delayed."""
    inputs, begin = sp.symbols("d mu0", positive=True)
    cosine = sp.Symbol("c", positive=True)
    product = eta_a * eta_w
    balanced = [(sp.sqrt(product) * mu,) * 2 for mu in (begin, goal)]
    found = overlap(*balanced, cosine, inputs)
    stated = (1 - (1 - cosine**2) / (inputs + 3)) ** 2
    what = "balanced: (1 - S(0, oo))^2 - (1 - (1 - phi0^2)/(d + 3))^2"
    yield identity(what, found - stated)
    what = "the same with 1 - phi0^2 for S"
    yield identity(what, found - cosine**4, control=True)
    small = sp.Symbol("epsilon", positive=True)

    def parts(mu: Any, sign: int) -> tuple[Any, Any]:
        """Of delta = sign/epsilon, times epsilon; the lighter without cancellation."""
        heavy = (sp.sqrt(1 + 4 * product * mu**2 * small**2) + 1) / 2
        light = product * mu**2 * small**2 / heavy
        return (heavy, light) if sign > 0 else (light, heavy)

    for sign, where, end in ((1, "oo", 1), (-1, "-oo", cosine**4)):
        found = overlap(*(parts(mu, sign) for mu in (begin, goal)), cosine, inputs)
        what = f"delta -> {where}: lim (1 - S(0, oo))^2 - {sp.sstr(end)}"
        yield identity(what.replace("c**4", "phi0^4"), found.subs(small, 0) - end)
    # To the order of S, (1 - S)^2 = 1 - 2 S.
    lazy = overlap(*(parts(mu, 1) for mu in (begin, goal)), cosine, inputs)
    what = "delta -> oo: the slope of S(0, oo) in 1/delta"
    yield identity(what, sp.diff(lazy, small).subs(small, 0))
    yield from _delayed(small)


def _delayed(small: Any) -> Iterator[Claim]:
    """phi' at mu = phi s, and the time that it takes."""
    mu = angle * goal
    kappa = spread(mu, 1 / small, eta_a * eta_w)
    # kappa - delta, with delta = -1/epsilon.
    rate = 2 * eta_a * eta_w * mu * goal / (kappa + 1 / small) * (1 - angle**2)
    simple = eta_a * eta_w * goal**2 * small * angle * (1 - angle**2)
    what = "delta -> -oo, mu = phi s: phi'/its simple form, at first order in 1/delta"
    ratio = sp.series(rate / simple, small, 0, 2).removeO()
    yield identity(what, ratio - 1)
    took = delayed_time(angle)
    what = "d/dphi of the time, less 1/(phi (1 - phi^2))"
    yield identity(what, sp.diff(took, angle) - 1 / (angle * (1 - angle**2)))


def delayed_time(cosine: Any, numbers: Any = sp) -> Any:
    """eta_a eta_w s^2/|delta| times the time of phi, from where ln phi/... is zero."""
    return numbers.log(cosine) - numbers.log(1 - cosine**2) / 2


def derivation() -> tuple[str, ...]:
    """What the engine and SymPy derived, in LaTeX."""
    law = conserved(Rescale(_A, _W))
    return (
        rf"\frac{{d}}{{dt}}\left({sp.latex(law.value)}\right) = 0",
        rf"A(t) = {sp.latex(_amplitude())}",
        r"a=\frac{e^{\delta t/2}A}{\sqrt N},\quad w\cdot\beta^*=\frac{e^{\delta t/2}"
        r"(2\dot A-\delta A)}{2\eta_a\sqrt N},\quad w_\perp=\frac{w_{0\perp}}{\sqrt N},"
        r"\quad N=1+2\eta_w\int_0^t e^{\delta u}A(u)^2\,du",
    )
