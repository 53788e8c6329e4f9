"""What an ensemble keeps of its members in place of their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import LagrangianError, nearest
from lagrangian.lowering.evaluate import check_lowerable
from lagrangian.symbolic.laws.noether import Law

#: Of the values at the output times, shape (members, times), for each member. By NumPy,
#: which sums a row in the same order however many rows there are.
SUMMARIES: dict[str, Callable[..., np.ndarray]] = {
    "min": np.min,
    "max": np.max,
    "mean": np.mean,
    "range": np.ptp,
}


class Record(NamedTuple):
    """An expression, and the summary over the output times that is kept, or all."""

    expression: Any
    summary: str | None

    def values(self, flow: Any, q: Any, v: Any, times: Any) -> np.ndarray:
        """Of shape (members, times), or (members,) for a summary."""
        value = flow.evaluate(self.expression, q, v, times)
        values = np.asarray(jnp.broadcast_to(value, q.shape[:2]))
        return SUMMARIES[self.summary](values, axis=1) if self.summary else values


def read_records(flow: Any, given: Any) -> dict[str, Record]:
    """The `record` of an ensemble, checked.

    Raises:
        LagrangianError: another type than a mapping, or an unknown summary.
        CannotLower: an expression that has no value here.
    """
    if not isinstance(given, Mapping):
        raise LagrangianError(
            f"`record` is {given!r}. Pass expressions by name, such as "
            '`{"energy": system.energy}`.'
        )
    return {str(name): _record(flow, name, what) for name, what in given.items()}


def _record(flow: Any, name: Any, what: Any) -> Record:
    expression, summary = what if isinstance(what, tuple) else (what, None)
    if summary is not None and summary not in SUMMARIES:
        raise LagrangianError(
            f"`record` has no summary `{summary}` for `{name}`. "
            + nearest(str(summary), SUMMARIES)
        )
    if isinstance(expression, Law):
        expression = expression.charge
    if not isinstance(expression, sp.Basic | int | float):
        raise LagrangianError(
            f"`record` has {expression!r} for `{name}`. Pass an expression or a law, "
            f'or a pair with a summary of it, such as `(energy, "max")`.'
        )
    expression = sp.sympify(expression)
    still = np.zeros(len(flow.lagrangian.coordinates))
    known = flow._values(still, still, 0.0)
    check_lowerable({f"record `{name}`": expression}, known, flow.losses)
    return Record(expression, summary)
