"""Noether's theorem with broken symmetries: a charge, and all that moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry
from lagrangian.symbolic.algebra.calculus import pairing, total_derivative, variation
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.boundary import boundary_term
from lagrangian.symbolic.laws.on_shell import is_constant, vanishes_on_shell
from lagrangian.symbolic.laws.shell import Shell
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True)
class Oscillator:
    """A law as the motion of one quantity x: mass x'' + damping x' + stiffness x = S.

    `quantity` is x as an expression in the coordinates, and `source` is S.
    """

    quantity: Any
    mass: Any
    damping: Any
    stiffness: Any
    source: Any

    def __str__(self) -> str:
        left = f"{self.mass}*x'' + {self.damping}*x' + {self.stiffness}*x"
        return f"{left} = {self.source}   with x = {self.quantity}"

    def _repr_latex_(self) -> str:
        mass, damping, stiffness, source, x = map(
            sp.latex,
            (self.mass, self.damping, self.stiffness, self.source, self.quantity),
        )
        return (
            rf"$\displaystyle {mass}\,\ddot x + {damping}\,\dot x + {stiffness}\,x = "
            rf"{source}, \qquad x = {x}$"
        )


@dataclass(frozen=True)
class Law:
    """A charge c and its rate of change on shell, split by what causes it.

    dc/dt = kinetic + potential + explicit_time + friction + forces. For a generator
    that contains velocities, the terms contain accelerations, those of the equations.
    With L = exp(sigma)(T - V):

    - `kinetic`: the variation of T along the generator (kinetic symmetry breaking);
    - `potential`: minus the variation of V;
    - `explicit_time`: tau times the explicit time derivative of T - V;
    - `friction`: the damping, -sigma' (c - tau (T - V)), and the power of Rayleigh's
      dissipation along the generator;
    - `forces`: the power <Q, xi - tau qdot> of generalised forces and, in the symbols
      of their multipliers, of constraints.
    """

    lagrangian: Lagrangian
    symmetry: Symmetry
    charge: Any
    kinetic: Any
    potential: Any
    explicit_time: Any
    friction: Any
    forces: Any = sp.S.Zero

    @property
    def rate(self) -> Any:
        """dc/dt along every solution of the Euler-Lagrange equations."""
        return (
            self.kinetic
            + self.potential
            + self.explicit_time
            + self.friction
            + self.forces
        )

    @cached_property
    def is_conserved(self) -> bool | None:
        """Whether the charge itself is constant: None where that is not decided.

        True when the rate, with the accelerations and multipliers of the equations,
        reduces to zero; False when it is not zero in one of a few random states that
        obey the constraints, in 50-digit arithmetic; None when neither shows.
        """
        return vanishes_on_shell(self._shell, self.rate)

    @cached_property
    def _shell(self) -> Shell:
        return Shell(self.lagrangian)

    @cached_property
    def boundary(self) -> Any | None:
        """B with rate = dB/dt, so that charge - B is constant; None if none is found.

        0 for a symmetry, and a boundary term for a divergence symmetry, such as a
        Galilean boost or, with a velocity-dependent generator, that of Runge and Lenz.
        """
        if self.rate.free_symbols & set(self.lagrangian.constraints.multipliers):
            return None  # they change along the motion in ways of their own
        return boundary_term(self.rate)

    @cached_property
    def conserved(self) -> Any | None:
        """A constant of the motion made from the charge, or None if none is found.

        charge - boundary; or, where the damped Lagrangian has the divergence symmetry
        that T - V lacks, exp(sigma) charge minus the boundary term of the whole L; or
        the charge itself where `is_conserved` knows it to be constant. What is returned
        has been put back: its rate is zero at random states, in 50-digit arithmetic.
        """
        candidates = (self._with_boundary, self._damped, self._alone)
        found = (candidate() for candidate in candidates)
        kept = (c for c in found if c is not None and is_constant(self._shell, c))
        return next(kept, None)

    def _with_boundary(self) -> Any | None:
        return None if self.boundary is None else self.charge - self.boundary

    def _damped(self) -> Any | None:
        system = self.lagrangian
        if system.damping == 0 or self.forces != 0 or system.dissipation != 0:
            return None
        factor = sp.exp(system.damping)
        stretch = system.friction_rate * self.symmetry.tau * system.undamped
        whole = boundary_term(
            factor * (self.kinetic + self.potential + self.explicit_time + stretch)
        )
        return None if whole is None else factor * self.charge - whole

    def _alone(self) -> Any | None:
        return self.charge if self.is_conserved else None

    @cached_property
    def oscillator(self) -> Oscillator | None:
        """The law as a driven damped oscillator, or None if the charge is no rate.

        Where the charge is the time derivative of some R(q), the law is a second-order
        equation for R (for time-independent mass and the moment of inertia, the
        Lagrange-Jacobi identity); the part of the rate proportional to R itself is its
        stiffness.
        """
        moment = _antiderivative(self.charge)
        damping = self.lagrangian.friction_rate * self.charge
        if (
            moment is None
            or self.symmetry.tau != 0
            or sp.expand(self.friction + damping) != 0
        ):
            return None
        mass, quantity = _content(moment)
        stiffness = sp.cancel(-self.potential / quantity)
        source = self.kinetic + self.explicit_time + self.forces
        if jets(stiffness) or stiffness.has(Inner):
            stiffness, source = sp.S.Zero, source + self.potential
        return Oscillator(
            quantity=quantity,
            mass=mass,
            damping=mass * self.lagrangian.friction_rate,
            stiffness=stiffness,
            source=source,
        )

    def terms(self) -> dict[str, Any]:
        """The terms by name, in the order in which a law is always shown.

        Forces are left out where there are none.
        """
        shown = {
            "charge": self.charge,
            "kinetic": self.kinetic,
            "potential": self.potential,
            "explicit time": self.explicit_time,
            "friction": self.friction,
        }
        return shown if self.forces == 0 else shown | {"forces": self.forces}

    def __str__(self) -> str:
        return "\n".join(f"{name:>13}: {term}" for name, term in self.terms().items())

    def __repr__(self) -> str:
        return f"Law of {self.symmetry!r}\n{self}"

    def _repr_latex_(self) -> str:
        rows = r" \\ ".join(
            rf"\text{{{name}}} &: {sp.latex(term)}"
            for name, term in self.terms().items()
        )
        return rf"$\displaystyle \begin{{aligned}} {rows} \end{{aligned}}$"


def noether(lagrangian: Lagrangian, symmetry: Symmetry) -> Law:
    """The law of the charge c = <p, xi> - tau E for any generator, symmetric or not.

    Noether's theorem with its symmetry broken (Tanaka & Kunin, "Noether's Learning
    Dynamics", 2021): dc/dt = delta T - delta V - sigma' c, and the terms from the
    motion of time where tau is not zero.

    Raises:
        InvalidLagrangian: `lagrangian` is none; theories of fields and of higher
            derivatives have a method `noether` of their own.
        InvalidSymmetry: `symmetry` is none, or moves coordinates that `lagrangian`
            lacks.
    """
    if not isinstance(lagrangian, Lagrangian):
        own = hasattr(lagrangian, "noether")
        advice = (
            "Use its own method `noether`" if own else "Write `lg.Lagrangian(T, V)`"
        )
        raise InvalidLagrangian(
            f"`noether` takes a `Lagrangian`, and got {type(lagrangian).__name__}. "
            f"{advice}."
        )
    if not isinstance(symmetry, Symmetry):
        got = getattr(symmetry, "__name__", type(symmetry).__name__)
        raise InvalidSymmetry(
            f"`noether` takes a symmetry, and got {got}. Write `lg.TimeTranslation()`, "
            "or `lg.Symmetry({q: xi})` for the motion xi of a coordinate q."
        )
    if foreign := [q for q in symmetry.xi if q not in lagrangian.coordinates]:
        raise InvalidSymmetry(
            f"{symmetry!r} moves {', '.join(f'`{q}`' for q in foreign)}, which this "
            "Lagrangian does not have. Its coordinates are "
            f"{', '.join(f'`{q}`' for q in lagrangian.coordinates)}."
        )
    xi, tau = symmetry.xi, symmetry.tau
    momenta, friction_rate = lagrangian.momenta, lagrangian.friction_rate
    charge = (
        sp.Add(*(pairing(momenta[q], direction) for q, direction in xi.items()))
        - tau * lagrangian.energy
    )

    stretch = total_derivative(tau)
    motion: dict[Any, Any] = dict(xi)
    for q in lagrangian.coordinates:
        motion[q.dot] = total_derivative(xi.get(q, sp.S.Zero)) - q.dot * stretch

    def change(energy: Any) -> Any:
        return sp.expand_mul(variation(energy, motion) + energy * stretch)

    def power(forces: Mapping[Any, Any]) -> Any:
        return sp.Add(
            *(
                pairing(force, xi.get(q, sp.S.Zero) - tau * q.dot)
                for q, force in forces.items()
            )
        )

    return Law(
        lagrangian=lagrangian,
        symmetry=symmetry,
        charge=sp.expand_mul(charge),
        kinetic=change(lagrangian.T),
        potential=-change(lagrangian.V),
        explicit_time=tau * variation(lagrangian.undamped, {time: 1}),
        friction=sp.expand_mul(
            power(lagrangian.dissipative_forces)
            - friction_rate * (charge - tau * lagrangian.undamped)
        ),
        forces=sp.expand_mul(
            power(lagrangian.forces) + _constraint_power(lagrangian, symmetry)
        ),
    )


def _constraint_power(lagrangian: Lagrangian, symmetry: Symmetry) -> Any:
    """lambda (J xi - tau J qdot), in which the constraint says that J qdot = -b."""
    constraints = lagrangian.constraints
    rates = []
    for k, multiplier in enumerate(constraints.multipliers):
        along = sp.Add(
            *(
                constraints.jacobian[k, i] * symmetry.xi.get(q, sp.S.Zero)
                for i, q in enumerate(lagrangian.coordinates)
            )
        )
        rates.append(multiplier * (along + symmetry.tau * constraints.bias[k]))
    return sp.Add(*rates)


def _antiderivative(charge: Any) -> Any | None:
    """R(q) with total derivative `charge`, for charges polynomial in the coordinates.

    A term of R of degree n in q contributes n times itself when every velocity in its
    derivative is replaced by its coordinate, which is Euler's theorem.
    """
    along = sp.expand(charge.xreplace({v: v.base for v in jets(charge, order=1)}))
    stretch = sp.Dummy("s", positive=True)
    moment = sp.S.Zero
    for term in sp.Add.make_args(along):
        scaled = sp.expand(term.xreplace({q: stretch * q for q in jets(term)}))
        degree = scaled.as_coeff_exponent(stretch)[1]
        if not degree.is_Integer or degree <= 0:
            return None
        moment += term / degree
    if sp.expand(total_derivative(moment) - charge) != 0:
        return None
    return moment


def _content(expression: Any) -> tuple[Any, Any]:
    """The coefficient without coordinates, and the rest."""
    return sp.factor_terms(expression).as_independent(Coordinate, Inner, as_Add=False)
