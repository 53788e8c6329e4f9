"""Small networks with weight decay on the digits, trained until they stand still.

Many values of the weight decay side by side, in float64; a network is the list of its
matrices (outputs, inputs), each with a leading axis for the replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.networks.digits import load_digits

LEARNING_RATE, MOMENTUM = 0.2, 0.95

Network = list[np.ndarray]


@dataclass(frozen=True)
class Digits:
    """Principal components of the digits and what is learned from them.

    Attributes:
        inputs: of shape (rows, components), with mean zero.
        targets: of shape (rows, outputs), with mean zero.
    """

    inputs: np.ndarray
    targets: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """E xx^T."""
        return self.inputs.T @ self.inputs / len(self.inputs)

    @property
    def signal(self) -> np.ndarray:
        """E yx^T, of shape (outputs, components)."""
        return self.targets.T @ self.inputs / len(self.inputs)

    @property
    def power(self) -> float:
        """E |y|^2: the loss of the network that says nothing."""
        return float((self.targets**2).sum() / len(self.inputs))

    def rotated(self) -> Digits:
        """As few rows as there are numbers in one, by a rotation of all rows.

        Every linear network has the same squared error on both.
        """
        rows = np.linalg.qr(np.hstack([self.inputs, self.targets]), mode="r")
        rows *= np.sqrt(len(rows) / len(self.inputs))
        cut = self.inputs.shape[1]
        return Digits(rows[:, :cut], rows[:, cut:])


@cache
def _pixels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    (images, labels), _ = load_digits(seed)
    pixels = images.reshape(len(images), -1).astype(np.float64)
    return pixels, np.asarray(labels)


def digits(
    seed: int,
    *,
    whitened: bool = True,
    parity: bool = False,
    components: int = 20,
    rows: int | None = None,
) -> Digits:
    """The digits that `seed` draws, by their largest principal components.

    Args:
        whitened: whether every component has variance 1; else the largest has.
        parity: whether the target is +1 or -1, odd or even; else the ten classes.
        rows: the first so many alone.
    """
    pixels, labels = _pixels(seed)
    pixels, labels = pixels[:rows], labels[:rows]
    left, sizes, _ = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    inputs = left[:, :components] * np.sqrt(len(left))
    if not whitened:
        inputs = inputs * (sizes[:components] / sizes[0])
    targets = np.eye(10)[labels] if not parity else 2.0 * (labels[:, None] % 2) - 1
    return Digits(inputs, targets - targets.mean(0))


# ------------------------------------------------------------------ networks


def start(
    sizes: Sequence[int], replicas: int, seed: int, scale: float = 0.5
) -> Network:
    """The same random matrices for every replica, from the inputs to the outputs."""
    generator = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    drawn = [scale * generator.normal(size=shape) / shape[1] ** 0.5 for shape in shapes]
    return [np.repeat(matrix[None], replicas, axis=0) for matrix in drawn]


def repeated(network: Network, replicas: int) -> Network:
    """The first replica, so many times."""
    return [np.repeat(matrix[:1], replicas, axis=0) for matrix in network]


def multiplied(network: Sequence[Any]) -> np.ndarray:
    """The product of the layers of a linear network, for every replica."""
    found = np.asarray(network[0])
    for matrix in network[1:]:
        found = np.asarray(matrix) @ found
    return found


def linear(network: Sequence[Any], inputs: Any) -> Any:
    """What one linear network says."""
    whole = network[0]
    for matrix in network[1:]:
        whole = matrix @ whole
    return inputs @ whole.T


def two_layers(activation: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """What a network with one hidden layer says."""

    def says(network: Sequence[Any], inputs: Any) -> Any:
        first, second = network
        return activation(inputs @ first.T) @ second.T

    return says


TANH, RELU = two_layers(jnp.tanh), two_layers(jax.nn.relu)


def error(network: Any, says: Any, inputs: Any, targets: Any) -> Any:
    """E |f - y|^2, without a half."""
    return ((says(network, inputs) - targets) ** 2).sum() / len(inputs)


@partial(jax.jit, static_argnames=("says", "steps", "eta"))
def _descend(
    network: Any,
    before: Any,
    after: Any,
    inputs: Any,
    targets: Any,
    says: Any,
    steps: int,
    eta: float,
) -> Any:
    def total(network: Any, decays: Any) -> Any:
        errors = jax.vmap(lambda one: error(one, says, inputs, targets))(network)
        squares = sum(
            (decay[:, None, None] * matrix**2).sum()
            for decay, matrix in zip(decays, network, strict=True)
        )
        return errors.sum() + squares

    rule = HeavyBall(eta, MOMENTUM).optax()

    def step(carry: Any, k: Any) -> Any:
        network, state = carry
        share = jnp.minimum(2 * k / steps, 1.0)
        decays = [a + share * (b - a) for a, b in zip(before, after, strict=True)]
        updates, state = rule.update(jax.grad(total)(network, decays), state, network)
        return (optax.apply_updates(network, updates), state), None

    (network, _), _ = jax.lax.scan(
        step, (network, rule.init(network)), jnp.arange(steps)
    )
    return network


def settled(
    data: Digits,
    network: Network,
    decays: Any,
    says: Callable[[Any, Any], Any] = linear,
    steps: int = 20_000,
    eta: float = LEARNING_RATE,
    raised_from: float | None = None,
) -> Network:
    """Where full-batch training of E|f-y|^2 + sum gamma_i |W_i|^2 comes to rest.

    Args:
        decays: gamma of every replica, of shape (replicas,); or one such row a layer.
        raised_from: the gamma at which the networks are at rest. It is moved slowly
            from there: with inertia they would roll over the barrier beside them.
    """
    shape = len(network), len(network[0])
    decays = np.broadcast_to(np.asarray(decays, float), shape)
    before = decays if raised_from is None else np.full(shape, raised_from)
    with jax.enable_x64(True):
        found = _descend(
            [jnp.asarray(m) for m in network],
            list(before),
            list(decays),
            data.inputs,
            data.targets,
            says,
            steps,
            eta,
        )
        return [np.asarray(matrix) for matrix in found]


def losses(data: Digits, network: Network, gamma: Any) -> np.ndarray:
    """E|f-y|^2 + gamma |W|^2 of every replica of a linear network."""
    whole = multiplied(network)
    left = data.targets - np.einsum("roi,ni->rno", whole, data.inputs)
    errors = (left**2).sum(axis=(1, 2)) / len(data.inputs)
    return errors + gamma * sum((m**2).sum(axis=(1, 2)) for m in network)


def imbalance(network: Network) -> float:
    """The largest entry of all charges W_i W_i^T - W_{i+1}^T W_{i+1}."""
    return max(
        float(np.abs(a @ a.transpose(0, 2, 1) - b.transpose(0, 2, 1) @ b).max())
        for a, b in zip(network[:-1], network[1:], strict=True)
    )
