"""Buttons that save what is shown: arrays, system, notebook, pictures and films."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.studio.exports import (
    arrays,
    film,
    has_ffmpeg,
    mp4,
    notebook,
    picture,
)
from lagrangian.studio.style import preformatted, text
from lagrangian.systems.spec_text import toml


class ExportButtons:
    """One a kind; they wait until something was computed.

    Args:
        what: gives the motion, its rods, and (typed, end, tol, solver, points, surface)
            for a notebook.
    """

    def __init__(self, what: Callable[[], Any]):
        self._what = what
        self._mistake = text()
        kinds: dict[str, tuple[str, Callable[[], Any]]] = {
            "Path (.npz)": ("path.npz", self._arrays),
            "System (.toml)": ("system.toml", self._toml),
            "Notebook (.ipynb)": ("motion.ipynb", self._notebook),
            "Figures (.png)": ("motion.png", lambda: picture(what()[0])),
            "Film (.gif)": ("motion.gif", lambda: film(*what()[:2])),
        }
        if has_ffmpeg():
            kinds["Film (.mp4)"] = ("motion.mp4", lambda: mp4(*what()[:2]))
        self._buttons = [
            pn.widgets.FileDownload(
                callback=self._careful(save), filename=name, label=label, disabled=True,
                button_type="default", width=148, margin=(3, 10),
            )
            for label, (name, save) in kinds.items()
        ]  # fmt: skip

    @property
    def view(self) -> Any:
        hint = "" if has_ffmpeg() else (
            '<p class="hint">An .mp4 needs ffmpeg, which is not installed here.</p>'
        )  # fmt: skip
        return pn.Column(
            text("<h2>Save</h2>"), pn.FlexBox(*self._buttons), text(hint),
            self._mistake, sizing_mode="stretch_width",
        )  # fmt: skip

    def ready(self) -> None:
        """There is something to be saved."""
        for button in self._buttons:
            button.disabled = False

    def _careful(self, save: Callable[[], Any]) -> Callable[[], Any]:
        def saved() -> Any:
            self._mistake.object = ""
            try:
                return save()
            except LagrangianError as error:
                self._mistake.object = preformatted(str(error))
                return io.BytesIO(str(error).encode())

        return saved

    def _arrays(self) -> io.BytesIO:
        return arrays(self._what()[0])

    def _toml(self) -> io.StringIO:
        typed, end, tol, *_ = self._what()[2]
        return io.StringIO(toml(typed.spec | {"t": end, "tol": tol}))

    def _notebook(self) -> io.StringIO:
        return io.StringIO(notebook(*self._what()[2]))
