"""A network's symmetries, its training and the verdicts: one walk for both faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lagrangian.learning.checking.check import check
from lagrangian.learning.checking.report import Report
from lagrangian.learning.discover.discovery import Discovery, discover
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train


def lesson(
    model: Any,
    loss: Any,
    data: tuple[Any, Any],
    rule: Any,
    steps: int,
    *,
    batch_size: int,
    seed: int = 0,
    **options: Any,
) -> Iterator[Discovery | Run | Report]:
    """What `discover` finds; the run that observed it; and what `check` says of it.

    Args:
        model, loss, data, rule, steps: as for `train`; data is (inputs, targets).
        batch_size: at most as many as there are examples.
        seed: of the discovery and of the batches.
        options: others of `train`, such as `callback` or `save`.

    Raises:
        LagrangianError: from whichever of these cannot be done.
    """
    found = discover(model, loss, data, seed=seed)
    yield found
    batch_size = min(batch_size, len(data[0]))
    options |= {"batch_size": batch_size, "seed": seed}
    run = train(model, loss, data, rule, steps, observe=found, **options)
    yield run
    yield check(run)
