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
from lagrangian.flows.solvers.slopes import (
    linearised,
    linearised_momentum,
    rescaled,
)
from lagrangian.flows.solvers.solver import Demands, Solution
from lagrangian.flows.solvers.variational import newton
from lagrangian.lowering.evaluate import evaluate_rows
from lagrangian.lowering.kernels.fused import total
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
        step: the longest step, in units of time, as of `lg.Symplectic`.

    Raises:
        LagrangianError: a step that is not positive; from `integrate`, for a system
            without constraints, or with one that contains velocities.

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
    linear, inertia = linearised(flow), linearised_momentum(flow)
    constraints = flow.lagrangian.constraints
    n, held = len(flow.lagrangian.coordinates), len(constraints.expressions)

    def rows(expressions: Any, q: Any, v: Any, t: Any) -> Any:
        return evaluate_rows(expressions, flow._values(q, v, t))

    def jacobian(q: Any, t: Any) -> Any:
        return rows(constraints.jacobian, q, q, t).reshape(held, n)

    def step(state: Any, t: Any, h: Any) -> Any:
        q0, v0, p0, outward, drive, jolt = state
        new = t + h
        times = jnp.stack([t, new])

        def leaving(unknown: Any) -> tuple[Any, ...]:
            u, multipliers = unknown[:n], unknown[n:]
            q1 = q0 + h * u
            at = linear(jnp.stack([q0, q1]), jnp.stack([u, u]), times, t)
            level = [*constraints.expressions, *constraints.jacobian]
            both = rows(level, q1, u, new)
            missed, inward = both[:held], both[held:].reshape(held, n)
            mean = (at.momentum[0] + at.momentum[1]) / 2
            pushed = p0 + h / 2 * at.force[0] + _impulse(outward, multipliers)
            value = jnp.concatenate([mean - pushed, missed / h])
            rising = (at.mass[0] + at.mass[1] + h * at.drift[1]) / 2
            slope = _bordered(rising - h / 2 * at.friction[0], outward, inward)

            def following(change: Any) -> Any:
                """The momentum at q_1 behind the last change, without its impulse."""
                kicked = rising + h / 2 * (h * at.stiffness[1] + at.friction[1])
                return mean + h / 2 * at.force[1] - total(kicked * change[:n], axis=1)

            return slope, value, following

        scale = jnp.abs(q0).max() / h
        guess = jnp.concatenate([v0, drive])
        found, pushed = newton(leaving, guess, scale, jnp.zeros_like(p0))
        u, drive = found[:n], found[n:]
        q1 = q0 + h * u
        inward = jacobian(q1, new)

        def arriving(unknown: Any) -> tuple[Any, ...]:
            v, multipliers = unknown[:n], unknown[n:]
            mass, momentum = inertia(q1, v, new, t)
            missed = rows(constraints.velocity_level, q1, v, new)
            left = pushed + _impulse(inward, multipliers)
            value = jnp.concatenate([momentum - left, missed])
            return _bordered(mass, inward, inward), value

        found, _ = newton(arriving, jnp.concatenate([u, jolt]), scale)
        v, jolt = found[:n], found[n:]
        p1 = (pushed + _impulse(inward, jolt)) * rescaled(flow, t, new)
        return q1, v, p1, inward, drive, jolt

    def begin(q: Any, v: Any, t: Any) -> Any:
        none = jnp.zeros(held)
        return q, v, inertia(q, v, t, t)[1], jacobian(q, t), none, none

    return Method(begin, repeated(step), lambda state, t: state[:2])


def _impulse(jacobian: Any, multipliers: Any) -> Any:
    return total(jacobian * multipliers[:, None])


def _bordered(slope: Any, jacobian: Any, rate: Any) -> Any:
    """The slope of (momenta, constraints) by (velocities, multipliers)."""
    held = len(jacobian)
    upper = jnp.concatenate([slope, -jacobian.T], 1)
    return jnp.concatenate([upper, jnp.pad(rate, ((0, 0), (0, held)))])


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
