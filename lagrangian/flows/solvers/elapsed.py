"""A clock for what runs as one compiled program, and says nothing on its way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

from tqdm import tqdm

#: Seconds until it shows, and between two looks at it.
_DELAY, _TICK = 2.0, 0.2


@contextmanager
def elapsed(what: str) -> Generator[None, None, None]:
    """Inside, a terminal shows from the second second on how long it has been.

    Where standard error is no terminal there is neither a word nor a thread.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def show() -> None:
        if done.wait(_DELAY):
            return
        with tqdm(bar_format=f"{what} {{elapsed}}", leave=False) as bar:
            bar.start_t -= _DELAY
            while not done.wait(_TICK):
                bar.refresh()

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()
