"""Write docs/theorems.md and a page for each theorem, by verifying it.

python scripts/document_theorems.py [NAME ...]

With names, only the pages and pictures of these are made anew; the index always is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lagrangian.files import write_atomically
from lagrangian.theorems.catalogue import NAMES, title_and_source, verify

DOCS = Path(__file__).parents[1] / "docs"
PREAMBLE = """\
# The theorems

What `lagrangian verify NAME` shows. Each theorem is derived by the engine, predicts
numbers, measures them, and is tried where a hypothesis is broken: a *control*, which
must fail. It is *verified* if every claim holds and every control fails. These pages
are written by `make theorems`; your own run prints the same table, and writes it with
every number in full to `results/NAME.json`, the figure beside it. In the pictures
coloured dashes are predicted, grey lines and black points are measured, and what is
orange-red is a control.

"""


LEFT_OUT = """
## Looked at, and left out

- Bouchard, Ben Lazreg & Toews (2022) relate bottleneck activations of convolutional
  networks to an angle of each class. On the digits we find that angle in the pixels
  already, and no gain from a head that learns it; what is exact about such a head,
  the torque of its labels, is in `discrete-noether`.
- Chauvin, Wells & Toews (2022) make keypoint descriptors invariant to contrast
  inversion and parity. Nothing learns there, so that no law of learning is at
  stake.
- Gao, Zhou & Shi (2023) embed events so that their regularity does not depend on
  absolute time. To shift all times is an equivariance, which moves the data as
  well: training conserves no charge for it.
- Li, Wu and others (2024) schedule the learning rates of two modules by how far
  each moves the output. That uses no symmetry; the charges between adjacent layers
  are in `conservation-laws`.
- Leal Filho, Paul & Frohlich (2024) compare trainings that keep physical properties
  of a plant. Theirs are properties of the model that is learnt, not of the
  learning.
- Albanese, Alemanno, Alessandrelli & Barra (2022) study replica symmetry breaking
  in dense Hopfield networks: statistics at equilibrium, without a learning rule.
"""


def index() -> str:
    """A line and a small picture for every theorem."""
    lines = ["| | theorem | |", "| --- | --- | --- |"]
    for name in NAMES:
        title, _ = title_and_source(name)
        page = f"theorems/{name}.md"
        picture = f"[![{name}](theorems/{name}-small.png)]({page})"
        lines.append(f"| {picture} | [{name}]({page}) | {title} |")
    return PREAMBLE + "\n".join(lines) + "\n" + LEFT_OUT


def write_page(name: str) -> None:
    """Verify a theorem, and write its page with both pictures."""
    found = verify(name, report=lambda sentence: print(f"{name}: {sentence}"))
    if not found.holds:
        raise SystemExit(f"{name} is {found.verdict}:\n{found}")
    _write_picture(name, found.figure(), 70)
    _write_picture(f"{name}-small", found.thumbnail(), 80)
    _write(
        f"theorems/{name}.md",
        f"# {name}\n\n{found.to_markdown()}\n\n"
        f"![{found.theorem.title}]({name}.png)\n\n"
        f"Run it: `lagrangian verify {name}`. [All theorems](../theorems.md)\n",
    )


def _write_picture(name: str, figure: Any, dpi: int) -> None:
    path = DOCS / "theorems" / f"{name}.png"
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=dpi))


def _write(name: str, text: str) -> None:
    write_atomically(DOCS / name, lambda file: file.write(text.encode()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    for name in parser.parse_args().names:
        write_page(name)
    _write("theorems.md", index())


if __name__ == "__main__":
    main()
