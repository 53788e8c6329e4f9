"""A clock for what takes its time and says nothing on its way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

#: Seconds until it shows, and between two looks at it.
_DELAY, _TICK = 2.0, 0.2
#: Held while a clock runs: what is inside of it has none of its own.
_running = threading.Lock()


@contextmanager
def elapsed(what: str) -> Generator[None, None, None]:
    """Inside, a terminal shows from the second second on how long it has been.

    Where standard error is no terminal there is neither a word nor a thread.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if not is_terminal or not _running.acquire(blocking=False):
        yield
        return
    done = threading.Event()

    def show() -> None:
        if done.wait(_DELAY):
            return
        # Deriving needs no tqdm until here.
        from tqdm import tqdm

        with tqdm(bar_format=f"{what} {{elapsed}}", leave=False) as bar:
            bar.start_t -= _DELAY
            while not done.wait(_TICK):
                bar.refresh()

    clock = threading.Thread(target=show, daemon=True)
    try:
        clock.start()
        yield
    finally:
        done.set()
        if clock.ident is not None:
            clock.join()
        _running.release()
