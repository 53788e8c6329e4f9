"""A training run that was observed: its losses and the record of every law."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import write_atomically
from lagrangian.learning.rules.rule import Rule
from lagrangian.symbolic.noether import Law


@dataclass(frozen=True)
class Record:
    """What was recorded of one law: arrays of shape (steps,) or (steps, units).

    `Observer` says what each of them is.
    """

    quantity: np.ndarray
    source: np.ndarray
    raw_source: np.ndarray
    start: np.ndarray
    discrete: np.ndarray
    scale: np.ndarray
    defect: np.ndarray
    defect_scale: np.ndarray
    balance: np.ndarray
    kinetic: np.ndarray
    decay: np.ndarray
    metric: np.ndarray
    metric_scale: np.ndarray


@dataclass
class Run:
    """What `train` returns: the trained model and everything recorded on the way.

    `run[law]` is the `Record` of an observed law.
    """

    model: Any
    rule: Rule
    losses: np.ndarray
    learning_rates: np.ndarray
    dtype: np.dtype
    seed: int
    batch_size: int
    records: dict[Law, Record] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def time(self) -> np.ndarray:
        """Continuous time t = sum of the learning rates, shape (steps + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.learning_rates)])

    def __repr__(self) -> str:
        last = f"{self.losses[-1]:.4g}" if self.steps else "none"
        return (
            f"Run({self.rule}; {self.steps} steps, last loss {last}; "
            f"{len(self.records)} laws; {self.dtype}, seed {self.seed})"
        )

    def __getitem__(self, law: Law) -> Record:
        if law not in self.records:
            observed = ", ".join(repr(known.symmetry) for known in self.records)
            raise LagrangianError(
                f"this run did not observe the law of {law.symmetry!r}. Pass it to "
                f"`train(..., observe=[...])`. Observed: {observed or 'none'}."
            )
        return self.records[law]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write losses and records to a `.npz` file, whole or not at all."""
        arrays: dict[str, Any] = {
            "losses": self.losses,
            "learning_rates": self.learning_rates,
            "about": np.asarray(
                json.dumps({"rule": str(self.rule), "seed": self.seed})
            ),
        }
        for law, record in self.records.items():
            for name, array in vars(record).items():
                arrays[f"{law.symmetry!r}/{name}"] = array
        write_atomically(path, lambda file: np.savez_compressed(file, **arrays))
