"""What an object shows at a prompt: itself in a few lines, and what to write next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class AtPrompt:
    """`str` says what it is; `repr` ends with the next step, and completion offers it.

    A subclass writes `__str__`, in a few lines whatever its size.
    """

    #: What one writes next, such as "`.equations`, `.hamiltonian`".
    _next: ClassVar[str] = ""
    #: Public names that only the engine calls, which completion leaves out.
    _engine: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        return f"{self}\n  next: {self._next}"

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if name not in self._engine]
