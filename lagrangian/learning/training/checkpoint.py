"""The state of a training run in a folder, so that a killed run goes on bit for bit.

    run.json                what run it is, and the versions that it was begun with
    states/000000001500     the state after so many steps; the newest two are kept
    losses.npy, ...         the records (rows.py)
    .lock                   held by the one process that writes here

A state is a line with the SHA-256 of all that follows, a line of JSON, and the bytes of
the arrays. It names its run, and has the digests of the records as far as it goes: what
does not fit is told from what does, whatever happened to the folder in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import CannotSave, LagrangianError
from lagrangian.files import (
    LOCK,
    naming,
    one_writer,
    open_regular,
    remove_unfinished,
    write_atomically,
)
from lagrangian.learning.training.fingerprint import data_of, is_key
from lagrangian.learning.training.identity import Identity
from lagrangian.learning.training.recorder import Mark

#: Seconds between two saved states.
INTERVAL = 10.0
#: How many states are kept.
_KEPT = 2
_FORMAT = 2


class _Damaged(Exception):
    """A state that cannot be gone on from; says why."""


class Checkpoint:
    """A folder with the states of one run; in a `with`, its only writer.

    Args:
        folder: made if it does not exist.
        identity: what must be the same for a run to be continued here.

    Raises:
        LagrangianError: the folder holds another run, or other files; or another
            process writes there.
        CannotSave: the operating system refuses.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Identity):
        self.folder = Path(folder).absolute()
        self._states, self._identity = self.folder / "states", identity
        self._last, self._at = time.monotonic(), -1

    def __enter__(self) -> Checkpoint:
        if self.folder.exists() and not self.folder.is_dir():
            raise LagrangianError(
                f"`checkpoint`: {self.folder} is a file. Pass a folder, or a new name."
            )
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if self._is_foreign():
            raise LagrangianError(
                f"`checkpoint`: the folder {self.folder} has files in it, but no run. "
                "Pass an empty or a new folder."
            )
        self._lock = one_writer(self.folder, "checkpoint")
        self._lock.__enter__()
        try:
            with naming(self.folder):
                self._states.mkdir(exist_ok=True)
                remove_unfinished(self.folder)
                remove_unfinished(self._states)
            self._check()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.__exit__(None, None, None)
        if isinstance(error, CannotSave):
            raise CannotSave(
                f"{error} Saved in {self.folder} is the run until step "
                f"{self._saved_steps}: make room, and make the same call again, which "
                "goes on from there.",
                error.errno,
                error.run,
            ) from error

    @property
    def _known(self) -> Path:
        return self.folder / "run.json"

    def _is_foreign(self) -> bool:
        """Whether there are files, which are not the beginnings of a run."""
        if self._known.exists():
            return False
        begun = (LOCK, self._states.name)
        return any(
            not (file.name in begun or file.name.startswith(f".{self._known.name}."))
            for file in self.folder.iterdir()
        )

    def _check(self) -> None:
        if not self._known.exists():
            text = json.dumps(self._identity.as_json() | {"format": _FORMAT}, indent=2)
            write_atomically(self._known, lambda file: file.write(text.encode()))
            return
        try:
            with open_regular(self._known) as file:
                there = json.load(file)
            is_ours = there["format"] == _FORMAT and {"about", "versions"} <= set(there)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            is_ours = False
        if not is_ours:
            raise LagrangianError(
                f"`checkpoint`: {self._known} is damaged, or of another version of "
                "this library. Put it back, or pass another folder."
            )
        self._identity.check(there, self.folder)

    def restore(self, carry: Any) -> tuple[Mark | None, Any]:
        """The newest state that is whole, and how far it goes.

        Warns of those that are not.

        Returns:
            None and `carry` if nothing was saved yet.

        Raises:
            LagrangianError: states were saved, and none of them is whole.
        """
        files = self._saved()
        for file in reversed(files):
            try:
                mark, restored = self._read(file, carry)
            except (_Damaged, OSError) as error:
                warnings.warn(
                    f"`checkpoint`: the state {file} is skipped: it {error}.",
                    stacklevel=3,
                )
                continue
            self._at = mark.steps
            return mark, restored
        if files:
            raise LagrangianError(
                f"`checkpoint`: none of the states in {self._states} is whole. Put one "
                "back, or begin anew in another folder."
            )
        return None, carry

    def _saved(self) -> list[Path]:
        """The states, the oldest first."""
        return sorted(file for file in self._states.iterdir() if file.name.isdecimal())

    @property
    def _saved_steps(self) -> int:
        """The step of the newest state; 0 if there is none."""
        return max((int(file.name) for file in self._saved()), default=0)

    def _read(self, file: Path, carry: Any) -> tuple[Mark, Any]:
        if not file.is_file():
            raise _Damaged("is no file")
        digest, _, content = file.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise _Damaged("is damaged: cut off or altered")
        header, _, data = content.partition(b"\n")
        about = json.loads(header)  # what has its digest was written by `save`
        if about["run"] != self._identity.name or about["step"] != int(file.name):
            raise _Damaged("belongs to another run or step")
        leaves, structure = jax.tree.flatten(carry)
        wanted = [np.asarray(data_of(leaf)) for leaf in leaves]
        if about["leaves"][:-1] != [_kind(array) for array in wanted]:
            raise _Damaged("has arrays of other shapes")
        arrays, start = [], 0
        for (_, shape), like in zip(about["leaves"], [*wanted, None], strict=True):
            # The closing products, the last, are of the dtype that the header says.
            dtype = np.dtype(about["closing"]) if like is None else like.dtype
            size = int(np.prod(shape)) * dtype.itemsize
            array = np.frombuffer(data[start : start + size], np.uint8)
            arrays.append(array.view(dtype).reshape(shape))
            start += size
        restored = [_like(leaf, array) for leaf, array in zip(leaves, arrays)]  # noqa: B905
        mark = Mark(about["step"], about["records"], np.array(arrays[-1]))
        return mark, jax.tree.unflatten(structure, restored)

    @property
    def is_due(self) -> bool:
        """Whether the last state is older than `INTERVAL`."""
        return time.monotonic() - self._last >= INTERVAL

    def save(self, mark: Mark, carry: Any) -> None:
        """Save a state, whole or not at all, and remove those that it replaces.

        Raises:
            CannotSave: the operating system refuses.
        """
        self._last = time.monotonic()
        if mark.steps == self._at:
            return
        path = self._states / f"{mark.steps:012d}"
        leaves = [np.asarray(data_of(leaf)) for leaf in jax.tree.leaves(carry)]
        leaves.append(mark.closing)
        about = {
            "run": self._identity.name,
            "step": mark.steps,
            "records": dict(mark.digests),
            "leaves": [_kind(array) for array in leaves],
            "closing": str(mark.closing.dtype),
        }
        parts = [json.dumps(about).encode() + b"\n"]
        parts += [np.ascontiguousarray(array).tobytes() for array in leaves]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)

        def write(file: Any) -> None:
            file.write(digest.hexdigest().encode() + b"\n")
            for part in parts:
                file.write(part)

        write_atomically(path, write)
        saved = self._saved()
        # Those beyond are the damaged ones that were skipped.
        beyond = [file for file in saved if int(file.name) > mark.steps]
        until = [file for file in saved if int(file.name) <= mark.steps]
        with naming(self.folder):
            for file in [*beyond, *until[:-_KEPT]]:
                file.unlink()
        self._at = mark.steps


def _kind(array: np.ndarray) -> list[Any]:
    return [str(array.dtype), list(array.shape)]


def _like(leaf: Any, data: Any) -> Any:
    if is_key(leaf):
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jnp.asarray(data, leaf.dtype)
