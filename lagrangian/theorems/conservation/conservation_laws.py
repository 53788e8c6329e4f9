r"""Gradient flow conserves sums, norms, differences and matrices; training, nearly.

Measured on three small smooth networks that have all of these symmetries at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp

from lagrangian.theorems.conservation.conservation_runs import (
    HORIZON,
    INERT,
    MOMENTA,
    MULTIPLES,
    RATE,
    ROTATION,
    TOLERANCES,
    VALUE,
    Flow,
    InertialFlow,
    Training,
    gradient_flows,
    inertial_flow,
    train_at,
)
from lagrangian.theorems.conservation.conserved import (
    ROTATIONS,
    SYMMETRIES,
    conserved,
    derived_claims,
    law_of,
)
from lagrangian.theorems.conservation.independent_laws import (
    closed_form_claim,
    discovered_claims,
    two_layer_claims,
)
from lagrangian.theorems.testbeds.oscillator import as_latex, oscillator_of
from lagrangian.theorems.testbeds.symmetric_networks import (
    all_symmetric,
    none_symmetric,
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

#: Those that a finite learning rate moves.
MOVING = tuple(name for name in SYMMETRIES if name != "translation")
#: What rounding leaves of an exact law over a few thousand steps.
_ROUNDING = 1e-13
#: Of drift/eta extrapolated to eta = 0.
_COEFFICIENT = 0.002
#: Below what a logarithmic axis need show.
_FLOOR = 1e-16
#: Steps from a random trace: beta^-k times the rounding must stay small.
_KICKED_STEPS = 40


def _derivation() -> tuple[str, ...]:
    lines = [as_latex(oscillator_of(law_of(s))) for s in SYMMETRIES.values()]
    for symmetry in SYMMETRIES.values():
        value, growth = conserved(symmetry).value, conserved(symmetry).growth
        limit = "0" if growth == 0 else rf"{sp.latex(growth)} \to 0"
        change = rf"\frac{{d}}{{dt}}\left({sp.latex(value)}\right)"
        lines.append(rf"m \to 0:\quad {change} = {limit}")
    for symmetry in ROTATIONS.values():
        constant = sp.latex(law_of(symmetry).conserved)
        lines.append(rf"\frac{{d}}{{dt}}\left({constant}\right) = 0")
    return tuple(lines)


# ------------------------------------------------------------------ claims


def _flow_claims(flows: list[Flow], broken: Flow) -> Iterator[Claim]:
    """Conservation as good as the integrator, and none without the symmetry."""
    for name in SYMMETRIES:
        bound = _ROUNDING if name == "translation" else 10 * TOLERANCES[-1]
        what = f"{name}: relative change of X along the gradient flow"
        yield below(what, flows[-1].deviation(name), bound)
        what = f"{what}, without the symmetry"
        yield below(what, broken.deviation(name), bound, control=True)
    worst = [max(flow.deviation(name) for name in MOVING) for flow in flows]
    what = "largest of these: order in the integrator's tolerance"
    yield order(what, 1, TOLERANCES, worst)


def _training_claims(flow: Flow, trained: Training) -> Iterator[Claim]:
    """Order 1 with the predicted coefficient, exactly none for a translation."""
    beta, rates = trained.momentum, trained.rates.tolist()
    said = f"beta = {beta:g}, translation: relative change of X at every eta"
    yield below(said, trained.deviation("translation"), _ROUNDING)
    worst = np.zeros(len(rates))
    for name in MOVING:
        predicted = flow.coefficient(name, beta).ravel()
        final, what = trained.final(name), f"beta = {beta:g}, {name}: drift"
        moved, size = np.linalg.norm(final, axis=1), np.linalg.norm(predicted)
        yield order(f"{what}, order", 1, rates, moved.tolist())
        # The rest is of order eta^2, so two rates extrapolate to zero.
        slope = 2 * final[-1] / rates[-1] - final[-2] / rates[-2]
        missed = float(np.linalg.norm(slope - predicted) / size)
        yield below(f"{what}/eta for eta -> 0, over K, less 1", missed, _COEFFICIENT)
        left = final - np.outer(rates, predicted)
        worst = np.maximum(worst, np.linalg.norm(left, axis=1) / trained.rates / size)
    what = f"beta = {beta:g}: drift/(eta K) - 1, order"
    yield order(what, 1, rates, worst.tolist())
    excess = max(trained.excess(name) for name in SYMMETRIES)
    yield below(f"beta = {beta:g}: exact law of each step, all X", excess, _ROUNDING)


def _broken_training_claims(broken: Training) -> Iterator[Claim]:
    """Without the symmetries X moves whatever the learning rate is."""
    rates = broken.rates.tolist()
    for name in SYMMETRIES:
        moved = np.linalg.norm(broken.final(name), axis=1).tolist()
        what = f"{name} without the symmetry: drift, order"
        yield order(what, 0, rates, moved)
        yield order(what, 1, rates, moved, control=True)
        what = f"{name} without the symmetry: exact law of each step"
        yield below(what, broken.excess(name), _ROUNDING, control=True)


def _momentum_claims(flow: InertialFlow, kicked: Training) -> Iterator[Claim]:
    """What momentum keeps is the antisymmetric half, with a factor that grows."""
    for name in ROTATIONS:
        for part, half in ((ROTATION, "antisymmetric"), (RATE, "symmetric")):
            said, control = f"{name}, A {half}: relative change of", part == RATE
            what = f"{said} e^(mu t/m) c along the flow"
            yield below(what, flow.deviation(name, part), 1e-9, control=control)
            found = kicked.turning(name, part, _KICKED_STEPS)
            what = f"{said} beta^-k c in training"
            yield below(what, found, 1e-11, control=control)


# ------------------------------------------------------------------ figure


def _drift_panel(
    flow: Flow, trained: Training, names: tuple[str, ...], broken: Training | None
) -> Panel:
    rates, curves = trained.rates, []
    for name in names:
        moved = np.linalg.norm(trained.final(name), axis=1)
        size = np.linalg.norm(flow.coefficient(name, trained.momentum))
        # Measured curves look alike, so that one of them explains all.
        label = "_nolegend_" if curves else "measured"
        curves += [
            Curve(label, rates, moved),
            Curve(f"{name}: {size:.3g} eta", rates, rates * size, "predicted"),
        ]
    if broken is not None:
        moved = np.linalg.norm(broken.final("linear"), axis=1)
        curves.append(Curve("linear, with tanh between", rates, moved, "control"))
    title = f"how far X has moved at t = {HORIZON * (1 - trained.momentum):g}"
    title = f"{title}, momentum {trained.momentum:g}"
    return Panel(title, "learning rate eta", "|X(t) - X(0)|", tuple(curves), True, True)


def _path_panel(flows: list[Flow], trained: Training, broken: Training) -> Panel:
    """One of them along training and along the flow; and a sum, along training."""
    curves = []
    for i, name in ((0, "linear"), (-1, "linear"), (0, "translation")):
        label = f"{name}, eta = {trained.rates[i]:g}"
        curves.append(_training_curve(label, trained, name, i))
    for flow, tolerance in ((flows[i], TOLERANCES[i]) for i in (0, -1)):
        x = flow.measured["linear", VALUE]
        moved, t = np.linalg.norm(x - x[0], axis=1)[1:], flow.path.t[1:]
        label = f"gradient flow, tolerance {tolerance:g}"
        curves.append(Curve(label, t, np.maximum(moved, _FLOOR), "predicted"))
    label = "linear, with tanh between"
    curves.append(_training_curve(label, broken, "linear", 0, "control"))
    title = "X along training and along the flow"
    return Panel(title, "t", "|X(t) - X(0)|", tuple(curves), ylog=True)


def _training_curve(
    label: str, trained: Training, name: str, i: int, style: str = "measured"
) -> Curve:
    """The drift at one of the learning rates, at 25 times."""
    every = 4 * MULTIPLES[i]
    steps = np.arange(every, MOMENTA[0.0] * MULTIPLES[i] + 1, every)
    moved = np.linalg.norm(trained.drift(name)[i, steps], axis=-1)
    return Curve(label, trained.rates[i] * steps, np.maximum(moved, _FLOOR), style)


def _momentum_panel(flow: InertialFlow) -> Panel:
    curves = []
    for name in ROTATIONS:
        charge = np.linalg.norm(flow.measured[name, ROTATION], axis=1)
        label = "_nolegend_" if curves else "measured"
        curves += [
            Curve(label, flow.path.t, charge),
            Curve(
                f"{name}: e^(-mu t/m)",
                flow.path.t,
                charge[0] * flow.faded,
                "predicted",
            ),
        ]
    even = np.linalg.norm(flow.measured["linear", RATE], axis=1)
    curves.append(Curve("linear, A symmetric", flow.path.t, even, "control"))
    title = f"charges of antisymmetric A, momentum {INERT.momentum:g}"
    return Panel(title, "t", "|c|/m", tuple(curves), ylog=True)


# ------------------------------------------------------------------ evidence


def _prove(setting: Setting) -> Evidence:
    seed = setting.seed
    setting.report("Deriving the laws without inertia, and of a step.")
    claims = [*derived_claims(), closed_form_claim()]
    setting.report("Counting independent laws.")
    claims += [*two_layer_claims(seed), *discovered_claims(seed)]
    setting.report("Integrating the gradient flow.")
    flows = gradient_flows(all_symmetric, seed, TOLERANCES)
    (broken_flow,) = gradient_flows(none_symmetric, seed, TOLERANCES[-1:])
    claims += _flow_claims(flows, broken_flow)
    setting.report("Training at several learning rates.")
    trained = {beta: train_at(all_symmetric, seed, beta) for beta in MOMENTA}
    for run in trained.values():
        claims += _training_claims(flows[-1], run)
    broken = train_at(none_symmetric, seed, 0.0)
    claims += _broken_training_claims(broken)
    setting.report("Integrating and training with momentum from a random velocity.")
    inert = inertial_flow(seed)
    kicked = train_at(all_symmetric, seed, max(MOMENTA), kicked=True)
    claims += _momentum_claims(inert, kicked)
    panels = (
        _drift_panel(flows[-1], trained[0.0], MOVING[:3], broken),
        _drift_panel(flows[-1], trained[max(MOMENTA)], MOVING[-3:], None),
        _path_panel(flows, trained[0.0], broken),
        _momentum_panel(inert),
    )
    return Evidence(_derivation(), tuple(claims), panels)


THEOREM = Theorem(
    name="conservation-laws",
    title="Gradient flow conserves, and a finite learning rate breaks it at order 1",
    statement=r"""Let the loss not change along a generator $q \to q + sAq$ or
$q \to q + sa$. The limit $m \to 0$ of Noether's law with broken kinetic symmetry says
that gradient flow conserves

- $X = \langle a, q\rangle$ for a translation,
- $X = |q|^2$ for a scale,
- $X = |a|^2 - |b|^2$ for a rescale, one for each ReLU unit,
- $X = W_1 W_1^T - W_2^T W_2$ for GL(h) between linear layers $W_2 W_1$ (the matrices
  here act from the left; Flax kernels are their transposes), and so for queries against
  keys and values against the output of a head of attention;

with weight decay they fade like $e^{-\lambda t/\mu}$ for a translation, and twice as
fast for the others. Antisymmetric $A$ give gradient flow nothing; with momentum they
alone stay, as $e^{\mu t/m}\langle \dot q, Aq\rangle$, in training as
$\beta^{-k}\langle p, Aq\rangle$. Two linear layers with $h$ units of rank $k$ together
have $k(2h+1-k)/2$ independent laws, a ReLU layer $h$, and gradient flow has no others.

Training by the heavy ball from rest moves them: for $A$ symmetric and $\lambda = 0$,
exactly at each step and at every learning rate
$$Y = X + \tfrac{\eta\beta}{1-\beta}\dot X \quad\text{grows by}\quad
\eta^2\,\tfrac{1+\beta}{1-\beta}\,\langle p', A p'\rangle, \qquad
\dot X = -2\langle p, Aq\rangle,$$
so that in a fixed time $X(t) - X(0) = \eta K + O(\eta^2)$ with
$K = \frac{1+\beta}{1-\beta}\int\langle\dot q, A\dot q\rangle\,dt$ along the gradient
flow. A translation moves not at all.""",
    source="Kunin, Sagastuy-Brena, Ganguli, Yamins & Tanaka, Neural Mechanics: "
    "Symmetry and Broken Conservation Laws in Deep Learning Dynamics (2021); Marcotte, "
    "Gribonval & Peyre, Abide by the Law and Follow the Flow: Conservation Laws for "
    "Gradient Flows (2023), and Keep the Momentum: Conservation Laws beyond Euclidean "
    "Gradient Flows (2024); Tanaka & Kunin, Noether's Learning Dynamics: Role of "
    "Symmetry Breaking in Neural Networks (2021), of whose law they are the limit.",
    prove=_prove,
)
