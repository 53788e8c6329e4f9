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
    formulas = _Formulas(output)
    theory = system.lagrangian
    formulas.section("Lagrangian T - V", theory.parts)
    with stage(f"deriving the equations of {len(theory.coordinates)} coordinates"):
        equations = dict(zip(theory.coordinates, theory.equations, strict=True))
    formulas.section("equations", {q: e.lhs for q, e in equations.items()}, "= 0")
    formulas.section("momenta", {f"p_{q}": p for q, p in theory.momenta.items()})
    formulas.section("energy", {"E": theory.energy})
    formulas.attempt("Hamiltonian", system, _hamiltonian)
    formulas.attempt("conserved", system, _charges)
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


def _find(system: System, degree: int = 1, velocities: bool = False) -> Symmetries:
    from lagrangian.symbolic.laws.find import find_symmetries

    with stage("looking for symmetries"):
        return find_symmetries(system.lagrangian, degree, velocities=velocities)


def _generator(symmetry: Any) -> dict[str, Any]:
    return {"name": symmetry.name, "xi": symmetry.xi, "tau": symmetry.tau}


def _hamiltonian(system: System) -> dict[Any, Any]:
    with stage("solving the momenta for the velocities"):
        return {"H": system.lagrangian.hamiltonian.expression}


def _charges(system: System) -> dict[Any, Any]:
    """The charges of the symmetries found, by the name of each, numbered if needed."""
    laws = _find(system).found
    names = [law.symmetry.name for law in laws]
    return {
        f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name: (
            law.theory.factor * law.charge
        )
        for i, (name, law) in enumerate(zip(names, laws, strict=True))
    }


class _Formulas:
    """Sections of named formulas: printed as they come, and kept in every form."""

    def __init__(self, output: Output):
        self._output = output
        self.data: dict[str, Any] = {}
        self._sections: list[tuple[str, dict[Any, Any], str]] = []

    def latex(self) -> str:
        """All sections as one display."""
        from sympy import Symbol, latex

        rows = []
        for title, formulas, ending in self._sections:
            rows.append(rf"&\textbf{{{title}}}")
            for name, formula in formulas.items():
                in_words = title == "conserved" or " " in str(name)
                left = rf"\text{{{name}}}" if in_words else latex(Symbol(str(name)))
                rows.append(rf"{'0' if ending else left} &= {latex(formula)}")
        body = " \\\\\n".join(rows)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def section(self, title: str, formulas: dict[Any, Any], ending: str = "") -> None:
        from lagrangian.symbolic.algebra.shown import shown

        self._output.line(f"{title}:" if formulas else f"{title}: none")
        self.data[title.split()[0].lower()] = formulas
        self._sections.append((title, formulas, ending))
        for name, formula in formulas.items():
            if ending:
                self._output.line(f"  {shown(formula)} {ending}")
            else:
                self._output.line(f"  {name} = {shown(formula)}")

    def attempt(
        self, title: str, system: System, derive: Callable[[System], dict[Any, Any]]
    ) -> None:
        """A section of what not every system has, or why this one has none."""
        count = len(system.lagrangian.coordinates)
        if count > _FEW:
            why = f"not looked for with more than {_FEW} coordinates; this has {count}"
            if title == "conserved":
                why += f" (`lagrangian symmetries {system.name}` does)"
        else:
            try:
                return self.section(title, derive(system))
            except LagrangianError as error:
                why = str(error)
        self._output.line(f"{title}: {why}")
        self.data[title.lower()] = None
        self.data[f"no_{title.lower()}"] = why
