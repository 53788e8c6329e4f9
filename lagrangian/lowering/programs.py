"""Programs as JAX traces them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def equations(program: Any) -> Iterator[Any]:
    """Those of a jaxpr, and of the jaxprs within."""
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)
