"""How large Adam's steps can become: the sharp bound, its boundary, and the growth.

`adam_bound` has the identities, `adam_runs` the steps that optax makes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp

from lagrangian.theorems.adaptive.adam_bound import (
    bound_identities,
    boundary_identities,
    exponent,
    scale_law,
)
from lagrangian.theorems.adaptive.adam_runs import (
    Pair,
    bias,
    bound,
    largest_steps,
    scale_residual,
    steps_on,
    unbiased_bound,
)
from lagrangian.theorems.testbeds.classifier import (
    cross_entropy,
    without_normalisation,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    close,
    order,
)

#: (b1, b2) with b2 above b1^2, and below it.
STABLE: tuple[Pair, ...] = ((0.9, 0.999), (0.9, 0.95), (0.95, 0.999), (0.9, 0.99))
UNSTABLE: tuple[Pair, ...] = (
    (0.9, 0.80),
    (0.9, 0.75),
    (0.95, 0.88),
    (0.97, 0.9),
    (0.99, 0.95),
    (0.99, 0.9),
)
#: b1^2 < b2 < b1/(2 - b1): bounded, and beyond the boundary of the continuous model.
BETWEEN: Pair = (0.9, 0.815)
RMSPROP: Pair = (0.0, 0.9)


def growth(pair: Pair) -> float:
    """ln(b1^2/b2)/2, by which a step grows beyond the boundary."""
    return float(np.log(pair[0] ** 2 / pair[1]) / 2)


def continuous_growth(pair: Pair) -> float:
    """|C|/2, of the continuous model."""
    return float(abs(exponent(*pair))) / 2


def largest(pair: Pair) -> float:
    """The bound after any number of steps, for b2 > b1^2."""
    first, second = pair
    return (1 - first) / float(np.sqrt((1 - second) * (1 - first**2 / second)))


def continuous_largest(pair: Pair) -> float:
    """The same of the continuous model, for C > 0: K_b1^2/K_b2, integrated."""
    first, second = pair
    rates = (1 - first) / first, (1 - second) / second
    return rates[0] / float(np.sqrt(rates[1] * exponent(first, second)))


def slope(steps: np.ndarray, pair: Pair, first: int) -> float:
    """The rate at which |u_n| without its bias factors grows, from a step on."""
    n = np.arange(1, len(steps) + 1)
    sizes = np.log(np.abs(steps) / bias(pair, n))
    return float(np.polyfit(n[first:], sizes[first:], 1)[0])


def named(pair: Pair) -> str:
    return f"({pair[0]:g}, {pair[1]:g})"


# ------------------------------------------------------------------ the bound


def _worst(pair: Pair, steps: int) -> np.ndarray:
    """Gradients proportional to (b1/b2)^(n-k), for k from 1 to n."""
    return (pair[0] / pair[1]) ** np.arange(steps - 1.0, -1, -1)


def _attained(seed: int, quick: bool) -> Iterator[Claim]:
    pairs = (*STABLE, *UNSTABLE[:3], BETWEEN, RMSPROP)
    lengths = (1, 5) if quick else (1, 2, 10, 60)
    reached, exchanged = [], np.zeros(0)
    for steps in lengths:
        gradients = np.stack([_worst(pair, steps) for pair in pairs])
        found = np.abs(steps_on(pairs, gradients)[:, -1])
        reached.append(found / bound(pairs, steps)[:, 0])
        swapped = [pair[::-1] for pair in pairs if pair != RMSPROP]
        exchanged = found[: len(swapped)] / bound(swapped, steps)[:, 0]
    what = f"{len(pairs)} pairs, n = {lengths}, g_k = (b1/b2)^(n-k): |u_n|/B_n - 1"
    yield below(what, np.abs(np.array(reached) - 1).max(), 1e-12)
    what = f"n = {lengths[-1]}, b1 and b2 exchanged in B_n: |u_n|/B_n - 1"
    yield below(what, np.abs(exchanged - 1).max(), 1e-12, control=True)
    yield from _never_exceeded(seed, pairs, 40 if quick else 200)
    one = abs(float(steps_on(STABLE[1:2], np.ones((1, 1)))[0, 0]))
    without = unbiased_bound(STABLE[1], np.array([1]))[0]
    what = f"{named(STABLE[1])}, n = 1: |u|/[(1 - b1)/sqrt(1 - b2)] - 1, at most"
    yield below(what, max(0.0, one / without - 1), 1e-9, control=True)
    for pair in STABLE[:1] if quick else STABLE:
        steps = 400 if pair[0] < 0.95 else 800
        sup = unbiased_bound(pair, np.array([steps]))[0]
        yield close(f"{named(pair)}: largest m/sqrt(v)", largest(pair), sup, 1e-9)
    what = "(0.9, 0.999): largest m/sqrt(v) of the continuous model"
    yield close(
        what, continuous_largest(STABLE[0]), largest(STABLE[0]), 1e-3, control=True
    )
    epsilon = np.array([0.02, 0.01, 0.005, 0.0025])
    near = [(1 - e, 1 - e / 2) for e in epsilon]
    off = [abs(continuous_largest(p) / largest(p) - 1) for p in near]
    yield order("continuous over discrete bound, in 1 - b1", 1, epsilon, off)
    far = [(1 - e, 1 - 4 * e) for e in epsilon]
    gaps = [abs(continuous_growth(p) - growth(p)) for p in far]
    yield order("|C|/2 - ln(b1^2/b2)/2, in 1 - b1", 2, epsilon, gaps)


def _never_exceeded(seed: int, pairs: tuple[Pair, ...], steps: int) -> Iterator[Claim]:
    """Smooth, heavy-tailed and sparse gradients."""
    generator = np.random.default_rng(seed)
    shape = (len(pairs), steps, 300)
    normal = generator.normal(size=shape)
    sparse = normal * (generator.random(shape) < 0.05)
    sparse[:, 0] = 1.0  # 0/0 else, as eps is zero
    drawn = {
        "normal": normal,
        "Cauchy": generator.standard_cauchy(shape),
        "sparse": sparse,
    }
    bounds = bound(pairs, np.arange(1, steps + 1))[..., None]
    for name, gradients in drawn.items():
        reached = float((np.abs(steps_on(pairs, gradients)) / bounds).max())
        what = f"{name} gradients, {len(pairs)} pairs: max |u_n|/B_n - 1, at most"
        yield below(what, max(0.0, reached - 1), 1e-12)


# ------------------------------------------------------------------ no gradient


def _silent(seed: int, quick: bool) -> Iterator[Claim]:
    """A coordinate whose gradient becomes zero, after twenty random ones."""
    pairs = (*UNSTABLE[:2], *STABLE[:2], BETWEEN)
    pairs = pairs[::2] if quick else pairs
    gradients = np.zeros((len(pairs), 120))
    gradients[:, :20] = np.random.default_rng(seed).normal(size=20)
    found = steps_on(pairs, gradients)
    worst = max(
        abs(slope(row, pair, 20) - growth(pair))
        for row, pair in zip(found, pairs, strict=True)
    )
    what = f"no gradient, {len(pairs)} pairs on both sides: rate - ln(b1^2/b2)/2"
    yield below(what, worst, 1e-12)
    # What divides by sqrt(v) + eps stops growing where the two are alike.
    (kept,) = steps_on(pairs[:1], gradients[:1] * 1e-6, eps=1e-8)
    what = "(0.9, 0.8), gradients of 1e-6, eps = 1e-8: rate over the last 40 steps"
    yield close(what, growth(pairs[0]), slope(kept, pairs[0], 80), 0.01, control=True)


def _between(quick: bool) -> Iterator[Claim | Panel]:
    """What the continuous model calls unstable, and is not."""
    lengths = np.array([250, 500, 1000] if quick else [500, 1000, 2000])
    found = np.array(
        [
            abs(steps_on([BETWEEN], _worst(BETWEEN, n)[None])[0, -1]) / bias(BETWEEN, n)
            for n in lengths
        ]
    )
    what = f"{named(BETWEEN)}: largest m/sqrt(v) after {lengths[-1]} steps"
    # What is left of the sum is r^n of it.
    yield close(what, largest(BETWEEN), found[-1], 0.01 if quick else 1e-5)
    rate = float(np.log(found[-1] / found[-2]) / (lengths[-1] - lengths[-2]))
    what = f"{named(BETWEEN)}: growth by |C|/2 beyond b2 = b1/(2 - b1)"
    yield close(what, continuous_growth(BETWEEN), rate, 0.1, control=True)


# ------------------------------------------------------------------ digits


def _digits(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """A network on the digits: rarely lit pixels and dead units have no gradient."""
    steps = 300 if quick else 600
    unstable = UNSTABLE[:2] if quick else UNSTABLE
    pairs = (*unstable, *(STABLE[:1] if quick else STABLE), BETWEEN, RMSPROP)
    found = largest_steps(pairs, seed, steps)
    n = np.arange(1, steps + 1)
    reached = (found / bound(pairs, n)).max()
    what = f"digits, {len(pairs)} pairs, {steps} steps: max |u_n|/B_n - 1, at most"
    yield below(what, max(0.0, reached - 1), 1e-9)
    curves, rates = [], {}
    for pair, row in zip(pairs, found, strict=True):
        if pair in UNSTABLE:
            rate = rates[pair] = slope(row, pair, steps // 3)
            yield close(f"digits, {named(pair)}: rate", growth(pair), rate, 0.01)
            if pair == UNSTABLE[0]:
                what = f"digits, {named(pair)}: rate |C|/2"
                yield close(what, continuous_growth(pair), rate, 0.01, control=True)
        if pair in (*UNSTABLE[:3], BETWEEN):
            places = n[steps // 3 :: 20] - 1
            told = row[steps // 3] * np.exp(growth(pair) * (n - 1 - steps // 3))
            curves.append(Curve(named(pair), n[::20], row[::20], "points"))
            if pair in UNSTABLE:
                first = pair == UNSTABLE[0]
                label = "ln(b1^2/b2)/2" if first else "_"
                curves.append(Curve(label, n[places], told[places], "predicted"))
    at = pairs.index(BETWEEN)
    what = f"digits, {named(BETWEEN)}: max |u_n| over 2.97, above 1"
    yield below(what, max(0.0, found[at].max() / 2.97 - 1), 1e-9)
    what = f"digits, {named(BETWEEN)}: rate"
    yield below(what, max(0.0, slope(found[at], BETWEEN, steps // 3)), 1e-3)
    what = f"digits, {named(unstable[1])}: rate, none"
    fast = pairs.index(unstable[1])
    yield below(what, slope(found[fast], unstable[1], steps // 3), 1e-3, control=True)
    title = "largest step of Adam on the digits, by (b1, b2)"
    yield Panel(title, "step", "per learning rate", tuple(curves), ylog=True)
    yield _rates(rates)


def _rates(rates: dict[Pair, float]) -> Panel:
    """How fast steps grew, by the pair's distance from the boundary."""
    pairs = sorted(rates, key=lambda pair: pair[0] ** 2 / pair[1])
    ratio = np.array([first**2 / second for first, second in pairs])
    told = np.array([continuous_growth(pair) for pair in pairs])
    x = np.linspace(1, ratio.max(), 50)
    curves = (
        Curve("ln(b1^2/b2)/2", x, np.log(x) / 2, "predicted"),
        Curve("measured", ratio, np.array([rates[p] for p in pairs]), "points"),
        Curve("|C|/2", ratio, told, "control"),
    )
    return Panel("growth a step on the digits", "b1^2/b2", "", curves)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the bound from the code of optax.")
    law, scale = scale_law()
    found: list[Claim | Panel] = [
        *bound_identities(quick),
        *boundary_identities(),
        scale,
    ]
    setting.report("Attaining the bound.")
    found += [*_attained(seed, quick), *_silent(seed, quick), *_between(quick)]
    setting.report("Training on the digits.")
    found += _digits(seed, quick)
    what = "AdamW, normalised kernel: residual of the law of scale"
    found.append(below(what, scale_residual(cross_entropy, seed), 1e-12))
    what = "the same without normalisation"
    broken = scale_residual(without_normalisation, seed)
    found.append(below(what, broken, 1e-12, control=True))
    change = sp.latex(sum(law.changes.values()))
    law_of_scale = rf"\Delta {sp.latex(law.charge)} = {change}"
    return Evidence.of((*_DERIVATION, law_of_scale), found)


_DERIVATION = (
    r"(B_n^2-u_n^2)\,v_n = \frac{1-b_2^n}{(1-b_1^n)^2}\sum_{i<j}"
    r"\frac{(w_iV_jg_j-w_jV_ig_i)^2}{V_iV_j}, \quad "
    r"w_k=(1-b_1)b_1^{n-k},\ V_k=(1-b_2)b_2^{n-k}",
    r"\tfrac12\ln\frac{b_1^2}{b_2} + \tfrac12 C = O\left((1-b_1)^2+(1-b_2)^2\right)",
)

THEOREM = Theorem(
    name="adam-stability",
    title="Adam's step is bounded exactly when b2 > b1^2",
    statement=r"""Let $u_n=\hat m_n/\sqrt{\hat v_n}$ be Adam's step per learning rate
with decay rates $b_1$, $b_2$ and $\epsilon=0$, and $r=b_1^2/b_2$. Whatever the
gradients,
$$|u_n| \le B_n = \frac{\sqrt{1-b_2^n}}{1-b_1^n}\,\frac{1-b_1}{\sqrt{1-b_2}}
\sqrt{\sum_{j<n} r^j},$$
with equality exactly for $g_k\propto(b_1/b_2)^{n-k}$.

- $b_2>b_1^2$: $|m_n|/\sqrt{v_n}$ never exceeds $(1-b_1)/\sqrt{(1-b_2)(1-r)}$.
  RMSProp, $b_1=0$, is always bounded. At $b_2=b_1^2$ the bound grows like $\sqrt n$.
- $b_2<b_1^2$: a parameter whose gradient has become zero (a dark pixel, a dead ReLU
  unit) moves by steps that grow at the rate $\frac12\ln(b_1^2/b_2)$, until
  $\sqrt{\hat v}$ is as small as $\epsilon$.

The paper's continuous model has $C=2(1-b_1)/b_1-(1-b_2)/b_2$ in the place of $-\ln r$:
stable for $C>0$, which is $b_2>b_1/(2-b_1)$, with growth at $|C|/2$ beyond. That is the
limit of small $1-b_1$, $1-b_2$, with an error of second order in the rate. At finite
decay rates the boundary is $b_2=b_1^2$: $(0.9, 0.815)$ is bounded by 2.97, and at
$(0.9, 0.8)$ growth is 2.2 times slower than $|C|/2$.

If the loss does not change with the scale of $W$, AdamW has with every diagonal metric
$D$ the exact law $\langle m',W'\rangle = b_1(1-\eta\lambda)\langle m,W\rangle
-\eta\langle m',Dm'\rangle$.""",
    source="Gould & Tanaka, Continuous-time analysis of adaptive optimization and "
    "normalization (2024), for the bound and the region of the continuous model; those "
    "of discrete time are derived here.",
    prove=_prove,
    has_quick=True,
)
