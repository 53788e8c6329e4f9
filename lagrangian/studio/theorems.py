"""The tab on which theorems are verified."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.studio.components import STYLE, Formulas, preformatted
from lagrangian.studio.worker import Worker
from lagrangian.theorems.catalogue import NAMES, title_and_source, verify


@dataclass(frozen=True)
class Verified:
    """What the page shows of a verification.

    Attributes:
        text: its table and verdict.
        derivation: formulas in LaTeX.
        figure: a PNG file.
    """

    holds: bool
    text: str
    derivation: tuple[str, ...]
    figure: bytes
    json: str


def verified(name: str, seed: int, quick: bool) -> Iterator[str | Verified]:
    """Sentences on what is being done, and what came of it.

    Raises:
        LagrangianError: from `verify`.
    """
    said: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            said.put(verify(name, seed, report=said.put, quick=quick))
        except BaseException as error:
            said.put(error)

    threading.Thread(target=run, daemon=True).start()
    while isinstance(sentence := said.get(), str):
        yield sentence
    if isinstance(sentence, BaseException):
        raise sentence
    file = io.BytesIO()
    sentence.figure().savefig(file, format="png", dpi=90)
    yield Verified(
        sentence.holds, str(sentence), sentence.evidence.derivation, file.getvalue(),
        sentence.to_json(),
    )  # fmt: skip


class Theorems:
    """A card for each theorem; one is run at a time, with a seed."""

    def __init__(self) -> None:
        self._worker = Worker("lagrangian.studio.theorems")
        self._found: Verified | None = None
        titles = {f"{name}: {title_and_source(name)[0]}": name for name in NAMES}
        self._name = pn.widgets.Select(
            options=titles, size=14, width=460, css_classes=["theorem-names"]
        )
        self._seed = pn.widgets.IntInput(name="Seed", value=0, start=0, width=100)
        self._quick = pn.widgets.Checkbox(name="the short version", value=True)
        self._start = pn.widgets.Button(
            name="Verify", button_type="primary", width=100, css_classes=["verify"]
        )
        self._stop = pn.widgets.Button(name="Stop", width=80, disabled=True)
        self._status = pn.pane.HTML("", width=420, stylesheets=[STYLE])
        self._statement = pn.pane.Markdown("", width=700)
        self._derivation = Formulas(width=700)
        self._figure = pn.pane.PNG(None, width=800)
        self._table = pn.pane.HTML("", width=900, stylesheets=[STYLE])
        self._file = pn.widgets.FileDownload(
            callback=self._report, filename="theorem.json", label="Report (.json)"
        )
        self._name.param.watch(self._chosen, "value")
        self._start.on_click(self._run)
        self._stop.on_click(self._ended)

    @property
    def view(self) -> Any:
        left = pn.Column(
            self._name,
            pn.Row(self._seed, self._quick),
            pn.Row(self._start, self._stop),
            self._status,
            self._file,
        )
        right = pn.Column(self._statement, self._derivation, self._figure, self._table)
        return pn.Row(left, right)

    def close(self) -> None:
        self._worker.close()

    def _chosen(self, event: Any) -> None:
        self._clear()
        self._statement.object = f"Source: {title_and_source(event.new)[1]}"

    def _clear(self) -> None:
        self._worker.stop()
        self._found = None
        self._derivation.rows, self._figure.object, self._table.object = [], None, ""
        self._say("")
        self._start.disabled, self._stop.disabled = False, True

    def _ended(self, event: Any) -> None:
        self._clear()
        self._say("Stopped.")

    async def _run(self, event: Any) -> None:
        name = self._name.value
        self._clear()
        self._start.disabled, self._stop.disabled = True, False
        self._say("Beginning.")
        asked = name, self._seed.value, self._quick.value
        try:
            async for part in self._worker.answers(verified, *asked):
                if isinstance(part, str):
                    self._say(part)
                else:
                    self._show(part)
        except LagrangianError as error:
            self._status.object = preformatted(str(error))
        if self._name.value == name:
            self._start.disabled, self._stop.disabled = False, True

    def _show(self, found: Verified) -> None:
        self._found = found
        verdict = "every claim holds, and every control fails, as it must"
        self._say(verdict if found.holds else "refuted: see the table")
        self._derivation.rows = [
            {"section": "Derived", "latex": line, "text": "", "remark": ""}
            for line in found.derivation
        ]
        self._figure.object = found.figure
        self._table.object = preformatted(found.text, "table")

    def _say(self, text: str) -> None:
        self._status.object = preformatted(text, "verdict")

    def _report(self) -> io.StringIO | None:
        return io.StringIO(self._found.json) if self._found else None
