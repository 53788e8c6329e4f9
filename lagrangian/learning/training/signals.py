"""A request to end is an error like Ctrl-C, so that a run is saved on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ending_in_order() -> Generator[None, None, None]:
    """Inside, SIGTERM and SIGHUP raise SystemExit, once, where Python comes by.

    Only those that would end the process without a word: a handler of the user's, and
    `nohup`, stay. Only the main thread can do this; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGHUP")
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [s for s in known if signal.getsignal(s) is signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for each in ours:  # what is saved on the way out is not to be cut short
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for each in ours:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
