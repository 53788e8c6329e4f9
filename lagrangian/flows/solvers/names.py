"""Solvers by name, for the shell and for pages; each is loaded when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import Any

SOLVERS = {
    "taylor": "lagrangian.flows.solvers.taylor.Taylor",
    "dopri8": "diffrax.Dopri8",
    "tsit5": "diffrax.Tsit5",
    "kvaerno5": "diffrax.Kvaerno5",
}


def solver_of_name(name: str | None) -> Any:
    """The solver of that name; None, which is the library's choice, for None."""
    if name is None:
        return None
    module, _, solver = SOLVERS[name].rpartition(".")
    return getattr(import_module(module), solver)()
