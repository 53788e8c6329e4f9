"""The tab on which a network learns, and its laws are watched."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.palettes import Colorblind
from bokeh.plotting import figure

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.names import RULES
from lagrangian.networks.datasets import DATASETS
from lagrangian.studio.components import STYLE, preformatted
from lagrangian.studio.learning import Lesson, Progress, Table, lesson
from lagrangian.studio.worker import Worker

_COLOURS = Colorblind[8]
#: Numbers of the rules that have fields, and the rules that take them.
_NUMBERS = {
    "learning_rate": (0.05, tuple(RULES)),
    "momentum": (0.9, ("heavy-ball",)),
    "weight_decay": (0.0, tuple(RULES)),
}


class Learn:
    """A network, data and a rule; its symmetries, and charges against their laws."""

    def __init__(self) -> None:
        self._worker = Worker("lagrangian.studio.learning")
        self._model = pn.widgets.TextInput(
            name="Network (module:Class)",
            placeholder="the library's own that fits the data",
            css_classes=["field-model"],
        )
        self._allowed = pn.widgets.Checkbox(
            name="run the code of this module", css_classes=["allowed"]
        )
        self._data = pn.widgets.AutocompleteInput(
            name="Data: a set, or a file of yours",
            options=list(DATASETS),
            value="digits",
            restrict=False,
            min_characters=0,
            css_classes=["field-data"],
        )
        self._rule = pn.widgets.Select(name="Learning rule", options=list(RULES))
        self._numbers = {
            name: pn.widgets.FloatInput(name=name, value=value, width=145, start=0.0)
            for name, (value, _) in _NUMBERS.items()
        }
        whole = partial(pn.widgets.IntInput, width=145)
        self._steps = whole(name="Steps", value=400, start=1)
        self._batch = whole(name="Batch", value=64, start=1)
        self._seed = whole(name="Seed", value=0, start=0)
        self._start = pn.widgets.Button(
            name="Discover and train", button_type="primary", css_classes=["train"]
        )
        self._stop = pn.widgets.Button(name="Stop", disabled=True)
        self._status = pn.pane.HTML("", width=300, stylesheets=[STYLE])
        self._tables = pn.Column()
        self._losses = ColumnDataSource({"step": [0.0], "loss": [1.0]})
        self._curves = ColumnDataSource(_none())
        self._laws = ColumnDataSource(_none())
        self._drawn = self._figures()
        self._rule.param.watch(self._ruled, "value")
        self._start.on_click(self._run)
        self._stop.on_click(self._ended)

    def _figures(self) -> list[Any]:
        kind: dict[str, Any] = {
            "width": 430,
            "height": 260,
            "x_axis_label": "step",
            "tools": "pan,wheel_zoom,box_zoom,reset,save",
        }
        losses = figure(y_axis_label="loss", y_axis_type="log", **kind)
        losses.line("step", "loss", source=self._losses, color=_COLOURS[0])
        charges = figure(y_axis_label="charge of the first unit / its range", **kind)
        style: dict[str, Any] = {"xs": "x", "ys": "y", "line_color": "colour"}
        charges.multi_line(source=self._curves, line_width=4, line_alpha=0.35, **style)
        charges.multi_line(
            source=self._laws, line_width=1.3, line_dash="dashed", **style
        )
        return [losses, charges]

    @property
    def view(self) -> Any:
        learning_rate, momentum, decay = self._numbers.values()
        left = pn.Column(
            self._model,
            self._allowed,
            self._data,
            self._rule,
            pn.Row(learning_rate, momentum),
            pn.Row(decay, self._seed),
            pn.Row(self._steps, self._batch),
            pn.Row(self._start, self._stop),
            self._status,
            width=330,
        )
        legend = pn.pane.Markdown(
            "Thick: measured, in the colour of its row below. Dashed: predicted by the "
            "law, from the start alone."
        )
        figures = pn.Row(*(pn.pane.Bokeh(f) for f in self._drawn))
        return pn.Row(left, pn.Column(figures, legend, self._tables))

    def close(self) -> None:
        self._worker.close()

    def _ruled(self, event: Any) -> None:
        for name, (_, rules) in _NUMBERS.items():
            self._numbers[name].visible = event.new in rules
        self._numbers["learning_rate"].value = (
            0.05 if event.new == "heavy-ball" else 0.001
        )

    def _ended(self, event: Any) -> None:
        self._worker.stop()
        self._say("Stopped.")
        self._start.disabled, self._stop.disabled = False, True

    async def _run(self, event: Any) -> None:
        asked = self._asked()
        if asked.model and not self._allowed.value:
            self._refuse(
                f"`{asked.model}` is code of yours. Tick `run the code of this "
                "module` to have it imported and run."
            )
            return
        self._start.disabled, self._stop.disabled = True, False
        self._tables[:] = []
        self._say("Looking for symmetries.")
        try:
            async for part in self._worker.answers(lesson, asked):
                if isinstance(part, Table):
                    self._tables.extend(_shown(part))
                    if part.heading == "Symmetries":
                        self._say("Compiling the training.")
                else:
                    self._say(f"{len(part.losses)} of {asked.steps} steps")
                    # Figures change only where the document is locked.
                    pn.state.execute(partial(self._draw, part), schedule=True)
        except LagrangianError as error:
            self._refuse(str(error))
        self._start.disabled, self._stop.disabled = False, True

    def _asked(self) -> Lesson:
        rule = self._rule.value
        numbers = {n: f.value for n, f in self._numbers.items() if f.visible}
        return Lesson(
            self._model.value.strip(),
            self._data.value.strip(),
            rule,
            tuple(numbers.items()),
            self._steps.value,
            self._batch.value,
            self._seed.value,
        )

    def _say(self, text: str) -> None:
        self._status.object = preformatted(text, "verdict")

    def _refuse(self, text: str) -> None:
        self._status.object = preformatted(text)

    def _draw(self, found: Progress) -> None:
        steps = np.arange(1, len(found.losses) + 1)
        self._losses.data = {"step": steps, "loss": found.losses}
        measured, predicted = _none(), _none()
        for curve, colour in zip(found.curves, _COLOURS, strict=False):
            low, size = curve.measured.min(), np.ptp(curve.measured) or 1.0
            for kept, values in (
                (measured, curve.measured),
                (predicted, curve.predicted),
            ):
                if values is not None:
                    kept["x"].append(curve.steps)
                    kept["y"].append((values - low) / size)
                    kept["colour"].append(colour)
        self._curves.data, self._laws.data = measured, predicted


def _none() -> dict[str, Any]:
    return {"x": [], "y": [], "colour": []}


def _shown(table: Table) -> list[Any]:
    return [
        pn.pane.Markdown(f"### {table.heading}"),
        pn.pane.HTML(preformatted(table.text, "table"), width=900, stylesheets=[STYLE]),
    ]
