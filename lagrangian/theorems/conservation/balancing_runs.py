"""Networks of digits whose units are balanced, and trained in the geometry of |w|^p."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp

from lagrangian.learning.rules.mirror import MirrorDescent, NaturalGradient
from lagrangian.networks.digits import load_digits

#: Inputs, two layers of hidden units, classes; images that are trained on.
SIZES, IMAGES = (64, 32, 16, 10), 300
#: How far training goes from the balanced start: steps times learning rate.
HORIZON = 2.0

Weights = Mapping[str, Any]


def potential(p: float) -> Any:
    """h with h'' = p x^(p-2) of magnitudes x, whose x^p then are what is balanced."""
    power = sp.nsimplify(p)
    if power == 1:
        return lambda x: x * sp.log(x) - x
    return lambda x: x**power / (power - 1)


def on_magnitudes(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """The transformation of |w| that leaves signs as they are."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        signs = jax.tree.map(jnp.sign, params)
        signed = lambda tree: jax.tree.map(jnp.multiply, signs, tree)
        moved, state = tx.update(signed(updates), state, signed(params))
        return signed(moved), state

    return optax.GradientTransformation(tx.init, update)


# ------------------------------------------------------------------ balances


def shares(weight: np.ndarray, p: float, q: float) -> np.ndarray:
    """pi of each weight, |W|^p (sum over the inputs of its unit)^(q/p - 1).

    Args:
        weight: of shape (inputs, units).
        p, q: of the norm.
    """
    powers = abs(weight) ** p
    return powers * powers.sum(axis=0) ** (q / p - 1)


def norm(w: Weights, p: float, q: float) -> float:
    """sum_i (sum_j |W_ij|^p)^(q/p) over all units i; biases are not counted."""
    layers = (abs(w[name]) ** p for name in w if name.startswith("layer"))
    return float(sum((x.sum(axis=0) ** (q / p)).sum() for x in layers))


def halves(w: Weights, p: float, q: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """What comes into the hidden units of each layer, and what goes out."""
    found = [shares(w[f"layer{k}"], p, q) for k in range(len(SIZES) - 1)]
    return [
        (inward.sum(axis=0), outward.sum(axis=1))
        for inward, outward in zip(found, found[1:], strict=False)
    ]


def imbalance(w: Weights, p: float, q: float) -> float:
    """The largest difference of both, over their sum."""
    return max(float((abs(a - b) / (a + b)).max()) for a, b in halves(w, p, q))


def rescaled(w: Weights, factors: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Hidden units times `factors`, and what reads them divided."""
    found = dict(w)
    for k, factor in enumerate(factors):
        found[f"layer{k}"] = found[f"layer{k}"] * factor
        found[f"bias{k}"] = found[f"bias{k}"] * factor
        found[f"layer{k + 1}"] = found[f"layer{k + 1}"] / factor[:, None]
    return found


def fixed(
    w: Weights, p: float, q: float, updates: int, speed: float = 1.0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """After so many updates of all units at once; the norm before each, and at last."""
    exponent, sizes, found = speed / (4 * max(p, q)), [], dict(w)
    for _ in range(updates):
        sizes.append(norm(found, p, q))
        pairs = halves(found, p, q)
        found = rescaled(found, [(b / a) ** exponent for a, b in pairs])
    return found, np.array([*sizes, norm(found, p, q)])


# ------------------------------------------------------------------ digits


def logits(w: Weights, x: Any, activation: Any = jax.nn.relu) -> Any:
    for k in range(len(SIZES) - 2):
        x = activation(x @ w[f"layer{k}"] + w[f"bias{k}"])
    return x @ w[f"layer{len(SIZES) - 2}"]


def cross_entropy(w: Weights, batch: Any) -> Any:
    x, labels = batch
    found = jax.nn.log_softmax(logits(w, x))
    return -jnp.take_along_axis(found, labels[:, None], axis=1).mean()


@dataclass(frozen=True)
class Balanced:
    """A ReLU network 64-32-16-10 of digits."""

    seed: int

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        (images, labels), _ = load_digits(self.seed)
        return images.reshape(len(images), -1).astype(float), labels

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """He's, and biases of zero."""
        chance, found = np.random.default_rng([self.seed, 9]), {}
        for k, (rows, columns) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
            found[f"layer{k}"] = chance.normal(size=(rows, columns)) * np.sqrt(2 / rows)
            if k < len(SIZES) - 2:
                found[f"bias{k}"] = np.zeros(columns)
        return found

    @cached_property
    def trained(self) -> dict[str, np.ndarray]:
        """After gradient descent with momentum."""
        few = tuple(part[:IMAGES] for part in self.data)
        return self._descend(optax.sgd(0.1, 0.9), 100, self.start, few)

    @cached_property
    def accuracy(self) -> float:
        """Of the trained one on digits that it has not seen."""
        _, (images, labels) = load_digits(self.seed)
        found = np.asarray(logits(self.trained, images.reshape(len(images), -1)))
        return float((found.argmax(axis=1) == labels).mean())

    def moved(
        self, p: float, rate: float, start: Weights, mirror: bool = False
    ) -> dict[str, np.ndarray]:
        """By the natural gradient or mirror descent of the potential, biases held."""
        rule = (MirrorDescent if mirror else NaturalGradient)(rate, potential(p))
        transformation = optax.multi_transform(
            {"layer": on_magnitudes(rule.optax()), "bias": optax.set_to_zero()},
            {name: name.rstrip("0123456789") for name in start},
        )
        few = tuple(part[:IMAGES] for part in self.data)
        return self._descend(transformation, round(HORIZON / rate), start, few)

    def outputs(self, w: Weights, activation: Any = jax.nn.relu) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(logits(w, jnp.asarray(self.data[0]), activation))

    def loss(self, w: Weights) -> float:
        with jax.enable_x64(True):
            few = jax.tree.map(lambda x: jnp.asarray(x[:IMAGES]), self.data)
            return float(cross_entropy(jax.tree.map(jnp.asarray, dict(w)), few))

    def _descend(self, tx: Any, steps: int, start: Weights, batch: Any) -> Any:
        with jax.enable_x64(True):
            given = jax.tree.map(jnp.asarray, (dict(start), batch))
            return jax.device_get(_walk(tx, steps, *given))


@partial(jax.jit, static_argnums=(0,))
def _walk(tx: Any, steps: Any, w: Any, batch: Any) -> Any:
    def step(_: Any, carry: Any) -> Any:
        w, state = carry
        updates, state = tx.update(jax.grad(cross_entropy)(w, batch), state, w)
        return optax.apply_updates(w, updates), state

    return jax.lax.fori_loop(0, steps, step, (w, tx.init(w)))[0]
