"""What a command does to the process that it runs in, and takes back at its end."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress

from lagrangian.errors import LagrangianError

#: Set to anything, it shows where an unforeseen error came from.
TRACEBACK = "LAGRANGIAN_TRACEBACK"


@contextmanager
def shell() -> Generator[None, None, None]:
    """Inside, nothing reaches the screen raw, and figures need no screen.

    Warnings and log messages, of whichever library, are one line each.
    """
    _hold_standard_streams()
    ours = {"MPLBACKEND": "Agg"}  # figures go to files, whatever is set
    if not os.environ.get(TRACEBACK):
        # Messages of XLA are not Python's. JAX itself sets this for its children.
        ours["TF_CPP_MIN_LOG_LEVEL"] = "3"
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
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
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _hold_standard_streams() -> None:
    """Put something in the place of closed ones.

    The next file that is opened would get the number of one, and with it what XLA
    writes to standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def say(message: str) -> None:
    """Write a line to standard error, if it takes one."""
    with suppress(OSError):
        if sys.stderr is not None:
            print(f"lagrangian: {message}", file=sys.stderr)


@contextmanager
def ended_at_once() -> Generator[None, None, None]:
    """Inside, Ctrl-C ends the process: while XLA compiles, Python would not hear it.

    To be used where nothing would be saved on the way out.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def flush() -> None:
    """Write out what was printed, while an error can still be answered."""
    if sys.stdout is not None:
        sys.stdout.flush()


def abandon_output() -> None:
    """Drop what the streams do not take; Python would complain of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show(message: Warning | str, *_: object, **__: object) -> None:
    say(f"note: {' '.join(str(message).split())}")


def _in_one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = " ".join(record.getMessage().split()), None
    record.exc_info = record.exc_text = record.stack_info = None
    return True


def check_backend() -> None:
    """Raise if JAX has nothing to compute with.

    Raises:
        LagrangianError: says what the environment asks for.
    """
    try:
        import jax
    except ValueError as error:  # one of its own settings
        raise LagrangianError(
            f"JAX cannot be loaded: {error}. Unset that variable, or mend it."
        ) from None
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
