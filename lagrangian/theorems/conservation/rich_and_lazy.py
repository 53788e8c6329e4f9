"""Rich and lazy learning: the minimal model solved for every imbalance, and digits.

`rich_identities` derives it, `minimal_model` has the solution, `rich_runs` measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from lagrangian.theorems.conservation.landing_runs import output_weight
from lagrangian.theorems.conservation.minimal_model import Minimal, kernel_distance
from lagrangian.theorems.conservation.rich_identities import (
    delayed_time,
    derivation,
    law_identities,
    motion_identities,
    regime_identities,
    solution_identities,
)
from lagrangian.theorems.conservation.rich_runs import (
    Data,
    best,
    descended,
    flowed,
    measured_distance,
    measured_kernel,
    net,
    neuron_data,
    start,
    time_to,
    times,
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
    equal,
    order,
)

DELTAS = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
RATES = ((1.0, 1.0), (0.5, 2.0))
ETAS = np.array([0.04, 0.02, 0.01, 0.005])
#: Of gradient flow beside the solution, and of kernels.
FLOWED, TURNED = 1e-7, 1e-6
#: Of delayed learning: the imbalances, and where w is at first and when it is timed.
DELAYED = np.array([-10.0, -20.0, -40.0, -80.0])
BEGIN, END = 0.5, 0.9
#: Of ReLU nets.
IMBALANCES = (-1.0, 0.0, 0.3, 1.0)

Path = tuple[np.ndarray, np.ndarray]


def solution(neurons: Sequence[Minimal]) -> Path:
    """a and w of neurons at `times()`, of shapes (times, k) and (times, k, d)."""
    found = [neuron.at(times()) for neuron in neurons]
    a, w = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    return a, w


def _apart(path: Path, other: Path) -> np.ndarray:
    """The largest distance of (a, w) along the way, for each neuron."""
    square = (path[0] - other[0]) ** 2 + ((path[1] - other[1]) ** 2).sum(axis=-1)
    return np.sqrt(square.max(axis=0))


def _neurons(seed: int, wanted: np.ndarray, deltas: Sequence[float]) -> list[Minimal]:
    """Of every imbalance, both signs of a and both pairs of rates, and two of a = 0."""
    generator = np.random.default_rng([seed, 6])
    states = [(delta, sign, r) for r in RATES for delta in deltas for sign in (1, -1)]
    states += [(min(deltas), 0, rates) for rates in RATES]
    return [start(generator, wanted, *state) for state in states]


# ------------------------------------------------------------------ the solution


def _solved(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    deltas = (-2.0, 0.0, 2.0) if quick else DELTAS
    data = neuron_data(seed, 100 if quick else 300)
    neurons = _neurons(seed, best(data), deltas)
    told, flow = solution(neurons), flowed(neurons, data)
    what = f"whitened digits, {len(neurons)} neurons: gradient flow, less the solution"
    yield below(what, _apart(flow, told).max(), FLOWED)
    signs = [float(np.sign(n.a) * n.sign) for n in neurons]
    crossed = sum(sign < 0 for sign in signs)
    what = f"in some of the {len(neurons)} a changes its sign"
    yield Claim(what, "some", float(crossed), "> 0", crossed > 0)
    kept = [s for n, s in zip(neurons, signs, strict=True) if n.delta > -1e-12]
    what = "delta >= 0: how many keep the sign of a"
    yield equal(what, len(kept), sum(sign > 0 for sign in kept))
    ends = sum(np.sign(a) == n.sign for a, n in zip(flow[0][-1], neurons, strict=True))
    yield equal("the sign of a at the end", len(neurons), int(ends))
    yield below("the end, less where `implicit-bias` lands", _landed(neurons), 1e-12)
    swapped = [
        Minimal(n.a, n.w, n.wanted, n.rates[::-1]) for n in neurons if n.rates != (1, 1)
    ]
    rows = [i for i, n in enumerate(neurons) if n.rates != (1, 1)]
    part = flow[0][:, rows], flow[1][:, rows]
    what = "the solution with the rates exchanged"
    yield below(what, _apart(part, solution(swapped)).min(), FLOWED, control=True)
    yield from _mirrored(neurons, flow)
    yield _solved_panel(neurons, told, flow)
    yield from _descent(data, neurons, deltas)
    yield from _kernels(data, neurons, flow, quick)


def _landed(neurons: Sequence[Minimal]) -> float:
    """How far a at the end is from the landing that two charges single out."""
    off = []
    for n in neurons:
        end = float(n.at(1e6)[0])
        place = output_weight(n.wanted, np.zeros_like(n.w), n.delta, n.rates)
        off.append(abs(abs(end) / place - 1))
    return max(off)


def _mirrored(neurons: Sequence[Minimal], flow: Path) -> Iterator[Claim]:
    """Where a neuron of the opposite imbalance takes the same map."""
    rows = [i for i, n in enumerate(neurons) if abs(n.delta) > 0.5 and n.a != 0]
    a, w = solution([neurons[i].opposite() for i in rows])
    maps = a[..., None] * w, flow[0][:, rows, None] * flow[1][:, rows]
    off = np.linalg.norm(maps[0] - maps[1], axis=-1).max(axis=0)
    what = "a w from the same a w, with the sign of delta exchanged"
    yield below(what, off.min(), FLOWED, control=True)


def _solved_panel(neurons: Sequence[Minimal], told: Path, flow: Path) -> Panel:
    curves: list[Curve] = []
    for i, n in enumerate(neurons):
        if n.rates == RATES[0] and n.a != 0:
            known, found = (
                path[0][:, i] * (path[1][:, i] @ n.wanted) for path in (told, flow)
            )
            labels = ("", "") if curves else ("gradient flow", "solution")
            curves.append(Curve(labels[0], times()[::2], found[::2], "points"))
            curves.append(Curve(labels[1], times(), known, "predicted"))
    title = "beta along beta*, delta from -4 to 4, both signs of a"
    return Panel(title, "time", "a w.beta*", tuple(curves))


# ------------------------------------------------------------------ descent


def _descent(
    data: Data, neurons: Sequence[Minimal], deltas: Sequence[float]
) -> Iterator[Claim]:
    """Training at a finite rate: at first order beside the solution."""
    told = solution(neurons)
    runs = np.array([_apart(descended(neurons, data, eta), told) for eta in ETAS])
    for delta in deltas:
        rows = [i for i, n in enumerate(neurons) if abs(n.delta - delta) < 1e-9]
        what = f"descent, delta = {delta:g}, {len(rows)} neurons: from the solution"
        yield order(what, 1, ETAS, runs[:, rows].max(axis=1), 0.1)
    rows = [i for i, n in enumerate(neurons) if n.rates != (1, 1) and n.a != 0]
    alike = solution([Minimal(n.a, n.w, n.wanted) for n in (neurons[i] for i in rows)])
    few = [neurons[i] for i in rows]
    off = [_apart(descended(few, data, eta), alike).min() for eta in ETAS]
    what = "descent with unequal rates, from the solution of equal ones"
    yield order(what, 1, ETAS, off, 0.1, control=True)


def _unwhitened(seed: int) -> Iterator[Claim]:
    """On pixels as they are the solution is another."""
    data = neuron_data(seed, 300, whitened=False)
    generator = np.random.default_rng([seed, 7])
    neurons = [start(generator, best(data), d, 1, RATES[0]) for d in (-2.0, 0.0, 2.0)]
    told = solution(neurons)
    off = [_apart(descended(neurons, data, eta), told).min() for eta in ETAS]
    what = "descent on pixels that are not whitened, from the solution"
    yield order(what, 1, ETAS, off, 0.1, control=True)


# ------------------------------------------------------------------ kernels


def _kernels(
    data: Data, neurons: Sequence[Minimal], flow: Path, quick: bool
) -> Iterator[Claim | Panel]:
    """How far the tangent kernel turns, measured by gradients on the digits."""
    later = (-1,) if quick else (5, -1)
    rows = [i for i, n in enumerate(neurons) if n.rates == RATES[1] and n.a > 0]
    rows = rows[:1] if quick else rows
    off, published, ends = [], [], []
    for i in rows:
        n = neurons[i]
        along = [(flow[0][k, i], flow[1][k, i]) for k in (0, *later)]
        kernels = [measured_kernel(neuron, n.rates, data[0]) for neuron in along]
        for k, kernel in zip(later, kernels[1:], strict=True):
            a, w = n.at(times()[k])
            then, now = (n.a, n.w), (float(a), w)
            found = measured_distance(kernels[0], kernel)
            off.append(abs(found - kernel_distance(then, now, n.rates)))
            wrong = kernel_distance(then, now, n.rates, as_published=True)
            published.append(abs(found - wrong))
        ends.append(found)
    what = f"tangent kernels of {len(off)} pairs: S(0, t), less that of the solution"
    yield below(what, max(off), TURNED)
    what = "the same with a0 for a_t in one norm, as the paper's notebook has it"
    yield below(what, min(published), TURNED, control=True)
    deltas = np.linspace(-12, 12, 97)
    wanted, chance = neurons[0].wanted, np.random.default_rng(0)
    told = []
    for delta in deltas:
        n = start(chance, wanted, delta, 1, RATES[1])
        a, w = n.at(times()[-1])
        told.append(kernel_distance((n.a, n.w), (float(a), w), n.rates))
    points = np.array([neurons[i].delta for i in rows])
    curves = (
        Curve("measured", points, np.array(ends), "points"),
        Curve("solution", deltas, np.array(told), "predicted"),
    )
    yield Panel("rich and lazy: how far the kernel turns", "delta", "S(0, 8)", curves)


def _regimes(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Lazy to second order, and rich after a time that grows like -delta."""
    data = neuron_data(seed, 100 if quick else 300)
    wanted = best(data)
    far = np.array([40.0, 80.0, 160.0])
    turned = []
    for delta in far:
        n = start(np.random.default_rng([seed, 8]), wanted, delta, 1, RATES[0])
        end = n.at(60.0)
        turned.append(kernel_distance((n.a, n.w), (float(end[0]), end[1]), n.rates))
    yield order("lazy: S(0, oo) in 1/delta", 2, 1 / far, turned)
    unit = delayed_time(END, np) - delayed_time(BEGIN, np)
    ratio = np.array([time_to(END, BEGIN, d) / -d / unit for d in DELAYED])
    what = f"delta = -20: the time from phi = {BEGIN} to {END}, over the delayed one"
    yield close(what, 1.0, ratio[1], 0.01)
    excess = np.abs(ratio - 1)
    yield order("the same less 1, in 1/delta", 2, -1 / DELAYED, excess)
    what = "delta = -20: the time over that of balanced layers"
    balanced = 2 * (np.arctanh(END) - np.arctanh(BEGIN))
    yield close(what, 1.0, 20 * unit * ratio[1] / balanced, 0.01, control=True)
    known = (DELAYED[-1] / DELAYED) ** 2
    curves = (
        Curve("measured", -DELAYED, excess, "points"),
        Curve("second order", -DELAYED, excess[-1] * known, "predicted"),
    )
    title = "delayed: time to turn, over that of the simple law"
    yield Panel(title, "-delta", "less 1", curves, xlog=True, ylog=True)


# ------------------------------------------------------------------ ReLU


def _relu(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    deltas = (-1.0, 1.0) if quick else IMBALANCES
    runs = [net(seed, delta) for delta in deltas]
    what = f"ReLU nets on digits, {len(runs)} imbalances: loss at the end"
    yield below(what, max(run.loss for run in runs), 0.05)
    what = "imbalance of every unit, less that of the law summed over the steps"
    yield below(what, max(run.missed for run in runs), 1e-12)
    what = "the same less that of gradient flow, the start's"
    yield below(what, min(run.drift for run in runs), 1e-12, control=True)
    what = "the same of tanh units, which have no rescaling"
    yield below(what, net(seed, 1.0, jnp.tanh).missed, 1e-12, control=True)
    rates = [run.hamming / run.moved for run in runs]
    for delta, rate, control in ((1.0, rates[-1], False), (-1.0, rates[0], True)):
        what = f"activity changed over motion, delta = {delta:g} over delta = -1"
        ratio = rate / rates[0]
        yield Claim(what, "> 5", ratio, "above 5", bool(ratio > 5), control)
    changed, moved = (
        np.array([getattr(run, name) for run in runs]) for name in ("hamming", "moved")
    )
    curves = (
        Curve("activity that changed", np.array(deltas), changed),
        Curve("motion/10", np.array(deltas), moved / 10, "control"),
    )
    yield Panel("ReLU nets of 100 units on digits", "delta", "by training", curves)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the imbalance, and putting the solution in.")
    found: list[Claim | Panel] = [
        *law_identities(),
        *motion_identities(),
        *solution_identities(),
        *regime_identities(),
    ]
    setting.report("Following neurons on whitened digits.")
    found += _solved(seed, quick)
    if not quick:
        found += _unwhitened(seed)
    found += _regimes(seed, quick)
    setting.report("Training ReLU nets on digits.")
    found += _relu(seed, quick)
    return Evidence.of(derivation(), found)


THEOREM = Theorem(
    name="rich-and-lazy",
    title="Rich, lazy and delayed learning, solved for every imbalance",
    statement=r"""A linear neuron $f=a\,w\cdot x$ on whitened data, $X^TX=1$, follows
$\dot a=-\eta_a\partial_aL$, $\dot w=-\eta_w\nabla_wL$ with $L=\frac12|Xaw-y|^2$. With
$\beta^*=X^Ty\ne0$, $s=|\beta^*|$, its imbalance $\delta=\eta_wa^2-\eta_a|w|^2$ is the
charge of rescaling, and constant. Then for every $\delta$, any two rates and every
start, also $a_0=0$ and where $a$ changes its sign,
$$a=\frac{e^{\delta t/2}A}{\sqrt N},\qquad
w\cdot\beta^*=\frac{e^{\delta t/2}(2\dot A-\delta A)}{2\eta_a\sqrt N},\qquad
w_\perp=\frac{w_{0\perp}}{\sqrt N},\qquad N=1+2\eta_w\int_0^te^{\delta u}A(u)^2du,$$
$$A=a_0\cosh\frac{\Delta t}2+\frac{\delta a_0+2\eta_aw_0\cdot\beta^*}\Delta
\sinh\frac{\Delta t}2,\qquad\Delta=\sqrt{\delta^2+4\eta_a\eta_ws^2}.$$

- The sign of $a$ at the end is that of $w_0\cdot\beta^*+\frac{a_0}{2\eta_a}(\delta+
  \Delta)$. It is that of $a_0$ if $\delta\ge0$.
- $\beta=aw$ moves by $\dot\beta=-MX^T\rho$, $M=\frac{\kappa+\delta}2+\frac{\kappa-
  \delta}2\frac{\beta\beta^T}{|\beta|^2}$, $\kappa=\sqrt{\delta^2+4\eta_a\eta_w
  |\beta|^2}$; with $\mu=a|w|$ and $\phi$ the cosine between $w$ and $\beta^*$ that is
  $\dot\mu=\kappa(\phi s-\mu)$, $\dot\phi=\frac{2\eta_a\eta_w\mu s}{\kappa-\delta}
  (1-\phi^2)$.
- The tangent kernel is $K=XMX^T$. From the start to the end it turns by
  $S=1-\frac{\langle K_0,K_\infty\rangle}{|K_0||K_\infty|}$, which for a given $\beta_0$
  is of order $\delta^{-2}$ for $\delta\to\infty$ (lazy), $(1-\phi_0^2)/(d+3)$ when
  balanced, and tends to $1-\phi_0^2$ for $\delta\to-\infty$ (rich). There it is
  delayed: $\mu$ follows $\phi s$, and $\dot\phi=\frac{\eta_a\eta_ws^2}{|\delta|}\phi
  (1-\phi^2)$ to relative order $\delta^{-2}$.
- Gradient descent stays beside the solution at the first order of the learning rate.
- In a two-layer ReLU network every unit has an imbalance, which a step of gradient
  descent moves by exactly $\eta^2(g_a^2-|g_w|^2)$. On digits, from a small start,
  activities change much more for the way that the parameters go where $\delta>0$.

The paper solves the three regimes one by one, for $\delta<0$ under conditions on the
start; the form above is one for all. The notebook beside it has $a_0^2$ for $a_t^2$ in
one of the two norms of $S$, which matters while $a$ moves; that is a control here. That
the kernel of ReLU nets turns more for $\delta>0$ is not claimed: on these digits its
turn is not monotone in $\delta$.""",
    source="Kunin, Raventos, Domine, Chen, Klindt, Saxe & Ganguli, Get rich quick "
    "(2024); the solution for all imbalances at once, the sign at the end and the turn "
    "of the kernel are derived here.",
    prove=_prove,
    has_quick=True,
)
