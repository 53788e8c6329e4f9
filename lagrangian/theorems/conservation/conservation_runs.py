"""Gradient flow and training of the small networks, and what they conserve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.theorems.conservation.conserved import (
    ROTATIONS,
    SYMMETRIES,
    angular_momentum,
    conserved,
)
from lagrangian.theorems.testbeds.symmetric_networks import all_symmetric, start_of_all

Loss = Callable[[Any, Any], Any]

#: Time that the gradient flow takes, and tolerances of its steps.
HORIZON, TOLERANCES = 2.0, (1e-7, 1e-9, 1e-11)
#: The momentum of each heavy ball, and the fewest steps in which it gets there.
MOMENTA = {0.0: 100, 0.9: 800}
#: That number is doubled, and again.
MULTIPLES = np.array([1, 2, 4, 8])
#: A heavy ball whose second-order flow is looked at, until e^(-mu t/m) = e^-4.
INERT = HeavyBall(0.1, 0.9)

VALUE, RATE, GROWTH, ROTATION = "value", "rate", "growth", "rotation"


# ------------------------------------------------------------------ measuring


@cache
def _expressions() -> dict[tuple[str, str], Any]:
    found = {}
    for name, symmetry in SYMMETRIES.items():
        quantity = conserved(symmetry)
        found[name, VALUE], found[name, RATE] = quantity.value, quantity.rate
        found[name, GROWTH] = quantity.growth
    for name, symmetry in ROTATIONS.items():
        found[name, ROTATION] = angular_momentum(symmetry)
    return found


@jax.jit
def _measured(q: Any, v: Any, parameters: Any) -> list[Any]:
    """All `_expressions` at states along one axis."""
    expressions = _expressions().values()
    blocks = {b.base for e in expressions for b in e.atoms(Block)}

    @jax.vmap
    def at(q: Any, v: Any) -> Any:
        known = {mass: parameters[0], friction: parameters[1]}
        known |= {block: q[block.name] for block in blocks}
        known |= {block.dot: v[block.name] for block in blocks}
        return [jnp.ravel(value) for value in evaluate(expressions, known)]

    return at(q, v)


def measure(
    q: Mapping[str, Any], v: Mapping[str, Any], momentum: float
) -> dict[tuple[str, str], np.ndarray]:
    """All parts of all conserved quantities, at eta = 1.

    Args:
        q, v: parameters and velocities by name, their states along the first axis.
        momentum: beta.

    Returns:
        By (symmetry, part) a float64 array of shape (states, entries).
    """
    values = HeavyBall(1.0, momentum).parameters()
    with jax.enable_x64(True):
        parameters = jnp.asarray([values[mass], values[friction]])
        q, v = jax.tree.map(jnp.asarray, (dict(q), dict(v)))
        found = jax.device_get(_measured(q, v, parameters))
    return dict(zip(_expressions(), found, strict=True))


def _farthest(x: np.ndarray) -> float:
    """How far x, (..., states, entries), gets from its first state, over its norm."""
    far = np.linalg.norm(x - x[..., :1, :], axis=-1).max()
    return float(far / np.linalg.norm(x[..., 0, :], axis=-1).min())


# ------------------------------------------------------------------ flow


@dataclass(frozen=True)
class Flow:
    """A path of the gradient flow, with the weights that integrate along it."""

    path: NetworkPath
    weights: np.ndarray

    @cached_property
    def measured(self) -> dict[tuple[str, str], np.ndarray]:
        return measure(self.path.q, self.path.v, 0.0)

    def deviation(self, name: str) -> float:
        """How far X gets from where it starts, over its norm there."""
        return _farthest(self.measured[name, VALUE])

    def coefficient(self, name: str, momentum: float) -> np.ndarray:
        """The integral of the growth at eta = 1: by this much X moves for each eta.

        With momentum the gradient flow takes the same path 1/(1 - beta) times as fast.
        """
        faster = {n: v / (1 - momentum) for n, v in self.path.v.items()}
        growth = measure(self.path.q, faster, momentum)[name, GROWTH]
        return (1 - momentum) * np.tensordot(self.weights, growth, 1)


def gradient_flows(loss: Loss, seed: int, tolerances: tuple[float, ...]) -> list[Flow]:
    """The gradient flow at each tolerance, kept where Gauss-Legendre needs it."""
    start, batch = start_of_all(seed)
    flow = network_flow(start, loss, batch, HeavyBall(1.0), order=0)
    times, weights = _quadrature()
    solver = diffrax.Tsit5()
    return [
        Flow(flow.integrate(list(times), tol=tol, solver=solver), weights)
        for tol in tolerances
    ]


def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Times from 0 to the horizon and weights: Gauss-Legendre, denser at the start."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = HORIZON * np.array([0.0, 0.1, 0.4, 1.0])
    lengths = np.diff(edges)[:, None]
    inner = edges[:-1, None] + lengths * (nodes + 1) / 2
    inside = (lengths * weights / 2).ravel()
    return (
        np.array([0.0, *inner.ravel(), HORIZON]),
        np.array([0.0, *inside, 0.0]),
    )


@dataclass(frozen=True)
class InertialFlow:
    """A path of the second-order flow from a random velocity.

    Attributes:
        path: of `INERT`.
        faded: e^(-mu t/m) at each time.
    """

    path: NetworkPath
    faded: np.ndarray

    @cached_property
    def measured(self) -> dict[tuple[str, str], np.ndarray]:
        return measure(self.path.q, self.path.v, INERT.momentum)

    def deviation(self, name: str, part: str) -> float:
        """How far e^(mu t/m) times a charge gets, over what it was."""
        return _farthest(self.measured[name, part] / self.faded[:, None])


def inertial_flow(seed: int) -> InertialFlow:
    """The second-order flow of the symmetric networks."""
    start, batch = start_of_all(seed)
    flow = network_flow(start, all_symmetric, batch, INERT, order="second")
    values = INERT.parameters()
    slowing = float(values[friction] / values[mass])
    path = flow.integrate(
        (0.0, 4 / slowing),
        v0=random_velocity(start, seed),
        solver=diffrax.Tsit5(),
        tol=1e-11,
        points=21,
    )
    return InertialFlow(path, np.exp(-slowing * path.t))


def random_velocity(start: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """A normal one for every parameter."""
    generator = np.random.default_rng([seed, 2])
    return {n: generator.normal(size=w.shape) for n, w in sorted(start.items())}


# ------------------------------------------------------------------ training


@dataclass(frozen=True)
class Training:
    """The same network trained at several learning rates.

    Attributes:
        rates: the learning rates, shape (rates,).
        momentum: beta.
        q, v: parameters by name after each step, and the velocities -p of the steps
            that led there: shape (rates, steps + 1, ...).
    """

    rates: np.ndarray
    momentum: float
    q: Mapping[str, np.ndarray]
    v: Mapping[str, np.ndarray]

    @cached_property
    def measured(self) -> dict[tuple[str, str], np.ndarray]:
        """As `measure`, each of shape (rates, steps + 1, entries)."""
        flat = [
            {n: x.reshape(-1, *x.shape[2:]) for n, x in state.items()}
            for state in (self.q, self.v)
        ]
        found = measure(flat[0], flat[1], self.momentum)
        return {
            key: x.reshape(len(self.rates), -1, x.shape[-1]) for key, x in found.items()
        }

    def drift(self, name: str) -> np.ndarray:
        """X less what it was at the start: (rates, steps + 1, entries)."""
        x = self.measured[name, VALUE]
        return x - x[:, :1]

    def final(self, name: str) -> np.ndarray:
        """The drift at the horizon for each learning rate: (rates, entries)."""
        steps = MOMENTA[self.momentum] * MULTIPLES
        return self.drift(name)[np.arange(len(steps)), steps]

    def deviation(self, name: str) -> float:
        """How far X gets from where it starts at any rate, over its norm there."""
        return _farthest(self.measured[name, VALUE])

    def excess(self, name: str) -> float:
        """The residual of the exact law of X, of all steps the largest, over |X|."""
        x, speed, growth = (self.measured[name, p] for p in (VALUE, RATE, GROWTH))
        rates = self.rates[:, None, None]
        y = x + rates * self.momentum / (1 - self.momentum) * speed
        # One eta for the time of a step, one for the mass.
        residual = np.diff(y, axis=1) - rates**2 * growth[:, 1:]
        return float(np.abs(residual).max() / np.linalg.norm(x[0, 0]))

    def turning(self, name: str, part: str, steps: int) -> float:
        """How far beta^-k times a charge gets in some steps, over what it was."""
        faded = self.momentum ** np.arange(steps + 1)[:, None]
        return _farthest(self.measured[name, part][:, : steps + 1] / faded)


@partial(jax.jit, static_argnums=(0, 1, 2))
@partial(jax.vmap, in_axes=(None, None, None, 0, None, None, None))
def descend(
    loss: Loss,
    momentum: float,
    steps: int,
    rate: Any,
    start: Any,
    trace: Any,
    batch: Any,
) -> Any:
    """Parameters and traces after each step."""
    rule = HeavyBall(lambda step: rate, momentum)
    transformation = rule.optax()
    state = optax.tree.set(transformation.init(start), trace=trace)

    def step(carry: Any, _: Any) -> Any:
        w, state = carry
        updates, state = transformation.update(jax.grad(loss)(w, batch), state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), (w, rule.trace(state))

    return jax.lax.scan(step, (start, state), length=steps)[1]


def train_at(loss: Loss, seed: int, momentum: float, kicked: bool = False) -> Training:
    """Train by the heavy ball at all learning rates side by side, in float64.

    As many steps at every rate as the smallest needs to reach the horizon.

    Args:
        loss: of the parameters and the batch.
        seed: of both, and of the first trace.
        momentum: beta, one of the `MOMENTA`.
        kicked: whether the first trace is random, not zero.
    """
    counts = MOMENTA[momentum] * MULTIPLES
    rates = HORIZON * (1 - momentum) / counts
    start, batch = start_of_all(seed)
    kick = {n: kicked * v for n, v in random_velocity(start, seed).items()}
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (rates, start, kick, batch))
        later = jax.device_get(descend(loss, momentum, int(counts[-1]), *arrays))
    q, traces = (
        {n: _from_start(first[n], x) for n, x in after.items()}
        for first, after in zip((start, kick), later, strict=True)
    )
    return Training(rates, momentum, q, {n: -p for n, p in traces.items()})


def _from_start(first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """The arrays of the runs with the one that they start from."""
    first = np.broadcast_to(first, (len(later), 1, *first.shape))
    return np.concatenate([first, later], axis=1)
