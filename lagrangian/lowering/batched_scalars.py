"""Large systems of scalar expressions, evaluated level by level.

One JAX operation for each node makes a graph of thousands of scalars, which XLA takes
seconds to compile. Here all nodes of one level that do the same (the sines, say, or
the products of three) are one array operation on rows gathered from the levels below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.lowering.functions import FUNCTIONS, fraction, number, rational_power
from lagrangian.lowering.kernels.fused import total

#: Graphs of fewer nodes compile quickly as they are, and run faster in a batch; and the
#: same for programs whose lanes are few.
LARGE, LARGE_IN_LANES = 512, 192

_SCALARS = (float, int, np.generic, np.ndarray, jax.Array)


def is_large(
    expressions: Sequence[Any],
    values: Mapping[Any, Any],
    lanes: tuple[int, ...] | None = None,
) -> bool:
    """Whether to evaluate by levels: many nodes, all of them scalar and elementwise.

    Arrays of states run faster as one operation a node, which keeps each value of the
    whole batch together; so a value with axes says no, but for those of `lanes`, in
    programs where time to compile counts more.
    """
    shapes, large = ((),), LARGE
    if lanes is not None:
        shapes, large = ((), lanes), LARGE_IN_LANES
    seen: set[Any] = set()
    pending = list(expressions)
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.is_Symbol:
            value = values.get(node)
            if not isinstance(value, _SCALARS) or np.shape(value) not in shapes:
                return False
        elif node.args:
            elementary = node.is_Add or node.is_Mul or node.is_Pow
            if not elementary and type(node) not in FUNCTIONS:
                return False
            pending += node.args
    return len(seen) > large


def evaluate_levels(
    expressions: Sequence[Any],
    values: Mapping[Any, Any],
    dtype: Any,
    lanes: tuple[int, ...] = (),
) -> Any:
    """The values of scalar expressions, of shape (expressions, *lanes)."""
    plan = _Plan(values, dtype, lanes)
    outputs = [plan.add(expression) for expression in expressions]
    return _take(plan.run(), [plan.place[row] for row in outputs])


class _Plan:
    """The distinct operations, each with its level and the rows that it works on."""

    def __init__(self, values: Mapping[Any, Any], dtype: Any, lanes: tuple[int, ...]):
        self.values, self.dtype, self.lanes = values, dtype, lanes
        self.rows: dict[Any, int] = {}
        self.operations: list[tuple[Any, tuple[int, ...]]] = []
        self.levels: list[int] = []
        self.constants: dict[int, float] = {}
        self.place: dict[int, int] = {}
        self.zero = self.constant(0.0)

    def add(self, node: Any) -> int:
        if node not in self.rows:
            self.rows[node] = self.node(node)
        return self.rows[node]

    def node(self, node: Any) -> int:
        if node.is_number and not (node.is_Add or node.is_Mul):
            return self.constant(number(node, self.dtype))
        if node.is_Symbol:
            value = self.values[node]
            if isinstance(value, float | int):
                return self.constant(value)
            return self.row("input", (), node)
        if node.is_Add:
            return self.gathered("sum", node.args)
        if node.is_Mul:
            above, below = fraction(node)
            top = self.gathered("product", above)
            if not below:
                return top
            return self.row("quotient", (top, self.gathered("product", below)))
        if node.is_Pow and node.exp.is_Rational:
            return self.row(("power", node.exp), (self.add(node.base),))
        operation = "power" if node.is_Pow else type(node)
        return self.row(operation, tuple(map(self.add, node.args)))

    def gathered(self, operation: str, nodes: Sequence[Any]) -> int:
        """A sum or product, its constants (the parameters, mostly) folded into one."""
        unit, combine = (0.0, sum) if operation == "sum" else (1.0, np.prod)
        rows = [self.add(node) for node in nodes]
        moving = [row for row in rows if row not in self.constants]
        held = [self.constants[row] for row in rows if row in self.constants]
        constant = float(combine(held)) if held else unit
        if not moving:
            return self.constant(constant)
        if constant != unit:
            moving.insert(0, self.constant(constant))
        return moving[0] if len(moving) == 1 else self.row(operation, tuple(moving))

    def constant(self, value: float) -> int:
        row = self.row("constant", (), float(value))
        self.constants[row] = float(value)
        return row

    def row(self, operation: Any, arguments: tuple[int, ...], label: Any = None) -> int:
        key = (operation, arguments, label)
        if key not in self.rows:
            self.rows[key] = len(self.operations)
            self.operations.append((operation, arguments if arguments else label))
            self.levels.append(1 + max((self.levels[a] for a in arguments), default=-1))
        return self.rows[key]

    def run(self) -> Any:
        by_level: dict[int, dict[Any, list[int]]] = {}
        for row, (operation, arguments) in enumerate(self.operations):
            kind = operation
            if operation == "sum":  # widths of sums are rounded up, to share operations
                kind = operation, 1 << (len(arguments) - 1).bit_length()
            elif isinstance(arguments, tuple):
                kind = operation, len(arguments)
            groups = by_level.setdefault(self.levels[row], {})
            groups.setdefault(kind, []).append(row)

        start = by_level.pop(0)
        inputs = [
            self.values[self.operations[row][1]] for row in start.get("input", [])
        ]
        held = [self.constants[row] for row in start["constant"]]
        column = np.reshape(held, (-1, *[1] * len(self.lanes)))
        pool = jnp.concatenate(
            [
                jnp.broadcast_to(
                    jnp.asarray(column, self.dtype), (len(held), *self.lanes)
                ),
                *(
                    jnp.broadcast_to(jnp.asarray(value, self.dtype), (1, *self.lanes))
                    for value in inputs
                ),
            ]
        )
        self.placed([*start["constant"], *start.get("input", [])])
        for level in sorted(by_level):
            results = [
                self.apply(operation, width, rows, pool)
                for (operation, width), rows in by_level[level].items()
            ]
            pool = jnp.concatenate([pool, *results])
            for rows in by_level[level].values():
                self.placed(rows)
        return pool

    def placed(self, rows: list[int]) -> None:
        for row in rows:
            self.place[row] = len(self.place)

    def apply(self, operation: Any, width: int, rows: list[int], pool: Any) -> Any:
        arguments = [self.operations[row][1] for row in rows]
        if operation == "sum":
            padded = [a + (self.zero,) * (width - len(a)) for a in arguments]
            places = [[self.place[r] for r in a] for a in padded]
            return total(_take(pool, places), axis=1)
        # One gather: each is a loop of its own, which takes XLA longer than it runs.
        columns = _take(
            pool, [[self.place[a[i]] for a in arguments] for i in range(width)]
        )
        if operation == "product":
            value = columns[0]
            for column in columns[1:]:
                value = value * column
            return value
        if operation == "quotient":
            return columns[0] / columns[1]
        if operation == "power":
            return columns[0] ** columns[1]
        if isinstance(operation, tuple):
            return rational_power(columns[0], operation[1])
        return FUNCTIONS[operation](*columns)


def _take(pool: Any, places: Any) -> Any:
    return pool.at[np.asarray(places)].get(
        mode="promise_in_bounds", wrap_negative_indices=False
    )
