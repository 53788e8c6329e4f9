"""Rules that users write: the check says of them what it says of the same built-in."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.learning.rules.rule import friction, mass, metric_block
from lagrangian.symbolic.laws.discrete import weight_decay

TARGET = np.random.default_rng(3).normal(size=(5, 5))
START = np.random.default_rng(5).normal(size=5)


@dataclass(frozen=True)
class Ball(lg.Rule):
    """A heavy ball from the textbook: what `Rule` asks for, and little more."""

    beta: float = 0.0
    l2: float = 0.0
    shrink: float = 0.0
    is_euclidean: ClassVar[bool] = True

    @property
    def memory(self):
        return self.beta

    @property
    def coupled_decay(self):
        return self.l2

    @property
    def decoupled_decay(self):
        return self.shrink

    def lagrangian(self, loss):
        kinetic = sum(lg.Inner(w.dot, w.dot) for w in loss.blocks)
        decay = sum(lg.Inner(w, w) for w in loss.blocks)
        return lg.Lagrangian(
            mass / 2 * kinetic,
            loss + weight_decay / 2 * decay,
            damping=friction / mass * lg.time,
            coordinates=loss.blocks,
        )

    def gradient_flow(self, loss):
        return {
            w: -(loss.gradient(w) + weight_decay * w) / friction for w in loss.blocks
        }

    def initial_velocity(self, loss):
        if not self.shrink:
            return super().initial_velocity(loss)
        return {
            w: -loss.gradient(w) / (1 + self.beta) - self.shrink * w
            for w in loss.blocks
        }

    def recursion(self, loss=None):
        raise NotImplementedError

    def parameters(self, learning_rate=None):
        eta = self.learning_rate if learning_rate is None else learning_rate
        mu = 1 - self.beta + eta * self.beta * self.shrink
        return {
            mass: eta * (1 + self.beta) / 2,
            friction: mu,
            weight_decay: self.l2 + (1 - self.beta) * self.shrink,
        }

    def optax(self):
        return optax.chain(
            optax.add_decayed_weights(self.l2),
            optax.trace(self.beta),
            optax.add_decayed_weights(self.shrink),
            optax.scale_by_learning_rate(self.learning_rate),
        )

    def trace(self, state):
        return optax.tree.get(state, "trace")


@dataclass(frozen=True)
class RootMeanSquare(lg.Rule):
    """RMSProp without decay, whose metric moves."""

    keep: float = 0.9

    def lagrangian(self, loss):
        kinetic = sum(lg.Inner(w.dot, metric_block(w) * w.dot) for w in loss.blocks)
        return lg.Lagrangian(
            mass / 2 * kinetic,
            loss,
            damping=friction / mass * lg.time,
            coordinates=loss.blocks,
        )

    def gradient_flow(self, loss):
        return {
            w: -loss.gradient(w) / sp.sqrt(loss.gradient(w) ** 2) for w in loss.blocks
        }

    def recursion(self, loss=None):
        raise NotImplementedError

    def parameters(self, learning_rate=None):
        eta = self.learning_rate if learning_rate is None else learning_rate
        return {mass: eta / 2, friction: 1.0}

    def optax(self):
        return optax.chain(
            optax.scale_by_rms(self.keep, 1e-8),
            optax.scale_by_learning_rate(self.learning_rate),
        )

    def metric(self, new_state, gradient, state):
        average = optax.tree.get(new_state, "nu")
        return jax.tree.map(lambda v: jnp.sqrt(v + 1e-8), average)


def row(rule, steps=60):
    """The check of the scale law of a loss of the direction alone, on noisy batches."""

    def loss(q, batch):
        u = q["w"] / jnp.sqrt(jnp.sum(q["w"] ** 2))
        return jnp.sin(u @ jnp.asarray(TARGET) @ u) + jnp.mean(batch @ u)

    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    data = np.random.default_rng(7).normal(size=(64, 5))
    with jax.enable_x64(True):
        run = lg.train(
            {"w": jnp.asarray(START)},
            loss,
            data,
            rule,
            steps,
            observe=[law],
            batch_size=4,
        )
        (found,) = lg.check(run, [law])
    return asdict(found)


def assert_alike(found, expected):
    for name, value in expected.items():
        if name in ("discrete", "balance", "defect", "rounding"):
            assert found[name] < 1e-12 > value  # rounding, which differs
        elif isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-6), name
        else:
            assert found[name] == value, name


@settings(max_examples=4, deadline=None)
@given(
    beta=st.sampled_from([0.0, 0.5, 0.9]),
    decay=st.sampled_from([0.0, 0.01, 0.1]),
    decoupled=st.booleans(),
)
def test_a_heavy_ball_of_ones_own_is_one(beta, decay, decoupled):
    own = Ball(0.02, beta, *((0.0, decay) if decoupled else (decay, 0.0)))
    expected = row(lg.HeavyBall(0.02, beta, decay, decoupled=decoupled))
    found = row(own)
    assert found["raw"] is not None
    if beta:  # gradients alone are noisier than the velocity
        assert found["raw_factor"] > 1.5
    assert_alike(found, expected | {"reason": found["reason"]})


def test_a_metric_of_ones_own_is_that_of_rmsprop():
    expected = row(lg.RMSProp(1e-3))
    found = row(RootMeanSquare(1e-3))
    assert found["continuous"] is None and found["metric"] > 1e-3
    assert_alike(found, expected | {"reason": found["reason"]})


def test_the_velocity_from_rest_follows_from_mass_and_friction():
    loss = lg.Loss("f", lg.blocks("w"))
    own, known = Ball(0.02, 0.9, 0.01), lg.HeavyBall(0.02, 0.9, 0.01)
    difference = sp.expand(
        (own.initial_velocity(loss)[loss.blocks[0]]).xreplace(own.parameters())
        - known.initial_velocity(loss)[loss.blocks[0]]
    )
    assert all(
        abs(term.as_coeff_Mul()[0]) < 1e-12 for term in sp.Add.make_args(difference)
    )
    with pytest.raises(lg.LagrangianError, match="no stated initial velocity"):
        RootMeanSquare(0.1).initial_velocity(loss)
