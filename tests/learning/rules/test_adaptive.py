"""RMSProp, Adam, AdamW, Lion and sign descent: twins, flows, metrics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.learning.rules.rule import friction, mass, metric_block

TWINS = {
    "rmsprop": (lg.RMSProp(0.01, 0.95), optax.rmsprop(0.01, decay=0.95)),
    "adam": (lg.Adam(0.01, 0.8, 0.99), optax.adam(0.01, b1=0.8, b2=0.99)),
    "adamw": (
        lg.Adam(0.01, weight_decay=0.1),
        optax.adamw(0.01, weight_decay=0.1),
    ),
    "adam with L2": (
        lg.Adam(0.01, weight_decay=0.1, decoupled=False),
        optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.01)),
    ),
    "lion": (
        lg.Lion(0.01, weight_decay=0.1),
        optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.1),
    ),
    "sign descent": (lg.Lion(0.01, b1=0.0, b2=0.0), optax.sign_sgd(0.01)),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_of_optax(name, discrete, start):
    ours, theirs = TWINS[name]
    np.testing.assert_allclose(
        discrete(ours.optax(), start, 30), discrete(theirs, start, 30), rtol=1e-14
    )


def test_adam_per_block_by_its_definition():
    """One average of |g|^2 for each array; and its metric is the same all over one."""
    rule = lg.Adam(0.01, 0.8, 0.95, eps=1e-3, weight_decay=0.1, per_block=True)
    generator = np.random.default_rng(0)
    q = {"a": generator.normal(size=(3, 2)), "b": generator.normal(size=4)}
    gradients = [{k: generator.normal(size=a.shape) for k, a in q.items()}] * 2
    gradients += [{k: generator.normal(size=a.shape) for k, a in q.items()}]
    with jax.enable_x64(True):
        theirs = jax.tree.map(jnp.asarray, q)
        tx = rule.optax()
        state = tx.init(theirs)
        m, v = {k: 0 * a for k, a in q.items()}, dict.fromkeys(q, 0.0)
        for n, g in enumerate(gradients, 1):
            updates, after = tx.update(g, state, theirs)
            metric = rule.metric(after, g, state)
            theirs, state = optax.apply_updates(theirs, updates), after
            for k in q:
                m[k] = 0.8 * m[k] + 0.2 * g[k]
                v[k] = 0.95 * v[k] + 0.05 * np.sum(g[k] ** 2)
                root = np.sqrt(v[k] / (1 - 0.95**n)) + 1e-3
                q[k] = q[k] - 0.01 * (m[k] / (1 - 0.8**n) / root + 0.1 * q[k])
                np.testing.assert_allclose(theirs[k], q[k], rtol=1e-14)
                np.testing.assert_allclose(metric[k], np.full_like(q[k], root))


@pytest.mark.parametrize("name", TWINS)
def test_the_covector_and_the_metric_of_a_step(name, slope, start):
    """p' = memory p + gain (g + decay q), and the update is -eta p'/G or near it."""
    rule, _ = TWINS[name]
    transformation = rule.optax()
    q, state = jnp.asarray(start), transformation.init(jnp.asarray(start))
    for _ in range(5):
        g = slope(q)
        updates, new_state = transformation.update(g, state, q)
        before, after = rule.trace(state), rule.covector(new_state, g, q)
        expected = rule.gain * (g + rule.coupled_decay * q)
        if rule.memory:
            expected += rule.memory * before
        np.testing.assert_allclose(after, expected, rtol=1e-12)
        metric = rule.metric(new_state, g, state)
        move = -updates / 0.01 - rule.decoupled_decay * q
        lion = isinstance(rule, lg.Lion)
        divided = rule.b1 * before + (1 - rule.b1) * g if lion else after
        if isinstance(rule, lg.Adam):
            divided = after / (1 - rule.b1 ** (_ + 1))
        np.testing.assert_allclose(metric * move, divided, rtol=1e-12)
        q, state = optax.apply_updates(q, updates), new_state


@pytest.mark.parametrize(
    "make",
    [
        lambda eta: lg.RMSProp(eta, 0.5),
        lambda eta: lg.Adam(eta, 0.2, 0.6, weight_decay=0.1),
        lambda eta: lg.Adam(eta, 0.2, 0.6, weight_decay=0.1, per_block=True),
        lambda eta: lg.Lion(eta, 0.5, 0.6, weight_decay=0.1),
    ],
    ids=["rmsprop", "adamw", "per block", "lion"],
)
def test_the_first_order_flow(make, discrete, first_order, start, order):
    """As the learning rate goes to zero, the averages catch up with the gradient."""
    errors, rates = [], [0.01, 0.005, 0.0025, 0.00125]
    for eta in rates:
        rule = make(eta)
        (expression,) = rule.gradient_flow(lg.Loss("f", lg.blocks("w"))).values()
        end = discrete(rule.optax(), start, round(0.3 / eta))
        reached = first_order(expression, start, 0.3, rule.parameters())
        errors.append(np.linalg.norm(end - reached))
    assert order(errors, rates) == pytest.approx(1, abs=0.2)


def test_the_mass_of_averaged_gradients():
    """Adam's is that of the heavy ball dampened by its momentum; Lion's by hand."""
    adam = lg.Adam(0.1, b1=0.9).parameters()
    ball = lg.HeavyBall(0.1, 0.9, dampening=0.9).parameters()
    assert adam[mass] == pytest.approx(ball[mass])
    assert adam[friction] == pytest.approx(ball[friction])
    assert lg.Lion(0.1, 0.7, 0.7).parameters()[mass] == pytest.approx(
        lg.Adam(0.1, 0.7).parameters()[mass]
    )


def test_the_mass_of_lion_by_backward_error_analysis():
    """With its sign replaced by a fixed metric: q - eta c, c = b1 p + (1 - b1) g.

    On g = k q the move is q r^n; r follows the characteristic polynomial, and the flow
    m x'' + x' + k x = 0 has the same rate through second order in eta.
    """
    eta, k, r, b1, b2 = sp.symbols("eta k r b1 b2", positive=True)
    # p_{n+1} = b2 p_n + (1 - b2) k q_n gives p_n = (1 - b2) k q_n/(r - b2).
    covector = (1 - b2) * k / (r - b2)
    equation = r - 1 + eta * (b1 * covector + (1 - b1) * k)
    a = sp.symbols("a")
    rate = -k - a * eta  # of x' = rate x, with the first correction a to be found
    expanded = sp.series(equation.subs(r, sp.exp(eta * rate)), eta, 0, 3).removeO()
    (found,) = sp.solve(sp.simplify(expanded.coeff(eta, 2)), a)
    inertia = sp.Rational(1, 2) + b1 / (1 - b2)
    # From m x'' + x' + k x = 0 with m = inertia eta: rate = -k - inertia k^2 eta.
    assert sp.simplify(found - inertia * k**2) == 0


def test_the_lagrangian_has_the_metric_in_it():
    w = lg.blocks("w")
    rule, loss = lg.Adam(0.1), lg.Loss("f", w)
    (equation,) = rule.lagrangian(loss).equations
    metric = metric_block(w)
    expected = metric * (mass * w.ddot + friction * w.dot) + loss.gradient(w)
    decay = sp.Symbol("lambda", nonnegative=True, real=True) * metric * w
    assert sp.expand(equation.lhs - expected - decay) == 0


def test_what_has_no_meaning_is_refused():
    loss = lg.Loss("f", lg.blocks("w"))
    with pytest.raises(lg.LagrangianError, match="no stated initial velocity"):
        lg.Lion(0.1).initial_velocity(loss)
    with pytest.raises(lg.LagrangianError, match=r"`b1` is 1.0; pass a number in"):
        lg.Adam(0.1, b1=1.0)
    with pytest.raises(lg.LagrangianError, match="`eps` is -1"):
        lg.RMSProp(0.1, eps=-1)
