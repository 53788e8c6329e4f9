"""Tokens, an embedding, an elementwise activation and a linear layer, on digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block, ones
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.theorems.conservation.momentum_runs import at_states

#: The grey levels of a pixel, the pixels, and the hidden units.
LEVELS, PIXELS, UNITS = 17, 64, 8
#: Images that are trained on, and that the flow takes, and for how long.
IMAGES, FEW, SHORT = 300, 40, 2.0

EMBEDDING = Block("embedding", unit_axis=-1)
READOUT = Block("readout", unit_axis=1)

z = sp.Symbol("z", real=True)


def elementwise(expression: Any) -> Any:
    """A function of `z` at every entry of the embedding."""
    constant, rest = sp.expand(expression).as_independent(z, as_Add=True)
    return constant * ones + rest.subs(z, EMBEDDING)


@dataclass(frozen=True)
class Activation:
    """An elementwise activation, as JAX and SymPy have it, and how it is trained.

    Attributes:
        run, written: for JAX, and for SymPy.
        time: how long; steps times learning rate.
        rates: the learning rates: all below what is stable.
    """

    name: str
    run: Any
    written: Any
    time: float = 10.0
    rates: tuple[float, ...] = (0.1, 0.05, 0.025)

    @cached_property
    def slope(self) -> Any:
        """S' = sigma/sigma', in `z`."""
        value = self.written(z)
        return sp.expand(sp.simplify((value / value.diff(z)).rewrite(sp.exp)))

    @cached_property
    def potential(self) -> Any:
        """S, in `z`."""
        return sp.expand(sp.integrate(self.slope, z))

    @cached_property
    def symmetry(self) -> Symmetry:
        """sigma(V) by (1 + s), and U by (1 - s): nonlinear in the embedding."""
        moved = {EMBEDDING: elementwise(self.slope), READOUT: -READOUT}
        return Symmetry(moved, name=f"{self.name} rescale")


ACTIVATIONS = {
    "tanh": Activation("tanh", jnp.tanh, sp.tanh),
    "sigmoid": Activation(
        "sigmoid",
        jax.nn.sigmoid,
        lambda x: 1 / (1 + sp.exp(-x)),
        time=4.0,
        rates=(0.02, 0.01, 0.005),
    ),
    "linear": Activation("linear", lambda x: x, lambda x: x),
}


def tokens(seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The grey level, 0 to 16, of every pixel, shape (images, 64); and the labels."""
    (pixels, labels), _ = load_digits(seed)
    levels = pixels[:images].reshape(-1, PIXELS)
    levels = np.rint(16 * (levels - pixels.min())).astype(np.int32)
    return levels, labels[:images]


def start(seed: int) -> dict[str, np.ndarray]:
    normal = np.random.default_rng(seed).normal
    return {
        "embedding": normal(size=(LEVELS, UNITS)) / 2,
        "readout": normal(size=(PIXELS, UNITS, 10)) / np.sqrt(PIXELS * UNITS),
    }


def logits(w: Mapping[str, Any], levels: Any, activation: Any) -> Any:
    """The embedded token of each pixel through the activation, and all of them read."""
    hidden = activation(w["embedding"])[levels]
    return jnp.einsum("npi,pik->nk", hidden, w["readout"])


def cross_entropy(w: Mapping[str, Any], batch: Any, activation: Any) -> Any:
    levels, labels = batch
    found = jax.nn.log_softmax(logits(w, levels, activation))
    return -jnp.take_along_axis(found, labels[:, None], axis=1).mean()


@dataclass(frozen=True)
class Embedded:
    """The network with one activation, trained on whole batches and followed."""

    kind: str
    seed: int

    @property
    def activation(self) -> Activation:
        return ACTIVATIONS[self.kind]

    def trained(self, rate: float) -> dict[str, np.ndarray]:
        """Parameters before each step of gradient descent, and at the end."""
        steps = round(self.activation.time / rate)
        with jax.enable_x64(True):
            given = jax.tree.map(
                jnp.asarray, (start(self.seed), tokens(self.seed, IMAGES))
            )
            return jax.device_get(_descend(self.activation.run, steps, rate, *given))

    @cached_property
    def path(self) -> NetworkPath:
        """The gradient flow on a few images."""
        activation = self.activation.run
        loss = lambda w, batch: cross_entropy(w, batch, activation)
        batch = tokens(self.seed, FEW)
        flow = network_flow(start(self.seed), loss, batch, HeavyBall(1.0), order=0)
        return flow.integrate((0.0, SHORT), tol=1e-11, points=21)

    def accuracy(self, w: Mapping[str, np.ndarray]) -> float:
        """On digits that were not trained on."""
        (train, _), (images, labels) = load_digits(self.seed)
        levels = np.rint(16 * (images - train.min())).reshape(-1, PIXELS)
        levels = np.clip(levels, 0, LEVELS - 1).astype(np.int32)
        found = np.asarray(logits(w, levels, self.activation.run)).argmax(axis=1)
        return float((found == labels).mean())


def values(expression: Any, q: Mapping[str, np.ndarray]) -> np.ndarray:
    """An expression at states along a first axis, one for each hidden unit."""
    return at_states(expression, q, q)


@partial(jax.jit, static_argnums=(0, 1))
def _descend(activation: Any, steps: int, rate: float, w: Any, batch: Any) -> Any:
    def step(w: Any, _: Any) -> Any:
        slope = jax.grad(cross_entropy)(w, batch, activation)
        return jax.tree.map(lambda x, g: x - rate * g, w, slope), w

    return jax.lax.scan(step, w, length=steps + 1)[1]
