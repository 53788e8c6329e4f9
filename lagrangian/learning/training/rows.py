"""Rows that a training run adds to: in memory, or in a `.npy` file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import naming, opened, sync

#: Bytes that are read at a time.
_BLOCK = 2**22


class MemoryRows:
    """Rows in an array that holds all there will be."""

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: Any):
        self._array = np.empty((rows, *shape), _storable(dtype))

    def put(self, start: int, rows: np.ndarray, *, passing: bool = False) -> None:
        """Write rows from the position `start` on."""
        self._array[start : start + len(rows)] = rows

    def array(self, rows: int) -> np.ndarray:
        """The first rows."""
        return self._array[:rows]


class FileRows:
    """Rows in a `.npy` file, written as files are written: never mapped.

    A write to a mapped file of which the disk has no room ends the process without a
    word (SIGBUS); this one raises. The file holds what was put so far, under a header
    of one length for any number of rows, and a digest of the rows is kept along.

    Nothing is opened before `create` or `resume`. Every method raises CannotSave where
    the operating system refuses.

    Args:
        path: of the file.
        shape: of a row.
        dtype: of its entries.
        argument: by which the user named its folder.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: Any,
        argument: str = "checkpoint",
    ):
        self.path, self._shape, self._dtype = path, shape, _storable(dtype)
        self._argument = argument
        self._bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._offset = len(self._header(0))
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    def create(self) -> None:
        """Begin with the first row, in the place of whatever is there."""
        with naming(self.path):
            self._file = opened(self.path, new=not self.path.exists())

    def close(self) -> None:
        """Close the file, whatever became of it."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:  # what it had to say was said when it was written
            pass

    def put(self, start: int, rows: np.ndarray, *, passing: bool = False) -> None:
        """Write rows from the position `start` on.

        Args:
            start: how many there are before them.
            rows: in the order in which they are digested.
            passing: whether other rows will take their place, so that they do not count
                for the digest.
        """
        data = np.ascontiguousarray(rows, self._dtype).tobytes()
        self._write(self._offset + start * self._bytes, data)
        if not passing:
            self._digest.update(data)

    @property
    def digest(self) -> str:
        """Of the rows that were put, from the first one on."""
        return self._digest.hexdigest()

    def resume(self, rows: int, digest: str) -> None:
        """Go on behind the first rows, if they are those with this digest.

        Raises:
            LagrangianError: they are not; says what is wrong with the file.
        """
        if not self.path.is_file():
            raise self._refused("is missing, or no file")
        with naming(self.path):
            self._file = opened(self.path, new=False)
        self._check_kind(self._file)
        self._file.seek(self._offset)
        left = rows * self._bytes
        while left and (block := self._file.read(min(left, _BLOCK))):
            self._digest.update(block)
            left -= len(block)
        if left:
            raise self._refused(f"is cut off: {rows} rows were written to it")
        if self._digest.hexdigest() != digest:
            raise self._refused("was altered: its rows are not those that were written")

    def reopen(self) -> int:
        """Go on behind the rows that `finish` left; returns how many those are.

        Raises:
            LagrangianError: the file is missing, damaged, or that of other rows.
        """
        if not self.path.is_file():
            raise self._refused("is missing, or no file")
        with naming(self.path):
            self._file = opened(self.path, new=False)
            size = self.path.stat().st_size
        rows = self._check_kind(self._file)
        if rows is None or size < self._offset + rows * self._bytes:
            raise self._refused("is cut off, or no file of NumPy")
        return rows

    def read(self, start: int, stop: int) -> np.ndarray:
        """Some of the rows, which must have been written."""
        assert self._file is not None, "create, resume or reopen comes first"
        with naming(self.path):
            self._file.seek(self._offset + start * self._bytes)
            data = self._file.read((stop - start) * self._bytes)
        return np.frombuffer(data, self._dtype).reshape(stop - start, *self._shape)

    def finish(self, rows: int) -> None:
        """Write the header for so many rows, and have them on the disk."""
        file = self._write(0, self._header(rows))
        with naming(self.path):
            sync(file)

    def array(self, rows: int) -> np.ndarray:
        """The first rows, read from the file as they are used."""
        self.finish(rows)
        if not rows * self._bytes:
            return np.empty((rows, *self._shape), self._dtype)
        return np.load(self.path, mmap_mode="r")

    def _write(self, position: int, data: bytes) -> BinaryIO:
        assert self._file is not None, "create or resume comes first"
        with naming(self.path):
            self._file.seek(position)
            self._file.write(data)
            self._file.flush()
        return self._file

    def _header(self, rows: int) -> bytes:
        # NumPy leaves room for any number of rows.
        header = io.BytesIO()
        about = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(header, about)
        return header.getvalue()

    def _check_kind(self, file: BinaryIO) -> int | None:
        """How many rows the header says there are; None if it is torn.

        Raises:
            LagrangianError: it is that of other rows.
        """
        try:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        # What a torn header ends in: tokenize and ast have errors of their own.
        except Exception:
            return None
        if (shape[1:], dtype) != (self._shape, self._dtype):
            raise self._refused(
                f"is foreign: its rows are {dtype} of shape {shape[1:]}, and this "
                f"run's are {self._dtype} of shape {self._shape}"
            )
        return int(shape[0])

    def _refused(self, what: str) -> LagrangianError:
        return LagrangianError(
            f"`{self._argument}`: {self.path} {what}. Put the file back, or begin "
            "anew in another folder."
        )


def _storable(dtype: Any) -> np.dtype:
    """The dtype, or one that holds its numbers and that `.npy` knows (bfloat16)."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.kind == "V" else dtype
