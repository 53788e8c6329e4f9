"""The flows of networks against training, SciPy, `nnx.grad` and their laws."""

from functools import cache

import flax.linen
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.linalg
import sympy as sp
from flax import nnx

import lagrangian as lg
from lagrangian.learning.network_flow import network_flow
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy
from lagrangian.networks.networks import Perceptron, mean_square

HORIZON, MOMENTUM, DECAY = 1.0, 0.5, 0.05
RATES = (0.02, 0.01, 0.005)
NORMALISED, FREE = "layers.0.kernel", "layers.1.kernel"


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def examples():
    """24 inputs of 4 numbers, and 2 targets each."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(24, 4)), generator.normal(size=(24, 2))


def smooth_network(epsilon=1e-20, dtype=jnp.float64):
    """tanh after a BatchNorm: smooth, and scale-invariant in its first kernel."""
    return Perceptron(
        (4, 3, 2),
        nnx.Rngs(0),
        activation=jnp.tanh,
        normalisation="batch",
        use_bias=False,
        epsilon=epsilon,
        param_dtype=dtype,
    )


def heavy_ball(rate, decay=DECAY):
    return lg.HeavyBall(rate, MOMENTUM, weight_decay=decay)


def flow_of(order, rule, model=None, data=None):
    model = smooth_network() if model is None else model
    return network_flow(model, mean_square, data or examples(), rule, order)


def parameters_of(model):
    leaves = named_leaves(nnx.state(model, nnx.Param))
    return {path: np.asarray(leaf) for path, leaf in leaves.items()}


@cache
def trained(rule):
    """The parameters where full-batch training is at the horizon."""
    run = lg.train(
        smooth_network(),
        mean_square,
        examples(),
        rule,
        steps=round(HORIZON / rule.learning_rate),
        batch_size=None,
        progress=False,
    )
    return parameters_of(run.model)


def errors(order, rule, **start):
    """Of the flow at the horizon: in parameters, and in the first kernel's norms."""
    path = flow_of(order, rule).integrate((0, HORIZON), tol=1e-12, points=2, **start)
    end = trained(rule)
    assert path.q.keys() == end.keys()
    distance = np.sqrt(sum(np.sum((path.q[p][-1] - end[p]) ** 2) for p in end))
    np.testing.assert_allclose(path.distance(end), distance, rtol=1e-12)
    squares = path.evaluate(squared_norms(NORMALISED))[-1]
    return distance, np.abs(squares - (end[NORMALISED] ** 2).sum(axis=0)).max()


def slopes(measured):
    """The orders in the learning rate, of each column."""
    return np.polyfit(np.log(RATES), np.log(measured), 1)[0]


def scale_law(rule, path):
    """That of one scale a unit."""
    symmetry = lg.Scale(path, unit_axis=-1)
    return lg.noether(rule.lagrangian(symmetry.loss), symmetry)


def squared_norms(path):
    """Of one array, one a unit: the quantity of the scale law."""
    w = lg.blocks(path, unit_axis=-1)
    return lg.Inner(w, w)


# ------------------------------------------------------------------ orders


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param(0, 1, marks=pytest.mark.slow),
        ("second", 2),
        pytest.param(1, 2, marks=pytest.mark.slow),
    ],
)
def test_orders_in_parameters_and_in_charges(order, expected):
    found = slopes([errors(order, heavy_ball(rate)) for rate in RATES])
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.slow
def test_the_second_order_flow_from_zero_velocity_has_order_one():
    def measure(rate):
        rule = heavy_ball(rate)
        still = {
            path: np.zeros_like(v) for path, v in flow_of("second", rule).v0.items()
        }
        return errors("second", rule, v0=still)

    np.testing.assert_allclose(slopes([measure(r) for r in RATES]), 1, atol=0.15)


@pytest.mark.slow
def test_the_modified_flow_without_its_start_has_order_one():
    start = nnx.state(smooth_network(), nnx.Param)
    found = slopes([errors(1, heavy_ball(r), q0=start) for r in RATES])
    np.testing.assert_allclose(found, 1, atol=0.15)


OTHERS = {
    "variant": lambda rate: lg.HeavyBall(
        rate, 0.5, 0.1, dampening=0.3, nesterov=True, decoupled=True
    ),
    "mirror": lambda rate: lg.MirrorDescent(rate, sp.cosh, 0.1, sp.asinh),
    "natural": lambda rate: lg.NaturalGradient(rate, sp.cosh, 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("variant", "second"),
        ("variant", 1),
        ("mirror", "second"),
        ("mirror", 1),
        ("natural", "second"),
        ("natural", 1),
    ],
)
def test_other_rules_have_order_two(name, order):
    found = slopes([errors(order, OTHERS[name](rate)) for rate in RATES])
    np.testing.assert_allclose(found, 2, atol=0.1)


# ------------------------------------------------------------------ higher orders


def bent(w, _):
    """Not quadratic, and smooth."""
    return jnp.sum(jnp.cosh(w["w"])) + jnp.sin(w["w"]).prod()


BENT = {"w": np.array([0.3, -0.8, 1.1])}


def run_of(rule, steps, start=BENT, lag=None):
    """The parameters after every step; `lag` is the step before the start."""
    tx, slope = rule.optax(), jax.jit(jax.grad(lambda w: bent(w, None)))
    w = {"w": jnp.asarray(start["w"])}
    state = tx.init(w)
    if lag is not None:
        trace = {"w": (lag["w"] - start["w"]) / rule.learning_rate}
        state = optax.tree.set(state, trace=trace)
    visited = [w["w"]]
    for _ in range(steps):
        updates, state = tx.update(slope(w), state, w)
        w = optax.apply_updates(w, updates)
        visited.append(w["w"])
    return np.array(visited)


PLAIN = {
    "coupled": lambda rate: lg.HeavyBall(rate, weight_decay=0.3),
    "decoupled": lambda rate: lg.HeavyBall(rate, weight_decay=0.3, decoupled=True),
}


@pytest.mark.parametrize(
    ("order", "decay"),
    [
        (0, "coupled"),
        (1, "coupled"),
        *(
            pytest.param(n, decay, marks=pytest.mark.slow)
            for n, decay in [(1, "decoupled"), (2, "coupled"), (2, "decoupled")]
        ),
        pytest.param(3, "coupled", marks=pytest.mark.slow),
    ],
)
def test_the_error_of_every_order_and_its_leading_part(order, decay):
    rates, off, rest = (0.1, 0.05), [], []
    for rate in rates:
        rule = PLAIN[decay](rate)
        flow = network_flow(BENT, bent, None, rule, order)
        end = run_of(rule, round(1 / rate))[-1]
        error = flow.integrate((0, 1), tol=1e-13, points=2).q["w"][-1] - end
        told = flow.leading_error((0, 1), tol=1e-10, points=2)["w"]
        assert told.shape == (2, 3) and not told[0].any()
        off.append(np.linalg.norm(error))
        rest.append(np.linalg.norm(error - told[-1]))
    assert np.log2(off[0] / off[1]) == pytest.approx(order + 1, abs=0.15)
    assert np.log2(rest[0] / rest[1]) == pytest.approx(order + 2, abs=0.3)


def test_a_quadratic_sums_the_logarithm():
    """sum_n eta^n f_n is ln(1 - eta h)/eta q: the field at a point, by its series."""
    eta, h = 0.2, np.array([1.0, -0.5, 2.0])
    loss = lambda w, h: jnp.sum(h * w["w"] ** 2) / 2
    for n in (1, 3):
        flow = network_flow(BENT, loss, h, lg.HeavyBall(eta), n)
        velocity = flow.integrate((0, 1e-3), tol=1e-6, points=2).v["w"][0]
        series = sum(-((eta * h) ** (k + 1)) / (k + 1) for k in range(n + 1)) / eta
        np.testing.assert_allclose(velocity, series * BENT["w"], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_momentum_from_the_slow_manifold(order):
    """The step before the start is the flow's own, backwards in time."""
    off, rest = [], []
    for rate in (0.02, 0.01):
        rule = lg.HeavyBall(rate, 0.5, 0.3)
        flow = network_flow(BENT, bent, None, rule, order)
        end = run_of(rule, round(1 / rate), lag=before(flow, rate))[-1]
        path = flow.integrate((0, 1), q0=BENT, tol=1e-13, points=2)
        told = flow.leading_error((0, 1), q0=BENT, tol=1e-10, points=2)["w"][-1]
        off.append(np.linalg.norm(path.q["w"][-1] - end))
        rest.append(np.linalg.norm(path.q["w"][-1] - end - told))
    assert np.log2(off[0] / off[1]) == pytest.approx(order + 1, abs=0.15)
    assert np.log2(rest[0] / rest[1]) > order + 1.5


def before(flow, rate):
    """A step back along a flow, by SciPy: no rule has the flow of -f."""
    field = jax.jit(flow._motion.velocity)
    back = scipy.integrate.solve_ivp(
        lambda t, q: -np.asarray(field(q)), (0, rate), BENT["w"], rtol=1e-12
    )
    return {"w": back.y[:, -1]}


def test_the_leading_error_of_the_gradient_flow_of_a_run_from_rest():
    """With momentum it is there from the start: the run is late."""
    rest, off = [], []
    for rate in (0.01, 0.005):
        rule = lg.HeavyBall(rate, 0.5)
        flow = network_flow(BENT, bent, None, rule, 0)
        error = flow.integrate((0, 1), tol=1e-12, points=2).q["w"][-1]
        error = error - run_of(rule, round(1 / rate))[-1]
        told = flow.leading_error((0, 1), points=2)["w"]
        slope = np.asarray(jax.grad(lambda w: bent(w, None))(BENT)["w"])
        np.testing.assert_allclose(told[0], -rate * 0.5 / 0.25 * slope, rtol=1e-12)
        off.append(np.linalg.norm(error))
        rest.append(np.linalg.norm(error - told[-1]))
    assert np.log2(rest[0] / rest[1]) == pytest.approx(2, abs=0.15)
    assert rest[1] < 0.1 * off[1]


@pytest.mark.parametrize(
    ("rule", "order", "call", "message"),
    [
        (lg.HeavyBall(0.1, 0.5), 2, "integrate", "`q0` is needed for order 2"),
        (lg.HeavyBall(0.1, 0.5), 1, "leading_error", "`q0` is needed for order 1"),
        (lg.Adam(0.1), 2, "integrate", "`q0` is needed for order 2"),
        (lg.HeavyBall(0.1), "second", "leading_error", "not known for the second"),
    ],
)
def test_what_needs_a_start_of_its_own(rule, order, call, message):
    flow = network_flow(BENT, bent, None, rule, order)
    with pytest.raises(lg.LagrangianError, match=message):
        getattr(flow, call)((0, 0.1))


# ------------------------------------------------------------------ charges


def test_squared_norms_along_the_gradient_flow():
    """Constant without weight decay, and exp(-2 lambda t/mu) with it."""
    for decay in (0.0, 0.3):
        rule = heavy_ball(0.1, decay)
        path = flow_of(0, rule).integrate((0, 3), tol=1e-12, points=7)
        squares = path.evaluate(squared_norms(NORMALISED))
        assert squares.shape == (7, 3)
        factor = np.exp(-2 * decay * path.t / (1 - MOMENTUM))
        np.testing.assert_allclose(squares, squares[0] * factor[:, None], rtol=1e-9)
        # Control: the kernel that no normalisation follows.
        free = path.evaluate(squared_norms(FREE))
        assert np.abs(free / factor[:, None] - free[0]).max() > 1e-2


def test_an_epsilon_breaks_the_conservation():
    rule = heavy_ball(0.1, 0.0)
    flow = flow_of(0, rule, smooth_network(epsilon=0.1))
    path = flow.integrate((0, 3), tol=1e-12, points=7)
    squares = path.evaluate(squared_norms(NORMALISED))
    assert np.abs(squares - squares[0]).max() > 1e-3


def test_the_balance_of_the_charge_along_the_second_order_flow():
    """The charge gains the integral of the law's rate, by Gauss-Legendre quadrature."""
    rule = heavy_ball(0.1)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = np.concatenate([[0.0], (nodes + 1) / 2, [1.0]])
    path = flow_of("second", rule).integrate(times, tol=1e-12)

    def defect(name):
        law = scale_law(rule, name)
        charge, rate = path.charge(law), path.evaluate(law.rate)
        gained = weights @ rate[1:-1] / 2
        return np.abs(charge[-1] - charge[0] - gained).max() / np.abs(charge).max()

    assert defect(NORMALISED) < 1e-9
    assert defect(FREE) > 1e-2  # no symmetry of the loss: the law misses its part


def test_training_follows_the_charges_of_the_flow():
    """The recorded quantity of every step, against the flow at that step's time.

    Without weight decay only the kinetic energy moves it: along the gradient flow it
    would stay, and miss all of it.
    """
    rule = heavy_ball(0.02, 0.0)
    law = scale_law(rule, NORMALISED)
    run = lg.train(
        smooth_network(),
        mean_square,
        examples(),
        rule,
        steps=50,
        observe=[law],
        batch_size=None,
        progress=False,
    )
    recorded = run[law].quantity
    path = flow_of("second", rule).integrate(run.time[:-1], tol=1e-10)
    along = path.evaluate(law.oscillator.quantity)
    moved = np.abs(recorded - recorded[0]).max()
    assert np.abs(along - recorded).max() < 0.01 * moved
    # In parameters: the run's last state is one step after the last output time.
    end = flow_of("second", rule).integrate((0, run.time[-1]), tol=1e-10, points=2)
    start = smooth_network()
    assert end.distance(run.model) < 0.02 * end.distance(start)
    first = flow_of(0, rule).integrate((0, run.time[-1]), points=2)
    assert first.distance(run.model) > 5 * end.distance(run.model)


# ------------------------------------------------------------------ oracles


def test_the_fields_are_those_of_nnx_grad():
    """On a network with ReLU, convolutions and BatchNorm."""
    generator = np.random.default_rng(0)
    batch = generator.normal(size=(8, 8, 8, 1)), generator.integers(0, 10, 8)
    model = ConvolutionalNetwork(nnx.Rngs(0), channels=(2, 3), param_dtype=jnp.float64)
    gradient = named_leaves(nnx.jit(nnx.grad(cross_entropy))(model, batch))
    weights = parameters_of(model)
    rule = heavy_ball(0.1)
    pull = {p: np.asarray(g) + DECAY * weights[p] for p, g in gradient.items()}
    path = network_flow(model, cross_entropy, batch, rule, 0).integrate(
        (0, 1e-3), tol=1e-6, points=2
    )
    flow = network_flow(model, cross_entropy, batch, rule, "second")
    for name, expected in pull.items():
        np.testing.assert_array_equal(path.q[name][0], weights[name])
        np.testing.assert_allclose(
            path.v[name][0], -expected / (1 - MOMENTUM), atol=1e-14
        )
        np.testing.assert_allclose(
            flow.v0[name], -expected / (1 + MOMENTUM), atol=1e-14
        )


@pytest.mark.parametrize("order", [0, "second", 1])
def test_the_integration_agrees_with_scipy(order):
    """The equations of THEORY, by hand on the raveled parameters, by DOP853."""
    eta, mu = 0.1, 1 - MOMENTUM
    mass = eta * (1 + MOMENTUM) / 2
    graph, state, rest = nnx.split(smooth_network(), nnx.Param, ...)
    start, unravel = jax.flatten_util.ravel_pytree(state)
    batch = jax.tree.map(jnp.asarray, examples())

    def value(q):
        model = nnx.merge(graph, unravel(q), rest, copy=True)
        return mean_square(model, batch) + DECAY / 2 * q @ q

    force = jax.grad(value)

    def first(q):
        return -force(q) / mu

    def modified(q):
        g, hg = jax.jvp(force, (q,), (force(q),))
        return -g / mu - mass / mu**3 * hg

    def second(state):
        q, v = jnp.split(state, 2)
        return jnp.concatenate([v, -(mu * v + force(q)) / mass])

    g = force(start)
    field, begin = {
        0: (first, start),
        1: (modified, start + eta * MOMENTUM * g / mu**2),
        "second": (second, jnp.concatenate([start, -g / (1 + MOMENTUM)])),
    }[order]
    field = jax.jit(field)
    oracle = scipy.integrate.solve_ivp(
        lambda t, q: np.asarray(field(q)),
        (0, 2),
        np.asarray(begin),
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
        t_eval=[0, 1, 2],
    )
    path = flow_of(order, heavy_ball(eta)).integrate([0, 1, 2], tol=1e-12)
    for i in range(3):
        expected = parameters_of(
            nnx.merge(graph, unravel(oracle.y[: start.size, i]), rest)
        )
        for name, array in path.q.items():
            np.testing.assert_allclose(array[i], expected[name], atol=1e-9)


# ------------------------------------------------------------------ models


def test_models_along_the_path():
    """A float32 model is taken to float64, unchanged; its statistics stay."""
    model = smooth_network(dtype=jnp.float32)
    before = parameters_of(model)
    path = flow_of(0, heavy_ball(0.1), model).integrate((0, 1), points=3)
    for i in range(3):
        copy = path.model(i)
        for name, array in parameters_of(copy).items():
            assert array.dtype == np.float64
            np.testing.assert_array_equal(array, path.q[name][i])
        np.testing.assert_array_equal(copy.norms[0].var[...], model.norms[0].var[...])
        assert mean_square(copy, examples()) == pytest.approx(path.losses[i], rel=1e-12)
    assert path.losses[2] < path.losses[0]
    for name, array in parameters_of(model).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, before[name])


def test_a_pytree_of_linen_parameters():
    module = flax.linen.Dense(2, param_dtype=jnp.float64)
    inputs, targets = examples()
    parameters = module.init(jax.random.key(0), inputs)["params"]

    def loss(parameters, batch):
        inputs, targets = batch
        return jnp.mean((module.apply({"params": parameters}, inputs) - targets) ** 2)

    rule = lg.HeavyBall(0.1)
    flow = network_flow(parameters, loss, (inputs, targets), rule, 0)
    path = flow.integrate((0, 2), tol=1e-12, points=2)
    # Linear least squares: q' = -H (q - q*), solved by the exponential of H.
    design = np.hstack([inputs, np.ones((24, 1))])
    hessian = design.T @ design / len(inputs)
    best = np.linalg.lstsq(design, targets, rcond=None)[0]

    def stacked(tree):
        return np.vstack([tree["kernel"], tree["bias"]])

    decayed = scipy.linalg.expm(-2 * hessian) @ (stacked(parameters) - best)
    np.testing.assert_allclose(stacked(path.model()), best + decayed, atol=1e-10)


# ------------------------------------------------------------------ errors


def squared(parameters, batch):
    return jnp.sum(parameters["w"] ** 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"order": "third"}, "`order` is 'third'; pass \"second\", or n = 0, 1, 2"),
        ({"order": 1.5}, "`order` is 1.5; pass"),
        ({"order": -1}, "`order` is -1; pass"),
        ({"model": {}}, "`model`, a dict, has no parameters"),
        ({"model": {"w": np.arange(3)}}, "the parameter `w` is int64"),
        ({"loss": lambda p, _: jnp.log(-p["w"][0])}, "`loss` is nan at the model's"),
        ({"loss": lambda p, _: p["w"]}, r"must return a scalar; its shape is \(3,\)"),
        ({"rule": lg.HeavyBall(lambda step: 0.1)}, "has a learning-rate schedule"),
        ({"rule": lg.Adam(0.1)}, "Adam has no stated initial velocity"),
    ],
)
def test_what_has_no_flow(changed, message):
    arguments = {
        "model": {"w": np.ones(3)},
        "loss": squared,
        "batch": None,
        "rule": lg.HeavyBall(0.1),
        "order": "second",
    }
    with pytest.raises(lg.LagrangianError, match=message):
        network_flow(**(arguments | changed))


@pytest.mark.parametrize(
    ("order", "changed", "message"),
    [
        (0, {"v0": {"w": np.ones(3)}}, "`v0` was given to the flow of order 0"),
        ("second", {"q0": {"w": np.ones(2)}}, r"`q0` has shape \(2,\) for `w`"),
        ("second", {"q0": {"u": np.ones(3)}}, "`q0` has no block `w`"),
        ("second", {"solver": lg.Taylor()}, "Pass a solver of diffrax"),
    ],
)
def test_what_cannot_be_integrated(order, changed, message):
    flow = network_flow({"w": np.ones(3)}, squared, None, lg.HeavyBall(0.1), order)
    with pytest.raises(lg.LagrangianError, match=message):
        flow.integrate((0, 1), **changed)


def test_a_flow_that_blows_up_keeps_its_path():
    """qdot = q^2 from 1 is 1/(1 - t)."""

    def loss(parameters, batch):
        return -jnp.sum(parameters["w"] ** 3) / 3

    flow = network_flow({"w": np.ones(1)}, loss, None, lg.HeavyBall(0.1), 0)
    with pytest.raises(lg.IntegrationFailed) as caught:
        flow.integrate([0, 0.5, 0.9, 2.0], max_steps=2000)
    path = caught.value.trajectory
    np.testing.assert_array_equal(path.t, [0, 0.5, 0.9])
    np.testing.assert_allclose(path.q["w"][:, 0], 1 / (1 - path.t), rtol=1e-7)


def test_a_law_of_a_block_that_the_model_lacks():
    rule = lg.HeavyBall(0.1)
    flow = network_flow({"w": np.ones(3)}, squared, None, rule, 0)
    path = flow.integrate((0, 1), points=2)
    with pytest.raises(lg.UnknownBlock, match="the model has no block `kernel`"):
        path.charge(scale_law(rule, "kernel"))


def test_a_law_of_matrices_along_the_flow():
    """The antisymmetric charge of two linear layers decays like exp(-mu t/m)."""
    generator = np.random.default_rng(0)
    layers = {"first": (4, 3), "second": (3, 2)}
    start = {name: generator.normal(size=shape) for name, shape in layers.items()}
    batch = generator.normal(size=(20, 4)), generator.normal(size=(20, 2))
    matrix = generator.normal(size=(3, 3))
    rule = lg.HeavyBall(0.1, 0.5)

    def squared_error(w, batch):
        x, y = batch
        return ((x @ w["first"] @ w["second"] - y) ** 2).mean()

    flow = lg.network_flow(start, squared_error, batch, rule)
    velocity = {name: generator.normal(size=shape) for name, shape in layers.items()}
    path = flow.integrate(t=(0, 0.5), v0=velocity, tol=1e-11, points=11)
    charges = {}
    for parity in (1, -1):
        A = lg.ConstantBlock("A", parity=parity)
        symmetry = lg.GeneralLinear("first", "second", A)
        law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
        charges[parity] = path.charge(law, {A: matrix + parity * matrix.T})
    # m = eta (1 + beta)/2 and mu = 1 - beta.
    decayed = np.exp(-0.5 / 0.075 * path.t)
    np.testing.assert_allclose(charges[-1], charges[-1][0] * decayed, rtol=1e-7)
    assert not np.allclose(charges[1], charges[1][0] * decayed, rtol=0.1)
    with pytest.raises(lg.CannotLower, match="A"):
        path.charge(law)
