"""Momenta and forces of a Lagrangian, and their derivatives, as JAX functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import sympy as sp

from lagrangian.errors import CannotLower
from lagrangian.lowering.evaluate import check_lowerable, evaluate, evaluate_rows
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.mechanics import linearised as equations


class Linear(NamedTuple):
    """Momenta and forces, shape (..., n), and their derivatives, (..., n, n).

    `mass` and `drift` are those of the momenta by velocities and positions, `stiffness`
    and `friction` those of the forces by positions and velocities.
    """

    momentum: Any
    force: Any
    mass: Any
    drift: Any
    stiffness: Any
    friction: Any


def slopes(flow: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """dL/dv and dL/dq + Q as functions of (q, v, t, since), from their expressions.

    L is relative to the damping at the time `since`: e^(sigma(t) - sigma(since))
    (T - V); so are the forces Q. q and v have the shape (..., coordinates), and t that
    of the leading axes.
    """
    lagrangian = flow.lagrangian

    def of(expressions: Any) -> Callable[..., Any]:
        flat = list(expressions)
        return lambda *state: jnp.moveaxis(_rows(flow, flat, *state), 0, -1)

    return of(lagrangian.momenta.values()), of(lagrangian.pushes.values())


def linearised(flow: Any) -> Callable[..., Linear]:
    """`slopes` and their derivatives as a function of (q, v, t, since)."""
    lagrangian, n = flow.lagrangian, len(flow.lagrangian.coordinates)
    mass, drift, stiffness, friction = equations.linearised(lagrangian)
    flat = [*lagrangian.momenta.values(), *lagrangian.pushes.values()]
    flat += [*mass, *drift, *stiffness]
    if not (conservative := friction == drift.T):
        flat += [*friction]
    inputs = {c for q in lagrangian.coordinates for c in (q, q.dot)}
    try:
        check_lowerable({"": sp.Tuple(*flat)}, {time, *flow.given, *inputs})
    except CannotLower:
        return _by_jax(flow)

    def linear(q: Any, v: Any, t: Any, since: Any) -> Linear:
        rows = jnp.moveaxis(_rows(flow, flat, q, v, t, since), 0, -1)
        vectors, matrices = rows[..., : 2 * n], rows[..., 2 * n :]
        matrices = matrices.reshape(*q.shape[:-1], -1, n, n)
        found = [matrices[..., k, :, :] for k in range(matrices.shape[-3])]
        if conservative:
            found.append(jnp.swapaxes(found[1], -1, -2))
        return Linear(vectors[..., :n], vectors[..., n:], *found)

    return linear


def linearised_momentum(flow: Any) -> Callable[..., Any]:
    """The mass matrix and the momenta, as a function of (q, v, t, since)."""
    lagrangian, n = flow.lagrangian, len(flow.lagrangian.coordinates)
    flat = [*lagrangian.mass_matrix, *lagrangian.momenta.values()]

    def linear(*state: Any) -> Any:
        rows = _rows(flow, flat, *state)
        return rows[: n * n].reshape(n, n), rows[n * n :]

    return linear


def _by_jax(flow: Any) -> Callable[..., Linear]:
    """For functions whose second derivatives are no functions that run."""
    lagrangian, n = flow.lagrangian, len(flow.lagrangian.coordinates)
    flat = [*lagrangian.momenta.values(), *lagrangian.pushes.values()]

    def at(q: Any, v: Any, t: Any, since: Any) -> Linear:
        def both(q: Any, v: Any) -> tuple[Any, Any]:
            # With an axis, one operation a node: gathers in a batch are no kernel.
            found = evaluate(flat, flow._values(q[None], v[None], t))
            rows = jnp.concatenate([jnp.broadcast_to(x, (1,)) for x in found])
            values = jnp.split(rows / rescaled(flow, since, t), [n])
            return values, values

        slope, values = jax.jacfwd(both, (0, 1), has_aux=True)(q, v)
        (drift, mass), (stiffness, friction) = slope
        return Linear(*values, mass, drift, stiffness, friction)

    def linear(q: Any, v: Any, t: Any, since: Any) -> Linear:
        if q.ndim == 1:
            return at(q, v, t, since)
        return jax.vmap(lambda *state: at(*state, since))(q, v, t)

    return linear


def _rows(
    flow: Any, expressions: Sequence[Any], q: Any, v: Any, t: Any, since: Any
) -> Any:
    """Their values in the damping at `since`: shape (expressions, ...)."""
    rows = evaluate_rows(expressions, flow._values(q, v, t), q.shape[:-1])
    return rows / rescaled(flow, since, t)


def rescaled(flow: Any, old: Any, new: Any) -> Any:
    """e^(sigma(old) - sigma(new)): the unit of momentum at `new` for that at `old`."""
    damping = flow.lagrangian.damping
    if damping == 0:
        return 1.0
    before, after = (
        evaluate([damping], {**flow.parameters, time: t})[0] for t in (old, new)
    )
    return jnp.exp(before - after)
