"""Where training lands: the interpolator that the charges of the start single out.

`landing_identities` derives it, `landing_runs` trains on digits, and `landing_flows`
follows gradient flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optax
import sympy as sp

from lagrangian.theorems.conservation.landing_flows import (
    Shape,
    deep_error,
    least_potential,
    map_error,
    neuron,
    singular_error,
)
from lagrangian.theorems.conservation.landing_identities import (
    charge_identities,
    landing_identities,
    laws,
    map_identities,
    mirror_slope,
    potential,
)
from lagrangian.theorems.conservation.landing_runs import (
    RATES,
    Landed,
    decayed,
    digits,
    heavy_ball,
    imbalance,
    landing,
    start,
    train,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    order,
)

DELTAS = (-3.0, 0.0, 3.0)
#: By name: the momentum, the learning rate, and whether on minibatches.
RULES = {
    "gradient descent": (0.0, 0.2, False),
    "heavy ball 0.9": (0.9, 0.1, False),
    "minibatches of 5": (0.0, 0.2, True),
}
ADAM = optax.scale_by_adam()
ETAS = np.array([0.1, 0.05, 0.025, 0.0125])
#: Of the landing, and of runs where a hypothesis is broken.
EXACT, BROKEN = 1e-10, 0.02

#: (inputs, outputs, hidden units) and delta for which Theorem 4.2 holds.
WHOLE: tuple[tuple[Shape, float], ...] = (
    ((4, 3, 3), 0.8),
    ((3, 4, 3), -0.8),
    ((3, 3, 3), 0.8),
    ((3, 3, 3), -0.8),
    ((3, 4, 4), 0.8),
    ((4, 3, 4), -0.8),
    ((3, 5, 5), 0.8),
    ((5, 3, 5), -0.8),
)
#: And for which it does not; the first two have h >= min(d, c).
NOT_WHOLE: tuple[tuple[Shape, float], ...] = (
    ((4, 3, 3), -0.8),
    ((3, 4, 3), 0.8),
    ((5, 4, 2), 0.8),
    ((5, 4, 2), -0.8),
)
#: For which Theorem B.6 does: hidden units enough for every singular value.
ALIGNED: tuple[tuple[Shape, float], ...] = (
    ((3, 5, 4), 0.8),
    ((4, 3, 3), -0.8),
    ((5, 3, 4), -0.8),
    ((3, 3, 3), 0.8),
)


def summed_imbalance(first: tuple[float, Any], run: Landed, name: str) -> float:
    """delta at the end, by the law summed over the steps."""
    momentum, eta, _ = RULES[name]
    grown = (1 + momentum) / (1 - momentum) * run.summed
    return imbalance(*first) + eta**2 * RATES[0] * RATES[1] * grown


# ------------------------------------------------------------------ digits


def _digits(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    data, pairs = digits(seed), []
    starts = [(delta, against) for delta in DELTAS for against in (False, True)]
    starts = [(-1.5, True), (3.0, False)] if quick else starts
    crossed = 0
    for name, (momentum, eta, minibatches) in RULES.items():
        missed, off, old, fit = [], [], [], []
        for delta, against in starts:
            first = start(seed, delta, against)
            run = train(seed, first, eta, heavy_ball(momentum), minibatches)
            told = summed_imbalance(first, run, name)
            place, before = (_place(data, first, run, x) for x in (told, None))
            missed.append(abs(run.imbalance - told))
            off.append(run.distance(place))
            old.append(run.distance(before))
            fit.append(run.residual)
            crossed += run.a < 0
            pairs.append((place, run.beta))
        what = f"digits, {name}, {len(off)} starts"
        yield below(f"{what}: largest residual at the end", max(fit), 1e-12)
        yield below(f"{what}: delta, less that of the summed law", max(missed), EXACT)
        yield below(f"{what}: distance from the landing", max(off), EXACT)
        what = f"{what}: from that of delta at the start, the nearest"
        yield below(what, min(old), EXACT, control=True)
    what = f"digits: in some of the {len(pairs)} runs a changes its sign"
    yield Claim(what, "some", float(crossed), "> 0", crossed > 0)
    yield _landing_panel(pairs)
    yield from _order(seed)
    yield from _broken(seed)


def _place(data: Any, first: Any, run: Landed, delta: float | None) -> np.ndarray:
    """The landing from a start, by delta at the end; without it by that of the start.

    The sign of a is that of the run.
    """
    delta = imbalance(*first) if delta is None else delta
    return landing(data, first[1], delta, float(np.sign(run.a)))


def _landing_panel(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Panel:
    told, found = (np.concatenate(part) for part in zip(*pairs, strict=True))
    ends = np.array([told.min(), told.max()])
    curves = (
        Curve("trained", told[::3], found[::3], "points"),
        Curve("predicted", ends, ends, "predicted"),
    )
    title = f"weights of {len(pairs)} neurons that fit the same digits"
    return Panel(title, "by the charges", "beta, an entry", curves)


def _order(seed: int) -> Iterator[Claim | Panel]:
    """By how much the charge of gradient flow misses, and that of training."""
    data, first = digits(seed), start(seed, 3.0)
    runs = [train(seed, first, float(eta), heavy_ball()) for eta in ETAS]
    flow = np.array([run.distance(_place(data, first, run, None)) for run in runs])
    exact = np.array(
        [run.distance(_place(data, first, run, run.imbalance)) for run in runs]
    )
    yield order("digits: distance from the landing of gradient flow", 1, ETAS, flow)
    what = f"digits, {len(ETAS)} learning rates: with delta as measured"
    yield below(what, exact.max(), EXACT)
    curves = (
        Curve("delta of the start", ETAS, flow, "points"),
        Curve("first order", ETAS, flow[-1] * ETAS / ETAS[-1], "predicted"),
        Curve("delta of the end", ETAS, exact),
    )
    title = "distance from the landing"
    yield Panel(title, "learning rate", "relative", curves, xlog=True, ylog=True)


def _broken(seed: int) -> Iterator[Claim]:
    """Whatever is not kept: the landing is not where training ends."""
    data, first = digits(seed), start(seed, 0.0)
    ball, one_more = heavy_ball(0.9), len(data[0]) + 1
    more = train(seed, first, 0.1, ball, images=one_more)
    runs = {
        "Adam": train(seed, first, 1e-2, ADAM, most=20_000),
        "weight decay 1e-4": train(seed, first, 0.2, decayed(1e-4), most=20_000),
        "fitting one image more": more,
    }
    for name, run in runs.items():
        off = run.distance(_place(data, first, run, run.imbalance))
        what = f"digits, {name}: distance from the landing, delta as measured"
        yield below(what, off, BROKEN, control=True)
    what = "digits, fitting one image more: residual of the 20"
    yield below(what, more.residual, 1e-12)
    ordinary = train(seed, first, 0.1, ball)
    least = np.linalg.pinv(data[0]) @ data[1]
    what = "digits: distance from the interpolator of least norm"
    yield below(what, ordinary.distance(least), BROKEN, control=True)


# ------------------------------------------------------------------ gradient flow


def _flows(seed: int, quick: bool) -> Iterator[Claim]:
    """A neuron along its gradient flow, and the potential of Theorem 3.1."""
    generator = np.random.default_rng([seed, 3])
    off: list[float] = []
    least: dict[bool, list[float]] = {False: [], True: []}
    for k in range(6 if quick else 20):
        rates = ((1.0, 1.0), (0.6, 1.5))[k % 2]
        found = neuron(generator, rates, against=k % 4 > 1)
        sign = float(np.sign(found.last[0]))
        place = landing(found.data, found.first[1], found.delta, sign, rates)
        size = np.linalg.norm(found.beta)
        off.append(float(np.linalg.norm(place - found.beta) / size))
        best = least_potential(found, *_numbers(rates[0] * rates[1]))
        gap = float(np.linalg.norm(best - found.beta) / size)
        least[found.crosses].append(gap)
    what = f"gradient flow, {len(off)} neurons: distance from the landing"
    yield below(what, max(off), 1e-7)
    what = f"{len(least[False])} whose a keeps its sign: from the minimum of Psi"
    yield below(what, max(least[False]), 1e-5)
    what = f"{len(least[True])} whose a changes its sign: from that minimum"
    yield below(what, min(least[True]), 1e-5, control=True)


def _numbers(product: float) -> tuple[Any, Any]:
    """Psi and its derivative as NumPy functions."""

    def slope(x: Any, imbalance: float) -> Any:
        return np.sqrt(np.sqrt(imbalance**2 + 4 * product * x**2) - imbalance)

    return lambda x, imbalance: float(potential(x, imbalance, product)), slope


def _mirror() -> tuple[Any, Any]:
    """q' of Theorem B.6 and its inverse, at unit rates."""
    dual = lambda x, imbalance: mirror_slope(x, imbalance, 1.0, np.arcsinh)
    return dual, lambda y, imbalance: abs(imbalance) * np.sinh(2 * y) / 2


def _maps(seed: int, quick: bool) -> Iterator[Claim]:
    """Theorems 4.2, B.6 and B.10, where they hold and where not."""
    generator = np.random.default_rng([seed, 4])
    rates = ((1.0, 1.0),) if quick else ((1.0, 1.0), (0.6, 1.5))
    few = slice(2 if quick else None)
    for shape, delta in WHOLE[few]:
        off = max(map_error(generator, shape, delta, pair) for pair in rates)
        yield below(f"Theorem 4.2, {_said(shape, delta)}: the map", off, 1e-6)
    for shape, delta in NOT_WHOLE[few]:
        off = map_error(generator, shape, delta)
        what = f"Theorem 4.2, {_said(shape, delta)}: the map"
        yield below(what, off, 1e-6, control=True)
    off = map_error(generator, (3, 3, 3), None)
    yield below("Theorem 4.2, unequal imbalances: the map", off, 1e-6, control=True)
    for shape, delta in ALIGNED[few]:
        off = singular_error(generator, shape, delta, _mirror())
        what = f"Theorem B.6, {_said(shape, delta)}: singular values"
        yield below(what, off, 1e-6)
    shape, delta = (5, 4, 2), 0.8
    off = singular_error(generator, shape, delta, _mirror())
    what = f"Theorem B.6, {_said(shape, delta)}: singular values"
    yield below(what, off, 1e-6, control=True)
    for layers in (2, 3) if quick else (2, 3, 4):
        off = deep_error(generator, layers)
        what = f"Theorem B.10, {layers} balanced layers of rank one: the landing"
        yield below(what, off, 1e-8)
    off = deep_error(generator, 2, 0.5)
    what = "Theorem B.10, 2 layers, the last by half too long: the landing"
    yield below(what, off, 1e-8, control=True)


def _said(shape: Shape, delta: float) -> str:
    d, c, h = shape
    return f"(d, c, h) = ({d}, {c}, {h}), delta = {delta:g}"


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the two laws, and where they leave training to end.")
    found: list[Claim | Panel] = [
        *charge_identities(),
        *landing_identities(),
        *map_identities(),
    ]
    setting.report("Training neurons on digits until they fit.")
    found += _digits(seed, quick)
    setting.report("Following gradient flow, of whole maps and of deep ones.")
    found += [*_flows(seed, quick), *_maps(seed, quick)]
    return Evidence.of(_derivation(), found)


def _derivation() -> tuple[str, ...]:
    translation, rescaling = laws()
    lines = [
        rf"\Delta {sp.latex(law.charge)} = {sp.latex(sp.Add(*law.changes.values()))}"
        for law in (translation, rescaling)
    ]
    return (
        *lines,
        r"\eta_w a^2-\eta_a\left(\frac{|\beta^*|^2}{a^2}+|w_\perp|^2\right)=\delta"
        r"\quad\Rightarrow\quad a_\infty^2=\frac{B+\sqrt{B^2+4\eta_a\eta_w"
        r"|\beta^*|^2}}{2\eta_w},\quad B=\delta+\eta_a|w_\perp|^2",
    )


THEOREM = Theorem(
    name="implicit-bias",
    title="Where training lands, by two Noether charges",
    statement=r"""A linear neuron $f=a\,w\cdot x$ with learning rates $\eta\eta_a$,
$\eta\eta_w$ fits $n<d$ examples $X\beta=y$, $\beta=aw$, in infinitely many ways. Its
loss depends on $w$ through $Xw$ alone, so that $w\to w+sv$ is a symmetry for every $v$
with $Xv=0$, and $a\to e^sa$, $w\to e^{-s}w$ is one. Their charges determine the end.
With $\beta^*=X^+y$, $w_\perp=(1-X^+X)w_0$ and $B=\delta_\infty+\eta_a|w_\perp|^2$,
$$\beta_\infty=\beta^*+a_\infty w_\perp,\qquad
a_\infty^2=\frac{B+\sqrt{B^2+4\eta_a\eta_w|\beta^*|^2}}{2\eta_w}.$$

- $\langle v,w\rangle$ does not change, at any learning rate, with any momentum $b$ and
  on minibatches, if training starts without momentum.
- $\delta=\eta_wa^2-\eta_a|w|^2$ ends at exactly $\delta_0+\eta^2\eta_a\eta_w
  \frac{1+b}{1-b}\sum_k(\eta_ap_a^2-\eta_w|p_w|^2)$, a sum over the traces $p$ of all
  steps, if these converge. Along gradient flow it is $\delta_0$: where training lands
  differs from that by the first order in $\eta$.
- The sign of $a_\infty$ is what the charges leave open. While it is that of $a_0$,
  $\beta_\infty$ is the minimum of $\Psi_\delta(\beta)-\Psi_\delta'(|\beta_0|)\,
  \beta_0\cdot\beta/|\beta_0|$ among interpolators (Theorem 3.1, which assumes that
  $\beta$ is never zero), with $\Psi_\delta=\frac{(K-2\delta)\sqrt{K+\delta}}
  {3\sqrt{\eta_a\eta_w}}$, $K=\sqrt{\delta^2+4\eta_a\eta_w|\beta|^2}$. The formula above
  holds when $a$ crosses zero, too. For $\delta\to\infty$ it is the interpolator nearest
  to $\beta_0$; for $\delta\to-\infty$ the one that leans against the null space of $X$
  as $\beta_0$ does.

Two linear layers, $W$ of shape $(h,d)$ and $A$ of shape $(h,c)$, $\beta=W^TA$, with
$\eta_wAA^T-\eta_aWW^T=\delta 1_h$ along gradient flow, $G=\nabla_\beta L$:

- Theorem 4.2: $\dot\beta=-\frac12\left[G\sqrt{\delta^2+4\eta_a\eta_w\beta^T\beta}+
  \sqrt{\delta^2+4\eta_a\eta_w\beta\beta^T}\,G\right]$. By the charge, $Y=\eta_wA^TA$
  has $Y^2-\delta Y=\eta_a\eta_w\beta^T\beta$, and this determines $Y$ unless it has
  an eigenvalue 0 where $\delta$ would do as well. For $\delta>0$, which needs $h\le c$,
  it has none just if $h=c$; for $\delta<0$ the same of $\eta_aW^TW$ needs $h=d$.
  $h\ge\min(d,c)$ is not enough here.
- Theorem B.6: it is enough for the singular values $\lambda$ of a map that is aligned
  with whitened data: $\frac{d}{dt}q_\delta'(\lambda)=-\partial L/\partial\lambda$,
  $q_\delta''=1/\sqrt{\delta^2+4\eta_a\eta_w\lambda^2}$.
- Theorem B.10: $N$ balanced layers of rank one keep the part of
  $|\beta|^{1/N-1}\beta$ in the null space of $X$, the charge of the translations of the
  first layer.

Adam, weight decay and one more image to fit each break a charge, and training then
lands elsewhere.""",
    source="Kunin, Raventos, Domine, Chen, Klindt, Saxe & Ganguli, Get rich quick "
    "(2024), for Theorems 3.1, 4.2, B.6 and B.10; the landing from the charges, at "
    "finite learning rates, and the conditions on the dimensions are derived here.",
    prove=_prove,
    has_quick=True,
)
