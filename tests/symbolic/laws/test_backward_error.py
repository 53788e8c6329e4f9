"""Modified flows: known formulas, and the orders at which runs follow them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import sympy as sp

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import collected
from lagrangian.symbolic.algebra.losses import Gradient
from lagrangian.symbolic.laws.backward_error import Average, Recursion
from lagrangian.symbolic.laws.discrete import learning_rate as eta
from lagrangian.symbolic.laws.discrete import momentum, weight_decay

x, y = lg.coordinates("x y")


def measured_order(field, step, start, rates, horizon=1.0):
    """The slope of log |flow - discrete run| against log learning rate."""
    errors = []
    for rate in rates:
        q = np.array(start, float)
        for _ in range(round(horizon / rate)):
            q = step(q, rate)
        end = scipy.integrate.solve_ivp(
            lambda t, q, rate=rate: field(q, rate),
            (0, horizon),
            start,
            method="DOP853",
            rtol=1e-13,
            atol=1e-13,
        ).y[:, -1]
        errors.append(np.linalg.norm(q - end))
    return np.polyfit(np.log(rates), np.log(errors), 1)[0]


def test_gradient_descent_has_the_implicit_gradient_regularisation():
    """Barrett & Dherin: f_1 = -(1/2) f'' f', the gradient of -|f'|^2/4."""
    f = sp.Function("f")(x, y)
    flow = lg.modified_flow({x: x - eta * f.diff(x), y: y - eta * f.diff(y)}, 1)
    squared = f.diff(x) ** 2 + f.diff(y) ** 2
    for q in (x, y):
        assert flow.terms[0][q] == -f.diff(q)
        assert sp.expand(flow.terms[1][q] + squared.diff(q) / 4) == 0


def test_an_exact_flow_is_its_own_modified_flow():
    """x/(1 + eta x) is the time-eta flow of xdot = -x^2: no correction at any order."""
    flow = lg.modified_flow({x: x / (1 + eta * x)}, 4)
    assert [sp.expand(term[x]) for term in flow.terms] == [-(x**2), 0, 0, 0, 0]


@pytest.mark.parametrize("order", range(5))
def test_scalar_runs_follow_their_modified_flow_to_its_order(order):
    f = sp.cos(x) * (1 + y**2 / 3) + x * y / 2 + y**4 / 10
    update = {x: x - eta * f.diff(x), y: y - eta * f.diff(y)}
    flow = lg.modified_flow(update, order)
    field = sp.lambdify((x, y, eta), list(flow.velocity.values()), cse=True)
    step = sp.lambdify((x, y, eta), list(update.values()))
    found = measured_order(
        lambda q, rate: field(*q, rate),
        lambda q, rate: np.array(step(*q, rate)),
        [0.7, 0.4],
        [1 / 8, 1 / 12, 1 / 16, 1 / 24] if order > 2 else [0.05, 0.025, 0.0125],
    )
    assert found == pytest.approx(order + 1, abs=0.25)


def test_the_heavy_ball_has_the_slow_manifold_of_the_theory():
    """qdot = -grad F/mu - (m/mu^3) Hess F grad F."""
    flow = lg.modified_flow(lg.HeavyBall(0.1, 0.9, 0.01), order=1)
    (w,) = flow.terms[0]
    f = lg.Loss("f", w)
    force = f.gradient(w) + weight_decay * w
    hessian_force = Gradient(f, w, (w, force)) + weight_decay * force
    assert collected(flow.terms[0][w] + force / (1 - momentum)) == 0
    expected = (1 + momentum) / 2 / (1 - momentum) ** 3 * hessian_force
    assert collected(flow.terms[1][w] + expected) == 0


@pytest.mark.parametrize("order", range(3))
def test_block_runs_follow_their_modified_flow_to_its_order(order):
    """Gradient descent on an opaque loss: Hessian products and third derivatives."""
    flow = lg.modified_flow(lg.HeavyBall(0.1), order)
    (w,) = flow.velocity
    expression = flow.velocity[w]

    def loss(w):
        return jnp.sum(jnp.sin(w[0] * w[1]) + 0.3 * w[2] ** 4 + w[0] * w[2])

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(loss))

        @jax.jit
        def field(q, rate):
            values = {w: q, eta: rate, momentum: 0.0, weight_decay: 0.0}
            return evaluate([expression], values, {"f": loss})[0]

        found = measured_order(
            lambda q, rate: np.asarray(field(jnp.asarray(q), rate)),
            lambda q, rate: q - rate * np.asarray(gradient(jnp.asarray(q))),
            [0.7, 0.4, 0.5],
            [0.04, 0.02, 0.01],
        )
    assert found == pytest.approx(order + 1, abs=0.15)


def test_an_average_of_the_gradient_is_a_dampened_momentum():
    """The same run, stated as a momentum and as an average: one modified flow."""
    from lagrangian.symbolic.laws.discrete import gain

    f = x**4 / 4 + x**2 * y + y**2
    slopes = {q: f.diff(q) for q in (x, y)}
    means = dict(zip((x, y), sp.symbols("p_x p_y"), strict=True))
    averaged = Recursion(
        {q: -eta * means[q] for q in slopes},
        averages={means[q]: Average(momentum, slope) for q, slope in slopes.items()},
    )
    ball = Recursion({q: -eta * gain * s for q, s in slopes.items()}, momentum)
    ours, theirs = (lg.modified_flow(r, 3).terms for r in (averaged, ball))
    for mine, other in zip(ours, theirs, strict=True):
        for q in (x, y):
            expected = other[q].subs(gain, 1 - momentum)
            assert sp.simplify(mine[q] - expected) == 0
    assert sp.simplify(ours[1][x] - theirs[1][x].subs(gain, 1)) != 0


@pytest.mark.parametrize("order", range(4))
def test_averages_of_the_past_are_those_along_the_flow(order):
    """Like Adam's, but smooth; the run goes back and forth until they agree."""
    slope = sp.sin(x) / 3 + x / 2 + 3
    mean, squares = sp.symbols("p v")
    recursion = Recursion(
        {x: -eta * mean / sp.sqrt(squares + 2)},
        averages={
            mean: Average(sp.Rational(1, 3), slope),
            squares: Average(sp.Rational(1, 4), slope**2),
        },
    )
    velocity = lg.modified_flow(recursion, order).velocity[x]
    field, g = sp.lambdify((x, eta), velocity, cse=True), sp.lambdify(x, slope)
    warm, errors, rates = 30, [], [0.05, 0.025, 0.0125]

    def flow(rate, horizon):
        def direction(t, q):
            return np.sign(horizon) * field(q, rate)

        span = (0, abs(horizon))
        return scipy.integrate.solve_ivp(
            direction, span, [0.7], rtol=1e-13, atol=1e-13, method="DOP853"
        ).y[0, -1]

    for rate in rates:
        q = flow(rate, -warm * rate)
        start, p, v = q, g(q), g(q) ** 2
        for k in range(warm + round(1 / rate)):
            start = q if k == warm else start
            p, v = p / 3 + 2 * g(q) / 3, v / 4 + 3 * g(q) ** 2 / 4
            q = q - rate * p / np.sqrt(v + 2)
        end = scipy.integrate.solve_ivp(
            lambda t, q, rate=rate: field(q, rate),
            (0, 1),
            [start],
            rtol=1e-13,
            atol=1e-13,
            method="DOP853",
        ).y[0, -1]
        errors.append(abs(end - q))
    found = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert found == pytest.approx(order + 1, abs=0.2)


def test_it_prints():
    flow = lg.modified_flow({x: x - eta * x}, 1)
    assert str(flow) == "x.dot = -eta*x/2 - x"
    assert r"\dot{x}" in flow._repr_latex_()


@pytest.mark.parametrize(
    ("update", "order", "message"),
    [
        ({x: 2 * x - eta}, 1, "does not vanish with the step size `eta`"),
        ({sp.Symbol("z"): sp.Symbol("z")}, 1, "moves `z`, which is no coordinate"),
        ({x: x - eta}, -1, "`order` is -1"),
    ],
)
def test_errors_name_what_is_wrong(update, order, message):
    with pytest.raises(lg.LagrangianError, match=message):
        lg.modified_flow(update, order)
