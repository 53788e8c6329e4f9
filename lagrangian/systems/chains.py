"""Chains of particles with nearest-neighbour springs; dimensionless."""

from __future__ import annotations

import math

import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.systems.system import System


def toda_chain(masses: int = 4) -> System:
    """A ring of particles with exponential springs (Toda, 1967); integrable.

    With r the stretch of a spring, its energy is (a/b) (exp(-b r) + b r - 1). For
    m = a = b = 1 the eigenvalues of Flaschka's matrix are constant: 1/2 of the
    velocities on the diagonal, exp(-r/2)/2 beside it and in the corners.

    Args:
        masses: how many, 3 or more.

    Returns:
        A `System`, dimensionless.

    Raises:
        LagrangianError: fewer.
    """
    _at_least(masses, 3)
    q = coordinates(f"q1:{masses + 1}")
    m, a, b = sp.symbols("m a b", positive=True)
    stretches = [q[(i + 1) % masses] - q[i] for i in range(masses)]
    # The stretches of a ring add up to nothing, so that the terms b r leave no trace.
    springs = [sp.exp(-b * r) - 1 for r in stretches]
    return System(
        name="toda-chain",
        description="a ring of particles with exponential springs",
        lagrangian=Lagrangian(
            T=m / 2 * sp.Add(*(x.dot**2 for x in q)),
            V=a / b * sp.Add(*springs),
            coordinates=q,
        ),
        parameters={m: 1.0, a: 1.0, b: 1.0},
        positions=dict.fromkeys(q, 0.0),
        velocities={x: 1.5 if i == 0 else 0.0 for i, x in enumerate(q)},
    )


def fput_chain(masses: int = 32) -> System:
    """A string of particles between walls whose springs have a quadratic term.

    The alpha model of Fermi, Pasta, Ulam and Tsingou (1955) with the values of their
    figure 1: 32 moving particles, alpha = 1/4, and the first mode with amplitude 1.
    Instead of spreading, the energy comes back to that mode to 98 per cent at
    t = 10,130: 153 of its periods, or 28,600 times their time step.

    Args:
        masses: how many, 1 or more.

    Returns:
        A `System`, dimensionless.

    Raises:
        LagrangianError: fewer.
    """
    _at_least(masses, 1)
    q = coordinates(f"q1:{masses + 1}")
    m, k, alpha = sp.symbols("m k alpha", positive=True)
    ends = [sp.S.Zero, *q, sp.S.Zero]
    stretches = [right - left for left, right in zip(ends, ends[1:], strict=False)]
    springs = [k * (r**2 / 2 + alpha * r**3 / 3) for r in stretches]
    angle = math.pi / (masses + 1)
    return System(
        name="fput-chain",
        description="particles between walls with nonlinear springs",
        lagrangian=Lagrangian(
            T=m / 2 * sp.Add(*(x.dot**2 for x in q)),
            V=sp.Add(*springs),
            coordinates=q,
        ),
        parameters={m: 1.0, k: 1.0, alpha: 0.25},
        positions={x: math.sin((i + 1) * angle) for i, x in enumerate(q)},
        velocities=dict.fromkeys(q, 0.0),
        t=200.0,
    )


def _at_least(masses: int, least: int) -> None:
    if masses < least:
        raise LagrangianError(f"`masses` is {masses}; write {least} or more.")
