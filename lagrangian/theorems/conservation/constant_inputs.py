"""Networks with constant inputs beside their own, on digits and on a curve.

A hidden unit sees tanh(w.x + sum_k c_k v_k + b). Everything in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.networks.digits import load_digits

#: The constants, and the hidden units.
CONSTANTS = np.linspace(0.2, 1.1, 10)
UNITS, BATCH = 12, 64
ETA = 0.02

Weights = dict[str, Any]


def start(seed: int) -> tuple[Weights, Weights]:
    """A network with constant inputs, and the plain one that is the same function."""
    generator = np.random.default_rng(seed)
    wide: Weights = {
        "first": generator.normal(size=(64, UNITS)) / 8,
        "constants": 0.3 * generator.normal(size=(len(CONSTANTS), UNITS)),
        "bias": 0.3 * generator.normal(size=UNITS),
        "second": generator.normal(size=(UNITS, 10)) / 3,
    }
    plain = {n: a for n, a in wide.items() if n != "constants"}
    return wide, plain | {"bias": wide["bias"] + CONSTANTS @ wide["constants"]}


def loss(w: Mapping[str, Any], batch: Any) -> Any:
    """The cross entropy, with constant inputs if there are weights for them."""
    images, labels = batch
    bias = w["bias"]
    if "constants" in w:
        bias = bias + jnp.asarray(CONSTANTS) @ w["constants"]
    says = jax.nn.log_softmax(jnp.tanh(images @ w["first"] + bias) @ w["second"])
    return -jnp.take_along_axis(says, labels[:, None], axis=1).mean()


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    (images, labels), _ = load_digits(seed)
    return images.reshape(len(images), -1).astype(float), np.asarray(labels)


def faster(factor: float) -> optax.GradientTransformation:
    """The learning rate of the bias, times a factor: a group of its own."""
    labels = lambda tree: {n: "bias" if n == "bias" else "rest" for n in tree}
    kinds: dict[Any, Any] = {"bias": optax.scale(factor), "rest": optax.identity()}
    return optax.multi_transform(kinds, labels)


def trained(
    seed: int,
    w: Weights,
    tx: optax.GradientTransformation,
    steps: int,
    kept: Callable[[Any], Any] = lambda w: 0.0,
) -> tuple[Weights, np.ndarray]:
    """The weights at the end, and what `kept` says of them before each step."""
    inputs, labels = data(seed)
    generator = np.random.default_rng([seed, 1])
    rows = generator.integers(0, len(inputs), (steps, BATCH))

    def step(carry: Any, chosen: Any) -> Any:
        w, state = carry
        slope = jax.grad(loss)(w, (inputs[chosen], labels[chosen]))
        moved, state = tx.update(slope, state, w)
        return (optax.apply_updates(w, moved), state), kept(w)

    with jax.enable_x64(True):
        inputs, labels, rows = map(jnp.asarray, (inputs, labels, rows))
        w = jax.tree.map(jnp.asarray, w)
        run = jax.jit(lambda c: jax.lax.scan(step, c, rows))
        (last, _), found = run((w, tx.init(w)))
        return jax.tree.map(np.asarray, last), np.asarray(found)


def charges(w: Mapping[str, Any]) -> Any:
    """v_k - c_k b of every unit, of shape (constants, units)."""
    return w["constants"] - jnp.asarray(CONSTANTS)[:, None] * w["bias"]


def apart(wide: Weights, plain: Weights) -> float:
    """The largest difference of two networks, by what the hidden units see of v."""
    bias = wide["bias"] + CONSTANTS @ wide["constants"]
    pairs = [(bias, plain["bias"])]
    pairs += [(wide[n], plain[n]) for n in ("first", "second")]
    return float(max(np.abs(a - b).max() for a, b in pairs))


# ------------------------------------------------------------------ a curve

#: Where it is sampled, symmetric around zero, and the hidden units.
POINTS = np.linspace(-2, 2, 40)


def curve() -> np.ndarray:
    """Neither odd nor even."""
    return np.sin(2 * POINTS) + 0.25 * np.cos(3 * POINTS)


def floor() -> float:
    """The loss that no odd function is below: half the mean square of the even part."""
    even = (curve() + curve()[::-1]) / 2
    return float(np.mean(even**2) / 2)


@partial(jax.jit, static_argnames="activation")
def _fit(w: Any, constant: Any, activation: Any) -> Any:
    x, y = jnp.asarray(POINTS), jnp.asarray(curve())
    rule = optax.adam(optax.cosine_decay_schedule(0.02, 20_000))

    def says(w: Any, x: Any) -> Any:
        return activation(jnp.outer(x, w[0]) + constant * w[1]) @ w[2]

    def miss(w: Any) -> Any:
        return jnp.mean((says(w, x) - y) ** 2) / 2

    def step(carry: Any, _: Any) -> Any:
        w, state = carry
        moved, state = rule.update(jax.grad(miss)(w), state)
        return (optax.apply_updates(w, moved), state), None

    (w, _), _ = jax.lax.scan(step, (w, rule.init(w)), None, 20_000)
    parity = jnp.abs(says(w, x) + says(w, -x)).max()
    return miss(w), parity, says(w, x)


def fitted(seed: int, constant: float, activation: Any = jnp.tanh) -> tuple[Any, ...]:
    """A network without biases and one constant input, fitted to the curve.

    Returns:
        the loss, the largest |f(x) + f(-x)|, and f at `POINTS`.
    """
    generator = np.random.default_rng([seed, 2])
    w = generator.normal(size=(3, 24)) * np.array([[1.5], [1.5], [0.4]])
    with jax.enable_x64(True):
        found = _fit(jnp.asarray(w), float(constant), activation)
        return float(found[0]), float(found[1]), np.asarray(found[2])
