"""The symmetries of normed streams: written down, counted by hand and by ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.discover.discovery import discover
from lagrangian.theorems.conservation.normed_streams import (
    CHANNELS,
    CLASSES,
    HIDDEN,
    NORMS,
    PIXELS,
    QUERIES,
    ROWS,
    VALUES,
    alphas,
    blocks_of,
    digits,
    loss_of,
    places,
    readers,
    start,
    writers,
)
from lagrangian.theorems.theorem import Claim, below, equal

# ------------------------------------------------------------------ by hand


def count(norm: str, blocks: int, affine: bool) -> tuple[int, int]:
    """How many generators there are: linear in the parameters, and at a point.

    With gamma, readers that follow a stream that turns move by 1/gamma R^T gamma W: no
    linear field, though a direction without slope.
    """
    linear = blocks * (VALUES**2 + QUERIES**2)  # values and outputs, queries and keys
    linear += CHANNELS + 1  # what is the same for all classes
    linear += 1  # the writers: by themselves, or against the alphas
    if norm == "LayerNorm":
        linear += PIXELS + ROWS + blocks * (VALUES + HIDDEN + 1)
    behind = 0
    if norm == "LayerNorm":
        # The head's, along all classes, is one of the softmax as well.
        behind += blocks * (2 * QUERIES + VALUES + HIDDEN) + CLASSES - 1
    turned = {"LayerNorm": CHANNELS - 1, "RMSNorm": CHANNELS, "DyT": 0}[norm]
    behind += turned * (turned - 1) // 2
    if not affine:
        return linear + behind, linear + behind
    linear += CHANNELS * (2 * blocks + 1)  # gammas, against what reads
    linear += CHANNELS * (blocks + 1)  # betas, where a bias is behind
    # The beta before attention, where queries and values do not see it: all keys then
    # grow alike.
    return linear, linear + behind + blocks * (CHANNELS - QUERIES - VALUES)


# ------------------------------------------------------------------ fields

Field = Callable[[np.random.Generator, Mapping[str, Any]], dict[str, Any]]


def _scale(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    return {name: w[name] for name in writers(w)}


def _rescale(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    return _scale(generator, w) | {name: -w[name] for name in alphas(w)}


def _writer_shifts(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    """Each row, and each bias, along the vector of ones."""

    def shift(array: Any) -> Any:
        return np.multiply.outer(generator.normal(size=array.shape[:-1]), _ones)

    return {name: shift(w[name]) for name in writers(w)}


def _reader_shifts(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: np.outer(_ones, generator.normal(size=w[name].shape[1]))
        for name in readers(w)
    }


def _turn(generator: Any, w: Mapping[str, Any], centred: bool = False) -> Any:
    """Of the stream, x -> x R: by what writes it and what reads it."""
    matrix = generator.normal(size=(CHANNELS, CHANNELS))
    if centred:
        project = np.eye(CHANNELS) - 1 / CHANNELS
        matrix = project @ matrix @ project
    matrix = matrix - matrix.T
    return {name: w[name] @ matrix for name in writers(w)} | {
        name: -matrix @ w[name] for name in readers(w)
    }


def _centred_turn(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    return _turn(generator, w, centred=True)


def _gammas(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    """Each channel behind a norm, against the rows that read it."""
    found = {}
    for place, names in _behind(w).items():
        share = generator.normal(size=CHANNELS)
        for name in (f"gamma_{place}", f"beta_{place}"):
            found[name] = share * w[name]
        found |= {name: -share[:, None] * w[name] for name in names}
    return found


def _betas(generator: Any, w: Mapping[str, Any]) -> dict[str, Any]:
    """What a norm adds, out of the bias behind its reader."""
    found = {}
    for place, (name, *others) in _behind(w).items():
        if others:  # attention, whose readers have no biases
            continue
        shift = generator.normal(size=CHANNELS)
        bias = "bias" if name == "head" else name.replace("w1", "b1")
        found |= {f"beta_{place}": shift, bias: -shift @ w[name]}
    return found


def _behind(w: Mapping[str, Any]) -> dict[str, list[str]]:
    """By the place of a norm, what reads it."""
    found = {}
    for place in places(blocks_of(w)):
        i = place[-1]
        attends = [f"q{i}", f"k{i}", f"v{i}"]
        inside = attends if place.startswith("attend") else [f"w1_{i}"]
        found[place] = ["head"] if place == "last" else inside
    return found


_ones = np.ones(CHANNELS)
#: By name, the field, whether it needs gamma and beta, and the norms that have it.
FIELDS: dict[str, tuple[Field, bool, tuple[str, ...]]] = {
    "scale of all writers": (_scale, False, NORMS[:2]),
    "writers against alphas": (_rescale, False, NORMS[2:]),
    "writers along 1": (_writer_shifts, False, NORMS[:1]),
    "readers along 1": (_reader_shifts, False, NORMS[:1]),
    "turn that keeps 1": (_centred_turn, False, NORMS[:2]),
    "any turn": (_turn, False, NORMS[1:2]),
    "gamma against readers": (_gammas, True, NORMS),
    "beta into biases": (_betas, True, NORMS),
}


@cache
def slopes(
    norm: str, seed: int, blocks: int, affine: bool, epsilon: float
) -> dict[str, np.ndarray]:
    """The gradient of every example's loss at a random point, the example in front.

    Labels are random, too, so that no class is missed.
    """
    images, labels = digits(seed, 300 * blocks)  # more than parameters
    labels = np.random.default_rng(seed).integers(0, CLASSES, len(labels))
    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, start(norm, seed, blocks, affine))
        slope = jax.jit(jax.vmap(jax.grad(loss_of(norm, epsilon)), (None, 0)))
        found = slope(w, (jnp.asarray(images)[:, None], jnp.asarray(labels)[:, None]))
        return {name: np.asarray(g) for name, g in found.items()}


def pairing(norm: str, name: str, seed: int, blocks: int) -> float:
    """How much of an example's gradient is along a field, of the most that could be.

    The largest of all examples, over the root mean square of their gradients.
    """
    field, affine, _ = FIELDS[name]
    generator = np.random.default_rng([seed, list(FIELDS).index(name)])
    xi = field(generator, start(norm, seed, blocks, affine))
    slope = slopes(norm, seed, blocks, affine, 0.0)
    examples = len(slope["embed"])
    found = sum((slope[n] * xi[n]).reshape(examples, -1).sum(axis=1) for n in xi)
    size = np.sqrt(sum(np.sum(slope[n] ** 2) for n in xi) / examples)
    along = np.sqrt(sum(np.sum(np.square(xi[n])) for n in xi))
    return float(np.abs(found).max() / (size * along))


def table(seed: int, quick: bool) -> Iterator[Claim]:
    """Which norm has which symmetry, by the pairing of its field with a gradient."""
    fields = {n: norms for n, (_, affine, norms) in FIELDS.items() if not affine}
    fields = fields if quick else {n: norms for n, (_, _, norms) in FIELDS.items()}
    blocks = 1 if quick else 2
    for norm in NORMS[:1] if quick else NORMS:
        names = [n for n in fields if norm == "DyT" or n != "writers against alphas"]
        kept = [name for name, norms in fields.items() if norm in norms]
        worst = max(pairing(norm, name, seed, blocks) for name in kept)
        what = f"{norm}: {', '.join(kept)}: largest <grad f, xi>/(|grad f||xi|)"
        yield below(what, worst, 1e-12)
        for name in names:
            if name not in kept:
                found = pairing(norm, name, seed, blocks)
                yield below(f"{norm}: {name}", found, 1e-12, control=True)


# ------------------------------------------------------------------ by ranks


def directions(
    norm: str, seed: int, blocks: int, affine: bool, epsilon: float = 0.0
) -> int:
    """How many directions have no slope, at a random point and for every example.

    The widest gap of the singular values of all examples' gradients.
    """
    found = slopes(norm, seed, blocks, affine, epsilon).values()
    matrix = np.concatenate([g.reshape(len(g), -1) for g in found], axis=1)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    sizes = np.linalg.svd(matrix, compute_uv=False)
    return matrix.shape[1] - int(np.argmax(sizes[:-1] / sizes[1:])) - 1


def discovered(norm: str, seed: int) -> int:
    """How many generators `discover` finds in one block, without being told of any."""
    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, start(norm, seed, 1))
        return discover(w, loss_of(norm), digits(seed, 256)).dimension


def counts(seed: int, quick: bool) -> Iterator[Claim]:
    """By hand, by `discover` and by ranks."""
    for norm in () if quick else NORMS:
        what = f"{norm}, 1 block: generators that `discover` finds"
        yield equal(what, count(norm, 1, False)[0], discovered(norm, seed))
    blocks = 1 if quick else 2
    for norm in NORMS[:1] if quick else NORMS:
        for affine in (False,) if quick else (False, True):
            what = f"{norm}{', gamma and beta' if affine else ''}, blocks: {blocks}; "
            what = f"{what}directions without slope"
            found = directions(norm, seed, blocks, affine)
            yield equal(what, count(norm, blocks, affine)[1], found)
            if norm == "LayerNorm" and affine == (not quick):
                linear = count("LayerNorm", blocks, affine)[0]
                scale = linear if affine else count("RMSNorm", blocks, False)[0]
                what = f"{what}, {'linear ones' if affine else 'of RMSNorm'}"
                yield equal(what, scale, found, control=True)
    if quick:
        return
    told = count("LayerNorm", 2, False)[1]
    found = directions("LayerNorm", seed, 2, False, 1e-5)
    what = "LayerNorm with epsilon = 1e-5: all but the scale"
    yield equal(what, told - 1, found)
