"""What a stream loses with its normalisation, and what DyT's alpha does instead.

`normed_streams` has the network, `normed_fields` its symmetries, `normed_identities`
the algebra, and `normed_runs` the training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lagrangian.theorems.conservation.normed_fields import counts, table
from lagrangian.theorems.conservation.normed_identities import identities, laws
from lagrangian.theorems.conservation.normed_runs import (
    Descended,
    against_alphas,
    against_the_others,
    decayed_writers,
    descend,
    judged,
    pixels_along_ones,
    scale_of_writers,
    toy,
)
from lagrangian.theorems.testbeds.oscillator import as_latex, oscillator_of
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

#: Of laws at every step, relative to their largest term.
EXACT = 1e-12
ETA = 0.05
ETAS = ETA * np.array([4, 2, 1])
TIME = 40.0
DECAY = 0.02
TOY_DECAY = 0.01


def fourth_root(times: np.ndarray) -> np.ndarray:
    """alpha^2 at late times, where alpha r is 1."""
    return 2 * np.sqrt(TOY_DECAY * times)


# ------------------------------------------------------------------ training


def _laws(seed: int, quick: bool) -> Iterator[Claim]:
    """The charges along runs of the heavy ball on minibatches, as `lg.check` has them.

    Where the symmetry is lost, its law fails.
    """
    runs = {
        "DyT": {
            "writers against alphas": (against_alphas, True),
            "scale of the writers": (scale_of_writers, False),
            "writers, without one of the alphas": (against_the_others, False),
        },
        "LayerNorm": {
            "scale of the writers": (scale_of_writers, True),
            "rows of the embedding along 1": (pixels_along_ones, True),
        },
        "RMSNorm": {
            "scale of the writers": (scale_of_writers, True),
            "rows of the embedding along 1": (pixels_along_ones, False),
        },
    }
    steps = 100 if quick else 300
    if quick:
        runs = {"DyT": dict(list(runs["DyT"].items())[:2])}
    for norm in runs:
        symmetries = [symmetry for symmetry, _ in runs[norm].values()]
        found = judged(norm, symmetries, seed, steps)
        for (name, (_, kept)), off in zip(runs[norm].items(), found, strict=True):
            what = f"heavy ball, {norm}, {name}: residual of its law"
            yield below(what, off, EXACT, control=not kept)
    if quick:
        return
    (off,) = judged("LayerNorm", [scale_of_writers], seed, steps, epsilon=1e-5)
    what = "heavy ball, LayerNorm with epsilon = 1e-5, scale: residual of its law"
    yield below(what, off, EXACT, control=True)
    (off,) = judged(
        "DyT", [against_alphas], seed, steps, lambda w: decayed_writers(w, 0.05, 0.9)
    )
    what = "DyT, decay of the writers alone, as optax has it: residual of the law"
    yield below(what, off, EXACT)


def _descent(seed: int) -> Iterator[Claim | Panel]:
    """Gradient descent: alpha^2 grows as the writers do, up to the order of eta."""
    runs = descend(seed, ETAS, TIME)
    charges = [run.charge for run in runs]
    moved = np.array([abs(q[-1] - q[0]) for q in charges])
    off = max(
        np.abs(np.diff(run.charge) - run.gained).max() / run.charge[0] for run in runs
    )
    what = "DyT, gradient descent: |w|^2 - alpha^2 of a step, less eta^2(|g_w|^2"
    yield below(f"{what} - |g_alpha|^2)", off, EXACT)
    yield order("DyT: motion of |w|^2 - alpha^2, in eta", 1, ETAS, moved)
    last = runs[-1]
    grown = last.writers - last.writers[0], last.alphas - last.alphas[0]
    what = f"DyT, eta = {ETA:g}: what alpha^2 gains over what |w|^2 does"
    yield close(what, 1.0, grown[1][-1] / grown[0][-1], 0.01)
    what = f"DyT, eta = {ETA:g}: |w|^2 alone stays, as it does behind a norm"
    kept = last.writers[-1] / last.writers[0]
    yield close(what, 1.0, kept, 0.01, control=True)
    time = np.linspace(0, TIME, len(grown[0]))
    few = slice(None, None, max(1, len(time) // 40))
    yield Panel(
        "DyT on the digits: growth of squares",
        "time",
        "",
        (
            Curve("sum alpha^2", time[few], grown[1][few], "points"),
            Curve("|writers|^2", time[few], grown[0][few], "predicted"),
        ),
    )


def _decay(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """With decay of both the charge fades; of the writers alone it grows for ever."""
    told = float(np.exp(-2 * DECAY * TIME))
    if not quick:
        both = descend(seed, ETAS, TIME, (DECAY, DECAY))
        faded = np.array([run.charge[-1] / run.charge[0] for run in both])
        what = "DyT, decay of both: charge at the end, of e^(-2 lambda t)"
        yield close(what, told, faded[-1], 0.01)
        yield order("its distance from that, in eta", 1, ETAS, np.abs(faded - told))
    alone = descend(seed, ETAS, TIME, (DECAY, 0.0))[-1]
    found = float(alone.charge[0] - alone.charge[-1])
    grows = 2 * DECAY * ETA * alone.writers[:-1].sum()
    what = "DyT, decay of the writers: growth of alpha^2 - |w|^2, by 2 lambda |w|^2"
    yield close(what, grows, found, 0.01)
    what = "DyT, decay of the writers: charge at the end, of e^(-2 lambda t)"
    share = alone.charge[-1] / alone.charge[0]
    yield close(what, told, float(share), 0.01, control=True)
    yield from _exactly(alone)
    yield from _toy()


def _exactly(run: Descended) -> Iterator[Claim]:
    """The law of a step with decay of the writers, as `normed_identities` has it."""
    told = (1 - ETA * DECAY) ** 2 * run.writers[:-1] - run.alphas[:-1] + run.gained
    told = told + 2 * ETA**2 * DECAY * run.pulled
    off = np.abs(run.charge[1:] - told).max() / run.writers[0]
    yield below("the same of a step, exactly", off, EXACT)


def _toy() -> Iterator[Claim | Panel]:
    times = np.geomspace(10, 1e5, 60)
    alpha, r = toy(TOY_DECAY, times)
    what = "(alpha r - 1)^2/2, decay of r: alpha^2 at t = 1e5"
    yield close(what, float(fourth_root(times[-1:])[0]), alpha[-1] ** 2, 0.02)
    early = int(np.argmin(np.abs(times - 1e3)))
    what = "the same at t = 1e3, where it has not yet forgotten its start"
    told = float(fourth_root(times[early : early + 1])[0])
    yield close(what, told, alpha[early] ** 2, 0.02, control=True)
    late = times > 1e3
    rate = np.polyfit(np.log(times[late]), np.log(alpha[late]), 1)[0]
    yield close("the same: exponent of alpha in t", 0.25, float(rate), 0.04)
    still = toy(0.0, times)[0]
    rate = np.polyfit(np.log(times[late]), np.log(still[late]), 1)[0]
    yield close("without decay", 0.25, float(rate), 0.04, control=True)
    curves = (
        Curve("alpha^2", times, alpha**2, "points"),
        Curve("2 sqrt(lambda t)", times, fourth_root(times), "predicted"),
        Curve("r^2", times, r**2),
    )
    title = "(alpha r - 1)^2/2 with decay of r alone"
    yield Panel(title, "time", "", curves, xlog=True, ylog=True)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving what a norm is to one channel, and the charges.")
    found: list[Claim | Panel] = [*identities()]
    setting.report("Counting symmetries, by hand, by discovery and by ranks.")
    found += [*table(seed, quick), *counts(seed, quick)]
    setting.report("Training with three norms.")
    found += [*_laws(seed, quick), *_descent(seed), *_decay(seed, quick)]
    return Evidence.of(
        (
            *(as_latex(oscillator_of(law)) for law in laws()),
            r"\mathrm{LN}_i=\frac{\sqrt{C-1}\,u}{\sqrt{Cv+u^2}},\qquad "
            r"\mathrm{RMS}_i=\frac{\sqrt C\,x_i}{\sqrt{S+x_i^2}}",
            r"\tfrac{d}{dt}(\alpha^2-r^2)=2\lambda r^2,\ \alpha r=A"
            r"\quad\Rightarrow\quad \alpha^2\to 2A\sqrt{\lambda t}",
        ),
        found,
    )


THEOREM = Theorem(
    name="dynamic-tanh",
    title="What DyT loses of a norm's symmetries, and the charge that it gains",
    statement=r"""A pre-norm transformer has a residual stream of $C$ channels,
*writers* that add to it (embedding, positions, what comes out of attention and of the
hidden layers, with their biases), and *readers* behind a norm. Dynamic Tanh, DyT, has
$\tanh(\alpha x)$ with a learnt $\alpha$ in the place of LayerNorm or RMSNorm.
$\epsilon=0$ here; LayerNorm with $\epsilon>0$ loses the scale, and nothing else.

*As a function of one channel*, both norms are inverse square root units:
$\sqrt{C-1}\,u/\sqrt{Cv+u^2}$ for LayerNorm, $u=x_i-m$ with mean $m$ and variance $v$ of
the others, and $\sqrt C\,x_i/\sqrt{S+x_i^2}$ for RMSNorm, with $S$ the sum of their
squares. $\sqrt C\tanh(x/\sqrt S)$ has the same slope and the same ends, and differs at
third order.

| symmetry | LayerNorm | RMSNorm | DyT |
| --- | --- | --- | --- |
| scale of all writers | yes | yes | against all $\alpha$ |
| each row of a writer, along $(1,\dots,1)$ | yes | no | no |
| each column of a reader, along $(1,\dots,1)$ | yes | no | no |
| turn of the stream, generators | $\binom{C-1}2$ | $\binom C2$ | 0 |
| $\gamma$ against readers, $\beta$ into biases | yes | yes | yes |

The third and the fourth are linear in the parameters without $\gamma$. Attention and
the softmax have more. All that was counted by hand, and is what `discover` finds, and
the number of directions without slope.

*Charges.* Behind a norm gradient flow keeps $|w|^2$ of all writers. With DyT it keeps
$|w|^2-\sum\alpha^2$, and gradient descent adds exactly
$\eta^2(|g_w|^2-|g_\alpha|^2)$ a step: $\alpha^2$ grows as much as the writers do. So
$\alpha$ is not driven towards one over the size of the stream; what the paper sees,
$\alpha$ near $1/\mathrm{std}$ at the end of training, is by AdamW, which keeps no such
charge.

*Weight decay* on both makes the charge fade like $e^{-2\lambda t}$. On the writers
alone (the paper's recipe for images leaves one-dimensional arrays and numbers out)
$\frac{d}{dt}(\sum\alpha^2-|w|^2)=2\lambda|w|^2$: nothing is stationary while there are
writers. Where the product of a writer $r$ and $\alpha$ has become some $A$,
$\alpha^2\to2A\sqrt{\lambda t}$, so that $\alpha\sim t^{1/4}$ and the stream fades.""",
    source="Zhu, Chen, He, LeCun & Liu, Transformers without normalization (2025), for "
    "DyT; its symmetries, charges and growth are derived here.",
    prove=_prove,
    has_quick=True,
)
