"""Generators that are nonlinear in an array: an activation of it, by a factor.

Where an activation sigma acts on the entries of an array by themselves, as on those of
an embedding, and a linear layer U reads the result, sigma(V) may grow by what U
shrinks. That moves V by sigma/sigma', which no linear ansatz has (Zhao et al.,
"Symmetries, Flat Minima, and the Conserved Quantities of Gradient Flow", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.learning.activations import ACTIVATIONS
from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.pieces import Piece
from lagrangian.learning.discover.probe import Probe
from lagrangian.learning.discover.terms import SCALE, Term, sampled_units
from lagrangian.learning.discover.units import View
from lagrangian.symbolic.algebra.blocks import Block

#: Draws of parameters and rows at which a generator must hold.
DRAWS = 4


@dataclass(frozen=True)
class Stretch(Generator):
    """sigma of the units of the first term by 1 + s, what reads them by 1 - s.

    Attributes:
        activation: one of the `ACTIVATIONS`.
    """

    activation: str = "tanh"

    def element(self, generator: np.random.Generator) -> np.ndarray:
        """Such that sigma shrinks, and stays within its range."""
        return -np.abs(super().element(generator))

    def field(self, theta: Mapping[str, Any], chosen: np.ndarray) -> dict[str, Any]:
        """xi at `theta` for one element of the family: an array for each path moved."""
        slope = ACTIVATIONS[self.activation].slope
        path = self.terms[0][0].path
        return super().field({**theta, path: slope(theta[path])}, chosen)

    def finite(self, theta: Mapping[str, Any], chosen: np.ndarray) -> dict[str, Any]:
        """The finite transformation: exp(s) sigma(V) and exp(-s) U, for each unit."""
        found, moved = ACTIVATIONS[self.activation], dict(theta)
        for i, (term, sign) in enumerate(self.terms):
            view, array = term.view, theta[term.path]
            spread = np.broadcast_to(chosen[..., None], (*view.units, view.size))
            way = sign * view.fold(spread)
            moved[term.path] = np.exp(way) * array if i else found.moved(array, way)
        return moved

    def directions(self) -> dict[Any, Any]:
        """xi of each block, with one charge a unit."""
        xi: dict[Any, Any] = {}
        for i, (term, sign) in enumerate(self.terms):
            ((_, axis),) = term.view.axis_by_units.items()
            block = Block(term.path, unit_axis=axis)
            moved = block if i else ACTIVATIONS[self.activation].direction(block)
            xi[block] = int(sign) * moved
        return xi


def stretches(probe: Probe, seed: int) -> list[Stretch]:
    """Those of all arrays, activations, and pairs of arrays that read one.

    Args:
        probe: draws of parameters and gradients.
        seed: of both.
    """
    drawn = [(q, probe.gradient(q, rows)) for q, rows in probe.draws(DRAWS, seed)]
    views = [view for path, s in probe.shapes.items() for view in _views(path, s)]
    scales = {view: _pairings(view, drawn, lambda x: x) for view in views}
    found = []
    for view in views:
        others = [v for v in views if v.path != view.path and v.units == view.units]
        for name, activation in ACTIVATIONS.items():
            with np.errstate(over="ignore", invalid="ignore"):
                pairing = _pairings(view, drawn, activation.slope)
            size = np.sqrt(np.mean(pairing**2))
            # What the loss does not depend on, and what is far from where it was set.
            if not probe.rounding < size < np.inf:
                continue
            for readers in _readers(pairing, others, scales, probe.rounding * size):
                left = pairing - sum(scales[reader] for reader in readers)
                defect = float(np.sqrt(np.mean(left**2)) / size)
                if defect < probe.rounding:
                    terms = ((Term(view, SCALE), 1.0),) + tuple(
                        (Term(reader, SCALE), -1.0) for reader in readers
                    )
                    gap = (defect, 1.0)
                    found.append(Stretch(terms, defect, gap, terms, name))
                    break
    return found


def _views(path: str, shape: tuple[int, ...]) -> Iterator[View]:
    """An array by the units along each of its axes."""
    piece = Piece.all_of(path, shape)
    for axis in range(len(piece.shape)):
        yield View(piece, (axis,))


def _pairings(view: View, drawn: list[Any], function: Any) -> np.ndarray:
    """<g, function(theta)> of each unit, or of a sample of many, in each draw."""
    (axis,) = view.axes
    rest = tuple(a for a in range(len(view.shape)) if a != axis)
    chosen = sampled_units(view.units)

    def units(arrays: Mapping[str, Any]) -> np.ndarray:
        return view.piece.take(arrays[view.path]).take(chosen, axis)

    return np.stack([(function(units(q)) * units(g)).sum(rest) for q, g in drawn])


def _readers(
    pairing: np.ndarray,
    others: list[View],
    scales: Mapping[View, np.ndarray],
    bound: float,
) -> Iterator[tuple[View, ...]]:
    """Arrays that may read the units: one, or two.

    Their pairings must add up to `pairing`. One random weighted sum of each, a number,
    shows where they cannot, so that pairs need not be tried one by one.

    Args:
        pairing, scales: of the units, in each draw.
        others: what may read them.
        bound: of the root mean square of what is left, if they do.
    """
    weights = np.random.default_rng(0).standard_normal(pairing.shape)
    limit = bound * np.sqrt(weights.size) * np.linalg.norm(weights)
    numbers = np.array([(weights * scales[view]).sum() for view in others])
    left = (weights * pairing).sum() - numbers
    for one in np.flatnonzero(np.abs(left) <= limit):
        yield (others[one],)
    for one, other in np.argwhere(np.abs(left[:, None] - numbers) <= limit):
        if one < other and others[one].path != others[other].path:
            yield others[one], others[other]
