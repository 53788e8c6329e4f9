"""AdamW on a block whose scale the loss does not feel, and its twin on the sphere.

On the digits, as a linear classifier with a normalised kernel, and under white noise
on the sphere in 20 dimensions. Everything in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.learning.rules.adaptive import Adam
from lagrangian.networks.digits import load_digits

BATCH = 64
#: Of the noise on the sphere.
DIMENSIONS = 20
#: Steps from one place that is compared to the next.
STRIDE = 20


@dataclass(frozen=True)
class Followed:
    """What a run of AdamW did, a row for each of its steps (the last axis of all).

    Attributes:
        square: |W|^2 before the step.
        update: |u|^2, W' = (1 - eta lambda) W - eta u.
        inward: <W, u>.
        angle: by which W turned.
        scale_law, norm_law: residuals, as shares of the largest term.
        places: the unit vectors of W before every `STRIDE`th step.
    """

    square: np.ndarray
    update: np.ndarray
    inward: np.ndarray
    angle: np.ndarray
    scale_law: np.ndarray
    norm_law: np.ndarray
    places: np.ndarray


def _between(a: Any, b: Any) -> Any:
    """The angle of two unit vectors; also of near ones."""
    return 2 * jnp.arcsin(jnp.minimum(jnp.linalg.norm(a - b) / 2, 1.0))


def _unit(w: Any) -> Any:
    return w / jnp.linalg.norm(w)


def _share(*terms: Any) -> Any:
    """What terms that should cancel add up to, beside the largest."""
    found = jnp.stack(terms)
    return jnp.abs(found.sum()) / jnp.abs(found).max()


def _step_of(rule: Adam, loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """One step, and what is written down of it."""
    tx, eta, decay = rule.optax(), rule.rate(0), rule.decoupled_decay

    def step(carry: Any, batch: Any) -> Any:
        w, state = carry
        slope = jax.grad(loss)(w, batch)
        found: Any = tx.update(slope, state, w)
        moved, after = found
        later: Any = optax.apply_updates(w, moved)
        kept, now = rule.trace(state), rule.trace(after)
        u = -moved / eta - decay * w
        # D of a step, by what optax has in its state.
        steps = optax.tree.get(after, "ScaleByAdamState").count
        d = 1 / (rule.metric(after, slope, state) * (1 - rule.b1**steps))
        shrunk = 1 - eta * decay
        scale_law = _share(
            jnp.sum(now * later),
            -rule.b1 * shrunk * jnp.sum(kept * w),
            eta * jnp.sum(now * d * now),
        )
        pulled = rule.b1 * jnp.sum(kept * w)
        norm_law = _share(
            jnp.sum(later**2),
            -(shrunk**2) * jnp.sum(w**2),
            2 * eta * shrunk * d.mean() * pulled,
            -(eta**2) * jnp.sum(u**2),
        )
        row = (
            *(jnp.sum(w**2), jnp.sum(u**2), jnp.sum(w * u)),
            *(_between(_unit(w), _unit(later)), scale_law, norm_law),
        )
        return (later, after), row

    return step


def _strided(step: Any, carry: Any, batches: Any, place: Any) -> Any:
    """A scan that notes where it is before every `STRIDE`th step only."""

    def stretch(carry: Any, some: Any) -> Any:
        here = place(carry)
        carry, rows = jax.lax.scan(step, carry, some)
        return carry, (here, rows)

    batches = jax.tree.map(lambda a: a.reshape(-1, STRIDE, *a.shape[1:]), batches)
    return jax.lax.scan(stretch, carry, batches)[1]


def follow(rule: Adam, loss: Any, start: Any, batches: Any, read: Any = None) -> Any:
    """Train a single array by a rule.

    Args:
        loss: of the array and a batch.
        start: the array; of shape (replicas, ...) if `batches` has them second.
        batches: a leading axis of steps, a multiple of `STRIDE`.
        read: makes of a batch what the loss takes, such as rows of the data.
    """
    told = loss if read is None else lambda w, batch: loss(w, read(batch))
    step = _step_of(rule, told)

    def run(w: Any, batches: Any) -> Any:
        carry = (w, rule.optax().init(w))
        return _strided(step, carry, batches, lambda carry: _unit(carry[0]))

    replicas = np.ndim(start) == 2 and read is None
    if replicas:
        run = jax.vmap(run, in_axes=(0, 1))
    with jax.enable_x64(True):
        places, rows = jax.jit(run)(jnp.asarray(start), jnp.asarray(batches))
        shape = (-1,) if not replicas else (len(start), -1)
        found = [np.asarray(row).reshape(shape) for row in rows]
        return Followed(*found, np.asarray(places))


# ------------------------------------------------------------------ digits


@dataclass(frozen=True)
class Digits:
    """A linear classifier of the digits, its batches, and its start."""

    loss: Callable[[Any, Any], Any]
    read: Callable[[Any], Any]
    rows: np.ndarray
    start: np.ndarray


def digits(seed: int, steps: int, size: float, normalised: bool = True) -> Digits:
    """Softmax regression on the pixels, with its kernel over its norm.

    Args:
        size: of the kernel at the start.
        normalised: False for a control.
    """
    (images, labels), _ = load_digits(seed)
    pixels = images.reshape(len(images), -1).astype(float)
    generator = np.random.default_rng(seed)
    start = generator.normal(size=(pixels.shape[1], 10))
    rows = generator.integers(0, len(pixels), (steps, BATCH))

    def loss(w: Any, batch: Any) -> Any:
        inputs, classes = batch
        kernel = _unit(w) if normalised else w
        says = jax.nn.log_softmax(inputs @ kernel)
        return -jnp.take_along_axis(says, classes[:, None], axis=1).mean()

    def read(chosen: Any) -> Any:
        return jnp.asarray(pixels)[chosen], jnp.asarray(labels)[chosen]

    return Digits(loss, read, rows, size * start / np.linalg.norm(start))


def on_digits(rule: Adam, data: Digits) -> Followed:
    return follow(rule, data.loss, data.start, data.rows, data.read)


@dataclass(frozen=True)
class OnSphere:
    """2-Adam on the sphere: the average of |u|^2 before each step, and where it was."""

    average: np.ndarray
    angle: np.ndarray
    places: np.ndarray


def second_stages(
    rule: Adam, data: Digits, stages: np.ndarray, adapts: bool = True
) -> list[OnSphere]:
    """Unit vectors by two stages of Adam: that of the rule, and one for its step.

    u is the step of the first, from gradients on the sphere; then v' = c2 v +
    (1 - c2) |u|^2, and w goes to (w - alpha u/sqrt(v)), over its norm.

    Args:
        stages: rows of c2, alpha, and v at the start.
        adapts: False for a control, with v as it starts.
    """
    first = replace(rule, learning_rate=1.0, weight_decay=0.0).optax()

    def run(stage: Any) -> Any:
        share, alpha, begin = stage

        def step(carry: Any, chosen: Any) -> Any:
            w, state, v = carry
            slope = jax.grad(data.loss)(w, data.read(chosen))
            found: Any = first.update(slope, state, w)
            moved, state = found
            grown = share * v + (1 - share) * jnp.sum(moved**2)
            later = _unit(w + alpha * moved / jnp.sqrt(v))
            row = v, _between(w, later)
            return (later, state, grown if adapts else v), row

        w = _unit(jnp.asarray(data.start))
        carry = (w, first.init(w), begin)
        return _strided(step, carry, jnp.asarray(data.rows), lambda carry: carry[0])

    with jax.enable_x64(True):
        places, rows = jax.jit(jax.vmap(run))(jnp.asarray(stages, float))
        rows = [np.asarray(row).reshape(len(stages), -1) for row in rows]
        return [OnSphere(*one) for one in zip(*rows, np.asarray(places), strict=True)]


def apart(places: np.ndarray, others: np.ndarray) -> float:
    """The largest angle between two runs of unit vectors."""
    steps = len(places)
    chords = np.linalg.norm((places - others).reshape(steps, -1), axis=1)
    return float(2 * np.arcsin(np.minimum(chords / 2, 1)).max())


# ------------------------------------------------------------------ noise


def _noisy(w: Any, noise: Any) -> Any:
    """Its gradient on the sphere is the noise vector of the step."""
    return jnp.sum(noise * _unit(w))


def _noisy_valley(w: Any, noise: Any) -> Any:
    """The control: the same noise without normalisation, in a quadratic valley."""
    return jnp.sum(noise * w) + jnp.sum(w**2) / 2


def in_noise(
    rule: Adam,
    seed: int,
    replicas: int,
    steps: int,
    size: float,
    normalised: bool = True,
) -> Followed:
    """Replicas from a norm of `size`, each with its own noise."""
    generator = np.random.default_rng(seed)
    start = generator.normal(size=(replicas, DIMENSIONS))
    start *= size / np.linalg.norm(start, axis=1, keepdims=True)
    noise = generator.normal(size=(steps, replicas, DIMENSIONS))
    return follow(rule, _noisy if normalised else _noisy_valley, start, noise)
