"""Whether the rate of a charge is zero along the motion: yes, no, or undecided."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.matrices.exceptions import NonInvertibleMatrixError

from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.coordinates import jets
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.exact.checked import holds
from lagrangian.symbolic.exact.states import NO_VALUE, concrete, is_zero, value
from lagrangian.symbolic.laws.shell import Shell
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


def vanishes_on_shell(shell: Shell, rate: Any) -> bool | None:
    """Whether `rate` is zero along every motion of the system of the shell.

    True when it reduces to zero, with the accelerations and multipliers that the
    equations give, and is zero at random states that obey the constraints, in 50-digit
    arithmetic; False when it is not zero in one of them; None when neither shows.
    """
    system, rate = shell.system, sp.expand(rate)
    if rate == 0:
        return True
    if rate.has(Loss):
        return True if sp.cancel(rate) == 0 else None  # an undeclared symmetry of it
    if system.has_blocks:
        return _of_blocks(system, rate)
    stated, seen = concrete(rate), 0
    for state in shell.states(stated):
        number = value(stated, state)
        if number is None:
            continue
        if is_zero(stated, state, number, shell.tiny(stated)):
            seen += 1
        elif number.is_extended_real:
            # What one function breaks another may keep.
            return False if stated == rate else None
    return True if seen and _reduces_to_zero(system, rate) else None


def is_constant(shell: Shell, charge: Any) -> bool:
    """Whether a charge is constant along every motion of the system of the shell.

    A system of blocks has no states in numbers: what the algebra says is returned.
    """
    if shell.system.has_blocks:
        return True
    try:
        rate = total_derivative(charge)
    except NO_VALUE:
        return False
    if rate == 0:
        return True
    rate = concrete(rate)
    return holds(rate, shell.tiny(rate), shell.states(rate), shell.is_real) is True


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
    try:
        solution = matrix.LUsolve(right)
    except (ValueError, NonInvertibleMatrixError):
        return False
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
