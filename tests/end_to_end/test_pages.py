"""The examples of the README and of the documentation run as they stand there.

In order, page by page, in an empty folder with nothing defined, as by copy and paste.
Where a block of text follows one of Python, it is what that prints, up to numbers that
are rounding.
"""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tutorials", "how-to", "explanations")
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs" / name for name in ("index.md", "start.md", "discover.md")),
        *(page for name in FOLDERS for page in (ROOT / "docs" / name).glob("*.md")),
    ]
)
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.M | re.S)
ROUNDING = re.compile(r"-?\b(\d(\.\d+)?e-(09|[12]\d)|0(\.0)?e\+00)\b")


@pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)
def test_the_examples_run(page, tmp_path, monkeypatch, capsys):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    names: dict = {"__name__": "__main__"}
    checker = doctest.OutputChecker()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    try:
        for found in BLOCK.finditer(text):
            code, expected = found.groups()
            above = "\n" * text[: found.start(1)].count("\n")  # for the lines of errors
            exec(compile(above + code, str(page), "exec"), names)
            printed = capsys.readouterr().out
            if expected is None:
                continue
            pair = (ROUNDING.sub("rounding", t) for t in (expected, printed))
            assert checker.check_output(*pair, options), (
                f"after\n{code}\nthe page says\n{expected}\nand it was\n{printed}"
            )
    finally:
        pyplot.close("all")
    assert names.keys() > {"lg"}, "nothing was run"
