"""Symplectic integration under holonomic constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.flows.arguments import Array
from lagrangian.flows.solvers.compositions import (
    Method,
    check_scalar,
    check_step,
    repeated,
    solve_in_steps,
)
from lagrangian.flows.solvers.solver import Demands, Solution
from lagrangian.flows.solvers.variational import newton, slopes
from lagrangian.symbolic.algebra.coordinates import jets
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True)
class Rattle:
    """RATTLE: order 2, symplectic and symmetric, for holonomic constraints.

    Positions satisfy the constraints and velocities their time derivatives after every
    step, both to rounding. For a separable system it is the method of Andersen
    ("Rattle: a velocity version of the Shake algorithm", 1983), Stoermer-Verlet under
    constraints. For any other Lagrangian (a mass matrix that depends on positions,
    velocity-dependent potentials, explicit time, damping) it is the variational
    integrator of the same discrete Lagrangian, that of the trapezoidal rule (Marsden &
    West, "Discrete mechanics and variational integrators", 2001, part 3). Generalised
    forces and dissipation enter by the same rule.

    Each interval between output times is divided into ceil(interval/step) equal steps.
    The tolerance of `integrate` has no effect.

    Args:
        step: the length of a step.

    Raises:
        LagrangianError: from `integrate`, for a system without constraints, or with one
            that contains velocities.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> circle = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, constraints=[x**2 + y**2 - 1])
    >>> flow = lg.lower(circle, {})
    >>> path = flow.integrate([1, 0], [0, 1], (0, 1), points=2, solver=lg.Rattle(0.01))
    >>> bool(abs(path[x] ** 2 + path[y] ** 2 - 1).max() < 1e-12)
    True
    """

    step: float
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_step("lg.Rattle", self.step, 2, (2,))

    def solve(
        self, flow: Any, q: Array, v: Array, times: np.ndarray, demands: Demands
    ) -> Solution:
        return solve_in_steps(
            *(flow, constrained_trapezoidal, ()),
            *(q, v, times, self.step, demands.max_steps),
        )


def constrained_trapezoidal(flow: Any) -> Method:
    """The method with L_d = h/2 (L(q_0, u) + L(q_1, u)), u = (q_1 - q_0)/h.

    Its unknowns are u with the impulse of the constraints at q_0, which brings q_1 onto
    them, and v_1 with that at q_1, which brings v_1 into their tangent space.
    """
    check_scalar("lg.Rattle", flow)
    check_holonomic(flow.lagrangian)
    momentum, force = slopes(flow)
    constraints = flow.lagrangian.constraints
    n = len(flow.lagrangian.coordinates)

    def held(expressions: Any, q: Any, v: Any, t: Any) -> Any:
        return jnp.stack([flow.evaluate(e, q, v, t) for e in expressions])

    def impulse(q: Any, t: Any, multipliers: Any) -> Any:
        jacobian = flow.evaluate(constraints.jacobian, q, q, t)
        return jnp.sum(jacobian * multipliers[:, None], axis=0)

    def step(state: Any, t: Any, h: Any) -> Any:
        q0, v0, drive, jolt = state
        new = t + h
        p0 = momentum(q0, v0, t, t)

        def mean_momentum(u: Any) -> Any:
            return (momentum(q0, u, t, t) + momentum(q0 + h * u, u, new, t)) / 2

        def leaving(unknown: Any) -> Any:
            u, multipliers = unknown[:n], unknown[n:]
            pushed = p0 + h / 2 * force(q0, u, t, t) + impulse(q0, t, multipliers)
            missed = held(constraints.expressions, q0 + h * u, u, new) / h
            return jnp.concatenate([mean_momentum(u) - pushed, missed])

        scale = jnp.abs(q0).max() / h
        found = newton(leaving, jnp.concatenate([v0, drive]), scale)
        u, drive = found[:n], found[n:]
        q1 = q0 + h * u
        pushed = mean_momentum(u) + h / 2 * force(q1, u, new, t)

        def arriving(unknown: Any) -> Any:
            v, multipliers = unknown[:n], unknown[n:]
            left = pushed + impulse(q1, new, multipliers)
            missed = held(constraints.velocity_level, q1, v, new)
            return jnp.concatenate([momentum(q1, v, new, t) - left, missed])

        found = newton(arriving, jnp.concatenate([u, jolt]), scale)
        return q1, found[:n], drive, found[n:]

    def begin(q: Any, v: Any, t: Any) -> Any:
        none = jnp.zeros(len(constraints.expressions))
        return q, v, none, none

    return Method(begin, repeated(step), lambda state, t: state[:2])


def check_holonomic(lagrangian: Lagrangian) -> None:
    """Raise unless there are constraints, none of them on velocities."""
    written = lagrangian.constraints.expressions
    if not written:
        raise LagrangianError(
            "`lg.Rattle` is for constraints, and there are none here. Use "
            "`lg.Symplectic(step, order)` or `lg.Variational(step, order)`."
        )
    for expression in written:
        if velocities := jets(expression, order=1):
            raise LagrangianError(
                f"`lg.Rattle` is for holonomic constraints; {expression} = 0 contains "
                f"`{velocities[0]}`. Leave `solver` out: the adaptive solvers take "
                "constraints that are linear in velocities."
            )
