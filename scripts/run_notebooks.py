"""Runs notebooks and stores their outputs in them, so that a forge shows them:

    python scripts/run_notebooks.py [notebooks/01_first_light.ipynb ...]

What is stored is the same on every run: no times, no paths, no names of machines, and a
slider as the picture that it starts with.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"
MOST_BYTES = 300_000
_PICTURE = "image/png"
_WIDGET = "application/vnd.jupyter.widget-view+json"
#: What belongs to one machine or one run.
_PRIVATE = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|work|usr|opt|Users|private|var)/"
    r"|[A-Z]:\\|site-packages|\b0x[0-9a-f]{6,}|Warning\b|Traceback"
)


def run(file: Path) -> None:
    """Execute a notebook, and store its outputs in it."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.widget_registry = {}  # as in notebooks/conftest.py
    client.execute(cwd=str(file.parent))
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            still = [o for o in cell.outputs if _WIDGET not in o.get("data", {})]
            cell.outputs = [_small(output) for output in still]
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
        "source": digest(notebook),
    }
    text = nbformat.writes(notebook) + "\n"
    if found := faults(text):
        raise SystemExit(f"{file.name} is not stored: {'; '.join(found)}")
    file.write_text(text)


def digest(notebook: Any) -> str:
    """Of the code: stored outputs are those of the cells that they stand under."""
    code = ["".join(cell["source"]) for cell in _code(notebook)]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _small(output: Any) -> Any:
    """An output with its picture in 64 colours, a third of the size."""
    from PIL import Image

    if "metadata" in output:
        output["metadata"] = {}
    if picture := output.get("data", {}).get(_PICTURE):
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        file = io.BytesIO()
        few = image.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, "png", optimize=True)
        output["data"][_PICTURE] = base64.b64encode(file.getvalue()).decode()
    return output


def faults(text: str) -> list[str]:
    """What must not be stored in a notebook, and what has to be and is not."""
    found = []
    notebook = json.loads(text)
    cells = _code(notebook)
    outputs = [output for cell in cells for output in cell["outputs"]]
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("its cells were not executed once each, from the first on")
    if notebook["metadata"].get("source") != digest(notebook):
        found.append("its outputs are of another source")
    if not any(_PICTURE in output.get("data", {}) for output in outputs):
        found.append("it has no picture")
    for output in outputs:
        data = output.get("data", {})
        parts = [x for kind, x in data.items() if kind != _PICTURE]
        said = "\n".join("".join(part) for part in [*parts, output.get("text", "")])
        if output["output_type"] == "error" or output.get("name") == "stderr":
            found.append(f"an error or a warning: {said[:200]}")
        elif private := _PRIVATE.search(said):
            found.append(f"`{private[0]}` in an output: {said[:200]}")
        if _WIDGET in data:
            found.append("a widget, which shows nothing without a kernel")
    if (size := len(text.encode())) > MOST_BYTES:
        found.append(f"it has {size:,} bytes, and at most {MOST_BYTES:,} are stored")
    return found


if __name__ == "__main__":
    # As a reader has it: the cache of JAX writes into standard error what it thinks of.
    for variable in [name for name in os.environ if name.startswith("JAX_")]:
        del os.environ[variable]
    chosen = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for notebook_file in chosen:
        print(f"Running {notebook_file.name} ...", flush=True)
        run(notebook_file)
