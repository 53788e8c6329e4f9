"""The tab on which what was derived moves."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.flows.solvers.names import SOLVERS
from lagrangian.studio.export_buttons import ExportButtons
from lagrangian.studio.figures import Figures, legend
from lagrangian.studio.mechanism import Mechanism
from lagrangian.studio.motion import Cloud, Motion, Section, cloud, motion, section
from lagrangian.studio.pictures import RODS, picture, rods
from lagrangian.studio.style import (
    TYPED,
    cell,
    columns,
    main,
    preformatted,
    side,
    text,
)
from lagrangian.studio.typed import KNOWN, NAME, Mistyped, Typed, numbers
from lagrangian.studio.worker import Worker

#: Output times, of which the picture shows each; those of a cloud are fewer.
POINTS, CLOUD_TIMES = 601, 101
_TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12)
_NONE = "none"
_MODULES = ("lagrangian.studio.motion", "lagrangian.flows.solvers.taylor")


class Simulate:
    """Sliders for every number, and what follows: a picture, and figures."""

    def __init__(self) -> None:
        # Two, so that solvers side by side keep what they have compiled; and one for
        # what is asked for by a button.
        self._workers = (Worker(*_MODULES), Worker(*_MODULES))
        self._extra = Worker(*_MODULES)
        self._running, self._again, self._open = False, False, False
        self._answered: Any = None
        self._typed: Typed | None = None
        self._shown: Motion | None = None
        self._crossings: Section | None = None
        self._members: Cloud | None = None
        self._sliders: dict[str, Any] = {}
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        scroll = {"max-height": "46vh", "overflow-y": "auto", "overflow-x": "hidden"}
        self._panel = pn.Column(**wide, styles=scroll, css_classes=["sliders"])
        self._points = pn.widgets.TextAreaInput(
            name="Points of the picture: x, y in each line", rows=2, auto_grow=True,
            css_classes=["field-points"], stylesheets=[TYPED], **wide,
        )  # fmt: skip
        self._rods = pn.widgets.Select(name="Rods", options=list(RODS), **wide)
        half = partial(pn.widgets.Select, width=148)
        self._end = pn.widgets.FloatInput(
            name="End time", value=10.0, start=1e-6, width=148
        )
        self._solver = half(name="Solver", options=list(SOLVERS))
        self._other = half(name="Beside it", options=[_NONE, *SOLVERS], value=_NONE)
        options = {f"{tol:g}": tol for tol in _TOLERANCES}
        self._tolerance = half(name="Tolerance", options=options, value=1e-9)
        self._coordinate = half(name="Coordinate", options=[])
        self._surface = pn.widgets.TextInput(
            name="Where this crosses zero", width=180,
            css_classes=["field-surface"], stylesheets=[TYPED],
        )  # fmt: skip
        self._count = pn.widgets.IntInput(name="Crossings", value=300, start=1,
                                          end=20_000, width=100)  # fmt: skip
        self._members_asked = pn.widgets.IntInput(name="Members", value=200, start=2,
                                                  end=5000, width=100)  # fmt: skip
        self._spread = pn.widgets.FloatInput(
            name="Spread of the start", value=0.01, start=0.0, step=0.01, width=130
        )
        ask = partial(pn.widgets.Button, button_type="primary", margin=(24, 5, 0, 5))
        self._cut = ask(name="Section", css_classes=["section-button"])
        self._spread_out = ask(name="Ensemble", css_classes=["cloud-button"])
        self._status, self._mistake = text(), text()
        self._legend = text(css_classes=["charges"])
        self._section_said = text(css_classes=["section-said"])
        self._cloud_said = text(css_classes=["cloud-said"])
        self._mechanism = Mechanism(width=370, height=355)
        self._figures = Figures()
        self._charges = cell(
            text("<h2>Charges and their laws (dashed)</h2>"), self._figures.charges,
            self._legend,
        )  # fmt: skip
        self._exports = ExportButtons(self._what)
        for widget in (self._end, self._solver, self._other, self._tolerance):
            widget.param.watch(self._changed, "value")
        self._points.param.watch(self._changed, "value")
        self._rods.param.watch(self._redraw, "value")
        self._coordinate.param.watch(self._redraw, "value")
        self._cut.on_click(self._section)
        self._spread_out.on_click(self._cloud)

    @property
    def view(self) -> Any:
        left = side(
            self._panel,
            pn.FlexBox(self._end, self._tolerance, self._solver, self._other),
            self._points,
            self._rods,
            self._exports.view,
        )
        figures = self._figures
        moving = cell(
            text("<h2>In the plane</h2>"), self._mechanism,
            pn.FlexBox(self._members_asked, self._spread, self._spread_out),
            self._cloud_said,
        )  # fmt: skip
        portrait = cell(
            text("<h2>Phase portrait</h2>"), self._coordinate, figures.portrait
        )
        errors = cell(
            text("<h2>Errors: of the energy, and between the solvers</h2>"),
            figures.errors,
        )
        cut = cell(
            text("<h2>Poincar&eacute; section</h2>"),
            pn.FlexBox(self._surface, self._count, self._cut),
            self._section_said,
            figures.section,
        )
        return columns(
            left,
            main(
                self._status, self._mistake,
                columns(moving, portrait, errors, self._charges, cut),
            ),
        )  # fmt: skip

    def close(self) -> None:
        for worker in (*self._workers, self._extra):
            worker.close()

    async def show(self, typed: Typed) -> None:
        """Take over what was typed on the other tab."""
        before, spec = self._typed, typed.spec
        names, chosen = spec["coordinates"], typed.name != "system"
        values = numbers(spec)
        same = before is not None and set(dict(before.values)) == set(values)
        moved = before is None or before.spec["coordinates"] != names
        if chosen or moved or not _fits(self._points.value, values):
            self._points.value, self._rods.value = picture(spec)
        if chosen or not same:
            self._set_sliders(values, set(spec["parameters"]))
        self._coordinate.options = names
        if self._coordinate.value not in names:
            self._coordinate.value = names[-1]
        if chosen or not _fits(self._surface.value, values):
            self._surface.value = names[0]
        for worker in (*self._workers, self._extra):
            worker.stop()
        self._running = False
        self._typed = typed
        await self._changed()

    async def turned(self, is_open: bool) -> None:
        """Whether anybody looks: nothing moves before."""
        self._open = is_open
        await self._changed()

    def _set_sliders(self, values: Mapping[str, float], parameters: set[str]) -> None:
        self._sliders = {}
        for name, value in values.items():
            reach = max(2 * abs(value), math.pi if name.endswith(".dot") else 1.0)
            slider = pn.widgets.EditableFloatSlider(
                name=name, value=value, start=-reach, end=reach, step=reach / 200,
                css_classes=[f"slider-{name.replace('.', '-')}"], width=310,
            )  # fmt: skip
            slider.param.watch(self._changed, "value")
            self._sliders[name] = slider
        of_parameters = [s for n, s in self._sliders.items() if n in parameters]
        of_start = [s for n, s in self._sliders.items() if n not in parameters]
        heads = [text("<h2>Parameters</h2>")] if of_parameters else []
        start = text("<h2>Start</h2>")
        self._panel[:] = [*heads, *of_parameters, start, *of_start]

    def _asked(self) -> Typed:
        assert self._typed is not None
        values = {name: slider.value for name, slider in self._sliders.items()}
        return replace(
            self._typed, values=tuple(values.items()), points=self._points.value
        )

    async def _changed(self, *events: Any) -> None:
        """Compute the motion; while one is computed, the last change alone waits.

        A process that is ended has forgotten what it compiled, so none is.
        """
        if self._typed is None or not self._open:
            return
        if self._running:
            self._again = True
            return
        self._running = self._again = True
        try:
            while self._again:
                self._again = False
                await self._compute()
        finally:
            self._running = False

    async def _compute(self) -> None:
        solvers = self._solver.value, self._other.value
        asked = self._asked(), self._end.value, self._tolerance.value
        if (asked, solvers) == self._answered:
            return
        self._say("Computing; a new system is compiled first.")
        shown: list[Motion] = []
        try:
            for worker, name in zip(self._workers, solvers, strict=True):
                if name != _NONE:
                    async for found in worker.answers(motion, *asked, name, POINTS):
                        shown.append(found)
        except LagrangianError as error:
            self._mistake.object = _mistake(error)
            self._say("")
            return
        if not shown:
            return  # another system was typed meanwhile
        self._answered = asked, solvers
        failed = shown[0].failed
        self._mistake.object = preformatted(failed) if failed else ""
        self._shown, self._crossings, self._members = shown[0], None, None
        self._cloud_said.object = self._section_said.object = ""
        between = _between(shown)
        said = [
            f"{name}: {one.steps} steps, largest change of the energy against its law "
            f"{one.energy.error:.1e}"
            for name, one in zip((n for n in solvers if n != _NONE), shown, strict=True)
        ]
        if between is not None:
            said.append(f"apart by at most {between.max():.1e}")
        self._say("\n".join(said))
        self._exports.ready()
        # Figures change only where the document is locked.
        pn.state.execute(partial(self._draw, shown, between), schedule=True)

    async def _section(self, event: Any) -> None:
        arguments = (self._surface.value, self._end.value, self._tolerance.value,
                     self._count.value)  # fmt: skip
        async for found in self._answers(self._section_said, section, *arguments):
            self._crossings = found
            count = len(found.t)
            until = f", the last at t = {found.t[-1]:.4g}" if count else ""
            self._section_said.object = preformatted(
                f"{count} crossings{until}", "motion"
            )
            pn.state.execute(self._draw_section, schedule=True)

    async def _cloud(self, event: Any) -> None:
        arguments = (self._end.value, self._tolerance.value, self._members_asked.value,
                     self._spread.value, CLOUD_TIMES)  # fmt: skip
        async for found in self._answers(self._cloud_said, cloud, *arguments):
            self._members = found
            lost = f"; {found.failed} did not arrive" if found.failed else ""
            said = f"{len(found.q)} members, orange in the portrait at the end{lost}"
            self._cloud_said.object = preformatted(said, "motion")
            pn.state.execute(self._draw_cloud, schedule=True)

    async def _answers(
        self, said: Any, function: Any, *arguments: Any
    ) -> AsyncIterator[Any]:
        """What a button asks for; or what is wrong with it."""
        if self._typed is None:
            return
        said.object = preformatted("Computing; compiled first.", "motion")
        try:
            async for found in self._extra.answers(function, self._asked(), *arguments):
                yield found
        except LagrangianError as error:
            said.object = _mistake(error)

    def _say(self, said: str) -> None:
        self._status.object = preformatted(said, "motion")

    def _draw(self, shown: list[Motion], between: np.ndarray | None) -> None:
        self._figures.show(shown, between)
        self._charges.visible = bool(shown[0].charges)
        self._legend.object = f'<p class="hint">{legend(shown[0])}</p>'
        self._redraw()

    def _column(self, names: tuple[str, ...]) -> int:
        return names.index(self._coordinate.value)

    def _draw_section(self) -> None:
        found, column = self._crossings, 0
        if found is not None:
            # In a coordinate that the surface leaves free, if there is one.
            held = NAME.findall(self._surface.value)
            free = [name for name in found.names if name not in held] or found.names
            chosen = self._coordinate.value
            column = found.names.index(chosen if chosen in free else free[0])
        self._figures.show_section(found, column)

    def _draw_cloud(self) -> None:
        if self._members is None:
            self._figures.clear_cloud()
            self._mechanism.cloud = []
            return
        self._figures.show_cloud(self._members, self._column(self._members.names))
        places = np.nan_to_num(self._members.places.swapaxes(0, 1), nan=1e9)
        self._mechanism.cloud = places.round(4).tolist() if places.shape[-1] else []

    def _redraw(self, *events: Any) -> None:
        found = self._shown
        if found is None or self._coordinate.value not in found.names:
            return
        self._figures.show_portrait(found, self._column(found.names))
        self._draw_section()
        self._draw_cloud()
        self._mechanism.param.update(
            rods=rods(self._rods.value, found.places.shape[1]),
            size=float(np.abs(found.places).max(initial=0.0)) or 1.0,
            duration=float(found.t[-1]),
            frames=found.places.round(5).tolist(),
        )

    def _what(self) -> Any:
        """What the buttons of exports save."""
        assert self._shown is not None
        surface = self._surface.value if self._crossings is not None else ""
        joined = rods(self._rods.value, self._shown.places.shape[1])
        numbers = self._end.value, self._tolerance.value, self._solver.value, POINTS
        return self._shown, joined, (self._asked(), *numbers, surface)


def _fits(written: str, values: Mapping[str, float]) -> bool:
    """Whether every name of a text is one of a system's, and there is one."""
    names = NAME.findall(re.sub(r"\d[\d.]*(?:[eE][+-]?\d+)?", "", written))
    return bool(written.strip()) and set(names) <= {*values, *KNOWN}


def _mistake(error: LagrangianError) -> str:
    return preformatted(error.reason if isinstance(error, Mistyped) else str(error))


def _between(shown: list[Motion]) -> np.ndarray | None:
    """How far two motions are from each other, in the coordinate that is furthest."""
    if len(shown) < 2:
        return None
    both = min(len(one.t) for one in shown)
    return np.abs(shown[0].q[:both] - shown[1].q[:both]).max(axis=1)
