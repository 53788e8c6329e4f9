"""Equality by content: a notebook's cell that is run again makes nothing new."""

from __future__ import annotations

from typing import Any


class ByContent:
    """Objects that are equal, and have one hash, where what was written is the same."""

    def _content(self) -> tuple[Any, ...]:
        """What makes it this object and no other, its kind first."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ByContent):
            return NotImplemented
        return self is other or self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())
