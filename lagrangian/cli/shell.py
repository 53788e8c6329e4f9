"""What a command does to the process that it runs in, and takes back at its end."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from lagrangian.errors import LagrangianError

#: Set to anything, it shows where an unforeseen error came from.
TRACEBACK = "LAGRANGIAN_TRACEBACK"


@contextmanager
def shell() -> Generator[None, None, None]:
    """Inside, nothing reaches the screen raw, and figures need no screen.

    Warnings and log messages, of whichever library, are one line each.
    """
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"  # figures go to files, whatever is set
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("lagrangian: note: %(message)s"))
    handler.addFilter(_in_one_line)
    logging.getLogger().addHandler(handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name of bytes that are no text is shown all the same.
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show  # ty: ignore[invalid-assignment]
            yield
    finally:
        logging.getLogger().removeHandler(handler)
        if backend is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = backend


def _show(message: Warning | str, *_: object, **__: object) -> None:
    print(f"lagrangian: note: {' '.join(str(message).split())}", file=sys.stderr)


def _in_one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = " ".join(record.getMessage().split()), None
    record.exc_info = record.exc_text = record.stack_info = None
    return True


def check_backend() -> None:
    """Raise if JAX has nothing to compute with.

    Raises:
        LagrangianError: says what the environment asks for.
    """
    import jax

    try:
        jax.default_backend()
    except RuntimeError as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise LagrangianError(
            f"JAX cannot compute here: {str(error).splitlines()[0].rstrip('.')}. "
            f"`JAX_PLATFORMS` is `{asked}`: unset it, or set it to `cpu`."
        ) from None


def unforeseen(error: BaseException) -> str:
    """What is said of an error that nobody has thought of."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for this. Ask for less, such as `--points`."
    if isinstance(error, RecursionError):
        return "an expression is nested too deeply. Multiply out where you can."
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"this failed in a way that was not foreseen: {what}. Set {TRACEBACK}=1 to see "
        "where, and please report it."
    )
