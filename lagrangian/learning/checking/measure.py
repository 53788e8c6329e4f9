"""What the verdict on a law rests on, measured along a run in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lagrangian.learning.checking.predict import predictor
from lagrangian.learning.rules.rule import mass
from lagrangian.learning.training.run import Run
from lagrangian.symbolic.laws.noether import Law


@dataclass(frozen=True)
class Measures:
    """The numbers of a `Row` of the same names, which says what they are."""

    discrete: float
    worst: int
    balance: float
    defect: float
    metric: float
    kinetic: float
    decay: float
    continuous: float | None
    drift: float
    mass: float | None
    raw: float | None
    raw_factor: float | None


def measure(run: Run, law: Law, rounding: float) -> Measures:
    """Measure one law along a run, a part of its steps at a time.

    Args:
        rounding: of the run's dtype, relative.
    """
    record = run[law]
    rule = record.rule or run.rule
    continuous = run.continuous(law)
    oscillator = continuous.oscillator if continuous is not None else None
    driven = oscillator is not None and oscillator.source != 0
    predicted = predictor(run, law) if continuous is not None else None
    fed = predictor(run, law, raw=True) if driven else None
    total, highest = _Total(), _Highest()
    for part in record.parts():
        scale = part.scale
        highest("discrete", np.abs(part.discrete) / _positive(scale))
        highest("balance", np.abs(part.balance) / _positive(scale))
        for name in ("defect", "defect_scale", "metric", "metric_scale"):
            total(name, getattr(part, name) ** 2)
        # What drives the charge.
        total("update", np.abs(part.kinetic))
        total("decay", np.abs(part.decay))
        total("loss", np.abs(rule.gain * part.defect))
        if predicted is not None:
            total("steps", part.rates * scale)
            highest("scale", scale)
            highest("quantity", part.quantity)
            highest("-quantity", -part.quantity)
            highest("missed", np.abs(predicted(part) - part.quantity))
            total("reach", part.reach)
            highest("reach", part.reach)
        if fed is not None:
            total("kinetic", part.source)
            total("stated kinetic", part.stated_source)
            total("source", np.abs(part.source))
            total("raw source", np.abs(part.raw_source))
            highest("missed raw", np.abs(fed(part) - part.quantity))

    parts = [float(np.sum(total[name])) for name in ("update", "decay", "loss")]
    whole = sum(parts) or 1.0
    missed = raw = factor = share = None
    drift = 0.0
    if predicted is not None:
        # One that stands still is judged against the rounding that every step adds.
        span = np.maximum(
            highest["quantity"] + highest["-quantity"], rounding * total["steps"]
        )
        if oscillator is None:
            # No function of q has it as its rate. It is gone when the initial layer is
            # over (an angular momentum), and judged against the bound of <m qdot, xi>.
            inertia = rule.parameters(float(np.max(record.rates)))[mass]
            span = np.maximum(span, inertia * highest["scale"])
        missed = float(np.max(highest["missed"] / _positive(span)))
        # q + u is rounded in every step, the measured quantity once.
        eps = float(jnp.finfo(run.dtype).eps)
        rounded = eps / 2 * total["reach"] + rounding * highest["reach"]
        surely = np.maximum(highest["missed"] - rounded, 0.0)
        drift = missed - float(np.max(surely / _positive(span)))
        if fed is not None and np.sum(total["source"]) > 0:
            raw = float(np.max(highest["missed raw"] / _positive(span)))
            factor = float(np.sum(total["raw source"]) / np.sum(total["source"]))
            if np.sum(total["stated kinetic"]) > 0:
                share = float(
                    np.sum(total["kinetic"]) / np.sum(total["stated kinetic"])
                )
    return Measures(
        discrete=float(np.max(highest["discrete"])),
        worst=int(np.argmax(highest["discrete"])),
        balance=float(np.max(highest["balance"])),
        defect=_root_of_share(total["defect"], total["defect_scale"]),
        metric=_root_of_share(total["metric"], total["metric_scale"]),
        kinetic=parts[0] / whole,
        decay=parts[1] / whole,
        continuous=missed,
        drift=drift,
        mass=share,
        raw=raw,
        raw_factor=factor,
    )


class _Total(dict[str, Any]):
    """Sums over the steps, unit by unit, of parts that come in turn."""

    def __call__(self, name: str, rows: np.ndarray) -> None:
        self[name] = self.get(name, 0.0) + rows.sum(axis=0)


class _Highest(dict[str, Any]):
    """The same of their largest values."""

    def __call__(self, name: str, rows: np.ndarray) -> None:
        self[name] = np.maximum(self.get(name, -np.inf), rows.max(axis=0))


def _positive(bound: Any) -> Any:
    """What can be divided by: what is bounded by zero is zero itself."""
    return np.where(bound > 0, bound, 1.0)


def _root_of_share(squares: Any, bounds: Any) -> float:
    return float(np.sqrt(np.max(squares / _positive(bounds))))
