"""What a command prints: text for people, JSON for programs, or LaTeX for papers."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lagrangian.files import write_atomically


class Output:
    """The standard output of one command, in the form that its options ask for.

    With `--json` and `--latex` nothing else is printed than what `give` is given.
    """

    def __init__(self, options: argparse.Namespace):
        self.json: bool = options.json
        self.latex: bool = getattr(options, "latex", False)

    def line(self, text: object = "") -> None:
        """Print a line for people, at once."""
        if not (self.json or self.latex):
            print(text)

    def give(self, data: Any, latex: str = "") -> None:
        """Print the result as a whole, where it is asked for in that form."""
        if self.json:
            print(as_json(data))
        elif self.latex:
            print(latex)

    def write(self, folder: Path | None, name: str, data: Any, latex: str = "") -> None:
        """Write the result to a folder, if there is one: NAME.json and NAME.tex."""
        if folder is None:
            return
        texts = {".json": as_json(data) + "\n"}
        if latex:
            texts[".tex"] = latex + "\n"
        for suffix, text in texts.items():
            path = folder / f"{name}{suffix}"
            write_atomically(path, lambda file, text=text: file.write(text.encode()))
            self.line(f"Wrote {path}.")


def as_json(data: Any) -> str:
    """Strict JSON: what is no number is null, and arrays are lists."""
    return json.dumps(_plain(data), indent=2, allow_nan=False)


def _plain(data: Any) -> Any:
    if hasattr(data, "tolist"):
        data = data.tolist()
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if data is None or isinstance(data, bool | int | str):
        return data
    return str(data)
