"""`discover`: the symmetries of a model's loss, with the evidence for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from lagrangian.learning.discover.families import generators, sample
from lagrangian.learning.discover.measure import (
    APPROXIMATE,
    EXACT,
    Candidate,
    Evidence,
    measure,
)
from lagrangian.learning.discover.naming import describe, family
from lagrangian.learning.discover.probe import COARSE, make_probe
from lagrangian.learning.discover.to_symmetry import DiscoveredSymmetry, to_symmetry
from lagrangian.learning.tables import markdown_table, text_table
from lagrangian.symbolic.algebra.blocks import LinearMap
from lagrangian.symbolic.algebra.symmetry import Symmetry


@dataclass(frozen=True, repr=False)
class Discovery(Sequence[DiscoveredSymmetry]):
    """What `discover` found: a sequence of the exact symmetries; prints as a table.

    Attributes:
        exact, approximate: the symmetries that were found, by kind.
        unused: the shifts of arrays that the loss does not depend on at all (a bias
            before BatchNorm, the bias of attention's keys). They are exact, but a run
            cannot judge them: their gradients are nothing but rounding.
        tested: a row for each candidate that the caller named.
        parameters: how many numbers the model has.
        rounding: defects below it count as zero.
    """

    exact: tuple[DiscoveredSymmetry, ...]
    approximate: tuple[DiscoveredSymmetry, ...]
    unused: tuple[DiscoveredSymmetry, ...]
    tested: tuple[Evidence, ...]
    parameters: int
    rounding: float

    def __len__(self) -> int:
        return len(self.exact)

    def __getitem__(self, index: Any) -> Any:
        return self.exact[index]

    def __iter__(self) -> Iterator[DiscoveredSymmetry]:
        return iter(self.exact)

    @property
    def dimension(self) -> int:
        """How many independent generators the exact and unused symmetries have."""
        return sum(s.evidence.generators for s in (*self.unused, *self.exact))

    @property
    def maps(self) -> dict[LinearMap, Callable[..., Any]]:
        """A function for each linear map in the generators, for `train(maps=...)`."""
        return {
            linear_map: function
            for symmetry in (*self.exact, *self.approximate)
            for linear_map, function in symmetry.maps.items()
        }

    @property
    def rows(self) -> tuple[Evidence, ...]:
        """The table: exact ones, unused arrays, approximate ones, tested candidates."""
        found = (s.evidence for s in (*self.exact, *self.unused, *self.approximate))
        return (*found, *self.tested)

    def _cells(self) -> list[tuple[str, ...]]:
        return [_HEADER, *(row.cells() for row in self.rows)]

    def _summary(self) -> str:
        text = (
            f"{self.dimension} independent generators of exact symmetries for "
            f"{self.parameters:,} parameters; zero is below {self.rounding:.0e}"
        )
        if self.rounding == COARSE:
            text += ", since some of the loss is computed below float64"
        return text + "."

    def __str__(self) -> str:
        return "\n".join([*text_table(self._cells()), "", self._summary()])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return "\n".join([*markdown_table(self._cells()), "", self._summary()])


_HEADER = ("symmetry", "generators", "kind", "zero", "smallest other", "defect")


def discover(
    model: Any,
    loss: Callable[[Any, Any], Any],
    batch: Any,
    *,
    candidates: Sequence[Symmetry] = (),
    seed: int = 0,
) -> Discovery:
    """The linear generators A, and the shifts, with <grad f, A theta> = 0.

    Gradients are sampled in float64 at random parameters near the model's own and on
    random rows of the batch. Within an ansatz the pairing with the gradient is linear
    in unknown coefficients: a scale for every array, for every unit along one of its
    axes, for groups of units and for the entries of attention heads; shifts along any
    axes; shifts that the next layer's bias absorbs; symmetric and antisymmetric
    matrices that mix the units of several arrays, also head by head. The null space of
    the samples, in its sparsest basis, holds the symmetries. Each is then proved anew:
    a finite transformation exp(s A) at fresh parameters must leave the loss as it is.

    What the given batch cannot distinguish counts as a symmetry (a token that never
    occurs, an input that is always zero): pass a batch that is like the data.

    Args:
        model: a Flax NNX module, or a pytree of floating-point arrays, such as Linen's
            `variables["params"]`. Neither it nor its state is changed. Every
            `nnx.Param` counts as a parameter; an array that is used twice is one.
        loss: `loss(model, batch)`, a scalar: what the model is trained with.
        batch: arrays with one leading axis, in any pytree; 16 rows are used at a time.
        candidates: symmetries to be judged whether they are found or not.
        seed: of parameters and rows.

    Raises:
        LagrangianError: parameters that are no real floating-point arrays, or a loss
            that is no scalar, not finite, not differentiable, or that carries state
            outside the model.
        UnknownBlock: a candidate names a block that the model does not have.
    """
    with jax.enable_x64(True):
        probe = make_probe(model, loss, batch)
        known = [Candidate.of(symmetry, probe.shapes) for symmetry in candidates]
        found = generators(sample(probe, seed), probe.shapes)
        families = [*found, *known]
        measured = measure(probe, families, seed + 1)
    symmetries: list[DiscoveredSymmetry] = []
    for number, (generator, result) in enumerate(zip(found, measured, strict=False)):
        evidence = Evidence.of(
            describe(generator, probe.parameters),
            family(generator),
            generator,
            result,
            probe.rounding,
        )
        symmetries.append(to_symmetry(generator, evidence, number))
    exact = [s for s in symmetries if s.evidence.kind == EXACT]
    tested = [
        Evidence.of(repr(c.symmetry), c.symmetry.name, c, result, probe.rounding)
        for c, result in zip(known, measured[len(found) :], strict=True)
    ]
    return Discovery(
        exact=tuple(s for s in exact if not s.generator.unused),
        approximate=tuple(s for s in symmetries if s.evidence.kind == APPROXIMATE),
        unused=tuple(s for s in exact if s.generator.unused),
        tested=tuple(tested),
        parameters=sum(array.size for array in probe.parameters.values()),
        rounding=probe.rounding,
    )
