"""How the page looks: its style, how its parts are laid out, tables and texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import panel as pn

INK, QUIET, LINE, ACCENT = "#1c2733", "#55626f", "#d9e0e7", "#0b5c9e"
#: Of the page: no fonts or files from elsewhere.
STYLE = f"""
:host, body {{ font-family: system-ui, sans-serif; color: {INK}; }}
h1 {{ font-weight: 650; font-size: 1.35rem; margin: 0; letter-spacing: -.01em; }}
h1 small {{ font-weight: 400; font-size: .85rem; color: {QUIET}; margin-left: .4em; }}
h2 {{ font-size: .95rem; font-weight: 650; margin: 4px 0 2px; }}
p {{ margin: 4px 0; line-height: 1.45; }}
p.hint, .hint {{ color: {QUIET}; font-size: .86rem; }}
pre {{ margin: 4px 0; font-size: .85em; }}
pre.mistake {{ color: #9b1c1c; background: #fdf3f3; border-left: 3px solid #c53030;
               padding: 8px 10px; white-space: pre-wrap; overflow-wrap: anywhere; }}
pre.mistake:empty {{ display: none; }}
pre.motion, pre.verdict {{ color: {QUIET}; white-space: pre-wrap; font-size: .88rem;
                           font-family: inherit; }}
pre.verdict.good {{ color: #17633a; font-weight: 600; }}
pre.verdict.bad {{ color: #9b1c1c; font-weight: 600; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .86rem; width: 100%; }}
th {{ text-align: left; color: {QUIET}; font-weight: 600; white-space: nowrap; }}
th, td {{ padding: 4px 12px 4px 0; border-bottom: 1px solid #eaeff3;
          vertical-align: top; overflow-wrap: break-word; }}
td.number {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
td.good {{ color: #17633a; }}
td.bad {{ color: #9b1c1c; font-weight: 600; }}
tr.asked td {{ border-bottom: 0; }}
tr.why td {{ padding-top: 0; }}
details {{ color: {INK}; font-weight: 400; white-space: normal; max-width: 80ch; }}
summary {{ cursor: pointer; color: {ACCENT}; }}
"""
#: Of widgets: what is shown and cannot be changed is read all the same.
READ_ONLY = f"""
textarea.bk-input[disabled] {{ opacity: 1; color: {INK}; background: #f7f9fb;
                     -webkit-text-fill-color: {INK}; cursor: text;
                     font-family: ui-monospace, monospace; font-size: .82rem; }}
"""
#: Expressions are read letter by letter.
TYPED = "textarea, input { font-family: ui-monospace, monospace; font-size: .88rem; }"


def columns(*parts: Any, **options: Any) -> Any:
    """Side by side where there is room, else below each other."""
    return pn.FlexBox(*parts, gap="12px 28px", sizing_mode="stretch_width", **options)


def side(*parts: Any) -> Any:
    """What is set, at the left."""
    return pn.Column(*parts, width=350, styles={"flex": "0 0 350px"})


def main(*parts: Any) -> Any:
    """What comes of it: all the width that is left, and no more than there is."""
    return pn.Column(
        *parts,
        sizing_mode="stretch_width",
        styles={"flex": "1 1 480px", "min-width": "0"},
    )


def cell(*parts: Any, width: int = 380) -> Any:
    """One of several results that share a line where there is room."""
    flex = f"1 1 {width}px"
    return pn.Column(
        *parts, sizing_mode="stretch_width", styles={"flex": flex, "min-width": "0"}
    )


def text(html: str = "", **options: Any) -> Any:
    """A pane of text in the page's style."""
    return pn.pane.HTML(
        html, sizing_mode="stretch_width", stylesheets=[STYLE], **options
    )


def table(
    cells: Sequence[Sequence[str]],
    good: Sequence[bool | None],
    notes: Sequence[Sequence[str]] = (),
) -> str:
    """A table in HTML; whatever was typed is text in it.

    Args:
        cells: of each row, the header first. The last cell of a row is its verdict.
        good: of each row but the header, whether that is as one hopes.
        notes: of each row but the header, what is read when one asks why.
    """
    head, *rows = cells
    lines = ["<tr>", *(f"<th>{escape(name)}</th>" for name in head), "</tr>"]
    for i, row in enumerate(rows):
        *first, last = row
        lines.append('<tr class="asked">' if notes and notes[i] else "<tr>")
        for one in first:
            number = "number" if one[:1].isdigit() or one[:1] == "-" else ""
            lines.append(f'<td class="{number}">{escape(one)}</td>')
        kind = {True: "good", False: "bad", None: ""}[good[i]]
        lines.append(f'<td class="{kind}">{escape(last)}</td></tr>')
        if notes and notes[i]:
            asked = "Why?" if good[i] else "Why does this law fail?"
            said = "".join(f"<p>{escape(note)}</p>" for note in notes[i])
            why = f"<details><summary>{asked}</summary>{said}</details>"
            lines.append(f'<tr class="why"><td colspan="{len(row)}">{why}</td></tr>')
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def preformatted(text: str, kind: str = "mistake") -> str:
    """A text in HTML as it stands; whatever was typed is text in it."""
    return f'<pre class="{kind}">{escape(text)}</pre>'
