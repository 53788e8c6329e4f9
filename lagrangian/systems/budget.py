"""A bound on work that does not depend on the machine: calls of Python functions."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class OverBudget(BaseException):
    """More work than was allowed; no `except Exception` on the way may hide it."""


@contextmanager
def limited_calls(most: int) -> Generator[None, None, None]:
    """Inside, raise `OverBudget` once so many functions of Python were called.

    It counts in this thread alone, and takes the place of a profiler meanwhile. The
    same work is within the budget, or over it, on every machine.
    """
    left = most
    unraisable = sys.unraisablehook

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left < 0:
                raise OverBudget

    def swallowed(found: Any) -> None:
        """Count on, after Python dropped the error, and the profiler with it.

        It does so where nobody could catch one: as a generator that nobody holds any
        more is closed, or in a callback of a weak reference.
        """
        if found.exc_type is OverBudget:
            sys.setprofile(count)
        else:
            unraisable(found)

    before = sys.getprofile()
    sys.unraisablehook = swallowed
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
        sys.unraisablehook = unraisable
