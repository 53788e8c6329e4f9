"""A field theory on a domain, apart from the numbers of its parameters."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.flows.fields.periodic import PeriodicDomain
from lagrangian.flows.guard import Balance, Guard
from lagrangian.flows.structure import kept
from lagrangian.symbolic.algebra.calculus import gradient, variation
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.fields import real_parts
from lagrangian.symbolic.mechanics.field_theory import FieldTheory


class FieldStructure(ByContent):
    """A field theory on a domain, without its parameters.

    Attributes:
        components: the real fields of the state, in their order.
        symbols: the parameters.
    """

    def __init__(self, theory: FieldTheory, domain: PeriodicDomain, symbols: Any):
        self.theory, self.domain, self.symbols = theory, domain, tuple(symbols)
        self.components = tuple(
            part
            for phi in theory.fields
            if not phi.conjugated
            for part in ([phi] if phi.is_real else real_parts(phi))
        )

    def _content(self) -> tuple[Any, ...]:
        return FieldStructure, self.theory, self.domain, self.symbols

    @cached_property
    def still(self) -> list[Any]:
        """The components and their first derivatives in space."""
        space = self.domain.space
        return [
            jet for phi in self.components for jet in (phi, *(phi.d(x) for x in space))
        ]

    @cached_property
    def system(self) -> tuple[Any, list[Any], list[dict[Any, Any]]]:
        """M, F and fluxes P of M phi_tt = F - sum over space of D P, at one point."""
        density = self.theory.real_form.density
        momenta = [gradient(density, phi.d(time)) for phi in self.components]
        matrix = sp.Matrix(
            [[gradient(p, phi.d(time)) for phi in self.components] for p in momenta]
        )
        drift = {jet: jet.d(time) for jet in self.still} | {time: sp.S.One}
        forcing = [
            gradient(density, phi) - variation(p, drift)
            for phi, p in zip(self.components, momenta, strict=True)
        ]
        fluxes = [
            {x: gradient(density, phi.d(x)) for x in self.domain.space}
            for phi in self.components
        ]
        return matrix, forcing, fluxes


@kept
def energy_guard(structure: FieldStructure) -> Guard:
    """What checks the paths of a structure: dE/dt = minus the integral of dL/dt."""
    theory = structure.theory.real_form
    rate = -variation(theory.density, {time: sp.S.One})
    return Guard(structure, [Balance("energy", sp.expand(theory.energy_density), rate)])
