"""AdamW on weights whose scale the loss does not feel: a second stage of Adam.

`block_adam_laws` derives it, `block_adam_runs` trains, `adam_stages` has k-Adam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.adaptive import Adam
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.theorems.adaptive.adam_bound import scale_law
from lagrangian.theorems.adaptive.adam_stages import bounded_by_the_last
from lagrangian.theorems.adaptive.block_adam_laws import (
    as_read,
    identities,
    second_stage,
    stationary,
)
from lagrangian.theorems.adaptive.block_adam_runs import (
    STRIDE,
    Followed,
    apart,
    digits,
    in_noise,
    on_digits,
    second_stages,
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
)

MOMENTA = (0.0, 0.5, 0.9)
DECAY = 0.2
#: Learning rates, on the digits and in noise; and Adam's average of squares.
ON_DIGITS, IN_NOISE = 1e-3, 1e-2
SQUARES = {ON_DIGITS: 0.99, IN_NOISE: 0.999}
#: |W| at the start on the digits, four times what it settles to.
SIZE = 0.1
#: Of laws at every step, relative to their largest term.
EXACT = 1e-11
#: Of the angle between AdamW and its dictionary, in rad.
TURNED = 0.01


def adamw(eta: float, b: float, decay: float = DECAY, **other: Any) -> Adam:
    """With one average of squares for the block, unless it is told otherwise."""
    kind: dict[str, Any] = {"eps": 0.0, "weight_decay": decay, "per_block": True}
    return Adam(eta, b, SQUARES[eta], **kind | other)


def at(rule: Adam, formula: Any) -> float:
    values = {
        learning_rate: rule.rate(0),
        momentum: rule.b1,
        weight_decay: rule.decoupled_decay,
    }
    return float(sp.sympify(formula).subs(values))


def as_published(rule: Adam) -> float:
    """eta^2 E|u|^2/E|W|^2 if W and u were at right angles."""
    return 1 - (1 - rule.rate(0) * rule.decoupled_decay) ** 2


# ------------------------------------------------------------------ noise


def _late(found: Followed) -> dict[str, float]:
    half = slice(found.square.shape[1] // 2, None)
    update, square = found.update[:, half].mean(), found.square[:, half].mean()
    return {
        "ratio": float(update / square),
        "angle": float((found.angle[:, half] ** 2).mean()),
        "inward": float(found.inward[:, half].mean() / update),
    }


def _noise(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """White noise on the sphere: the ratio, the angle, and how the norm grows."""
    replicas, steps = (16, 3000) if quick else (64, 4000)
    slack = 4 if quick else 1
    known, curves, laws = stationary(), [], []
    for b in MOMENTA[2:] if quick else MOMENTA:
        rule = adamw(IN_NOISE, b)
        size = np.sqrt(IN_NOISE / (2 * DECAY))
        for block in (True,) if quick else (True, False):
            one = adamw(IN_NOISE, b, per_block=block)
            begin = size if block else size * np.sqrt(20)
            run = in_noise(one, seed, replicas, steps, begin)
            late, name = _late(run), f"noise, b1 = {b:g}"
            name += "" if block else ", a square each"
            told = at(one, known["ratio"])
            found = IN_NOISE**2 * late["ratio"]
            what = f"{name}: eta^2 E|u|^2/E|W|^2"
            yield close(what, told, found, 0.005 * slack)
            what = f"{name}: rms angle per step"
            turn = np.sqrt(at(one, known["angle"]))
            yield close(what, turn, np.sqrt(late["angle"]), 0.0025 * slack)
            laws.append(run.scale_law.max())
            if block:
                laws.append(run.norm_law.max())
            elif b == 0.9:
                what = f"{name}: residual of the law of |W|^2"
                yield below(what, run.norm_law.max(), EXACT, control=True)
        if b:
            what = f"noise, b1 = {b:g}: eta^2 E|u|^2/E|W|^2, as published"
            yield close(what, as_published(rule), found, 0.1, control=True)
            what = f"noise, b1 = {b:g}: E<W, u>/E|u|^2"
            yield close(what, at(rule, known["inward"]), late["inward"], 0.01 * slack)
        curves += _turning(rule, run, b)
        yield from _growth(seed, b, replicas, quick)
    what = f"noise, {len(laws)} laws at every step: largest residual"
    yield below(what, max(laws), EXACT)
    title = "angle per step under white noise, by b1"
    yield Panel(title, "step", "rad", tuple(curves), ylog=True)
    yield from _broken(seed, replicas, steps, quick)


def _turning(rule: Adam, run: Followed, b: float) -> list[Curve]:
    turned = np.sqrt((run.angle**2).mean(axis=0))
    told = np.sqrt(at(rule, stationary()["angle"]))
    steps = np.arange(0, len(turned), 40)
    return [
        Curve(f"b1 = {b:g}", steps, turned[steps]),
        Curve(f"predicted {told:.5f}", steps, np.full(len(steps), told), "predicted"),
    ]


def _growth(seed: int, b: float, replicas: int, quick: bool) -> Iterator[Claim]:
    """Without decay: what |W|^2 gains, over the sum of eta^2 |u|^2."""
    free = adamw(IN_NOISE, b, 0.0)
    run = in_noise(free, seed + 1, replicas, 800 if quick else 2000, 3.0)
    gained = (run.square[:, -1] - run.square[:, 200]).sum()
    found = gained / (IN_NOISE**2 * run.update[:, 200:-1].sum())
    told = at(free, stationary()["growth"])
    yield close(f"noise, b1 = {b:g}, no decay: growth", told, found, 0.005)
    if b:
        what = f"noise, b1 = {b:g}, no decay: growth, as published"
        yield close(what, 1.0, found, 0.005, control=True)


def _broken(seed: int, replicas: int, steps: int, quick: bool) -> Iterator[Claim]:
    """Decay through the gradient; and a loss that feels the scale."""
    rule = adamw(IN_NOISE, 0.9)
    told, size = at(rule, stationary()["ratio"]), 0.5
    runs = {"not normalised": in_noise(rule, seed, replicas, steps, size, False)}
    if not quick:
        coupled = adamw(IN_NOISE, 0.9, decoupled=False)
        run = in_noise(coupled, seed, replicas, steps, size)
        runs["decay through the gradient"] = run
    for name, run in runs.items():
        found = IN_NOISE**2 * _late(run)["ratio"]
        what = f"noise, {name}: eta^2 E|u|^2/E|W|^2"
        yield close(what, told, found, 0.02, control=True)
        what = f"noise, {name}: residual of the law of <m, W>"
        yield below(what, run.scale_law.max(), EXACT, control=True)


# ------------------------------------------------------------------ digits


def stages(rule: Adam, memory: float = 1.0) -> list[float]:
    """c2, alpha, and v at the start, of the second stage that the norm is."""
    share = at(rule, second_stage()["share"]) ** memory
    size = at(rule, stationary()["growth"])
    unit = rule.rate(0) ** 2 * size / (1 - share)
    return [share, float(np.sqrt((1 - share) / size)), SIZE**2 / unit]


def _digits(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    steps = 2000 if quick else 6000
    data, curves, laws = digits(seed, steps, SIZE), [], []
    for b in MOMENTA[1:2] if quick else MOMENTA:
        rule = adamw(ON_DIGITS, b)
        run = on_digits(rule, data)
        laws += [run.scale_law.max(), run.norm_law.max()]
        both = np.array([stages(rule), stages(rule, 4.0)])
        sphere, shorter = second_stages(rule, data, both)
        others = {"memory 4 times shorter": shorter}
        if not quick:
            (others["no average"],) = second_stages(rule, data, both[:1], False)
        name, path = f"digits, b1 = {b:g}", run.angle.sum()
        what = f"{name}: angle to 2-Adam, after {path:.0f} rad of path"
        yield below(what, apart(run.places, sphere.places), TURNED)
        unit = at(rule, second_stage()["unit"])
        told = unit * sphere.average
        what = f"{name}: |W|^2 over that of 2-Adam, less 1"
        yield below(what, np.abs(run.square / told - 1).max(), 0.1)
        for how, other in others.items():
            what = f"{name}, {how}: angle to AdamW"
            yield below(what, apart(run.places, other.places), TURNED, control=True)
        published = _published_norm(rule, run)
        if b:
            what = f"{name}: |W|^2 over that as published, less 1"
            worst = np.abs(run.square / published - 1).max()
            yield below(what, worst, 0.1, control=True)
        curves += _norms(b, run.square, told, published)
    plain = adamw(ON_DIGITS, 0.9, per_block=False)
    if not quick:
        laws.append(on_digits(plain, data).scale_law.max())
    what = f"digits, {len(laws)} laws at every step: largest residual"
    yield below(what, max(laws), EXACT)
    rough = digits(seed, 400, SIZE, normalised=False)
    found = on_digits(plain, rough).scale_law.max()
    what = "digits, not normalised: residual of the law of <m, W>"
    yield below(what, found, EXACT, control=True)
    title = "|W|^2 of AdamW on the digits, and that of 2-Adam, by b1"
    yield Panel(title, "step", "", tuple(curves), ylog=True)


def _published_norm(rule: Adam, run: Followed) -> np.ndarray:
    """|W'|^2 = (1 - eta lambda)^2 |W|^2 + eta^2 |u|^2, from the start alone."""
    share, values = at(rule, second_stage()["share"]), [run.square[0]]
    for update in run.update[:-1]:
        values.append(share * values[-1] + rule.rate(0) ** 2 * update)
    return np.array(values)


def _norms(b: float, found: np.ndarray, told: Any, published: Any) -> Sequence[Curve]:
    steps = np.arange(0, len(found), 5 * STRIDE)
    curves = [
        Curve(f"b1 = {b:g}", steps, found[steps]),
        Curve("2-Adam" if b == 0.5 else "_", steps, told[steps], "predicted"),
    ]
    if b:
        label = "as published" if b == 0.5 else "_"
        curves.append(Curve(label, steps, published[steps], "control"))
    return curves


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving what is stationary, and the second stage.")
    law, scale = scale_law()
    found: list[Claim | Panel] = [scale, *identities(), *as_read()]
    setting.report("Training on the digits, by AdamW and by 2-Adam.")
    found += _digits(seed, quick)
    setting.report("Training under noise on the sphere.")
    found += _noise(seed, quick)
    setting.report("Putting Adam on Adam.")
    found += bounded_by_the_last(seed, quick)
    change = sp.latex(sum(law.changes.values()))
    stage = second_stage()
    return Evidence.of(
        (
            rf"\Delta {sp.latex(law.charge)} = {change}",
            rf"\frac{{\eta^2E|u|^2}}{{E|W|^2}} = {sp.latex(stationary()['ratio'])}",
            rf"\frac{{E|W'-W|^2}}{{E|W|^2}} = {sp.latex(stationary()['angle'])}",
            rf"c_2 = {sp.latex(stage['share'])},\quad "
            rf"|W|^2 = {sp.latex(stage['unit'])}\,v",
        ),
        found,
    )


THEOREM = Theorem(
    name="meta-adaptive",
    title="AdamW on normalised weights is Adam twice",
    statement=r"""Let the loss not change with the scale of a block $W$, and train it by
AdamW, $m'=b_1m+(1-b_1)g$, $W'=(1-\eta\lambda)W-\eta u$, $u=Dm'$, $\epsilon=0$. With
any diagonal metric $D$, on any minibatch, at any $\eta$,
$$\langle m',W'\rangle=b_1(1-\eta\lambda)\langle m,W\rangle-\eta\langle m',Dm'\rangle,$$
so that $W$ and $u$ are never at right angles if $b_1>0$. If $D$ is one number for the
block, the norm has a closed law,
$|W'|^2=(1-\eta\lambda)^2|W|^2-2\eta(1-\eta\lambda)Db_1\langle m,W\rangle
+\eta^2|u|^2$. Where that number changes slowly, with $b'=b_1(1-\eta\lambda)$:

- without decay $|W|^2$ grows by $\frac{1+b_1}{1-b_1}\eta^2|u|^2$ a step;
- a stationary state has $\frac{\eta^2E|u|^2}{E|W|^2}=\eta\lambda(2-\eta\lambda)
  \frac{1-b'}{1+b'}$ and $\frac{E|W'-W|^2}{E|W|^2}=\frac{2\eta\lambda(1-b_1)}{1+b'}$,
  whatever the gradients: each step turns the block by
  $\sqrt{2\eta\lambda(1-b_1)/(1+b_1)}$;
- the norm is a second stage of Adam without momentum, on $|u|^2$ of the block:
  $v'=c_2v+(1-c_2)|u|^2$ and $w\to w-\alpha u/\sqrt v$ on the sphere, with
  $c_2=(1-\eta\lambda)^2$, $\alpha^2=(1-c_2)\frac{1-b_1}{1+b_1}$ and
  $|W|^2=\frac{\eta^2}{1-c_2}\frac{1+b_1}{1-b_1}v$.

Adam that has an average of squares for each weight obeys the first law exactly, and the
others where the noise is isotropic.

The paper has the second stage, for $\langle W,u\rangle\approx0$: then
$|W|^2=\frac{\eta^2}{1-c_2}v$. That is so without momentum. With it $m$ still has the
gradients along which $W$ has just moved, $\langle m,W\rangle<0$, and the norm is larger
by $\frac{1+b_1}{1-b_1}$: 19 at $b_1=0.9$.

$k$-Adam, a chain of $k$ stages, makes no step larger than $B_n$ of its *last* stage
(`adam-stability`), whatever stages are before it, and does not feel the scale of
gradients. The bound is attained. Where a gradient has become zero, a last stage with
$b_2<b_1^2$ does not grow if the stages before fade more slowly than its averages.""",
    source="Gould & Tanaka, Continuous-time analysis of adaptive optimization and "
    "normalization (2024), for the second stage and k-Adam; the laws with momentum, at "
    "finite learning rates, are derived here.",
    prove=_prove,
    has_quick=True,
)
