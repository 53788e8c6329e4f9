"""The figures of a motion: portrait, energy, charges, section and cloud."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from lagrangian.plots import PALETTE
from lagrangian.studio.exports import drift
from lagrangian.studio.motion import Cloud, Motion, Section

#: Below rounding all errors are alike, and a logarithm has no zero.
_LEAST = 1e-17
#: Of the solver, of the one beside it, and of what is between them.
_SOLVERS = (("solver", PALETTE[0], "solid"), ("beside it", "#d55e00", "dashed"),
            ("between them", PALETTE[1], "dotted"))  # fmt: skip


class Figures:
    """Bokeh's figures with their data. They change only where the document is locked.

    Attributes:
        portrait, errors, charges, section: panes.
    """

    def __init__(self) -> None:
        self._phase = ColumnDataSource({"q": [0.0], "v": [0.0]})
        self._cloud = ColumnDataSource({"q": [], "v": []})
        self._errors = [ColumnDataSource(_error(None)) for _ in _SOLVERS]
        self._laws = ColumnDataSource({"t": [], "c": [], "law": [], "colour": []})
        self._crossings = ColumnDataSource({"q": [], "v": []})

        self._portrait = _figure("q", "dq/dt")
        self._portrait.line("q", "v", source=self._phase, color=PALETTE[0])
        self._portrait.scatter("q", "v", source=self._cloud, size=3, color="#d55e00",
                               alpha=0.5)  # fmt: skip
        self._energy = _figure("t", "error", y_axis_type="log")
        for source, (name, colour, dash) in zip(self._errors, _SOLVERS, strict=True):
            self._energy.line("t", "e", source=source, color=colour, line_dash=dash,
                              legend_label=name)  # fmt: skip
        self._energy.legend.location = "bottom_right"
        self._energy.legend.click_policy = "hide"
        self._energy.legend.label_text_font_size = "8pt"
        self._curves = _figure("t", "charge")
        style: dict[str, Any] = {"source": self._laws, "line_color": "colour"}
        self._curves.multi_line("t", "c", line_width=4, line_alpha=0.35, **style)
        self._curves.multi_line("t", "law", line_dash="dashed", **style)
        self._dots = _figure("q", "dq/dt")
        self._dots.scatter("q", "v", source=self._crossings, size=3, color=PALETTE[0])
        self.portrait, self.errors, self.charges, self.section = (
            pn.pane.Bokeh(one, sizing_mode="stretch_width")
            for one in (self._portrait, self._energy, self._curves, self._dots)
        )
        self.section.visible = False

    def show(self, shown: Sequence[Motion], between: np.ndarray | None) -> None:
        """Errors of the energy's law, and charges beside theirs."""
        for source, one in zip(self._errors, [*shown, None], strict=False):
            source.data = _error(one)
        drawn = [True, len(shown) > 1, between is not None]
        for item, visible in zip(self._energy.legend.items, drawn, strict=True):
            item.visible = visible
        self._errors[2].data = _error(None)
        if between is not None:
            t = shown[0].t[: len(between)]
            self._errors[2].data = {"t": t, "e": np.maximum(between, _LEAST)}
        charges = shown[0].charges
        self._laws.data = {
            "t": [shown[0].t for _ in charges],
            "c": [charge.measured for charge in charges],
            "law": [charge.predicted for charge in charges],
            "colour": [PALETTE[i % len(PALETTE)] for i in range(len(charges))],
        }
        self.clear_cloud()

    def show_portrait(self, found: Motion, column: int) -> None:
        """The path of one coordinate with its velocity."""
        self._phase.data = {"q": found.q[:, column], "v": found.v[:, column]}
        _label(self._portrait, found.names[column])

    def show_cloud(self, found: Cloud, column: int) -> None:
        """Where the members are at the end."""
        self._cloud.data = {"q": found.q[:, -1, column], "v": found.v[:, -1, column]}

    def clear_cloud(self) -> None:
        self._cloud.data = {"q": [], "v": []}

    def show_section(self, found: Section | None, column: int) -> None:
        """The crossings in the plane of one coordinate and its velocity."""
        self.section.visible = found is not None
        if found is None:
            self._crossings.data = {"q": [], "v": []}
            return
        self._crossings.data = {"q": found.q[:, column], "v": found.v[:, column]}
        _label(self._dots, found.names[column])


def legend(found: Motion) -> str:
    """The names of the charges in their colours, each with the error of its law."""
    said = []
    for i, charge in enumerate(found.charges):
        colour = PALETTE[i % len(PALETTE)]
        kind = "kept" if charge.is_conserved else "moved as its law says"
        name = escape(charge.name)
        said.append(
            f'<span style="color:{colour}">&#9632;</span> {name}, {kind} up to '
            f"{charge.error:.1e}"
        )
    return "<br>".join(said)


def _figure(x: str, y: str, **kind: Any) -> Any:
    return figure(
        height=260, sizing_mode="stretch_width", x_axis_label=x, y_axis_label=y,
        tools="pan,wheel_zoom,box_zoom,reset,save", toolbar_location="above", **kind,
    )  # fmt: skip


def _label(one: Any, name: str) -> None:
    one.xaxis.axis_label, one.yaxis.axis_label = name, f"{name}.dot"


def _error(found: Motion | None) -> dict[str, Any]:
    if found is None:
        return {"t": [], "e": []}
    return {"t": found.t, "e": np.maximum(drift(found), _LEAST)}
