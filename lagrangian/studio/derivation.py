"""What follows from T and V, row by row, the quick rows first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.studio.typed import Typed
from lagrangian.symbolic.algebra.shown import operations
from lagrangian.symbolic.laws.find import find_symmetries
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.laws.symmetries import latex_moves
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Operations of a formula that is still set in type.
MOST_OPERATIONS = 600


@dataclass(frozen=True)
class Row:
    """A formula, or a remark where there is none.

    Attributes:
        section: the heading that it stands under.
        latex, text: the formula for a paper and for SymPy.
        remark: in words.
    """

    section: str
    latex: str = ""
    text: str = ""
    remark: str = ""


def rows(typed: Typed) -> Iterator[Row]:
    """The equations, momenta and energy; symmetries with their charges; H.

    Raises:
        LagrangianError: nothing follows; a field is wrong (`Mistyped`).
    """
    system = typed.system
    L = system.lagrangian
    generators = typed.generators(system)
    yield from _mechanics(L)
    for generator in generators:
        yield from _law(noether(L, generator))
    yield from _symmetries(L)
    yield from _hamiltonian(L)


def _mechanics(L: Lagrangian) -> Iterator[Row]:
    for equation in L.equations:
        yield _row("Equations of motion", equation)
    for constraint in L.constraints.expressions:
        yield _row("Equations of motion", sp.Eq(constraint, 0, evaluate=False))
    for q, momentum in L.momenta.items():
        yield _row("Momenta", momentum, name=f"p_{q}", latex=f"p_{{{sp.latex(q)}}}")
    yield _row("Energy", L.energy, name="E", latex="E")


def _law(law: Law) -> Iterator[Row]:
    section = f"Along {law.symmetry.name}"
    yield _row(section, law.charge, name="c", latex="c")
    kept = law.conserved
    if kept is not None:
        yield Row(section, remark="A constant of the motion:")
        yield _row(section, kept)
        return
    for cause, change in law.changes.items():
        if change != 0:
            said = rf"\dot c_\text{{{cause}}}"
            yield _row(section, change, name=f"dc/dt, {cause}", latex=said)


def _symmetries(L: Lagrangian) -> Iterator[Row]:
    section = "Symmetries"
    try:
        found = find_symmetries(L)
    except LagrangianError as error:
        yield Row(section, remark=str(error))
        return
    if not found.found:
        yield Row(section, remark="None of L, up to a divergence, of degree 1.")
    for law in found.found:
        yield Row(section, remark=law.symmetry.name, latex=latex_moves(law.symmetry))
        yield _row(section, L.factor * law.charge, name="charge", latex="c")
    for symmetry in found.broken_by_kinetic:
        said = f"{symmetry.name}: of V, and broken by T"
        yield Row(section, remark=said, latex=latex_moves(symmetry))
    if not found.complete:
        yield Row(section, remark="There may be more: not all relations are known.")


def _hamiltonian(L: Lagrangian) -> Iterator[Row]:
    try:
        found = L.hamiltonian
        yield _row("Hamiltonian", found.expression, name="H", latex="H")
    except LagrangianError as error:
        yield Row("Hamiltonian", remark=str(error))


def _row(section: str, formula: Any, name: str = "", latex: str = "") -> Row:
    text = f"{name} = {formula}" if name else str(formula)
    count = operations(formula)
    if count > MOST_OPERATIONS:
        remark = f"{name or 'A formula'} of {count:,} operations: copy it."
        return Row(section, "", text, remark)
    said = sp.latex(formula)
    return Row(section, f"{latex} = {said}" if latex else said, text)
