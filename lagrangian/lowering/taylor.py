"""Taylor coefficients of the solution of M(q, v, t) qddot = F(q, v, t), as JAX loops.

All nodes of one level and kind are one array, and the orders are one loop, so that the
program stays small whatever the order and the system. Arrays have the members of a
batch, the `lanes`, as their last axis: what a CPU vectorises over.

The series of the accelerations x solves M x = F without a series of the inverse: at
each order M_0 x_k = F_k - sum_{j>0} M_j x_{k-j}, so M is inverted once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.groups import Group, group_of
from lagrangian.lowering.kernels.fused import total
from lagrangian.lowering.kernels.linear_solve import felt, invert, solve_stacked
from lagrangian.lowering.recurrences import (
    ONE,
    Form,
    Integral,
    Node,
    Power,
    Recurrences,
    combine,
)

#: Up to so many places, linear forms are gathered by slices, which compile slowly: for
#: one lane, and for several, where gathering copies whole rows and so costs less.
_SLICED, _SLICED_LANES = 128, 64


class Expansion(NamedTuple):
    """The series about one state, in a unit of time of each lane's own.

    Attributes:
        terms: the coefficients of q, v and the integrals, in powers of time/unit:
            shape (order + 1, 2 coordinates + integrals, lanes).
        reach: how far in time the functions in the equations stay resolved, shape
            (lanes,): see `Group.reach`.
        gross: the sizes of what adds up to the accelerations, shape (coordinates,
            lanes); where they cancel, their rounding is what is left.
        masses: the diagonal of M, shape (coordinates, lanes).
    """

    terms: Any
    reach: Any
    gross: Any
    masses: Any


class TaylorSeries:
    """The recurrences of one system, and with `at` the numbers for its constants.

    Attributes:
        nodes: each after those that it needs; `forms` are the linear forms, in inputs,
            unknowns and nodes, of M (row after row), F, what M x_k is, and the rates.

    Args:
        matrix, forcing: M and F in the equations M x = F. Behind the accelerations, x
            may hold minus the multipliers of constraints.
        positions, velocities: the symbols of the state, of equal number.
        time: the symbol of time.
        values: a number for every other symbol; None to give them by `at`.
        rates: expressions whose integrals over time are carried along.
        unknowns: the symbols by which `rates` may speak of x.

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
        values: Mapping[Any, Any] | None = None,
        rates: Sequence[Any] = (),
        unknowns: Sequence[Any] = (),
    ):
        self.matrix = matrix
        self.count, self.size = len(positions), matrix.rows
        self.integrals = len(rates)
        #: Brings a state back onto the constraints; kept for the solvers.
        self.settle: Callable[[Any, Any], Any] | None = None
        names = [q.name for q in positions] + ["a constraint"] * matrix.rows
        inputs = [*positions, *velocities, time]
        unknowns = list(unknowns) or [sp.Dummy(f"x{i}") for i in range(self.size)]
        recurrences = Recurrences(inputs, unknowns)
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
        residual = []
        for i, row in enumerate(entries):
            lagged = [
                (-ONE, {recurrences.lagged_product(entry, unknowns[j]): ONE})
                for j, entry in enumerate(row)
                if set(entry) - {ONE}
            ]
            residual.append(combine([(ONE, right[i]), *lagged]))
        integrands = [recurrences.add(rate, "rate of a law") for rate in rates]

        self.nodes = sorted(recurrences.nodes, key=lambda n: (_group(n), n.run))
        early = [node for node in self.nodes if not node.late]
        late = [node for node in self.nodes if node.late]
        self.inputs, self.unknowns = inputs, unknowns
        keys = [ONE, *inputs, *early, *unknowns, *late]
        self.rows = {key: row for row, key in enumerate(keys)}
        flat = [entry for row in entries for entry in row]
        self.forms = flat, right, residual, integrands
        if values is not None:
            self._lower(values)

    def at(
        self,
        values: Mapping[Any, Any],
        settle: Callable[[Any, Any], Any] | None = None,
    ) -> TaylorSeries:
        """The same recurrences with a number for every constant; traced ones, too."""
        other = copy(self)
        other.settle = settle
        other._lower(values)
        return other

    @property
    def may_end(self) -> bool:
        """Whether a motion may go on where its series ends.

        At the zero of a root, such as that in a force |v|^(3/2), or of a logarithm.
        """
        return any(
            (isinstance(node, Power) and not node.exponent.is_negative)
            or (isinstance(node, Integral) and node.function is sp.log)
            for node in self.nodes
        )

    def _lower(self, values: Mapping[Any, Any]) -> None:
        self._values = dict(values)
        groups = [group_of(list(some)) for _, some in groupby(self.nodes, _group)]
        self.groups = [group for group in groups if not group.late]
        self.late = [group for group in groups if group.late]
        entries, right, residual, integrands = self.forms
        self.entries_at = self._linear(entries)
        self.forcing_at = self._linear(right)
        self.residual_at = self._linear(residual)
        self.rates_at = self._linear(integrands) if integrands else None
        for group in groups:
            group.lower(self._linear, self._values)

    def _linear(self, forms: Sequence[Form]) -> _Linear:
        return _Linear(forms, self.rows, self._values)

    def field(self, y: Any, t: Any) -> Any:
        """dy/dt at one state, for arrays as `expand` takes them.

        Nodes of a level are one array here, too: of many coordinates that compiles in a
        third of the time of one expression for each, and runs faster.
        """
        z, _, entries = self._begun(y, t)
        x = solve_stacked(self.matrix, entries, self.forcing_at(z))
        z, _ = _started(self.late, jnp.concatenate([z, x]))
        return self._slopes(y[self.count : 2 * self.count], x, z)

    def gross(self, y: Any, t: Any) -> Any:
        """The sizes of what adds up to accelerations, shape (coordinates, lanes)."""
        z, _, entries = self._begun(y, t)
        return felt(self.matrix, entries, self.forcing_at.gross(z))[: self.count]

    def _begun(self, y: Any, t: Any) -> tuple[Any, list[Any], Any]:
        """All rows that are known before the accelerations, and the entries of M."""
        lanes = t.shape[0]
        state = y[: 2 * self.count]
        z = jnp.concatenate([jnp.ones((1, lanes)), state, t[None]])
        z, starts = _started(self.groups, z)
        return z, starts, self.entries_at(z).reshape(self.size, self.size, lanes)

    def _slopes(self, v: Any, x: Any, z: Any) -> Any:
        rates = [] if self.rates_at is None else [self.rates_at(z)]
        return jnp.concatenate([v, x[: self.count], *rates])

    def expand(self, y: Any, t: Any, unit: Any, order: int) -> Expansion:
        """The series about one state.

        Args:
            y: q, v and the integrals, float64 of shape (2 coordinates + integrals,
                lanes).
            t, unit: shape (lanes,). The unit of time keeps the coefficients within the
                range of floats, if it is about as long as a step; powers of two leave
                their digits as they are.
            order: of the last coefficient.
        """
        n = self.count
        v = y[n : 2 * n]
        z, starts, entries = self._begun(y, t)
        inverse = invert(self.matrix, entries)
        x = _apply(inverse, self.forcing_at(z))
        gross = _apply(jnp.abs(inverse), self.forcing_at.gross(z))[:n]
        z, late_starts = _started(self.late, jnp.concatenate([z, x]))
        starts = starts + late_starts
        groups = self.groups + self.late
        histories = [
            group.first(z, start, order)
            for group, start in zip(groups, starts, strict=True)
        ]

        terms = jnp.zeros((order + 1, *y.shape)).at[0].set(y)
        terms = terms.at[1].set(unit * self._slopes(v, x, z))
        # The row of time: `unit` at order 1, 0 above.
        still = jnp.zeros((1, y.shape[-1]))

        def body(k: Any, carry: Any) -> Any:
            terms, histories = carry
            state = jax.lax.dynamic_index_in_dim(terms, k, 0, False)
            clock = jnp.where(k == 1, unit, still)
            z = jnp.concatenate([still, state[: 2 * n], clock])
            kept = []
            for group, history in zip(self.groups, histories, strict=False):
                value, history = group.next(z, history, k, order)
                kept.append(history)
                z = jnp.concatenate([z, value])
            x = _apply(inverse, self.residual_at(z))
            z = jnp.concatenate([z, x])
            for group, history in zip(self.late, histories[len(kept) :], strict=True):
                value, history = group.next(z, history, k, order)
                kept.append(history)
                z = jnp.concatenate([z, value])
            histories = [
                group.finish(z, history, k, order)
                for group, history in zip(groups, kept, strict=True)
            ]
            following = unit * self._slopes(state[n : 2 * n], x, z) / (k + 1)
            terms = jax.lax.dynamic_update_index_in_dim(terms, following, k + 1, 0)
            return terms, histories

        terms, histories = jax.lax.fori_loop(1, order, body, (terms, histories))
        reach = jnp.full(t.shape, jnp.inf)
        for group, start, history in zip(groups, starts, histories, strict=True):
            if group.watched.size:
                reach = jnp.minimum(reach, unit * group.reach(start, history, order))
        masses = jnp.stack([entries[i, i] for i in range(n)])
        return Expansion(terms, reach, gross, masses)


def _started(groups: Sequence[Group], z: Any) -> tuple[Any, list[Any]]:
    starts = []
    for group in groups:
        value, start = group.start(z)
        starts.append(start)
        z = jnp.concatenate([z, value])
    return z, starts


def _group(node: Node) -> tuple[bool, int, str]:
    return node.late, node.level, type(node).__name__


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
        # The same few come many times.
        places = {c: i for i, c in enumerate(dict.fromkeys(flat))}
        weights = evaluate(places, values)
        known = not any(isinstance(w, jax.Array) for w in weights)
        each: Any = (np if known else jnp).asarray(weights, np.float64)
        spread = np.array([places[c] for c in flat], np.int32)
        # As constants, those of dozens of coordinates would break XLA's compiler.
        held = jax.lax.optimization_barrier(jnp.asarray(each[spread]))
        self.weights = held.reshape(len(forms), width, 1)

    def gross(self, z: Any) -> Any:
        """The sums of the terms' sizes."""
        return self(jnp.abs(z), jnp.abs(self.weights))

    def __call__(self, z: Any, weights: Any = None) -> Any:
        plain = self.plain and weights is None
        weights = self.weights if weights is None else weights
        if self.rows.size > (_SLICED if z.shape[-1] == 1 else _SLICED_LANES):
            gathered = z.at[self.rows].get(mode="promise_in_bounds")
            return total(gathered * weights, axis=1)
        # Slices with fixed places run several times faster than a gather.
        columns = [
            jnp.concatenate([z[row : row + 1] for row in column])
            for column in self.rows.T
        ]
        if plain:
            return columns[0]
        return sum(c * weights[:, i] for i, c in enumerate(columns))


def _apply(inverse: Any, right: Any) -> Any:
    """inverse (n, n, lanes) or its diagonal (n, lanes) times right (n, lanes)."""
    if inverse.ndim == 2:
        return inverse * right
    return total(inverse * right, axis=1)
