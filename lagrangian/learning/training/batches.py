"""Where the batches of a training run come from: arrays in memory, or an iterator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.learning.training.fingerprint import fingerprint
from lagrangian.learning.training.whole_numbers import check_range
from lagrangian.lowering.pytrees import named_leaves


@runtime_checkable
class Batches(Protocol):
    """Batches as items that a scan goes over, and what they are chosen from.

    Attributes:
        size: examples a batch.
        constant: what every batch is chosen from; a pytree of arrays.
        first: the first batch.
    """

    size: int
    constant: Any
    first: Any

    def pick(self, constant: Any, item: Any) -> Any:
        """The batch of an item, traceable by JAX."""
        ...

    def chunks(self, done: int, steps: int, length: int) -> Iterator[Any]:
        """Items of the steps from `done` to `steps`, stacked by at most `length`."""
        ...

    def described(self) -> str:
        """What they are, the same in every process."""
        ...


def batches_of(
    data: Any, batch_size: int | None, seed: int, replacement: bool = False
) -> Batches:
    """The batches of `data`.

    Raises:
        LagrangianError: arrays without a common leading axis, or of no numbers; an
            iterator that yields nothing; or `replacement` where nothing is drawn.
    """
    is_tree = isinstance(data, Mapping | list | tuple | str | bytes)
    streamed = isinstance(data, Iterable) and not is_tree and not hasattr(data, "shape")
    if replacement and (streamed or batch_size is None):
        raise LagrangianError(
            "`replacement` is about how batches are drawn from arrays, and "
            + ("`data` is an iterator. " if streamed else "`batch_size` is None. ")
            + "Leave it out"
            + ("." if streamed else ", or pass a `batch_size`.")
        )
    if streamed:
        return Streamed(data)
    return Drawn(data, batch_size, seed, replacement)


class Drawn:
    """Batches of arrays in memory, drawn without replacement in each epoch.

    Or with replacement, which makes every batch independent of all others.
    """

    def __init__(
        self, data: Any, batch_size: int | None, seed: int, replacement: bool = False
    ):
        _check_numbers(data)
        self.constant = jax.tree.map(_numbers, data)
        self._length = _length(self.constant)
        whole = batch_size is None
        self.size = self._length if whole else min(batch_size, self._length)
        self._shuffled, self._seed = not whole, seed
        self._replacement = replacement
        self.first = jax.tree.map(lambda a: a[: self.size], self.constant)

    def pick(self, constant: Any, item: Any) -> Any:
        return jax.tree.map(lambda a: a[item], constant)

    def chunks(self, done: int, steps: int, length: int) -> Iterator[Any]:
        order = islice(self._order(), done, None)
        for start in range(done, steps, length):
            yield np.stack(list(islice(order, min(length, steps - start))))

    def _order(self) -> Iterator[np.ndarray]:
        """Rows of the data, a batch at a time; what an epoch leaves over is dropped."""
        generator, length = np.random.default_rng(self._seed), self._length
        while self._replacement:
            yield generator.integers(0, length, self.size)
        while True:
            rows = (
                generator.permutation(length) if self._shuffled else np.arange(length)
            )
            for start in range(0, length - self.size + 1, self.size):
                yield rows[start : start + self.size]

    def described(self) -> str:
        drawn = ", drawn with replacement" if self._replacement else ""
        return fingerprint(self.constant) + drawn


class Streamed:
    """Batches as an iterator yields them: pytrees of arrays, the next one when due."""

    def __init__(self, data: Iterable[Any]):
        iterator = iter(data)
        try:
            first = next(iterator)
        except StopIteration:
            raise LagrangianError(
                "`data` is an iterator that yields nothing. Pass one that was not "
                "used up, with a batch for each step."
            ) from None
        self.constant = None
        self.first = _on_host(first)
        self._iterator = chain([first], iterator)
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(self.first)]
        self.size = next((shape[0] for shape in shapes if shape), 1)

    def pick(self, constant: Any, item: Any) -> Any:
        return item

    def chunks(self, done: int, steps: int, length: int) -> Iterator[Any]:
        pending: list[Any] = []
        for batch in map(_on_host, islice(self._iterator, done, steps)):
            # The last batch of an epoch may be smaller: a chunk of its own.
            if pending and _form(batch) != _form(pending[0]):
                yield _stacked(pending)
                pending = []
            pending.append(batch)
            if len(pending) == length:
                yield _stacked(pending)
                pending = []
        if pending:
            yield _stacked(pending)

    def described(self) -> str:
        return f"an iterator whose first batch is {fingerprint(self.first)}"


def _on_host(batch: Any) -> Any:
    _check_numbers(batch)
    return jax.tree.map(np.asarray, batch)


def _form(batch: Any) -> Any:
    leaves, structure = jax.tree.flatten(batch)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _stacked(batches: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


def _check_numbers(data: Any) -> None:
    for path, leaf in named_leaves(data).items():
        where = f"`data` at `{path}`" if path else "`data`"
        if isinstance(leaf, bool | int | float | str):
            raise LagrangianError(
                f"{where} is {leaf!r}, one {type(leaf).__name__}, where an array of "
                "examples belongs. What is the same for all of them is no data: let "
                "`loss` close over it."
            )
        kind = getattr(getattr(leaf, "dtype", None), "kind", "f")
        if kind in "OSU":
            raise LagrangianError(
                f"{where} has an array of dtype {leaf.dtype}. Pass numbers: "
                "`np.unique(names, return_inverse=True)[1]` numbers the names of "
                "classes."
            )
        if kind in "iu":
            check_range(leaf)


def _numbers(leaf: Any) -> Any:
    return jnp.asarray(leaf)


def _length(data: Any) -> int:
    lengths = {a.shape[0] if a.ndim else -1 for a in jax.tree.leaves(data)}
    if len(lengths) != 1 or -1 in lengths:
        raise LagrangianError(
            "the arrays of `data` need one common leading axis, the examples; their "
            f"lengths are {sorted(map(str, lengths))}. Pass as many of each."
        )
    if lengths == {0}:
        raise LagrangianError(
            "`data` has no examples: its arrays have length 0. Pass one or more."
        )
    return lengths.pop()
