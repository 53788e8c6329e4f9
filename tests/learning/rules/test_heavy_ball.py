"""The heavy ball against its optax twin, and its flows' orders in the learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate

DIMENSIONS = 20
TARGET = np.random.default_rng(3).normal(size=(DIMENSIONS, DIMENSIONS))


def scale_invariant_loss(w):
    """A smooth loss of the direction of w alone."""
    u = w / jnp.sqrt(jnp.sum(w**2))
    return jnp.sin(2 * u @ jnp.asarray(TARGET) @ u / 3) + jnp.cos(3 * u[0] * u[1])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def start():
    return np.random.default_rng(5).normal(size=DIMENSIONS)


def gradient(rule):
    loss = jax.grad(scale_invariant_loss)
    return jax.jit(lambda w: loss(w) + rule.weight_decay * w)


def discrete_run(rule, q, steps, trace=None):
    """The rule's own optax transformation, from a given trace."""
    transformation = rule.optax()
    state = transformation.init(q)
    if trace is not None:
        state = optax.tree.set(state, trace=trace)

    @jax.jit
    def step(carry, _):
        q, state = carry
        updates, state = transformation.update(
            jax.grad(scale_invariant_loss)(q), state, q
        )
        return (optax.apply_updates(q, updates), state), None

    (q, _), _ = jax.lax.scan(step, (q, state), length=steps)
    return np.asarray(q)


def second_order_flow(rule, q, v, horizon):
    w = lg.blocks("w")
    system = rule.lagrangian(lg.Loss("f", w))
    flow = lg.lower(system, rule.parameters(), losses={"f": scale_invariant_loss})
    path = flow.integrate({w: q}, {w: v}, (0, horizon), tol=1e-12, points=3)
    return path[w][-1]


def first_order_flow(rule, q, horizon):
    w = lg.blocks("w")
    expression = rule.gradient_flow(lg.Loss("f", w))[w]

    @jax.jit
    def field(q):
        values = {w: q, **rule.parameters()}
        return evaluate([expression], values, {"f": scale_invariant_loss})[0]

    solution = scipy.integrate.solve_ivp(
        lambda t, q: np.asarray(field(q)), (0, horizon), q, rtol=1e-11, atol=1e-11
    )
    return solution.y[:, -1]


def slow_manifold(rule, q):
    """Velocity and acceleration of the smooth motion, to second order in eta."""
    mu = 1 - rule.momentum
    mass = rule.learning_rate * (1 + rule.momentum) / 2
    force = gradient(rule)
    g, hg = jax.jvp(force, (q,), (force(q),))
    return -g / mu - mass / mu**3 * hg, hg / mu**2


def order(errors, rates):
    """The slope of log error against log learning rate."""
    return np.polyfit(np.log(rates), np.log(errors), 1)[0]


RATES = [0.02, 0.01, 0.005, 0.0025]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_flows_have_orders_one_and_two(start, momentum):
    """Started on the slow manifold, so that the initial layer does not show."""
    first, second = [], []
    for eta in RATES:
        rule = lg.HeavyBall(eta, momentum, weight_decay=0.05)
        v, a = slow_manifold(rule, jnp.asarray(start))
        # The trace of a run that came from q_{-1} = q - eta v + eta^2/2 a.
        trace = -(v - eta / 2 * a)
        end = discrete_run(rule, jnp.asarray(start), round(2 / eta), trace)
        first.append(np.linalg.norm(end - first_order_flow(rule, start, 2.0)))
        second.append(np.linalg.norm(end - second_order_flow(rule, start, v, 2.0)))
    assert order(first, RATES) == pytest.approx(1, abs=0.1)
    assert order(second, RATES) == pytest.approx(2, abs=0.1)


def test_the_initial_velocity_of_a_heavy_ball_at_rest(start):
    """-grad F/(1 + beta) gives order two; the published 0 gives order one."""
    corrected, zero = [], []
    for eta in RATES:
        rule = lg.HeavyBall(eta, momentum=0.5, weight_decay=0.05)
        end = discrete_run(rule, jnp.asarray(start), round(2 / eta))
        v = -gradient(rule)(jnp.asarray(start)) / (1 + rule.momentum)
        corrected.append(np.linalg.norm(end - second_order_flow(rule, start, v, 2.0)))
        zero.append(np.linalg.norm(end - second_order_flow(rule, start, 0 * v, 2.0)))
    assert order(corrected, RATES) == pytest.approx(2, abs=0.1)
    assert order(zero, RATES) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_optax_twin_is_the_stated_recursion(start, momentum):
    rule = lg.HeavyBall(0.1, momentum, weight_decay=0.01)
    q, trace = jnp.asarray(start), 0.0
    for _ in range(10):
        trace = momentum * trace + gradient(rule)(q)
        q = q - 0.1 * trace
    np.testing.assert_allclose(
        discrete_run(rule, jnp.asarray(start), 10), q, rtol=1e-13
    )


def test_a_schedule_is_followed(start):
    rule = lg.HeavyBall(lambda step: 0.1 / (1 + step), momentum=0.5)
    q, trace = jnp.asarray(start), 0.0
    for k in range(5):
        trace = 0.5 * trace + gradient(rule)(q)
        q = q - 0.1 / (1 + k) * trace
    np.testing.assert_allclose(discrete_run(rule, jnp.asarray(start), 5), q, rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` is 0.0"),
        ({"learning_rate": 0.1, "momentum": 1.0}, r"`momentum` is 1.0.*in \[0, 1\)"),
        ({"learning_rate": 0.1, "weight_decay": -1.0}, "`weight_decay` is -1.0"),
    ],
)
def test_hyperparameters_are_checked(arguments, message):
    with pytest.raises(lg.LagrangianError, match=message):
        lg.HeavyBall(**arguments)


def test_the_mass_of_a_schedule_needs_a_step():
    rule = lg.HeavyBall(lambda step: 0.1)
    with pytest.raises(lg.LagrangianError, match="Say at which rate"):
        rule.parameters()
