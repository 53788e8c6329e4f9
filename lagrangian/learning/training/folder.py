"""A folder of records that grows from call to call, and knows what it holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.files import LOCK, naming, one_writer, open_regular, write_atomically
from lagrangian.learning.training.observed import Layout

_ABOUT = "records.json"
_FORMAT = 1


class Folder:
    """Where records are streamed to; `about` is None until something was written."""

    def __init__(self, path: Path):
        self.path = path
        self.about: Mapping[str, Any] | None = None
        if (path / _ABOUT).exists():
            self.about = self._read()
        elif any(f.name != LOCK and f.suffix != ".npy" for f in path.iterdir()):
            raise LagrangianError(
                f"`folder`: {path} has files in it that are no records. Pass an empty "
                "or a new folder."
            )

    def _read(self) -> Mapping[str, Any]:
        try:
            with open_regular(self.path / _ABOUT) as file:
                about = json.load(file)
            if about["format"] == _FORMAT and isinstance(about["start"], int):
                return about
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        raise LagrangianError(
            f"`folder`: {self.path / _ABOUT} is damaged, or of another version of this "
            "library. Put it back, or pass another folder."
        )

    def check(self, records: str) -> None:
        """Raise unless it is new, or has records of this kind."""
        if self.about is not None and self.about.get("records") != records:
            raise LagrangianError(
                f"`folder`: {self.path} has the records of other laws, or of a model "
                "of another form. Pass another one."
            )

    def write(self, start: int, records: str) -> None:
        """Say what is there, once it is there."""
        about = {"format": _FORMAT, "start": start, "records": records}
        if about != self.about:
            text = json.dumps(about).encode()
            write_atomically(self.path / _ABOUT, lambda file: file.write(text))


@contextmanager
def one_folder(folder: str | os.PathLike[str]) -> Generator[Folder, None, None]:
    """A folder, made if it does not exist, with this process as its one writer.

    Raises:
        LagrangianError: a file of that name, other files in it, or another writer.
        CannotSave: the operating system refuses.
    """
    path = Path(folder).absolute()
    if path.exists() and not path.is_dir():
        raise LagrangianError(f"`folder`: {path} is a file. Pass a folder.")
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)
    with one_writer(path, "folder"):
        yield Folder(path)


def kind_of(layout: Layout) -> str:
    """A digest of what the rows of a state mean."""
    observation = layout.observation
    lines = [f"{layout.shapes} {layout.sizes} {layout.dtype}"]
    for law in observation.laws:
        terms = observation.terms[law].items()
        lines += [f"{law.symmetry!r} {name}: {sp.srepr(term)}" for name, term in terms]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
