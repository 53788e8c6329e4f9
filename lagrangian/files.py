"""Files that are written whole or not at all, and folders with one writer.

Everything that this library promises to keep goes through here: what is at a path is
what was there before, or all of what was to be there, on the disk and not only on its
way. A fault is named by the path that the user knows.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lagrangian.errors import CannotSave, LagrangianError

#: How a file is called that is not finished: `.NAME.RANDOM.unfinished`.
UNFINISHED = ".unfinished"
#: Of the file that a writer of a folder holds.
LOCK = ".lock"
#: Seconds without a write after which nobody is writing to an unfinished file.
_ABANDONED = 3600.0


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], object]
) -> Path:
    """Let `write` fill a temporary file, and move it into place once it is complete.

    An interrupt, an error, or the death of the process leaves what stood at `path`
    before; what returns stands on the disk. Who may read it is told by the umask.

    Raises:
        CannotSave: the operating system refuses; names `path`.
    """
    path = Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent, path.name, _ABANDONED)
        name = f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}"
        temporary = path.with_name(name)
        try:
            with opened(temporary) as file:
                write(file)
                sync(file)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    return path


def write_figure(path: Path, draw: Callable[[], Any]) -> str:
    """Save what `draw` makes, a Matplotlib figure; says so, or why there is none.

    Figures come last: without Matplotlib no result is lost.

    Raises:
        CannotSave: the operating system refuses.
    """
    try:
        figure = draw()
    except ModuleNotFoundError as error:
        return (
            f"There is no figure, for which {error.name} is needed: "
            "`pip install 'lagrangian[demo]'`."
        )
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
    return f"Wrote {path}."


def opened(path: Path, *, new: bool = True) -> BinaryIO:
    """A file to write to: a new one, or one that is there, which keeps its content."""
    flags = os.O_CREAT | os.O_EXCL if new else 0
    handle = os.open(path, os.O_RDWR | flags | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(handle, "r+b")


def sync(file: BinaryIO) -> None:
    """Have what was written on the disk before anything else is done."""
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Generator[None, None, None]:
    """Turn an error of the operating system into one that names the user's path.

    Args:
        path: what the user knows; not a temporary file beside it.
    """
    try:
        yield
    except CannotSave:
        raise
    except OSError as error:
        place = error.filename or ""
        inside = f" ({place})" if _is_elsewhere(place, Path(path)) else ""
        raise CannotSave(
            f"`{path}` could not be written: {_why(error)}{inside}. Make room, or pass "
            "a place where you may write.",
            error.errno,
        ) from error


def _is_elsewhere(place: object, path: Path) -> bool:
    """Whether an error is about a parent of `path`, or about another file."""
    name = os.fsdecode(place) if isinstance(place, str | bytes) else ""
    own = name.endswith(UNFINISHED) or Path(name).absolute() == path.absolute()
    return bool(name) and not own


def check_writable(path: str | os.PathLike[str], argument: str) -> None:
    """Raise now if a file could not be written at `path` later.

    Args:
        path: of a file; its folder is made.
        argument: how messages call it.

    Raises:
        LagrangianError: names the path.
    """
    path = Path(path)
    if path.is_dir():
        raise LagrangianError(
            f"`{argument}`: {path} is a folder. Pass the name of a file in it."
        )
    trial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with opened(trial) as file:
                file.write(b"0" * 4096)
                sync(file)
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise LagrangianError(
            f"`{argument}`: `{path}` cannot be written: {_why(error)}. Pass a place "
            "where you may write."
        ) from error


def _why(error: OSError) -> str:
    """The system's words, but for a file where a folder is needed."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        path = Path(os.fsdecode(error.filename))
        files = [p for p in (path, *path.parents) if p.exists() and not p.is_dir()]
        return f"{files[0] if files else path} is no folder"
    return error.strerror or str(error) or type(error).__name__


def open_regular(path: Path) -> BinaryIO:
    """A file to read from; a pipe or a device, which might never end, is none.

    Raises:
        OSError: the operating system refuses, or it is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is no regular file")


def remove_unfinished(folder: Path, name: str = "", older: float = 0.0) -> None:
    """Remove what dead writers left in a folder, as far as that is possible.

    Args:
        folder: where to look, not deeper.
        name: of the file that was to be written; any if empty.
        older: seconds since its last change, for folders that others write to.
    """
    for file in folder.iterdir():
        if not (file.name.startswith(f".{name}") and file.name.endswith(UNFINISHED)):
            continue
        try:
            if time.time() - file.stat().st_mtime >= older:
                file.unlink()
        except OSError:  # somebody else removed it, or it is not ours to remove
            pass


@contextmanager
def one_writer(
    folder: Path, argument: str, *, wait: bool = False, name: str = LOCK
) -> Generator[None, None, None]:
    """Be the only process, and the only thread, that writes to a folder.

    The operating system frees the folder when the process ends, however it ends.

    Args:
        folder: where the lock lies; it must exist.
        argument: how messages call it.
        wait: for another one to end; otherwise that is an error.
        name: of the lock.

    Raises:
        LagrangianError: another one writes there, or there are no locks here.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            warnings.warn(
                f"`{argument}`: another run writes to {folder} right now. This one "
                "waits until it has ended, and uses what it wrote.",
                stacklevel=4,
            )
            lock.acquire()
    except Timeout:
        raise LagrangianError(
            f"`{argument}`: another run writes to {folder} right now. Wait until it "
            "has ended, or pass another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise LagrangianError(
            f"`{argument}`: no lock can be had in {folder}: {error}. Pass a folder "
            "on a file system with locks, where you may write."
        ) from error
    try:
        yield
    finally:
        lock.release()
