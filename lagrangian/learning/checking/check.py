"""`check`: the laws of a run certified, refuted, or found not to apply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import jax.numpy as jnp
import numpy as np

from lagrangian.learning.checking.convergence import (
    Order,
    check_comparable,
    measure_order,
)
from lagrangian.learning.checking.measure import Measures, measure
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.unread import Unread
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law
from lagrangian.tables import markdown_table, shortened, text_table

HOLDS = "holds"
APPROXIMATE = "approximate symmetry"
ABSENT = "symmetry absent"
FAILS = "law fails"
UNDECIDED = "undecided"

#: Rounding of sums and gradients, in units of the dtype's machine epsilon.
ROUNDING = 256
#: A symmetry whose defect is above this share of |grad f| |xi| is no symmetry.
PRESENT = 1e-2
#: A kinetic energy that is further than this from that of the stated mass is remarked.
NOISY = 1e-2
#: The error of a continuous law from rest vanishes like eta^2. What is surely below
#: this power is of another order.
SECOND = 1.5


@dataclass(frozen=True, repr=False)
class Row(AtPrompt):
    """The check of one law: every number that the verdict rests on.

    Attributes:
        symmetry, block: what was checked; `units` charges side by side.
        discrete: residual of the exact discrete law, the largest over steps and units,
            relative to the Cauchy-Schwarz bound of its terms; `worst` is the unit.
        balance: the same with the measured <grad f, xi> put in: the rounding of the
            optimiser alone.
        defect: <grad f, xi> relative to |grad f| |xi|, root mean square over the run,
            the largest over units.
        rounding: what counts as zero for this dtype.
        continuous: |predicted - measured| of the charge, the largest over the run,
            relative to the range over which the charge moved (or, if larger, to the
            rounding summed over the steps; of a charge that is no rate, to the bound
            of its terms); the worst unit. None for a rule without a continuous law.
        drift: how much of `continuous` the rounding of the parameters may account for,
            at most: half an epsilon of each in every step, as far as it moves the
            charge. Where a step is smaller than that, the parameters stand still.
        mass: the kinetic energy that was measured, relative to that of the stated mass:
            1 for the heavy ball, and for Nesterov's rule on gradients that are smooth
            in time; below 1 for its moves under the noise of minibatches.
        order: the power of the learning rate with which that error vanishes, after the
            initial layer, if several runs were given; None also where the errors are
            mere rounding.
        kinetic, decay: the shares of the update and of the weight decay in what drives
            the charge, together with `defect` one.
        metric: the part of the velocity along the symmetry that only the rule's metric
            puts there, relative to |velocity| |xi|, root mean square over the run, the
            largest over units; 0 for a Euclidean rule.
        raw: the continuous error if the source is taken from each step's gradient
            instead of the measured velocity, and `raw_factor` by how much it then
            overestimates the source; None where there is no source.
        verdict, reason: in words.
    """

    symmetry: str
    block: str
    units: int
    discrete: float
    worst: int
    balance: float
    defect: float
    rounding: float
    continuous: float | None
    drift: float
    mass: float | None
    order: Order | None
    kinetic: float
    decay: float
    metric: float
    raw: float | None
    raw_factor: float | None
    verdict: str
    reason: str

    _next = "`.discrete`, `.continuous`, `.defect`, `.reason`"

    @property
    def holds(self) -> bool:
        return self.verdict == HOLDS

    def __str__(self) -> str:
        return f"{self.symmetry} of {self.block}: {self.verdict} ({self.reason})"


@dataclass(frozen=True, repr=False)
class Report(AtPrompt):
    """The rows of a check; prints as a table."""

    rows: tuple[Row, ...]

    _next = "`.holds`, `report[0]`, a row with its numbers, `.to_json()`"

    def __repr__(self) -> str:
        table = text_table(shortened(self._cells()))
        return "\n".join([*table, f"  next: {self._next}"])

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return all(row.holds for row in self.rows)

    def _cells(self) -> list[tuple[str, ...]]:
        cells: list[tuple[str, ...]] = [_HEADER]
        for row in self.rows:
            cells.append(
                (
                    row.symmetry,
                    row.block,
                    str(row.units),
                    f"{row.discrete:.1e}",
                    f"{row.defect:.1e}",
                    f"{row.metric:.1e}",
                    _share(row.continuous),
                    "-" if row.order is None else str(row.order),
                    row.verdict,
                )
            )
            if row.raw is not None and row.raw_factor is not None:
                text = f"source {row.raw_factor:.2f} times the measured"
                fed = ("  fed raw gradients", *("",) * 5, _share(row.raw), "", text)
                cells.append(fed)
        shown = dict.fromkeys(_HEADER, True)
        shown["metric"] = any(row.metric > 0 for row in self.rows)
        shown["order"] = any(row.order is not None for row in self.rows)
        return [tuple(compress(line, shown.values())) for line in cells]

    def __str__(self) -> str:
        reasons = [f"{r.symmetry} of {r.block}: {r.reason}" for r in self.rows]
        return "\n".join([*text_table(self._cells()), "", *reasons])

    def _repr_markdown_(self) -> str:
        reasons = [f"- {r.symmetry} of `{r.block}`: {r.reason}" for r in self.rows]
        return "\n".join([*markdown_table(self._cells()), "", *reasons])

    def to_json(self) -> str:
        """Every number of every row."""
        return json.dumps([asdict(row) for row in self.rows], indent=2)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


_HEADER = (
    "symmetry",
    "block",
    "units",
    "discrete residual",
    "symmetry defect",
    "metric",
    "continuous error",
    "order",
    "verdict",
)


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

    Raises:
        LagrangianError: a law that was not observed, or runs that cannot be compared.
    """
    runs = (run,) if isinstance(run, Run) else tuple(run)
    if len(runs) != 1:
        check_comparable(runs)
    chosen = runs[0].records if laws is None else map(runs[0].law, laws)
    return Report(tuple(_row(runs, law, tolerance) for law in chosen))


def _row(runs: Sequence[Run], law: Law, tolerance: float) -> Row:
    run = min(runs, key=lambda r: float(np.mean(r.learning_rates)))
    rounding = ROUNDING * float(jnp.finfo(run.dtype).eps)
    measures = measure(run, law, rounding)
    order = None
    record = run[law]
    rule = record.rule or run.rule
    smooth = rule.is_euclidean and not record.mixed
    if len(runs) > 1 and smooth and law.oscillator is not None:
        order = measure_order(runs, law, rounding)
    verdict, reason = _judge(measures, rounding, order, tolerance, run, rule)
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
    rule: Rule,
) -> tuple[str, str]:
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
            "between its steps"
        )
    if measures.defect > PRESENT:
        return ABSENT, f"{share}: the loss is not invariant, and no law follows"
    if discrete > rounding:
        return APPROXIMATE, (
            f"{share}, and the residual reaches {discrete:.1e}, above {level}: "
            "something small breaks the symmetry, such as the epsilon inside a "
            "normalisation"
        )
    if isinstance(rule, Unread):
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}; it is the discrete law alone, "
            f"which holds for every update: {rule.reason}"
        )
    if continuous is None and rule.is_euclidean:
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}, with the decay and the rate "
            "of each block; these differ, so there is no continuous law with one"
        )
    if continuous is None:
        return HOLDS, (
            f"residual {discrete:.1e} is within {level}; {rule.unsolved}, so there "
            "is no continuous law"
        )
    noisy = _noise(measures)
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
