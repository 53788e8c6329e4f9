"""Explicit symplectic integration of separable systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.flows.arguments import Array, is_traced
from lagrangian.flows.solvers.compositions import (
    WEIGHTS,
    Method,
    check_scalar,
    check_step,
    solve_in_steps,
)
from lagrangian.flows.solvers.solver import Demands, Solution
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.kernels.linear_solve import is_diagonal
from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: So many stages, or a few more, are written out in one iteration of the loop: they
#: hide what the loop itself costs.
_STAGES = 8
#: Where they would have more operations than this, the stages are a loop of their own,
#: because large loop bodies take long to compile.
_OPERATIONS = 512


@dataclass(frozen=True)
class Symplectic:
    """Stoermer-Verlet steps and their palindromic compositions, for separable systems.

    Explicit, symplectic and reversible. For a constant mass matrix M and a potential
    V(q, t): half a drift q += h/2 v, a kick v -= h M^-1 dV/dq, and half a drift. Time
    runs with q, so that the kick takes V at the middle of the step, and V(q, t) keeps
    the order. Higher orders take such steps of unequal lengths (Hairer, Lubich &
    Wanner, "Geometric Numerical Integration", 2006, chapter V.3).

    Each interval between output times is divided into ceil(interval/step) equal steps.
    The tolerance of `integrate` has no effect.

    Args:
        step: the longest step, in the units of time. Every output time ends a step, so
            that dense ones make the steps shorter; `path.steps` is how many there were.
        order: 2 (one stage a step), 4 (Suzuki, 1990: 5 stages), 6 or 8 (Kahan and Li,
            1997: 9 and 17 stages).
        weights: a palindromic composition of your own in place of that of `order`: the
            length of each stage as a share of the step.

    Raises:
        LagrangianError: a step that is not positive, an unknown order, weights that are
            no palindrome or do not add up to 1; from `integrate`, for a system that is
            not separable.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> solver = lg.Symplectic(0.1)
    >>> path = flow.integrate([1.0], [0.0], (0, 100), points=2, solver=solver)
    >>> path.energy_drift < 1e-4, path.steps
    (True, 1000)
    """

    step: float
    order: int = 4
    weights: tuple[float, ...] | None = None
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_step("lg.Symplectic", self.step, self.order, WEIGHTS)
        weights = self.weights
        if weights is not None and not (
            np.allclose(weights, weights[::-1], rtol=0, atol=1e-12)
            and abs(math.fsum(weights) - 1) < 1e-12
        ):
            raise LagrangianError(
                f"`weights` is {weights}; a composition is the same from both ends and "
                "adds up to 1. Write weights such as `(w, 1 - 2*w, w)`."
            )

    def solve(
        self, flow: Any, q: Array, v: Array, times: np.ndarray, demands: Demands
    ) -> Solution:
        weights = tuple(self.weights or WEIGHTS[self.order])
        return solve_in_steps(
            *(flow, drift_and_kick, (weights,)),
            *(q, v, times, self.step, demands.max_steps),
        )


def drift_and_kick(flow: Any, weights: tuple[float, ...]) -> Method:
    """The composition with these weights; the half drifts between two kicks are one."""
    check_scalar("lg.Symplectic", flow)
    check_separable(flow.lagrangian)
    acceleration, size = _acceleration(flow)
    together = math.ceil(_STAGES / len(weights))
    written_out = together * len(weights) * size <= _OPERATIONS
    if not written_out:
        together = 1

    def block(steps: int, t: Any, h: Any) -> Callable[[Any, Any], Any]:
        """`steps` steps, from the middle of the last drift before them."""
        shares = np.tile(weights, steps)
        kicks, drifts = h * shares, h * (shares + np.roll(shares, 1)) / 2
        middles = h * (np.cumsum(shares) - shares / 2)

        def stage(i: Any, state: Any, since: Any) -> Any:
            q, v = state
            q = q + drifts[i] * v
            return q, v + kicks[i] * acceleration(q, since + middles[i])

        def run(k: Any, state: Any) -> Any:
            since = t + k * steps * h
            if not written_out:
                return jax.lax.fori_loop(
                    0, len(shares), lambda i, x: stage(i, x, since), state
                )
            for i in range(len(shares)):
                state = stage(i, state, since)
            return state

        return run

    def advance(state: Any, t: Any, h: Any, count: Any) -> Any:
        q, v = state
        half = h * weights[0] / 2
        blocks, rest = count // together, count % together
        # The first drift is that of a block, which begins half a drift earlier.
        state = jax.lax.fori_loop(0, blocks, block(together, t, h), (q - half * v, v))
        if together > 1:
            t = t + blocks * together * h
            state = jax.lax.fori_loop(0, rest, block(1, t, h), state)
        q, v = state
        return q + half * v, v

    return Method(lambda q, v, t: (q, v), advance, lambda state, t: state)


def _acceleration(flow: Any) -> tuple[Callable[[Any, Any], Any], int]:
    """M^-1 F as a function of q, shape (n,), and t; and how many operations F has."""
    lagrangian = flow.lagrangian
    matrix, forcing = lagrangian.mass_matrix, list(lagrangian.forcing)
    entries = evaluate([*matrix], flow.parameters)
    xp: Any = jnp if is_traced(entries) else np
    mass = xp.asarray(entries, np.float64).reshape(matrix.shape)
    inverse = 1 / mass.diagonal() if is_diagonal(matrix) else xp.linalg.inv(mass)

    def acceleration(q: Any, t: Any) -> Any:
        # Plain indices: `jnp.take` costs a third of the time of such a loop.
        places = {c: q[i] for i, c in enumerate(lagrangian.coordinates)}
        values = evaluate(forcing, {time: t, **flow.parameters, **places})
        force = jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, values)))
        if inverse.ndim == 1:
            return force * inverse
        return jnp.sum(inverse * force, axis=1)

    distinct = {node for f in forcing for node in sp.preorder_traversal(f)}
    return acceleration, len(distinct)


def check_separable(lagrangian: Lagrangian) -> None:
    """Raise unless the mass matrix is constant and the forces are -dV(q, t)/dq."""
    if lagrangian.constraints.expressions:
        raise LagrangianError(
            "`lg.Symplectic` takes no constraints. Use `lg.Rattle(step)`."
        )
    mass, names = lagrangian.mass_matrix, {}
    names["the mass matrix depends on"] = [*jets(mass), *({time} & mass.free_symbols)]
    names["the potential gives forces that depend on"] = jets(
        lagrangian.forcing, order=1
    )
    reasons = [
        f"{what} {', '.join(f'`{s}`' for s in symbols)}"
        for what, symbols in names.items()
        if symbols
    ]
    if lagrangian.friction_rate != 0:
        reasons = [f"the Lagrangian is damped by `{lagrangian.damping}`"]
    elif lagrangian.forces or lagrangian.dissipation != 0:
        reasons = ["there are forces beside those of a potential"]
    if reasons:
        raise LagrangianError(
            "`lg.Symplectic` needs a constant mass matrix and a potential of positions "
            f"and time alone; here {reasons[0]}. Use `lg.Variational(step, order)`, "
            "which takes any Lagrangian."
        )
