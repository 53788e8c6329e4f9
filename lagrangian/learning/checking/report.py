"""What a check says: a row a law, with every number that its verdict rests on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import compress

from lagrangian.learning.checking.convergence import Order
from lagrangian.prompt import AtPrompt, line
from lagrangian.tables import MOST_ROWS, html_table, shortened, text_table

HOLDS = "holds"
APPROXIMATE = "approximate symmetry"
ABSENT = "symmetry absent"
FAILS = "law fails"
UNDECIDED = "undecided"


@dataclass(frozen=True, repr=False)
class Row(AtPrompt):
    """The check of one law: every number that the verdict rests on.

    Attributes:
        symmetry, block: what was checked.
        units: how many charges there are side by side.
        discrete: residual of the exact discrete law, the largest over steps and units,
            relative to the Cauchy-Schwarz bound of its terms.
        worst: the unit where it is the largest.
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
            instead of the measured velocity; None where there is no source.
        raw_factor: by how much the source is then overestimated; None likewise.
        verdict, reason: in words.

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
    >>> row = lg.check(run)[0]
    >>> row.symmetry, row.block, row.discrete < row.rounding
    ('scale', 'w', True)
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
        """Whether the verdict is one of those by which the law holds."""
        return self.verdict == HOLDS

    def __str__(self) -> str:
        return f"{self.symmetry} of {self.block}: {self.verdict} ({self.reason})"


@dataclass(frozen=True, repr=False)
class Report(AtPrompt):
    """The rows of a check; prints as a table.

    Attributes:
        rows: one for each law; `report[0]` is the first of them.

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
    >>> report = lg.check(run)
    >>> report.holds, report[0].verdict
    (True, 'holds')
    """

    rows: tuple[Row, ...]

    _next = "`.holds`, `report[0]`, a row with its numbers, `.to_json()`"

    def __repr__(self) -> str:
        table = text_table(shortened(self._cells()))
        return "\n".join([*table, f"  next: {self._next}"])

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        """The row of one law.

        Args:
            index: its place, from 0.

        Returns:
            A `Row`.
        """
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

    def _in_notebook(self) -> Iterable[str]:
        yield html_table(shortened(self._cells()))
        for row in self.rows[:MOST_ROWS]:
            yield line(f"{row.symmetry} of `{row.block}`: {row.reason}")

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
