"""Where the points of the library's systems are in the plane, as somebody types it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Rods of a picture: which points a line joins.
RODS = ("none", "chain from the origin", "neighbours")

_CHAIN, _SPRINGS = RODS[1:]
_PICTURES: dict[str, tuple[str, str]] = {
    "double-pendulum": (
        "l*sin(a), -l*cos(a)\nl*(sin(a) + sin(b)), -l*(cos(a) + cos(b))",
        _CHAIN,
    ),
    "spherical-pendulum": ("l*sin(theta)*cos(phi), l*sin(theta)*sin(phi)", _CHAIN),
    "foucault-pendulum": ("x, y", _CHAIN),
    "rotating-hoop": ("R*sin(theta), -R*cos(theta)", _CHAIN),
    "elastic-pendulum": ("r*sin(theta), -r*cos(theta)", _CHAIN),
    "kepler": ("x, y\n0, 0", "none"),
    "three-body": ("x1, y1\nx2, y2\nx3, y3", "none"),
    "henon-heiles": ("x, y", "none"),
    "charged-particle": ("x, y", "none"),
    "relativistic-particle": ("x, y", "none"),
    "van-der-pol": ("x, x.dot", "none"),
    "heavy-top": ("sin(theta)*sin(phi), -sin(theta)*cos(phi)", _CHAIN),
}


def picture(spec: Mapping[str, Any]) -> tuple[str, str]:
    """The points of a system and its rods; of one's own, what its names suggest."""
    names = spec["coordinates"]
    if spec.get("name") in _PICTURES:
        return _PICTURES[spec["name"]]
    if spec.get("name") == "n-pendulum":
        arms = [f"l*({' + '.join(f'sin({q})' for q in names[: i + 1])})"
                f", -l*({' + '.join(f'cos({q})' for q in names[: i + 1])})"
                for i in range(len(names))]  # fmt: skip
        return "\n".join(arms), _CHAIN
    if {"x", "y"} <= set(names):
        return "x, y", "none"
    if len(names) == 1:
        return f"{names[0]}, 0", "none"
    rest = [f"{i} + {q}, 0" for i, q in enumerate(names)]
    return "\n".join(rest), _SPRINGS


def rods(kind: str, points: int) -> list[tuple[int, int]]:
    """Pairs of points that a line joins; -1 is the origin."""
    if kind == _CHAIN:
        return [(i - 1, i) for i in range(points)]
    if kind == _SPRINGS:
        return [(i - 1, i) for i in range(1, points)]
    return []
