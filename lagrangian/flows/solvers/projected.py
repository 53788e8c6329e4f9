"""A solver of diffrax that keeps constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax

#: What it declares are variables for subclasses to define, as properties, too.
_Wrapped: Any = diffrax.AbstractWrappedSolver


class Projected(_Wrapped):
    """A solver whose state is brought back onto the constraints after every step.

    Attributes:
        solver: the one that steps.
        settle: takes a state and its time, and returns the state on the constraints.
    """

    solver: diffrax.AbstractSolver
    settle: Callable[[Any, Any], Any]

    @property
    def term_structure(self) -> Any:
        return self.solver.term_structure

    @property
    def interpolation_cls(self) -> Any:
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self) -> Any:
        return self.solver.term_compatible_contr_kwargs

    @property
    def root_finder(self) -> Any:
        """Of implicit solvers."""
        implicit: Any = self.solver
        return implicit.root_finder

    def order(self, terms: Any) -> Any:
        return self.solver.order(terms)

    def strong_order(self, terms: Any) -> Any:
        return self.solver.strong_order(terms)

    def error_order(self, terms: Any) -> Any:
        return self.solver.error_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        return self.solver.init(terms, t0, t1, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: Any,
        made_jump: Any,
    ) -> Any:
        state = terms, t0, t1, y0, args, solver_state, made_jump
        y, *rest = self.solver.step(*state)
        return self.settle(y, t1), *rest

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return self.solver.func(terms, t0, y0, args)
