"""Adam's step as optax makes it: on given gradients, and on the digits.

Everything in float64, for several pairs of decay rates at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.networks.digits import load_digits
from lagrangian.theorems.testbeds.classifier import problem

Pair = tuple[float, float]

#: Of the network and its training: the learning rate, the batch, and the hidden units.
ETA, BATCH, UNITS = 1e-3, 32, 32


def bound(pairs: Sequence[Pair], steps: Any) -> np.ndarray:
    """The largest step per learning rate that Adam can make, of shape (pairs, steps).

    B_n = [sqrt(1 - b2^n)/(1 - b1^n)] (1 - b1) sqrt(sum_{j < n} (b1^2/b2)^j/(1 - b2)).
    """
    steps = np.atleast_1d(steps)
    return np.stack([bias(pair, steps) * unbiased_bound(pair, steps) for pair in pairs])


def bias(pair: Pair, steps: Any) -> np.ndarray:
    """By what Adam multiplies m/sqrt(v) in its n-th step."""
    b1, b2 = pair
    return np.sqrt(-np.expm1(steps * np.log(b2))) / (1 - b1**steps)


def unbiased_bound(pair: Pair, steps: Any) -> np.ndarray:
    """The largest |m/sqrt(v)| after n steps."""
    b1, b2 = pair
    powers = (b1**2 / b2) ** np.arange(np.max(steps))
    return (
        (1 - b1) / np.sqrt(1 - b2) * np.sqrt(np.cumsum(powers)[np.asarray(steps) - 1])
    )


@jax.jit
def _steps(pairs: Any, gradients: Any, eps: Any) -> Any:
    def of_pair(pair: Any, slopes: Any) -> Any:
        rule = optax.scale_by_adam(pair[0], pair[1], eps)

        def step(state: Any, slope: Any) -> Any:
            update, state = rule.update(slope, state)
            return state, update

        return jax.lax.scan(step, rule.init(slopes[0]), slopes)[1]

    return jax.vmap(of_pair)(pairs, gradients)


def steps_on(
    pairs: Sequence[Pair], gradients: np.ndarray, eps: float = 0.0
) -> np.ndarray:
    """Adam's steps per learning rate on gradients that are given.

    Args:
        gradients: of shape (pairs, steps, ...).

    Returns:
        of the same shape.
    """
    with jax.enable_x64(True):
        found = _steps(jnp.asarray(pairs), jnp.asarray(gradients, jnp.float64), eps)
        return np.asarray(found)


# ------------------------------------------------------------------ digits


def _loss(w: Any, images: Any, labels: Any) -> Any:
    """A layer of ReLU units on the pixels."""
    hidden = jax.nn.relu(images @ w["first"] + w["bias"])
    says = jax.nn.log_softmax(hidden @ w["second"] + w["last"])
    return -jnp.take_along_axis(says, labels[:, None], axis=1).mean()


@partial(jax.jit, static_argnames="slope_of")
def _train(
    pairs: Any, eps: Any, start: Any, data: Any, rows: Any, slope_of: Any
) -> Any:
    images, labels = data

    def of_pair(pair: Any) -> Any:
        rule = optax.scale_by_adam(pair[0], pair[1], eps)

        def step(carry: Any, chosen: Any) -> Any:
            w, state = carry
            slope = slope_of(w, images[chosen], labels[chosen])
            update, state = rule.update(slope, state, w)
            largest = jnp.stack([jnp.abs(u).max() for u in jax.tree.leaves(update)])
            w = jax.tree.map(lambda a, u: a - ETA * u, w, update)
            return (w, state), largest.max()

        return jax.lax.scan(step, (start, rule.init(start)), rows)[1]

    return jax.vmap(of_pair)(pairs)


def largest_steps(
    pairs: Sequence[Pair], seed: int, steps: int, eps: float = 1e-150
) -> np.ndarray:
    """The largest step of any parameter while a network learns the digits by Adam.

    Its pixels are those of the scans, from 0, so that many are 0 in most batches.

    Returns:
        per learning rate, of shape (pairs, steps).
    """
    (images, labels), _ = load_digits(seed)
    pixels = images.reshape(len(images), -1).astype(float)
    pixels -= pixels.min()
    generator = np.random.default_rng(seed)
    start = {
        "first": generator.normal(size=(64, UNITS)) / 8,
        "bias": np.zeros(UNITS),
        "second": generator.normal(size=(UNITS, 10)) / np.sqrt(UNITS),
        "last": np.zeros(10),
    }
    rows = generator.integers(0, len(pixels), (steps, BATCH))
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (start, (pixels, labels), rows))
        found = _train(jnp.asarray(pairs), eps, *arrays, jax.grad(_loss))
        return np.asarray(found)


# ------------------------------------------------------------------ scale


def scale_residual(loss: Any, seed: int, steps: int = 300) -> float:
    """How far AdamW is from <m', W'> = b1 (1 - eta lambda) <m, W> - eta <m', D m'>.

    W is the kernel of the classifier of the test bed, D what Adam multiplies m' by.

    Returns:
        the largest residual of a step, as a share of its largest term.
    """
    eta, decay, share = 1e-2, 0.1, 0.9
    rule = optax.adamw(eta, share, 0.999, eps=0.0, weight_decay=decay)
    scaling = optax.scale_by_adam(share, 0.999, eps=0.0)
    start, batch = problem(seed)

    def step(carry: Any, _: Any) -> Any:
        w, state, kept = carry
        slope = jax.grad(loss)(w, batch)
        update, state = rule.update(slope, state, w)
        scaled, after = scaling.update(slope, kept)
        moved: Any = optax.apply_updates(w, update)
        pushed = optax.tree.get(scaled, "kernel")
        old, new = (optax.tree.get(s, "mu")["kernel"] for s in (kept, after))
        left = jnp.sum(new * moved["kernel"])
        kept_share = share * (1 - eta * decay) * jnp.sum(old * w["kernel"])
        terms = jnp.stack([left, -kept_share, eta * jnp.sum(new * pushed)])
        residual = jnp.abs(terms.sum()) / jnp.abs(terms).max()
        return (moved, state, after), residual

    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, start)
        carry = (w, rule.init(w), scaling.init(w))
        found = jax.jit(lambda c: jax.lax.scan(step, c, None, steps)[1])(carry)
        return float(found.max())
