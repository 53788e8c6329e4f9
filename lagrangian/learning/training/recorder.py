"""The records of a training run while it grows: in memory, or streamed to a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.run import Run


class Recorder:
    """Losses, learning rates and inner products, a row a step.

    In a folder they are `.npy` files that hold all steps from the start, so that memory
    does not grow with the length of the run, and a resumed run goes on writing.

    Args:
        observation: what is observed.
        shapes: of its products.
        sizes: how many entries each block has.
        steps: how many there will be.
        dtypes: of the loss and of the products.
        folder: where to stream to; None for memory.
        about: what `Run` is told besides.
    """

    def __init__(
        self,
        observation: Observation,
        shapes: Sequence[tuple[int, ...]],
        sizes: Mapping[str, int],
        steps: int,
        dtypes: tuple[Any, Any],
        folder: Path | None,
        **about: Any,
    ):
        self.observation, self.sizes, self.about = observation, sizes, about
        self.steps = 0
        widths = [int(np.prod(shape)) for shape in shapes]
        ends = np.cumsum([0, *widths])
        self._columns = {
            node: (slice(start, end), shape)
            for node, start, end, shape in zip(
                observation.products, ends[:-1], ends[1:], shapes, strict=True
            )
        }
        self._carried = sum(widths[: len(observation.carried)])

        def rows(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            if folder is None:
                return np.empty(shape, dtype)
            return _stream(folder / f"{name}.npy", shape, dtype)

        self.losses = rows("losses", (steps,), dtypes[0])
        self.rates = rows("learning_rates", (steps,), np.float64)
        self.products = rows("products", (steps + 1, int(ends[-1])), dtypes[1])

    def extend(self, records: Mapping[str, Any], closing: np.ndarray) -> int | None:
        """Add one chunk, up to its first step that is not finite.

        Args:
            records: of the steps of a chunk, stacked.
            closing: the carried products after its last step.

        Returns:
            How many of its steps are finite if not all of them are, else None.
        """
        products, carried = records["products"], self._carried
        known = np.isfinite(products)
        finite = np.isfinite(records["loss"]) & known.all(axis=1)
        # A step is finite if what it leads to is.
        finite[:-1] &= known[1:, :carried].all(axis=1)
        finite[-1] &= np.isfinite(closing).all()
        good = len(finite) if finite.all() else int(np.argmin(finite))
        rows = slice(self.steps, self.steps + good)
        self.losses[rows] = records["loss"][:good]
        self.rates[rows] = records["rate"][:good]
        self.products[rows] = products[:good]
        self.steps += good
        if good < len(finite):
            closing = products[good, :carried]
        self.products[self.steps, :carried] = closing
        return good if good < len(finite) else None

    def flush(self) -> None:
        """Write what was recorded to the folder."""
        for rows in (self.losses, self.rates, self.products):
            if isinstance(rows, np.memmap):
                rows.flush()

    def run(self, model: Any) -> Run:
        """Everything recorded so far."""
        steps = self.steps
        rates = np.asarray(self.rates[:steps])
        return Run(
            model=model,
            losses=self.losses[:steps],
            learning_rates=rates,
            records={
                law: self.observation.record(law, self._column, rates, self.sizes)
                for law in self.observation.laws
            },
            **self.about,
        )

    def _column(self, product: Any) -> np.ndarray:
        columns, shape = self._columns[product]
        return self.products[: self.steps + 1, columns].reshape(-1, *shape)


def _stream(path: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The rows of a file, of which those that it has already are kept."""
    if not path.exists():
        return open_memmap(path, "w+", dtype, shape)
    kept = open_memmap(path, "r+")
    if kept.shape == shape:
        return kept
    longer = path.with_suffix(".longer.npy")
    rows = open_memmap(longer, "w+", dtype, shape)
    rows[: len(kept)] = kept
    rows.flush()
    os.replace(longer, path)
    return rows
