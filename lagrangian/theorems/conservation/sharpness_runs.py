"""Two linear layers with one hidden unit between them, which learn from digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from lagrangian.learning.network_flow import NetworkFlow, network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.networks.digits import load_digits
from lagrangian.theorems.testbeds.symmetric_networks import squared_error

#: Whitened components of the images, and classes.
FEATURES, CLASSES = 6, 10
#: The flow is followed for so many times of decay of the excess loss.
DECAYS, POINTS = 38.0, 381
#: The relative excess between which its rate is read off: far below where the slowest
#: mode is alone, and far above rounding.
LAST = (1e-14, 1e-12)

#: Learning rates over 2/sharpness; how many times the excess loss decays by e.
RATES = (0.1, 0.05, 0.025)

Weights = Mapping[str, Any]


def loss(w: Weights, batch: Any) -> Any:
    """Half the mean squared distance of u <v, x> to the targets."""
    x, targets = batch
    return squared_error(jnp.outer(x @ w["v"], w["u"]), targets)


def tanh_loss(w: Weights, batch: Any) -> Any:
    """For controls: the unit is no linear one, and <u, u> - <v, v> no constant."""
    x, targets = batch
    return squared_error(jnp.outer(jnp.tanh(x @ w["v"]), w["u"]), targets)


def charge(w: Weights) -> Any:
    """Q = |u|^2 - |v|^2, of states along first axes as well."""
    return (w["u"] ** 2).sum(axis=-1) - (w["v"] ** 2).sum(axis=-1)


def moved_to(w: Weights, charge: float) -> dict[str, np.ndarray]:
    """(e^c u, e^-c v), with the c at which it has that charge: the same network."""
    u, v = (float(np.linalg.norm(w[name])) for name in "uv")
    # Q = 2 |u| |v| sinh of twice what is added to that of balance.
    grown = v / u * np.exp(np.arcsinh(charge / (2 * u * v)))
    return {"u": np.sqrt(grown) * w["u"], "v": w["v"] / np.sqrt(grown)}


def sharpness(charge: float, strength: float) -> float:
    """sqrt(Q^2 + 4 s^2)."""
    return float(np.hypot(charge, 2 * strength))


@dataclass(frozen=True)
class Bottleneck:
    """Whitened digits -> one linear unit -> the classes, projected on one direction.

    Whitened as they are, with a mean of zero and covariance 1 over the images that are
    trained on, the loss is |Y - u v^T|^2/2 and a constant, with Y = s a b^T.
    """

    seed: int
    features: int = FEATURES

    @cached_property
    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs of shape (images, features), targets of shape (images, classes)."""
        (images, labels), _ = load_digits(self.seed)
        pixels = images.reshape(len(images), -1).astype(float)
        left, _, _ = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
        x = np.sqrt(len(images)) * left[:, : self.features]
        one_hot = np.eye(CLASSES)[labels]
        direction = np.linalg.svd(one_hot.T @ x / len(x))[0][:, :1]
        return x, one_hot @ direction @ direction.T

    @cached_property
    def modes(self) -> tuple[np.ndarray, float, np.ndarray]:
        """a, s and b of what is to be learned, Y = s a b^T."""
        x, targets = self.batch
        a, s, b = np.linalg.svd(targets.T @ x / len(x))
        return a[:, 0], float(s[0]), b[0]

    @property
    def strength(self) -> float:
        """s."""
        return self.modes[1]

    def minimum(self, charge: float) -> dict[str, np.ndarray]:
        """Where u v^T = Y, at this charge."""
        a, s, b = self.modes
        return moved_to({"u": np.sqrt(s) * a, "v": np.sqrt(s) * b}, charge)

    def start(self, charge: float, aligned: bool = False) -> dict[str, np.ndarray]:
        """The same u v^T at every charge: along a b^T, or not."""
        chance = np.random.default_rng([self.seed, self.features])
        found = {}
        a, s, b = self.modes
        for name, mode in (("u", a), ("v", b)):
            aside = 0.0 if aligned else chance.normal(size=len(mode)) / 2
            direction = mode + aside
            # On the side of the minimum.
            direction *= np.sign(direction @ mode) / np.linalg.norm(direction)
            found[name] = 0.6 * np.sqrt(s) * direction
        return moved_to(found, charge)

    def excess(self, w: Weights) -> np.ndarray:
        """|Y - u v^T|^2/(2 s^2), of states along first axes as well."""
        a, s, b = self.modes
        left = s * np.outer(a, b) - w["u"][..., :, None] * w["v"][..., None, :]
        return (left**2).sum(axis=(-2, -1)) / (2 * s**2)

    def spectrum(self, w: Weights, of: Any = loss) -> np.ndarray:
        """The eigenvalues of the Hessian, in order."""
        with jax.enable_x64(True):
            return np.asarray(
                _spectrum(of, *jax.tree.map(jnp.asarray, (dict(w), self.batch)))
            )

    def trained(self, w: Weights, rate: float, steps: int) -> dict[str, np.ndarray]:
        """Before each step of gradient descent, and at the end."""
        with jax.enable_x64(True):
            given = jax.tree.map(jnp.asarray, (dict(w), self.batch))
            return jax.device_get(_descend(steps, rate, *given))


@cache
def _flow(net: Bottleneck, of: Any) -> NetworkFlow:
    start = net.start(0.0)
    return network_flow(start, of, net.batch, HeavyBall(1.0), order=0)


@cache
def follow(
    net: Bottleneck, charge: float, rate: float, aligned: bool = False, of: Any = loss
) -> NetworkPath:
    """The gradient flow, for so long as excess that decays at `rate` takes."""
    start, time = net.start(charge, aligned), (0.0, DECAYS / rate)
    return _flow(net, of).integrate(time, q0=start, tol=1e-11, points=POINTS)


def last_rate(net: Bottleneck, path: NetworkPath) -> float:
    """At which the excess loss decays at last, by regression of its logarithm."""
    excess = net.excess(path.q)
    last = (excess > LAST[0]) & (excess < LAST[1])
    if last.sum() < 3:
        return float("nan")
    return float(-np.polyfit(path.t[last], np.log(excess[last]), 1)[0])


def product_of(
    times: np.ndarray, start: float, charge: float, strength: float
) -> np.ndarray:
    """p of p' = (s - p) sqrt(Q^2 + 4 p^2), by another integrator."""
    slope = lambda t, p: (strength - p) * np.hypot(charge, 2 * p)
    span, exact = (times[0], times[-1]), {"rtol": 1e-12, "atol": 1e-14}
    return solve_ivp(slope, span, [start], "DOP853", times, **exact).y[0]


def growth(net: Bottleneck, charge: float, rate: float, steps: int = 40) -> float:
    """By which a step multiplies what is away from a minimum in the sharpest mode."""
    end = net.minimum(charge)
    size = 1e-9
    path = net.trained({n: (1 + size) * x for n, x in end.items()}, rate, steps)
    u, v = end["u"], end["v"]
    sharpest = {"u": v @ v * u, "v": u @ u * v}
    away = sum((path[n] - end[n]) @ sharpest[n] for n in end)
    return float(abs(away[-1] / away[0]) ** (1 / steps))


def spectrum_of(net: Bottleneck, charge: float) -> np.ndarray:
    """As predicted of the minimum at this charge, in order."""
    top = sharpness(charge, net.strength)
    a, b = (top + charge) / 2, (top - charge) / 2
    rows, columns = CLASSES - 1, net.features - 1
    return np.sort(np.array([top, 0.0] + [b] * rows + [a] * columns))


def end_of(net: Bottleneck, path: Any) -> float:
    """The sharpness at the end of a path."""
    return float(net.spectrum({n: x[-1] for n, x in path.q.items()})[-1])


def flow_of(net: Bottleneck, ratio: float, aligned: bool = False) -> tuple[Any, float]:
    """The path from Q = 2 s ratio, and at which rate its loss must decay at last."""
    Q = 2 * net.strength * ratio
    top = sharpness(Q, net.strength)
    if aligned:
        rate = 2 * top
    else:
        rate = top - (abs(Q) if net.features > 1 else Q)
    return follow(net, Q, rate, aligned), rate


@cache
def trained_sharpness(net: Bottleneck, ratio: float = 1.0) -> tuple[Any, Any, float]:
    """At the ends of gradient descent: learning rates, sharpness, and the predicted."""
    Q = 2 * net.strength * ratio
    top = sharpness(Q, net.strength)
    rates = 2 * np.array(RATES) / top
    found = []
    for rate in rates:
        steps = round(DECAYS / (top - abs(Q)) / rate)
        path = net.trained(net.start(Q), rate, steps)
        found.append(net.spectrum({n: x[-1] for n, x in path.items()})[-1])
    return rates, np.array(found), top


@partial(jax.jit, static_argnums=0)
def _descend(steps: int, rate: float, w: Any, batch: Any) -> Any:
    def step(w: Any, _: Any) -> Any:
        slope = jax.grad(loss)(w, batch)
        return jax.tree.map(lambda x, g: x - rate * g, w, slope), w

    return jax.lax.scan(step, w, length=steps + 1)[1]


@partial(jax.jit, static_argnums=0)
def _spectrum(of: Any, w: Any, batch: Any) -> Any:
    flat, shaped = ravel_pytree(w)
    return jnp.linalg.eigvalsh(jax.hessian(lambda x: of(shaped(x), batch))(flat))


def factor_spectrum(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Of |Y - U V^T|^2/2 where U V^T = Y, by automatic differentiation."""
    shapes = u.shape, v.shape

    def distance(flat: Any) -> Any:
        left, right = jnp.split(flat, [u.size])
        found = left.reshape(shapes[0]) @ right.reshape(shapes[1]).T
        return ((u @ v.T - found) ** 2).sum() / 2

    with jax.enable_x64(True):
        flat = jnp.concatenate([jnp.ravel(u), jnp.ravel(v)])
        return np.linalg.eigvalsh(np.asarray(jax.hessian(distance)(flat)))


def random_charges(sizes: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """|U|^2 - |V|^2 of so many starts, U ~ N(0, 1/h) m x h and V ~ N(0, 1/n) n x h."""
    m, h, n = sizes
    chance = np.random.default_rng([seed, *sizes])
    u, v = (
        (chance.normal(size=(count, rows * h), scale=scale) ** 2).sum(axis=1)
        for rows, scale in ((m, h**-0.5), (n, n**-0.5))
    )
    return u - v
