"""Whether the rate of a charge is zero along the motion: yes, no, or undecided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mpmath as mp
import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.matrices.exceptions import NonInvertibleMatrixError

from lagrangian.symbolic.coordinates import jets, time
from lagrangian.symbolic.inner import Inner
from lagrangian.symbolic.losses import Loss
from lagrangian.symbolic.system import Lagrangian

#: Scales of the random states: |x| needs both signs, a root or a logarithm its domain.
SCALES = (1, -1, 1, -1, 7, sp.Rational(1, 9), sp.Rational(1, 50))

#: Decimal digits of the evaluation at random states.
DIGITS = 50

#: What counts as zero in it; and where the user wrote floats, of sixteen digits.
TINY, TINY_FLOAT = sp.Float("1e-40"), sp.Float("1e-12")


def vanishes_on_shell(system: Lagrangian, rate: Any) -> bool | None:
    """Whether `rate` is zero along every motion of the system.

    True when it reduces to zero, with the accelerations and multipliers that the
    equations give; False when it is not zero in one of a few random states that obey
    the constraints, in 50-digit arithmetic; None when neither shows.
    """
    rate = sp.expand(rate)
    if rate == 0:
        return True
    if rate.has(Loss):
        return True if sp.cancel(rate) == 0 else None  # an undeclared symmetry of it
    if system.has_blocks:
        return _of_blocks(system, rate)
    tiny = TINY_FLOAT if rate.has(sp.Float) else TINY
    opaque = rate.has(AppliedUndef, sp.Derivative, sp.Subs)
    for state in () if opaque else _states(system, rate):
        value = _value(system, rate, state)
        if value is not None and abs(value) > tiny:
            return False
    return True if _reduces_to_zero(system, rate) else None


def _of_blocks(system: Lagrangian, rate: Any) -> bool | None:
    if jets(rate, order=2):
        accelerations = _block_accelerations(system)
        if accelerations is None:
            return None
        rate = sp.expand(rate.xreplace(accelerations))
        if rate.has(Loss):
            return None
    # Distinct inner products in normal form are linearly independent.
    return sp.cancel(rate) == 0 if rate.has(Inner) else sp.simplify(rate) == 0


def _block_accelerations(system: Lagrangian) -> dict[Any, Any] | None:
    """The accelerations, where each equation has its own alone, times a scalar."""
    found = {}
    for q, equation in zip(system.coordinates, system.equations, strict=True):
        terms = sp.Add.make_args(sp.expand(equation.lhs))
        inert = sp.Add(*(term for term in terms if jets(term, order=2)))
        mass = sp.cancel(inert / q.ddot)
        if jets(mass) or mass.is_zero:
            return None
        found[q.ddot] = (inert - sp.Add(*terms)) / mass
    return found


def _reduces_to_zero(system: Lagrangian, rate: Any) -> bool:
    if sp.simplify(rate) == 0:
        return True
    unknown = [*(q.ddot for q in system.coordinates), *system.constraints.multipliers]
    if not unknown or not system.constraints.expressions and not jets(rate, order=2):
        return False
    matrix, right = system.saddle_point
    held = len(system.coordinates)
    solution = matrix.LUsolve(right)
    solved = [*solution[:held], *(-x for x in solution[held:])]
    reduced = sp.together(rate.xreplace(dict(zip(unknown, solved, strict=True))))
    return sp.simplify(reduced) == 0 or _in_the_ideal(system, sp.fraction(reduced)[0])


def _in_the_ideal(system: Lagrangian, numerator: Any) -> bool:
    """Whether a polynomial vanishes with the constraints and their derivatives."""
    constraints = system.constraints
    zero = list(dict.fromkeys((*constraints.expressions, *constraints.velocity_level)))
    symbols = [*(q.dot for q in system.coordinates), *system.coordinates]
    if not zero or not all(e.is_polynomial(*symbols) for e in (*zero, numerator)):
        return False
    basis = sp.groebner(zero, *symbols, order="grevlex")
    return basis.contains(sp.expand(numerator))


def _states(system: Lagrangian, rate: Any) -> Iterator[dict[Any, Any]]:
    """Random values of all symbols, of coordinates such that the constraints hold."""
    coordinates, constraints = system.coordinates, system.constraints
    speeds = [q.dot for q in coordinates]
    matrix, right = system.saddle_point
    symbols = rate.free_symbols | {time, *coordinates, *speeds}
    symbols |= matrix.free_symbols | right.free_symbols
    symbols |= sp.Tuple(*constraints.expressions).free_symbols
    symbols -= {*constraints.multipliers, *(q.ddot for q in coordinates)}
    ordered = sorted(symbols, key=str)
    for seed, scale in enumerate(SCALES):
        state = {
            s: _number(s, i, seed, scale if s in (*coordinates, *speeds) else 1)
            for i, s in enumerate(ordered)
        }
        if constraints.expressions:
            with mp.workdps(DIGITS + 15):
                moved = _onto_constraints(system, state)
            if moved is None:
                continue
            state = moved
        yield state


def _number(symbol: Any, i: int, seed: int, scale: Any) -> Any:
    """A number that the assumptions of the symbol allow."""
    if symbol.is_integer:
        # Even ones are even, odd ones are odd, and the others are both.
        number = 2 * (1 + (7 * i + 5 * seed) % 5) + (
            symbol.is_odd or (symbol.is_even is None and seed % 2)
        )
    else:
        number = scale * sp.Rational(
            2 + (7 * i + 5 * seed) % 11, 3 + (5 * i + seed) % 7
        )
    if symbol.is_negative or (symbol.is_nonnegative and number < 0):
        return -number
    return number


def _onto_constraints(system: Lagrangian, state: dict[Any, Any]) -> Any | None:
    """The state moved until the constraints hold, by Newton's method; None if not."""
    q, constraints = system.coordinates, system.constraints
    speeds = [c.dot for c in q]
    fixed = {s: value for s, value in state.items() if s not in (*q, *speeds)}
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
            step = _least_change(slope(list(at)), missed)
            if step is None:
                return None
            at -= step
        else:
            return None
    moved = state | {c: _real(x) for c, x in zip(q, at, strict=True)}
    jacobian, bias = (
        m.xreplace(moved).evalf(DIGITS + 10)
        for m in (constraints.jacobian, constraints.bias)
    )
    speed = sp.Matrix([state[v] for v in speeds])
    step = _least_change(
        mp.matrix(jacobian.tolist()), mp.matrix((jacobian * speed + bias).tolist())
    )
    if step is None or any(x.imag for x in [*at, *step]):
        return None
    return moved | {v: state[v] - _real(x) for v, x in zip(speeds, step, strict=True)}


def _real(x: Any) -> Any:
    return sp.Float(x.real, DIGITS + 10)


def _least_change(slope: Any, missed: Any) -> Any | None:
    """The smallest step that the linear equations `slope step = missed` allow."""
    try:
        return slope.T * mp.lu_solve(slope * slope.T, missed)
    except ZeroDivisionError:
        return None


def _value(system: Lagrangian, rate: Any, state: dict[Any, Any]) -> Any | None:
    """The rate in one state, if it is a real number there."""
    unknown = [*(q.ddot for q in system.coordinates), *system.constraints.multipliers]
    if rate.free_symbols & set(unknown):
        matrix, right = (
            m.xreplace(state).evalf(DIGITS + 10) for m in system.saddle_point
        )
        try:
            solution = matrix.LUsolve(right)
        except (ValueError, NonInvertibleMatrixError):
            return None
        held = len(system.coordinates)
        solved = [*solution[:held], *(-x for x in solution[held:])]
        state = state | dict(zip(unknown, solved, strict=True))
    number = rate.xreplace(state).evalf(DIGITS)
    return number if number.is_number and number.is_extended_real else None
