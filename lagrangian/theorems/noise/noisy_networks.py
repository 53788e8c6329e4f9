"""SGD one sample at a time: a ReLU layer on the digits, and linear layers of a teacher.

Samples of the digits are drawn with replacement; the teacher is a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.theorems.noise.decayed_networks import digits

Layers = tuple[Any, Any]


# ------------------------------------------------------------------ ReLU on digits


@dataclass(frozen=True)
class ReluRun:
    """Runs of SGD from one start; every entry has the shape (runs, parts, units).

    Attributes:
        charge: C = |w|^2 - |u|^2 of each unit, before and after.
        residual: the largest C' - C - eta^2 <g, A g> of any step, over |q|^2.
        pushed: eta^2 E <g, A g>, summed over the steps of each part.
        variance: that of the sum of eta^2 <g, A g>.
        inward, outward: eta^2 tr Sigma of w and of u, summed likewise.
        folds: the integral of the rate at which the unit relaxes.
        layers: of every run, at the end.
    """

    charge: np.ndarray
    residual: float
    pushed: np.ndarray
    variance: np.ndarray
    inward: np.ndarray
    outward: np.ndarray
    folds: np.ndarray
    layers: tuple[np.ndarray, np.ndarray]

    @property
    def ratio(self) -> np.ndarray:
        """ln tr Sigma_in/tr Sigma_out of the sums; NaN of units that are dead."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.inward / self.outward)


def relu_problem(seed: int, components: int = 12, rows: int = 1024) -> Any:
    """(inputs, targets): principal components with a one for the bias, and classes."""
    data = digits(seed, whitened=False, components=components, rows=rows)
    inputs = data.inputs / 1.5
    return np.hstack([inputs, np.ones((len(inputs), 1))]), data.targets


def relu_start(seed: int, inputs: int, units: int = 10) -> Layers:
    """Every unit answers to most digits: its bias is positive."""
    generator = np.random.default_rng(seed)
    first = 0.7 * generator.normal(size=(units, inputs))
    first[:, -1] = 1.0
    return first, 0.4 * generator.normal(size=(10, units))


def relu_loss(weights: Any, batch: Any, activation: Any = jax.nn.relu) -> Any:
    """E |f - y|^2; of weights by name, for `gradient_noise`."""
    inputs, targets = batch
    hidden = activation(inputs @ weights["inward"].T)
    return ((hidden @ weights["outward"].T - targets) ** 2).sum(axis=1).mean()


def _squares(layers: Layers, x: Any, y: Any, activation: Any) -> Any:
    """Per example and unit |g_w|^2 and |g_u|^2; and both mean gradients."""
    w, u = layers
    before = x @ w.T
    hidden, slope = jax.jvp(activation, (before,), (jnp.ones_like(before),))
    error = 2 * (hidden @ u.T - y)
    back = (error @ u) * slope
    inward = back**2 * (x**2).sum(axis=1, keepdims=True)
    outward = (error**2).sum(axis=1, keepdims=True) * hidden**2
    return inward, outward, back.T @ x / len(x), error.T @ hidden / len(x)


def _moments(
    layers: Layers, x: Any, y: Any, eta: Any, full: bool, activation: Any
) -> tuple[Any, ...]:
    """Of one step, a unit each: the entries of `ReluRun` from `pushed` to `folds`."""
    inward, outward, g_w, g_u = _squares(layers, x, y, activation)
    along = inward - outward
    drift = (g_w**2).sum(axis=1) - (g_u**2).sum(axis=0)
    traces = inward.mean(axis=0) - (g_w**2).sum(axis=1)
    others = outward.mean(axis=0) - (g_u**2).sum(axis=0)
    size = (layers[0] ** 2).sum(axis=1) + (layers[1] ** 2).sum(axis=0)
    return (
        eta**2 * (drift if full else along.mean(axis=0)),
        eta**4 * along.var(axis=0),
        eta**2 * traces,
        eta**2 * others,
        eta**2 * (traces + others) / size,
    )


def relu_moments(seed: int, layers: Layers) -> tuple[np.ndarray, ...]:
    """E <g, A g>, its variance, tr Sigma of w and of u, and their sum over |q|^2."""
    of_step = jax.jit(_moments, static_argnames=("full", "activation"))
    with jax.enable_x64(True):
        found = of_step(layers, *relu_problem(seed), 1.0, False, jax.nn.relu)
        return jax.tree.map(np.asarray, found)


@partial(jax.jit, static_argnames=("blocks", "parts", "every", "full", "activation"))
def _relu(
    keys: Any,
    layers: Layers,
    x: Any,
    y: Any,
    eta: Any,
    blocks: int,
    parts: int,
    every: int,
    full: bool,
    activation: Any,
) -> Any:
    def charge(layers: Layers) -> Any:
        return (layers[0] ** 2).sum(axis=1) - (layers[1] ** 2).sum(axis=0)

    def step(carry: Any, row: Any) -> Any:
        layers, worst = carry
        batch = (x, y) if full else (x[row][None], y[row][None])
        _, _, g_w, g_u = _squares(layers, *batch, activation)
        after = layers[0] - eta * g_w, layers[1] - eta * g_u
        pushed = eta**2 * ((g_w**2).sum(axis=1) - (g_u**2).sum(axis=0))
        gap = charge(after) - charge(layers) - pushed
        size = (layers[0] ** 2).sum(axis=1) + (layers[1] ** 2).sum(axis=0)
        return (after, jnp.maximum(worst, jnp.abs(gap / size).max())), None

    def block(carry: Any, key: Any) -> Any:
        layers, worst, sums = carry
        new = _moments(layers, x, y, eta, full, activation)
        sums = jax.tree.map(lambda total, one: total + every * one, sums, new)
        rows = jax.random.randint(key, (every,), 0, len(x))
        (layers, worst), _ = jax.lax.scan(step, (layers, worst), rows)
        return (layers, worst, sums), None

    def part(carry: Any, key: Any) -> Any:
        layers, worst = carry
        zero = (jnp.zeros(layers[0].shape[0]),) * 5
        keys = jax.random.split(key, blocks)
        (layers, worst, sums), _ = jax.lax.scan(block, (layers, worst, zero), keys)
        return (layers, worst), (charge(layers), sums)

    def run(key: Any) -> Any:
        (after, worst), (charges, sums) = jax.lax.scan(
            part, (layers, jnp.zeros(())), jax.random.split(key, parts)
        )
        charges = jnp.concatenate([charge(layers)[None], charges])
        return after, worst, charges, sums

    return jax.vmap(run)(keys)


def relu_run(
    seed: int,
    eta: float,
    steps: int,
    *,
    parts: int = 1,
    every: int = 1,
    full: bool = False,
    activation: Any = jax.nn.relu,
    layers: Layers | None = None,
    runs: int = 1,
) -> ReluRun:
    """SGD from the start of `relu_start`; the moments are taken every few steps.

    Each of the `runs` draws its own sequence of examples.
    """
    blocks, rest = divmod(steps, parts * every)
    if rest:
        raise ValueError(
            f"{steps} steps are no multiple of {parts} x {every}. Choose one."
        )
    inputs, targets = relu_problem(seed)
    layers = layers or relu_start(seed, inputs.shape[1])
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(m) for m in layers)
        keys = jax.random.split(jax.random.key(seed), runs)
        found = _relu(
            keys, given, inputs, targets, eta, blocks, parts, every, full, activation
        )
        end, worst, charge, sums = jax.tree.map(np.asarray, found)
    return ReluRun(charge, float(worst.max()), *sums, end)


# ------------------------------------------------------------------ linear teachers


@dataclass(frozen=True)
class Teacher:
    """y = V x + e with Gaussian x and e, independent.

    Attributes:
        inputs, noise: S_x and S_e, both diagonal: (d_x,) and (d_y,).
        modes: K, the singular values of S_e^(1/2) V S_x^(1/2).
        left, right: P and Q, their directions.
    """

    inputs: np.ndarray
    noise: np.ndarray
    modes: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def alpha(self) -> float:
        return float(np.sqrt(self.noise.sum() / self.inputs.sum()))

    @property
    def whole(self) -> np.ndarray:
        """V."""
        inner = (self.left * self.modes) @ self.right.T
        return inner / np.sqrt(self.noise)[:, None] / np.sqrt(self.inputs)

    def at_rest(self, layers: int) -> list[np.ndarray]:
        """The matrices W_1 to W_D at the noise equilibrium, from the inputs on."""
        root = np.sqrt(self.modes)
        if layers == 2:
            a, middle = self.alpha**-0.5, []
            b = 1 / a
        else:
            total = self.modes.sum()
            tx, te = self.inputs.sum(), self.noise.sum()
            c = (total / np.sqrt(tx * te)) ** (1 / layers)
            a, b = c * np.sqrt(tx / total), c * np.sqrt(te / total)
            middle = [c * np.eye(len(root))] * (layers - 2)
        first = a * root[:, None] * self.right.T / np.sqrt(self.inputs)
        last = b * self.left / np.sqrt(self.noise)[:, None] * root
        return [first, *middle, last]


def teacher() -> Teacher:
    """The one of all runs, whatever their seed: the seed draws the samples."""
    generator = np.random.default_rng(0)
    turn = [np.linalg.qr(generator.normal(size=(3, 3)))[0] for _ in range(2)]
    return Teacher(
        np.array([2.0, 1.0, 0.5]),
        np.array([1.0, 0.6, 0.3]),
        np.array([1.0, 0.8, 0.6]),
        *turn,
    )


@partial(jax.jit, static_argnames=("steps", "every", "full"))
def _stream(
    key: Any,
    layers: Any,
    x_root: Any,
    e_root: Any,
    whole: Any,
    eta: Any,
    steps: int,
    every: int,
    full: bool,
) -> Any:
    def error(layers: Any, x: Any, y: Any) -> Any:
        said = x
        for matrix in layers:
            said = matrix @ said
        return ((said - y) ** 2).sum()

    def mean_error(layers: Any) -> Any:
        total = layers[0]
        for matrix in layers[1:]:
            total = matrix @ total
        return (((total - whole) * x_root) ** 2).sum()

    def step(layers: Any, key: Any) -> Any:
        if full:
            slope = jax.grad(mean_error)(layers)
        else:
            first, second = jax.random.split(key)
            x = x_root * jax.random.normal(first, x_root.shape, x_root.dtype)
            e = e_root * jax.random.normal(second, e_root.shape, e_root.dtype)
            slope = jax.grad(error)(layers, x, whole @ x + e)
        return [m - eta * g for m, g in zip(layers, slope, strict=True)], None

    def block(layers: Any, key: Any) -> Any:
        layers, _ = jax.lax.scan(step, layers, jax.random.split(key, every))
        return layers, layers

    keys = jax.random.split(key, steps // every)
    return jax.lax.scan(block, layers, keys)[1]


def stream(
    given: Teacher,
    start: Sequence[np.ndarray],
    eta: float,
    time: float,
    *,
    replicas: int = 24,
    seed: int = 0,
    full: bool = False,
) -> list[np.ndarray]:
    """SGD by samples that are never seen again; full: on their expected loss.

    Returns:
        each matrix along the second half of the run, of shape
        (times, replicas, rows, columns).
    """
    every = max(int(0.5 / eta), 1)
    steps = int(time / eta) // every * every
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), replicas)
        layers = [jnp.asarray(matrix) for matrix in start]
        run = jax.vmap(
            lambda key: _stream(
                key, layers, np.sqrt(given.inputs), np.sqrt(given.noise),
                given.whole, eta, steps, every, full,
            )
        )  # fmt: skip
        found = [np.asarray(m).swapaxes(0, 1) for m in run(keys)]
    return [m[len(m) // 2 :] for m in found]
