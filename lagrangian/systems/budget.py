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

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left < 0:
                raise OverBudget

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
