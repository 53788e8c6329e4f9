"""The examples of the README and of the documentation run as they stand there.

In order, page by page, in an empty folder with nothing defined, as by copy and paste.
Where a block of text follows one of Python, it is what that prints, up to numbers that
are rounding.
"""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tutorials", "how-to", "explanations")
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("index", "start")),
        *(ROOT / "docs" / f"{name}.md" for name in ("data", "discover")),
        *(page for name in FOLDERS for page in (ROOT / "docs" / name).glob("*.md")),
    ]
)
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.M | re.S)
ROUNDING = re.compile(r"-?\b(\d(\.\d+)?e-(09|[12]\d)|0(\.0)?e\+00)\b")


def readers_data(folder, text):
    """What the reader of docs/data.md has: files, a network and a recorded run."""
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(96, 6)).astype(np.float32)
    np.savez(folder / "data.npz", inputs=inputs, targets=(inputs[:, 0] > 0).astype(int))
    (network,) = (code for code, _ in BLOCK.findall(text) if "class Network" in code)
    (folder / "mymodel.py").write_text(network)
    shapes = {
        "layers.0.weight": (32, 6),
        "layers.3.weight": (2, 32),
        "layers.3.bias": (2,),
    }
    shapes |= {f"layers.1.{x}": (32,) for x in ("weight", "bias", "running_mean")}
    weights = {name: chance.normal(size=shape) for name, shape in shapes.items()}
    np.savez(folder / "weights.npz", **weights, **{"layers.1.running_var": np.ones(32)})
    w, towards = chance.normal(size=(2, 4, 5))
    p, path, slopes, losses = np.zeros_like(w), [w], [], []
    for _ in range(20):  # descent of the sum of <w/|w|, towards>, as PyTorch's SGD
        size = np.linalg.norm(w, axis=1, keepdims=True)
        along = (w * towards).sum(axis=1, keepdims=True) * w / size**2
        slopes.append((towards - along) / size)
        losses.append((w / size * towards).sum())
        p = 0.9 * p + slopes[-1] + 1e-3 * w
        w = w - 0.05 * p
        path.append(w)
    return {"weights": np.stack(path), "gradients": np.stack(slopes), "losses": losses}


def readers_network(folder, text):
    """What the reader of docs/discover.md trains."""
    import lagrangian as lg

    def loss(model, batch):
        return ((batch @ model["w"]) ** 2).mean() / (model["w"] ** 2).sum()

    batch = np.random.default_rng(0).normal(size=(32, 3))
    model, rule = {"w": np.ones(3)}, lg.HeavyBall(0.01, momentum=0.9)
    return {"model": model, "loss": loss, "batch": batch, "rule": rule, "lg": lg}


#: What a page says the reader brings.
BRINGS = {"data.md": readers_data, "discover.md": readers_network}


@pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)
def test_the_examples_run(page, tmp_path, monkeypatch, capsys):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = page.read_text()
    names: dict = {"__name__": "__main__"}
    names |= BRINGS.get(page.name, lambda *_: {})(tmp_path, text)
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
    if page.name == "data.md":
        assert names["lg"].check(names["run"]).holds
