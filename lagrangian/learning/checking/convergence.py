"""How the error of a continuous law shrinks with the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from lagrangian.errors import LagrangianError
from lagrangian.learning.checking.predict import predictor
from lagrangian.learning.training.run import Run
from lagrangian.symbolic.laws.noether import Law

#: Of the confidence intervals.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Order:
    """The error is like the learning rate to the power `value`.

    Attributes:
        value: the slope of the regression of log error on log learning rate.
        uncertainty: half of its 95 % confidence interval, by the t distribution.
    """

    value: float
    uncertainty: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.uncertainty:.2f}"


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise unless an order can be measured from these runs.

    Raises:
        LagrangianError: fewer than three learning rates, or runs that end at different
            times.
    """
    rates = sorted(map(_rate, runs))
    if len(set(rates)) < 3:
        raise LagrangianError(
            f"`run` has {len(runs)} runs at {len(set(rates))} learning rates. Pass one "
            "run alone, or runs at three learning rates or more: two have a slope, but "
            "no error of it."
        )
    ends = [float(run.time[-1]) for run in runs]
    if max(ends) - min(ends) > rates[-1]:
        raise LagrangianError(
            f"the runs in `run` end at the times {', '.join(f'{t:g}' for t in ends)} "
            "(steps times learning rate). Train each for `round(T / eta)` steps, with "
            "one time T."
        )


def measure_order(runs: Sequence[Run], law: Law, rounding: float) -> Order | None:
    """The order in the learning rate of `predict`, from runs that are comparable.

    The error is the root mean square, over units and the second half of each run, of
    the predicted minus the measured charge: by then the initial layer, inside which a
    run from rest and the flow differ by the first order, is over.

    Args:
        rounding: relative; errors that it may have made have no order.

    Returns:
        None where there is nothing to measure: the errors are rounding, as those of
        an exact law are.
    """
    errors = []
    for run in runs:
        predicted, seen, middle = predictor(run, law), 0, run.steps // 2
        missed = size = bound = reach = 0.0
        for part in run[law].parts():
            late = slice(max(middle - seen, 0), None)
            missed += np.sum((predicted(part) - part.quantity)[late] ** 2)
            size += np.sum(part.quantity[late] ** 2)
            bound += np.sum(part.scale)
            reach += np.sum(part.reach)
            seen += len(part.rates)
        count = (run.steps - middle) * run[law].units
        errors.append(float(np.sqrt(missed / count)))
        size = float(np.sqrt(size / count))
        steps = _rate(run) * float(bound / (run.steps * run[law].units))
        drift = float(jnp.finfo(run.dtype).eps) / 2 * reach / run[law].units
        if errors[-1] <= rounding * (size + steps * run.steps) + drift:
            return None
    return regression([_rate(run) for run in runs], errors)


def _rate(run: Run) -> float:
    """The learning rate, the mean of a schedule's."""
    return float(np.mean(run.learning_rates))


def regression(
    rates: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray
) -> Order:
    """The slope of log error on log rate, from three points or more."""
    x, y = np.log(rates), np.log(errors)
    slope, offset = np.polyfit(x, y, 1)
    freedom = len(x) - 2
    squares = ((y - slope * x - offset) ** 2).sum() / freedom
    deviation = np.sqrt(squares / ((x - x.mean()) ** 2).sum())
    quantile = stdtrit(freedom, (1 + CONFIDENCE) / 2)
    return Order(float(slope), float(quantile * deviation))
