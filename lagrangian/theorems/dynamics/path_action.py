"""The action of a dissipative path, and its entropy as a charge: the identities.

A state z has a conjugate field f. On the path that costs nothing f is zero, and z moves
as thermodynamics says; the action of another path is how unlikely it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.symbolic.algebra.coordinates import coordinates, time
from lagrangian.symbolic.algebra.symmetry import Symmetry, TimeTranslation
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.theorem import Claim, identity

q, p, e = Z = coordinates("q p e")
FIELDS = coordinates("f_q f_p f_e")
mass, spring, heat, G = sp.symbols("m k C Gamma", positive=True)
trap = sp.Symbol("lambda", real=True)
v = p / mass

ENERGY = p**2 / (2 * mass) + spring / 2 * (q - trap) ** 2 + e
ENTROPY = heat * sp.log(e)

Covector = Sequence[Any]


def slope(expression: Any) -> Covector:
    return [sp.diff(expression, z) for z in Z]


def paired(left: Covector, right: Covector) -> Any:
    return sp.Add(*(a * b for a, b in zip(left, right, strict=True)))


def friction(xi: Covector) -> Any:
    """Psi* of a probe in a fluid, whose friction is nonlinear."""
    return 2 * G * (sp.cosh(xi[1] - v * xi[2]) - 1)


def leaking(xi: Covector) -> Any:
    """For a control: the heat of friction is lost."""
    return 2 * G * (sp.cosh(xi[1]) - 1)


def action(states: Sequence[Any], fields: Sequence[Any], H: Any) -> Lagrangian:
    """(f z' - z f')/2 - H, which is f z' - H but for a total derivative.

    All are numbers; H is of both.
    """
    pairs = zip(fields, states, strict=True)
    return Lagrangian(sp.Add(*(f * z.dot - z * f.dot for f, z in pairs)) / 2, H)


def shift(states: Sequence[Any], fields: Sequence[Any], entropy: Any) -> Symmetry:
    """f -> f - s dS, by which (f z' - z f')/2 changes by that of its boundary."""
    slopes = [sp.diff(entropy, z) for z in states]
    boundary = paired(states, slopes) / 2 - entropy
    moves = {f: -s for f, s in zip(fields, slopes, strict=True) if s != 0}
    return Symmetry(moves, boundary=boundary)


@dataclass(frozen=True)
class Probe:
    """An inertial probe in a trap at lambda, with its fluid as a bath of heat e.

    Attributes:
        friction: Psi*, even and convex in its argument.
        entropy: S.
    """

    friction: Callable[[Covector], Any] = friction
    entropy: Any = ENTROPY

    @property
    def reversible(self) -> Covector:
        """J dE, with the canonical J for (q, p)."""
        dq, dp, _ = slope(ENERGY)
        return dp, -dq, sp.S.Zero

    def dissipative(self, fields: Covector) -> Any:
        """Psi*(f + dS/2) - Psi*(dS/2)."""
        half = [s / 2 for s in slope(self.entropy)]
        moved = [f + s for f, s in zip(fields, half, strict=True)]
        return self.friction(moved) - self.friction(half)

    @property
    def hamiltonian(self) -> Any:
        return self.dissipative(FIELDS) + paired(FIELDS, self.reversible)

    @property
    def velocity(self) -> Covector:
        """dH/df, which is z' on every path."""
        return [sp.diff(self.hamiltonian, f) for f in FIELDS]

    @cached_property
    def likely(self) -> Covector:
        """z' on the path that costs nothing."""
        still = dict.fromkeys(FIELDS, 0)
        return [sp.simplify(x.subs(still)) for x in self.velocity]

    @property
    def lagrangian(self) -> Lagrangian:
        return action(Z, FIELDS, self.hamiltonian)

    @property
    def law(self) -> Law:
        """Of z fixed, f -> f - s dS."""
        return noether(self.lagrangian, shift(Z, FIELDS, self.entropy))


# ------------------------------------------------------------------ the probe


def probe_identities() -> Iterator[Claim]:
    """What makes S the charge, and what breaks with a hypothesis."""
    probe = Probe()
    dS, dE = slope(ENTROPY), slope(ENERGY)
    told = paired(probe.velocity, dS)
    yield identity("probe: charge of f -> f - s dS, less S", probe.law.charge - ENTROPY)
    what = "probe, every path: its rate less dH/df dS"
    yield identity(what, probe.law.rate - told)
    what = "probe, every path: dH/df dE, the change of E while lambda rests"
    yield identity(what, paired(probe.velocity, dE))
    yield from _costs_nothing(probe, told)
    yield identity("probe: J dE dS", paired(probe.reversible, dS))
    xi, kappa = sp.symbols("xi_q xi_p xi_e"), sp.Symbol("kappa")
    moved = [a + kappa * b for a, b in zip(xi, dE, strict=True)]
    what = "probe: Psi*(xi + kappa dE) - Psi*(xi)"
    yield identity(what, friction(moved) - friction(xi))
    back = [-f - s for f, s in zip(FIELDS, dS, strict=True)]
    what = "probe, detailed balance: dissipative H at -f - dS, less at f"
    yield identity(what, probe.dissipative(back) - probe.dissipative(FIELDS))
    back = [-f for f in FIELDS]
    what = "probe: dissipative H at -f, less at f"
    rest = probe.dissipative(back) - probe.dissipative(FIELDS)
    yield identity(what, rest.subs({FIELDS[1]: 1, FIELDS[2]: 0}), control=True)
    yield from _second_order(dE)
    lost = Probe(leaking)
    what = "heat of friction lost, so that Psi* varies along dE: dH/df dE"
    yield identity(what, paired(lost.velocity, dE), control=True)
    what = "S + p, for which J dS is not zero: J dE dS"
    yield identity(what, paired(probe.reversible, slope(ENTROPY + p)), control=True)


def _costs_nothing(probe: Probe, made: Any) -> Iterator[Claim]:
    still = dict.fromkeys(FIELDS, 0)
    temperature = e / heat
    force = 2 * G * sp.sinh(v / (2 * temperature))
    told = v, -spring * (q - trap) - force, v * force
    for z, moved, found in zip(Z, told, probe.likely, strict=True):
        yield identity(f"probe, f = 0: {z}' - that by hand", found - moved)
    what = "probe, f = 0: S' - (v/T) 2 Gamma sinh(v/2T)"
    yield identity(what, made.subs(still) - v / temperature * force)
    rest = dict.fromkeys((f.dot for f in FIELDS), 0) | still
    rest |= {z.dot: moved for z, moved in zip(Z, probe.likely, strict=True)}
    left = [(x.lhs - x.rhs).subs(rest) for x in probe.lagrangian.equations]
    what = "probe, f = 0: Euler-Lagrange equations of the action, all six"
    yield identity(what, sp.Matrix(left).applyfunc(sp.simplify).norm())


def _second_order(dE: Covector) -> Iterator[Claim]:
    """dH/df dS near dS = b dE and f = 0: how slowly S changes along a slow path."""
    s, scale = sp.symbols("s b")
    beside, field = sp.symbols("sigma_q:3"), sp.symbols("phi_q:3")
    xi = sp.symbols("xi_q xi_p xi_e")
    near = {
        x: s * f + (scale * d + s * b) / 2
        for x, f, d, b in zip(xi, field, dE, beside, strict=True)
    }
    moved = [sp.diff(friction(xi), x).subs(near) for x in xi]
    entropy = [scale * d + s * b for d, b in zip(dE, beside, strict=True)]
    made = paired(moved, entropy)
    what = "probe, dS = b dE + O(s), f = O(s): dH/df dS at s^{}"
    for power in range(3):
        found = sp.diff(made, s, power).subs(s, 0)
        yield identity(what.format(power), found, control=power == 2)


# ------------------------------------------------------------------ the pace


def pace_identities() -> Iterator[Claim]:
    """What is least of all ways to run a schedule, as the motion of a Lagrangian."""
    x = coordinates("lambda")
    metric: Any = UndefinedFunction("M")(x)
    squared = metric * x.dot**2
    law = noether(Lagrangian(squared, coordinates=[x]), TimeTranslation())
    what = "M(lambda) lambda'^2 as a Lagrangian: its energy - M lambda'^2"
    yield identity(what, law.charge - squared)
    yield identity("the rate of that energy, the squared speed", law.rate)
    heating = Lagrangian(time * squared, coordinates=[x])
    what = "its rate where the friction changes with time"
    yield identity(what, noether(heating, TimeTranslation()).rate, control=True)
