"""Mirror descent and natural gradient: twins, flows, orders, potentials by path."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import weight_decay

RATES = [0.02, 0.01, 0.005, 0.0025]


def entropy(x):
    return x * sp.log(x) - x


def hypentropy(x):
    """Ghai, Hazan & Singer's: between x^2/2 and the entropy of |x|."""
    return x * sp.asinh(x) - sp.sqrt(x**2 + 1)


POTENTIALS = {
    "entropy": (entropy, np.log, np.exp, lambda x: 1 / x),
    "hypentropy": (hypentropy, np.arcsinh, np.sinh, lambda x: 1 / np.sqrt(1 + x**2)),
    "euclidean": (lambda x: x**2 / 2, np.positive, np.positive, np.ones_like),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_mirror_step_is_a_step_of_the_dual(name, discrete, slope, start):
    potential, forward, backward, _ = POTENTIALS[name]
    q = start
    for _ in range(10):
        q = backward(forward(q) - 0.05 * (np.asarray(slope(q)) + 0.1 * q))
    rule = lg.MirrorDescent(0.05, potential, weight_decay=0.1)
    np.testing.assert_allclose(discrete(rule.optax(), start, 10), q, rtol=1e-12)


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_natural_step_divides_by_the_metric(name, discrete, slope, start):
    potential, *_, metric = POTENTIALS[name]
    q = start
    for _ in range(10):
        q = q - 0.05 * (np.asarray(slope(q)) + 0.1 * q) / metric(q)
    rule = lg.NaturalGradient(0.05, potential, weight_decay=0.1)
    np.testing.assert_allclose(discrete(rule.optax(), start, 10), q, rtol=1e-12)


def test_in_the_euclidean_geometry_both_are_gradient_descent(discrete, start):
    plain = discrete(lg.HeavyBall(0.05).optax(), start, 20)
    for kind in (lg.MirrorDescent, lg.NaturalGradient):
        rule = kind(0.05, lambda x: x**2 / 2)
        np.testing.assert_allclose(discrete(rule.optax(), start, 20), plain, rtol=1e-14)


def test_a_schedule_is_followed(discrete, slope, start):
    rule = lg.MirrorDescent(lambda step: 0.05 / (1 + step), entropy)
    q = start
    for k in range(5):
        q = q * np.exp(-0.05 / (1 + k) * np.asarray(slope(q)))
    np.testing.assert_allclose(discrete(rule.optax(), start, 5), q, rtol=1e-12)


@pytest.mark.parametrize("kind", [lg.MirrorDescent, lg.NaturalGradient])
@pytest.mark.parametrize("potential", [entropy, hypentropy])
def test_the_flows_have_orders_one_and_two(
    kind, potential, discrete, first_order, second_order, start, order
):
    """The Euler-Lagrange flow follows the steps to second order in eta."""
    first, second, modified, other = [], [], [], []
    swapped = {
        lg.MirrorDescent: lg.NaturalGradient,
        lg.NaturalGradient: lg.MirrorDescent,
    }[kind]
    for eta in RATES:
        rule = kind(eta, potential, weight_decay=0.1)
        end = discrete(rule.optax(), start, round(1 / eta))
        (field,) = rule.gradient_flow(lg.Loss("f", lg.blocks("w"))).values()
        values = rule.parameters()
        first.append(np.linalg.norm(end - first_order(field, start, 1.0, values)))
        second.append(np.linalg.norm(end - second_order(rule, start, 1.0)))
        flow = second_order(swapped(eta, potential, weight_decay=0.1), start, 1.0)
        other.append(np.linalg.norm(end - flow))
        corrected = lg.modified_flow(rule, 1)
        (field,) = corrected.velocity.values()
        values = {corrected.step_size: eta, **values}
        modified.append(np.linalg.norm(end - first_order(field, start, 1.0, values)))
    assert order(first, RATES) == pytest.approx(1, abs=0.1)
    assert order(second, RATES) == pytest.approx(2, abs=0.1)
    assert order(modified, RATES) == pytest.approx(2, abs=0.1)
    # The control: the other rule in the same geometry agrees to first order only.
    assert order(other, RATES) == pytest.approx(1, abs=0.1)


def test_a_potential_must_be_convex_and_its_derivative_invertible():
    with pytest.raises(lg.LagrangianError, match="second derivative is zero"):
        lg.NaturalGradient(0.1, lambda x: 3 * x)
    with pytest.raises(lg.LagrangianError, match="no inverse that was found"):
        lg.MirrorDescent(0.1, lambda x: x**2 + sp.exp(x) + sp.cosh(x))
    with pytest.raises(lg.LagrangianError, match="found right"):
        lg.MirrorDescent(0.1, lambda x: x**4 / 4 + x**2, inverse=lambda z: z)


def test_an_inverse_can_be_given(discrete, start):
    given = lg.MirrorDescent(0.05, hypentropy, inverse=sp.sinh)
    found = lg.MirrorDescent(0.05, hypentropy)
    np.testing.assert_array_equal(
        discrete(given.optax(), start, 5), discrete(found.optax(), start, 5)
    )


def test_a_mirror_descent_of_two_blocks_is_two_mirror_descents():
    rule, (u, v) = lg.MirrorDescent(0.1, hypentropy), lg.blocks("u v")
    both = rule.lagrangian(lg.Loss("f", (u, v)))
    alone = [rule.lagrangian(lg.Loss("f", w)) for w in (u, v)]
    assert sp.simplify(both.T - alone[0].T - alone[1].T) == 0
    assert both.coordinates == (u, v) and both.damping == alone[0].damping
    # What neither of them shares.
    assert both.T.free_symbols > alone[0].T.free_symbols


# ------------------------------------------------------------------ by path


def square(x):
    return x**2 / 2


BY_PATH = {"out": entropy, "in.*": square}
#: Scale a ReLU unit's inputs and bias up, what reads it down.
UNITS = lg.Rescale(
    [lg.Block("in.kernel", unit_axis=-1), lg.Block("in.bias", unit_axis=-1)],
    lg.Block("out", unit_axis=0),
)


def network(seed=0):
    """A ReLU layer, and positive weights that read it."""
    generator = np.random.default_rng(seed)
    return {
        "in": {"kernel": generator.normal(size=(4, 5)), "bias": np.full(5, 0.3)},
        "out": 0.5 + generator.random(size=(5, 2)),
    }


INPUTS = np.random.default_rng(1).normal(size=(40, 4))


def regression(w, batch):
    hidden = jax.nn.relu(batch @ w["in"]["kernel"] + w["in"]["bias"])
    return ((hidden @ w["out"] - jnp.sin(batch[:, :2]) - 3) ** 2).mean()


def tanh_regression(w, batch):
    hidden = jnp.tanh(batch @ w["in"]["kernel"] + w["in"]["bias"])
    return ((hidden @ w["out"] - jnp.sin(batch[:, :2]) - 3) ** 2).mean()


def charge(kernel, bias, out, dual):
    """h*(grad h) of what comes in, less that of what goes out; times and units."""
    inward = (kernel**2).sum(axis=1) / 2 + bias**2 / 2
    return inward - dual(out).sum(axis=2)


#: h*(h'(x)) of each potential of `out`.
DUALS = {"entropy": (entropy, lambda x: x), "square": (square, lambda x: x**2 / 2)}


@pytest.mark.parametrize("kind", [lg.MirrorDescent, lg.NaturalGradient])
def test_each_array_is_moved_by_its_own_potential(kind):
    """As two rules that know nothing of each other, path by path."""
    rule, w = kind(0.05, BY_PATH, weight_decay=0.1), network()
    with jax.enable_x64(True):
        slope = jax.grad(regression)(w, INPUTS)
        found, _ = rule.optax().update(slope, rule.optax().init(w), w)
        for potential, part in ((square, "in"), (entropy, "out")):
            alone = kind(0.05, potential, weight_decay=0.1).optax()
            said, _ = alone.update(slope[part], alone.init(w[part]), w[part])
            for one, other in zip(
                jax.tree.leaves(said), jax.tree.leaves(found[part]), strict=True
            ):
                np.testing.assert_array_equal(one, other)


def test_the_theory_of_several_potentials_is_that_of_each():
    inner, out = lg.blocks("in.kernel out")
    for kind in (lg.MirrorDescent, lg.NaturalGradient):
        rule, both = kind(0.1, BY_PATH), lg.Loss("f", (inner, out))
        parts = [
            kind(0.1, h).lagrangian(lg.Loss("f", w)).T
            for h, w in ((square, inner), (entropy, out))
        ]
        assert sp.simplify(rule.lagrangian(both).T - parts[0] - parts[1]) == 0
        flow = rule.gradient_flow(both)
        pull = both.gradient(out) + weight_decay * out
        assert sp.expand(flow[out] + out * pull) == 0
        assert rule.of(out) == kind(0.1, entropy) and rule.of(out) is rule.of(out)


@pytest.mark.parametrize("kind", [lg.MirrorDescent, lg.NaturalGradient])
def test_the_discrete_balance_is_exact_with_several_potentials(kind):
    rule = kind(0.02, BY_PATH, weight_decay=1e-2)
    rows = []
    for loss in (regression, tanh_regression):
        with jax.enable_x64(True):
            run = lg.train(
                jax.tree.map(jnp.asarray, network()),
                loss,
                INPUTS,
                rule,
                100,
                observe=[UNITS],
                batch_size=16,
            )
            rows += lg.check(run)
    right, without = rows
    assert right.holds and right.discrete < 1e-12 and right.defect < 1e-12, right
    assert right.continuous is None
    # The control: tanh has no such symmetry.
    assert without.verdict == "symmetry absent" and without.discrete > 1e-3


def moved(path, dual):
    kernel, bias, out = (path[name] for name in ("in.kernel", "in.bias", "out"))
    x = charge(kernel, bias, out, dual)
    return np.abs(x - x[0]).max() / np.abs(x[0]).max()


@pytest.mark.parametrize("name", DUALS)
def test_the_flow_keeps_the_charge_of_its_own_potentials(name):
    """h*(grad h) of each side; with the wrong potential of one block it moves."""
    potential, dual = DUALS[name]
    rule = lg.MirrorDescent(0.1, {"out": potential, "*": square})
    flow = lg.network_flow(network(), regression, INPUTS, rule, order=0)
    path = flow.integrate((0, 0.1), tol=1e-10, points=7)
    assert moved(path.q, dual) < 1e-8
    (wrong,) = (other for key, (_, other) in DUALS.items() if key != name)
    assert moved(path.q, wrong) > 1e-2


@pytest.mark.parametrize("kind", [lg.MirrorDescent, lg.NaturalGradient])
def test_steps_keep_the_charge_to_order_one(kind):
    """At a fixed time; with the wrong potential of one block at order zero."""
    drifts, wrong = [], []
    for eta in RATES:
        rule, w = kind(eta, BY_PATH), network()
        with jax.enable_x64(True):
            tx, slope = rule.optax(), jax.jit(jax.grad(regression))
            state, update = tx.init(w), jax.jit(tx.update)
            start = w = jax.tree.map(jnp.asarray, w)
            for _ in range(round(0.1 / eta)):
                change, state = update(slope(w, INPUTS), state, w)
                w = jax.tree.map(jnp.add, w, change)
        ends = {
            "in.kernel": [start["in"]["kernel"], w["in"]["kernel"]],
            "in.bias": [start["in"]["bias"], w["in"]["bias"]],
            "out": [start["out"], w["out"]],
        }
        ends = {k: np.array([np.asarray(x) for x in pair]) for k, pair in ends.items()}
        drifts.append(moved(ends, DUALS["entropy"][1]))
        wrong.append(moved(ends, DUALS["square"][1]))
    assert np.polyfit(np.log(RATES), np.log(drifts), 1)[0] == pytest.approx(1, abs=0.1)
    assert np.polyfit(np.log(RATES), np.log(wrong), 1)[0] == pytest.approx(0, abs=0.2)


def test_what_patterns_do_not_say_is_refused():
    rule = lg.MirrorDescent(0.1, {"out": entropy})
    with pytest.raises(lg.UnknownBlock, match=r"matches the path `in.bias`.*\['out'\]"):
        rule.optax().init(network())
    with pytest.raises(lg.UnknownBlock, match="path `in.kernel`"):
        rule.of(lg.blocks("in.kernel"))
    rule = lg.MirrorDescent(0.1, {"*": square, "out": entropy})
    with pytest.raises(lg.LagrangianError, match="comes to the pattern `out`"):
        rule.optax().init(network())
    with pytest.raises(lg.LagrangianError, match="second derivative is zero"):
        lg.NaturalGradient(0.1, {"out": entropy, "*": lambda x: x})
    with pytest.raises(lg.LagrangianError, match="no inverse that was found"):
        lg.MirrorDescent(0.1, {"out": entropy, "*": lambda x: x**2 + sp.exp(x)})
    with pytest.raises(lg.LagrangianError, match="Say of which"):
        lg.modified_flow(lg.MirrorDescent(0.1, {"*": entropy}), 1)
    rule = lg.MirrorDescent(0.1, BY_PATH)
    with pytest.raises(lg.LagrangianError, match="does not treat all arrays alike"):
        lg.network_flow(network(), regression, INPUTS, rule, order="second")


def test_inverses_are_given_by_the_same_patterns():
    given = lg.MirrorDescent(
        0.1, {"out": hypentropy, "*": square}, inverse={"out": sp.sinh}
    )
    assert given.of(lg.blocks("out")).inverse == given.inverse.items[0][1]
    assert given.of(lg.blocks("in")).inverse is None
    assert given == pickle.loads(pickle.dumps(given))
    assert hash(given) == hash(pickle.loads(pickle.dumps(given)))


def test_an_inverse_for_no_potential_is_refused():
    potentials = {"out.*": entropy, "*": lambda x: x**2 / 2}
    with pytest.raises(lg.errors.LagrangianError, match=r"Nearest: `out.\*`"):
        lg.MirrorDescent(0.1, potentials, inverse={"outt.*": sp.exp})
    with pytest.raises(lg.errors.LagrangianError, match="Pass one function"):
        lg.MirrorDescent(0.1, entropy, inverse={"*": sp.exp})
    assert lg.MirrorDescent(0.1, potentials, inverse={"out.*": sp.exp})
