"""A loss, and runs and flows of a rule on it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate

W = lg.blocks("w")
TARGET = np.array([0.3, -1.1, 0.7, 1.9])


def loss(w):
    """Smooth, without a symmetry, far from its minima where the tests start."""
    return jnp.sum(jnp.log(jnp.cosh(w - jnp.asarray(TARGET)))) + jnp.sin(w[0] * w[1])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def start():
    return np.array([1.2, 0.4, 2.3, 0.8])


@pytest.fixture
def slope():
    return jax.jit(jax.grad(loss))


@pytest.fixture
def discrete():
    """Where `steps` of an optax transformation lead from `q`."""

    def run(transformation, q, steps):
        @jax.jit
        def step(carry, _):
            q, state = carry
            updates, state = transformation.update(jax.grad(loss)(q), state, q)
            return (optax.apply_updates(q, updates), state), None

        q = jnp.asarray(q)
        (q, _), _ = jax.lax.scan(step, (q, transformation.init(q)), length=steps)
        return np.asarray(q)

    return run


@pytest.fixture
def second_order():
    """Where the Euler-Lagrange flow of a rule leads from a run at rest."""

    def run(rule, q, horizon, velocity=None, parameters=None):
        opaque = lg.Loss("f", W)
        values = rule.parameters() if parameters is None else parameters
        if velocity is None:
            velocity = at(rule.initial_velocity(opaque)[W], q, values)
        flow = lg.lower(rule.lagrangian(opaque), values, losses={"f": loss})
        path = flow.integrate({W: q}, {W: velocity}, (0, horizon), tol=1e-13, points=2)
        return path[W][-1]

    return run


@pytest.fixture
def first_order():
    """Where a field, an expression in `w`, leads."""

    def run(expression, q, horizon, values=None):
        solution = scipy.integrate.solve_ivp(
            lambda t, q: at(expression, q, values or {}),
            (0, horizon),
            q,
            rtol=1e-12,
            atol=1e-12,
            method="DOP853",
        )
        return solution.y[:, -1]

    return run


def at(expression, q, values):
    symbols = tuple(values)
    return np.asarray(_at(expression, symbols)(jnp.asarray(q), *values.values()))


@pytest.fixture
def value():
    """An expression in `w` at one point."""
    return at


_compiled = {}


def _at(expression, symbols):
    key = expression, symbols
    if key not in _compiled:
        _compiled[key] = jax.jit(partial(_evaluate, expression, symbols))
    return _compiled[key]


def _evaluate(expression, symbols, q, *values):
    known = {W: q, **dict(zip(symbols, values, strict=True))}
    return jnp.broadcast_to(evaluate([expression], known, {"f": loss})[0], q.shape)


@pytest.fixture
def order():
    """The slope of log error against log learning rate."""

    def measure(errors, rates):
        return np.polyfit(np.log(rates), np.log(errors), 1)[0]

    return measure
