"""Systems from TOML files, whose expressions are read and never evaluated."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError, nearest
from lagrangian.files import open_regular
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.budget import OverBudget, limited_calls
from lagrangian.systems.expression import (
    CONSTANTS,
    FUNCTIONS,
    InvalidExpression,
    parse_expression,
    pointer,
)
from lagrangian.systems.system import System

MAX_BYTES = 200_000
#: Calls of Python functions in which a file is read, and then in which its equations
#: are derived, on any machine: some ten seconds, and a minute or two.
MAX_WORK, MAX_DERIVING = 10_000_000, 100_000_000

_TABLES = ("forces", "parameters", "positions", "velocities")
_TEXTS = ("name", "description", "T", "V", "damping", "dissipation")
_KEYS = (*_TEXTS, "coordinates", "constraints", "t", "tol", *_TABLES)
_REQUIRED = {
    "coordinates": 'coordinates = ["x", "y"]',
    "T": 'T = "m*(x.dot^2 + y.dot^2)/2"',
    "V": 'V = "k*(x^2 + y^2)/2"',
    "positions": "[positions]` with a line `x = 1.0",
    "velocities": "[velocities]` with a line `x = 0.0",
}
_ONLY_NUMBERS = "A value is a number, or an expression of numbers alone."
_RESERVED = {*FUNCTIONS, *CONSTANTS, time.name}


class InvalidSpec(LagrangianError, ValueError):
    """A spec from which no system follows; the message shows where and why.

    Attributes:
        keys: of the entry that is wrong, such as ("parameters", "g"); none if it is
            the whole.
        reason: what is wrong there, with a caret under the place where there is one.
    """

    def __init__(self, message: str, keys: tuple[str, ...] = (), reason: str = ""):
        super().__init__(message)
        self.keys, self.reason = keys, reason or message


def load_spec(path: str | os.PathLike[str]) -> System:
    """The system that a TOML file describes.

    Its keys are `coordinates`, `T`, `V` and, where wanted, `name`, `description`,
    `damping`, `dissipation`, `constraints` (a list), `t` and `tol`; its tables are
    `[positions]`, `[velocities]` and, where wanted, `[parameters]` and `[forces]`. `T`,
    `V` and the like are expressions as `parse_expression` reads them, in the
    coordinates, their velocities (`x.dot`), the parameters and the time `t`. Numbers
    may be expressions, too: `"1/3"` or `"pi/2"`.

    The equations are derived at once: what is returned has them.

    Args:
        path: of a TOML file.

    Returns:
        A `System`.

    Raises:
        InvalidSpec: names the file, the key, and the line and column where it can; or
            a file that takes more than `MAX_WORK` to read, or `MAX_DERIVING` to derive.
    """
    path = Path(path)
    return _derived(path, lambda: _Spec.read(path).system())


def read_spec(content: Mapping[str, Any], name: str = "system") -> System:
    """The system of what `load_spec` finds in a file, as a mapping.

    >>> spec = {"coordinates": "x", "T": "x.dot^2/2", "V": "x^2/2"}
    >>> state = {"positions": {"x": 1}, "velocities": {"x": 0}}
    >>> read_spec(spec | state).lagrangian.equations
    [Eq(x + x.ddot, 0)]

    Raises:
        InvalidSpec: as from `load_spec`.
    """
    path = Path(name)
    return _derived(path, lambda: _Spec(path, "", dict(content)).system())


def _derived(path: Path, read: Callable[[], System]) -> System:
    doing, most = "read", MAX_WORK
    try:
        with limited_calls(most):
            system = read()
        doing, most = "derive", MAX_DERIVING
        with limited_calls(most):
            _ = system.lagrangian.equations
        return system
    except OverBudget:
        raise InvalidSpec(
            f"`{path}` takes too long to {doing}: more than {most:,} calls of "
            "functions. Write shorter expressions, or build the system in Python."
        ) from None
    except RecursionError:
        raise InvalidSpec(
            f"`{path}` has an expression that is nested too deeply. Multiply out, or "
            "build the system in Python."
        ) from None


@dataclass(frozen=True)
class _Spec:
    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Spec:
        try:
            with open_regular(path) as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InvalidSpec(
                f"`{path}` cannot be read: {error.strerror}. Write the path of a file "
                "that you may read."
            ) from None
        if len(data) > MAX_BYTES:
            raise InvalidSpec(
                f"`{path}` has more than {MAX_BYTES} bytes; at most that many are "
                "read. Shorten it, or build the system in Python."
            )
        try:
            text = data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise InvalidSpec(
                f"`{path}` is not UTF-8 text: byte {error.start} is "
                f"0x{data[error.start]:02x}. Save it as UTF-8."
            ) from None
        try:
            return cls(path, text, tomllib.loads(text))
        except RecursionError:
            raise InvalidSpec(
                f"`{path}` nests its values too deeply. Write tables within tables, "
                "and no deeper."
            ) from None
        except ValueError as error:
            raise cls(path, text, {}).broken_toml(error) from None

    def broken_toml(self, error: ValueError) -> InvalidSpec:
        place = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        if place is None:
            return InvalidSpec(
                f"{self.path} is not valid TOML: {error}. Correct it there; "
                "expressions stand in quotes."
            )
        row, column = int(place[1]), int(place[2])
        return InvalidSpec(
            f"{self.path}, line {row}, column {column}: not valid TOML: "
            f"{str(error)[: place.start()]}. Write expressions in "
            f"quotes.\n{pointer(self.text.split(chr(10))[row - 1], column - 1)}"
        )

    def error(self, message: str, *keys: str, within: Any = None) -> InvalidSpec:
        """An error at a key; `within` is (value, position) inside of a text there."""
        place = _place(self.text, keys, None if within is None else within[0])
        key = f"`{'.'.join(keys)}`: " if keys else ""
        where = f"\n{pointer(*within)}" if within and "\n" not in within[0] else ""
        reason = f"{message}{where}"
        if place is None:
            return InvalidSpec(f"{self.path}: {key}{reason}", keys, reason)
        place += within[1] if within is not None else 0
        row = self.text.count("\n", 0, place)
        column = place - (self.text.rfind("\n", 0, place) + 1)
        said = (
            f"{self.path}, line {row + 1}, column {column + 1}, {key}{message}\n"
            f"{pointer(self.text.split(chr(10))[row], column)}"
        )
        return InvalidSpec(said, keys, reason)

    def system(self) -> System:
        self._check_keys()
        coordinates = self._coordinates()
        parameters = self._parameters({q.name for q in coordinates})
        names = {
            **{q.name: q for q in coordinates},
            **{f"{q.name}.dot": q.dot for q in coordinates},
            **{p.name: p for p in parameters},
            time.name: time,
        }
        lagrangian = self._lagrangian(coordinates, names)
        return System(
            name=self._name(),
            description=self._text("description") or f"from {self.path.name}",
            lagrangian=lagrangian,
            parameters=parameters,
            positions=self._state("positions", coordinates),
            velocities=self._state("velocities", coordinates),
            **{k: self._positive(k) for k in ("t", "tol") if k in self.content},
        )

    def _check_keys(self) -> None:
        for key in self.content:
            if key not in _KEYS:
                raise self.error(f"unknown key. {nearest(key, _KEYS)}", key)
        for key, example in _REQUIRED.items():
            if key not in self.content:
                raise self.error(f"`{key}` is missing. Write `{example}`.")
        for key in _TABLES:
            if not isinstance(self.content.get(key, {}), dict):
                raise self.error(f"must be a table. Write `[{key}]`.", key)

    def _text(self, key: str) -> str:
        text = self.content.get(key, "")
        if not isinstance(text, str):
            raise self.error(f"must be text in quotes, and is {text!r}.", key)
        return text

    def _name(self) -> str:
        name = self._text("name") or self.path.stem
        # Results are written to files of this name.
        if "name" in self.content and not re.fullmatch(
            r"[A-Za-z0-9][\w.-]*", name, re.A
        ):
            raise self.error("use letters, digits, `-`, `_` and `.` only.", "name")
        return name

    def _coordinates(self) -> list[Any]:
        listed = self.content["coordinates"]
        if isinstance(listed, str):
            listed = re.split(r"[\s,]+", listed.strip())
        if not isinstance(listed, list) or not listed:
            raise self.error(f"write `{_REQUIRED['coordinates']}`.", "coordinates")
        for i, name in enumerate(listed):
            self._check_symbol(name, "coordinates")
            if name in listed[:i]:
                raise self.error(f"`{name}` is listed twice.", "coordinates")
        return [Coordinate(name) for name in listed]

    def _check_symbol(self, name: Any, *keys: str) -> None:
        if not isinstance(name, str) or not re.fullmatch(
            r"[A-Za-z_]\w*", name, re.ASCII
        ):
            raise self.error(
                f"{name!r} cannot be a name. Use ASCII letters, digits and `_`.", *keys
            )
        if name in _RESERVED:
            raise self.error(
                f"`{name}` already has a meaning in expressions. Choose another name.",
                *keys,
            )

    def _parameters(self, taken: set[str]) -> dict[Any, float]:
        parameters = {}
        for name in self.content.get("parameters", {}):
            self._check_symbol(name, "parameters", name)
            if name in taken:
                raise self.error("is a coordinate, too.", "parameters", name)
            # Real and no more: a sign may change with `--set`.
            symbol = sp.Symbol(name, real=True)
            parameters[symbol] = self._number("parameters", name)
        return parameters

    def _lagrangian(
        self, coordinates: list[Any], names: Mapping[str, Any]
    ) -> Lagrangian:
        T = self._expression(names, "T")
        moving = jets(T, order=1)
        if still := [q for q in coordinates if q.dot not in moving]:
            q = still[0].name
            raise self.error(
                f"does not contain `{q}.dot`, so that `{q}` has no inertia. Add a term "
                f"such as `m*{q}.dot^2/2`, or move `{q}` to `[parameters]`.",
                "T",
            )
        by_name = {q.name: q for q in coordinates}
        forces = {}
        for name in self.content.get("forces", {}):
            self._check_coordinate(name, by_name, "forces")
            forces[by_name[name]] = self._expression(names, "forces", name)
        constraints = self.content.get("constraints", [])
        if not isinstance(constraints, list):
            raise self.error('write a list: `["x^2 + y^2 - l^2"]`.', "constraints")
        try:
            return Lagrangian(
                T,
                self._expression(names, "V"),
                damping=self._optional(names, "damping"),
                dissipation=self._optional(names, "dissipation"),
                forces=forces,
                constraints=[
                    self._parse(names, value, "constraints") for value in constraints
                ],
                coordinates=coordinates,
            )
        except InvalidSpec:
            raise
        except LagrangianError as error:
            raise InvalidSpec(f"{self.path}: {error}") from None

    def _state(self, table: str, coordinates: list[Any]) -> dict[Any, float]:
        by_name = {q.name: q for q in coordinates}
        given = self.content[table]
        for name in given:
            self._check_coordinate(name, by_name, table)
        if missing := [name for name in by_name if name not in given]:
            raise self.error(
                f"`[{table}]` has no value for {', '.join(f'`{m}`' for m in missing)}. "
                f"Write `{missing[0]} = 0.0` there."
            )
        return {q: self._number(table, name) for name, q in by_name.items()}

    def _check_coordinate(
        self, name: str, known: Mapping[str, Any], table: str
    ) -> None:
        if name not in known:
            raise self.error(
                f"`{name}` is no coordinate. {nearest(name, known)}", table, name
            )

    def _optional(self, names: Mapping[str, Any], key: str) -> Any:
        return self._expression(names, key) if key in self.content else sp.S.Zero

    def _expression(self, names: Mapping[str, Any], *keys: str) -> Any:
        value: Any = self.content
        for key in keys:
            value = value[key]
        return self._parse(names, value, *keys)

    def _parse(self, names: Mapping[str, Any], value: Any, *keys: str) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise self.error(f"must be an expression in quotes: {value!r}.", *keys)
        hint = "Or declare it in `coordinates` or under `[parameters]`."
        try:
            return parse_expression(value, names, hint if names else _ONLY_NUMBERS)
        except InvalidExpression as error:
            raise self.error(
                error.message, *keys, within=(value, error.position)
            ) from None

    def _number(self, *keys: str) -> float:
        """The value of a key, a number or an expression of numbers alone."""
        value: Any = self.content
        for key in keys:
            value = value[key]
        if isinstance(value, str):
            value = self._parse({}, value, *keys).evalf(16)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error("must be a finite real number.", *keys)
        return number

    def _positive(self, key: str) -> float:
        number = self._number(key)
        if number <= 0:
            raise self.error(f"must be positive, and is {number:g}.", key)
        return number


def _place(text: str, keys: tuple[str, ...], value: str | None) -> int | None:
    """Where a key stands in TOML, or where the text that is its value begins.

    None if that cannot be told: dotted keys, inline tables and escaped characters are
    not followed.
    """
    if not keys:
        return None
    table, offset = "", 0
    for line in text.split("\n"):
        header = re.match(r"\s*\[([^\[\]]*)\]", line)
        if header:
            table = header[1].strip(" \"'\t")
        found = re.match(rf"\s*([\"']?){re.escape(keys[-1])}\1\s*=", line)
        if header and keys == (table,) and value is None:
            return offset + line.index("[")
        if found and table == "".join(keys[:-1]):
            if value is None:
                return offset + len(line) - len(line.lstrip())
            quoted = re.compile(rf"(?<=[\"'\n]){re.escape(value)}(?=[\"'])")
            inside = quoted.search(text, offset + found.end())
            if inside:
                return inside.start()
        offset += len(line) + 1
    return None
