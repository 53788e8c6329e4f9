"""The finished chunks of an ensemble in a folder: each knows which members it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lagrangian.errors import CannotSave
from lagrangian.files import naming, open_regular, write_atomically

#: The array of a chunk's file that says what the others are.
_ABOUT = "chunk"


def chunk_folder(
    folder: Path, flow: Any, arrays: Sequence[np.ndarray], settings: Any
) -> Path:
    """The folder of this very ensemble's chunks within the user's."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((flow.fingerprint, settings)).encode())
    path = folder / digest.hexdigest()[:16]
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def chunk_file(folder: Path, number: int) -> Path:
    """Where a chunk is kept."""
    return folder / f"{number:06d}.npz"


def save_chunk(
    folder: Path, number: int, states: Sequence[np.ndarray], parts: Mapping[str, Any]
) -> None:
    """Keep a chunk, with its number and digests of its initial states and results.

    Raises:
        CannotSave: the operating system refuses; names the chunk.
    """
    about = np.array(_about(number, states, parts))
    try:
        write_atomically(
            chunk_file(folder, number),
            lambda file: np.savez(file, allow_pickle=False, **{_ABOUT: about}, **parts),
        )
    except CannotSave as error:
        raise CannotSave(
            f"{error} The chunks before it are kept in {folder}: make room, and make "
            "the same call again.",
            error.errno,
        ) from error


def saved_chunk(
    folder: Path, number: int, states: Sequence[np.ndarray]
) -> dict[str, np.ndarray] | None:
    """A finished chunk; None if there is none, or anything but this one there."""
    try:
        # NumPy leaves a file open that it opened and found damaged.
        with open_regular(chunk_file(folder, number)) as handle:
            with np.load(handle, allow_pickle=False) as saved:
                parts = dict(saved)
            about = str(parts.pop(_ABOUT))
    # A damaged or odd file ends NumPy and zipfile in any of a dozen exceptions, and
    # whatever it is, its members are computed anew.
    except Exception:
        return None
    return parts if about == _about(number, states, parts) else None


def _about(
    number: int, states: Sequence[np.ndarray], parts: Mapping[str, np.ndarray]
) -> str:
    return (
        f"{number} {digest_of(states)} {digest_of([parts[k] for k in sorted(parts)])}"
    )


def digest_of(arrays: Sequence[np.ndarray]) -> str:
    """Of their types, shapes and contents."""
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
