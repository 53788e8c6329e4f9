"""Residual networks of linear layers on the digits, as functions of depth.

Rows of images meet x' = x + h x W_l^T, h = 1/N, in each of N layers, so that W_l acts
on columns. An array of all W_l has the shape (N, n, n), its gradient in L2 of depth,
dL/dW_l / h, the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import expm
from scipy.optimize import minimize

from lagrangian.networks.digits import load_digits

Batch = tuple[Any, Any]
Loss = Callable[..., Any]

#: Principal components of the images, as many as there are digits.
N_INPUTS = 10


def digits(seed: int) -> Batch:
    """Images by their principal components, of variance 1, and labels one-hot."""
    (images, labels), _ = load_digits(seed)
    pixels = images.reshape(len(images), -1).astype(float)
    pixels -= pixels.mean(axis=0)
    axes = np.linalg.svd(pixels, full_matrices=False)[2]
    parts = pixels @ axes[:N_INPUTS].T
    return parts / parts.std(axis=0), np.eye(10)[labels]


def condensed(batch: Batch) -> Batch:
    """A few rows on which every linear map has the squared error of the whole batch."""
    inputs, targets = batch
    rows = np.linalg.qr(np.hstack([inputs, targets]), mode="r")
    rows *= np.sqrt(len(rows) / len(inputs))
    return rows[:, :N_INPUTS], rows[:, N_INPUTS:]


def start(seed: int, layers: int) -> np.ndarray:
    """Layers that change smoothly along depth."""
    generator = np.random.default_rng([seed, 3])
    shapes = generator.normal(size=(3, N_INPUTS, N_INPUTS)) / 2 / np.sqrt(N_INPUTS)
    depth = (np.arange(layers) + 0.5) / layers
    along = [np.ones(layers), np.cos(np.pi * depth), np.sin(np.pi * depth)]
    return np.einsum("kij,kl->lij", shapes, np.array(along))


def outputs(w: Any, inputs: Any, activation: Any = lambda x: x) -> Any:
    """The end state of each row, with an activation of what a layer adds."""
    layer = lambda x, one: (x + activation(x @ one.T) / len(w), None)
    return jax.lax.scan(layer, inputs, w)[0]


def squared_error(w: Any, batch: Batch, activation: Any = lambda x: x) -> Any:
    """Half the squared distance to the targets, on average over the rows."""
    apart = outputs(w, batch[0], activation) - batch[1]
    return (apart**2).sum(axis=-1).mean() / 2


def cross_entropy(w: Any, batch: Batch) -> Any:
    return optax.softmax_cross_entropy(outputs(w, batch[0]), batch[1]).mean()


def tanh_error(w: Any, batch: Batch) -> Any:
    return squared_error(w, batch, jnp.tanh)


def slope(loss: Loss, w: Any, batch: Batch) -> Any:
    """The gradient in L2 of depth."""
    return len(w) * jax.grad(loss)(w, batch)


_slope = jax.jit(slope, static_argnums=0)


def measured_slope(loss: Loss, w: np.ndarray, batch: Batch) -> np.ndarray:
    """The same in float64, of arrays of NumPy."""
    with jax.enable_x64(True):
        return np.asarray(_slope(loss, *jax.tree.map(jnp.asarray, (w, batch))))


# ------------------------------------------------------------------ along depth


def transposed(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def maps(w: np.ndarray) -> np.ndarray:
    """M_l = 1 + h W_l."""
    return np.eye(w.shape[-1]) + w / len(w)


def charge(w: np.ndarray) -> np.ndarray:
    """Q between layers: (M_{l+1}^T M_{l+1} - M_l M_l^T)/h^2."""
    m = maps(w)
    apart = transposed(m[1:]) @ m[1:] - m[:-1] @ transposed(m[:-1])
    return len(w) ** 2 * apart


def ward(w: np.ndarray, g: np.ndarray) -> np.ndarray:
    """M_{l+1}^T g_{l+1} - g_l M_l^T between layers."""
    m = maps(w)
    return transposed(m[1:]) @ g[1:] - g[:-1] @ transposed(m[:-1])


def end_map(w: np.ndarray) -> np.ndarray:
    """What all layers do to a column."""
    found = np.eye(w.shape[-1])
    for layer in maps(w):
        found = layer @ found
    return found


def largest(matrices: np.ndarray) -> float:
    """The largest norm of a matrix among many."""
    return float(np.linalg.norm(matrices, axis=(-2, -1)).max())


def gauge(seed: int, layers: int, *, orthogonal: bool = False) -> np.ndarray:
    """Matrices A_0 = 1, ..., A_N = 1 that change along depth; shape (N + 1, n, n)."""
    generator = np.random.default_rng([seed, 4])
    first, second = generator.normal(size=(2, N_INPUTS, N_INPUTS)) / 5
    if orthogonal:
        first, second = first - first.T, second - second.T
    depth = np.arange(layers + 1) / layers
    return np.stack(
        [
            expm(np.sin(np.pi * t) * first) @ expm(4 * t * (1 - t) * second)
            for t in depth
        ]
    )


def gauged(w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The layers of M_l -> A_{l+1} M_l A_l^-1."""
    moved = a[1:] @ maps(w) @ np.linalg.inv(a[:-1])
    return len(w) * (moved - np.eye(w.shape[-1]))


# ------------------------------------------------------------------ training


@partial(jax.jit, static_argnames="loss")
def _train(loss: Loss, w: Any, batch: Batch, eta: Any, steps: Any) -> Any:
    def step(_: Any, carry: Any) -> Any:
        w, grown = carry
        g = slope(loss, w, batch)
        turned = jnp.swapaxes(g, 1, 2)
        grown += turned[1:] @ g[1:] - g[:-1] @ turned[:-1]
        return w - eta * g, grown

    still = jnp.zeros((len(w) - 1, *w.shape[1:]))
    return jax.lax.fori_loop(0, steps, step, (w, still))


def train(
    loss: Loss, w: np.ndarray, batch: Batch, eta: float, time: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent for `time`/eta steps.

    Returns:
        the layers, and what the law of a step adds to the charge, summed over steps.
    """
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (w, batch))
        w, grown = _train(loss, *arrays, eta, round(time / eta))
        return np.asarray(w), eta**2 * np.asarray(grown)


@partial(jax.jit, static_argnames="power")
def _penalised(w: Any, batch: Batch, decay: Any, power: int) -> Any:
    def total(w: Any) -> Any:
        return squared_error(w, batch) + decay * (w**power).sum() / power / len(w)

    return jax.value_and_grad(total)(w)


def stationary(
    w: np.ndarray, batch: Batch, decay: float, power: int = 2
) -> tuple[np.ndarray, float]:
    """A minimum of the loss + decay/power times the mean of W^power over depth.

    Returns:
        the layers, and the largest entry of the gradient in L2 of depth.
    """

    def both(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = _penalised(flat.reshape(w.shape), batch, decay, power)
        return float(value), np.asarray(slopes).ravel()

    options = {
        "maxcor": 50,
        "maxiter": 5000,
        "maxfun": 10_000,
        "ftol": 0,
        "gtol": 1e-12,
    }
    with jax.enable_x64(True):
        batch = jax.tree.map(jnp.asarray, batch)
        found = minimize(both, w.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(w.shape), float(len(w) * np.abs(found.jac).max())


def turned(w: np.ndarray) -> np.ndarray:
    """e^(2tK) S e^(-2tK) at the depth of each layer, of S and K of the first one."""
    symmetric, antisymmetric = halves(w)
    depth = np.arange(len(w)) / len(w)
    turns = np.stack([expm(2 * t * antisymmetric[0]) for t in depth])
    return turns @ symmetric[0] @ transposed(turns)


def halves(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The symmetric and the antisymmetric part."""
    return (w + transposed(w)) / 2, (w - transposed(w)) / 2
