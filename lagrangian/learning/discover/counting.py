"""How many directions there are at all, and how many of them were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.missed import AffineField, missed, spanned, vanishing
from lagrangian.learning.discover.pairings import widest_gap
from lagrangian.learning.discover.probe import Probe

#: Models with more parameters than these are not counted.
MOST_PARAMETERS = 600
#: Generators whose rank is computed; above, they are added up.
MOST_GENERATORS = 1200
#: The same by the entries of all their fields.
MOST_ENTRIES = 50_000_000
#: Singular values of fields of norm 1 below this are zero.
RANK = 1e-8
#: Dimensions to which each entry goes where rows are shortened.
COPIES = 4
#: A direction without slope is a found one where their cosine is above this.
COSINE = 0.999
#: Draws beyond as many as there are parameters.
SURPLUS = 64
#: Points at which directions are counted until none is missing. The fewest count: at
#: one of them a unit may happen to be off for all data.
POINTS = 4
#: Between these the widest gap parts directions without slope from those with one. The
#: slopes of a smooth network spread over many powers of ten: where no gap is wider
#: than `CLEAR`, nothing is said.
BOUNDS, CLEAR = (1e-14, 1e-9), 30.0
#: A leaf with fewer different numbers than these is a mask or a label.
FEW_VALUES = 8

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Count:
    """Directions at a random point along which no example changes the loss.

    Attributes:
        directions: how many there are; None where they were not counted, or no gap
            parts them from the others.
        found: how many of them the generators span, exact or approximate ones, together
            with the `fields`.
        arrays: where those are that the generators do not span, the largest share
            first.
        fields: affine fields that no family has, the sparsest first; None where too
            many parameters are involved to look for them.
        why: the reason where they were not counted.
    """

    directions: int | None
    found: int = 0
    arrays: tuple[str, ...] = ()
    fields: tuple[AffineField, ...] | None = None
    why: str = ""

    @property
    def missing(self) -> int | None:
        """How many more there are than were found; None where it is not known."""
        return None if self.directions is None else self.directions - self.found

    @property
    def in_training(self) -> tuple[AffineField, ...]:
        """The `fields` whose laws hold in training: not those of the loss alone."""
        return tuple(field for field in self.fields or () if field.in_training)

    def __str__(self) -> str:
        if self.missing is None:
            return f"Whether these are all is not known: {self.why}."
        text = "These are all: no other direction at a random point has no slope."
        if self.missing > 0:
            more = "one more has" if self.missing == 1 else f"{self.missing} more have"
            text = (
                f"Not all: of the directions at a random point {more} no slope, among "
                f"{', '.join(self.arrays)}. They depend on the point"
            )
            others = ", or their generators are none that are tried."
            none = ": no affine field has them."
            text += others if self.fields is None else none
        if self.fields:
            listed = "\n".join(f"  {field}" for field in self.fields)
            text += f" Affine fields that no family has (`census.fields`):\n{listed}"
        return text


def rank(fields: Sequence[np.ndarray]) -> int:
    """The dimension of what rows span."""
    if not len(fields):
        return 0
    rows = np.array(fields)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(sizes > 0, sizes, 1.0)
    values = np.linalg.svd(rows, compute_uv=False)
    return int((values > RANK * values.max()).sum()) if values.max() > 0 else 0


def dimension(
    generators: Sequence[Generator], probe: Probe, quiet: Arrays, seed: int
) -> int:
    """The rank of all generators together at a random point.

    Generators without an array in common are counted apart. Where there are too many in
    one group, their number is taken for their rank, less what overlaps when all units
    of a family move together.

    Args:
        generators: families of them.
        probe: draws of parameters.
        quiet: by path, a mask of entries that no example reaches: left out.
        seed: of the point.
    """
    theta, _ = next(probe.draws(1, seed))
    total = 0
    for group, paths in _groups(generators):
        count = sum(g.count for g in group)
        size = sum(theta[path].size for path in paths)
        if count > MOST_GENERATORS or count * size > MOST_ENTRIES:
            total += count - _overlap(group)
            continue
        rows = _sketches(group, theta, paths, quiet, count + SURPLUS, seed)
        total += rank(list(rows))
    return total


def _overlap(generators: Sequence[Generator]) -> int:
    """How many relations there are when all units of each family move together.

    Shifts of all rows and shifts of all columns, say, are both the shift of the array.
    """
    images: list[dict[Any, float]] = []
    for generator in generators:
        if generator.is_matrix:
            continue
        image: dict[Any, float] = {}
        for term, c in generator.solved:
            key = term.action, term.view.piece, term.moved
            image[key] = image.get(key, 0.0) + c
        if any(image.values()):
            images.append(image)
    keys = list({key: None for image in images for key in image})
    rows = [np.array([image.get(key, 0.0) for key in keys]) for image in images]
    return len(rows) - rank(rows)


def _groups(
    generators: Sequence[Generator],
) -> Iterator[tuple[list[Generator], list[str]]]:
    """Those that are connected by arrays which they move, and these arrays."""
    groups: list[tuple[list[Generator], set[str]]] = []
    for generator in generators:
        paths = {term.path for term, _ in generator.terms}
        same = [g for g in groups if g[1] & paths]
        groups = [g for g in groups if not g[1] & paths]
        members = [m for g in same for m in g[0]]
        groups.append(([*members, generator], paths.union(*(g[1] for g in same))))
    for members, paths in groups:
        yield members, sorted(paths)


def elements(
    generators: Sequence[Generator], theta: Arrays, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """As many random elements of each family at `theta` as it has generators."""
    chance = np.random.default_rng(seed)
    for generator in generators:
        for _ in range(generator.count):
            yield generator.field(theta, generator.element(chance))


def _sketches(
    generators: Sequence[Generator],
    theta: Arrays,
    paths: Sequence[str],
    quiet: Arrays,
    width: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """Elements of the families, as a random sparse map into few dimensions has them.

    Each entry goes with random weights to several dimensions, so that no two entries go
    to the same.
    """
    chance = np.random.default_rng(seed)
    total = sum(theta[path].size for path in paths)
    weights = chance.standard_normal((COPIES, total))
    bins = chance.integers(width, size=(COPIES, total))
    for field in elements(generators, theta, seed):
        row = _flat(field, theta, paths, quiet)
        if total > width:
            row = np.bincount(
                bins.ravel(), weights=(weights * row).ravel(), minlength=width
            )
        yield row


def _flat(field: Arrays, theta: Arrays, paths: Sequence[str], quiet: Arrays) -> Any:
    parts = []
    for path in paths:
        array = np.asarray(field.get(path, np.zeros_like(theta[path])))
        parts.append(np.where(quiet[path], 0.0, array).ravel())
    return np.concatenate(parts)


def census(
    generators: Sequence[Generator], probe: Probe, quiet: Arrays, seed: int
) -> Count:
    """Directions without slope at a random point, for data like the batch's.

    Args:
        generators: those that were found, exact or approximate.
        probe: the loss, and draws of parameters.
        quiet: by path, a mask of entries that no example reaches.
        seed: of the point and the data.
    """
    size = sum(array.size for array in probe.parameters.values())
    if size > MOST_PARAMETERS:
        why = f"they are counted for up to {MOST_PARAMETERS} parameters; try a narrower"
        return Count(None, why=f"{why} copy of the model")
    best: Count | None = None
    for number, (theta, _) in enumerate(probe.draws(POINTS, seed)):
        here = _census_at(theta, generators, probe, quiet, seed + number)
        known = here.missing is not None
        if best is None or (known and (best.missing or 0) > (here.missing or 0)):
            best = here
        if not best.missing:
            break
    assert best is not None
    return best


def written(
    count: Count,
    generators: Sequence[Generator],
    probe: Probe,
    quiet: Arrays,
    seed: int,
) -> Count:
    """A census with the affine fields among what was missed."""
    if not count.missing:
        return count
    theta, _ = next(probe.draws(1, seed))
    known = _directions(generators, theta, quiet, seed)
    fields = missed(probe, count.arrays, known, theta, quiet, count.missing, seed)
    return replace(count, fields=fields, found=count.found + len(fields or ()))


def _census_at(
    theta: Arrays,
    generators: Sequence[Generator],
    probe: Probe,
    quiet: Arrays,
    seed: int,
) -> Count:
    loud = np.concatenate([~quiet[path].ravel() for path in theta])
    slope = probe.own_gradient if probe.is_detached else probe.gradient
    rows = []
    for batch in _resampled(probe, int(loud.sum()) + SURPLUS, seed):
        gradient = slope(theta, batch)
        rows.append(np.concatenate([g.ravel() for g in gradient.values()])[loud])
    matrix = np.array(rows) / np.sqrt(len(rows))
    if not np.isfinite(matrix).all():
        why = "the loss is not finite for data that is drawn like the batch"
        return Count(None, why=why)
    _, values, vectors = np.linalg.svd(matrix)
    zero, other = widest_gap(values[::-1], *BOUNDS)
    if other < CLEAR * max(zero, BOUNDS[0]):
        why = "the slopes at a random point show no gap between zero and small"
        return Count(None, why=why)
    null = vectors[int((values > zero).sum()) :]
    count = sum(g.count for g in generators)
    if count > MOST_GENERATORS:
        return Count(None, why=f"more than {MOST_GENERATORS} generators were found")
    known = _directions(generators, theta, quiet, seed)[:, loud]
    rest = _beyond(null, known)
    owners = np.repeat(list(theta), [a.size for a in theta.values()])[loud]
    where = _where(null, known, rest, owners)
    return Count(len(null), len(null) - len(rest), where)


def _where(
    null: np.ndarray, known: np.ndarray, rest: np.ndarray, owners: np.ndarray
) -> tuple[str, ...]:
    """Arrays that have all further directions, the largest share of these first.

    What is at right angles to the known ones may reach into arrays that no further
    generator moves. So arrays are left out, the largest first, without which directions
    in the others still make up for what is missing.
    """
    shares = {path: float((rest[:, owners == path] ** 2).sum()) for path in set(owners)}
    arrays = sorted(shares, key=lambda path: (-shares[path], path))
    kept = [path for path in arrays if shares[path] > 1e-6]
    for path in sorted(kept, key=lambda path: -(owners == path).sum()):
        others = [other for other in kept if other != path]
        inside = vanishing(null, ~np.isin(owners, others))
        if others and not len(_beyond(null, np.vstack([known, inside]))):
            kept = others
    return tuple(kept)


def _directions(
    generators: Sequence[Generator], theta: Arrays, quiet: Arrays, seed: int
) -> np.ndarray:
    """Random elements of the families at `theta`, as rows over all parameters."""
    fields = elements(generators, theta, seed)
    rows = [_flat(field, theta, list(theta), quiet) for field in fields]
    return np.array(rows).reshape(len(rows), sum(a.size for a in theta.values()))


def _beyond(null: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A basis of those directions in `null` that `known` ones do not span."""
    span = spanned(known, RANK)
    if not len(span) or not len(null):
        return null
    # Cosines between both: 1 for what is in both, an epsilon of a normalisation apart.
    left, cosines, _ = np.linalg.svd(null @ span.T)
    return left[:, (cosines > COSINE).sum() :].T @ null


def _resampled(probe: Probe, count: int, seed: int) -> Iterator[list[Any]]:
    """Data like the batch: numbers with noise of their own spread, labels shuffled."""
    chance = np.random.default_rng(seed)
    for _ in range(count):
        batch = [_like(leaf, chance) for leaf in probe.batch]
        yield probe.rows(batch, chance)


def _like(leaf: Any, chance: np.random.Generator) -> Any:
    if not isinstance(leaf, np.ndarray) or leaf.ndim == 0 or leaf.size == 0:
        return leaf
    if np.issubdtype(leaf.dtype, np.floating) and len(np.unique(leaf)) > FEW_VALUES:
        spread = leaf.std(axis=0, keepdims=True)
        return leaf + spread * chance.standard_normal(leaf.shape)
    return chance.permuted(leaf, axis=0)
