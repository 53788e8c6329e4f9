"""Rich and lazy learning, measured: neurons on whitened digits, ReLU nets on digits.

Everything in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.tangent_kernel import tangent_kernel
from lagrangian.networks.digits import load_digits
from lagrangian.theorems.conservation.minimal_model import Minimal

#: How long neurons are followed, and how many times of it are compared.
HORIZON, TIMES = 8.0, 41
#: cos of the angle between w and beta* at the start.
LEANS = 0.6

Data = tuple[np.ndarray, np.ndarray]


def _digits(seed: int, images: int) -> Data:
    """Images of shape (images, 64), of norm 1 on average, and their parities as +-1."""
    (pixels, labels), _ = load_digits(seed)
    inputs = pixels[:images].reshape(-1, 64).astype(float)
    inputs /= np.linalg.norm(inputs, axis=1).mean()
    return inputs, 1.0 - 2.0 * (labels[:images] % 2)


@cache
def neuron_data(seed: int, images: int, whitened: bool = True) -> Data:
    """Digits in the units in which the best map beta* has the norm 1.

    Args:
        seed: of the digits.
        images: how many.
        whitened: X^T X = 1, for as many columns as X has a rank; or the pixels as they
            are, up to the largest singular value, which is 1.
    """
    inputs, targets = _digits(seed, images)
    left, sizes, _ = np.linalg.svd(inputs, full_matrices=False)
    rank = int((sizes > 1e-10 * sizes[0]).sum())
    inputs = left[:, :rank] if whitened else inputs / sizes[0]
    return inputs, targets / np.linalg.norm(np.linalg.pinv(inputs) @ targets)


def best(data: Data) -> np.ndarray:
    """beta*, of shape (d,)."""
    return np.linalg.pinv(data[0]) @ data[1]


def start(
    generator: np.random.Generator,
    wanted: np.ndarray,
    delta: float,
    sign: float,
    rates: tuple[float, float],
) -> Minimal:
    """A random neuron of this imbalance, with an angle of cosine 0.6 to beta*.

    Args:
        sign: of a at the start: -1 where w has to lose its way or a its sign; 0 for
            a = 0, which needs a negative delta.
    """
    across = generator.normal(size=wanted.shape)
    across -= (across @ wanted) / (wanted @ wanted) * wanted
    w = LEANS * wanted / np.linalg.norm(wanted)
    w += np.sqrt(1 - LEANS**2) * across / np.linalg.norm(across)
    light = 0.5 if sign else 0.0
    w *= np.sqrt((max(0.0, -delta) + light) / rates[0])
    a = sign * np.sqrt(max(0.0, delta + rates[0] * w @ w) / rates[1])
    return Minimal(float(a), w, wanted, rates)


# ------------------------------------------------------------------ descent and flow


def _loss(neurons: Any, batch: Any) -> Any:
    """The sum over neurons of their squared errors; the rates are in the batch."""
    inputs, targets, roots = batch
    a, w = neurons["a"] * roots[0], neurons["w"] * roots[1][:, None]
    errors = (w @ inputs.T) * a[:, None] - targets
    return (errors**2).sum() / 2


def _packed(neurons: Sequence[Minimal], data: Data) -> tuple[Any, Any]:
    """A model whose rates are 1, of layers over the roots of theirs; and its batch."""
    roots = np.sqrt(np.array([neuron.rates for neuron in neurons])).T
    a = np.array([neuron.a for neuron in neurons]) / roots[0]
    w = np.array([neuron.w for neuron in neurons]) / roots[1][:, None]
    return {"a": a, "w": w}, (*data, roots)


@partial(jax.jit, static_argnums=3)
def _descend(model: Any, batch: Any, eta: Any, rows: int, every: Any) -> Any:
    def step(_: Any, q: Any) -> Any:
        slope = jax.grad(_loss)(q, batch)
        return jax.tree.map(lambda x, g: x - eta * g, q, slope)

    def row(q: Any, _: Any) -> Any:
        q = jax.lax.fori_loop(0, every, step, q)
        return q, q

    return jax.lax.scan(row, model, length=rows)[1]


def descended(
    neurons: Sequence[Minimal], data: Data, eta: float
) -> tuple[np.ndarray, np.ndarray]:
    """a and w of neurons along gradient descent, of shapes (times, k), (times, k, d).

    At `times()`, the first of which is the start.
    """
    model, batch = _packed(neurons, data)
    rows = TIMES - 1
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (model, batch))
        found = _descend(*arrays, eta, rows, round(HORIZON / eta / rows))
        found = jax.device_get(found)
    path = {q: np.concatenate([x[None], found[q]]) for q, x in model.items()}
    return path["a"] * batch[2][0], path["w"] * batch[2][1][:, None]


def flowed(neurons: Sequence[Minimal], data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The same along gradient flow, by the engine's own."""
    model, batch = _packed(neurons, data)
    rule = HeavyBall(learning_rate=0.1, momentum=0.0)
    flow = network_flow(model, _loss, batch, rule, order=0)
    path = flow.integrate(times().tolist(), tol=1e-10)
    return path.q["a"] * batch[2][0], path.q["w"] * batch[2][1][:, None]


def times() -> np.ndarray:
    return np.linspace(0.0, HORIZON, TIMES)


def measured_kernel(
    neuron: tuple[Any, np.ndarray], rates: tuple[float, float], inputs: np.ndarray
) -> np.ndarray:
    """The tangent kernel of a neuron (a, w) on the inputs, of shape (n, n)."""
    roots = np.sqrt(rates)
    model = {"a": neuron[0] / roots[0], "w": neuron[1] / roots[1]}
    outputs = lambda q, x: roots[0] * roots[1] * q["a"] * (x @ q["w"])
    return tangent_kernel(model, outputs, inputs)


def measured_distance(one: np.ndarray, other: np.ndarray) -> float:
    """1 - <K1, K2>/(|K1| |K2|) of two kernels."""
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float(1 - (one * other).sum() / size)


def time_to(cosine: float, begin: float, delta: float) -> float:
    """When w has turned to beta* as far as this, from a = 0 and w at `begin`.

    Both angles by their cosines; unit rates and |beta*| = 1.
    """

    def field(t: float, x: np.ndarray) -> np.ndarray:
        a, along, across = x
        square = along**2 + across**2
        return np.array([along - a * square, a * (1 - a * along), -(a**2) * across])

    def turned(t: float, x: np.ndarray) -> float:
        return x[1] / np.hypot(x[1], x[2]) - cosine

    ends: Any = turned
    ends.terminal = True
    size = np.sqrt(-delta)
    first = size * np.array([0.0, begin, np.sqrt(1 - begin**2)])
    horizon = 20 * abs(delta)
    found = solve_ivp(
        field, (0, horizon), first, "LSODA", events=ends, rtol=1e-11, atol=1e-13
    )
    return float(found.t_events[0][0])


# ------------------------------------------------------------------ ReLU


@dataclass(frozen=True)
class Net:
    """What training did to a two-layer network.

    Attributes:
        hamming: the share of (unit, image) whose activity changed.
        moved: the distance of the parameters from the start.
        missed: the largest imbalance of a unit, less that of the summed law.
        drift: the largest that the law adds to an imbalance.
        loss: at the end.
        steps: how many.
    """

    hamming: float
    moved: float
    missed: float
    drift: float
    loss: float
    steps: int


@partial(jax.jit, static_argnums=0)
def _train(act: Any, model: Any, batch: Any, eta: Any, fitted: Any, most: Any) -> Any:
    inputs, targets = batch

    def loss(q: Any) -> Any:
        return ((act(inputs @ q["w"].T) @ q["a"] - targets) ** 2).mean() / 2

    def goes_on(carry: Any) -> Any:
        _, _, value, count = carry
        return (count < most) & (value > fitted)

    def step(carry: Any) -> Any:
        q, summed, _, count = carry
        value, slope = jax.value_and_grad(loss)(q)
        summed += eta**2 * (slope["a"] ** 2 - (slope["w"] ** 2).sum(axis=1))
        q = jax.tree.map(lambda x, g: x - eta * g, q, slope)
        return q, summed, value, count + 1

    begin = (model, jnp.zeros_like(model["a"]), jnp.inf, 0)
    return jax.lax.while_loop(goes_on, step, begin)


def net(
    seed: int,
    delta: float,
    activation: Any = jax.nn.relu,
    *,
    images: int = 200,
    pairs: int = 50,
    size: float = 0.1,
    eta: float = 0.05,
    fitted: float = 0.05,
    most: int = 5_000,
) -> Net:
    """Train a network on the parity of digits, by gradient descent.

    Args:
        delta: the imbalance a^2 - |w|^2 of every unit.
        activation: between the layers.
        images, pairs: how many; the units of a pair have the same w and opposite a, so
            that the outputs are zero.
        size: tau, the root of |a| |w|.
        eta: the learning rate.
        fitted, most: the loss, and the number of steps, where it ends.
    """
    inputs, targets = _digits(seed, images)
    generator = np.random.default_rng([seed, 5])
    share = delta / size**2 / 2
    # |a| = alpha tau and |w| = tau/alpha; the smaller power without cancellation.
    square = abs(share) + np.hypot(share, 1.0)
    alpha = np.sqrt(square if share > 0 else 1 / square)
    w = generator.normal(size=(pairs, inputs.shape[1]))
    w *= size / alpha / np.linalg.norm(w, axis=1, keepdims=True)
    a = np.full(pairs, alpha * size)
    first = {"a": np.concatenate([a, -a]), "w": np.concatenate([w, w])}
    with jax.enable_x64(True):
        model, batch = jax.tree.map(jnp.asarray, (first, (inputs, targets)))
        found = _train(activation, model, batch, eta, fitted, most)
        last, summed, loss, steps = jax.device_get(found)
    active = [inputs @ q["w"].T > 0 for q in (first, last)]
    moved = np.sqrt(sum(((last[q] - first[q]) ** 2).sum() for q in first))
    before, after = (q["a"] ** 2 - (q["w"] ** 2).sum(axis=1) for q in (first, last))
    return Net(
        float((active[0] != active[1]).mean()),
        float(moved),
        float(np.abs(after - before - summed).max()),
        float(np.abs(summed).max()),
        float(loss),
        int(steps),
    )
