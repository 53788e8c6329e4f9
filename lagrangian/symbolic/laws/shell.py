"""Random states on shell: with the constraints, and the accelerations of the system."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import mpmath as mp
import sympy as sp

from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.exact.states import (
    DIGITS,
    NO_VALUE,
    SCALES,
    concrete,
    random_state,
    tiny,
    value,
)
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Accelerations above this, in terms of the forces, come from a singular mass matrix.
LARGEST = mp.mpf("1e25")


@lru_cache(maxsize=16)
def shell_of(system: Lagrangian) -> Shell:
    """The shell of a system, whose states many laws of it are put to."""
    return Shell(system)


class Shell:
    """The random states of a system, each solved for only once."""

    def __init__(self, system: Lagrangian):
        self.system = system

    def states(self, expression: Any) -> Iterator[dict[Any, Any]]:
        """Values of all symbols of the system and of the expression."""
        for seed, state in self._states:
            missing = expression.free_symbols - state.keys()
            if not jets(sp.Tuple(*missing)):
                yield state | random_state(missing, seed)

    def is_real(self, state: dict[Any, Any]) -> bool:
        """Whether the Lagrangian, and the motion from a state, are real there."""
        numbers = (*state.values(), value(self._undamped, state))
        return all(x is not None and x.is_extended_real for x in numbers)

    @cached_property
    def _undamped(self) -> Any:
        return concrete(self.system.undamped)

    def tiny(self, expression: Any) -> Any:
        """What counts as zero of an expression on shell."""
        return tiny(expression, *self._equations)

    @cached_property
    def _equations(self) -> tuple[Any, Any]:
        return tuple(m.applyfunc(concrete) for m in self.system.saddle_point)

    @cached_property
    def _states(self) -> list[tuple[int, dict[Any, Any]]]:
        system = self.system
        held = len(system.coordinates)
        unknown = [q.ddot for q in system.coordinates]
        unknown += system.constraints.multipliers
        solved = []
        for seed in range(len(SCALES)):
            try:
                state = self._state(seed)
                numbers = (
                    m.xreplace(state).evalf(DIGITS + 10) for m in self._equations
                )
                solution = _solution(*numbers)
            except NO_VALUE:
                continue
            values = [*solution[:held], *(-x for x in solution[held:])]
            solved.append((seed, state | dict(zip(unknown, values, strict=True))))
        return solved

    def _state(self, seed: int) -> dict[Any, Any]:
        system = self.system
        symbols = {time, *system.coordinates, *(q.dot for q in system.coordinates)}
        symbols |= sp.Tuple(
            *self._equations, *system.constraints.expressions
        ).free_symbols
        state = random_state(symbols, seed)
        if not system.constraints.expressions:
            return state
        with mp.workdps(DIGITS + 15):
            return _onto_constraints(system, state)


def _solution(matrix: Any, right: Any) -> list[Any]:
    """Of linear equations in numbers; one that is no number has none."""
    with mp.workdps(DIGITS + 10):
        A, b = mp.matrix(matrix.tolist()), mp.matrix(list(right))
        solution = mp.lu_solve(A, b)
        # A singular matrix may not look so in so many digits: its solution does.
        if not mp.norm(solution, mp.inf) < LARGEST * (1 + mp.norm(b, mp.inf)):
            raise ZeroDivisionError
        return [_number(x) for x in solution]


def _number(x: Any) -> Any:
    real, imaginary = (sp.Float(part, DIGITS + 10) for part in (x.real, x.imag))
    return real + sp.I * imaginary if imaginary else real


def _onto_constraints(system: Lagrangian, state: dict[Any, Any]) -> dict[Any, Any]:
    """The state moved until the constraints hold, by Newton's method."""
    q, constraints = system.coordinates, system.constraints
    speeds = [c.dot for c in q]
    fixed = {s: number for s, number in state.items() if s not in (*q, *speeds)}
    still = [e for e in constraints.expressions if not jets(e, order=1)]
    gaps = sp.Matrix(still).xreplace(fixed)
    at = mp.matrix([mp.mpf(state[c].p) / state[c].q for c in q])
    if still:
        gap = sp.lambdify([q], gaps, "mpmath")
        slope = sp.lambdify([q], gaps.jacobian(q), "mpmath")
        for _ in range(60):
            missed = gap(list(at))
            if mp.norm(missed) < mp.mpf(10) ** -(DIGITS + 5):
                break
            at -= _least_change(slope(list(at)), missed)
        else:
            raise ArithmeticError("the constraints are not met from here.")
    moved = state | {c: _real(x) for c, x in zip(q, at, strict=True)}
    jacobian, bias = (
        m.xreplace(moved).evalf(DIGITS + 10)
        for m in (constraints.jacobian, constraints.bias)
    )
    speed = sp.Matrix([state[v] for v in speeds])
    step = _least_change(
        mp.matrix(jacobian.tolist()), mp.matrix((jacobian * speed + bias).tolist())
    )
    if any(x.imag for x in [*at, *step]):
        raise ArithmeticError("the constraints are met by complex numbers alone.")
    return moved | {v: state[v] - _real(x) for v, x in zip(speeds, step, strict=True)}


def _real(x: Any) -> Any:
    return sp.Float(x.real, DIGITS + 10)


def _least_change(slope: Any, missed: Any) -> Any:
    """The smallest step that the linear equations `slope step = missed` allow."""
    return slope.T * mp.lu_solve(slope * slope.T, missed)
