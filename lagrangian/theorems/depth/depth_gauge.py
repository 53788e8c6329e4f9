"""The gauge symmetry of depth: a conserved matrix at every depth, and what decay fixes.

`gauge_identities` derives it, `residual_networks` trains on the digits, `connections`
moves continuous flows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp
from scipy.linalg import expm

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.theorems.depth.connections import end_gap
from lagrangian.theorems.depth.gauge_identities import (
    conserved,
    gauge_identities,
    ward_identity,
)
from lagrangian.theorems.depth.residual_networks import (
    Batch,
    charge,
    condensed,
    cross_entropy,
    digits,
    end_map,
    gauge,
    gauged,
    halves,
    largest,
    measured_slope,
    squared_error,
    start,
    stationary,
    tanh_error,
    train,
    transposed,
    turned,
    ward,
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

LAYERS, SIZES = 40, (40, 80, 160)
ETAS = np.array([0.04, 0.02, 0.01, 0.005])
#: Of training, in eta times steps; and the weight decay.
TIME, DECAY = 10.0, 0.1


# ------------------------------------------------------------------ redundancy


def _redundancy(seed: int, data: Batch) -> Iterator[Claim]:
    what = "linear flow: gap of the end states after A(t), c(t) and another clock"
    yield below(what, end_gap(seed), 1e-9)
    what = "the same, A(1) != 1"
    yield below(what, end_gap(seed, 0.3), 1e-9, control=True)
    w, a = start(seed, LAYERS), gauge(seed, LAYERS)
    open_ended = np.stack([one @ np.linalg.inv(a[len(a) // 2]) for one in a])
    for moves, control in ((a, False), (open_ended, True)):
        ends = [data[0] @ end_map(layers).T for layers in (w, gauged(w, moves))]
        gap = float(np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(ends[0]))
        what = f"digits, {LAYERS} layers: outputs after A_(l+1) M_l A_l^-1"
        what = "the same, A_0 and A_N not 1" if control else what
        yield below(what, gap, 1e-9, control=control)


def _learning(seed: int, batch: Batch) -> Iterator[Claim]:
    """Of the redundancy, the metric of learning keeps the orthogonal part."""
    w = start(seed, LAYERS)
    plain, _ = train(squared_error, w, batch, 0.05, TIME)
    for orthogonal in (True, False):
        a = gauge(seed, LAYERS, orthogonal=orthogonal)
        moved, _ = train(squared_error, gauged(w, a), batch, 0.05, TIME)
        gap = largest(moved - gauged(plain, a)) / largest(moved)
        what = "digits: training after an orthogonal A(t) is the trained network moved"
        what = what if orthogonal else "the same of a general A(t)"
        yield below(what, gap, 1e-9, control=not orthogonal)


# ------------------------------------------------------------------ Ward identity


def _ward(seed: int, data: Batch, quick: bool) -> Iterator[Claim | Panel]:
    rows = np.random.default_rng(seed).permutation(len(data[0]))[:100]
    batch = data[0][rows], data[1][rows]
    w = start(seed, LAYERS)
    losses = {"squared error": squared_error, "cross-entropy": cross_entropy}
    for name, loss in (losses | {"tanh layers": tanh_error}).items():
        g = measured_slope(loss, w, batch)
        what = f"digits, 100 images, {name}: M2^T g2 - g1 M1^T at every depth"
        error = largest(ward(w, g)) / largest(g)
        yield below(what, error, 1e-12, control=loss is tanh_error)
    found: dict[str, list[float]] = {"W^T": [], "W": []}
    if not quick:
        found["tanh layers"] = []
    for layers in SIZES:
        w = start(seed, layers)
        g = measured_slope(squared_error, w, batch)
        found["W^T"].append(_along_depth(w, g, transposed(w)))
        found["W"].append(_along_depth(w, g, w))
        if not quick:
            g = measured_slope(tanh_error, w, batch)
            found["tanh layers"].append(_along_depth(w, g, transposed(w)))
    steps = 1 / np.array(SIZES)
    for name, errors in found.items():
        what = "digits: G_t - (G W^T - W^T G), in h"
        what = what if name == "W^T" else f"the same with {name}"
        yield order(what, 1, steps, errors, control=name != "W^T")
    first = found.pop("W^T")
    curves = (
        Curve("measured", steps, np.array(first), "points"),
        Curve("first order", steps, first[-1] * steps / steps[-1], "predicted"),
        *(Curve(name, steps, np.array(e), "control") for name, e in found.items()),
    )
    title = "Ward identity along depth, relative to G_t"
    yield Panel(title, "h = 1/layers", "", curves, xlog=True, ylog=True)


def _along_depth(w: np.ndarray, g: np.ndarray, right: np.ndarray) -> float:
    """G_t - (G R - R G) by forward differences, relative to G_t."""
    rate = len(w) * (g[1:] - g[:-1])
    left = rate - (g[:-1] @ right[:-1] - right[:-1] @ g[:-1])
    return float(np.linalg.norm(left) / np.linalg.norm(rate))


# ------------------------------------------------------------------ the charge


def _charge(seed: int, data: Batch, quick: bool) -> Iterator[Claim | Panel]:
    etas = ETAS[:3] if quick else ETAS
    batch, w = condensed(data), start(seed, LAYERS)
    before, drift, errors = charge(w), [], []
    for eta in etas:
        after, grown = train(squared_error, w, batch, float(eta), TIME)
        drift.append(largest(charge(after) - before))
        errors.append(largest(charge(after) - before - grown))
    size = largest(before)
    steps = round(TIME / float(etas[-1]))
    added = "less eta^2 (g2^T g2 - g1 g1^T)"
    what = f"digits: growth of Q at every depth in {steps} steps, {added}"
    yield below(what, max(errors) / size, 1e-10)
    yield order("digits: drift of Q under gradient descent, in eta", 1, etas, drift)
    if not quick:
        what = "digits: drift of Q along gradient flow"
        yield below(what, _by_flow(seed, batch), 1e-7)
    rate = lambda w: len(w) * (w[1:] - w[:-1] + transposed(w[1:] - w[:-1]))
    alone = largest(rate(after) - rate(w))
    what = "digits: W_t + W_t^T alone"
    yield below(what, alone / size, drift[0] / size, control=True)
    few, bent = (data[0][:60], data[1][:60]), []
    for eta in etas[-1:] if quick else etas:
        after, grown = train(tanh_error, w, few, float(eta), TIME)
        bent.append(largest(charge(after) - before))
    what = f"digits, tanh layers: growth of Q, {added}"
    missed = largest(charge(after) - before - grown)
    yield below(what, missed / size, 1e-10, control=True)
    if not quick:
        what = "digits, tanh layers: drift of Q, in eta"
        yield order(what, 1, etas, bent, control=True)
    curves = (
        Curve("Q, measured", etas, np.array(drift) / size, "points"),
        Curve("first order", etas, drift[-1] / size * etas / etas[-1], "predicted"),
        Curve("tanh layers", etas[-len(bent) :], np.array(bent) / size, "control"),
        Curve("W_t + W_t^T alone", etas, np.full(len(etas), alone / size), "control"),
    )
    title = "drift of the charge at the worst depth, relative"
    yield Panel(title, "learning rate", "", curves, xlog=True, ylog=True)


def _by_flow(seed: int, batch: Batch) -> float:
    """By how much Q moves at the worst depth as gradient flow learns."""
    layers = LAYERS // 4
    loss = lambda model, batch: squared_error(model["w"], batch)
    w = start(seed, layers)
    flow = network_flow({"w": w}, loss, batch, HeavyBall(1.0), order=0)
    # dW/ds = -G is that of the array of all layers, N times as fast.
    path = flow.integrate((0.0, TIME * layers), points=2)
    return largest(charge(path["w"][-1]) - charge(w)) / largest(charge(w))


# ------------------------------------------------------------------ decay


def _decay(seed: int, data: Batch, quick: bool) -> Iterator[Claim | Panel]:
    batch = condensed(data)
    found = [stationary(start(seed, layers), batch, DECAY) for layers in SIZES]
    what = f"digits, weight decay, {SIZES} layers: largest gradient at the minimum"
    yield below(what, max(gradient for _, gradient in found), 1e-7)
    minima = [w for w, _ in found]
    parts = {
        "K, relative": [_spread(halves(w)[1]) for w in minima],
        "|W|, relative": [_spread(np.linalg.norm(w, axis=(1, 2))) for w in minima],
        "tr W, over |W|": [
            np.ptp(np.trace(w, axis1=1, axis2=2)) / largest(w) for w in minima
        ],
    }
    for name, spreads in parts.items():
        yield below(f"the same: spread over depth of {name}", max(spreads), 1e-6)
    steps = 1 / np.array(SIZES)
    gaps = [largest(halves(w)[0] - turned(w)) for w in minima]
    yield order("the same: S(t) - e^(2tK) S(0) e^(-2tK), in h", 1, steps, gaps)
    unturned = [largest(halves(w)[0] - halves(w)[0][0]) for w in minima]
    yield order("S(t) - S(0)", 1, steps, unturned, control=True)
    values = [np.ptp(np.linalg.eigvalsh(halves(w)[0]), axis=0).max() for w in minima]
    yield order("the same: spread of the eigenvalues of S, in h", 2, steps, values)
    gaps = [float(np.linalg.norm(end_map(w) - _predicted_end(w))) for w in minima]
    yield order("the same: end map, less e^(2K) e^(S(0) - K), in h", 1, steps, gaps)
    others = {"no decay": (0.0, 2), "decay of W^4": (DECAY, 4)}
    for what, kind in list(others.items())[: 1 if quick else 2]:
        other, _ = stationary(start(seed, 10), batch, *kind)
        spread = _spread(halves(other)[1])
        what = f"{what}, 10 layers: spread over depth of K, relative"
        yield below(what, spread, 1e-6, control=True)
    yield _entries(minima[-1], start(seed, SIZES[-1]))


def _spread(values: np.ndarray) -> float:
    """How far the worst is from the mean over depth, relative to it."""
    mean = values.mean(axis=0)
    return float(np.abs(values - mean).max() / np.abs(mean).max())


def _predicted_end(w: np.ndarray) -> Any:
    symmetric, antisymmetric = (part[0] for part in halves(w))
    return expm(2 * antisymmetric) @ expm(symmetric - antisymmetric)


def _entries(w: np.ndarray, begin: np.ndarray) -> Panel:
    """How the entries of S that turn most differ from their values at depth 0."""
    depth = np.arange(len(w)) / len(w)
    symmetric, antisymmetric = halves(w)
    turns, told = symmetric - symmetric[0], turned(w) - symmetric[0]
    upper = np.triu_indices(w.shape[-1])
    curves = []
    for at, place in enumerate(np.argsort(np.ptp(turns, axis=0)[upper])[::-1][:5]):
        i, j = upper[0][place], upper[1][place]
        label = "_" if at else "S(t) - S(0)"
        curves.append(Curve(label, depth[::8], turns[::8, i, j], "points"))
        label = "_" if at else "turned by e^(2tK)"
        curves.append(Curve(label, depth, told[:, i, j], "predicted"))
    still = antisymmetric - antisymmetric[0]
    i, j = np.unravel_index(np.abs(antisymmetric[0]).argmax(), w.shape[1:])
    curves.append(Curve("K(t) - K(0)", depth[::8], still[::8, i, j]))
    before = halves(begin)[1][::8, i, j]
    curves.append(Curve("before training", depth[::8], before - before[0], "control"))
    return Panel("entries of the layers, by depth", "depth t", "", tuple(curves))


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the identity of the gauge symmetry.")
    found: list[Claim | Panel] = list(gauge_identities())
    data = digits(seed)
    setting.report("Finding the minima with weight decay.")
    found += _decay(seed, data, quick)
    setting.report("Measuring gradients along depth.")
    found += _redundancy(seed, data)
    found += _ward(seed, data, quick)
    setting.report("Training on the digits.")
    found += _charge(seed, data, quick)
    found += _learning(seed, condensed(data))
    derivation = (
        rf"{sp.latex(ward_identity())} = 0",
        rf"Q = {sp.latex(conserved())}",
    )
    return Evidence.of(derivation, found)


THEOREM = Theorem(
    name="depth-gauge",
    title="Depth has a gauge symmetry: a conserved matrix at every depth",
    statement=r"""A continuum of linear layers, $\dot x = W(t)\,x$ along depth
$0\le t\le T$, is the same function of $x(0)$ in other coordinates, $x' = A(t)\,x$ with
$A(0)=A(T)=1$. $W$ is a connection: $W' = (\dot A + AW)A^{-1}$, with the generator
$\delta W = \dot\epsilon + [\epsilon, W]$ and any $\epsilon(t)$. Another clock of depth
is the gauge $\epsilon=-\eta(t)\,W$. Let $G(t)$ be the gradient of a loss of the end
state by $W(t)$.

- Noether's second theorem gives, at every depth, for every $W$, batch and loss, the
  Ward identity $\dot G = G W^T - W^T G$; of layers $M_l = 1 + hW_l$, with gradients
  $g_l$, exactly $M_{l+1}^T g_{l+1} = g_l M_l^T$.
- Its symmetric half is an exact differential, so that gradient flow conserves
  $$Q(t) = \dot W + \dot W^T + W^TW - WW^T$$
  at every depth, and of layers $(M_{l+1}^TM_{l+1} - M_lM_l^T)/h^2$. A step of gradient
  descent adds exactly $\eta^2(g_{l+1}^Tg_{l+1} - g_lg_l^T)$. The antisymmetric half is
  no differential and gives none.
- Weight decay $\frac\lambda2\int|W|^2dt$ fixes the gauge. Wherever the whole is
  stationary, with $W = S + K$, symmetric and antisymmetric,
  $$K(t) = K, \quad S(t) = e^{2tK}S(0)\,e^{-2tK}, \quad
  x(T) = e^{2TK}e^{T(S(0)-K)}x(0):$$
  the eigenvalues of $S$ are the same at all depths. Of layers, $K_l$, $|W_l|$ and
  $\mathrm{tr}\,W_l$ are exactly the same in all; the rest holds as $h\to0$.

The paper calls the redundancies of neural ODEs diffeomorphisms of spacetime, and weight
decay a gauge fixing. A given family of networks keeps those that do not lead out of it:
for linear layers the affine ones, for ReLU layers rescalings and permutations of units.
And they are redundancies of the function: of this gauge group the metric of learning
keeps the orthogonal $A(t)$, with which training commutes. That the rest is no symmetry
of learning is why $Q$ and the fixed gauge exist.""",
    source="Hashimoto, Hirono & Sannai, Unification of symmetries inside neural "
    "networks: transformer, feedforward and neural ODE (2024), for the gauge symmetry "
    "and decay as its fixing; the Ward identity, the charge and the fixed gauge are "
    "derived here.",
    prove=_prove,
    has_quick=True,
)
