"""The convolutions of recurrences in machine code: written out, or as loops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from lagrangian.lowering.native.code import (
    DOUBLE,
    INTEGER,
    LANES,
    VECTOR,
    Code,
    Value,
)
from lagrangian.lowering.recurrences import Node, Power, Product

#: Sums in one loop: what registers hold.
_AT_ONCE = 8


class WrittenOut:
    """The factors of all convolutions as values."""

    def __init__(self, code: Code, nodes: Sequence[Node], order: int):
        self._code = code
        self.lefts: dict[Node, list[Any]] = {node: [] for node in nodes}
        self._rights: dict[Node, list[Any]] = {node: [] for node in nodes}

    def begin(self, k: Any) -> None:
        """Before any factor of order k."""

    def left(self, node: Node, k: Any, value: Any) -> None:
        self.lefts[node].append(value)

    def right(self, node: Node, k: Any, value: Any) -> None:
        self._rights[node].append(value)

    def early_lefts(self, node: Node) -> Any:
        """The left factors of order 1 and 2."""
        return self.lefts[node][1:3]

    def convolved(self, node: Node, k: int, rate: float | None = None) -> Any:
        """sum_j left_j right_{k-j}, with weights rate j - k if there is a rate."""
        lefts, rights = self.lefts[node], self._rights[node]
        if isinstance(node, Product) and node.left == node.right:
            half = [(lefts[j], lefts[k - j]) for j in range(1, (k + 1) // 2)]
            total = 2.0 * dot(self._code, half)
            if k % 2 == 0:
                middle = lefts[k // 2]
                total = self._code.multiply_add(middle, middle, total)
            return self._code.multiply_add(2.0 * lefts[0], lefts[k], total)
        # What is known last comes last: nothing waits for it. Lefts of order 0 are zero
        # where rights of order k are not known.
        places = [j for j in (*range(1, k), 0, k) if k - j < len(rights)]
        weights = [1.0 if rate is None else rate * j - k for j in places]
        pairs = zip(places, weights, strict=True)
        return dot(self._code, [(lefts[j], w * rights[k - j]) for j, w in pairs])


class Looped:
    """The same in memory, the right factors in reverse."""

    def __init__(self, code: Code, nodes: Sequence[Node], order: int):
        self._code, self._nodes, self._order = code, nodes, order
        # Behind them are zeros for what is left of a vector. Those of a power twice:
        # the second time multiplied by their order, for its weights.
        powers = [node for node in nodes if isinstance(node, Power)]
        rows, length = 2 * len(nodes) + len(powers), order + LANES
        memory = code.memory(rows * length)
        places = (code.at(memory, row * length) for row in range(rows))
        self._lefts = {node: next(places) for node in nodes}
        self._rights = {node: next(places) for node in nodes}
        self._weighed: dict[Node, str] = {node: next(places) for node in powers}
        # Factors of order 0, and those of order k as far as they are known.
        self._first: dict[Node, list[Any]] = {}
        self._latest: dict[Node, list[Any]] = {}
        # The sums without factors of order k, by where their left ones are.
        self._sums: dict[str, Any] = {}

    def begin(self, k: Any) -> None:
        """Before any factor of order k: the sums of those before, some at a time.

        What has just been written could not be read with its neighbours at once.
        """
        code, sums = self._code, [(p, self._rights[n]) for n, p in self._lefts.items()]
        sums += [(p, self._rights[n]) for n, p in self._weighed.items()]
        blocks = code.binary("add", k, LANES - 1, INTEGER)
        blocks = code.binary("sdiv", blocks, LANES, INTEGER)
        for i in range(0, len(sums), _AT_ONCE):
            some = sums[i : i + _AT_ONCE]
            starts = [code.at(right, self._reversed(k)) for _, right in some]
            lefts = [left for left, _ in some]
            block = partial(self._block, lefts, starts)
            totals = code.repeat(0, blocks, block, [0.0] * len(some), VECTOR)
            for (left, _), total in zip(some, totals, strict=True):
                self._sums[left] = code.sum_of(total)

    def _block(
        self, lefts: Any, rights: Any, j: Value, totals: Sequence[Any]
    ) -> list[Any]:
        code = self._code
        place = code.binary("mul", j, LANES, INTEGER)
        pairs = (
            (code.read(left, VECTOR, place), code.read(right, VECTOR, place))
            for left, right in zip(lefts, rights, strict=True)
        )
        each = zip(pairs, totals, strict=True)
        return [code.multiply_add(*pair, total) for pair, total in each]

    def left(self, node: Node, k: Any, value: Any) -> None:
        self._known(k)[node] = [value]
        self._code.write(value, self._lefts[node], place=k)
        if node in self._weighed:
            self._code.write(real(self._code, k) * value, self._weighed[node], place=k)

    def right(self, node: Node, k: Any, value: Any) -> None:
        self._known(k)[node].append(value)
        self._code.write(value, self._rights[node], place=self._reversed(k))

    def early_lefts(self, node: Node) -> Any:
        return [self._code.read(self._lefts[node], place=k) for k in (1, 2)]

    def convolved(self, node: Node, k: Any, rate: float | None = None) -> Any:
        left, *right = self._latest[node]
        first_left, first_right = self._first[node]
        total = self._code.multiply_add(
            left, first_right, self._sums[self._lefts[node]]
        )
        if right:
            total = self._code.multiply_add(first_left, right[0], total)
        if rate is None:
            return total
        order = real(self._code, k)
        weighed = order * left * first_right + self._sums[self._weighed[node]]
        return rate * weighed - order * total

    def _known(self, k: Any) -> dict[Node, list[Any]]:
        return self._latest if isinstance(k, Value) else self._first

    def _reversed(self, k: Any) -> Any:
        if not isinstance(k, Value):
            return self._order - 1 - k
        return self._code.binary("sub", self._order - 1, k, INTEGER)


def real(code: Code, k: Any) -> Any:
    """A whole number as a real one."""
    if not isinstance(k, Value):
        return float(k)
    return code.operation(f"sitofp i64 {k.name} to double", DOUBLE, [k])


def dot(code: Code, pairs: Iterable[tuple[Any, Any]]) -> Any:
    """The sum of some products, added in their order."""
    total: Any = 0.0
    for one, other in pairs:
        total = code.multiply_add(one, other, total)
    return total
