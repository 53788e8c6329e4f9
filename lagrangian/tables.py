"""Tables of text, for terminals and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

#: A row of cells; the first of a table is its header.
Cells = Sequence[Sequence[str]]

#: At a prompt, of a table.
MOST_ROWS = 20


def text_table(cells: Cells) -> list[str]:
    """The lines of a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return lines


def shortened(cells: Cells) -> Cells:
    """The header and the first rows; the last row says how many are left out."""
    left = len(cells) - 1 - MOST_ROWS
    if left <= 0:
        return cells
    more = (f"... and {left} more", *("" for _ in cells[0][1:]))
    return [*cells[: 1 + MOST_ROWS], more]


def markdown_table(cells: Cells) -> list[str]:
    """The lines of the same table in Markdown."""
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in cells]
    lines = ["| " + " | ".join(line) + " |" for line in escaped]
    lines.insert(1, "|" + " --- |" * len(cells[0]))
    return lines


def html_table(cells: Cells) -> str:
    """The same table in HTML."""
    lines = [_html_line(row, "td") for row in cells[1:]]
    head = _html_line(cells[0], "th")
    return "\n".join(["<table>", f"<thead>{head}</thead>", *lines, "</table>"])


def _html_line(row: Sequence[str], tag: str) -> str:
    style = ' style="text-align: left"'
    return f"<tr>{''.join(f'<{tag}{style}>{escaped(c)}</{tag}>' for c in row)}</tr>"


def escaped(text: str, *, mathematics: bool = False) -> str:
    """Text for HTML; what MathJax would take for a formula only where it is one.

    >>> escaped("<w, x> costs $5")
    '&lt;w, x&gt; costs <span>$</span>5'
    """
    text = escape(text, quote=False)
    if mathematics:
        return text
    # A tag ends the text in which MathJax looks for `$`, `\\(` and `\\begin`.
    return text.replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")
