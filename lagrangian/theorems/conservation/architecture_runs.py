"""A residual block of convolutions on digits, with BatchNorm and without, by SGD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.rules.rule import friction, mass
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.symmetry import Rescale, Scale, Symmetry
from lagrangian.theorems.conservation.conserved import conserved
from lagrangian.theorems.conservation.momentum_runs import at_states

IMAGES, BATCH, CHANNELS = 256, 64, 4
#: Learning rates, and the time in which each gets equally far.
RATES, TIME = (0.1, 0.05, 0.025), 4.0

_OUT = Block("conv2", unit_axis=2)
#: Of the channels between the convolutions: without and with BatchNorm.
PLAIN = Rescale(Block("conv1", unit_axis=-1), _OUT)
NORMALISED: dict[str, Symmetry] = {
    "|v|^2": Scale(Block("conv1", unit_axis=-1)),
    "gamma^2 + beta^2 - |u|^2": Rescale(
        [Block("gamma", unit_axis=-1), Block("beta", unit_axis=-1)], _OUT
    ),
}


def parameters(seed: int) -> dict[str, np.ndarray]:
    """Of both networks; one of them has no use for gamma and beta."""
    normal = np.random.default_rng(seed).normal
    return {
        "conv1": normal(size=(3, 3, 1, CHANNELS)) / 3,
        "conv2": normal(size=(3, 3, CHANNELS, CHANNELS)) / 6,
        "gamma": 1 + normal(size=CHANNELS) / 4,
        "beta": normal(size=CHANNELS) / 4,
        "head": normal(size=(16 * CHANNELS, 10)) / 8,
    }


def _convolve(x: Any, kernel: Any) -> Any:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers
    )


def _normalise(x: Any) -> Any:
    """Without an epsilon, which would break the symmetry."""
    return (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))


def cross_entropy(w: Mapping[str, Any], batch: Any, normalised: bool = False) -> Any:
    """x + conv2 relu conv1 x, pooled, and a linear layer."""
    images, labels = batch
    hidden = _convolve(images, w["conv1"])
    if normalised:
        hidden = w["gamma"] * _normalise(hidden) + w["beta"]
    added = _convolve(jax.nn.relu(hidden), w["conv2"])
    x = images + (_normalise(added) if normalised else added)
    x = x.reshape(len(x), 4, 2, 4, 2, CHANNELS).mean(axis=(2, 4))
    logits = jax.nn.log_softmax(x.reshape(len(x), -1) @ w["head"])
    return -jnp.take_along_axis(logits, labels[:, None], axis=1).mean()


@dataclass(frozen=True)
class Trained:
    """SGD at one learning rate.

    Attributes:
        seed: of parameters, images and batches.
        rate: the learning rate.
        normalised: whether BatchNorm follows both convolutions.
        whole: whether a batch is all images.
        time: how far it goes, in units of the learning rate.
    """

    seed: int
    rate: float
    normalised: bool = False
    whole: bool = False
    time: float = TIME

    @cached_property
    def states(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Parameters before each step, and gradients; and once more at the end."""
        (images, labels), _ = load_digits(self.seed)
        steps = round(self.time / self.rate)
        chance = np.random.default_rng([self.seed, 1])
        rows = np.arange(IMAGES)[None].repeat(steps + 1, axis=0)
        if not self.whole:
            rows = chance.integers(IMAGES, size=(steps + 1, BATCH))
        with jax.enable_x64(True):
            given = parameters(self.seed), images[:IMAGES], labels[:IMAGES], rows
            arrays = jax.tree.map(jnp.asarray, given)
            found = _descend(self.normalised, self.rate, *arrays)
            return jax.device_get(found)

    def law(self, symmetry: Symmetry) -> tuple[np.ndarray, np.ndarray]:
        """X less its start at each step, and the growth that Noether's law adds up.

        Both of shape (steps + 1, units), over the norm of X at the start.
        """
        if symmetry not in self._laws:
            self._laws[symmetry] = self._law(symmetry)
        return self._laws[symmetry]

    @cached_property
    def _laws(self) -> dict[Symmetry, tuple[np.ndarray, np.ndarray]]:
        return {}

    def _law(self, symmetry: Symmetry) -> tuple[np.ndarray, np.ndarray]:
        q, slopes = self.states
        v = {name: -slope for name, slope in slopes.items()}
        values = {mass: self.rate / 2, friction: 1.0}
        x = at_states(conserved(symmetry).value, q, v)
        grown = self.rate * at_states(conserved(symmetry).growth, q, v, values)
        total = np.cumsum(grown, axis=0) - grown
        return (x - x[0]) / np.linalg.norm(x[0]), total / np.linalg.norm(x[0])

    def excess(self, symmetry: Symmetry) -> float:
        """By how much X misses the sum of its growth."""
        moved, predicted = self.law(symmetry)
        return float(np.abs(moved - predicted).max())

    def bound(self, symmetry: Symmetry) -> float:
        """(C_h C_L/2) sum eta^2 over the norm of X, by the largest gradient.

        C_h = 2 for a difference of squared norms, C_L the largest |grad|^2 met.
        """
        q, slopes = self.states
        x = at_states(conserved(symmetry).value, q, q)
        flat = [g.reshape(len(g), -1) for g in slopes.values()]
        square = (np.concatenate(flat, axis=1) ** 2).sum(axis=1)[:-1]
        steps = len(square)
        return float(square.max() * steps * self.rate**2 / np.linalg.norm(x[0]))


@partial(jax.jit, static_argnums=0)
def _descend(
    normalised: bool, rate: float, w: Any, images: Any, labels: Any, rows: Any
) -> Any:
    images = images.astype(float)

    def step(w: Any, chosen: Any) -> Any:
        batch = images[chosen], labels[chosen]
        slope = jax.grad(cross_entropy)(w, batch, normalised)
        return jax.tree.map(lambda x, g: x - rate * g, w, slope), (w, slope)

    return jax.lax.scan(step, w, rows)[1]
