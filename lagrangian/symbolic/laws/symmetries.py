"""What `find_symmetries` returns: lists of generators, with their charges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.shown import aligned, shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.algebra import LieAlgebra
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Longer lists are cut where they are printed.
MOST_SHOWN = 20


@dataclass(frozen=True, repr=False)
class Symmetries(AtPrompt):
    """The symmetries of a Lagrangian within an ansatz, each list a basis.

    Attributes:
        lagrangian, degree, velocities: what `find_symmetries` was asked.
        found: the laws of those of L up to a divergence, delta L = D_t B, with B in
            `law.symmetry.boundary`; exp(sigma) `law.charge` is constant, with the
            damping factor exp(sigma) of L. `of_lagrangian` has the generators.
        of_kinetic, of_potential: xi(q) with delta T = 0, or delta V = 0, exactly and at
            every instant (tau = 0).
        broken_by_kinetic: a basis of those of V modulo those that T shares: kinetic
            symmetry breaking (Tanaka & Kunin, "Noether's Learning Dynamics", 2021).
        unverified: solutions of the determining equations whose boundary term was not
            found in closed form, so that delta L = D_t B could not be checked.
        complete: whether the lists are known to lack nothing that the ansatz holds for
            generic parameters. False where L contains functions among which relations
            could not be excluded (special functions, algebraic constants).

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> found = lg.find_symmetries(spring)
    >>> len(found.found), found.complete
    (1, True)
    """

    lagrangian: Lagrangian
    degree: int
    velocities: bool
    found: tuple[Law, ...]
    of_kinetic: tuple[Symmetry, ...]
    of_potential: tuple[Symmetry, ...]
    broken_by_kinetic: tuple[Symmetry, ...]
    unverified: tuple[Symmetry, ...]
    complete: bool

    @property
    def of_lagrangian(self) -> tuple[Symmetry, ...]:
        """The symmetries of L up to a divergence."""
        return tuple(law.symmetry for law in self.found)

    @property
    def algebra(self) -> LieAlgebra:
        """The brackets of `of_lagrangian`: [X_i, X_j] = sum_k c_ij^k X_k.

        >>> import lagrangian as lg
        >>> x = lg.coordinates("x")
        >>> free = lg.Lagrangian(x.dot**2 / 2, x - x)
        >>> algebra = lg.find_symmetries(free, degree=0).algebra
        >>> algebra.is_abelian, algebra.constants.shape
        (True, (2, 2, 2))

        Raises:
            InvalidSymmetry: generators with velocities are among them, or the
                polynomials of this degree are not closed.
        """
        return LieAlgebra.of(self.of_lagrangian)

    def _sections(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        yield "of L, up to a divergence", self.found
        yield "of T alone", self.of_kinetic
        yield "of V alone", self.of_potential
        yield "of V, broken by T", self.broken_by_kinetic
        if self.unverified:
            yield "without a boundary term in closed form", self.unverified

    def __str__(self) -> str:
        kind = ", linear in the velocities" if self.velocities else ""
        lines = [f"Symmetries of degree {self.degree}{kind}"]
        for title, items in self._sections():
            lines.append(f"{title}: {len(items) or 'none'}")
            shown = items if len(items) <= MOST_SHOWN else items[: MOST_SHOWN - 1]
            lines += [
                f"  {text_moves(i)}" if isinstance(i, Symmetry) else f"  {_shown(i)}"
                for i in shown
            ]
            if len(shown) < len(items):
                lines.append(f"  ... and {len(items) - len(shown)} more")
        if not self.complete:
            lines.append("There may be more: L has functions with unknown relations.")
        return "\n".join(lines)

    _next = "`.found[0]`, a law, `.of_lagrangian`, `.broken_by_kinetic`, `.algebra`"

    def _repr_latex_(self) -> str:
        rows = []
        for title, items in self._sections():
            rows.append(rf"&\textbf{{{title}}}")
            rows += [
                _latex_motion(i) if isinstance(i, Symmetry) else _latex_shown(i)
                for i in items[:MOST_SHOWN]
            ]
            if len(items) > MOST_SHOWN:
                rows.append(r"&\vdots")
        return aligned(rows)


def _shown(law: Law) -> str:
    return f"{text_moves(law.symmetry)}; charge {shown(law.theory.factor * law.charge)}"


def _latex_shown(law: Law) -> str:
    charge = shown_latex(law.theory.factor * law.charge)
    return rf"{_latex_motion(law.symmetry)} && {charge}"


def text_moves(symmetry: Symmetry) -> str:
    """How coordinates and time move along a generator, with its name."""
    moves = [f"xi_{q} = {shown(d)}" for q, d in symmetry.xi.items()]
    if symmetry.tau != 0:
        moves.append(f"tau = {shown(symmetry.tau)}")
    return f"{symmetry.name}: {', '.join(moves)}"


def _latex_motion(symmetry: Symmetry) -> str:
    return rf"&\text{{{symmetry.name}}} && {latex_moves(symmetry)}"


def latex_moves(symmetry: Symmetry) -> str:
    """How coordinates and time move along a generator, in LaTeX."""
    moves = [rf"\xi_{{{sp.latex(q)}}} = {sp.latex(d)}" for q, d in symmetry.xi.items()]
    if symmetry.tau != 0:
        moves.append(rf"\tau = {sp.latex(symmetry.tau)}")
    return ", ".join(moves)
