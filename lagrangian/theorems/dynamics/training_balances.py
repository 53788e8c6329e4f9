"""The balance of a charge along training: the heavy ball, and mirror descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.laws.noether import noether
from lagrangian.theorems.dynamics.balances import integral, nodes
from lagrangian.theorems.testbeds.classifier import (
    SYMMETRIES,
    cross_entropy,
    observed,
    one_against_rest,
    problem,
    without_normalisation,
)
from lagrangian.theorems.testbeds.oscillator import oscillator_of
from lagrangian.theorems.theorem import Claim, Curve, Panel, below, order

#: Of a balance, whose differences are divided by the learning rate.
ROUNDING = 1e-11
RULES = (HeavyBall(0.1, 0.9, 0.01), HeavyBall(0.2, 0.0, 0.05))
_RATES, _HORIZON = (0.04, 0.02, 0.01), 2.0


def hypentropy(x: Any) -> Any:
    """h between x^2/2 and the entropy of |x| (Ghai, Hazan & Singer, 2020)."""
    return x * sp.asinh(x) - sp.sqrt(x**2 + 1)


# ------------------------------------------------------------------ the heavy ball


def discrete_balance(rule: HeavyBall, name: str, seed: int, loss: Any) -> np.ndarray:
    """What is left of a law in each step of training on minibatches.

    With central differences for x'' and x', and |qdot|^2 the mean of that of the step
    and, with the weight beta, of the one before. Relative to the largest term of all
    steps; of shape (steps - 2, units).
    """
    law = noether(rule.lagrangian(SYMMETRIES[name].loss), SYMMETRIES[name])
    run = observed(rule, 200, seed, [law], loss, batch_size=8)
    oscillator, values = oscillator_of(law), rule.parameters()
    mass, damping, stiffness = (
        float(term.xreplace(values))
        for term in (oscillator.mass, oscillator.damping, oscillator.stiffness)
    )
    x, source = (
        series.reshape(run.steps, -1) for series in (run[law].quantity, run[law].source)
    )
    eta, beta = rule.rate(0), rule.momentum
    terms = np.stack(
        [
            mass * (x[2:] - 2 * x[1:-1] + x[:-2]) / eta**2,
            damping * (x[2:] - x[:-2]) / (2 * eta),
            stiffness * x[1:-1],
            -(source[1:-1] + beta * source[:-2]) / (1 + beta),
        ]
    )
    return terms.sum(axis=0) / np.abs(terms).max()


def heavy_ball_claims(seed: int) -> Iterator[Claim]:
    for rule in RULES:
        for name in SYMMETRIES:
            left = np.abs(discrete_balance(rule, name, seed, cross_entropy)).max()
            what = f"training at ({rule.rate(0):g}, {rule.momentum:g}), {name}: balance"
            yield below(what, left, ROUNDING)
    left = np.abs(discrete_balance(RULES[0], "scale", seed, without_normalisation))
    what = "training without normalisation, scale: balance"
    yield below(what, left.max(), ROUNDING, control=True)


# ------------------------------------------------------------------ mirror descent


@dataclass(frozen=True)
class MirrorRun:
    """What mirror descent changes from its start to its end, at a fixed time.

    Attributes:
        moved: <grad h(bias), 1>.
        drift: h*(grad h(kernel)) of each unit.
    """

    moved: float
    drift: np.ndarray


def mirror_run(eta: float, seed: int, loss: Any) -> MirrorRun:
    rule = MirrorDescent(eta, hypentropy)
    start, _ = problem(seed)
    model = observed(rule, round(_HORIZON / eta), seed, (), loss).model
    end = {name: np.asarray(value) for name, value in model.items()}
    return MirrorRun(
        moved=float((np.arcsinh(end["bias"]) - np.arcsinh(start["bias"])).sum()),
        drift=_conjugate(end["kernel"]) - _conjugate(start["kernel"]),
    )


def _conjugate(q: np.ndarray) -> np.ndarray:
    """h*(grad h(q)) = <q, grad h(q)> - h(q) of the hypentropy, for each unit."""
    return np.sqrt(1 + q**2).sum(axis=0)


def predicted_drift(seed: int) -> np.ndarray:
    """The drift by eta, for each unit: half the integral of <q', Hess h(q) q'>."""
    start, batch = problem(seed)
    rule = MirrorDescent(_RATES[0], hypentropy)
    flow = network_flow(start, cross_entropy, batch, rule, order=0)
    times = nodes(0.0, _HORIZON)
    path = flow.integrate(times.tolist(), tol=1e-12)
    (w,) = SYMMETRIES["scale"].blocks
    squared = path.evaluate(Inner(w.dot, w.dot / sp.sqrt(1 + w**2)))
    return integral(times, squared)[-1] / 2


class MirrorDrift:
    """Mirror descent at several learning rates, with and without the symmetries."""

    def __init__(self, seed: int):
        self.predicted = predicted_drift(seed)
        self.runs = [mirror_run(eta, seed, cross_entropy) for eta in _RATES]
        self.broken = [mirror_run(eta, seed, one_against_rest) for eta in _RATES]

    def claims(self) -> Iterator[Claim]:
        largest = max(abs(run.moved) for run in self.runs)
        errors = [
            np.abs(run.drift / eta / self.predicted - 1).max()
            for eta, run in zip(_RATES, self.runs, strict=True)
        ]
        dual, sum_of = "h*(grad h(kernel))", "<grad h(bias), 1>"
        yield below(f"mirror descent: change of {sum_of}", largest, 1e-13)
        yield order(f"mirror descent: drift of {dual}, order", 1, _RATES, self.drifts)
        yield order("its relative error to the predicted: order", 1, _RATES, errors)
        what = f"without the symmetry: change of {sum_of}"
        yield below(what, self.broken[-1].moved, 1e-13, control=True)
        what = f"without the symmetry: drift of {dual}, order"
        yield order(what, 1, _RATES, self.broken_drifts, control=True)

    @cached_property
    def drifts(self) -> list[float]:
        """The largest of the units, for each learning rate."""
        return [float(np.abs(run.drift).max()) for run in self.runs]

    @cached_property
    def broken_drifts(self) -> list[float]:
        return [float(np.abs(run.drift).max()) for run in self.broken]

    def panel(self) -> Panel:
        rates, broken = np.array(_RATES), np.array(self.broken_drifts)
        predicted = rates * np.abs(self.predicted).max()
        return Panel(
            "h*(grad h) of a kernel, by mirror descent",
            "eta",
            "drift, the largest of the units",
            (
                Curve("normalised", rates, np.array(self.drifts)),
                Curve("predicted", rates, predicted, "predicted"),
                Curve("without the symmetry", rates, broken, "control"),
            ),
            xlog=True,
            ylog=True,
        )
