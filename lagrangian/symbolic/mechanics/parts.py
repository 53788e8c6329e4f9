"""The parts of a Lagrangian, and the mistakes in them that are certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets


def check_parts(
    T: Any,
    damping: Any,
    forces: Mapping[Any, Any],
    coordinates: Sequence[Any],
    found: Sequence[Any],
) -> None:
    """Raise unless a dynamics follows from them.

    Args:
        found: all coordinates and derivatives that the parts contain.

    Raises:
        InvalidLagrangian: see `Lagrangian`.
    """
    bases = list(dict.fromkeys(c.base for c in found))
    if not coordinates:
        raise InvalidLagrangian(
            "`T` and `V` contain no coordinates. "
            'Make them with `q = lg.coordinates("q")` and use `q` and `q.dot`, '
            "which are symbols, not functions of time."
        )
    if stray := [q for q in coordinates if not isinstance(q, Coordinate) or q.order]:
        raise InvalidLagrangian(
            f"`coordinates` has {_names(stray)}, which is no coordinate. "
            'Make one with `q = lg.coordinates("q")`.'
        )
    if len(set(coordinates)) < len(coordinates):
        raise InvalidLagrangian(
            f"`coordinates` names one twice: {_names(coordinates)}. Name each one once."
        )
    if stray := [b for b in bases if b not in coordinates]:
        raise InvalidLagrangian(
            f"`coordinates` leaves out {_names(stray)}, which `T` or `V` contains. Add "
            "it, or leave `coordinates` out."
        )
    if stray := [q for q in forces if q not in coordinates]:
        raise InvalidLagrangian(
            f"`forces` acts on {_names(stray)}, which is no coordinate here. The "
            f"coordinates are {_names(coordinates)}. Pass forces on these alone."
        )
    if high := [c for c in found if c.order > 1]:
        raise InvalidLagrangian(
            f"`T` or `V` contains {_names(high)}, above the first derivative. "
            "Write `lg.HigherOrderLagrangian(T - V)`."
        )
    moving = set(jets(T, order=1))
    inert = [q for q in coordinates if q.dot not in moving]
    if inert:
        name = inert[0].name
        raise InvalidLagrangian(
            f"no inertia in {_names(inert)}: `T` does not contain "
            f"{_names([q.dot for q in inert])}. Add a kinetic term such as "
            f"`m*{name}.dot**2/2`, or, if `{name}` is a constant, make it with "
            f'`sympy.Symbol("{name}")`.'
        )
    if damping.free_symbols and jets(damping):
        raise InvalidLagrangian(
            f"`damping` is {damping}, which depends on coordinates. "
            "Pass a function of `lg.time` and parameters."
        )


def _names(symbols: Sequence[Any]) -> str:
    return ", ".join(f"`{s}`" for s in symbols)
