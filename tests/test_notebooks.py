"""The notebooks as they are stored: with their outputs, as a forge shows them.

That they run is for `make notebooks`.
"""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def script():
    file = ROOT / "scripts" / "run_notebooks.py"
    spec = importlib.util.spec_from_file_location("run_notebooks", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_are_stored(file, script):
    """`python scripts/run_notebooks.py` stores them anew."""
    assert script.faults(file.read_text()) == []


def test_there_are_six():
    assert [file.name[:2] for file in NOTEBOOKS] == [f"0{i}" for i in range(1, 7)]


def said(text):
    return {"output_type": "stream", "name": "stdout", "text": [text]}


SPOILT = {
    "of another source": lambda cell: cell["source"].append("\n1 + 1"),
    "not executed once": lambda cell: cell.update(execution_count=7),
    "an error or a warning": lambda cell: cell["outputs"].append(
        said("careful") | {"name": "stderr"}
    ),
    "`/home/` in an output": lambda cell: cell["outputs"].append(said("/home/x")),
    "`0x7f0d2c3a1b` in": lambda cell: cell["outputs"].append(
        said("<T at 0x7f0d2c3a1b>")
    ),
    "a widget": lambda cell: cell["outputs"].append(
        {
            "output_type": "display_data",
            "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}},
        }
    ),
    "at most 300,000": lambda cell: cell["outputs"].append(said(300_000 * "x")),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_fault_is_found(fault, script):
    notebook = json.loads(NOTEBOOKS[0].read_text())
    SPOILT[fault](next(c for c in notebook["cells"] if c["cell_type"] == "code"))
    (found,) = script.faults(json.dumps(notebook))
    assert fault in found


def test_a_slider_leaves_a_picture():
    cells = [
        cell
        for file in NOTEBOOKS
        for cell in json.loads(file.read_text())["cells"]
        if "interact(" in "".join(cell["source"])
    ]
    assert len(cells) >= 6
    for cell in cells:
        assert ["image/png" in output["data"] for output in cell["outputs"]] == [True]


def test_a_notebook_without_pictures_is_found(script):
    notebook = json.loads(NOTEBOOKS[0].read_text())
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)
    assert script.faults(json.dumps(notebook)) == ["it has no picture"]
