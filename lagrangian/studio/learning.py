"""A network's symmetries, its training, and what its laws predict meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.checking.check import check
from lagrangian.learning.checking.predict import predict
from lagrangian.learning.discover.discovery import discover
from lagrangian.learning.rules.names import rule_of_name
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train
from lagrangian.networks.subject import load_subject
from lagrangian.studio.worker import reported
from lagrangian.symbolic.laws.noether import Law

#: Laws that are drawn, and how often they are.
MOST_CURVES, LOOKS = 4, 20


@dataclass(frozen=True)
class Lesson:
    """What is to be trained, and how.

    Attributes:
        model, data: as `load_subject` takes them; empty for the library's own.
        rule: by its name, with its numbers.
    """

    model: str
    data: str
    rule: str
    numbers: tuple[tuple[str, float], ...]
    steps: int
    batch_size: int
    seed: int


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
    """A text under a heading."""

    heading: str
    text: str


def lesson(asked: Lesson) -> Iterator[Table | Progress]:
    """The symmetries; the progress of the training; the verdicts, and their reasons.

    Raises:
        LagrangianError: from whichever of these cannot be done.
    """
    yield from reported(lambda report: _taught(asked, report))


def _taught(asked: Lesson, report: Callable[[Any], None]) -> Table:
    rule = rule_of_name(asked.rule, dict(asked.numbers))
    model, loss, data = load_subject(
        asked.model or None, asked.data or None, asked.seed
    )
    found = discover(model, loss, data, seed=asked.seed)
    report(Table("Symmetries", str(found)))
    run = train(
        model,
        loss,
        data,
        rule,
        asked.steps,
        observe=found,
        batch_size=min(asked.batch_size, len(data[0])),
        seed=asked.seed,
        callback=lambda run: report(_progress(run)),
        every=max(asked.steps // LOOKS, 1),
        progress=False,
    )
    report(_progress(run))
    return Table("Verdicts", str(check(run)))


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
    return Curve(repr(law.symmetry), steps, measured, predicted)


def _first(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return values.reshape(len(values), -1)[:, 0]
