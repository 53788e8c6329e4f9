"""The records of a training run while it grows: in memory, or streamed to a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.rows import FileRows, MemoryRows
from lagrangian.learning.training.run import Record, Run
from lagrangian.symbolic.laws.noether import Law


@dataclass(frozen=True)
class Mark:
    """How far the records of a run went when its state was this.

    Attributes:
        steps: how many rows of each were finished.
        digests: of those rows, by the name of their file; none in memory.
        closing: the carried products after the last step.
    """

    steps: int
    digests: Mapping[str, str]
    closing: np.ndarray


@dataclass(frozen=True)
class Rows:
    """What was recorded of the steps from `start` on, a row a step.

    Attributes:
        parts: the inner products, some steps after the other: they are much, and those
            of a long run would be copied whenever some are added.
    """

    start: int
    losses: np.ndarray
    rates: np.ndarray
    parts: tuple[np.ndarray, ...]

    @classmethod
    def split(cls, start: int, rows: np.ndarray) -> Rows:
        """The rows of an `ObservedState`, in the order of the steps."""
        return cls(start, rows[:, 0], rows[:, 1], (rows[:, 2:],))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.losses)

    @property
    def end(self) -> int:
        """The step behind the last."""
        return self.start + self.count

    @property
    def last(self) -> np.ndarray:
        """The products of the last step, as one row."""
        return self.parts[-1][-1:]

    @property
    def records(self) -> dict[str, np.ndarray]:
        """What a `Recorder` takes of them."""
        products = np.concatenate(self.parts)
        return {"loss": self.losses, "rate": self.rates, "products": products}

    def some(self, start: int, stop: int) -> Rows:
        """Those from one on and until another, counted from the first."""
        parts, at = [], 0
        for part in self.parts:
            parts.append(part[max(0, start - at) : max(0, stop - at)])
            at += len(part)
        losses, rates = self.losses[start:stop], self.rates[start:stop]
        return Rows(self.start + start, losses, rates, tuple(parts))

    def followed_by(self, other: Rows) -> Rows:
        parts = [*self.parts, *(part for part in other.parts if len(part))]
        # Each at least as long as those behind it: few parts, that are seldom copied.
        while len(parts) > 1 and len(parts[-2]) <= len(parts[-1]):
            parts[-2:] = [np.concatenate(parts[-2:])]
        return Rows(
            self.start,
            np.concatenate([self.losses, other.losses]),
            np.concatenate([self.rates, other.rates]),
            tuple(parts),
        )


class Records(Mapping[Law, Record]):
    """The `Record` of each law, made when it is first asked for."""

    def __init__(self, laws: Iterable[Law], make: Callable[[Law], Record]):
        self._make = cache(make)
        self._laws = dict.fromkeys(laws)

    def __getitem__(self, law: Law) -> Record:
        if law not in self._laws:
            raise KeyError(law)
        return self._make(law)

    def __iter__(self) -> Iterator[Law]:
        return iter(self._laws)

    def __len__(self) -> int:
        return len(self._laws)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


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
        start: the number of the first step, as the rule's schedules count.
        argument: by which the user named the folder.
        before: what was recorded of the steps from `start` on until these.
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
        start: int = 0,
        argument: str = "checkpoint",
        before: Rows | None = None,
        **about: Any,
    ):
        self.observation, self.sizes, self.about = observation, sizes, about
        self.steps, self._start, self.before = 0, start, before
        widths = [math.prod(shape) for shape in shapes]
        ends = [0, *accumulate(widths)]
        self._columns = {
            node: (slice(start, end), shape)
            for node, start, end, shape in zip(
                observation.products, ends[:-1], ends[1:], shapes, strict=True
            )
        }
        self._carried, self._width = sum(widths[: len(observation.carried)]), ends[-1]
        self._closing = np.zeros(self._carried, dtypes[1])

        def rows(name: str, count: int, shape: tuple[int, ...], dtype: Any) -> Any:
            if folder is None:
                return MemoryRows(count, shape, dtype)
            return FileRows(folder / f"{name}.npy", shape, dtype, argument)

        self._losses = rows("losses", steps, (), dtypes[0])
        self._rates = rows("learning_rates", steps, (), np.float64)
        self._products = rows("products", steps + 1, (ends[-1],), dtypes[1])
        self._files = [] if folder is None else self._all

    @property
    def _all(self) -> list[Any]:
        return [self._losses, self._rates, self._products]

    def open(self, mark: Mark | None) -> None:
        """Begin in the folder, or go on from where a state was saved.

        Raises:
            LagrangianError: a record is missing, cut off, altered, or another run's.
            CannotSave: the operating system refuses.
        """
        for rows in self._files:
            if mark is None:
                rows.create()
                continue
            name = rows.path.name
            if name not in mark.digests:
                raise LagrangianError(
                    f"`checkpoint`: the state in {rows.path.parent} knows nothing of "
                    f"{name}. Begin anew in another folder."
                )
            rows.resume(mark.steps, mark.digests[name])
        if mark is not None:
            self.steps, self._closing = mark.steps, mark.closing

    def reopen(self) -> int:
        """Go on in the folder, without digests; returns how many steps are there.

        Raises:
            LagrangianError: a record is missing, cut off, or another run's.
        """
        found = [rows.reopen() for rows in self._files]
        # The products have one row more: what the last step led to.
        self.steps = min(*found[:2], max(0, found[2] - 1))
        return self.steps

    def records(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """What the folder has of some steps, as `extend` took it."""
        names = ("loss", "rate", "products")
        return {
            name: rows.read(start, stop)
            for name, rows in zip(names, self._files, strict=True)
        }

    def mark(self) -> Mark:
        """How far the records go, for a state that is as far."""
        digests = {rows.path.name: rows.digest for rows in self._files}
        return Mark(self.steps, digests, self._closing)

    def extend(
        self, records: Mapping[str, Any], closing: np.ndarray, *, silent: bool = False
    ) -> int | None:
        """Add one chunk, up to its first step that is not finite.

        Args:
            records: of the steps of a chunk, stacked.
            closing: the carried products after its last step.
            silent: whether a loss may be nan because nobody told it.

        Returns:
            How many of its steps are finite if not all of them are, else None.
        """
        products, losses, carried = records["products"], records["loss"], self._carried
        if not len(losses):
            self._closing = closing
            return None
        known = np.isfinite(products)
        finite = np.isfinite(losses) | (silent & np.isnan(losses))
        finite &= known.all(axis=1)
        # A step is finite if what it leads to is.
        finite[:-1] &= known[1:, :carried].all(axis=1)
        finite[-1] &= np.isfinite(closing).all()
        good = len(finite) if finite.all() else int(np.argmin(finite))
        self._losses.put(self.steps, losses[:good])
        self._rates.put(self.steps, records["rate"][:good])
        self._products.put(self.steps, products[:good])
        self.steps += good
        if good < len(finite):
            closing = products[good, :carried]
        self._closing = closing
        return good if good < len(finite) else None

    def flush(self) -> None:
        """Have what was recorded on the disk."""
        for rows in self._files:
            rows.finish(self.steps)

    def close(self) -> None:
        """Write no more; what was recorded stays readable."""
        for rows in self._files:
            rows.close()

    def run(self, model: Any) -> Run:
        """Everything recorded so far."""
        steps = self.steps
        last = np.zeros((1, self._width), self._closing.dtype)
        last[0, : self._carried] = self._closing
        self._products.put(steps, last, passing=True)
        losses, rates = self._losses.array(steps), np.asarray(self._rates.array(steps))
        products = self._products.array(steps + 1)
        if (before := self.before) is not None:
            losses = np.concatenate([before.losses, losses])
            rates = np.concatenate([before.rates, rates])

        @cache
        def whole() -> np.ndarray:
            return np.concatenate([*before.parts, products]) if before else products

        def column(product: Any) -> np.ndarray:
            columns, shape = self._columns[product]
            return whole()[:, columns].reshape(-1, *shape)

        def record(law: Law) -> Record:
            known = column, rates, self.sizes, self._start
            return self.observation.record(law, *known)

        records = Records(self.observation.laws, record)
        return Run(
            model=model,
            losses=losses,
            learning_rates=rates,
            records=records,
            **self.about,
        )
