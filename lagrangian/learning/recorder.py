"""The records of a training run while it grows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lagrangian.learning.run import Record, Run
from lagrangian.symbolic.noether import Law


class Recorder:
    """Collects the records of the chunks and makes a `Run` of them."""

    def __init__(self, laws: Sequence[Law], **about: Any):
        self.laws, self.about = laws, about
        self.chunks: list[dict[str, Any]] = []

    @property
    def steps(self) -> int:
        return sum(len(chunk["loss"]) for chunk in self.chunks)

    def extend(self, records: dict[str, Any]) -> float | None:
        """Add one chunk up to its first step that is not finite.

        Returns the loss of that step, or None if all are finite.
        """
        finite = np.isfinite(records["loss"])
        for law in records["laws"]:
            scale = law["scale"].reshape(len(finite), -1)
            finite = finite & np.isfinite(scale).all(axis=1)
        good = len(finite) if finite.all() else int(np.argmin(finite))
        self.chunks.append(jax.tree.map(lambda a: a[:good], records))
        return None if good == len(finite) else float(records["loss"][good])

    def run(self, model: Any) -> Run:
        whole = jax.tree.map(lambda *parts: np.concatenate(parts), *self.chunks)
        return Run(
            model=model,
            losses=whole["loss"],
            learning_rates=whole["rate"].astype(np.float64),
            records={
                law: Record(**terms)
                for law, terms in zip(self.laws, whole["laws"], strict=True)
            },
            **self.about,
        )
