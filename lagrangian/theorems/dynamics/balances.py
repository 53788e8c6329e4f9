"""The balance of a charge: how much of it each term has moved, along a flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.polynomial import chebyshev

from lagrangian.flows.lower import lower
from lagrangian.flows.trajectory import Trajectory
from lagrangian.symbolic.algebra.calculus import gradient, pairing, total_derivative
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


def dynamic_asymmetry(law: Law) -> Any:
    """<dT/dqdot, D_t xi>: what the generator does to the velocities."""
    kinetic, xi = law.lagrangian.T, law.symmetry.xi
    return sp.Add(
        *(pairing(gradient(kinetic, q.dot), total_derivative(x)) for q, x in xi.items())
    )


def metric_term(law: Law) -> Any:
    """<dT/dq, xi>: zero for a kinetic energy that is the same at every position."""
    kinetic, xi = law.lagrangian.T, law.symmetry.xi
    return sp.Add(*(pairing(gradient(kinetic, q), x) for q, x in xi.items()))


def nodes(begin: float, end: float, count: int = 97) -> np.ndarray:
    """Chebyshev's times, at which integrals converge like the path's power series."""
    points = np.cos(np.pi * np.arange(count - 1, -1, -1) / (count - 1))
    times = (begin + end + (end - begin) * points) / 2
    times[0], times[-1] = begin, end
    return times


def integral(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """From the first time to each, of the polynomial through all values.

    Args:
        times: made by `nodes`.
        values: of shape (times, ...), as is what is returned.
    """
    begin, end = times[[0, -1]]
    x = (2 * times - begin - end) / (end - begin)
    series = chebyshev.chebfit(x, values, len(x) - 1)
    whole = chebyshev.chebint(series, lbnd=-1, axis=0)
    return chebyshev.chebval(x, whole).T * (end - begin) / 2


@dataclass(frozen=True)
class Motion:
    """A kinetic energy, and what its flows need.

    Attributes:
        lagrangian: for an opaque loss.
        values: of the symbols in it.
        t: from when to when it is followed.
    """

    lagrangian: Callable[[Loss], Lagrangian]
    values: Mapping[Any, Any]
    t: tuple[float, float]

    def law(self, symmetry: Symmetry) -> Law:
        """The law of an invariant loss, in which the loss does not occur."""
        return noether(self.lagrangian(symmetry.loss), symmetry)

    def follow(
        self,
        symmetry: Symmetry,
        loss: Callable[[Any, Any], Any],
        start: Mapping[str, np.ndarray],
        batch: Any,
        tol: float,
    ) -> Balance:
        """The balance of a law along the flow of a loss, be it invariant or not.

        The blocks that the symmetry moves start from `start`, at random velocities;
        all others stay there.
        """
        law = self.law(symmetry)
        names = [block.name for block in symmetry.blocks]

        def bound(*blocks: Any) -> Any:
            return loss({**start, **dict(zip(names, blocks, strict=True))}, batch)

        flow = lower(law.lagrangian, self.values, losses={"f": bound})
        generator = np.random.default_rng(0)
        velocity = {n: generator.normal(size=start[n].shape) for n in names}
        path = flow.integrate(
            {n: start[n] for n in names}, velocity, nodes(*self.t), tol=tol
        )
        return Balance(law, path)


@dataclass(frozen=True)
class Balance:
    """What moved a charge along a path whose output times are `nodes`.

    Attributes:
        law: of a loss that has the symmetry.
        path: of any loss.
    """

    law: Law
    path: Trajectory

    @cached_property
    def charge(self) -> np.ndarray:
        """Shape (times, units), with one unit where the charge is a scalar."""
        return self._columns(self.law.charge)

    @cached_property
    def terms(self) -> dict[str, np.ndarray]:
        """What makes the charge's rate, by name; each of shape (times, units)."""
        law = self.law
        terms = {
            "dissipation": law.friction,
            "weight decay": law.potential,
            "asymmetry": dynamic_asymmetry(law),
            "metric": metric_term(law),
        }
        return {name: self._columns(term) for name, term in terms.items()}

    @cached_property
    def moved(self) -> dict[str, np.ndarray]:
        """By how much each term has moved the charge; of shape (times, units)."""
        return {name: integral(self.path.t, t) for name, t in self.terms.items()}

    @property
    def gap(self) -> np.ndarray:
        """The largest difference of all units between charge and terms, at each time.

        As a share of the largest change that a term has made alone.
        """
        return self._gap(())

    def residual(self, *without: str) -> float:
        """The largest gap, with the terms of these names left out."""
        return float(self._gap(without).max())

    def _gap(self, without: tuple[str, ...]) -> np.ndarray:
        total = sum(m for name, m in self.moved.items() if name not in without)
        difference = np.abs(self.charge - self.charge[0] - total).max(axis=1)
        return difference / max(np.abs(m).max() for m in self.moved.values())

    def _columns(self, expression: Any) -> np.ndarray:
        values = self.path.evaluate(expression)
        return values.reshape(len(self.path.t), -1)
