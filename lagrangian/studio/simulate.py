"""The tab on which what was derived moves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.palettes import Colorblind
from bokeh.plotting import figure

from lagrangian.errors import LagrangianError
from lagrangian.flows.solvers.names import SOLVERS
from lagrangian.studio.components import STYLE, Mechanism, preformatted
from lagrangian.studio.motion import Motion, motion
from lagrangian.studio.pictures import RODS, picture, rods
from lagrangian.studio.typed import Mistyped, Typed, numbers
from lagrangian.studio.worker import Worker
from lagrangian.systems.spec_text import toml

#: Output times, of which the picture shows each.
POINTS = 601
_TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12)
_NONE = "none"
_MODULES = ("lagrangian.studio.motion", "lagrangian.flows.solvers.taylor")


class Simulate:
    """Sliders for every number, and what follows: a picture, and three figures."""

    def __init__(self) -> None:
        # Two, so that solvers side by side keep what they have compiled.
        self._workers = (Worker(*_MODULES), Worker(*_MODULES))
        self._running, self._again, self._open = False, False, False
        self._answered: Any = None
        self._typed: Typed | None = None
        self._shown: Motion | None = None
        self._sliders: dict[str, Any] = {}
        self._panel = pn.Column(width=330)
        self._points = pn.widgets.TextAreaInput(
            name="Points of the picture: x, y in each line",
            rows=3,
            auto_grow=True,
            sizing_mode="stretch_width",
            css_classes=["field-points"],
        )
        self._rods = pn.widgets.Select(name="Rods", options=list(RODS))
        self._end = pn.widgets.FloatInput(
            name="End time", value=10.0, start=1e-6, width=150
        )
        self._solver = pn.widgets.Select(
            name="Solver", options=list(SOLVERS), width=150
        )
        self._other = pn.widgets.Select(
            name="Beside it", options=[_NONE, *SOLVERS], value=_NONE, width=150
        )
        self._tolerance = pn.widgets.Select(
            name="Tolerance",
            options={f"{tol:g}": tol for tol in _TOLERANCES},
            value=1e-9,
            width=150,
        )
        self._coordinate = pn.widgets.Select(name="Phase portrait of", options=[])
        self._mistake = pn.pane.HTML(
            "", sizing_mode="stretch_width", stylesheets=[STYLE]
        )
        self._status = pn.pane.HTML("", stylesheets=[STYLE])
        self._mechanism = Mechanism(width=350, height=350)
        self._phase = ColumnDataSource({"q": [0.0], "v": [0.0]})
        self._drift = [ColumnDataSource(_drift(None)) for _ in range(2)]
        self._charges = ColumnDataSource({"t": [], "c": [], "colour": []})
        self._portrait = self._figure("q", "dq/dt")
        self._portrait.line("q", "v", source=self._phase, color=Colorblind[4][0])
        self._energies = self._figure("t", "|E - E(0)| / |E(0)|", y_axis_type="log")
        for source, colour, dash, name in zip(
            self._drift, ("#0072b2", "#d55e00"), ("solid", "dashed"),
            ("solver", "beside it"), strict=True,
        ):  # fmt: skip
            self._energies.line(
                "t", "e", source=source, color=colour, line_dash=dash, legend_label=name
            )
        self._energies.legend.location = "bottom_right"
        self._energies.legend.click_policy = "hide"
        self._laws = self._figure("t", "charges of the generators")
        self._laws.visible = False
        self._laws.multi_line("t", "c", source=self._charges, line_color="colour")
        for widget in (self._end, self._solver, self._other, self._tolerance):
            widget.param.watch(self._changed, "value")
        self._points.param.watch(self._changed, "value")
        self._rods.param.watch(self._redraw, "value")
        self._coordinate.param.watch(self._redraw, "value")

    @staticmethod
    def _figure(x: str, y: str, **kind: Any) -> Any:
        return figure(
            width=400, height=260, x_axis_label=x, y_axis_label=y,
            tools="pan,wheel_zoom,box_zoom,reset,save", **kind,
        )  # fmt: skip

    @property
    def view(self) -> Any:
        saved = [
            pn.widgets.FileDownload(
                callback=self._arrays, filename="path.npz", label="Path (.npz)"
            ),
            pn.widgets.FileDownload(
                callback=self._file, filename="system.toml", label="System (.toml)"
            ),
        ]
        left = pn.Column(
            self._panel,
            pn.Row(self._end, self._tolerance),
            pn.Row(self._solver, self._other),
            self._points,
            self._rods,
            *saved,
            width=350,
        )
        middle = pn.Column(self._status, self._mistake, self._mechanism, width=370)
        right = pn.Column(
            self._coordinate,
            *(pn.pane.Bokeh(f) for f in (self._portrait, self._energies, self._laws)),
        )
        return pn.Row(left, middle, right)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    async def show(self, typed: Typed) -> None:
        """Take over what was typed on the other tab."""
        before, spec = self._typed, typed.spec
        same = before is not None and set(dict(before.values)) == set(numbers(spec))
        if not same or before.name != typed.name or typed.name != "system":
            self._points.value, self._rods.value = picture(spec)
        if not same or typed.name != "system":
            self._set_sliders(numbers(spec))
        names = spec["coordinates"]
        self._coordinate.options = names
        if self._coordinate.value not in names:
            self._coordinate.value = names[0]
        for worker in self._workers:
            worker.stop()
        self._running = False
        self._typed = typed
        await self._changed()

    async def turned(self, is_open: bool) -> None:
        """Whether anybody looks: nothing moves before."""
        self._open = is_open
        await self._changed()

    def _set_sliders(self, values: Mapping[str, float]) -> None:
        self._sliders = {}
        for name, value in values.items():
            reach = max(2 * abs(value), math.pi if name.endswith(".dot") else 1.0)
            slider = pn.widgets.EditableFloatSlider(
                name=name, value=value, start=-reach, end=reach, step=reach / 200,
                css_classes=[f"slider-{name.replace('.', '-')}"],
            )  # fmt: skip
            slider.param.watch(self._changed, "value")
            self._sliders[name] = slider
        self._panel[:] = list(self._sliders.values())

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
            said = error.reason if isinstance(error, Mistyped) else str(error)
            self._mistake.object = preformatted(said)
            self._say("")
            return
        if not shown:
            return  # another system was typed meanwhile
        self._answered = asked, solvers
        self._mistake.object = preformatted(shown[0].failed) if shown[0].failed else ""
        self._shown = shown[0]
        self._say(
            "; ".join(
                f"{one.steps} steps, largest change of the energy {one.drift:.1e}"
                for one in shown
            )
        )
        # Figures change only where the document is locked.
        pn.state.execute(partial(self._draw, shown), schedule=True)

    def _say(self, text: str) -> None:
        self._status.object = preformatted(text, "motion")

    def _draw(self, shown: list[Motion]) -> None:
        self._redraw()
        for source, one in zip(self._drift, [*shown, None], strict=False):
            source.data = _drift(one)

    def _redraw(self, *events: Any) -> None:
        found = self._shown
        if found is None or self._coordinate.value not in found.names:
            return
        column = found.names.index(self._coordinate.value)
        self._phase.data = {"q": found.q[:, column], "v": found.v[:, column]}
        self._portrait.xaxis.axis_label = self._coordinate.value
        self._portrait.yaxis.axis_label = f"{self._coordinate.value}.dot"
        self._mechanism.param.update(
            rods=rods(self._rods.value, found.places.shape[1]),
            size=float(np.abs(found.places).max(initial=0.0)) or 1.0,
            duration=float(found.t[-1]),
            frames=found.places.round(5).tolist(),
        )
        self._laws.visible = bool(found.charges)
        colours = Colorblind[8]
        self._charges.data = {
            "t": [found.t for _ in found.charges],
            "c": list(found.charges.values()),
            "colour": [colours[i % 8] for i in range(len(found.charges))],
        }

    def _arrays(self) -> io.BytesIO | None:
        found, file = self._shown, io.BytesIO()
        if found is None:
            return None
        arrays: dict[str, Any] = {"t": found.t, "energy": found.energy}
        for i, name in enumerate(found.names):
            arrays |= {name: found.q[:, i], f"{name}.dot": found.v[:, i]}
        np.savez(file, **arrays)
        file.seek(0)
        return file

    def _file(self) -> io.StringIO | None:
        if self._typed is None:
            return None
        return io.StringIO(toml(self._asked().spec | {"t": self._end.value}))


def _drift(found: Motion | None) -> dict[str, Any]:
    if found is None:
        return {"t": [0.0], "e": [1e-16]}
    scale = abs(found.energy[0]) or 1.0
    change = np.abs(found.energy - found.energy[0]) / scale
    # A logarithm has no zero: below rounding all is alike.
    return {"t": found.t, "e": np.maximum(change, 1e-17)}
