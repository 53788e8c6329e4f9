"""What somebody types: expressions first, and what they leave open is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.coordinates import natural_order, time
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.systems.expression import (
    CONSTANTS,
    FUNCTIONS,
    InvalidExpression,
    parse_expression,
)
from lagrangian.systems.spec import InvalidSpec, read_spec
from lagrangian.systems.system import System

#: A name in an expression, a velocity's too.
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
#: Names that are no parameters.
KNOWN = {*FUNCTIONS, *CONSTANTS, time.name}
#: What a parameter is as long as nobody says otherwise.
_USUAL = {"g": 9.81}


class Mistyped(LagrangianError, ValueError):
    """What is wrong, and in which field."""

    def __init__(self, field: str, reason: str = ""):
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.reason)


@dataclass(frozen=True)
class Typed:
    """The fields of the page.

    Attributes:
        T, V, dissipation: expressions; nothing is zero but for T.
        constraints: an expression in each line, that is to vanish.
        symmetries: a generator in each line, such as `x: -y, y: x`.
        points: where the points of a picture are, `x, y` in each line.
        values: of parameters, positions (`x`) and velocities (`x.dot`).
    """

    T: str
    V: str = ""
    dissipation: str = ""
    constraints: str = ""
    symmetries: str = ""
    points: str = ""
    values: tuple[tuple[str, float], ...] = ()
    name: str = "system"

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Typed:
        """What the fields show of a spec."""
        return cls(
            content["T"],
            content["V"],
            content.get("dissipation", ""),
            "\n".join(content.get("constraints", ())),
            values=tuple(numbers(content).items()),
            name=content.get("name", "system"),
        )

    @property
    def spec(self) -> dict[str, Any]:
        """With a coordinate for every velocity, and parameters for all other names.

        Raises:
            Mistyped: there is no velocity in T.
        """
        constraints = _lines(self.constraints)
        texts = (self.T, self.V, self.dissipation, *constraints)
        found = list(dict.fromkeys(n for text in texts for n in NAME.findall(text)))
        coordinates = [n.removesuffix(".dot") for n in found if n.endswith(".dot")]
        coordinates = sorted(dict.fromkeys(coordinates), key=natural_order)
        if not coordinates:
            raise Mistyped(
                "T", "has no velocity. Write the velocity of x as `x.dot`: m*x.dot^2/2."
            )
        others = [n for n in found if n not in {*coordinates, *KNOWN} and "." not in n]
        values = dict(self.values)
        spec: dict[str, Any] = {"name": self.name, "coordinates": coordinates}
        spec |= {"T": self.T, "V": self.V.strip() or "0"}
        if self.dissipation.strip():
            spec["dissipation"] = self.dissipation
        if constraints:
            spec["constraints"] = list(constraints)
        usual = {n: values.get(n, _USUAL.get(n, 1.0)) for n in others}
        spec["parameters"] = usual
        spec["positions"] = {q: values.get(q, 1.0) for q in coordinates}
        spec["velocities"] = {q: values.get(f"{q}.dot", 0.0) for q in coordinates}
        return spec

    @property
    def system(self) -> System:
        """The system that follows.

        Raises:
            Mistyped: none does, and why.
        """
        spec = self.spec
        try:
            return read_spec(spec, self.name)
        except InvalidSpec as error:
            field = error.keys[0] if error.keys else "T"
            raise Mistyped(field, error.reason) from None

    def generators(self, system: System) -> list[Symmetry]:
        """The symmetries that are typed.

        Raises:
            Mistyped: a line that is none.
        """
        by_name = {q.name: q for q in system.lagrangian.coordinates}
        names = _names(system)
        return [_generator(line, by_name, names) for line in _lines(self.symmetries)]

    def expression(self, field: str, text: str, system: System) -> Any:
        """An expression in the symbols of this system.

        Raises:
            Mistyped: it is none.
        """
        return _read(field, text, _names(system))

    def places(self, system: System) -> list[tuple[Any, Any]]:
        """x and y of each point of the picture.

        Raises:
            Mistyped: a line that is none.
        """
        names, found = _names(system), []
        for line in _lines(self.points):
            halves = _parts(line)
            if len(halves) != 2:
                raise Mistyped("points", f"`{line}`: write `x, y`.")
            x, y = (_read("points", half, names) for half in halves)
            found.append((x, y))
        return found


def numbers(spec: Mapping[str, Any]) -> dict[str, float]:
    """Parameters, positions (`x`) and velocities (`x.dot`) of a spec, by name."""
    values = dict(spec.get("parameters", {})) | spec["positions"]
    return values | {f"{name}.dot": v for name, v in spec["velocities"].items()}


def _names(system: System) -> dict[str, Any]:
    """What an expression of a system may have in it."""
    names: dict[str, Any] = {p.name: p for p in system.parameters} | {time.name: time}
    for q in system.lagrangian.coordinates:
        names |= {q.name: q, f"{q.name}.dot": q.dot}
    return names


def _read(field: str, text: str, names: Mapping[str, Any]) -> Any:
    try:
        return parse_expression(text.strip(), names)
    except InvalidExpression as error:
        raise Mistyped(field, str(error)) from None


def _parts(line: str) -> list[str]:
    """What commas outside of parentheses part."""
    depth, parts = 0, [""]
    for letter in line:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _generator(
    line: str, by_name: Mapping[str, Any], names: Mapping[str, Any]
) -> Symmetry:
    moved, tau = {}, 0
    for part in _parts(line):
        name, colon, text = part.partition(":")
        name = name.strip()
        if not colon or name not in {*by_name, time.name}:
            known = ", ".join([*by_name, time.name])
            raise Mistyped(
                "symmetries",
                f"`{part.strip()}`: write `x: 1` or `x: -y, y: x`, with one of {known}",
            )
        found = _read("symmetries", text, names)
        if name == time.name:
            tau = found
        else:
            moved[by_name[name]] = found
    return Symmetry(moved, tau=tau, name=line)


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
