"""What follows from a system, formula by formula: one walk for shell and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.find import find_symmetries
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.laws.symmetries import Symmetries, latex_moves, text_moves
from lagrangian.systems.script import Script
from lagrangian.systems.system import System

#: The sections, in the order in which they come: what takes longer comes later.
SECTIONS = ("Lagrangian", "equations", "momenta", "energy", "along", "conserved",
            "algebra", "broken", "Hamiltonian")  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """A formula that follows, or a remark where there is none.

    Attributes:
        section: one of `SECTIONS`.
        of: what a section of several is of: the generator of `along`.
        name: what it is called in text; of an equation, its coordinate.
        expression: SymPy's; None of a remark.
        latex_name: the left side in LaTeX, without the `=`.
        text, latex: what is said instead of an expression, of a generator.
        remark: in words.
        lines: Python, after those of `Script.system_lines`, whose last assigns the
            expression to `row`.
    """

    section: str
    name: str = ""
    expression: Any = None
    latex_name: str = ""
    text: str = ""
    latex: str = ""
    remark: str = ""
    lines: tuple[str, ...] = ()
    of: str = ""

    @property
    def is_generator(self) -> bool:
        """Whether it says how coordinates and time move, and is no expression."""
        return self.expression is None and self.section in ("conserved", "broken")


def derived(
    system: System, generators: Sequence[Symmetry] = (), *, most: int | None = None
) -> Iterator[Formula]:
    """The parts of L; equations, momenta, energy; laws; symmetries; H.

    Args:
        system: what follows from.
        generators: whose laws are asked for.
        most: with more coordinates than this, neither symmetries nor H are looked for,
            which take minutes to hours then.

    >>> from lagrangian import systems
    >>> for formula in derived(systems.kepler()):
    ...     if formula.section == "momenta":
    ...         print(formula.name, "=", formula.expression)
    p_x = m*x.dot
    p_y = m*y.dot

    Raises:
        LagrangianError: nothing follows.
    """
    script = Script(system)
    yield from _mechanics(system, script)
    for generator in generators:
        yield from _law(noether(system.lagrangian, generator), script)
    count = len(system.lagrangian.coordinates)
    if most is not None and count > most:
        why = f"not looked for with more than {most} coordinates; this has {count}"
        more = f"{why} (`lagrangian symmetries {system.name}` does)"
        yield Formula("conserved", remark=more)
        yield Formula("Hamiltonian", remark=why)
        return
    yield from _symmetries(system, script)
    try:
        found = system.lagrangian.hamiltonian
    except LagrangianError as error:
        yield Formula("Hamiltonian", remark=str(error))
    else:
        lines = ("row = L.hamiltonian.expression",)
        yield Formula("Hamiltonian", "H", found.expression, "H", lines=lines)


def _mechanics(system: System, script: Script) -> Iterator[Formula]:
    L = system.lagrangian
    for name, part in L.parts.items():
        latex = name if len(name) == 1 else rf"\text{{{name}}}"
        lines = (f"row = L.parts[{name!r}]",)
        yield Formula("Lagrangian", name, part, latex, lines=lines)
    for i, (q, equation) in enumerate(zip(L.coordinates, L.equations, strict=True)):
        lines = (f"row = L.equations[{i}]",)
        yield Formula("equations", str(q), equation, lines=lines)
    for i, constraint in enumerate(L.constraints.expressions):
        held = sp.Eq(constraint, 0, evaluate=False)
        lines = (f"row = sp.Eq(L.constraints.expressions[{i}], 0, evaluate=False)",)
        yield Formula("equations", f"constraint {i}", held, lines=lines)
    for q, momentum in L.momenta.items():
        lines = (f"row = L.momenta[{script.written(q)}]",)
        name, latex = f"p_{q}", f"p_{{{sp.latex(q)}}}"
        yield Formula("momenta", name, momentum, latex, lines=lines)
    yield Formula("energy", "E", L.energy, "E", lines=("row = L.energy",))


def _law(law: Law, script: Script) -> Iterator[Formula]:
    section, of = "along", law.symmetry.name
    made = f"law = lg.noether(L, {script.generator(law.symmetry)})"
    lines = (made, "row = law.charge")
    yield Formula(section, "c", law.charge, "c", lines=lines, of=of)
    kept = law.conserved
    if kept is not None:
        said = "A constant of the motion:"
        lines = (made, "row = law.conserved")
        yield Formula(section, "", kept, remark=said, lines=lines, of=of)
        return
    for cause, change in law.changes.items():
        if change != 0:
            said = rf"\dot c_\text{{{cause}}}"
            lines = (made, f"row = law.changes[{cause!r}]")
            name = f"dc/dt, {cause}"
            yield Formula(section, name, change, said, lines=lines, of=of)


def _symmetries(system: System, script: Script) -> Iterator[Formula]:
    try:
        found = find_symmetries(system.lagrangian)
    except LagrangianError as error:
        yield Formula("conserved", remark=str(error))
        return
    if not found.found:
        said = "None of L, up to a divergence, of degree 1."
        yield Formula("conserved", remark=said)
    names = numbered([law.symmetry.name for law in found.found])
    for i, (name, law) in enumerate(zip(names, found.found, strict=True)):
        lines = ("found = lg.find_symmetries(L)", f"law = found.found[{i}]")
        yield Formula(
            "conserved", f"X_{i + 1}", text=text_moves(law.symmetry),
            latex=latex_moves(law.symmetry), latex_name=f"X_{{{i + 1}}}", remark=name,
            lines=(*lines, "row = law.symmetry.xi, law.symmetry.tau"),
        )  # fmt: skip
        charge = law.theory.factor * law.charge
        lines = (*lines, "row = L.factor*law.charge")
        yield Formula("conserved", name, charge, f"c_{{{i + 1}}}", lines=lines)
    yield from _algebra(found)
    for i, symmetry in enumerate(found.broken_by_kinetic):
        yield from _broken(i, symmetry, system)
    if not found.complete:
        said = "There may be more: not all relations are known."
        yield Formula("conserved", remark=said)


def _algebra(found: Symmetries) -> Iterator[Formula]:
    if len(found.found) < 2:
        return
    try:
        algebra = found.algebra
    except LagrangianError as error:
        yield Formula("algebra", remark=str(error))
        return
    lines = ("algebra = lg.find_symmetries(L).algebra",)
    if algebra.is_abelian:
        said = r"0 \quad\text{for all } i, j"
        lines = (*lines, "row = algebra.constants")
        yield Formula(
            "algebra", "[X_i, X_j]", latex_name="[X_i, X_j]", text="0 for all i, j",
            latex=said, lines=lines,
        )  # fmt: skip
    for i, j, parts in algebra.brackets():
        bracket = sp.Add(*(c * sp.Symbol(f"X_{k + 1}") for k, c in parts.items()))
        latex = f"[X_{{{i + 1}}}, X_{{{j + 1}}}]"
        row = (
            f"row = [algebra.constants[{i}, {j}, k] for k in range({len(found.found)})]"
        )
        name = f"[X_{i + 1}, X_{j + 1}]"
        yield Formula("algebra", name, bracket, latex, lines=(*lines, row))


def _broken(i: int, symmetry: Symmetry, system: System) -> Iterator[Formula]:
    """A symmetry of V that T breaks, and by how much: the variation of T along it."""
    law = noether(system.lagrangian, symmetry)
    made = (f"generator = lg.find_symmetries(L).broken_by_kinetic[{i}]",)
    yield Formula(
        "broken", f"Y_{i + 1}", text=text_moves(symmetry), latex=latex_moves(symmetry),
        latex_name=f"Y_{{{i + 1}}}", remark=symmetry.name,
        lines=(*made, "row = generator.xi, generator.tau"),
    )  # fmt: skip
    lines = (*made, "row = lg.noether(L, generator).kinetic")
    name, latex = f"delta T along Y_{i + 1}", rf"\delta_{{Y_{{{i + 1}}}}} T"
    yield Formula("broken", name, law.kinetic, latex, lines=lines)


def numbered(names: Sequence[str]) -> list[str]:
    """Names told apart: of several rotations, `rotation 1` and `rotation 2`."""
    return [
        f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
