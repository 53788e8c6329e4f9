r"""Laws of convolutions, attention, softmax and residual blocks; and of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.theorems.conservation.architecture_runs import (
    NORMALISED,
    PLAIN,
    RATES,
    Trained,
)
from lagrangian.theorems.conservation.architectures import (
    CHANNELS,
    CLASSES,
    cases,
    constant_filter,
    heads,
    residual,
    scalar_blocks,
)
from lagrangian.theorems.conservation.conserved import along_gradient_flow, conserved
from lagrangian.theorems.conservation.counted_networks import Counted
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    equal,
    identity,
    order,
)

#: Cosines between laws and what losses reach; and what rounding leaves of a sum.
ORTHOGONAL, EXACT = 1e-9, 1e-12
#: Signs of (u, v, s, t) for which the third law holds, and for which it does not.
SAME = ((1.2, 0.7, 0.9, 0.4), (-1.2, -0.7, 0.9, -0.4), (0.5, 1.1, -0.3, 0.8))
MIXED = {
    "1 + uv < 0": (-1.5, 1.2, 0.9, 0.4),
    "t of another sign": (1.2, 0.7, -0.9, -0.4),
}


def third(u: Any, v: Any, s: Any, t: Any, log: Any) -> Any:
    """The law of two scalar residual blocks that is none of either block."""
    return log(u + v) + (u**2 + v**2) / 4 - log(s + t) - (s**2 + t**2) / 4


# ------------------------------------------------------------------ exact


def exact_claims() -> Iterator[Claim]:
    """Rates along the gradient flow, with the invariance and without."""
    named = {
        "convolution, a channel": CHANNELS,
        "softmax, an input": CLASSES,
        "BatchNorm, a filter": NORMALISED["|v|^2"],
        "BatchNorm, a channel": NORMALISED["gamma^2 + beta^2 - |u|^2"],
    }
    for name, symmetry in named.items():
        what = f"{name}: X' along the gradient flow"
        yield identity(what, along_gradient_flow(symmetry, symmetry.loss))
        free = Loss("f", symmetry.blocks)
        left = along_gradient_flow(symmetry, free)
        yield identity(f"{what}, f not invariant", left, control=True)
    q = u, v, s, t = coordinates("u v s t")
    value = third(u, v, s, t, sp.log)
    whole, first = (1 + u * v) * (1 + s * t), 1 + u * v
    for name, output, control in (
        ("(1 + uv)(1 + st)", whole, False),
        ("1 + uv, the second block inactive", first, True),
    ):
        flow = {x: output.diff(x) for x in q}
        what = f"third law of two blocks: rate along the gradient of {name}"
        yield identity(what, variation(value, flow), control=control)


# ------------------------------------------------------------------ counts


def count_claims(found: Sequence[Counted]) -> Iterator[Claim]:
    """Two counts of each architecture."""
    for case in found:
        yield equal(f"{case.name}: laws", case.predicted, case.unreached)
        what = f"{case.name}: independent ones of the written laws"
        yield equal(what, case.predicted, case.written)
    what = "the largest cosine between a law's gradient and what losses reach"
    yield below(what, max(case.leak for case in found), ORTHOGONAL)


def special_claims(seed: int, quick: bool) -> Iterator[Claim]:
    """A skip connection; what breaks the hypotheses; two scalar blocks."""
    skipped, plain = (residual(2, 2, 1, seed, skip) for skip in (True, False))
    what = "one block 2-2-2, with a skip and without: sine of the largest angle"
    pair = skipped.closure.reached, plain.closure.reached
    yield below(what, _sine(*pair), 1e-8)
    yield equal("one block 2-2-2, with a skip: laws", 2, skipped.unreached)
    case = constant_filter(seed)
    what = f"{case.name}: one law a channel"
    yield equal(what, case.predicted, case.unreached, control=True)
    if not quick:
        case = heads((1, 2, 2, 1), seed)
        what = "attention to one token: as many laws as to several"
        yield equal(what, case.predicted, case.unreached, control=True)
    for values in SAME[: 1 if quick else None]:
        yield from _scalar_claims(values)
    for name, values in MIXED.items():
        what = f"two scalar blocks, {name}: cosine of the third law"
        yield below(what, _third_case(values).leak, ORTHOGONAL, control=True)


def _sine(one: np.ndarray, other: np.ndarray) -> float:
    """Of the largest principal angle between two spans of orthonormal rows."""
    left = one - one @ other.T @ other
    return float(np.linalg.norm(left, 2))


def _third_case(values: Sequence[float]) -> Counted:
    case = scalar_blocks({n: np.array(x) for n, x in zip("uvst", values, strict=True)})
    log = lambda x: jnp.log(jnp.abs(x))
    return replace(case, laws=(lambda w: third(*(w[n] for n in "uvst"), log),))


def _scalar_claims(values: Sequence[float]) -> Iterator[Claim]:
    case = _third_case(values)
    squares = (
        lambda w: w["u"] ** 2 - w["v"] ** 2,
        lambda w: w["s"] ** 2 - w["t"] ** 2,
    )
    case = replace(case, laws=(*squares, *case.laws))
    name = f"two scalar blocks at {', '.join(f'{x:g}' for x in values)}"
    yield equal(f"{name}: laws", 3, case.unreached)
    yield equal(f"{name}: independent ones with the third", 3, case.written)
    yield below(f"{name}: largest cosine", case.leak, ORTHOGONAL)


# ------------------------------------------------------------------ digits


def training_claims(
    runs: Sequence[Trained], whole: Sequence[Trained]
) -> Iterator[Claim]:
    """What SGD does to the law of a channel, exactly and by order."""
    for run in runs:
        what = f"digits, eta = {run.rate:g}: drift less sum eta^2 (|g_v|^2 - |g_u|^2)"
        yield below(what, run.excess(PLAIN), EXACT)
    rates = [run.rate for run in whole]
    moved = [float(np.linalg.norm(run.law(PLAIN)[0][-1])) for run in whole]
    yield order("digits: drift in a fixed time, order", 1, rates, moved)
    moved = [float(np.linalg.norm(run.law(PLAIN)[0][1])) for run in whole]
    yield order("digits: drift of the first step, order", 2, rates, moved)
    share = [_share(run) for run in runs]
    what = "digits: largest drift over the published bound"
    yield Claim(what, "at most 1", max(share), "<= 1", max(share) <= 1)
    what = "digits: the published bound is the drift, within a factor of 2"
    yield Claim(what, "0.5 to 1", max(share), ">= 0.5", max(share) >= 0.5, True)


def _share(run: Trained) -> float:
    return float(np.abs(run.law(PLAIN)[0]).max() / run.bound(PLAIN))


def normalised_claims(run: Trained) -> Iterator[Claim]:
    """The laws of a channel with BatchNorm, and the one without, which fails there."""
    what = "digits with BatchNorm, {}: drift less the sum of its growth"
    for name, symmetry in NORMALISED.items():
        yield below(what.format(name), run.excess(symmetry), EXACT)
    name = "|v|^2 - |u|^2, a channel"
    yield below(what.format(name), run.excess(PLAIN), EXACT, control=True)
    moved, predicted = run.law(PLAIN)
    summed = float(np.abs((moved - predicted).sum(axis=1)).max())
    name = "|v|^2 - |u|^2, summed over channels"
    yield below(what.format(name), summed, EXACT)


# ------------------------------------------------------------------ figure


def _count_panel(found: Sequence[Counted]) -> Panel:
    predicted = np.array([float(case.predicted) for case in found])
    counted = np.array([float(case.unreached) for case in found])
    rows = np.argsort(predicted, kind="stable")
    line = np.array([0.0, predicted.max()])
    curves = (
        Curve("counted", predicted[rows], counted[rows]),
        Curve("predicted", line, line, "predicted"),
    )
    title = f"{len(found)} architectures"
    return Panel(title, "laws, predicted", "laws, counted", curves)


def _path_panel(run: Trained, laws: Mapping[str, Symmetry], title: str) -> Panel:
    """The first channel along training, and what its law predicts."""
    curves, t = [], run.rate * np.arange(len(run.law(PLAIN)[0]))
    for name, symmetry in laws.items():
        moved, predicted = (y[:, 0] for y in run.law(symmetry))
        label = "_nolegend_" if curves else "measured"
        curves += [
            Curve(label, t, moved),
            Curve(f"{name}: predicted", t, predicted, "predicted"),
        ]
    if run.normalised:
        moved = run.law(PLAIN)[0][:, 0]
        curves.append(Curve("|v|^2 - |u|^2", t[::4], moved[::4], "control"))
    return Panel(title, "t", "drift of X / |X(0)|", tuple(curves))


def _order_panel(whole: Sequence[Trained]) -> Panel:
    rates = np.array([run.rate for run in whole])
    laws = [run.law(PLAIN) for run in whole]
    final = np.array([np.linalg.norm(moved[-1]) for moved, _ in laws])
    first = np.array([np.linalg.norm(moved[1]) for moved, _ in laws])
    said = [np.array([np.linalg.norm(p[k]) for _, p in laws]) for k in (-1, 1)]
    curves = (
        Curve("measured", rates, final),
        Curve("a fixed time: predicted", rates, said[0], "predicted"),
        Curve("_nolegend_", rates, first),
        Curve("the first step: predicted", rates, said[1], "predicted"),
    )
    title = "drift against the learning rate"
    return Panel(title, "learning rate", "|drift of X| / |X(0)|", curves, True, True)


# ------------------------------------------------------------------ evidence


def _derivation() -> tuple[str, ...]:
    named = {
        "convolution": CHANNELS,
        "softmax": CLASSES,
        "BatchNorm, filter": NORMALISED["|v|^2"],
        "BatchNorm, channel": NORMALISED["gamma^2 + beta^2 - |u|^2"],
    }
    lines = [
        rf"\text{{{name}}}:\quad X = {sp.latex(conserved(symmetry).value)}"
        for name, symmetry in named.items()
    ]
    value = third(*sp.symbols("u v s t", positive=True), sp.log)
    return (*lines, rf"\text{{two scalar blocks}}:\quad X = {sp.latex(value)}")


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the laws.")
    claims = [*exact_claims()]
    setting.report("Counting the laws of each architecture.")
    found = [*cases(seed, quick)]
    claims += [*count_claims(found), *special_claims(seed, quick)]
    setting.report("Training convolutions on digits, with BatchNorm and without.")
    rates = RATES[:2] if quick else RATES
    whole = [Trained(seed, rate, whole=True) for rate in rates]
    runs = whole if quick else [Trained(seed, rate) for rate in rates]
    normalised = Trained(seed, RATES[0], normalised=True)
    claims += [*training_claims(runs, whole), *normalised_claims(normalised)]
    panels = (
        _path_panel(normalised, NORMALISED, "a channel with BatchNorm, SGD on digits"),
        _count_panel(found),
        _path_panel(runs[0], {"|v|^2 - |u|^2": PLAIN}, "a channel, SGD on digits"),
        _order_panel(whole),
    )
    return Evidence(_derivation(), tuple(claims), panels)


THEOREM = Theorem(
    name="architecture-laws",
    title="Convolutions, attention and residual blocks keep laws, and BatchNorm others",
    statement=r"""Each block keeps its own laws, and a skip connection changes none:

| block | laws | number |
|---|---|---|
| two convolutions with ReLU | $v_j^2 - u_j^2$, a channel | channels between |
| two linear ones, one channel, $p$ long | Fourier modes | $\lfloor p/2\rfloor + 1$ |
| attention, 2 tokens | $QQ^T - KK^T$, $VV^T - OO^T$ | $d(d+1)$ a head of width $d$ |
| $\mathrm{softmax}(\theta x)$ | sums over classes, one an input | inputs |
| residual ReLU blocks | $v_j^2 - u_j^2$, a unit | units |

with $v_j^2$ and $u_j^2$ the squared norms of what comes into a channel and leaves it;
those of a Fourier mode are $\lvert\hat v_\omega\rvert^2 - \lvert\hat u_\omega\rvert^2$.
Two scalar residual blocks $x + u\sigma(vx)$, $y + s\sigma(ty)$ with weights $u$, $v$,
$t$ of one sign have a third law that belongs to neither,
$$\log\lvert u+v\rvert + \tfrac{u^2+v^2}4 - \log\lvert s+t\rvert - \tfrac{s^2+t^2}4 .$$
SGD moves the law of a channel by $\sum\eta^2(\lvert g_{v}\rvert^2 - \lvert
g_{u}\rvert^2)$, exactly, for every minibatch: order 1 in a fixed time. The published
bound is $\sum \eta^2 \max\lvert g\rvert^2$, which holds, and is not the drift.

**With BatchNorm** the law of a channel is another one: $\lvert v_j\rvert^2$, and
$\gamma_j^2 + \beta_j^2 - \lvert u_j\rvert^2$. Published experiments follow the sum over
channels of $\lvert v_j\rvert^2 - \lvert u_j\rvert^2$ in a network that has BatchNorm
after both convolutions. What they find, that the sum is kept to order 1, is right, but
it is kept by scale invariance, whatever the law of a channel is; channel by channel
that law fails there, and holds where there is no BatchNorm.""",
    source="Marcotte, Gribonval & Peyre, Transformative or Conservative? Conservation "
    "laws for ResNets and Transformers (2025); the third law, the Fourier modes and "
    "the laws with BatchNorm derived here.",
    prove=_prove,
    has_quick=True,
)
