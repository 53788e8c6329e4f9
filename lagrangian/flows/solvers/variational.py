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
from lagrangian.flows.solvers.slopes import (
    linearised,
    linearised_momentum,
    rescaled,
    slopes,
)
from lagrangian.flows.solvers.solver import Demands, Solution
from lagrangian.lowering.kernels.fused import total
from lagrangian.lowering.kernels.linear_solve import solve_dense

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
        step: the longest step, in units of time, as of `lg.Symplectic`.
        order: 2, 4, 6 or 8.

    Raises:
        LagrangianError: a step that is not positive, another order; from `integrate`,
            for a system with constraints.

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
    Euler-Lagrange equation (Marsden & West, "Discrete mechanics and variational
    integrators", 2001, 1.3), by Newton's method to rounding. A JAX function; nan where
    there is no solution near 2 q_k - q_{k-1}.

    Args:
        discrete_lagrangian: a JAX function of two positions and the step's number.
        before: q_{k-1}, shape (coordinates,).
        now: q_k, shape (coordinates,).
        k: the number of the step from q_k.

    Returns:
        q_{k+1}, of shape (coordinates,).

    >>> import jax
    >>> def free(q, r, k):
    ...     return ((r - q) ** 2).sum() / 2
    >>> with jax.enable_x64(True):
    ...     print(discrete_euler_lagrange(free, [0.0], [1.0], 1))
    [2.]
    """
    before, now = jnp.asarray(before), jnp.asarray(now)
    arriving = jax.grad(discrete_lagrangian, 1)(before, now, k - 1)

    def both(after: Any) -> tuple[Any, Any]:
        value = arriving + jax.grad(discrete_lagrangian, 0)(now, after, k)
        return value, value

    linear = jax.jacfwd(both, has_aux=True)
    return newton(linear, 2 * now - before, jnp.abs(now).max())[0]


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
    momentum, _ = slopes(flow)
    linear, inertia = linearised(flow), linearised_momentum(flow)
    nodes, matrix, weights, onward = _gauss(stages)
    single = matrix[:, None, :, None]
    twice = matrix[:, :, None, None, None] * matrix[None, :, None, :, None]
    same = np.eye(stages)[:, None, :, None]

    def step(state: Any, t: Any, h: Any) -> Any:
        q, p, last = state
        times = t + h * nodes

        def newtons(flat: Any) -> tuple[Any, ...]:
            velocities = flat.reshape(last.shape)
            places = q + h * _weighted(matrix, velocities)
            at = linear(places, velocities, times, t)
            value = at.momentum - p - h * _weighted(matrix, at.force)
            # Of the residual at i by the velocity at k: shape (i, n, k, n).
            own = same * at.mass[:, :, None]
            moved = (
                h * single * (at.drift[:, :, None] - jnp.moveaxis(at.friction, 0, 1))
            )
            turned = sum(twice[:, j] * at.stiffness[j][:, None] for j in range(stages))
            slope = (own + moved - h**2 * turned).reshape(flat.size, flat.size)

            def following(change: Any) -> Any:
                """The forces behind the last change: the next term is its square."""
                change = change.reshape(last.shape)
                places = h * _weighted(matrix, change)
                return (
                    at.force
                    - _along(at.stiffness, places)
                    - _along(at.friction, change)
                )

            return slope, value.ravel(), following

        # The velocities of the last step, continued, are near those of this one.
        guess = _weighted(onward, last).ravel()
        scale = jnp.abs(q).max() / h
        found, forces = newton(newtons, guess, scale, jnp.zeros_like(last))
        velocities = found.reshape(last.shape)
        q = q + h * _weighted(weights, velocities)[0]
        p = (p + h * _weighted(weights, forces)[0]) * rescaled(flow, t, t + h)
        return q, p, velocities

    def start(q: Any, v: Any, t: Any) -> Any:
        return q, momentum(q, v, t, t), jnp.tile(v, (stages, 1))

    def finish(state: Any, t: Any) -> Any:
        q, p, velocities = state

        def newtons(v: Any) -> tuple[Any, ...]:
            mass, value = inertia(q, v, t, t)
            return mass, value - p

        return q, newton(newtons, velocities[-1], jnp.abs(velocities).max())[0]

    return Method(start, repeated(step), finish)


def newton(
    linear: Callable[[Any], tuple[Any, ...]], guess: Any, scale: Any, kept: Any = ()
) -> tuple[Any, Any]:
    """The root near `guess`, shape (n,), at rounding; nan where Newton finds none.

    Args:
        linear: `linear(x)` is the slope and the value of the residual at x. Behind
            them may come a function of the change that is subtracted from x, whose
            last result, in the shape of `kept`, is returned behind the root.
        scale: a size besides that of the root relative to which changes are small.
    """

    def unfinished(carry: Any) -> Any:
        x, change, iterations, _ = carry
        small = change <= _CHANGE * jnp.maximum(jnp.abs(x).max(), scale)
        return ~small & jnp.isfinite(change) & (iterations < _ITERATIONS)

    def body(carry: Any) -> Any:
        x, _, iterations, kept = carry
        slope, value, *following = linear(x)
        change = solve_dense(slope, value)
        kept = following[0](change) if following else kept
        return x - change, jnp.abs(change).max(), iterations + 1, kept

    # One body in the program, as it is long: the first change is made up.
    first = jnp.asarray(np.finfo(guess.dtype).max, guess.dtype)
    x, change, _, kept = jax.lax.while_loop(unfinished, body, (guess, first, 0, kept))
    return jnp.where(unfinished((x, change, 0, kept)), jnp.nan, x), kept


def _along(matrices: Any, directions: Any) -> Any:
    """Matrices of shape (stages, n, n) times vectors of shape (stages, n)."""
    return total(matrices * directions[:, None], axis=2)


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
