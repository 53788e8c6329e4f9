"""Symbols of our own: apart from the user's of the same name, in code as in algebra."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sympy as sp
from sympy.core.cache import cacheit


class OwnSymbol(sp.Symbol):
    """What our symbols share: `srepr` writes the call that makes them."""

    __slots__ = ()

    def _sympyrepr(self, printer: Any) -> str:
        arguments, keywords = self.__getnewargs_ex__()
        parts = [_spelled(value) for value in arguments]
        parts += [f"{name}={_spelled(value)}" for name, value in keywords.items()]
        return f"{type(self).__name__}({', '.join(parts)})"


class EngineSymbol(OwnSymbol):
    """A symbol that the engine names: a multiplier, a momentum, a step size, time.

    It equals none that a user makes, whatever its name and assumptions, and equals
    another of its own class with the same ones. It prints by its name, for which
    `engine_symbol` takes one that is free.

    >>> EngineSymbol("p") == sp.Symbol("p"), EngineSymbol("p") == EngineSymbol("p")
    (False, True)
    """

    __slots__ = ()

    @classmethod
    def class_key(cls) -> Any:
        return sp.Symbol.class_key()  # among the user's symbols, by name

    @cacheit
    def sort_key(self, order: Any = None) -> tuple:
        kind, _, *rest = super().sort_key(order)
        return kind, (1, (self.name, type(self).__name__)), *rest


def engine_symbol(name: str, taken: Collection[str] = (), **assumptions: Any) -> Any:
    """An `EngineSymbol` that does not print like one of the names that are taken.

    >>> engine_symbol("p_x", ["p_x"])
    pprime_x
    """
    head, separator, index = name.partition("_")
    while (name := head + separator + index) in taken:
        head += "prime"  # which LaTeX shows as a prime
    return EngineSymbol(name, **assumptions)


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + "".join(f"{_spelled(item)}, " for item in value) + ")"
    return sp.srepr(value) if isinstance(value, sp.Basic) else repr(value)
