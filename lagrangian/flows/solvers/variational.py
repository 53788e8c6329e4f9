"""Variational integrators: the discrete Euler-Lagrange equations of any Lagrangian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.kernels.linear_solve import solve_dense
from lagrangian.symbolic.algebra.coordinates import time

#: Newton's method stops below this relative change: the next one, its square, would be
#: lost in rounding. It gives up after so many iterations.
_CHANGE, _ITERATIONS = 1e-9, 25


@dataclass(frozen=True)
class Variational:
    """Galerkin variational integrators, for any regular Lagrangian.

    The action of a step is extremised over polynomials of degree s = order/2, with
    Gauss's quadrature at s points (Marsden & West, "Discrete mechanics and variational
    integrators", 2001, part 2). That is Gauss-Legendre collocation of s stages
    in (q, p): the two are one method, symplectic and symmetric, whose momenta of linear
    symmetries are constant to rounding. Velocity-dependent potentials, explicit time,
    damping and a mass matrix that depends on anything are all taken; generalised
    forces and dissipation enter by the same quadrature (Lagrange-d'Alembert). Steps are
    implicit, and solved to rounding by Newton's method.

    Under damping, the momentum kept is e^(-sigma) dL/dv, so that nothing overflows.

    Each interval between output times is divided into ceil(interval/step) equal steps.
    The tolerance of `integrate` has no effect.

    Args:
        step: the length of a step.
        order: 2, 4, 6 or 8.

    Raises:
        LagrangianError: from `integrate`, for a system with constraints.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> solver = lg.Variational(0.1)
    >>> path = flow.integrate([1.0], [0.0], (0, 1), points=2, solver=solver)
    >>> path.steps
    10
    """

    step: float
    order: int = 4
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_step("lg.Variational", self.step, self.order, (2, 4, 6, 8))

    def solve(
        self, flow: Any, q: Array, v: Array, times: np.ndarray, demands: Demands
    ) -> Solution:
        return solve_in_steps(
            *(flow, galerkin, (self.order // 2,)),
            *(q, v, times, self.step, demands.max_steps),
        )


def discrete_euler_lagrange(
    discrete_lagrangian: Callable[[Any, Any, Any], Any],
    before: ArrayLike | Sequence[float],
    now: ArrayLike | Sequence[float],
    k: ArrayLike,
) -> Any:
    """The next point q_{k+1} of the path of a discrete Lagrangian L_d(q_k, q_{k+1}, k).

    Solves D2 L_d(q_{k-1}, q_k, k-1) + D1 L_d(q_k, q_{k+1}, k) = 0, the discrete
    Euler-Lagrange equation, by Newton's method to rounding. A JAX function; nan where
    there is no solution near 2 q_k - q_{k-1}.

    Args:
        discrete_lagrangian: a JAX function of two positions and the step's number.
        before: q_{k-1}, shape (coordinates,).
        now: q_k.
        k: the number of the step from q_k.

    >>> import jax
    >>> def free(q, r, k):
    ...     return ((r - q) ** 2).sum() / 2
    >>> with jax.enable_x64(True):
    ...     print(discrete_euler_lagrange(free, [0.0], [1.0], 1))
    [2.]
    """
    before, now = jnp.asarray(before), jnp.asarray(now)
    arriving = jax.grad(discrete_lagrangian, 1)(before, now, k - 1)

    def residual(after: Any) -> Any:
        return arriving + jax.grad(discrete_lagrangian, 0)(now, after, k)

    return newton(residual, 2 * now - before, jnp.abs(now).max())


def galerkin(flow: Any, stages: int) -> Method:
    """The method with polynomials of degree `stages`; its state is (q, p, velocities).

    With V_i and F_i = dL/dq + Q at the Gauss points,

        Q_i = q_0 + h sum_j a_ij V_j,   dL/dv(Q_i, V_i) = p_0 + h sum_j a_ij F_j,
        q_1 = q_0 + h sum_j b_j V_j,    p_1 = p_0 + h sum_j b_j F_j.
    """
    check_scalar("lg.Variational", flow)
    if flow.lagrangian.constraints.expressions:
        raise LagrangianError(
            "`lg.Variational` takes no constraints. Use `lg.Rattle(step)`."
        )
    momentum, force = slopes(flow)
    nodes, matrix, weights, onward = _gauss(stages)

    def step(state: Any, t: Any, h: Any) -> Any:
        q, p, last = state
        times = t + h * nodes

        def inside(velocities: Any) -> tuple[Any, Any]:
            places = q + h * _weighted(matrix, velocities)
            return places, force(places, velocities, times, t)

        def residual(flat: Any) -> Any:
            velocities = flat.reshape(last.shape)
            places, forces = inside(velocities)
            defect = momentum(places, velocities, times, t) - p
            return (defect - h * _weighted(matrix, forces)).ravel()

        # The velocities of the last step, continued, are near those of this one.
        guess = _weighted(onward, last).ravel()
        found = newton(residual, guess, jnp.abs(q).max() / h)
        velocities = found.reshape(last.shape)
        _, forces = inside(velocities)
        q = q + h * _weighted(weights, velocities)[0]
        p = (p + h * _weighted(weights, forces)[0]) * rescaled(flow, t, t + h)
        return q, p, velocities

    def start(q: Any, v: Any, t: Any) -> Any:
        return q, momentum(q, v, t, t), jnp.tile(v, (stages, 1))

    def finish(state: Any, t: Any) -> Any:
        q, p, velocities = state
        guess, scale = velocities[-1], jnp.abs(velocities).max()
        return q, newton(lambda v: momentum(q, v, t, t) - p, guess, scale)

    return Method(start, repeated(step), finish)


def slopes(flow: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """dL/dv and dL/dq + Q as functions of (q, v, t, since), from their expressions.

    L is relative to the damping at the time `since`: e^(sigma(t) - sigma(since))
    (T - V); so are the forces Q. q and v have the shape (..., coordinates), and t that
    of the leading axes.
    """
    lagrangian = flow.lagrangian
    pushes = [
        lagrangian.undamped.diff(c)
        + lagrangian.forces.get(c, 0)
        + lagrangian.dissipative_forces[c]
        for c in lagrangian.coordinates
    ]

    def of(expressions: Sequence[Any]) -> Callable[..., Any]:
        def values(q: Any, v: Any, t: Any, since: Any) -> Any:
            found = evaluate(expressions, flow._values(q, v, t))
            whole = [jnp.broadcast_to(x, q.shape[:-1]) for x in found]
            factor = jnp.broadcast_to(rescaled(flow, since, t), q.shape[:-1])
            return jnp.stack(whole, -1) / factor[..., None]

        return values

    return of(list(lagrangian.momenta.values())), of(pushes)


def rescaled(flow: Any, old: Any, new: Any) -> Any:
    """e^(sigma(old) - sigma(new)): the unit of momentum at `new` for that at `old`."""
    damping = flow.lagrangian.damping
    if damping == 0:
        return 1.0
    before, after = (
        evaluate([damping], {**flow.parameters, time: t})[0] for t in (old, new)
    )
    return jnp.exp(before - after)


def newton(residual: Callable[[Any], Any], guess: Any, scale: Any) -> Any:
    """The root near `guess`, shape (n,), at rounding; nan where Newton finds none.

    `scale` is a size besides that of the root relative to which changes are small.
    """

    def unfinished(carry: Any) -> Any:
        x, change, iterations = carry
        small = change <= _CHANGE * jnp.maximum(jnp.abs(x).max(), scale)
        return ~small & jnp.isfinite(change) & (iterations < _ITERATIONS)

    def both(x: Any) -> Any:
        value = residual(x)
        return value, value

    def body(carry: Any) -> Any:
        x, _, iterations = carry
        slope, value = jax.jacfwd(both, has_aux=True)(x)
        change = solve_dense(slope, value)
        return x - change, jnp.abs(change).max(), iterations + 1

    # One body in the program, as it is long: the first change is made up.
    first = jnp.asarray(np.finfo(guess.dtype).max, guess.dtype)
    carry = jax.lax.while_loop(unfinished, body, (guess, first, 0))
    return jnp.where(unfinished((*carry[:2], 0)), jnp.nan, carry[0])


def _weighted(matrix: np.ndarray, rows: Any) -> Any:
    """The product of a small matrix of constants with rows of shape (stages, n)."""
    return sum(matrix[:, i, None] * row for i, row in enumerate(rows))


def _gauss(stages: int) -> tuple[np.ndarray, ...]:
    """Gauss's points c and weights b on [0, 1], a_ij, and the continuation matrix.

    a_ij is the integral up to c_i of the Lagrange polynomial of c_j; the continuation
    takes the values of a polynomial at c to those at 1 + c.
    """
    points, weights = np.polynomial.legendre.leggauss(stages)
    nodes, weights = (1 + points) / 2, weights / weights.sum()
    powers = np.arange(stages)
    inverse = np.linalg.inv(nodes[:, None] ** powers)
    matrix = (nodes[:, None] ** (powers + 1) / (powers + 1)) @ inverse
    # The symplectic form is kept as well as b_i a_ij + b_j a_ji = b_i b_j holds.
    turned = weights[:, None] * (matrix - weights / 2)
    matrix = weights / 2 + (turned - turned.T) / 2 / weights[:, None]
    onward = (1 + nodes[:, None]) ** powers @ inverse
    return nodes, matrix, weights[None], onward
