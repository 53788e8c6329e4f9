"""Starts from which no motion follows: off the constraints, or without accelerations.

Both are judged in no particular units: a linkage may be as small as a molecule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows.mass_rank import without_inertia
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.platform import float64
from lagrangian.symbolic.algebra.coordinates import jets

#: A start may miss a constraint by this share of the constraint's largest term ...
_SHARE = 1e-8
#: ... or by what moving it so far, as a share of its own size, does to the constraint:
#: a term that is zero on the constraint says nothing of the size of the others.
_MOVED = 1e-12


def check_constraints(flow: Any, q: Any, v: Any, t: Any) -> None:
    """Raise if the initial state of a `ScalarFlow`, or of one member, violates one.

    Args:
        q, v: shape (..., coordinates).

    Raises:
        LagrangianError: names the constraint, what is missing, and what to write.
    """
    constraints = flow.lagrangian.constraints
    velocities = [c.dot for c in flow.lagrangian.coordinates]
    values = flow._values(q, v, t)
    # Members that are not finite are marked as failed where they are moved.
    judged = np.ravel(np.isfinite(q).all(-1) & np.isfinite(v).all(-1))
    for i, (written, level) in enumerate(
        zip(constraints.expressions, constraints.velocity_level, strict=True)
    ):
        row = constraints.jacobian[i, :]
        speeds = [
            *(slope * v for slope, v in zip(row, velocities, strict=True)),
            constraints.bias[i],
        ]
        checks = [("`v0`", level, speeds)]
        if not jets(written, order=1):
            checks.insert(0, ("`q0`", written, _terms(written)))
        for order, (what, part, terms) in enumerate(checks, start=2 - len(checks)):
            with np.errstate(all="ignore"):
                missed, *found = map(np.ravel, evaluate([part, *terms], values))
            off_by = np.abs(missed)
            if not off_by.any():
                continue
            allowed = _SHARE * np.max(np.abs(np.broadcast_arrays(*found)), axis=0)
            if np.any(judged & ~(off_by <= allowed)):
                reach = _reach(flow, row, q, v, t, order)
                allowed = np.maximum(allowed, _MOVED * reach)
            if np.any(off := judged & ~(off_by <= allowed)):
                member = int(np.argmax(off))
                raise _violated(what, part, q, member, missed, allowed)


def _violated(
    what: str, part: Any, q: Any, member: int, missed: Any, allowed: Any
) -> LagrangianError:
    which = f" of member {member}" if q.ndim > 1 else ""
    allowed = np.broadcast_to(allowed, missed.shape)
    return LagrangianError(
        f"{what}{which} violates the constraint {part} = 0: it is {missed[member]:g}, "
        f"where its terms allow {allowed[member]:.1g}. Start on the constraint, which "
        "is then kept, or let `project=True` of `integrate` move the start onto it."
    )


def _terms(expression: Any) -> tuple[Any, ...]:
    """Its terms, those of a sum under a common factor too; powers stay as they are."""
    return sp.Add.make_args(sp.expand_mul(expression, deep=False))


def _reach(flow: Any, row: Any, q: Any, v: Any, t: Any, order: int) -> Any:
    """What moving the whole state by its own size does to a constraint, at most.

    Coordinates of different units have a common one in the metric of the mass matrix,
    and what is at rest the speed that its acceleration gives it over its own size.
    """
    masses = flow.lagrangian.mass_matrix.diagonal()
    found = evaluate([*row, *masses], flow._values(q, v, t))
    slopes, masses = (
        np.stack([np.broadcast_to(x, q.shape[:-1]) for x in part], -1)
        for part in (found[: len(row)], found[len(row) :])
    )
    roots = np.sqrt(np.abs(masses))
    a = np.nan_to_num(flow.acceleration(q, v, t), posinf=0.0, neginf=0.0)
    length, speed, push = (np.max(roots * np.abs(x), -1) for x in (q, v, a))
    size = length if order == 0 else np.maximum(speed, np.sqrt(length * push))
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.abs(slopes) * size[..., None] / roots
    return np.ravel(np.max(np.where(np.isfinite(each), each, 0.0), -1))


def check_moves(flow: Any, q: Any, v: Any, t: Any, path: Any) -> None:
    """Raise if no finite accelerations follow from the start of a `ScalarFlow`.

    Raises:
        IntegrationFailed: names the coordinates; carries the path.
    """
    lagrangian = flow.lagrangian
    coordinates = lagrangian.coordinates
    matrix, right = lagrangian.saddle_point
    with float64(), np.errstate(all="ignore"):
        found = evaluate([matrix, right], flow._values(q, v, t))
    mass, force = np.asarray(found[0]), np.asarray(found[1])[:, 0]
    here = ", ".join(f"{c} = {x:g}" for c, x in zip(coordinates, q, strict=True))
    start = f"at the start (t = {t:g}, {here})"
    finite = np.isfinite(mass).all(axis=1) & np.isfinite(force)
    if not finite.all():
        rows = np.flatnonzero(~finite[: len(coordinates)])
        named = ", ".join(f"`{coordinates[i].ddot}`" for i in rows) or "a constraint"
        raise IntegrationFailed(
            f"the equation for {named} is not finite {start}: a force or an inertia "
            "is singular there. Start beside it, or use coordinates that are regular "
            "there.",
            path,
        )
    if listed := without_inertia(mass, coordinates):
        raise IntegrationFailed(
            f"the mass matrix is singular {start}, and no acceleration follows for "
            f"{listed}. Start beside it, or use coordinates that are regular there, "
            "such as Cartesian ones with a constraint.",
            path,
        )
