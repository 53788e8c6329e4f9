"""Entropy as a Noether charge, and what a slow schedule dissipates in training.

`path_action` has the probe's identities and `slow_probe` its motion; `descent_heat` has
those of learning, and `slow_schedules` trains on the digits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp
from scipy.interpolate import CubicSpline

from lagrangian.theorems.dynamics import descent_heat, slow_probe
from lagrangian.theorems.dynamics.descent_heat import heat_identities
from lagrangian.theorems.dynamics.path_action import (
    Probe,
    pace_identities,
    probe_identities,
)
from lagrangian.theorems.dynamics.slow_schedules import (
    DECAYS,
    FEW,
    STEPS,
    Ball,
    Minima,
    Runs,
    geometric,
    linear,
    minima,
    schedules_side_by_side,
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

#: Fractions of the speed 1 of the trap.
EPSILONS = (0.1, 0.05, 0.025, 0.0125, 0.00625)
#: At a friction of 1, 1 and 0.1 in the time eta k.
BALLS = {
    "gradient descent, eta = 1": Ball(1.0),
    "gradient descent, eta = 1/4": Ball(0.25),
    "heavy ball 0.9, eta = 0.1": Ball(0.1, 0.9),
}
NAMES = ("constant speed", "geometric", "linear")


# ------------------------------------------------------------------ the probe


def _probe() -> Iterator[Claim | Panel]:
    epsilons = np.array(EPSILONS)
    moved = [slow_probe.slowly(epsilon) for epsilon in EPSILONS]
    made, told = np.array([m.entropy for m in moved]), slow_probe.told(epsilons)
    what = "probe, trap moved slowly: E less the work"
    yield below(what, max(abs(m.first_law) for m in moved), 1e-10)
    yield order("probe: entropy made, in eps", 1, epsilons, made, 0.05)
    what = f"probe, eps = {EPSILONS[-1]:g}: entropy made"
    yield close(what, told[-1], made[-1], 0.01)
    jumps = np.array([slow_probe.suddenly(1 / epsilon) for epsilon in EPSILONS])
    what = "probe, trap moved at once: entropy made"
    yield close(what, slow_probe.jump(), jumps[-1], 1e-6)
    yield order(f"{what}, in eps", 1, epsilons, jumps, control=True)
    yield Panel(
        "probe in a fluid: entropy made",
        "eps",
        "",
        (
            Curve("eps (gamma/T) 6/5", epsilons, told, "predicted"),
            Curve("trap moved slowly", epsilons, made, "points"),
            Curve("moved at once", epsilons, jumps, "control"),
        ),
        xlog=True,
        ylog=True,
    )


# ------------------------------------------------------------------ learning


def _learning(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Weight decay from 0.05 to 0.5, by several schedules."""
    curve = minima(seed)
    between = CubicSpline(curve.logs, curve.weights).derivative()(curve.logs)
    off = np.abs(between - curve.tangents)[4:-4].max() / np.abs(curve.tangents).max()
    what = "digits: slope of the minima, less -(Hess f + lambda)^(-1) q"
    yield below(what, float(off), 1e-5)
    steps = STEPS[:3] if quick else STEPS
    balls = dict(list(BALLS.items())[: 1 if quick else None])
    found = {
        name: schedules_side_by_side(seed, curve, ball, steps)
        for name, ball in balls.items()
    }
    yield _scatter(found)
    for name, runs in found.items():
        yield from _first_order(name, runs)
    _, first = next(iter(found.items()))
    yield from _at_large_rates(seed, curve, first)
    yield from _broken(curve, first)
    yield _panel(curve)


def _scatter(found: dict[str, Runs]) -> Panel:
    told, paid = (
        np.concatenate([row(r) / BALLS[name].friction for name, r in found.items()])
        for row in (lambda r: r.costs, lambda r: r.paid[-1, :-2])
    )
    ends = np.array([told.min(), told.max()])
    curves = (
        Curve("trained", told, paid, "points"),
        Curve("predicted", ends, ends, "predicted"),
    )
    title = f"digits, {len(told)} schedules: loss dissipated over eps mu"
    return Panel(title, "by the length of the minima", "", curves)


def _named(paid: np.ndarray) -> str:
    """The first three schedules by what they dissipate."""
    return ", ".join(NAMES[i] for i in np.argsort(paid[:3]))


def _first_order(name: str, runs: Runs) -> Iterator[Claim]:
    epsilon, last = runs.epsilons[-1], runs.paid[-1]
    what = f"{name}: work less what is dissipated, less the change of the loss"
    off = max(np.abs(run.gained - run.spread).max() for run in runs.found)
    yield below(what, float(off), 1e-10)
    for i, schedule in enumerate(NAMES[:2]):
        what = f"{name}, eps = {epsilon:.2g}, {schedule}: loss dissipated over eps"
        yield close(what, runs.costs[i], last[i], 0.01)
    told, paid = runs.costs[3:], last[3:-2]
    worst = int(np.argmax(np.abs(paid / told - 1)))
    what = f"{name}, {len(told)} uneven paces: the same, at worst"
    yield close(what, told[worst], paid[worst], 0.02)
    what = f"{name}: schedules by what they dissipate"
    yield equal(what, ", ".join(NAMES), _named(last))
    what = f"{name}: the uneven paces that dissipate less than the constant speed"
    yield equal(what, 0, int((paid < last[0]).sum()))
    what = f"{name}, constant speed: loss dissipated, in eps"
    yield order(what, 1, runs.epsilons, runs.lost[:, 0], 0.05)
    # The geometric one happens to be much closer than that in gradient descent.
    for i in (0, 1) if "ball" in name else (0,):
        off = np.abs(runs.paid[:, i] / runs.costs[i] - 1)
        what = f"{name}, {NAMES[i]}: relative distance from the prediction, in eps"
        yield order(what, 1, runs.epsilons, off, 0.1)


def _at_large_rates(seed: int, curve: Minima, runs: Runs) -> Iterator[Claim]:
    """Without what a finite step takes off the metric, and in too few steps."""
    flow = curve.cost(geometric, Ball(0.0))
    what = "gradient descent, eta = 1, geometric: over eps, as in gradient flow"
    yield close(what, flow, runs.paid[-1, 1], 0.01, control=True)
    hasty = schedules_side_by_side(seed, curve, Ball(1.0), [FEW])
    what = f"gradient descent, {FEW} steps: schedules by what they dissipate"
    yield equal(what, ", ".join(NAMES), _named(hasty.paid[0]), control=True)


def _broken(curve: Minima, runs: Runs) -> Iterator[Claim | Panel]:
    """Energy is not what is kept; nor is entropy, off the slow set."""
    change = float(curve.values[-1] - curve.values[0])
    last = runs.found[-1]
    what = "geometric: change of F and heat together, as of the least loss"
    yield close(what, change, float(last.work[1]), 0.02)
    what = "geometric: change of F and heat together"
    yield below(what, float(last.work[1]), 0.02, control=True)
    what = "geometric: change of the heat alone"
    yield below(what, float(last.dissipated[1]), 0.02)
    q = curve.weights[0]
    held = (DECAYS[1] - DECAYS[0]) / 2 * q @ q - change
    what = "weight decay changed at once: loss dissipated"
    yield close(what, float(held), float(last.dissipated[-1]), 1e-6)
    epsilons = runs.epsilons
    yield order(f"{what}, in eps", 1, epsilons, runs.lost[:, -1], control=True)
    what = "start beside the minimum: loss dissipated, in eps"
    yield order(what, 1, epsilons, runs.lost[:, -2], control=True)
    yield Panel(
        "digits, gradient descent: loss dissipated",
        "eps",
        "",
        (
            Curve("eps length^2", epsilons, runs.costs[0] * epsilons, "predicted"),
            Curve("constant speed", epsilons, runs.lost[:, 0], "points"),
            Curve("changed at once", epsilons, runs.lost[:, -1], "control"),
            Curve("start displaced", epsilons, runs.lost[:, -2], "control"),
        ),
        xlog=True,
        ylog=True,
    )


def _panel(curve: Minima) -> Panel:
    s = np.linspace(0, 1, 60)
    decays = {
        NAMES[0]: curve.steady(BALLS["gradient descent, eta = 1"])(s),
        NAMES[1]: geometric(s),
        NAMES[2]: linear(s),
    }
    curves = tuple(
        Curve(name, s, np.exp(logs), "predicted") for name, logs in decays.items()
    )
    return Panel("weight decay", "eps t", "", curves, ylog=True)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving the law of the entropy from the action of a path.")
    found: list[Claim | Panel] = [
        *probe_identities(),
        *heat_identities(),
        *pace_identities(),
    ]
    setting.report("Training while the weight decay changes slowly.")
    found += _learning(setting.seed, setting.quick)
    setting.report("Moving a probe through a fluid.")
    found += _probe()
    return Evidence.of(_derivation(), found)


def _derivation() -> tuple[str, ...]:
    probe, learning = Probe().law, descent_heat.law()
    undecayed = sp.expand(learning.rate.subs(descent_heat.weight_decay, 0))
    return (
        rf"\frac{{d}}{{dt}}\left[{sp.latex(probe.charge)}\right] = "
        rf"{sp.latex(sp.simplify(probe.rate))}",
        rf"\frac{{d}}{{dt}}\left[{sp.latex(learning.charge)}\right] = "
        rf"{sp.latex(undecayed)}\quad(\lambda=0)",
    )


THEOREM = Theorem(
    name="entropy-as-charge",
    title="Entropy as a Noether charge, and the loss that a slow schedule dissipates",
    statement=r"""A dissipative system $\dot z=J\,dE+\partial\Psi^*(dS/2)$ with
$J\,dS=0$ and $\Psi^*(\xi+\kappa\,dE)=\Psi^*(\xi)$ (GENERIC) is the path of zero cost,
$f=0$, of the action $\int(f\dot z-H)\,dt$,
$$H(z,f)=\Psi^*(f+\tfrac12dS)-\Psi^*(\tfrac12dS)+f\cdot J\,dE.$$
The generator $f\to f-s\,dS$, with $z$ fixed, has the charge $S$ (the action changes by
$-D_tS$ from its first term, a boundary). On every path the law is
$$\dot S=\partial_fH\cdot dS,\qquad\dot E=\partial_fH\cdot dE+
\partial_\lambda E\,\dot\lambda=\partial_\lambda E\,\dot\lambda.$$
While a parameter $\lambda(\epsilon t)$ changes slowly, $dS=b\,dE+O(\epsilon)$ and
$f=O(\epsilon)$; there the right side is $O(\epsilon^2)$, so that over a time
$1/\epsilon$ entropy is the charge and energy is not. Elsewhere the generator is no
symmetry, and on the path $f=0$ the law is the ordinary balance of entropy.

*A probe in a fluid* of temperature $T$ with the friction $2\Gamma\sinh(v/2T)$, in a
trap that moves from 0 to 1: $\Delta S=\epsilon\,\frac\Gamma{T^2}\int_0^1\lambda'^2ds
+O(\epsilon^2)$. A trap that jumps makes an entropy that does not vanish.

*Learning.* Gradient flow $\mu\dot q=-\nabla F$ with the loss that it dissipates as
heat $e$ is of this kind: $E=F+e$, $S=e/T$,
$\Psi^*=\frac T\mu|\xi_q-\xi_e\nabla F|^2$. Let the weight decay $\lambda$ change
slowly, $F=f+\frac\lambda2|q|^2$, and $q_*(\lambda)$ be the minimum, with
$\frac{dq_*}{d\lambda}=-(\nabla^2f+\lambda)^{-1}q_*$. Of the work done on the loss,
all but
$$\epsilon\,\mu\int_0^1\left|\frac{dq_*}{ds}\right|^2ds+O(\epsilon^2)$$
goes into the change of the least loss.

- The heavy ball, exactly as it steps, has $\mu=1-\beta$ in the time $\eta k$, and
  $\langle q_*',(\mu-\frac\eta2\nabla^2F)\,q_*'\rangle$ in the place of
  $\mu|q_*'|^2$: a step $d$ after a step $d$ takes $\frac\mu\eta|d|^2-\frac12\langle d,
  \nabla^2F\,d\rangle$ off a quadratic loss.
- Among schedules between the same ends the least is $\epsilon$ times the squared
  length of the minima in that metric, at constant speed: with the metric as a
  Lagrangian, the squared speed is the energy that it keeps. A pace $x(s)$ along the
  minima costs $\int x'^2ds$ times as much. In a few steps the order of schedules can
  be the reverse.
- A start beside the minimum, and a weight decay that jumps, dissipate what does not
  vanish with $\epsilon$; the latter $\frac12(\lambda_1-\lambda_0)|q_*(\lambda_0)|^2$
  less the change of the least loss.

The paper shows entropy to be the charge for quasistatic protocols, with an inertial
probe as its example. The law for every path, the order of what is left, and all that is
said of learning are worked out here; for thermodynamic systems the length is known.""",
    source="Beyen & Maes, Noether's theorem applied to GENERIC (2024), and Entropy as "
    "Noether charge for quasistatic gradient flow (2024); Salamon & Berry, "
    "Thermodynamic length and dissipated availability (1983), for the length; the form "
    "for learning is derived here.",
    prove=_prove,
    has_quick=True,
)
