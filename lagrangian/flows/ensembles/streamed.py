"""The results of an ensemble in files on the disk, of which no more is held at once."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import naming, opened, sync
from lagrangian.flows.ensembles.chunks import digest_of, save_chunk, saved_chunk

#: So many times the results of its members are held while a chunk is computed: by XLA
#: and its loop, as they were copied, and as they are written.
_COPIES = 6


def bytes_of_chunk(memory: int, workers: int, least: int) -> int:
    """How large the results of a chunk may be, for all workers to stay within `memory`.

    Args:
        least: those of the smallest chunk.

    Raises:
        LagrangianError: not even one of these fits; says what does.
    """
    most = memory // (_COPIES * workers)
    if most < least:
        raise LagrangianError(
            f"`memory` is {memory:,} bytes, and the fewest members that are computed "
            f"at once need {least * _COPIES * workers:,}. Pass that, or keep fewer "
            "times."
        )
    return most


class Streamed:
    """Arrays whose first axis are the members, in a file of NumPy each.

    Chunks are filled in by several threads, in any order. A chunk is there once its
    small file says so, with digests of its rows, which is written last.
    """

    def __init__(self, folder: Path, members: int):
        self.folder, self.members = folder, members
        self._lock, self._made = Lock(), dict[str, int]()

    def save(
        self,
        number: int,
        states: Sequence[np.ndarray],
        start: int,
        parts: Mapping[str, np.ndarray],
    ) -> None:
        """Keep the chunk that begins with the member `start`.

        Raises:
            CannotSave: the operating system refuses; names the file.
        """
        digests = {}
        for name, part in parts.items():
            rows = np.ascontiguousarray(part[: len(states[0])])
            path = self._path(name)
            with naming(path):
                begin = self._begin(name, rows)
                with opened(path, new=False) as file:
                    file.seek(begin + start * rows[0].nbytes)
                    file.write(rows.data)
                    sync(file)
            digests[name] = np.array(digest_of([rows]))
        save_chunk(self.folder, number, states, digests)

    def has(self, number: int, states: Sequence[np.ndarray], start: int) -> bool:
        """Whether that chunk is there, and what its rows were."""
        digests = saved_chunk(self.folder, number, states)
        if digests is None:
            return False
        rows = slice(start, start + len(states[0]))
        try:
            return all(
                digest_of([self._read(name)[rows]]) == str(digest)
                for name, digest in digests.items()
            )
        # As of chunks: whatever is wrong, its members are computed anew.
        except Exception:
            return False

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """All of the results, read where and when they are looked at."""
        return {name: self._read(name) for name in names}

    def names(self) -> list[str]:
        """Of the arrays, as the first chunk has them."""
        with np.load(self.folder / "000000.npz", allow_pickle=False) as saved:
            return [name for name in saved.files if name != "chunk"]

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe=' ')}.npy"

    def _read(self, name: str) -> np.ndarray:
        return np.load(self._path(name), mmap_mode="r", allow_pickle=False)

    def _begin(self, name: str, rows: np.ndarray) -> int:
        """Where the rows begin in the file of an array, which is made if need be."""
        with self._lock:
            if name in self._made:
                return self._made[name]
            path, header = self._path(name), io.BytesIO()
            shape = self.members, *rows.shape[1:]
            layout: Any = {"descr": rows.dtype.str, "fortran_order": False}
            np.lib.format.write_array_header_1_0(header, layout | {"shape": shape})
            with opened(path, new=not path.exists()) as file:
                file.write(header.getvalue())
                file.truncate(header.tell() + self.members * rows[0].nbytes)
            self._made[name] = header.tell()
            return header.tell()
