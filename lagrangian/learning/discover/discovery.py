"""`discover`: the symmetries of a model's loss, with the evidence for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.elapsed import elapsed
from lagrangian.learning.discover.candidates import Candidate
from lagrangian.learning.discover.counting import Count, census, dimension, written
from lagrangian.learning.discover.explain import epsilons, explain, implied
from lagrangian.learning.discover.families import NEAR, generators, sample
from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.measure import (
    APPROXIMATE,
    EXACT,
    OF_GRADIENT,
    OF_LOSS,
    UNEXERCISED,
    Evidence,
    Measured,
    measure,
)
from lagrangian.learning.discover.naming import describe, family
from lagrangian.learning.discover.probe import COARSE, Probe
from lagrangian.learning.discover.stretches import stretches
from lagrangian.learning.discover.to_symmetry import DiscoveredSymmetry, to_symmetry
from lagrangian.learning.discover.tracing import make_probe
from lagrangian.lowering.platform import float64
from lagrangian.prompt import AtPrompt, line
from lagrangian.symbolic.algebra.blocks import LinearMap
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.tables import html_table, shortened, text_table


@dataclass(frozen=True, repr=False)
class Discovery(AtPrompt, Sequence[DiscoveredSymmetry]):
    """What `discover` found: a sequence of the exact symmetries; prints as a table.

    Attributes:
        exact, approximate: the symmetries, by kind.
        unused: the shifts of arrays that the loss does not depend on at all (a bias
            before BatchNorm, the bias of attention's keys). They are exact, but a run
            cannot judge them: their gradients are nothing but rounding.
        of_gradient, of_loss: where training differentiates something else than the loss
            (`stop_gradient`), the symmetries of its gradient alone, whose laws hold in
            training, and those of the loss alone, whose laws do not.
        candidates: the symmetries that the caller named.
        tested: a row for each of these.
        unexercised: a row for each array with entries that no example reaches: a token
            that never occurs, a unit that is always off. No symmetries.
        dimension: how many directions the exact and unused symmetries span at a random
            point together with the census's affine fields, without those of unexercised
            entries.
        census: how many directions without slope there are at all, and were found.
        parameters: how many numbers the model has.
        rounding: defects below it count as zero.
        short: the types below float64 in which the loss computes.
        roots: small constants that the loss adds before a root (the epsilons of
            normalisations), each with the least mean of what it is added to.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> found = lg.discover(model, loss, data)
    >>> [symmetry.name for symmetry in found], found.dimension
    (['scale'], 1)
    >>> print(found.explain(0)[:30])
    scale of w: one generator.
    Wha
    """

    exact: tuple[DiscoveredSymmetry, ...]
    approximate: tuple[DiscoveredSymmetry, ...]
    unused: tuple[DiscoveredSymmetry, ...]
    of_gradient: tuple[DiscoveredSymmetry, ...]
    of_loss: tuple[DiscoveredSymmetry, ...]
    candidates: tuple[Symmetry, ...]
    tested: tuple[Evidence, ...]
    unexercised: tuple[Evidence, ...]
    dimension: int
    census: Count
    parameters: int
    rounding: float
    short: tuple[str, ...]
    roots: tuple[tuple[float, float], ...]

    def __len__(self) -> int:
        return len(self.exact)

    def __getitem__(self, index: Any) -> Any:
        return self.exact[index]

    def __iter__(self) -> Iterator[DiscoveredSymmetry]:
        return iter(self.exact)

    @property
    def maps(self) -> dict[LinearMap, Callable[..., Any]]:
        """A function for each linear map in the generators, for `train(maps=...)`."""
        return {
            linear_map: function
            for symmetry in self._symmetries
            for linear_map, function in symmetry.maps.items()
        }

    @property
    def _symmetries(self) -> tuple[DiscoveredSymmetry, ...]:
        return (
            *self.exact,
            *self.unused,
            *self.of_gradient,
            *self.of_loss,
            *self.approximate,
        )

    @property
    def rows(self) -> tuple[Evidence, ...]:
        """The table: what was found by kind, what was tested, what is quiet."""
        found = (s.evidence for s in self._symmetries)
        return (*found, *self.tested, *self.unexercised)

    def explain(self, row: DiscoveredSymmetry | Evidence | int) -> str:
        """What a row means, in words, with the numbers that it rests on.

        Of a candidate also the law that it has in every step of training.

        Args:
            row: a symmetry, or a row of the table or its place in `rows`.

        Returns:
            A few sentences.
        """
        if isinstance(row, int):
            row = self.rows[row]
        evidence = row.evidence if isinstance(row, DiscoveredSymmetry) else row
        short = self.short[0] if self.short else ""
        text = explain(evidence, list(self.roots), short)
        for candidate, tested in zip(self.candidates, self.tested, strict=True):
            if tested is evidence:
                exact = [s.evidence for s in (*self.exact, *self.unused)]
                text += "\n" + implied(candidate, tested, exact)
        return text

    _next = "`.explain(0)`, `discovery[0]`, a symmetry, `lg.train(..., observe=[...])`"

    def _cells(self) -> list[tuple[str, ...]]:
        return [_HEADER, *(row.cells() for row in self.rows)]

    def _summary(self) -> str:
        total = sum(s.evidence.generators for s in (*self.exact, *self.unused))
        total += len(self.census.in_training)
        text = (
            f"{self.dimension} independent generators of exact symmetries for "
            f"{self.parameters:,} parameters"
        )
        if total != self.dimension:
            text += f" (of {total} listed: at a random point they span no more)"
        text += f"; zero is below {self.rounding:.0e}"
        if self.rounding == COARSE:
            text += ", since some of the loss cannot be evaluated in float64"
        elif self.short:
            text += f" in float64, while the loss itself rounds to {self.short[0]}"
        text += f"; approximate below {NEAR:.0e}"
        return f"{text}.\n{self.census}"

    def __str__(self) -> str:
        return "\n".join([*text_table(self._cells()), "", self._summary()])

    def __repr__(self) -> str:
        table = text_table(shortened(self._cells()))
        return "\n".join([*table, "", self._summary(), f"  next: {self._next}"])

    def _in_notebook(self) -> Iterable[str]:
        yield html_table(shortened(self._cells()))
        yield from map(line, self._summary().splitlines())


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

    Gradients are sampled at random parameters near the model's own and on random rows
    of the batch: in float64, whatever types the model computes in, since what leaves a
    loss alone does not depend on how its numbers are rounded. How the model cuts its
    arrays (one kernel for queries, keys and values; heads by `reshape`) is read from
    the program that JAX traces. Within an ansatz the pairing with the gradient is
    linear in unknown coefficients: a scale for every piece of an array, for every unit
    along its axes, for heads and their entries; shifts, also such that the bias of a
    layer absorbs; turns of two pieces into each other; symmetric and antisymmetric
    matrices that mix the units of several arrays, also head by head. The null space of
    the samples, in its sparsest basis, holds the symmetries. Each is then proved anew:
    it is exact if its residual at fresh parameters is rounding, and a finite
    transformation exp(s A) leaves the loss as it is. At last all directions without
    slope are counted at a random point, so that the table ends with what was missed
    (for models with up to 600 parameters).

    One kind of generator is nonlinear: where tanh or a sigmoid acts on the entries of
    an array by themselves, as on those of an embedding, it grows by what the array
    shrinks that reads the result.

    What no example of the batch reaches is listed apart (a token that never occurs, a
    unit that is always off); what the batch cannot distinguish otherwise counts as a
    symmetry (an input that is always zero): pass a batch that is like the data.

    Args:
        model: a Flax NNX module, or a pytree of floating-point arrays, such as Linen's
            `variables["params"]`. Neither it nor its state is changed. Every
            `nnx.Param` counts as a parameter; an array that is used twice is one.
        loss: `loss(model, batch)`, a scalar: what the model is trained with.
        batch: arrays with one leading axis, in any pytree; 16 rows are used at a time,
            of models with more than 500,000 parameters 4.
        candidates: symmetries to be judged whether they are found or not.
        seed: of parameters and rows.

    Returns:
        A `Discovery`: a sequence of the exact symmetries, which prints as a table.

    Raises:
        LagrangianError: parameters that are no real floating-point arrays, or a loss
            that is no scalar, not finite, not differentiable, or that carries state
            outside the model.
        UnknownBlock: a candidate names a block that the model does not have.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> import lagrangian as lg
        >>> chance = np.random.default_rng(0)
        >>> p = {"a": chance.normal(size=(3, 2)), "b": chance.normal(size=(2, 1))}
        >>> def loss(p, x):
        ...     return ((jax.nn.relu(x @ p["a"]) @ p["b"] - 1) ** 2).mean()
        >>> found = lg.discover(p, loss, chance.normal(size=(32, 3)))
        >>> [(row.description, row.generators, row.kind) for row in found.rows]
        [('rescale a[..., k] against b[k, ...]', 2, 'exact')]
        >>> print(found.census)
        These are all: no other direction at a random point has no slope.
    """
    with float64(), elapsed("looking for symmetries"):
        probe = make_probe(model, loss, batch)
        known = [Candidate.of(symmetry, probe.shapes) for symmetry in candidates]
        found, quiet = _search(probe, seed)
        found += stretches(probe, seed + 4)
        measured = measure(probe, [*found, *known], seed + 1)
        symmetries = _symmetries(probe, found, measured)
        kinds = {
            kind: tuple(s for s in symmetries if s.evidence.kind == kind)
            for kind in (EXACT, APPROXIMATE, OF_GRADIENT, OF_LOSS)
        }
        flat = [s.generator for k in (EXACT, OF_LOSS, APPROXIMATE) for s in kinds[k]]
        roots = tuple(epsilons(probe)) if kinds[APPROXIMATE] else ()
        counted = census(flat, probe, quiet, seed + 3)
        counted = written(counted, flat, probe, quiet, seed + 5)
        # Each field is independent of all generators, and of the other fields.
        exact = [s.generator for s in kinds[EXACT]]
        rank = dimension(exact, probe, quiet, seed + 2) + len(counted.in_training)
    tested = [
        Evidence.of(repr(c.symmetry), c.symmetry.name, c, result, probe.rounding)
        for c, result in zip(known, measured[len(found) :], strict=True)
    ]
    return Discovery(
        exact=tuple(s for s in kinds[EXACT] if not s.generator.unused),
        approximate=kinds[APPROXIMATE],
        unused=tuple(s for s in kinds[EXACT] if s.generator.unused),
        of_gradient=kinds[OF_GRADIENT],
        of_loss=kinds[OF_LOSS],
        candidates=tuple(c.symmetry for c in known),
        tested=tuple(tested),
        unexercised=tuple(_unexercised(quiet)),
        dimension=rank,
        census=counted,
        parameters=sum(array.size for array in probe.parameters.values()),
        rounding=probe.rounding,
        short=probe.short,
        roots=roots,
    )


def _search(probe: Probe, seed: int) -> tuple[list[Generator], dict[str, np.ndarray]]:
    """Generators, and masks of the entries whose gradient is always zero.

    Where training differentiates something else than its loss: first those of both,
    then those of one of them alone.
    """
    if not probe.is_detached:
        samples = sample(probe, [probe.gradient], seed)
        return generators(samples), samples.quiet
    gradients = probe.gradient, probe.own_gradient
    both = sample(probe, gradients, seed)
    found = generators(both)
    known = [g for g in found if g.defect < probe.rounding]
    for gradient in gradients:
        alone = generators(sample(probe, [gradient], seed), known)
        found += [g for g in alone if g.defect < probe.rounding]
    return found, both.quiet


def _symmetries(
    probe: Probe, found: list[Generator], measured: list[Measured]
) -> list[DiscoveredSymmetry]:
    symmetries = []
    for number, (generator, result) in enumerate(zip(found, measured, strict=False)):
        evidence = Evidence.of(
            describe(generator, probe.parameters),
            family(generator),
            generator,
            result,
            probe.rounding,
        )
        symmetries.append(to_symmetry(generator, evidence, number))
    return symmetries


def _unexercised(quiet: dict[str, np.ndarray]) -> Iterator[Evidence]:
    for path, mask in quiet.items():
        if not mask.any():
            continue
        nan = float("nan")
        yield Evidence(
            description=f"{path}{_where(mask)}, which no example reaches",
            family="not exercised",
            blocks=(path,),
            generators=int(mask.sum()),
            kind=UNEXERCISED,
            residual=0.0,
            zero=nan,
            nonzero=nan,
            defect=nan,
        )


def _where(mask: np.ndarray) -> str:
    """Which entries: rows along one axis where they are such, or how many."""
    for axis in range(mask.ndim):
        rest = tuple(i for i in range(mask.ndim) if i != axis)
        every = mask.all(axis=rest)
        if every.sum() * (mask.size // mask.shape[axis]) == mask.sum():
            chosen = ", ".join(map(str, np.flatnonzero(every)))
            slots = [":"] * mask.ndim
            slots[axis] = chosen if every.sum() == 1 else f"[{chosen}]"
            return f"[{', '.join(slots)}]"
    return f" ({int(mask.sum())} entries)"
