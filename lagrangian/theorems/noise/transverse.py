"""The modes of the digits, and how the unit of the next one grows beside a network.

Two linear layers by batches of one, on the principal components of the digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.theorems.noise.decayed_networks import Digits, digits

MODES = 9

Layers = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Modes:
    """What whitened digits have to be learned: singular values and their directions.

    Attributes:
        sigma: of shape (modes,), falling.
        outputs, inputs: of shape (classes, modes) and (components, modes).
    """

    sigma: np.ndarray
    outputs: np.ndarray
    inputs: np.ndarray


def modes(data: Digits) -> Modes:
    left, sizes, right = np.linalg.svd(data.signal, full_matrices=False)
    return Modes(sizes[:MODES], left[:, :MODES], right[:MODES].T)


def least_loss(found: Modes, units: int) -> Layers:
    """The balanced network of so many hidden units with the least loss."""
    root = np.sqrt(found.sigma[:units])
    return root[:, None] * found.inputs[:, :units].T, found.outputs[:, :units] * root


def error_step(
    first: Any, second: Any, x: Any, y: Any, eta: Any
) -> tuple[Any, Any, Any]:
    """A step on |f - y|^2 of a batch, and its errors times -2 eta/S."""
    hidden = x @ first.T
    push = -2 * eta / len(x) * (hidden @ second.T - y)
    return first + (second.T @ push.T) @ x, second + push.T @ hidden, push


#: Steps between two times that a tangent is cut down to what counts.
CUT = 10


def _off(rows: Any, vector: Any) -> Any:
    """What a vector has orthogonal to the span of rows."""
    return vector - rows.T @ jnp.linalg.solve(rows @ rows.T, rows @ vector)


@partial(jax.jit, static_argnames=("steps", "batch"))
def _transverse(
    key: Any,
    layers: Any,
    unit: Any,
    inputs: Any,
    targets: Any,
    eta: Any,
    steps: int,
    batch: int,
) -> Any:
    """ln of the growth of a tangent unit (w, u) along one run, every `CUT` steps.

    What (w, u) has of the units that are there is their mixing by GL(h), which stays
    what it is, and is taken off.
    """

    def step(carry: Any, key: Any) -> Any:
        first, second, w, u = carry
        rows = jax.random.randint(key, (batch,), 0, len(inputs))
        x, y = inputs[rows], targets[rows]
        first, second, push = error_step(first, second, x, y, eta)
        w, u = w + (u @ push.T) @ x, u + (x @ w) @ push
        return (first, second, w, u), None

    def block(carry: Any, key: Any) -> Any:
        (first, second, w, u), _ = jax.lax.scan(step, carry, jax.random.split(key, CUT))
        w, u = _off(first, w), _off(second.T, u)
        size = jnp.sqrt(w @ w + u @ u)
        return (first, second, w / size, u / size), jnp.log(size)

    start = (*layers, *unit)
    return jax.lax.scan(block, start, jax.random.split(key, steps // CUT))[1]


@partial(jax.jit, static_argnames=("steps",))
def _whole(
    key: Any, layers: Any, inputs: Any, targets: Any, eta: Any, steps: int
) -> Any:
    """The product of the layers after one run of batches of one."""

    def step(carry: Any, key: Any) -> Any:
        row = jax.random.randint(key, (1,), 0, len(inputs))
        first, second, _ = error_step(*carry, inputs[row], targets[row], eta)
        return (first, second), None

    (first, second), _ = jax.lax.scan(step, layers, jax.random.split(key, steps))
    return second @ first


def noisy(seed: int) -> Digits:
    """Nine inputs and targets, those of the modes of ten components.

    No other ones: directions in which nothing is learned are neutral.
    """
    data = digits(seed, components=10)
    found = modes(data)
    return Digits(data.inputs @ found.inputs, data.targets @ found.outputs)


def transverse(
    seed: int, eta: float, units: int, *, batch: int = 1, steps: int, replicas: int = 16
) -> tuple[float, float]:
    """The transverse exponent of the next unit per unit of time, and its error."""
    data = noisy(seed)
    found = modes(data)
    unit = found.inputs[:, units] / 2**0.5, found.outputs[:, units] / 2**0.5
    with jax.enable_x64(True):
        layers = tuple(jnp.asarray(m) for m in least_loss(found, units))
        keys = jax.random.split(jax.random.key(seed), replicas)
        run = jax.vmap(
            lambda key: _transverse(
                key, layers, unit, data.inputs, data.targets, eta, steps, batch
            )
        )
        growth = np.asarray(run(keys))
        growth = growth[:, growth.shape[1] // 5 :].mean(axis=1) / (CUT * eta)
    return float(growth.mean()), float(growth.std(ddof=1) / np.sqrt(replicas))


def learned(seed: int, eta: float, units: int, steps: int, replicas: int = 8) -> float:
    """The least singular value that a whole network ends with, the mean of many.

    Its last unit starts small.
    """
    data = noisy(seed)
    found = modes(data)
    first, second = least_loss(found, units)
    small = 1e-2
    first = np.vstack([first, small * found.inputs[:, units]])
    second = np.hstack([second, small * found.outputs[:, units : units + 1]])
    with jax.enable_x64(True):
        layers = jnp.asarray(first), jnp.asarray(second)
        keys = jax.random.split(jax.random.key(seed + 1), replicas)
        run = jax.vmap(
            lambda key: _whole(key, layers, data.inputs, data.targets, eta, steps)
        )
        sizes = np.linalg.svd(np.asarray(run(keys)), compute_uv=False)
    return float(sizes[:, -1].mean())
