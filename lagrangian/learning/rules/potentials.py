"""Functions of one element, written down; and which of several an array has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

    def derivative(self, order: int) -> Any:
        """The derivative, where it exists.

        Where the modulus in |x|^3 changes its branch, SymPy writes a distribution.

        Raises:
            LagrangianError: the slope jumps somewhere, so that there is no curvature.
        """
        found = self.expression
        for k in range(order):
            found = sp.diff(found, self.symbol)
            jumps = [d for d in found.atoms(sp.DiracDelta) if self._stays(found, d)]
            if jumps and k == 1:
                raise LagrangianError(
                    f"`potential` is {self.expression}, whose slope jumps where "
                    f"{jumps[0].args[0]} is zero. Pass a function with a continuous "
                    "slope, such as `lambda x: x**2/2`."
                )
            found = found.xreplace(dict.fromkeys(found.atoms(sp.DiracDelta), 0))
            signs = found.atoms(sp.sign)
            found = found.xreplace({s**2: sp.S.One for s in signs})
        return found

    def _stays(self, expression: Any, delta: Any) -> bool:
        """Whether c(x) delta^(n)(a(x)) is not zero: c, or a derivative, is not."""
        factor = sp.expand(expression).coeff(delta)
        argument, *order = delta.args
        for root in sp.solve(argument, self.symbol):
            for k in range(1 + int(order[0] if order else 0)):
                if sp.limit(sp.diff(factor, self.symbol, k), self.symbol, root) != 0:
                    return True
        return False


def elementwise(function: Callable[[Any], Any], symbol: Any) -> Elementwise:
    """A function of SymPy, written down."""
    if isinstance(function, Elementwise):
        return function
    return Elementwise(sp.sympify(function(symbol)), symbol)


def by_path(given: Any, symbol: Any) -> Elementwise | ByPath:
    """A function of SymPy, or one for each pattern, written down."""
    if isinstance(given, ByPath):
        return given
    if isinstance(given, Mapping):
        pairs = ((path, elementwise(f, symbol)) for path, f in given.items())
        return ByPath(tuple(pairs))
    return elementwise(given, symbol)


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
