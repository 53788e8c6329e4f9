"""`check`: the laws of a run certified, refuted, or found not to apply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np

from lagrangian.elapsed import elapsed
from lagrangian.learning.checking.convergence import (
    Order,
    check_comparable,
    measure_order,
)
from lagrangian.learning.checking.measure import Measures, measure
from lagrangian.learning.checking.report import (
    ABSENT,
    APPROXIMATE,
    FAILS,
    HOLDS,
    UNDECIDED,
    Report,
    Row,
)
from lagrangian.learning.training.run import Record, Run
from lagrangian.learning.training.unread import Unread
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: Rounding of sums and gradients, in units of the dtype's machine epsilon.
ROUNDING = 256
#: A symmetry whose defect is above this share of |grad f| |xi| is no symmetry.
PRESENT = 1e-2
#: A kinetic energy that is further than this from that of the stated mass is remarked.
NOISY = 1e-2
#: The error of a continuous law from rest vanishes like eta^2. What is surely below
#: this power is of another order.
SECOND = 1.5


def check(
    run: Run | Sequence[Run],
    laws: Iterable[Law | Symmetry] | None = None,
    tolerance: float = 0.05,
) -> Report:
    """Check every law against a run: one row each.

    Two laws are checked. The discrete one is exact at any learning rate: its residual
    must be at the rounding level of the dtype at every step. The continuous one is
    solved from the initial state (see `predict`): its prediction must stay within
    `tolerance` of the measured charge, as a share of the range over which the charge
    moved. Where runs at several learning rates are given, the order of its error in
    the learning rate is measured, too, and must not be below the second:

        rules = [lg.HeavyBall(eta, momentum=0.9) for eta in (0.02, 0.01, 0.005)]
        runs = [
            lg.train(model, loss, data, rule, round(4 / rule.learning_rate),
                     observe=laws, batch_size=None)
            for rule in rules
        ]
        lg.check(runs, laws)

    Args:
        run: what `train` or `recorded` returned; or several runs that end at the same
            time, at three learning rates or more, of which the one at the smallest rate
            fills the other columns. Minibatches, and float32, blur an order: full
            batches in float64 show it best.
        laws: laws that the run observed, or symmetries; all of them if none are given.
        tolerance: largest error of the continuous prediction for the verdict 'holds'.

    Returns:
        A `Report`: a `Row` for each law, which prints as a table.

    Raises:
        LagrangianError: a law that was not observed, or runs that cannot be compared.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> rule = lg.HeavyBall(0.01, momentum=0.9)
    >>> run = lg.train(model, loss, data, rule, steps=50, observe=[scale])
    >>> lg.check(run, [scale]).holds
    True
    """
    runs = (run,) if isinstance(run, Run) else tuple(run)
    if len(runs) != 1:
        check_comparable(runs)
    chosen = runs[0].records if laws is None else map(runs[0].law, laws)
    with elapsed("checking laws"):
        return Report(tuple(_row(runs, law, tolerance) for law in chosen))


def _row(runs: Sequence[Run], law: Law, tolerance: float) -> Row:
    run = min(runs, key=lambda r: float(np.mean(r.learning_rates)))
    rounding = ROUNDING * float(jnp.finfo(run.dtype).eps)
    measures = measure(run, law, rounding)
    order = None
    record = run[law]
    smooth = run.continuous(law)
    if len(runs) > 1 and smooth is not None and smooth.oscillator is not None:
        order = measure_order(runs, law, rounding)
    verdict, reason = _judge(measures, rounding, order, tolerance, run, record)
    units = record.units
    if units > 1:
        reason = f"worst of {law.symmetry.charges(units, measures.worst)}: {reason}"
    return Row(
        symmetry=law.symmetry.name,
        block=", ".join(q.name for q in law.symmetry.xi),
        units=units,
        rounding=rounding,
        order=order,
        verdict=verdict,
        reason=reason,
        **vars(measures),
    )


def _judge(
    measures: Measures,
    rounding: float,
    order: Order | None,
    tolerance: float,
    run: Run,
    record: Record,
) -> tuple[str, str]:
    rule = record.rule or run.rule
    discrete, continuous = measures.discrete, measures.continuous
    level = f"{run.dtype} rounding ({rounding:.1e})"
    share = f"<grad f, xi> is {measures.defect:.2g} of |grad f| |xi|"
    if rounding > PRESENT:
        return UNDECIDED, (
            f"{level} is too coarse to tell a symmetry from none: keep the parameters "
            "in float32 or float64"
        )
    if measures.balance > rounding:
        return FAILS, (
            f"even with the measured <grad f, xi> the update misses the rule by "
            f"{measures.balance:.1e}, above {level}: the run was not made by "
            f"{run.rule}, or its hyperparameters or the parameters were changed "
            "between its steps, or its averages are kept in a shorter format than the "
            "parameters (`accumulator_dtype`)"
        )
    if measures.defect > PRESENT:
        return ABSENT, f"{share}: the loss is not invariant, and no law follows"
    if discrete > rounding:
        return APPROXIMATE, (
            f"{share}, and the residual reaches {discrete:.1e}, above {level}: "
            "something small breaks the symmetry, such as the epsilon inside a "
            "normalisation, or products in a shorter format than the parameters' (a "
            "GPU multiplies float32 in TF32, but inside of "
            '`with jax.default_matmul_precision("highest"):`)'
        )
    if isinstance(rule, Unread):
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}; it is the discrete law alone, "
            f"which holds for every update: {rule.reason}"
        )
    if continuous is None and record.note:
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}, with the decay and the rate "
            f"of each block; {record.note}, so there is no continuous law"
        )
    if continuous is None:
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}; {rule.unsolved}, so there "
            "is no continuous law"
        )
    noisy = _noise(measures) + (f"; {record.note}" if record.note else "")
    if continuous > tolerance >= continuous - measures.drift:
        return UNDECIDED, (
            f"the discrete law is exact, and the continuous prediction misses by "
            f"{continuous:.1%} of the charge's range; but the rounding of the "
            f"parameters to {run.dtype} in every step may account for "
            f"{measures.drift:.1%}: the charge hardly moves. Train in float64, or at a "
            "larger learning rate"
        )
    if continuous > tolerance:
        return FAILS, (
            f"the discrete law is exact, but the continuous prediction misses by "
            f"{continuous:.1%} of the charge's range (tolerance {tolerance:.1%}): the "
            f"learning rate is too large for the flow{noisy}"
        )
    if order is not None and order.value + order.uncertainty < SECOND:
        return FAILS, (
            f"the discrete law is exact, but the error of the continuous prediction "
            f"vanishes with the learning rate to the power {order}, not with its square"
        )
    reason = (
        f"residual {discrete:.1e} is within {level}; prediction within "
        f"{continuous:.2%} of the charge's range"
    )
    if order is not None:
        reason += f", and its error of order {order} in the learning rate"
    return HOLDS, reason + noisy


def _noise(measures: Measures) -> str:
    """A remark where the gradients are too noisy for the stated mass."""
    if measures.mass is None or abs(measures.mass - 1) < NOISY:
        return ""
    return (
        f"; under the noise of the gradients the mass is {measures.mass:.2f} of the "
        "stated one, which is that for gradients smooth in time, and with which the "
        "law is off by the first order in the learning rate: its kinetic energy was "
        "measured instead"
    )
