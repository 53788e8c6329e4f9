"""What is read of an optax chain is what the hand-written rule of it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lagrangian as lg

LOSS = lg.Loss("f", lg.blocks("w"))
(W,) = LOSS.blocks

shares = st.integers(0, 99).map(lambda n: n / 100)
decays = st.sampled_from([0.0, 1e-4, 0.05])
rates = st.sampled_from([1e-3, 0.02, 0.3])


@st.composite
def heavy_balls(draw):
    return lg.HeavyBall(
        draw(rates),
        draw(shares),
        draw(decays),
        draw(shares),
        nesterov=draw(st.booleans()),
        decoupled=draw(st.booleans()),
    )


@st.composite
def adaptive_rules(draw):
    eta, decay = draw(rates), draw(decays)
    b1, b2 = draw(shares), draw(shares)
    return draw(
        st.sampled_from(
            [
                lg.Adam(eta, b1, b2, 1e-8, decay, decoupled=True),
                lg.Adam(eta, b1, b2, 1e-8, decay, decoupled=False),
                lg.RMSProp(eta, b2, 1e-8, decay),
                lg.Lion(eta, b1, b2, decay),
            ]
        )
    )


def exact(values):
    return {k: sp.nsimplify(v, rational=True) for k, v in values.items()}


def rational(expression):
    return sp.nsimplify(expression, rational=True)


def difference(read, known, read_values, known_values):
    left, right = read.xreplace(exact(read_values)), known.xreplace(exact(known_values))
    return sp.expand(rational(left) - rational(right))


def without_idle_parts(known):
    """The same rule written by what it does: without momentum, two options are idle.

    Decay is decoupled all the same where the gradient is dampened. Lion's average is
    idle where its step is the sign of the gradient alone.
    """
    if isinstance(known, lg.Lion) and known.b1 == 0:
        return lg.Lion(known.learning_rate, 0.0, 0.0, weight_decay=known.weight_decay)
    if not isinstance(known, lg.HeavyBall) or known.momentum:
        return known
    eta, decay = known.learning_rate, known.weight_decay
    decoupled = known.decoupled and known.dampening != 0
    return lg.HeavyBall(eta, 0.0, decay, dampening=known.dampening, decoupled=decoupled)


def flows(rule):
    return rule.gradient_flow(LOSS)[W]


@settings(max_examples=8, deadline=None)
@given(known=heavy_balls())
def test_heavy_balls(known):
    read = lg.rule(known.optax())
    known = without_idle_parts(known)
    values = read.parameters(), known.parameters()
    assert exact(values[0]) == pytest.approx(exact(values[1]), rel=1e-15)
    assert read.is_euclidean and read.rate(3) == known.rate(3)
    assert (read.memory, read.coupled_decay, read.decoupled_decay) == (
        known.memory,
        known.coupled_decay,
        known.decoupled_decay,
    )
    assert read.gain == pytest.approx(known.gain, rel=1e-15)
    ours, theirs = read.lagrangian(LOSS), known.lagrangian(LOSS)
    assert (ours.T, ours.V, ours.damping) == (theirs.T, theirs.V, theirs.damping)
    assert flows(read) == flows(known)
    block = lg.blocks("w")
    assert rational(read.velocity(block)) == rational(known.velocity(block))
    for told in ("initial_velocity", "start_offset"):
        left, right = (getattr(rule, told)(LOSS)[W] for rule in (read, known))
        size = largest(difference(right, sp.S.Zero, values[1], values[1]))
        # Rounded parameters: 1/(1 - beta)^2 may make thousands of them.
        assert largest(difference(left, right, *values)) <= 1e-13 * max(size, 1.0)


def largest(expression):
    """Of the coefficients of its terms."""
    terms = sp.Add.make_args(sp.expand(expression))
    return max(abs(float(term.as_coeff_Mul()[0])) for term in terms)


def modified_difference(read, known):
    ours, theirs = lg.modified_flow(read).velocity, lg.modified_flow(known).velocity
    (block,) = ours
    values = read.recursion_parameters(), known.recursion_parameters()
    return difference(ours[block], theirs[block], *values)


@settings(max_examples=3, deadline=None)
@given(known=heavy_balls())
def test_their_modified_flows(known):
    gap = modified_difference(lg.rule(known.optax()), known)
    assert all(abs(t.as_coeff_Mul()[0]) < 1e-12 for t in sp.Add.make_args(gap))


@settings(max_examples=8, deadline=None)
@example(known=lg.Lion(1e-3, b1=0.0, b2=0.01))
@given(known=adaptive_rules())
def test_adaptive_rules(known):
    read, known = lg.rule(known.optax()), without_idle_parts(known)
    assert not read.is_euclidean and read.rate(3) == known.rate(3)
    assert read.parameters() == pytest.approx(known.parameters(), rel=1e-14)
    assert read.memory == known.memory and read.gain == pytest.approx(known.gain)
    assert read.coupled_decay == known.coupled_decay
    assert read.decoupled_decay == known.decoupled_decay
    ours, theirs = read.lagrangian(LOSS), known.lagrangian(LOSS)
    assert ours.T == theirs.T
    values = read.parameters(), known.parameters()
    assert difference(ours.V, theirs.V, *values) == 0
    assert difference(flows(read), flows(known), *values) == 0


@pytest.mark.parametrize(
    "known",
    [lg.Adam(1e-3, weight_decay=0.1), lg.RMSProp(1e-3), lg.Lion(1e-3)],
    ids=lambda rule: type(rule).__name__,
)
def test_modified_flows_with_averages(known):
    read = lg.rule(known.optax())
    assert sp.simplify(modified_difference(read, known)) == 0
    offsets = [rule.start_offset(LOSS)[W] for rule in (read, known)]
    ratio = (
        sp.simplify(rational(offsets[0]) / rational(offsets[1])) if offsets[1] else 1
    )
    assert abs(ratio - 1) < 1e-6


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_natural_gradient(decay):
    known = lg.NaturalGradient(0.02, lambda x: sp.cosh(x), weight_decay=decay)
    read = lg.rule(known.optax())
    ours, theirs = read.lagrangian(LOSS), known.lagrangian(LOSS)
    assert ours.T == theirs.T and ours.V == theirs.V
    assert ours.forces[W] - theirs.forces[W] == 0
    assert flows(read) == flows(known) and read.parameters() == known.parameters()


def test_the_kinetic_energy_of_a_mirror_is_its_bregman_divergence():
    from lagrangian.learning.rules.read.describe import legendre, speed
    from lagrangian.learning.rules.read.part import q

    def potential(x):
        return x * sp.asinh(x) - sp.sqrt(x**2 + 1)

    read = lg.rule(lg.MirrorDescent(0.02, potential).optax())
    x = sp.Symbol("x", real=True)
    slope = sp.diff(potential(x), x)
    expected = 50 * (potential(q + speed) - potential(q) - slope.subs(x, q) * speed)
    gap = legendre(read.kind) - expected
    for at in ({q: 0.3, speed: 1.7}, {q: -2.0, speed: 0.4}):
        assert abs(gap.subs(at).evalf()) < 1e-12


CHAINS = {
    "heavy ball": lg.HeavyBall(0.02, 0.9, 0.01),
    "nesterov": lg.HeavyBall(0.02, 0.5, 0.05, nesterov=True, decoupled=True),
    "schedule": lg.HeavyBall(optax.cosine_decay_schedule(0.02, 60), 0.9, 0.01),
    "adamw": lg.Adam(1e-3, weight_decay=0.1),
    "rmsprop": lg.RMSProp(1e-3),
    "lion": lg.Lion(1e-3, weight_decay=0.1),
}
TARGET = np.random.default_rng(3).normal(size=(5, 5))
START = np.random.default_rng(5).normal(size=5)
DATA = np.random.default_rng(7).normal(size=(64, 5))


def direction(q, batch):
    u = q["w"] / jnp.sqrt(jnp.sum(q["w"] ** 2))
    return jnp.sin(u @ jnp.asarray(TARGET) @ u) + jnp.mean(batch @ u)


def trained(rule, steps=60):
    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    with jax.enable_x64(True):
        start = {"w": jnp.asarray(START)}
        return lg.train(
            start, direction, DATA, rule, steps, observe=[law], batch_size=4
        ), law


def checked(run, law):
    with jax.enable_x64(True):
        (row,) = lg.check(run, [law])
    return row


@pytest.mark.parametrize("name", CHAINS)
def test_training_and_checking_say_the_same(name):
    known = CHAINS[name]
    ours = checked(*trained(lg.rule(known.optax())))
    theirs = checked(*trained(known))
    assert ours.verdict == theirs.verdict == "holds"
    for column in ("continuous", "raw", "raw_factor", "metric", "kinetic", "decay"):
        left, right = getattr(ours, column), getattr(theirs, column)
        assert left == right or left == pytest.approx(right, rel=1e-9)
    assert max(ours.discrete, theirs.discrete) < 1e-14


@pytest.mark.parametrize("beta, decay", [(0.8, 0.01), (0.9, 0.02)])
def test_a_run_by_another_chain_than_the_one_read_is_refuted(beta, decay):
    read = lg.rule(lg.HeavyBall(0.02, beta, decay).optax())
    mixed = replace(read, transformation=CHAINS["heavy ball"].optax())
    row = checked(*trained(mixed))
    assert row.verdict == "law fails" and "was not made by the optax rule" in row.reason


def network_flows(order):
    known = lg.HeavyBall(0.02, 0.5, 0.01)
    rules = known, lg.rule(known.optax())
    return [lg.network_flow({"w": START}, direction, DATA, r, order) for r in rules]


ORDERS = [0, "second", 1]


@pytest.mark.parametrize("order", ORDERS[1:])
def test_the_flows_of_a_network_start_alike(order):
    known, read = network_flows(order)
    np.testing.assert_allclose(read.q0["w"], known.q0["w"], rtol=1e-14)
    if known.v0 is not None:
        np.testing.assert_allclose(read.v0["w"], known.v0["w"], rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_the_flows_of_a_network_are_the_same(order):
    ends = [
        flow.integrate((0, 0.2), tol=1e-6, points=2).q["w"][-1]
        for flow in network_flows(order)
    ]
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-9)
