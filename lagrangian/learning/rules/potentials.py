"""Functions of one element, written down; and which of several an array has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError, UnknownBlock


@dataclass(frozen=True)
class Elementwise:
    """A function of one element: equal, and pickled, by its content."""

    expression: Any
    symbol: Any

    def __call__(self, at: Any) -> Any:
        return self.expression.xreplace({self.symbol: sp.sympify(at)})

    def __repr__(self) -> str:
        return f"{self.symbol} -> {self.expression}"


def elementwise(function: Callable[[Any], Any], symbol: Any) -> Elementwise:
    """A function of SymPy, written down."""
    if isinstance(function, Elementwise):
        return function
    return Elementwise(sp.sympify(function(symbol)), symbol)


@dataclass(frozen=True)
class ByPath:
    """What each array has: that of the first pattern which its path matches.

    Attributes:
        items: pairs of a pattern, as in a shell, and what belongs to it.
    """

    items: tuple[tuple[str, Any], ...]

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{p!r}: {item}" for p, item in self.items) + "}"

    @property
    def patterns(self) -> list[str]:
        return [pattern for pattern, _ in self.items]

    def pattern(self, path: str) -> str:
        """The first pattern that a path matches.

        Raises:
            UnknownBlock: none does.
        """
        for pattern, _ in self.items:
            if fnmatchcase(path, pattern):
                return pattern
        raise UnknownBlock(
            f"no pattern of `potential` matches the path `{path}`; they are "
            f"{self.patterns}. Add one, such as a last "
            '`"*": lambda x: x**2/2` for all others.'
        )

    def check(self, paths: Iterable[str]) -> None:
        """Raise unless every path has a pattern, and every pattern a path.

        Raises:
            UnknownBlock: a path without a pattern.
            LagrangianError: a pattern that no path comes to.
        """
        paths = list(paths)
        unused = [p for p in self.patterns if p not in map(self.pattern, paths)]
        if unused:
            raise LagrangianError(
                f"no parameter comes to the pattern `{unused[0]}` of `potential`: the "
                f"first that matches counts, and the paths are {paths}. Leave it out, "
                "or write it before those that match as well."
            )
