"""What the generators that `find_symmetries` finds are usually called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time


def name_of(xi: Mapping[Any, Any], tau: Any, mass: Mapping[Any, Any]) -> str:
    """The name of a generator.

    Args:
        xi: the motion of the coordinates.
        tau: the motion of time.
        mass: the mass matrix by pairs of coordinates, in which a rotation may keep
            lengths; empty where it is not constant.
    """
    moved = {q: d for q, d in xi.items() if d != 0}
    if any(jets(d, order=1) for d in moved.values()):
        return "velocity-dependent"
    if not moved:
        return "time translation" if _is_constant(tau) else "symmetry"
    scales = {sp.cancel(d / q) for q, d in moved.items()}
    if tau == 0:
        return _at_one_time(moved, scales, mass)
    if len(scales) == 1:
        (scale,) = scales
        if _is_constant(scale) and _is_constant(tau / time):
            return "dilation"
        if _is_constant(scale / time) and tau == scale * time:
            return "expansion"
    return "symmetry"


def _at_one_time(
    moved: dict[Any, Any], scales: set[Any], mass: Mapping[Any, Any]
) -> str:
    if all(map(_is_constant, moved.values())):
        return "translation"
    if all(_is_constant(sp.cancel(d / time)) for d in moved.values()):
        return "Galilean boost"
    if all(map(_is_constant, scales)):
        return "scale" if len(scales) == 1 else "rescale"
    coordinates = sorted(
        {q for d in moved.values() for q in jets(d)} | set(moved), key=str
    )
    motion = sp.Matrix([moved.get(q, 0) for q in coordinates])
    matrix = motion.jacobian(coordinates)
    if matrix.has(Coordinate, time) or any(
        sp.expand(gap) for gap in matrix * sp.Matrix(coordinates) - motion
    ):
        return "symmetry"
    metrics = [sp.eye(len(coordinates))]
    if mass:
        rows = [[mass[a, b] for b in coordinates] for a in coordinates]
        metrics.append(sp.Matrix(rows))
    for metric in metrics:
        turned = metric * matrix
        if not any(map(sp.expand, turned + turned.T)):
            return "rotation"
    return "linear map"


def _is_constant(expression: Any) -> bool:
    return not expression.has(Coordinate, time)
