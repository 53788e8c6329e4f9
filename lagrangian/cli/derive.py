"""`lagrangian derive` and `symmetries`: what follows from a system, in formulas."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lagrangian.cli.arguments import not_negative_int
from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output
from lagrangian.cli.systems import add_system, list_systems, load_system, stage
from lagrangian.errors import LagrangianError
from lagrangian.files import check_writable

if TYPE_CHECKING:
    from lagrangian.symbolic.laws.symmetries import Symmetries
    from lagrangian.systems.derived import Formula
    from lagrangian.systems.system import System

#: With more coordinates, Hamiltonian and symmetries take minutes to hours.
_FEW = 6


def add(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    derive = commands.add_parser(
        "derive", help="equations, momenta, energy, Hamiltonian and laws of a system"
    )
    derive.set_defaults(run=_derive)
    add_system(derive)
    add_output(derive, latex=True, what="SYSTEM.json and SYSTEM.tex")

    symmetries = commands.add_parser(
        "symmetries", help="the symmetries of a system, and the charges that they keep"
    )
    symmetries.set_defaults(run=_symmetries)
    add_system(symmetries)
    symmetries.add_argument(
        "--degree",
        type=not_negative_int,
        default=1,
        help="of the polynomials that the generators are (%(default)s)",
    )
    symmetries.add_argument(
        "--velocities",
        action="store_true",
        help="generators that are linear in the velocities, such as Runge and Lenz's",
    )
    add_output(symmetries, latex=True, what="SYSTEM-symmetries.json and .tex")


def _derive(options: argparse.Namespace) -> int:
    output = Output(options)
    if options.list:
        return list_systems(output)
    system = _loaded("derive", options, "{}.json")
    output.line(f"{system.name}: {system.description}")

    from lagrangian.systems.derived import derived

    formulas = _Formulas(output)
    with stage(f"deriving from {len(system.lagrangian.coordinates)} coordinates"):
        for formula in derived(system, most=_FEW):
            formulas.add(formula)
    data = {
        "system": system.name,
        "description": system.description,
        "parameters": system.parameters,
        **formulas.data,
    }
    return _give(output, options, system.name, data, formulas.latex)


def _symmetries(options: argparse.Namespace) -> int:
    output = Output(options)
    if options.list:
        return list_systems(output)
    system = _loaded("symmetries", options, "{}-symmetries.json")
    found = _find(system, options.degree, options.velocities)
    output.line(f"{system.name}: {system.description}\n{found}")
    try:
        algebra, why = found.algebra, None
        output.line(algebra)
    except LagrangianError as error:
        algebra, why = None, str(error)
    data: dict[str, Any] = {
        "system": system.name,
        "degree": found.degree,
        "velocities": found.velocities,
        "complete": found.complete,
        "of_lagrangian": [
            _generator(law.symmetry) | {"charge": law.theory.factor * law.charge}
            for law in found.found
        ],
    }
    for name in ("of_kinetic", "of_potential", "broken_by_kinetic", "unverified"):
        data[name] = [_generator(symmetry) for symmetry in getattr(found, name)]
    # [X_i, X_j] = sum_k c_ij^k X_k of those of L, counted from 0 in their order.
    data["algebra"] = None if algebra is None else [
        {"i": i, "j": j, "c": parts} for i, j, parts in algebra.brackets()
    ]  # fmt: skip
    if why:
        data["no_algebra"] = why

    def latex() -> str:
        return found._repr_latex_().strip("$")

    return _give(output, options, f"{system.name}-symmetries", data, latex)


def _loaded(command: str, options: argparse.Namespace, file: str) -> System:
    system = load_system(command, options.system, dict(options.set))
    if options.out:
        check_writable(options.out / file.format(system.name), "--out")
    return system


def _give(
    output: Output,
    options: argparse.Namespace,
    name: str,
    data: Any,
    latex: Callable[[], str],
) -> int:
    # Of a large system LaTeX alone takes seconds.
    text = latex() if output.latex or options.out else ""
    output.give(data, text)
    output.write(options.out, name, data, text)
    return 0


def _find(system: System, degree: int, velocities: bool) -> Symmetries:
    from lagrangian.symbolic.laws.find import find_symmetries

    with stage("looking for symmetries"):
        return find_symmetries(system.lagrangian, degree, velocities=velocities)


def _generator(symmetry: Any) -> dict[str, Any]:
    return {"name": symmetry.name, "xi": symmetry.xi, "tau": symmetry.tau}


#: What the sections are called, where that is not their name.
_TITLES = {
    "Lagrangian": "Lagrangian T - V",
    "algebra": "algebra of these symmetries",
    "broken": "symmetries of V that T breaks",
}


class _Formulas:
    """Sections of formulas: printed as they come, and kept in every form."""

    def __init__(self, output: Output):
        self._output = output
        self._section = ""
        self.data: dict[str, Any] = {}
        self._rows: list[str] = []

    def latex(self) -> str:
        """All sections as one display."""
        body = " \\\\\n".join(row for row in self._rows)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def add(self, formula: Formula) -> None:
        """Print and keep one."""
        key = formula.section.lower()
        if not formula.name:  # of what not every system has, why this one has none
            self._output.line(f"{formula.section}: {formula.remark}")
            self.data.setdefault(key, None)
            self.data[f"no_{key}"] = formula.remark
            return
        title = _TITLES.get(formula.section, formula.section)
        if formula.section != self._section:
            self._section = formula.section
            self._output.line(f"{title}:")
            self._rows.append(rf"&\textbf{{{title}}}")
        self._output.line(f"  {self._text(formula)}")
        self._rows.append(self._latex_row(formula))
        kept = self.data[key] = self.data.get(key) or {}
        if formula.expression is not None:
            kept[formula.name] = _left_side(formula.expression)

    def _text(self, formula: Formula) -> str:
        from lagrangian.symbolic.algebra.shown import shown

        if formula.expression is None:
            sign = ":" if formula.is_generator else " ="
            return f"{formula.name}{sign} {formula.text}"
        said = shown(_left_side(formula.expression))
        if formula.section == "equations":
            return f"{said} = 0"
        return f"{formula.name} = {said}"

    def _latex_row(self, formula: Formula) -> str:
        from sympy import latex

        if formula.expression is None:
            sign = r":\quad" if formula.is_generator else "="
            return rf"{formula.latex_name} &{sign} {formula.latex}"
        said = latex(_left_side(formula.expression))
        left = "0" if formula.section == "equations" else formula.latex_name
        return f"{left} &= {said}"


def _left_side(expression: Any) -> Any:
    """Of an equation, of which the right side is zero; else the expression."""
    return getattr(expression, "lhs", expression)
