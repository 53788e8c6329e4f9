"""What an object shows at a prompt: itself in a few lines, and what to write next."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from lagrangian.tables import escaped


class AtPrompt:
    """`str` says what it is; `repr` ends with the next step, and completion offers it.

    A subclass writes `__str__`, in a few lines whatever its size. A notebook shows the
    formula of `_repr_latex_` where there is one, or what `_in_notebook` yields.
    """

    #: What one writes next, such as "`.equations`, `.hamiltonian`".
    _next: ClassVar[str] = ""
    #: Public names that only the engine calls, which completion leaves out.
    _engine: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        return f"{self}\n  next: {self._next}"

    def __dir__(self) -> Iterable[str]:
        """Without the engine's names and private ones; dunder names stay."""
        return [
            name
            for name in super().__dir__()
            if name not in self._engine and (name[0] != "_" or name[:2] == "__")
        ]

    def _in_notebook(self) -> Iterable[str]:
        """Its parts in HTML, by `formula`, `words`, `line` and `html_table`."""
        latex = getattr(self, "_repr_latex_", None)
        yield words(str(self)) if latex is None else formula(latex())

    def _repr_html_(self) -> str:
        return "\n".join([*self._in_notebook(), small(f"next: {self._next}")])


def formula(latex: str) -> str:
    """LaTeX, with or without its dollars, as a display that MathJax sets."""
    bare = latex.strip("$").removeprefix(r"\displaystyle ")
    return f"<div>$$ {escaped(bare, mathematics=True)} $$</div>"


def words(text: str) -> str:
    """Text as a terminal shows it, in lines that wrap."""
    return f'<pre style="white-space: pre-wrap">{escaped(text)}</pre>'


def line(text: str) -> str:
    """A line of text, with `code` in backticks."""
    return f"<div>{_code(escaped(text))}</div>"


def small(text: str) -> str:
    """The same, less prominent."""
    return f'<div style="opacity: 0.7; font-size: 90%">{_code(escaped(text))}</div>'


def prose(text: str) -> str:
    """Paragraphs and lists of Markdown, with `code`, **bold** and LaTeX in dollars."""
    parts = []
    for paragraph in text.strip().split("\n\n"):
        listed = re.sub(r"\s*\n(?=- )", "<br>", escaped(paragraph, mathematics=True))
        bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", _code(listed))
        parts.append(f"<p>{bold}</p>")
    return "\n".join(parts)


def _code(html: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html)
