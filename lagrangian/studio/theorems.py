"""The tab on which theorems are verified."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.studio.cards import Cards
from lagrangian.studio.formulas import Formulas
from lagrangian.studio.style import columns, main, preformatted, side, table, text
from lagrangian.studio.worker import Worker, reported
from lagrangian.theorems.catalogue import NAMES, chapter, title_and_source, verify
from lagrangian.theorems.theorem import Verification

#: What the chapters are about.
_CHAPTERS = {
    "dynamics": "What training obeys",
    "conservation": "What training keeps",
    "adaptive": "Steps that adapt",
    "noise": "What noise does",
    "depth": "Depth",
}


@dataclass(frozen=True)
class Verified:
    """What the page shows of a verification.

    Attributes:
        statement: Markdown with formulas between dollars.
        derivation: formulas in LaTeX.
        cells, good: of its table.
        ending: name, verdict, seed and time.
        figure: a PNG file.
    """

    holds: bool
    statement: str
    derivation: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    good: tuple[bool | None, ...]
    ending: str
    figure: bytes
    json: str


def verified(name: str, seed: int, quick: bool) -> Iterator[str | Verified]:
    """Sentences on what is being done, and what came of it.

    Raises:
        LagrangianError: from `verify`.
    """
    work = lambda report: verify(name, seed, report=report, quick=quick)
    for found in reported(work):
        yield found if isinstance(found, str) else _shown(found)


def _shown(found: Verification) -> Verified:
    file = io.BytesIO()
    found.figure().savefig(file, format="png", dpi=110)
    claims = found.evidence.claims
    return Verified(
        found.holds,
        found.theorem.statement,
        found.evidence.derivation,
        tuple(found.cells()),
        tuple(claim.is_as_expected for claim in claims),
        f"{found.theorem.name}: {found.verdict}, seed {found.seed}, "
        f"{found.seconds:.1f} s",
        file.getvalue(),
        found.to_json(),
    )


@cache
def _items() -> list[dict[str, str]]:
    items = []
    for name in NAMES:
        title, source = title_and_source(name)
        heading = _CHAPTERS.get(chapter(name), chapter(name).capitalize())
        items.append(
            {"name": name, "title": title, "source": source, "chapter": heading}
        )
    order = list(dict.fromkeys([*_CHAPTERS.values(), *(i["chapter"] for i in items)]))
    return sorted(items, key=lambda item: order.index(item["chapter"]))


class Theorems:
    """A card for each theorem; one is run at a time, with a seed."""

    def __init__(self) -> None:
        self._worker = Worker("lagrangian.studio.theorems")
        self._found: Verified | None = None
        self._cards = Cards(
            items=_items(),
            chosen=_items()[0]["name"],
            sizing_mode="stretch_width",
            margin=(8, 10),
        )
        self._seed = pn.widgets.IntInput(name="Seed", value=0, start=0, width=90)
        self._quick = pn.widgets.Checkbox(
            name="the short version", value=True, margin=(30, 10, 0, 5)
        )
        self._start = pn.widgets.Button(
            name="Verify", button_type="primary", width=100, css_classes=["verify"],
            margin=(24, 5, 0, 5),
        )  # fmt: skip
        self._stop = pn.widgets.Button(
            name="Stop", width=80, disabled=True, margin=(24, 5, 0, 5)
        )
        self._bar = pn.indicators.Progress(
            active=True, value=-1, visible=False, sizing_mode="stretch_width"
        )
        self._head, self._status = text(), text()
        self._derivation = Formulas(sizing_mode="stretch_width", margin=(0, 10))
        self._figure = pn.pane.PNG(None, sizing_mode="scale_width", max_width=900)
        self._table = text()
        self._file = pn.widgets.FileDownload(
            callback=self._report, filename="theorem.json", label="Report (.json)",
            button_type="default", visible=False, width=160,
        )  # fmt: skip
        self._cards.param.watch(self._chosen, "chosen")
        self._start.on_click(self._run)
        self._stop.on_click(self._ended)
        self._introduce()

    @property
    def view(self) -> Any:
        ask = pn.FlexBox(self._seed, self._quick, self._start, self._stop)
        return columns(
            side(self._cards),
            main(
                self._head, ask, self._bar, self._status, self._derivation,
                self._figure, self._table, self._file,
            ),
        )  # fmt: skip

    def close(self) -> None:
        self._worker.close()

    def _introduce(self) -> None:
        title, source = title_and_source(self._cards.chosen)
        self._head.object = (
            f'<h2>{escape(title)}</h2><p class="hint">{escape(source)}</p>'
        )

    def _chosen(self, event: Any) -> None:
        self._clear()
        self._introduce()

    def _clear(self) -> None:
        self._worker.stop()
        self._found = None
        self._derivation.rows, self._figure.object, self._table.object = [], None, ""
        self._file.visible = False
        self._say("")
        self._busy(False)

    def _busy(self, busy: bool) -> None:
        self._start.disabled, self._stop.disabled = busy, not busy
        self._bar.visible = busy

    def _ended(self, event: Any) -> None:
        self._clear()
        self._say("Stopped.")

    async def _run(self, event: Any) -> None:
        name = self._cards.chosen
        self._clear()
        self._busy(True)
        self._say("Loading what it needs.")
        asked = name, self._seed.value, self._quick.value
        try:
            async for part in self._worker.answers(verified, *asked):
                if isinstance(part, str):
                    self._say(part)
                else:
                    self._show(part)
                    said = "verified" if part.holds else "refuted"
                    self._cards.verdicts = self._cards.verdicts | {name: said}
        except LagrangianError as error:
            self._status.object = preformatted(str(error))
        if self._cards.chosen == name:
            self._busy(False)

    def _show(self, found: Verified) -> None:
        self._found = found
        verdict = "every claim holds, and every control fails, as it must"
        if found.holds:
            self._say(f"Verified: {verdict}.", "verdict good")
        else:
            self._say("Refuted: see the table.", "verdict bad")
        self._derivation.rows = [
            {"section": "Statement", "prose": found.statement},
            *({"section": "Derived", "latex": line} for line in found.derivation),
        ]
        self._figure.object = found.figure
        ending = f'<p class="hint">{escape(found.ending)}</p>'
        self._table.object = f"{table(found.cells, found.good)}{ending}"
        self._file.filename = f"{self._cards.chosen}.json"
        self._file.visible = True

    def _say(self, said: str, kind: str = "verdict") -> None:
        self._status.object = preformatted(said, kind) if said else ""

    def _report(self) -> io.StringIO | None:
        return io.StringIO(self._found.json) if self._found else None
