"""Steps on the digits, and beside them the flows whose fields the engine derived."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lagrangian.lowering.evaluate import evaluate
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.laws.discrete import momentum
from lagrangian.theorems.dynamics.counter_terms import F, by_hand, fields, q

#: Principal components, hidden units and classes: 132 parameters; images; weight decay.
SIZES, IMAGES, DECAY = (12, 6, 10), 300, 0.05
#: Images in a minibatch, and how many runs on such.
BATCH, REPLICAS = 30, 24

#: Of every flow, by the fifth order of Dormand and Prince: its error is below 1e-10.
STEPS = 100

Array = Any
Field = Callable[[Array], Array]


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components with unit variance on average, and their classes."""
    (images, labels), _ = load_digits(seed)
    x = images[:IMAGES].reshape(IMAGES, -1).astype(float)
    x -= x.mean(axis=0)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    kept = SIZES[0]
    scale = np.sqrt(IMAGES * kept) / np.linalg.norm(values[:kept])
    return left[:, :kept] * values[:kept] * scale, labels[:IMAGES]


@dataclass(frozen=True, eq=False)
class Digits:
    """A tanh network, full-batch, with weight decay in the loss."""

    seed: int
    data: tuple[np.ndarray, np.ndarray] = field(init=False)
    start: np.ndarray = field(init=False)
    unravel: Callable[[Array], Mapping[str, Array]] = field(init=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        n, hidden, classes = SIZES
        weights = {
            "first": generator.normal(size=(n, hidden)) / np.sqrt(n),
            "second": generator.normal(size=(hidden, classes)) / np.sqrt(hidden),
        }
        start, unravel = ravel_pytree(weights)
        for name, value in (
            ("data", digits(self.seed)),
            ("start", np.asarray(start)),
            ("unravel", unravel),
        ):
            object.__setattr__(self, name, value)

    def cross_entropy(self, w: Mapping[str, Array], batch: Any) -> Array:
        inputs, labels = batch
        says = jax.nn.log_softmax(jnp.tanh(inputs @ w["first"]) @ w["second"])
        return -jnp.take_along_axis(says, labels[:, None], axis=1).mean()

    def loss(self, q: Array, batch: Any = None) -> Array:
        """F, of all parameters end to end."""
        f = self.cross_entropy(self.unravel(q), self.data if batch is None else batch)
        return f + DECAY / 2 * q @ q

    # ------------------------------------------------------------ steps

    @cached_property
    def _step(self) -> Callable[..., Any]:
        slope = jax.grad(self.loss)

        @jax.jit
        def step(q: Array, before: Array, eta: Any, beta: Any) -> tuple[Array, Array]:
            return q + beta * (q - before) - eta * slope(q), q

        return step

    def steps(
        self, eta: float, time: float, beta: float = 0.0, before: Any = None
    ) -> Array:
        """Where the steps are at the time eta k; `before` is the state before."""
        now = jnp.asarray(self.start)
        past = now if before is None else before
        for _ in range(round(time / eta)):
            now, past = self._step(now, past, eta, beta)
        return now

    def minibatches(self, rates: Sequence[float], time: float) -> np.ndarray:
        """The same on minibatches that are drawn anew at every step, several runs.

        Of shape (rates, runs, parameters).
        """
        inputs, labels = map(jnp.asarray, self.data)
        slope = jax.vmap(jax.grad(self.loss))

        @jax.jit
        def run(drawn: Array, steps: Any, eta: Any) -> Array:
            def step(k: Any, states: Array) -> Array:
                batch = inputs[drawn[k]], labels[drawn[k]]
                return states - eta * slope(states, batch)

            begun = jnp.tile(self.start, (REPLICAS, 1))
            return jax.lax.fori_loop(0, steps, step, begun)

        lengths = [round(time / eta) for eta in rates]
        found = []
        for eta, steps in zip(rates, lengths, strict=True):
            # As long as that of the longest run, so that all are one program.
            drawn = np.zeros((max(lengths), REPLICAS, BATCH), int)
            chance = np.random.default_rng(self.seed)
            drawn[:steps] = chance.integers(0, IMAGES, (steps, REPLICAS, BATCH))
            found.append(run(drawn, steps, eta))
        return np.array(found)

    # ------------------------------------------------------------ flows

    def terms(self, order: int, beta: float = 0.0, tensor: Any = None) -> list[Field]:
        """f_0, ..., f_order as functions of the parameters.

        Args:
            tensor: a wrong coefficient of T[g, g] in f_2, for a control.
        """
        found = fields(order, momentum if beta else 0)
        if tensor is not None:
            found[2] = by_hand(tensor)[2].subs(momentum, 0)

        def at(expression: Any, point: Array) -> Array:
            values = {q: point, momentum: beta}
            return evaluate([expression], values, {F.name: self.loss})[0]

        return [partial(at, expression) for expression in found]

    def flows(
        self, rates: Sequence[float], time: float, terms: Sequence[Field]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the flows through each order are, and the leading errors of all.

        Args:
            terms: one more than there are flows.

        Returns:
            Flows of shape (rates, orders, parameters), and E of shape (orders,
            parameters), which is along gradient flow, so of no rate.
        """
        count = len(terms) - 1

        def slopes(t: Any, state: Any, eta: Any) -> Any:
            states, theta, errors = state
            moved = [
                sum(eta**n * f(states[p]) for n, f in enumerate(terms[: p + 1]))
                for p in range(count)
            ]
            velocity, carry = jax.linearize(terms[0], theta)
            grown = [
                carry(e) - f(theta) for e, f in zip(errors, terms[1:], strict=True)
            ]
            return jnp.stack(moved), velocity, jnp.stack(grown)

        begun = jnp.tile(self.start, (count, 1))
        state = begun, jnp.asarray(self.start), jnp.zeros_like(begun)
        states, _, errors = follow(slopes, state, time, jnp.asarray(rates))
        return np.asarray(states), np.asarray(errors[0])

    def momentum_errors(
        self, rates: Sequence[float], time: float, beta: float
    ) -> np.ndarray:
        """Distances of the heavy ball from its flows of order 0 and 1.

        On the slow manifold from the start: the state before is that of the flow, so
        that no trace has to grow first. Shape (orders, rates).
        """
        terms = self.terms(1, beta)
        start = jnp.asarray(self.start)

        @jax.jit
        def before(eta: Any) -> Array:
            slope = lambda q: sum(eta**n * f(q) for n, f in enumerate(terms))
            a = slope(start)
            b = slope(start - eta / 2 * a)
            c = slope(start - eta / 2 * b)
            return start - eta / 6 * (a + 2 * b + 2 * c + slope(start - eta * c))

        ends = [self.steps(eta, time, beta, before(eta)) for eta in rates]
        found = [self.one_flow(rates, time, terms[: p + 1]) for p in range(2)]
        return np.linalg.norm(np.array(found) - np.array(ends), axis=2)

    def one_flow(
        self, rates: Sequence[float], time: float, terms: Sequence[Field]
    ) -> np.ndarray:
        """Where the flow through the highest order is, at each rate."""

        def slope(t: Any, state: Array, eta: Any) -> Array:
            return sum(eta**n * f(state) for n, f in enumerate(terms))

        states = follow(slope, jnp.asarray(self.start), time, jnp.asarray(rates))
        return np.asarray(states)

    @cached_property
    def bare_sum(self) -> Callable[[float, float], Array]:
        """eta times the sum of Hess F grad F/2 over the steps, not carried along."""
        slope = jax.grad(self.loss)

        @jax.jit
        def turned(q: Array) -> Array:
            g = slope(q)
            return jax.jvp(slope, (q,), (g,))[1] / 2

        def found(eta: float, time: float) -> Array:
            now = jnp.asarray(self.start)
            total = jnp.zeros_like(now)
            for _ in range(round(time / eta)):
                total += eta * turned(now)
                now = self._step(now, now, eta, 0.0)[0]
            return total

        return found


def follow(slopes: Any, state: Any, time: float, rates: Any) -> Any:
    """A flow for each rate, by steps of one size that is far too small to matter."""

    @jax.jit
    def all_of(rates: Any) -> Any:
        def one(eta: Any) -> Any:
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(slopes),
                diffrax.Dopri5(),
                t0=0.0,
                t1=time,
                dt0=time / STEPS,
                y0=state,
                args=eta,
                saveat=diffrax.SaveAt(t1=True),
                max_steps=STEPS + 2,
            )
            return jax.tree.map(lambda x: x[0], found.ys)

        return jax.vmap(one)(rates)

    return all_of(rates)
