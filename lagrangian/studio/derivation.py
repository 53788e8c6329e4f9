"""What follows from T and V, row by row, as the page shows and copies it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from lagrangian.studio.typed import Typed
from lagrangian.symbolic.algebra.shown import operations
from lagrangian.systems.derived import Formula, derived
from lagrangian.systems.script import Script
from lagrangian.systems.spec_text import toml

#: Operations of a formula that is still set in type.
MOST_OPERATIONS = 600
#: What the sections are called.
_HEADINGS = {
    "equations": "Equations of motion",
    "momenta": "Momenta",
    "energy": "Energy",
    "conserved": "Symmetries",
    "algebra": "Algebra of the symmetries",
    "broken": "Symmetries of V that T breaks",
    "Hamiltonian": "Hamiltonian",
}


@dataclass(frozen=True)
class Row:
    """A formula, or a remark where there is none.

    Attributes:
        section: the heading that it stands under.
        latex, text: the formula for a paper and for SymPy.
        remark: in words.
        python: a script that prints the formula.
        toml: a file for `lagrangian derive`, which prints it, too.
    """

    section: str
    latex: str = ""
    text: str = ""
    remark: str = ""
    python: str = ""
    toml: str = ""


def rows(typed: Typed) -> Iterator[Row]:
    """The equations, momenta and energy; symmetries with their charges; H.

    Raises:
        LagrangianError: nothing follows; a field is wrong (`Mistyped`).
    """
    system = typed.system
    script, file = Script(system), toml(typed.spec)
    for formula in derived(system, typed.generators(system)):
        if formula.section != "Lagrangian":  # which stands in the fields
            yield _row(formula, script, file)


def _row(formula: Formula, script: Script, file: str) -> Row:
    section = _HEADINGS.get(formula.section) or f"Along {formula.of}"
    if not formula.lines:
        return Row(section, remark=formula.remark)
    # An equation is no value of anything.
    name = "" if formula.section == "equations" else formula.name
    label = f"{name} =" if name else ""
    shown = f"print({label!r}, row)" if label else "print(row)"
    python = script.whole([*formula.lines, shown])
    file = (
        f"# `lagrangian derive` prints {name or 'the equations'} of this file.\n{file}"
    )
    expression, latex = formula.expression, formula.latex
    text = f"{label} {formula.text}" if expression is None else ""
    if expression is not None:
        text = f"{label} {sp.sstr(expression)}".strip()
        count = operations(expression)
        if count > MOST_OPERATIONS:
            remark = f"{name or 'A formula'} of {count:,} operations: copy it."
            return Row(section, "", text, remark, python, file)
        latex = sp.latex(expression)
    if formula.latex_name:
        sign = r":\quad" if formula.is_generator else "="
        latex = f"{formula.latex_name} {sign} {latex}"
    return Row(section, latex, text, formula.remark, python, file)
