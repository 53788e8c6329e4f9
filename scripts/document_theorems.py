"""Write docs/theorems.md and its figures from a verification of every theorem.

python scripts/document_theorems.py [NAME ...]

With names, only the figures and tables of these are made anew; the text of the others
is kept as the page has it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from lagrangian.files import write_atomically
from lagrangian.theorems.catalogue import NAMES, verify

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "theorems.md"
PREAMBLE = """\
# The theorems

What `lagrangian verify NAME` shows. Each theorem is derived by the engine, predicts
numbers, measures them, and is tried where a hypothesis is broken: a *control*, which
must fail. It is *verified* if every claim holds and every control fails. This page is
written by `make theorems`; your own run prints the same table, and writes it with every
number in full to `results/NAME.json`, the figure beside it.

"""


def section(name: str) -> str:
    """Verify a theorem, draw its figure, and return its part of the page."""
    found = verify(name, report=lambda sentence: print(f"{name}: {sentence}"))
    if not found.holds:
        raise SystemExit(f"{name} is {found.verdict}:\n{found}")
    figure = found.figure()
    picture = DOCS / "theorems" / f"{name}.png"
    write_atomically(picture, lambda file: figure.savefig(file, format="png", dpi=70))
    return (
        f"## {name}\n\n{found._repr_markdown_()}\n\n"
        f"![{found.theorem.title}](theorems/{name}.png)\n\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    chosen = parser.parse_args().names
    text = PAGE.read_text() if PAGE.exists() else ""
    kept = dict(re.findall(r"^(## (?:.*)\n)((?:(?!^## ).*\n)*)", text, re.MULTILINE))
    parts = [
        section(name)
        if name in chosen
        else f"## {name}\n" + kept.get(f"## {name}\n", "")
        for name in NAMES
    ]
    page = PREAMBLE + "".join(parts).rstrip() + "\n"
    write_atomically(PAGE, lambda file: file.write(page.encode()))


if __name__ == "__main__":
    main()
