"""Every rule with a schedule, step for step against its twin."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import lagrangian as lg

RATE = optax.warmup_cosine_decay_schedule(0.0, 0.05, 4, 20)
L2 = optax.add_decayed_weights(0.1)


def hypentropy(x):
    return x * sp.asinh(x) - sp.sqrt(x**2 + 1)


def by_numpy(move):
    """A transformation from q, g and eta to the next q, in plain NumPy."""

    def update(gradient, count, q):
        g, q = np.asarray(gradient) + 0.1 * np.asarray(q), np.asarray(q)
        return jnp.asarray(move(q, g, float(RATE(count))) - q), count + 1

    start = jnp.zeros([], jnp.int32)  # as optax counts, whose schedules depend on it
    return optax.GradientTransformation(lambda q: start, update)


TWINS = {
    "heavy ball": (
        lg.HeavyBall(RATE, 0.9, weight_decay=0.1),
        optax.chain(L2, optax.sgd(RATE, momentum=0.9)),
    ),
    "nesterov": (
        lg.HeavyBall(RATE, 0.9, weight_decay=0.1, nesterov=True),
        optax.chain(L2, optax.sgd(RATE, momentum=0.9, nesterov=True)),
    ),
    "dampened": (
        lg.HeavyBall(RATE, 0.9, weight_decay=0.1, dampening=0.5),
        optax.chain(L2, optax.scale(0.5), optax.sgd(RATE, momentum=0.9)),
    ),
    "decoupled": (
        lg.HeavyBall(RATE, 0.9, weight_decay=0.1, decoupled=True),
        optax.chain(optax.trace(0.9), L2, optax.scale_by_learning_rate(RATE)),
    ),
    "rmsprop": (
        lg.RMSProp(RATE, 0.95, weight_decay=0.1),
        optax.chain(L2, optax.rmsprop(RATE, decay=0.95)),
    ),
    "adamw": (lg.Adam(RATE, weight_decay=0.1), optax.adamw(RATE, weight_decay=0.1)),
    "adam": (
        lg.Adam(RATE, weight_decay=0.1, decoupled=False),
        optax.chain(L2, optax.adam(RATE)),
    ),
    "lion": (lg.Lion(RATE, weight_decay=0.1), optax.lion(RATE, weight_decay=0.1)),
    "sign descent": (lg.Lion(RATE, b1=0.0, b2=0.0), optax.sign_sgd(RATE)),
    "mirror": (
        lg.MirrorDescent(RATE, hypentropy, weight_decay=0.1),
        by_numpy(lambda q, g, eta: np.sinh(np.arcsinh(q) - eta * g)),
    ),
    "natural": (
        lg.NaturalGradient(RATE, hypentropy, weight_decay=0.1),
        by_numpy(lambda q, g, eta: q - eta * g * np.sqrt(1 + q**2)),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_schedule_step_for_step(name, slope, start):
    rule, twin = TWINS[name]
    ours, theirs = (steps(t, slope, start) for t in (rule.optax(), twin))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    # The control: the same rule at the schedule's peak goes elsewhere.
    constant = dataclasses.replace(rule, learning_rate=0.05)
    assert np.abs(steps(constant.optax(), slope, start) - theirs).max() > 1e-3


def steps(transformation, slope, start):
    """The parameters after each of 12 steps."""
    q = jnp.asarray(start)
    state, path = transformation.init(q), []
    for _ in range(12):
        updates, state = transformation.update(slope(q), state, q)
        q = optax.apply_updates(q, updates)
        path.append(q)
    return np.asarray(jax.device_get(path))
