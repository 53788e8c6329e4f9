"""The loop of a training run: chunks of steps, and what is kept of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from lagrangian.errors import TrainingStopped
from lagrangian.learning.training.batches import Batches
from lagrangian.learning.training.checkpoint import Checkpoint
from lagrangian.learning.training.failure import check_gradient, locate
from lagrangian.learning.training.observed import newest
from lagrangian.learning.training.recorder import Mark, Recorder, Rows
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.step import TrainingStep
from lagrangian.lowering.kernels.convolutions import ordered


@dataclass
class Loop:
    """A training run on its way.

    Attributes:
        step: one step.
        batches: where they come from, and `constant`, what all are chosen from.
        share: puts an array of a batch on the devices.
        recorder: the records; `states` is where the state is saved, None if nowhere.
        carry, mark: the last state known to be finite, and how far its records go.
    """

    step: TrainingStep
    batches: Batches
    share: Callable[[Any], Any]
    constant: Any
    recorder: Recorder
    states: Checkpoint | None
    carry: Any
    mark: Mark

    @cached_property
    def _scan(self) -> Callable[..., Any]:
        step = ordered(self.step)

        @jax.jit
        def scan(carry: Any, constant: Any, items: Any) -> Any:
            def body(carry: Any, item: Any) -> Any:
                batch = jax.tree.map(self.share, self.batches.pick(constant, item))
                carry = step(carry, batch)
                return carry, newest(carry[2])

            carry, rows = jax.lax.scan(body, carry, items)
            return carry, rows, self.step.closing(carry)

        return scan

    def chunks(self, steps: int, length: int) -> Iterator[Any]:
        """The batches of some steps at a time, the state after them, and the records.

        Args:
            steps: how many there are in all.
            length: of a chunk.
        """
        carry = self.carry
        for items in self.batches.chunks(self.mark.steps, steps, length):
            carry, *records = self._scan(carry, self.constant, items)
            yield items, carry, records

    def take(self, chunk: Any) -> int:
        """Record a chunk, and save the state if it is time; returns the steps of it.

        Raises:
            TrainingStopped: a step in it is not finite.
        """
        items, after, records = chunk
        before = self.recorder.steps
        if before == 0:
            check_gradient(self.step, self.carry, after, self._batch(items, 0))
        rows, closing = jax.device_get(records)
        good = self.recorder.extend(Rows.split(before, rows).records, closing)
        if good is not None:
            until = [self._batch(items, k) for k in range(good + 1)]
            raise _stopped(self.step, self.recorder, self.carry, until)
        self.carry, self.mark = after, self.recorder.mark()
        if self.states is not None and self.states.is_due:
            self._save(self.states)
        return self.recorder.steps - before

    def keep(self, save: str | os.PathLike[str] | None) -> None:
        """Save the state, and the records at `save`, whatever ended the loop."""
        try:
            if self.states is not None:
                # Of a chunk that stopped within, the records go further.
                self._save(self.states)
        finally:
            if save is not None and self.recorder.steps:
                self.run().save(save)

    def run(self) -> Run:
        """The run until now."""
        return self.recorder.run(self.step.model(self.carry))

    def _save(self, states: Checkpoint) -> None:
        self.recorder.flush()
        states.save(self.mark, self.carry)

    def _batch(self, items: Any, index: int) -> Any:
        """The batch of one of the items that are stacked."""
        item = jax.tree.map(lambda a: a[index], items)
        return self.batches.pick(self.constant, item)


def _stopped(
    step: TrainingStep, recorder: Recorder, carry: Any, batches: Sequence[Any]
) -> TrainingStopped:
    """The error for a chunk, on the last of whose batches a step was not finite."""
    one, before = jax.jit(step), None
    for batch in batches[:-1]:
        before, carry = carry, one(carry, batch)
    place = locate(step, carry, batches[-1])
    if before is not None and place.startswith("the parameters"):
        # Without a law nothing else is watched: they became so in the step before.
        place = locate(step, before, batches[-2])
    run = recorder.run(step.model(carry))
    charges = [
        f"{law.symmetry!r} {np.abs(record.quantity[-1]).max():.4g}"
        for law, record in run.records.items()
        if run.steps
    ]
    last = f" The last finite charges: {', '.join(charges)}." if charges else ""
    return TrainingStopped(
        f"training stopped at step {recorder.steps}: {place}.{last} Everything until "
        "then is in this error's `run`. Lower the learning rate, or check the data.",
        recorder.steps,
        run,
    )
