"""Every symmetry proved anew: at fresh parameters, and by a finite transformation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lagrangian.learning.discover.candidates import Candidate
from lagrangian.learning.discover.families import NEAR
from lagrangian.learning.discover.generator import Generator, flow
from lagrangian.learning.discover.probe import Probe
from lagrangian.learning.discover.stretches import Stretch
from lagrangian.learning.discover.terms import paired

EXACT, APPROXIMATE, ABSENT = "exact", "approximate", "absent"
#: Where training differentiates something else than its loss (`stop_gradient`): what
#: its gradient alone has, and what its loss alone has.
OF_GRADIENT, OF_LOSS = "of the gradient, not of the loss", "of the loss alone"
#: Entries of an array that no example of the batch reaches.
UNEXERCISED = "not exercised by this batch"

#: What rounding leaves of a finite transformation, as a multiple of what it leaves of a
#: residual: it goes through exponentials.
FINITE = 10.0
#: Zeros of a null space below this share of `rounding` are as good as exact ones.
LOWEST = 1e-4

#: Fresh draws of parameters, rows and elements of a family.
DRAWS = 3
#: Below this share of the loss, what random displacements change is no yardstick.
UNMOVED = 1e-9


@dataclass(frozen=True)
class Evidence:
    """One row: what was found, and every number that its kind rests on.

    Attributes:
        description: parameter paths and their roles.
        family: "scale", "rescale", "translation", "general linear (symmetric)",
            "rotation", or the name of a candidate.
        blocks: the paths that it moves.
        generators: how many independent ones the row stands for.
        kind: "exact", "approximate" or "absent"; with `stop_gradient` in the loss also
            "of the gradient, not of the loss", whose law holds in training, and "of
            the loss alone", whose law does not.
        residual: <grad f, xi> over the root of the sum of its squared terms (1 is what
            random signs give), root mean square over the samples.
        zero, nonzero: of the null space that it was found in, the largest singular
            value that counts as zero and the smallest that does not, relative to
            random signs. NaN for a candidate.
        defect: how far the finite transformation moves the loss, relative to random
            displacements of the same arrays by the same lengths.
    """

    description: str
    family: str
    blocks: tuple[str, ...]
    generators: int
    kind: str
    residual: float
    zero: float
    nonzero: float
    defect: float

    @classmethod
    def of(
        cls,
        description: str,
        family: str,
        generator: Generator | Candidate,
        measured: Measured,
        rounding: float,
    ) -> Evidence:
        residual = max(generator.defect, measured.residual)
        kind = APPROXIMATE if residual < NEAR else ABSENT
        holds = measured.defect < FINITE * rounding
        # What lies beyond the gap is no zero, however small: an epsilon of 1e-11.
        zero, other = generator.gap
        middle = np.sqrt(max(zero, LOWEST * rounding) * other)
        if residual < min(rounding, middle if middle >= 0 else rounding):
            kind = EXACT if holds else OF_GRADIENT if measured.detached else APPROXIMATE
        elif measured.detached and holds and measured.own_residual < rounding:
            kind = OF_LOSS
        return cls(
            description=description,
            family=family,
            blocks=measured.blocks,
            generators=generator.count,
            kind=kind,
            residual=residual,
            zero=generator.gap[0],
            nonzero=generator.gap[1],
            defect=measured.defect,
        )

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        numbers = (self.zero, self.nonzero, self.defect)
        texts = ["-" if np.isnan(x) else f"{x:.1e}" for x in numbers]
        return self.description, str(self.generators), self.kind, *texts


@dataclass(frozen=True)
class Measured:
    """What `measure` finds of one family; see `Evidence`."""

    blocks: tuple[str, ...]
    residual: float
    defect: float
    own_residual: float
    detached: bool


def measure(
    probe: Probe, families: Sequence[Generator | Candidate], seed: int
) -> list[Measured]:
    """Residuals and finite transformations at fresh parameters and rows."""
    residuals: list[list[float]] = [[] for _ in families]
    own: list[list[float]] = [[] for _ in families]
    changes: list[list[tuple[float, float]]] = [[] for _ in families]
    blocks: list[tuple[str, ...]] = [()] * len(families)
    sizes = []
    for draw, (theta, batch) in enumerate(probe.draws(DRAWS, seed)):
        gradient = probe.gradient(theta, batch)
        placed = jax.device_put(theta)  # what is not moved is not copied again
        slope = probe.own_gradient(theta, batch) if probe.is_detached else gradient
        before = float(probe.value(theta, batch))
        sizes.append(abs(before))
        for i, family in enumerate(families):
            generator = np.random.default_rng([seed, draw, i])
            chosen = family.element(generator)
            field = family.field(theta, chosen)
            blocks[i] = tuple(field)
            residuals[i].append(residual(gradient, field, probe.rounding))
            own[i].append(residual(slope, field, probe.rounding))
            if isinstance(family, Stretch):
                moved = family.finite(theta, chosen)
            else:
                moved = flow(lambda q, f=family, c=chosen: f.field(q, c), theta)
            moved = {path: moved[path] for path in field}
            random = _displaced(theta, moved, field, generator)
            changes[i].append(
                (
                    float(probe.value({**placed, **moved}, batch)) - before,
                    float(probe.value({**placed, **random}, batch)) - before,
                )
            )
    size, detached = float(np.mean(sizes)), probe.is_detached
    return [
        Measured(where, _rms(first), _ratio(change, size), _rms(second), detached)
        for where, first, second, change in zip(
            blocks, residuals, own, changes, strict=True
        )
    ]


def residual(
    gradient: Mapping[str, Any], field: Mapping[str, Any], rounding: float
) -> float:
    """Of one draw, relative to random signs; see `Evidence`."""
    products = [gradient[path] * xi for path, xi in field.items()]
    length = np.sqrt(sum(paired(xi, xi) for xi in field.values()))
    signs = np.sqrt(sum(paired(p, p) for p in products))
    # Where every single term is rounding, against the whole gradient, of norm 1.
    bound = signs if signs > rounding * length else length
    return abs(sum(float(p.sum()) for p in products)) / bound if bound else 0.0


def _displaced(
    theta: Mapping[str, Any],
    moved: Mapping[str, Any],
    field: Mapping[str, Any],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Every moved array displaced as far as `moved` is, in a random direction."""
    displaced = {}
    for path in field:
        direction = generator.random(theta[path].shape) - 0.5
        change = moved[path] - theta[path]
        length = np.sqrt(paired(change, change) / (paired(direction, direction) or 1.0))
        displaced[path] = theta[path] + direction * length
    return displaced


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _ratio(changes: Sequence[tuple[float, float]], size: float) -> float:
    found, random = (_rms(part) for part in zip(*changes, strict=True))
    yardstick = random if random > UNMOVED * size else size
    return found / yardstick if yardstick else 0.0
