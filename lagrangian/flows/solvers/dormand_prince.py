"""One trajectory by adaptive steps of Dormand and Prince's method of order 8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from lagrangian.flows.arguments import Array
from lagrangian.flows.solvers.dopri8_lanes import (
    DONE,
    HELD,
    TOO_MANY_STEPS,
    Bounds,
    Results,
    integrate_lanes,
)
from lagrangian.flows.solvers.lanes import (
    field_in_lanes,
    may_jump,
    noise_in_lanes,
    reach_in_lanes,
)
from lagrangian.flows.solvers.solver import (
    HELD_STILL,
    NOT_FINITE,
    OUT_OF_STEPS,
    Demands,
    Solution,
    reached,
)
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused

#: What to say of how a path ended, if it is not for a state that is not finite.
_STOPPED = {DONE: "", HELD: HELD_STILL, TOO_MANY_STEPS: OUT_OF_STEPS}


@dataclass(frozen=True)
class DormandPrince:
    """Dormand and Prince's method of order 8, for scalar coordinates.

    What `integrate` takes where equations have no Taylor series: it needs their values
    only, and shortens its steps to pass over kinks and jumps.
    """

    adaptive: ClassVar[bool] = True

    def solve(
        self, flow: Any, q: Array, v: Array, times: np.ndarray, demands: Demands
    ) -> Solution:
        y = np.concatenate([q, v, np.zeros(len(demands.rates))])
        return self.solve_from(flow, y, times, demands)

    def solve_from(
        self, flow: Any, y: np.ndarray, times: np.ndarray, demands: Demands
    ) -> Solution:
        """As `solve`, from a state (q, v, integrals)."""
        floor = np.asarray(demands.atol, float)[:, None]
        bounds = Bounds(demands.tol, floor, demands.max_step)
        arguments = y, times, bounds, demands.max_steps
        results = run(_one_lane, (demands.rates,), flow, *arguments)
        n = len(floor)
        rows = np.asarray(results.y)[:, :, 0]
        stopped = _STOPPED.get(int(results.status[0]), NOT_FINITE)
        parts = rows[:, :n], rows[:, n : 2 * n], rows[:, 2 * n :]
        return reached(times, *parts, int(results.steps[0]), stopped)


def _one_lane(flow: Any, rates: tuple[Any, ...]) -> Any:
    field, settle = field_in_lanes(flow, rates), flow.settle

    def one(y: Any, times: Any, bounds: Bounds, max_steps: Any) -> Results:
        y, t = jnp.asarray(y)[:, None], jnp.asarray(times)[:1]
        kernel = fused(
            lambda *a: integrate_lanes(
                *(field, *a[:6]),
                settle=settle,
                reach=reach_in_lanes(flow),
                jumps=may_jump(flow),
                lanes=1,
                max_steps=a[6],
                at_once=False,
            )
        )
        noise = noise_in_lanes(flow, rates, y, t)
        return kernel(y, field(y, t), noise, 1, jnp.asarray(times), bounds, max_steps)

    return one
