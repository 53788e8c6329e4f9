"""Networks in motion: two linear layers from a random velocity, and mirror flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, Literal

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.lowering.evaluate import evaluate
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.theorems.conservation.conservation_runs import (
    descend,
    random_velocity,
)
from lagrangian.theorems.conservation.counted_networks import forward
from lagrangian.theorems.testbeds.classifier import same
from lagrangian.theorems.testbeds.symmetric_networks import squared_error

#: The heavy ball of flows and of training, and how long both are followed.
RULE, TIME, STEPS = HeavyBall(0.1, 0.9), 1.5, 40
TOLERANCE = 1e-11
#: The gradient flow is followed for less: the kink of a ReLU may hold it fast later on,
#: and then it takes no end of steps.
SHORT = 0.4


# ------------------------------------------------------------------ two layers


@dataclass(frozen=True)
class Moving:
    """Two layers from a random velocity, under a loss of their outputs.

    Attributes:
        sizes: inputs, hidden units, outputs.
        seed: of everything random.
        activation: between the layers.
        bias: whether the hidden units have one.
    """

    sizes: tuple[int, int, int]
    seed: int
    activation: Any = same
    bias: bool = False

    @cached_property
    def problem(self) -> tuple[dict[str, np.ndarray], Any]:
        chance = np.random.default_rng([self.seed, *self.sizes])
        inputs, width, outputs = self.sizes
        w = {
            "layer0": chance.normal(size=(inputs, width)),
            "layer1": chance.normal(size=(width, outputs)),
        }
        w |= {"bias0": chance.normal(size=width)} if self.bias else {}
        x = chance.normal(size=(20, inputs))
        y = np.tanh(x[:, :1] + chance.normal(size=(20, outputs)))
        return w, (x, y)

    def loss(self, w: Any, batch: Any) -> Any:
        return squared_error(forward(w, batch[0], self.activation), batch[1])

    def trained(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Parameters and velocities -p after each step, from a random trace."""
        w, batch = self.problem
        kick = random_velocity(w, self.seed)
        with jax.enable_x64(True):
            rates = jnp.asarray([RULE.learning_rate])
            given = jax.tree.map(jnp.asarray, (w, kick, batch))
            q, p = descend(self.loss, RULE.momentum, STEPS, rates, *given)
        return (
            {name: np.asarray(array[0]) for name, array in q.items()},
            {name: -np.asarray(array[0]) for name, array in p.items()},
        )


@cache
def follow(moving: Moving, order: int | Literal["second"]) -> NetworkPath:
    """The second-order flow from a random velocity, or the gradient flow."""
    w, batch = moving.problem
    rule = RULE if order == "second" else HeavyBall(1.0)
    flow = network_flow(w, moving.loss, batch, rule, order=order)
    kick = random_velocity(w, moving.seed) if order == "second" else None
    time, solver = TIME if order == "second" else SHORT, diffrax.Tsit5()
    return flow.integrate((0.0, time), v0=kick, solver=solver, tol=TOLERANCE, points=31)


def grown(path: NetworkPath) -> np.ndarray:
    """e^(mu t/m) at the times of a path."""
    values = RULE.parameters()
    return np.exp(float(values[friction] / values[mass]) * path.t)


def at_states(
    expression: Any,
    q: Mapping[str, Any],
    v: Mapping[str, Any],
    values: Mapping[Any, Any] | None = None,
) -> np.ndarray:
    """An expression in blocks and velocities at states along a first axis, as rows.

    Args:
        expression: what is evaluated.
        q, v: arrays by name.
        values: of its other symbols.
    """
    blocks = {block.base for block in expression.atoms(Block)}

    def at(q: Any, v: Any) -> Any:
        known = {b: q[b.name] for b in blocks} | {b.dot: v[b.name] for b in blocks}
        return jnp.ravel(evaluate([expression], known | dict(values or {}))[0])

    with jax.enable_x64(True):
        q, v = jax.tree.map(jnp.asarray, (dict(q), dict(v)))
        return np.asarray(jax.jit(jax.vmap(at))(q, v))


def farthest(x: np.ndarray) -> float:
    """How far rows get from the first one, over its norm."""
    return float(np.linalg.norm(x - x[0], axis=1).max() / np.linalg.norm(x[0]))


# ------------------------------------------------------------------ mirror flows


def entropy(x: Any) -> Any:
    """The potential whose mirror descent is the exponentiated gradient."""
    return x * sp.log(x) - x


#: Images, and factors of the factorisation; how far it goes, and at which rates.
IMAGES, FACTORS, HORIZON = 200, 5, 2.0
RATES = (0.02, 0.01, 0.005)


def sums(q: Mapping[str, Any]) -> Any:
    """sum_i u_ik - sum_j v_jk, for each factor k."""
    return q["u"].sum(axis=-2) - q["v"].sum(axis=-2)


def factorised(w: Any, y: Any) -> Any:
    """Half the squared distance of U V^T to the images, on average over them."""
    return ((w["u"] @ w["v"].T - y) ** 2).sum() / (2 * IMAGES)


@dataclass(frozen=True)
class Factors:
    """Images of digits as a product of two positive matrices."""

    seed: int

    @cached_property
    def problem(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        (images, _), _ = load_digits(self.seed)
        y = images[:IMAGES].reshape(IMAGES, -1).T.astype(float)
        y = y - y.min() + 1e-3
        chance = np.random.default_rng(self.seed)
        start = {
            "u": 0.2 + chance.random((len(y), FACTORS)),
            "v": 0.2 * (0.2 + chance.random((IMAGES, FACTORS))),
        }
        return start, y

    def flow(self, rule: Any) -> NetworkPath:
        """The first-order flow of a rule."""
        start, y = self.problem
        flow = network_flow(start, factorised, y, rule, order=0)
        solver = diffrax.Tsit5()
        return flow.integrate((0.0, HORIZON), solver=solver, tol=TOLERANCE, points=21)

    def descended(self, rate: float) -> np.ndarray:
        """The law before and after the exponentiated gradient; shape (2, factors)."""
        return self._ends(_mirrored, rate)

    def with_inertia(self, rate: float) -> np.ndarray:
        """The same for z' = -z grad, q' = z - q: the mirror flow in motion."""
        return self._ends(_inertial, rate)

    def _ends(self, step: Any, rate: float) -> np.ndarray:
        with jax.enable_x64(True):
            start, y = jax.tree.map(jnp.asarray, self.problem)
            end = _walk(step, rate, round(HORIZON / rate), start, y)
            return np.stack([sums(start), sums(end)])


@partial(jax.jit, static_argnums=0)
def _walk(step: Any, rate: Any, count: Any, start: Any, y: Any) -> Any:
    """Where so many steps at this rate lead."""

    def go(_: Any, state: Any) -> Any:
        return step(rate, *state, jax.grad(factorised)(state[0], y))

    return jax.lax.fori_loop(0, count, go, (start, start))[0]


def _mirrored(rate: Any, q: Any, z: Any, slope: Any) -> Any:
    transformation = MirrorDescent(lambda step: rate, entropy).optax()
    updates, _ = transformation.update(slope, transformation.init(q), q)
    return optax.apply_updates(q, updates), z


def _inertial(rate: Any, q: Any, z: Any, slope: Any) -> Any:
    z = jax.tree.map(lambda z, g: z * jnp.exp(-rate * g), z, slope)
    return jax.tree.map(lambda q, z: q + rate * (z - q), q, z), z
