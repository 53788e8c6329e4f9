"""The tab on which a network learns, and its laws are watched."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.names import RULES
from lagrangian.networks.datasets import DATASETS
from lagrangian.plots import PALETTE
from lagrangian.studio.learning import Lesson, Progress, Stage, Table, taught
from lagrangian.studio.style import (
    cell,
    columns,
    main,
    preformatted,
    side,
    table,
    text,
)
from lagrangian.studio.worker import Worker

#: Numbers of the rules that have fields, and the rules that take them.
_NUMBERS = {
    "learning_rate": ("Learning rate", 0.05, tuple(RULES)),
    "momentum": ("Momentum", 0.9, ("heavy-ball",)),
    "weight_decay": ("Weight decay", 0.0, tuple(RULES)),
}
_EMPTY = """\
<p class="hint">First its symmetries are found: motions of the weights that leave the
loss alone. Then it trains, and each charge is drawn against what its law predicts. At
the end every law has a verdict, with its reasons.</p>"""


class Learn:
    """A network, data and a rule; its symmetries, and charges against their laws."""

    def __init__(self) -> None:
        self._worker = Worker("lagrangian.studio.learning")
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self._model = pn.widgets.TextInput(
            name="Network (module:Class)", css_classes=["field-model"],
            placeholder="the library's own that fits the data", **wide,
        )  # fmt: skip
        self._data = pn.widgets.AutocompleteInput(
            name="Data: a set, or a file of yours", options=list(DATASETS),
            value="digits", restrict=False, min_characters=0,
            css_classes=["field-data"], **wide,
        )  # fmt: skip
        self._rule = pn.widgets.AutocompleteInput(
            name="Learning rule, or module:name of an optax one", options=list(RULES),
            value="heavy-ball", restrict=False, min_characters=0,
            css_classes=["field-rule"], **wide,
        )  # fmt: skip
        self._allowed = pn.widgets.Checkbox(
            name="run the code of the modules named here", css_classes=["allowed"],
            visible=False,
        )  # fmt: skip
        self._numbers = {
            name: pn.widgets.FloatInput(name=said, value=value, width=148, start=0.0)
            for name, (said, value, _) in _NUMBERS.items()
        }
        whole = partial(pn.widgets.IntInput, width=148)
        self._steps = whole(name="Steps", value=400, start=1)
        self._batch = whole(name="Batch", value=64, start=1)
        self._seed = whole(name="Seed", value=0, start=0)
        self._start = pn.widgets.Button(
            name="Discover and train", button_type="primary", css_classes=["train"]
        )
        self._stop = pn.widgets.Button(name="Stop", disabled=True)
        self._bar = pn.indicators.Progress(
            value=-1, active=True, visible=False, **wide, css_classes=["progress"]
        )
        self._status, self._legend = text(), text()
        self._tables = pn.Column(text(_EMPTY), **wide)
        self._losses = ColumnDataSource({"step": [0.0], "loss": [1.0]})
        self._curves = ColumnDataSource(_none())
        self._laws = ColumnDataSource(_none())
        self._figures = columns(*map(cell, self._drawn()), visible=False)
        self._rule.param.watch(self._ruled, "value")
        self._model.param.watch(self._named, "value")
        self._start.on_click(self._run)
        self._stop.on_click(self._ended)

    def _drawn(self) -> list[Any]:
        kind: dict[str, Any] = {
            "height": 260, "x_axis_label": "step", "sizing_mode": "stretch_width",
            "tools": "pan,wheel_zoom,box_zoom,reset,save", "toolbar_location": "above",
        }  # fmt: skip
        losses = figure(y_axis_label="loss", y_axis_type="log", **kind)
        losses.line("step", "loss", source=self._losses, color=PALETTE[0])
        charges = figure(y_axis_label="charge / its range", **kind)
        style: dict[str, Any] = {"xs": "x", "ys": "y", "line_color": "colour"}
        charges.multi_line(source=self._curves, line_width=4, line_alpha=0.35, **style)
        charges.multi_line(
            source=self._laws, line_width=1.3, line_dash="dashed", **style
        )
        return [
            pn.pane.Bokeh(f, sizing_mode="stretch_width") for f in (losses, charges)
        ]

    @property
    def view(self) -> Any:
        left = side(
            self._model,
            self._data,
            self._rule,
            self._allowed,
            pn.FlexBox(*self._numbers.values(), self._seed, self._steps, self._batch),
            pn.Row(self._start, self._stop),
            self._bar,
            self._status,
        )
        return columns(left, main(self._figures, self._legend, self._tables))

    def close(self) -> None:
        self._worker.close()

    def _ruled(self, event: Any) -> None:
        rule = event.new.strip()
        for name, (_, _, rules) in _NUMBERS.items():
            self._numbers[name].visible = rule in rules
        self._numbers["learning_rate"].value = 0.05 if rule == "heavy-ball" else 0.001
        self._named(event)

    def _named(self, event: Any) -> None:
        # Of another module nothing was allowed.
        self._allowed.value, self._allowed.visible = False, bool(self._asked().code)

    def _ended(self, event: Any) -> None:
        self._worker.stop()
        self._say("Stopped.")
        self._busy(False)

    def _busy(self, busy: bool) -> None:
        self._start.disabled, self._stop.disabled = busy, not busy
        self._bar.visible = busy

    async def _run(self, event: Any) -> None:
        asked = self._asked()
        if asked.code and not self._allowed.value:
            self._refuse(
                f"{asked.code} is code of yours. Tick `run the code of the modules "
                "named here` to have it imported and run."
            )
            return
        self._busy(True)
        self._tables[:] = []
        self._legend.object, self._figures.visible = "", False
        self._bar.value = -1
        self._say("Loading what it needs")
        try:
            async for part in self._worker.answers(taught, asked):
                self._show(part, asked)
        except LagrangianError as error:
            self._refuse(str(error))
        self._busy(False)

    def _show(self, part: Stage | Table | Progress, asked: Lesson) -> None:
        if isinstance(part, Table):
            self._tables.append(text(f"<h2>{part.heading}</h2>"))
            html = table(part.cells, part.good, part.notes)
            said = f'<p class="hint">{escape(part.summary)}</p>'
            classes = [part.heading.lower()]
            self._tables.append(text(f"{html}{said}", css_classes=classes))
        elif isinstance(part, Stage):
            self._say(part.text)
            if part.done is not None:
                self._bar.max, self._bar.value = asked.steps, part.done
        else:
            self._figures.visible = True
            # Figures change only where the document is locked.
            pn.state.execute(partial(self._draw, part), schedule=True)

    def _asked(self) -> Lesson:
        numbers = {n: f.value for n, f in self._numbers.items() if f.visible}
        return Lesson(
            self._model.value.strip(),
            self._data.value.strip(),
            self._rule.value.strip(),
            tuple(numbers.items()),
            self._steps.value,
            self._batch.value,
            self._seed.value,
        )

    def _say(self, said: str) -> None:
        self._status.object = preformatted(said, "verdict")

    def _refuse(self, said: str) -> None:
        self._status.object = preformatted(said)

    def _draw(self, found: Progress) -> None:
        steps = np.arange(1, len(found.losses) + 1)
        self._losses.data = {"step": steps, "loss": found.losses}
        measured, predicted, named = _none(), _none(), []
        for curve, colour in zip(found.curves, PALETTE, strict=False):
            low, size = curve.measured.min(), np.ptp(curve.measured) or 1.0
            said = f'<span style="color:{colour}">&#9632;</span>'
            named.append(f"{said} {escape(curve.name)}")
            for kept, values in (
                (measured, curve.measured),
                (predicted, curve.predicted),
            ):
                if values is not None:
                    kept["x"].append(curve.steps)
                    kept["y"].append((values - low) / size)
                    kept["colour"].append(colour)
        self._curves.data, self._laws.data = measured, predicted
        if named:
            self._legend.object = (
                f'<p class="hint">{" &nbsp; ".join(named)} (the first unit of each). '
                "Thick: measured. Dashed: the law's, from the start alone.</p>"
            )


def _none() -> dict[str, Any]:
    return {"x": [], "y": [], "colour": []}
