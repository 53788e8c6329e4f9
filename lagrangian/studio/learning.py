"""A network's symmetries, its training, and what its laws predict meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.checking.lesson import lesson
from lagrangian.learning.checking.predict import predict
from lagrangian.learning.checking.report import Report
from lagrangian.learning.discover.discovery import Discovery
from lagrangian.learning.rules.names import rule_of_name
from lagrangian.learning.training.run import Run
from lagrangian.networks.subject import load_subject
from lagrangian.studio.reasons import why
from lagrangian.studio.worker import reported
from lagrangian.symbolic.laws.noether import Law

#: Laws that are drawn, and how often they are.
MOST_CURVES, LOOKS = 4, 20


@dataclass(frozen=True)
class Lesson:
    """What is to be trained, and how.

    Attributes:
        model, data: as `load_subject` takes them; empty for the library's own.
        rule: by its name, with its numbers; or `module:name`.
    """

    model: str
    data: str
    rule: str
    numbers: tuple[tuple[str, float], ...]
    steps: int
    batch_size: int
    seed: int

    @property
    def code(self) -> str:
        """The names of code that is not the library's, and that would be run."""
        own = self.rule if ":" in self.rule else ""
        return " and ".join(f"`{name}`" for name in (self.model, own) if name)


@dataclass(frozen=True)
class Stage:
    """What is being done; how many steps of all are done, where that is known."""

    text: str
    done: int | None = None


@dataclass(frozen=True)
class Curve:
    """The first unit of a charge along training; `predicted` where there is a law."""

    name: str
    steps: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray | None


@dataclass(frozen=True)
class Progress:
    """After some steps: the losses, and the charges against their laws."""

    losses: np.ndarray
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a heading.

    Attributes:
        cells: of each row, the header first.
        good: of each row but the header, whether it is as one hopes; None where there
            is nothing to hope for.
        notes: of each row but the header, sentences that explain it.
        summary: what is said below.
    """

    heading: str
    cells: tuple[tuple[str, ...], ...]
    good: tuple[bool | None, ...]
    notes: tuple[tuple[str, ...], ...]
    summary: str = ""


def taught(asked: Lesson) -> Iterator[Stage | Table | Progress]:
    """The symmetries; the progress of the training; the verdicts, and their reasons.

    Raises:
        LagrangianError: from whichever of these cannot be done.
    """
    yield from reported(lambda report: _taught(asked, report))


def _taught(asked: Lesson, report: Callable[[Any], None]) -> Stage:
    rule = rule_of_name(asked.rule, dict(asked.numbers))
    subject = load_subject(asked.model or None, asked.data or None, asked.seed)

    def look(run: Run) -> None:
        report(_progress(run))
        done = len(run.losses)
        report(Stage(f"Training: {done} of {asked.steps} steps", done))

    report(Stage("Looking for symmetries of the loss"))
    parts: Any = lesson(
        *subject,
        rule,
        asked.steps,
        batch_size=asked.batch_size,
        seed=asked.seed,
        callback=look,
        every=max(asked.steps // LOOKS, 1),
        progress=False,
    )
    report(_symmetries(next(parts)))
    report(Stage("Compiling the training"))
    run = next(parts)
    report(_progress(run))
    report(Stage("Checking the laws", asked.steps))
    verdicts = _verdicts(next(parts))
    report(verdicts)
    held = sum(bool(good) for good in verdicts.good)
    said = f"{held} of {len(verdicts.good)} laws hold" if verdicts.good else "no law"
    return Stage(f"{asked.steps} of {asked.steps} steps; {said}", asked.steps)


def _symmetries(found: Discovery) -> Table:
    header = ("symmetry", "how many", "finite defect", "kind")
    cells = tuple(
        (row.description, str(row.generators), f"{row.defect:.1e}", row.kind)
        for row in found.rows
    )
    good = tuple(True if row.kind == "exact" else None for row in found.rows)
    *_, summary = str(found).split("\n\n")
    return Table("Symmetries", (header, *cells), good, ((),) * len(cells), summary)


def _verdicts(report: Report) -> Table:
    header = ("symmetry", "of", "units", "discrete residual", "continuous error",
              "verdict")  # fmt: skip
    cells = tuple(
        (
            row.symmetry,
            row.block,
            str(row.units),
            f"{row.discrete:.1e}",
            "none" if row.continuous is None else f"{row.continuous:.2%}",
            row.verdict,
        )
        for row in report
    )
    good = tuple(row.holds for row in report)
    notes = tuple(why(row) for row in report)
    return Table("Verdicts", (header, *cells), good, notes)


def _progress(run: Run) -> Progress:
    laws = [law for law in run.records if run[law].quantity is not None]
    return Progress(
        np.asarray(run.losses), tuple(_curve(run, law) for law in laws[:MOST_CURVES])
    )


def _curve(run: Run, law: Law) -> Curve:
    measured = _first(run[law].quantity)
    try:
        predicted = _first(predict(run, law))
    except LagrangianError:
        predicted = None  # its discrete law is exact: see the verdicts
    steps = np.arange(len(measured))
    blocks = ", ".join(q.name for q in law.symmetry.xi)
    return Curve(f"{law.symmetry.name} of {blocks}", steps, measured, predicted)


def _first(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return values.reshape(len(values), -1)[:, 0]
