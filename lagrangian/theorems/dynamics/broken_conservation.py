r"""Charges of training with weight decay are damped oscillators, in closed form.

Measured on a small smooth classifier that has a translation, a scale and a rescale
symmetry at once, trained on all of its data in every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.checking.predict import predict
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.run import Run
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.testbeds import classifier
from lagrangian.theorems.testbeds.classifier import (
    SYMMETRIES,
    cross_entropy,
    without_normalisation,
)
from lagrangian.theorems.testbeds.oscillator import (
    REGIMES,
    as_latex,
    driven,
    exact_rule,
    green_claims,
    green_function,
    oscillator_of,
    regime_of,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    identity,
    order,
)

_EXACT = (
    exact_rule("1/10", "9/10", "1/100"),
    exact_rule("3/7", "2/5", "5/11"),
    exact_rule("2", "0", "1"),
)

#: gamma/omega of scale and rescale. The translation's, whose omega^2 is half, is
#: sqrt(2) times as much, so that each of the three is seen in every regime.
_RATIOS = (0.5, 1 / np.sqrt(2), 1.0, 2.0)
#: omega eta: by which angle the undamped oscillator turns in a step.
_TURNS = (0.05, 0.025, 0.0125)
_RATES, _MOMENTUM, _DECAY = (0.02, 0.01, 0.005), 0.5, 0.05
#: Of the runs: in units of 1/omega for the ratios, of t for the rates.
_HORIZON = 4.0


# ------------------------------------------------------------------ derivation


@cache
def law_of(name: str) -> Law:
    """The law of one of the `SYMMETRIES` under every heavy ball."""
    symmetry = SYMMETRIES[name]
    return noether(_EXACT[0].lagrangian(symmetry.loss), symmetry)


def constants(name: str, rule: Rule) -> tuple[Any, Any]:
    """gamma and omega^2 of a law at the rule's hyperparameters."""
    oscillator, values = oscillator_of(law_of(name)), rule.parameters()
    damping = oscillator.damping / oscillator.mass / 2
    stiffness = oscillator.stiffness / oscillator.mass
    return damping.xreplace(values), stiffness.xreplace(values)


def starting_rate(name: str, rule: Rule) -> Any:
    """X'(0)/X(0) of a run from rest: the law's rate at the rule's initial velocity."""
    law, oscillator = law_of(name), oscillator_of(law_of(name))
    velocity = rule.initial_velocity(law.symmetry.loss)
    moved = law.charge.xreplace({q.dot: v for q, v in velocity.items()})
    return sp.cancel(sp.expand(moved / oscillator.mass) / oscillator.quantity)


def _derivation() -> tuple[str, ...]:
    lines = [as_latex(oscillator_of(law_of(name))) for name in SYMMETRIES]
    for regime, square in REGIMES.items():
        green = sp.latex(green_function(regime))
        condition = rf"\omega^2 = {sp.latex(square)}\ (\text{{{regime}}})"
        lines.append(rf"{condition}: \quad G(t) = {green}")
    return tuple(lines)


def _stated(name: str, rule: HeavyBall) -> tuple[Any, ...]:
    """gamma, omega^2 and X'(0)/X(0) as the statement has them."""
    eta, beta, decay = rule.rate(0), rule.momentum, rule.weight_decay
    factor = 2 if name == "translation" else 4
    return (
        (1 - beta) / (eta * (1 + beta)),
        factor * decay / (eta * (1 + beta)),
        -factor * decay / (2 * (1 + beta)),
    )


def _constants_claims() -> Iterator[Claim]:
    """The engine's constants are the stated ones, at exact hyperparameters."""
    for name in SYMMETRIES:
        derived, stated = (
            sp.Matrix([found(name, rule) for rule in _EXACT])
            for found in (_derived, _stated)
        )
        for i, what in enumerate(("gamma", "omega^2", "X'(0)/X(0)")):
            left = (derived - stated).col(i).norm()
            yield identity(f"{name}: {what} minus the stated", left)


def _derived(name: str, rule: HeavyBall) -> tuple[Any, ...]:
    return (*constants(name, rule), starting_rate(name, rule))


# ------------------------------------------------------------------ measurement


def observed(rule: Rule, steps: int, seed: int, loss: Any = cross_entropy) -> Run:
    """Train the classifier, with the laws of all of its symmetries observed."""
    laws = [law_of(name) for name in SYMMETRIES]
    return classifier.observed(rule, steps, seed, laws, loss)


def rule_of(ratio: float, turn: float, decay: float = 0.5) -> HeavyBall:
    """The rule with gamma/omega = `ratio` and omega eta = `turn` for the scale.

    From gamma eta = (1 - beta)/(1 + beta), (omega eta)^2 = 4 lambda eta/(1 + beta).
    """
    beta = (1 - ratio * turn) / (1 + ratio * turn)
    return HeavyBall(turn**2 * (1 + beta) / (4 * decay), beta, decay)


def predicted(
    run: Run, name: str, *, from_rest: bool = True, constants_of: str | None = None
) -> np.ndarray:
    """The quantity of a law along a run, from its start and its measured source.

    Args:
        run: made by `observed`.
        name: of one of the `SYMMETRIES`.
        from_rest: whether X'(0) is that of a run from rest, or zero.
        constants_of: the symmetry whose gamma and omega^2 are taken, if another.
    """
    rule, record = run.rule, run[law_of(name)]
    damping, stiffness = map(float, constants(constants_of or name, rule))
    mass = float(oscillator_of(law_of(name)).mass.xreplace(rule.parameters()))
    source = record.source.reshape(run.steps, -1) / mass
    start = np.atleast_1d(record.quantity[0])
    velocity = start * (float(starting_rate(name, rule)) if from_rest else 0.0)
    found = driven(damping, stiffness, start, velocity, source, rule.rate(0))
    return found.reshape(record.quantity.shape)


def deviation(run: Run, name: str, part: slice = slice(None), **how: Any) -> float:
    """The largest error of `predicted`, as a share of the largest |X(0)|."""
    measured = run[law_of(name)].quantity
    error = np.abs(predicted(run, name, **how) - measured)[part]
    return float(error.max() / np.abs(measured[0]).max())


def _orders(
    what: str, name: str, steps: Sequence[float], runs: list[Run], parts: list[slice]
) -> Iterator[Claim]:
    """The claims of order 2 from rest, and of order 1 with X'(0) = 0."""
    for power, suffix, from_rest in ((2, "", True), (1, ", X'(0) = 0", False)):
        errors = [
            deviation(run, name, part, from_rest=from_rest)
            for run, part in zip(runs, parts, strict=True)
        ]
        yield order(f"{name}, {what}{suffix}: order", power, steps, errors)


def _regime_claims(regimes: Mapping[float, list[Run]]) -> list[Claim]:
    """Orders in omega eta at fixed gamma/omega, from the first step on."""
    claims, seen, smallest = [], set(), []
    for name in SYMMETRIES:
        for runs in regimes.values():
            regime = regime_of(*map(float, constants(name, runs[0].rule)))
            smallest.append(deviation(runs[-1], name))
            if (name, regime) not in seen:
                parts = [slice(None)] * len(runs)
                claims += _orders(regime, name, _TURNS, runs, parts)
            seen.add((name, regime))
    what = "largest error at the smallest step, a share of X(0)"
    return [*claims, below(what, max(smallest), 1e-4)]


def _rate_claims(runs: list[Run]) -> list[Claim]:
    """Orders in the learning rate at fixed beta, after the initial layer and in it."""
    late, claims = [slice(run.steps // 2, None) for run in runs], []
    for name in SYMMETRIES:
        claims += _orders("fixed beta, late", name, _RATES, runs, late)
    for name in ("translation", "scale"):
        errors = [deviation(run, name, slice(6)) for run in runs]
        what = f"{name}, fixed beta, first 5 steps: order"
        claims.append(order(what, 1, _RATES, errors))
    return claims


def _solver_claim(runs: list[Run]) -> Claim:
    """The Green functions and the propagator of `lg.predict` agree."""
    gaps = [
        np.abs(predict(run, law_of(name)) - predicted(run, name)).max()
        / np.abs(run[law_of(name)].quantity[0]).max()
        for run in runs
        for name in SYMMETRIES
    ]
    return below("Green function minus lg.predict", max(gaps), 1e-11)


def _controls(runs: list[Run], broken: Run) -> list[Claim]:
    """The translation's frequency for a scale, and a scale that is no symmetry."""
    errors = [deviation(run, "scale", constants_of="translation") for run in runs]
    what = "scale with the translation's omega: order"
    absent = "scale of a kernel without normalisation: error"
    return [
        order(what, 2, _TURNS, errors, control=True),
        below(absent, deviation(broken, "scale"), 1e-4, control=True),
    ]


# ------------------------------------------------------------------ evidence


def _panels(regimes: Mapping[float, list[Run]], late: list[Run]) -> tuple[Panel, ...]:
    shown = []
    for ratio in (0.5, 1.0, 2.0):
        run = regimes[ratio][-1]
        at = slice(0, run.steps, 10)
        angle = _TURNS[-1] * np.arange(run.steps)[at]
        measured = run[law_of("scale")].quantity[at, 0]
        wrong = predicted(run, "scale", constants_of="translation")[at, 0]
        shown += [
            Curve(f"gamma/omega = {ratio:g}", angle, measured),
            Curve("predicted", angle, predicted(run, "scale")[at, 0], "predicted"),
        ]
    shown.append(Curve("translation's omega", angle, wrong, "control"))
    half, orders = [slice(run.steps // 2, None) for run in late], []
    for label, from_rest, style in (
        ("from rest", True, "measured"),
        ("X'(0) = 0", False, "control"),
    ):
        errors = [
            deviation(run, "scale", part, from_rest=from_rest)
            for run, part in zip(late, half, strict=True)
        ]
        orders.append(Curve(label, np.array(_RATES), np.array(errors), style))
    return (
        Panel("squared norm of a normalised kernel", "omega t", "X", tuple(shown)),
        Panel(
            "its error at fixed beta", "eta", "share of X(0)", tuple(orders), True, True
        ),
    )


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving the oscillators and their Green functions.")
    claims = [*_constants_claims(), *green_claims()]
    derivation = _derivation()
    setting.report("Training in the three regimes.")
    regimes = {
        ratio: [
            observed(rule_of(ratio, turn), round(_HORIZON / turn), setting.seed)
            for turn in _TURNS
        ]
        for ratio in _RATIOS
    }
    claims += _regime_claims(regimes)
    claims.append(_solver_claim([run for runs in regimes.values() for run in runs]))
    setting.report("Training at a fixed momentum, and the controls.")
    late = [
        observed(
            HeavyBall(rate, _MOMENTUM, _DECAY), round(_HORIZON / rate), setting.seed
        )
        for rate in _RATES
    ]
    claims += _rate_claims(late)
    last = regimes[_RATIOS[0]][-1]
    broken = observed(last.rule, last.steps, setting.seed, without_normalisation)
    claims += _controls(regimes[_RATIOS[0]], broken)
    return Evidence(derivation, tuple(claims), _panels(regimes, late))


THEOREM = Theorem(
    name="broken-conservation",
    title="Broken conservation laws of training are damped oscillators",
    statement=r"""Train by the heavy ball with learning rate $\eta$, momentum $\beta$
and weight decay $\lambda$. The sum $X = \langle 1, q\rangle$ of a block that may be
translated, the square $|q|^2$ of one that may be scaled, and $|a|^2 - |b|^2$ of two
that may be rescaled, obey
$$\ddot X + 2\gamma \dot X + \omega^2 X = S, \qquad
X(t) = X(0)(\dot G + 2\gamma G) + \dot X(0) G + \int_0^t G(t-s) S(s)\,ds,$$
with $\gamma = (1-\beta)/(\eta(1+\beta))$; for a translation $S = 0$ and
$\omega^2 = 2\lambda/(\eta(1+\beta))$; for the others twice that $\omega^2$, and
$S = 2|\dot q|^2$ or $2(|\dot a|^2 - |\dot b|^2)$. $G$ is underdamped, critically damped
or overdamped. From rest $\dot X(0) = -\lambda X(0)/(1+\beta)$ for a translation, and
twice that for the others. With it the error is of order 2, with $\dot X(0) = 0$ of
order 1: in the step $\omega\eta$ at fixed $\gamma/\omega$, and in $\eta$ at fixed
$\beta$ once the initial layer, a few times $1/(1-\beta)$ steps, is over. Inside it both
are of order 1.""",
    source="Kunin, Sagastuy-Brena, Ganguli, Yamins & Tanaka, Neural Mechanics: "
    "Symmetry and Broken Conservation Laws in Deep Learning Dynamics (2021); Tanaka & "
    "Kunin, Noether's Learning Dynamics: Role of Symmetry Breaking in Neural Networks "
    "(2021); with the initial velocities of the discrete heavy ball.",
    prove=_prove,
)
