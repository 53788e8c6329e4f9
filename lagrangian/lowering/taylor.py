"""Taylor coefficients of the solution of M(q, v, t) qddot = F(q, v, t), as JAX loops.

All nodes of one level and kind are one array, and the orders are one loop, so that the
program stays small whatever the order and the system. Arrays have the members of a
batch, the `lanes`, as their last axis: what a CPU vectorises over.

The series of the accelerations x solves M x = F without a series of the inverse: at
each order M_0 x_k = F_k - sum_{j>0} M_j x_{k-j}, so M is inverted once a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.functions import FUNCTIONS
from lagrangian.lowering.fused import total
from lagrangian.lowering.recurrences import ONE, Form, Node, Recurrences, combine
from lagrangian.lowering.solve import invert

#: Terms of a convolution that are added at a time.
_BLOCK = 4
#: Up to so many places, linear forms are gathered by slices, which compile slowly.
_SLICED = 128


class TaylorSeries:
    """The recurrences of one system with numbers for its constants.

    Args:
        matrix, forcing: M and F in the equations M x = F. Behind the accelerations, x
            may hold the multipliers of constraints.
        positions, velocities: the symbols of the state, of equal number.
        time: the symbol of time.
        values: a number for every other symbol.

    Raises:
        CannotLower: a function without a recurrence.
    """

    def __init__(
        self,
        matrix: sp.Matrix,
        forcing: sp.Matrix,
        positions: Sequence[Any],
        velocities: Sequence[Any],
        time: Any,
        values: Mapping[Any, Any],
    ):
        self.matrix = matrix
        self.count, self.size = len(positions), matrix.rows
        names = [q.name for q in positions] + ["a constraint"] * matrix.rows
        inputs = [*positions, *velocities, time]
        recurrences = Recurrences(inputs)
        unknowns = [sp.Dummy(f"x{i}") for i in range(self.size)]
        entries = [
            [
                recurrences.add(matrix[i, j], f"mass matrix of `{names[i]}`")
                for j in range(self.size)
            ]
            for i in range(self.size)
        ]
        right = [
            recurrences.add(forcing[i], f"equation for `{names[i]}`")
            for i in range(self.size)
        ]
        self.forcing, residual = right, []
        for i, row in enumerate(entries):
            lagged = [
                (-ONE, {recurrences.lagged_product(entry, unknowns[j]): ONE})
                for j, entry in enumerate(row)
                if set(entry) - {ONE}
            ]
            residual.append(combine([(ONE, right[i]), *lagged]))

        self.groups = [
            _Group(kind, lagged, list(nodes))
            for (_, kind, lagged), nodes in groupby(
                sorted(recurrences.nodes, key=_group), _group
            )
        ]
        keys = [ONE, *inputs, *(n for g in self.groups for n in g.nodes), *unknowns]
        self.rows = {key: row for row, key in enumerate(keys)}
        self._values = dict(values)
        flat = [entry for row in entries for entry in row]
        self.entries_at = self._linear(flat)
        self.forcing_at = self._linear(right)
        self.residual_at = self._linear(residual)
        for group in self.groups:
            group.lower(self._linear)

    def _linear(self, forms: Sequence[Form]) -> _Linear:
        return _Linear(forms, self.rows, self._values)

    def coefficients(self, q: Any, v: Any, t: Any, order: int) -> tuple[Any, Any]:
        """The series of q and of v about one state.

        Args:
            q, v: float64 of shape (coordinates, lanes).
            t: shape (lanes,).
            order: of the last coefficient.

        Returns:
            two arrays of shape (order + 1, coordinates, lanes).
        """
        n, lanes = self.count, q.shape[-1]
        z = jnp.concatenate([jnp.ones((1, lanes)), q, v, t[None]])
        starts = []
        for group in self.groups:
            value, start = group.start(z, order)
            starts.append(start)
            z = jnp.concatenate([z, value])
        inverse = invert(
            self.matrix, self.entries_at(z).reshape(self.size, self.size, lanes)
        )
        x = _apply(inverse, self.forcing_at(z))
        z = jnp.concatenate([z, x])
        histories = [
            group.first(z, start, order)
            for group, start in zip(self.groups, starts, strict=True)
        ]
        q_series = jnp.zeros((order + 1, n, lanes)).at[0].set(q).at[1].set(v)
        v_series = jnp.zeros((order + 1, n, lanes)).at[0].set(v).at[1].set(x[:n])
        # The row of time: 1 at order 1, 0 above.
        still = jnp.zeros((1, lanes))

        def body(k: Any, carry: Any) -> Any:
            q_series, v_series, histories = carry
            row = jax.lax.dynamic_index_in_dim
            clock = jnp.where(k == 1, 1.0, still)
            z = jnp.concatenate(
                [still, row(q_series, k, 0, False), row(v_series, k, 0, False), clock]
            )
            kept = []
            for group, history in zip(self.groups, histories, strict=True):
                value, history = group.next(z, history, k, order)
                kept.append(history)
                z = jnp.concatenate([z, value])
            x = _apply(inverse, self.residual_at(z))
            z = jnp.concatenate([z, x])
            histories = [
                group.finish(z, history, k, order)
                for group, history in zip(self.groups, kept, strict=True)
            ]
            next_q = row(v_series, k, 0, False) / (k + 1)
            q_series = jax.lax.dynamic_update_index_in_dim(q_series, next_q, k + 1, 0)
            v_series = jax.lax.dynamic_update_index_in_dim(
                v_series, x[:n] / (k + 1), k + 1, 0
            )
            return q_series, v_series, histories

        q_series, v_series, _ = jax.lax.fori_loop(
            1, order, body, (q_series, v_series, histories)
        )
        return q_series, v_series


def _group(node: Node) -> tuple[int, str, bool]:
    return node.level, node.kind, node.lagged


class _Linear:
    """Linear forms as rows to gather and coefficients to weigh them with."""

    def __init__(
        self, forms: Sequence[Form], rows: Mapping[Any, int], values: Mapping[Any, Any]
    ):
        width = max([1, *map(len, forms)])
        self.rows = np.zeros((len(forms), width), np.int32)
        flat = []
        for i, form in enumerate(forms):
            terms = [*form.items(), *[(ONE, sp.S.Zero)] * (width - len(form))]
            self.rows[i] = [rows[key] for key, _ in terms]
            flat += [coefficient for _, coefficient in terms]
        self.plain = width == 1 and all(c == 1 for c in flat)
        weights = evaluate(flat, values)
        if not any(isinstance(w, jax.Array) for w in weights):
            weights = np.asarray(weights, np.float64)
        self.weights = jnp.asarray(weights, jnp.float64).reshape(len(forms), width, 1)

    def __call__(self, z: Any) -> Any:
        if self.rows.size > _SLICED:
            gathered = z.at[self.rows].get(mode="promise_in_bounds")
            return total(gathered * self.weights, axis=1)
        # Slices with fixed places run several times faster than a gather.
        columns = [
            jnp.concatenate([z[row : row + 1] for row in column])
            for column in self.rows.T
        ]
        if self.plain:
            return columns[0]
        return sum(c * self.weights[:, i] for i, c in enumerate(columns))


def _apply(inverse: Any, right: Any) -> Any:
    """inverse (n, n, lanes) or its diagonal (n, lanes) times right (n, lanes)."""
    if inverse.ndim == 2:
        return inverse * right
    return total(inverse * right, axis=1)


class _Group:
    """Nodes of one level and kind.

    Its history is two arrays of shape (rows, nodes, lanes): the coefficients of the
    left factors from the first, and of the right ones in reverse, so that the
    convolution of order k is a product of the one with a slice of the other.
    """

    def __init__(self, kind: str, lagged: bool, nodes: list[Node]):
        if kind == "integral":
            nodes.sort(key=lambda node: (str(node.function), len(node.arguments)))
        self.kind, self.lagged, self.nodes = kind, lagged, nodes

    def lower(self, linear: Any) -> None:
        self.left = linear([node.left for node in self.nodes])
        self.right = linear([node.right for node in self.nodes])
        if self.kind == "quotient":
            self.numerator = linear([node.numerator for node in self.nodes])
        if self.kind == "power":
            exponents = [float(node.exponent) for node in self.nodes]
            self.exponents = jnp.asarray(exponents)[:, None]
        if self.kind == "integral":
            self.functions = [
                (
                    function,
                    [linear([n.arguments[i] for n in run]) for i in range(arity)],
                )
                for function, arity, run in _runs(self.nodes)
            ]

    def start(self, z: Any, order: int) -> tuple[Any, Any]:
        """The coefficients of order 0, and what later orders need of them."""
        left = self.left(z)
        if self.kind == "quotient":
            value = self.numerator(z) / left
        elif self.kind == "power":
            value = left**self.exponents
        elif self.kind == "integral":
            value = jnp.concatenate(
                [
                    jnp.zeros_like(left[: len(arguments[0].rows)])
                    if function is None
                    else FUNCTIONS[function](*(a(z) for a in arguments))
                    for function, arguments in self.functions
                ]
            )
        elif self.lagged:
            value = jnp.zeros_like(left)
        else:
            value = left * self.right(z)
        return value, left

    def first(self, z: Any, left: Any, order: int) -> Any:
        """The history with the coefficients of order 0 in it."""
        rows = order + 1
        # Behind the last row are zeros for what is left of a block.
        lefts = jnp.zeros((rows + _BLOCK, *left.shape))
        if self.kind == "product" and not self.lagged:
            lefts = lefts.at[0].set(left)
        rights = jnp.zeros((2 * rows + _BLOCK, *left.shape))
        rights = rights.at[rows].set(self.right(z))
        divisor = 1 / left if self.kind in ("quotient", "power") else left
        return lefts, rights, divisor

    def next(self, z: Any, history: Any, k: Any, order: int) -> tuple[Any, Any]:
        """The coefficients of order k >= 1."""
        lefts, rights, divisor = history
        left = self.left(z)
        if self.kind == "integral":
            left = k * left
        lefts = jax.lax.dynamic_update_index_in_dim(lefts, left, k, 0)
        if not self.lagged:
            rights = jax.lax.dynamic_update_index_in_dim(
                rights, self.right(z), order + 1 - k, 0
            )
        value = self._convolved(lefts, rights, k, order)
        if self.kind == "quotient":
            value = (self.numerator(z) - value) * divisor
        elif self.kind == "power":
            value = value * divisor / k
        elif self.kind == "integral":
            value = value / k
        return value, (lefts, rights, divisor)

    def _convolved(self, lefts: Any, rights: Any, k: Any, order: int) -> Any:
        """The sum over j <= k of left_j right_{k-j}, a few terms at a time.

        One term at a time would be a chain of additions, and all of them at once mostly
        zeros: this is a third faster than either.
        """

        def block(i: Any, total: Any) -> Any:
            first = i * _BLOCK
            left = jax.lax.dynamic_slice_in_dim(lefts, first, _BLOCK, 0)
            right = jax.lax.dynamic_slice_in_dim(
                rights, order + 1 - k + first, _BLOCK, 0
            )
            if self.kind == "power":
                j = first + jnp.arange(float(_BLOCK))[:, None, None]
                right = right * ((self.exponents + 1) * j - k)
            terms = left * right
            return total + sum(terms[j] for j in range(_BLOCK))

        zero = jnp.zeros(lefts.shape[1:])
        return jax.lax.fori_loop(0, k // _BLOCK + 1, block, zero)

    def finish(self, z: Any, history: Any, k: Any, order: int) -> Any:
        """The history with the right factors of order k, once all are known."""
        if not self.lagged:
            return history
        lefts, rights, divisor = history
        rights = jax.lax.dynamic_update_index_in_dim(
            rights, self.right(z), order + 1 - k, 0
        )
        return lefts, rights, divisor


def _runs(nodes: Sequence[Node]) -> list[tuple[Any, int, list[Node]]]:
    """Neighbouring nodes of the same function together, with its number of arguments.

    The second part of a function of two arguments has none, and starts from zero.
    """
    runs = groupby(nodes, lambda node: (node.function, len(node.arguments)))
    return [(function, arity, list(run)) for (function, arity), run in runs]
