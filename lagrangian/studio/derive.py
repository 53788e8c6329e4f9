"""The tab on which equations are derived while somebody types."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.studio.derivation import rows
from lagrangian.studio.formulas import Formulas
from lagrangian.studio.style import (
    READ_ONLY,
    TYPED,
    columns,
    main,
    preformatted,
    side,
    text,
)
from lagrangian.studio.typed import Mistyped, Typed
from lagrangian.studio.worker import Worker
from lagrangian.systems.mechanics import SYSTEMS, make_system
from lagrangian.systems.spec_text import spec, toml

#: Nobody types the next letter after so long (s).
_PAUSE = 0.12
_FIELDS = {
    "T": ("T, kinetic energy", "m*x.dot^2/2"),
    "V": ("V, potential energy", "k*x^2/2"),
    "dissipation": ("Rayleigh's dissipation", "c*x.dot^2/2"),
    "constraints": ("Constraints, one a line", "x^2 + y^2 - l^2"),
    "symmetries": ("Generators, one a line", "x: -y, y: x"),
}
#: Letters in a line of a field.
_COLUMNS = 42
#: What the page begins with.
_FIRST = "double-pendulum"
_OWN = "your own"


class Derive:
    """The fields, and what follows from them.

    Args:
        changed: called with what is typed, once it is a system.
    """

    def __init__(self, changed: Callable[[Typed], Awaitable[None]]):
        self._changed = changed
        self._worker = Worker("lagrangian.studio.derivation", ready=True)
        self._asked = 0
        self._system = pn.widgets.Select(
            name="System", options=[_OWN, *SYSTEMS], value=_FIRST,
            sizing_mode="stretch_width",
        )  # fmt: skip
        self._fields = {
            key: pn.widgets.TextAreaInput(
                name=name,
                placeholder=f"for example {example}",
                auto_grow=True,
                rows=1,
                max_rows=8,
                sizing_mode="stretch_width",
                css_classes=[f"field-{key}"],
                stylesheets=[TYPED],
            )
            for key, (name, example) in _FIELDS.items()
        }
        self._mistake = text()
        self.formulas = Formulas(sizing_mode="stretch_width", margin=(0, 10))
        self._text = pn.widgets.TextAreaInput(
            name="The same as a TOML file, for the shell",
            disabled=True,
            rows=12,
            sizing_mode="stretch_width",
            css_classes=["toml"],
            stylesheets=[READ_ONLY],
        )
        self.typed = self._load(_FIRST)
        self._system.param.watch(self._chosen, "value")
        for field in self._fields.values():
            field.param.watch(self._typed, "value_input")
        pn.state.onload(self._answer)

    @property
    def view(self) -> Any:
        left = side(self._system, *self._fields.values(), self._mistake, self._text)
        return columns(left, main(self.formulas))

    def close(self) -> None:
        self._worker.close()

    def _load(self, name: str) -> Typed:
        typed = Typed.of(spec(make_system(name)))
        for key, field in self._fields.items():
            text = getattr(typed, key)
            field.value = field.value_input = text
            field.rows = min(8, 1 + len(text) // _COLUMNS + text.count("\n"))
        return typed

    async def _chosen(self, event: Any) -> None:
        if event.new != _OWN:
            self.typed = self._load(event.new)
            await self._answer()

    async def _typed(self, event: Any) -> None:
        fields = {key: field.value_input for key, field in self._fields.items()}
        if replace(self.typed, **fields) == self.typed:
            return  # what a system has filled in itself
        self.typed = replace(self.typed, **fields, name="system")
        self._system.value = _OWN
        self._asked += 1
        mine = self._asked
        await asyncio.sleep(_PAUSE)
        if mine == self._asked:
            await self._answer()

    async def _answer(self) -> None:
        typed, found, first = self.typed, [], True
        named = typed.name != "system"
        if named:  # nothing is wrong with it, and it has its picture
            await self._changed(typed)
        self.formulas.status, self.formulas.busy = "Deriving", True
        try:
            async for row in self._worker.answers(rows, typed):
                found.append(asdict(row))
                if first:
                    first = False
                    self._mistake.object = ""
                    self._text.value = toml(typed.spec)
                self.formulas.rows = list(found)
                self.formulas.status = f"Deriving; so far: {row.section}"
        except LagrangianError as error:
            field = _FIELDS[error.field][0] if isinstance(error, Mistyped) else ""
            reason = error.reason if isinstance(error, Mistyped) else str(error)
            self._mistake.object = preformatted(f"{field}\n{reason}".strip())
            said = "As it stands, nothing follows from this."
            self.formulas.status, self.formulas.busy = said, False
            return
        if typed == self.typed:
            self.formulas.status, self.formulas.busy = "", False
            if not named:
                await self._changed(typed)
