"""Noether's theorem with broken symmetries: a charge, and all that moves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry, LagrangianError
from lagrangian.prompt import AtPrompt, line
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.shown import aligned, shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.boundary import boundary_term
from lagrangian.symbolic.laws.on_shell import is_constant, vanishes_on_shell
from lagrangian.symbolic.laws.oscillator import Oscillator, antiderivative, content
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.symbolic.mechanics.theory import Theory


@dataclass(frozen=True, eq=False, repr=False)
class Law(AtPrompt, ByContent):
    """A charge c, or a current J, and its rate of change on shell, split by cause.

    The rate dc/dt (for a current the divergence D_mu J^mu, for the steps of a learning
    rule the change in a step) is the sum of the `changes`. For a generator that
    contains velocities they contain accelerations, those of the equations. With
    L = exp(sigma)(T - V) they are

    - `kinetic`: the variation of T along the generator (kinetic symmetry breaking);
    - `potential`: minus the variation of V;
    - `explicit_time`: tau times the explicit time derivative of T - V;
    - `friction`: the damping, -sigma' (c - tau (T - V)), and the power of Rayleigh's
      dissipation along the generator;
    - `forces`: the power <Q, xi - tau qdot> of generalised forces and, in the symbols
      of their multipliers, of constraints.

    Theories of higher derivatives and of fields have one, the variation; for those of
    `Steps` see there. What a boundary takes off the charge changes it as `boundary`.

    Attributes:
        theory: whose law it is.
        symmetry: the generator.
        components: J by variable; of mechanics, the charge alone, by time.
        changes: the terms of the rate by name.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> law = lg.noether(spring, lg.TimeTranslation())
    >>> law.charge, law.rate, law.is_conserved
    (x**2/2 + x.dot**2/2, 0, True)
    """

    theory: Theory
    symmetry: Symmetry
    components: Mapping[sp.Symbol, sp.Expr]
    changes: Mapping[str, sp.Expr]

    def _content(self) -> tuple[Any, ...]:
        parts = (*self.components.items(), *self.changes.items())
        return Law, self.theory, self.symmetry, *parts

    @property
    def charge(self) -> sp.Expr:
        """c; of a current its component along time, the density of a charge.

        Raises:
            LagrangianError: of fields that are not over time.
        """
        if len(self.components) == 1:
            return next(iter(self.components.values()))
        if time not in self.components:
            raise LagrangianError(
                "the fields of this law are not over time, so that nothing is a charge "
                "that time would keep. Read the `components` of its current."
            )
        return self.components[time]

    @property
    def rate(self) -> sp.Expr:
        """dc/dt, or D_mu J^mu, along every solution of the equations."""
        return sp.Add(*self.changes.values())

    @property
    def divergence(self) -> sp.Expr:
        """D_mu J^mu along every solution: the `rate` of a current."""
        return self.rate

    def _change(self, cause: str) -> sp.Expr:
        if cause in self.changes:
            return self.changes[cause]
        raise LagrangianError(
            f"a law of {type(self.theory).__name__} has no term `{cause}`. It has "
            f"{', '.join(f'`{name}`' for name in self.changes)} among its `changes`. "
            "Read one of them."
        )

    @property
    def kinetic(self) -> sp.Expr:
        """The variation of T along the generator.

        Raises:
            LagrangianError: a theory other than a `Lagrangian` has no such term.
        """
        return self._change("kinetic")

    @property
    def potential(self) -> sp.Expr:
        """Minus the variation of V along the generator.

        Raises:
            LagrangianError: as of `kinetic`.
        """
        return self._change("potential")

    @property
    def explicit_time(self) -> sp.Expr:
        """tau times the explicit time derivative of T - V.

        Raises:
            LagrangianError: as of `kinetic`.
        """
        return self._change("explicit time")

    @property
    def friction(self) -> sp.Expr:
        """What damping and dissipation take; of `Steps` (beta - 1) times the charge.

        Raises:
            LagrangianError: a theory of fields or of higher derivatives has none.
        """
        return self._change("friction")

    @property
    def forces(self) -> sp.Expr:
        """The power of generalised forces, and of constraints, along the generator.

        Raises:
            LagrangianError: as of `kinetic`.
        """
        return self._change("forces")

    @property
    def lagrangian(self) -> Lagrangian:
        """The theory, where it is mechanics.

        Raises:
            InvalidLagrangian: it is another theory.
        """
        if not isinstance(self.theory, Lagrangian):
            raise InvalidLagrangian(
                "this takes a law of a `Lagrangian`, and got one of "
                f"{type(self.theory).__name__}: {self.symmetry!r}. Derive it by "
                "`lg.noether(lg.Lagrangian(T, V), symmetry)`."
            )
        return self.theory

    @cached_property
    def is_conserved(self) -> bool | None:
        """Whether the charge itself is constant: None where that is not decided.

        True when the rate, with what the equations determine put in (accelerations,
        multipliers, the second derivatives of fields), reduces to zero; False when it
        is not zero in one of a few random states that obey the equations, in 50-digit
        arithmetic; None when neither shows.
        """
        return vanishes_on_shell(self.theory, self.rate)

    @cached_property
    def boundary(self) -> sp.Expr | None:
        """B with rate = dB/dt, so that charge - B is constant; None if none is found.

        0 for a symmetry, and a boundary term for a divergence symmetry, such as a
        Galilean boost or, with a velocity-dependent generator, that of Runge and Lenz.
        Fields and steps have it looked for only as far as to see that the rate is 0.
        """
        if isinstance(self.theory, Lagrangian):
            if self.rate.free_symbols & set(self.theory.constraints.multipliers):
                return None  # they change along the motion in ways of their own
        elif self.theory.variables != (time,):
            return sp.S.Zero if self.rate == 0 else None
        return boundary_term(self.rate)

    @cached_property
    def conserved(self) -> sp.Expr | None:
        """A constant of the motion made from the charge, or None if none is found.

        charge - boundary; or, where the damped Lagrangian has the divergence symmetry
        that T - V lacks, exp(sigma) charge minus the boundary term of the whole L; or
        the charge itself where `is_conserved` knows it to be constant. What is returned
        has been put back: its rate is zero at random states, in 50-digit arithmetic. Of
        fields, it is the density of a constant.

        Raises:
            LagrangianError: of fields that are not over time.
        """
        candidates = (self._with_boundary, self._damped, self._alone)
        found = (candidate() for candidate in candidates)
        return next((c for c in found if c is not None and self._is_constant(c)), None)

    def _is_constant(self, charge: sp.Expr) -> bool:
        if len(self.components) > 1:
            return self.is_conserved is True  # what flows away across the rest counts
        return is_constant(self.theory, charge)

    def _with_boundary(self) -> sp.Expr | None:
        return None if self.boundary is None else self.charge - self.boundary

    def _damped(self) -> sp.Expr | None:
        system = self.theory
        if not isinstance(system, Lagrangian) or system.damping == 0:
            return None
        if self.forces != 0 or system.dissipation != 0:
            return None
        grown = self.rate + system.friction_rate * self.charge
        whole = boundary_term(system.factor * sp.expand_mul(grown))
        return None if whole is None else system.factor * self.charge - whole

    def _alone(self) -> sp.Expr | None:
        return self.charge if self.is_conserved else None

    @cached_property
    def oscillator(self) -> Oscillator | None:
        """The law as a driven damped oscillator, or None if the charge is no rate.

        Where the charge is the time derivative of some R(q), the law is a second-order
        equation for R (for time-independent mass and the moment of inertia, the
        Lagrange-Jacobi identity); the part of the rate proportional to R itself is its
        stiffness.
        """
        if not isinstance(self.theory, Lagrangian) or self.symmetry.boundary != 0:
            return None
        rate = self.theory.friction_rate
        moment = antiderivative(self.charge)
        if (
            moment is None
            or self.symmetry.tau != 0
            or sp.expand(self.friction + rate * self.charge) != 0
        ):
            return None
        mass, quantity = content(moment)
        stiffness = sp.cancel(-self.potential / quantity)
        source = self.kinetic + self.explicit_time + self.forces
        if jets(stiffness) or stiffness.has(Inner):
            stiffness, source = sp.S.Zero, source + self.potential
        return Oscillator(
            quantity=quantity,
            mass=mass,
            damping=mass * rate,
            stiffness=stiffness,
            source=source,
        )

    def terms(self) -> dict[str, sp.Expr]:
        """The charge, or each component, and what changes it, in the order shown.

        Forces are left out where there are none.

        Raises:
            LagrangianError: of fields that are not over time.
        """
        changes = {n: x for n, x in self.changes.items() if n != "forces" or x != 0}
        if len(self.components) == 1:
            return {"charge": self.charge} | changes
        return {f"J^{v}": part for v, part in self.components.items()} | changes

    _next = "`.conserved`, `.is_conserved`, `.rate`, `.oscillator`, `path.charge(law)`"

    def __str__(self) -> str:
        return "\n".join(f"{name:>13}: {shown(x)}" for name, x in self.terms().items())

    def __repr__(self) -> str:
        return f"Law of {self.symmetry!r}\n{super().__repr__()}"

    def _in_notebook(self) -> Iterable[str]:
        yield line(f"Law of {self.symmetry!r}")
        yield from super()._in_notebook()

    def _repr_latex_(self) -> str:
        names = {n: rf"\text{{{n}}}" for n in self.changes} | {
            "charge": r"\text{charge}"
        }
        return aligned(
            [
                f"{names.get(n) or sp.latex(sp.Symbol(n))} &: {shown_latex(x)}"
                for n, x in self.terms().items()
            ]
        )


def noether(theory: Theory, symmetry: Symmetry) -> Law:
    """The law of the charge of any generator, symmetric or not.

    Noether's theorem with its symmetry broken: along every solution, the pairing of the
    momenta with the motion changes by the variation of the action. In mechanics the
    charge is <p, xi> - tau E, with dc/dt = delta T - delta V - sigma' c and the terms
    from the motion of time where tau is not zero (Tanaka & Kunin, "Noether's Learning
    Dynamics", 2021); with higher derivatives it is Ostrogradsky's, sum p_k D^(k-1) eta
    + tau L; of fields the current J^mu = sum dL/d(d_mu phi) eta + tau^mu L with
    eta = xi - tau^nu d_nu phi. The `boundary` K of the symmetry is taken off.

    Args:
        theory: a `Lagrangian`, a `HigherOrderLagrangian`, a `FieldTheory`, or the
            `Steps` of a learning rule.
        symmetry: how its coordinates or fields move, and its variables.

    Returns:
        A `Law`, which prints with all its terms.

    Raises:
        InvalidLagrangian: `theory` is none.
        InvalidSymmetry: `symmetry` is none, or moves what `theory` lacks.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> t, x = phi.over
    >>> wave = lg.FieldTheory((phi.d(t) ** 2 - phi.d(x) ** 2) / 2)
    >>> print(noether(wave, lg.Symmetry({}, tau={x: -1})))
              J^t: phi_t*phi_x
              J^x: -phi_t**2/2 - phi_x**2/2
        variation: 0
    """
    _check(theory, symmetry)
    components = dict(theory.pairing(symmetry))
    changes = dict(theory.variation(symmetry))
    boundaries = symmetry.boundaries.items()
    taken = {v: sp.expand_mul(K / theory.factor) for v, K in boundaries}
    for v, part in taken.items():
        components[v] = sp.expand_mul(components[v] - part)
    if taken:
        rates = (theory.total_derivative(v, part) for v, part in taken.items())
        changes["boundary"] = sp.expand_mul(-sp.Add(*rates))
    return Law(theory, symmetry, components, changes)


def _check(theory: Any, symmetry: Any) -> None:
    if not isinstance(theory, Theory):
        got = getattr(theory, "__name__", type(theory).__name__)
        has_one = hasattr(theory, "lagrangian") and hasattr(theory, "steps")
        raise InvalidLagrangian(
            f"`noether` takes a theory, and got {got}. Write "
            + (
                "`rule.lagrangian(loss)`, or `rule.steps(loss)` for the exact law of a "
                "step."
                if has_one
                else "`lg.Lagrangian(T, V)`, or an `lg.FieldTheory`."
            )
        )
    if not isinstance(symmetry, Symmetry):
        got = getattr(symmetry, "__name__", type(symmetry).__name__)
        raise InvalidSymmetry(
            f"`noether` takes a symmetry, and got {got}. Write `lg.TimeTranslation()`, "
            "or `lg.Symmetry({q: xi})` for the motion xi of a coordinate q."
        )
    for moved, known, what in (
        (symmetry.xi, theory.coordinates, "coordinates"),
        (symmetry.shifts, theory.variables, "variables"),
        (symmetry.boundaries, theory.variables, "variables"),
    ):
        if foreign := [s for s in moved if s not in known]:
            verb = "has a boundary along" if moved is symmetry.boundaries else "moves"
            raise InvalidSymmetry(
                f"{symmetry!r} {verb} {', '.join(f'`{s}`' for s in foreign)}, which "
                f"this {type(theory).__name__} does not have. Its {what} are "
                f"{', '.join(f'`{s}`' for s in known)}. Move those alone."
            )
