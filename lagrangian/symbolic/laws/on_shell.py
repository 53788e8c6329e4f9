"""Whether the rate of a charge is zero along the motion: yes, no, or undecided."""

from __future__ import annotations

from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.coordinates import jets
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.exact.checked import holds, vanishes_everywhere
from lagrangian.symbolic.exact.states import NO_VALUE, concrete, is_zero, value
from lagrangian.symbolic.laws.shell import shell_of
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.symbolic.mechanics.theory import Theory


def vanishes_on_shell(theory: Theory, rate: Any) -> bool | None:
    """Whether `rate` is zero along every motion of a theory.

    True when it reduces to zero, with what the equations give put in, and is zero at
    random states that obey the constraints, in 50-digit arithmetic; False when it is
    not zero in one of them; None when neither shows.
    """
    rate = sp.expand(rate)
    if rate == 0:
        return True
    if rate.has(Loss):
        return True if sp.cancel(rate) == 0 else None  # an undeclared symmetry of it
    if _has_blocks(theory):
        return _of_blocks(theory, rate)
    if not isinstance(theory, Lagrangian):
        return _with_equations(theory, rate)
    shell, stated, seen = shell_of(theory), concrete(rate), 0
    for state in shell.states(stated):
        number = value(stated, state)
        if number is None:
            continue
        if is_zero(stated, state, number, shell.tiny(stated)):
            seen += 1
        elif number.is_extended_real:
            # What one function breaks another may keep.
            return False if stated == rate else None
    return True if seen and _reduces_to_zero(theory, rate) else None


def _with_equations(theory: Theory, rate: Any) -> bool | None:
    """By what the equations leave free, whose values are any."""
    if sp.simplify(rate) == 0:
        return True
    free = theory.on_shell(rate)
    if free is None:
        return None
    left = sp.simplify(free)
    if left == 0:
        return True
    # What one function breaks another may keep.
    differs = concrete(free) == free and vanishes_everywhere(free, free) is False
    return False if differs or left.is_polynomial() else None


def is_constant(theory: Theory, charge: Any) -> bool:
    """Whether a charge is constant along every motion of a theory with one variable.

    A system of blocks has no states in numbers: what the algebra says is returned.
    """
    if _has_blocks(theory):
        return True
    try:
        rate = theory.total_derivative(theory.variables[0], charge)
    except NO_VALUE:
        return False
    if rate == 0:
        return True
    if not isinstance(theory, Lagrangian):
        return vanishes_on_shell(theory, rate) is True
    rate, shell = concrete(rate), shell_of(theory)
    return holds(rate, shell.tiny(rate), shell.states(rate), shell.is_real) is True


def _has_blocks(theory: Theory) -> bool:
    return any(isinstance(q, Block) for q in theory.coordinates)


def _of_blocks(theory: Theory, rate: Any) -> bool | None:
    rate = theory.on_shell(rate)
    if rate is None:
        return None
    rate = sp.expand(rate)
    if rate.has(Loss):
        return None
    # Distinct inner products in normal form are linearly independent.
    return sp.cancel(rate) == 0 if rate.has(Inner) else sp.simplify(rate) == 0


def _reduces_to_zero(system: Lagrangian, rate: Any) -> bool:
    if sp.simplify(rate) == 0:
        return True
    if not system.constraints.expressions and not jets(rate, order=2):
        return False
    solved = system.on_shell(rate)
    if solved is None:
        return False
    reduced = sp.together(solved)
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
