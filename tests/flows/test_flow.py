"""Flows against SciPy, closed forms and automatic differentiation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import sympy as sp

import lagrangian as lg

START = {"a": 2.0, "b": 1.0}


def double_pendulum_by_hand(t, state, g=9.81):
    """The textbook right-hand side, solved for the accelerations by hand."""
    a, b, da, db = state
    s, c = np.sin(a - b), np.cos(a - b)
    denominator = 2 - c * c
    dda = (-s * (c * da**2 + db**2) - g * (2 * np.sin(a) - np.sin(b) * c)) / denominator
    ddb = (
        s * (2 * da**2 + c * db**2) + 2 * g * (np.sin(a) * c - np.sin(b))
    ) / denominator
    return [da, db, dda, ddb]


def test_the_double_pendulum_agrees_with_scipy(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    path = lg.lower(system, parameters).integrate(
        {a: 2.0, b: 1.0}, {a: 0.0, b: 0.0}, (0.0, 10.0), tol=1e-13
    )
    oracle = scipy.integrate.solve_ivp(
        double_pendulum_by_hand,
        (0, 10),
        [2.0, 1.0, 0.0, 0.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=path.t,
    )
    np.testing.assert_allclose(path.q, oracle.y[:2].T, atol=1e-8)
    np.testing.assert_allclose(path.v, oracle.y[2:].T, atol=1e-7)
    assert path.energy_drift < 1e-11


def test_accelerations_agree_with_automatic_differentiation(pendulum):
    system, parameters = pendulum
    flow = lg.lower(system, parameters)
    with jax.enable_x64(True):
        q, v = jnp.asarray([2.0, 1.0]), jnp.asarray([0.3, -0.7])

        def lagrangian(q, v):
            return flow.evaluate(system.undamped, q, v)

        mass = jax.hessian(lagrangian, 1)(q, v)
        mixed = jax.jacfwd(jax.grad(lagrangian, 1), 0)(q, v)
        right = jax.grad(lagrangian, 0)(q, v) - mixed @ v
        expected = jnp.linalg.solve(mass, right)
        np.testing.assert_allclose(flow.acceleration(q, v), expected, rtol=1e-13)


def test_a_damped_oscillator_follows_its_closed_form():
    x = lg.coordinates("x")
    m, k, mu = sp.symbols("m k mu", positive=True)
    system = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, damping=mu / m * lg.time)
    path = lg.lower(system, {m: 2.0, k: 8.0, mu: 1.0}).integrate(
        {x: 1.0}, {x: 0.0}, (0.0, 5.0), tol=1e-12
    )
    rate, omega = 0.25, np.sqrt(4 - 0.25**2)
    expected = np.exp(-rate * path.t) * (
        np.cos(omega * path.t) + rate / omega * np.sin(omega * path.t)
    )
    np.testing.assert_allclose(path[x], expected, atol=1e-11)


def test_the_global_precision_is_left_alone(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    assert not jax.config.jax_enable_x64
    path = lg.lower(system, parameters).integrate({a: 1, b: 0}, {a: 0, b: 0}, (0, 0.1))
    assert path.q.dtype == np.float64 and path.energy.dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jnp.asarray([1.0]).dtype == jnp.float32


def test_any_diffrax_solver_and_any_output_times(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    flow = lg.lower(system, parameters)
    start = {a: 1.0, b: 0.5}, {a: 0.0, b: 0.0}
    times = [0.0, 0.25, 1.0, 1.5]
    default = flow.integrate(*start, times, tol=1e-10)
    other = flow.integrate(*start, times, tol=1e-10, solver=diffrax.Tsit5())
    assert list(default.t) == times
    np.testing.assert_allclose(default.q, other.q, atol=1e-8)


def test_the_charge_of_a_law_along_a_path():
    x, y = lg.coordinates("x y")
    kepler = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, -1 / sp.sqrt(x**2 + y**2))
    path = lg.lower(kepler).integrate(
        {x: 1.0, y: 0.0}, {x: 0.0, y: 1.2}, (0, 20), tol=1e-12
    )
    turning = path.charge(lg.noether(kepler, lg.Rotation(x, y)))
    np.testing.assert_allclose(turning, 1.2, rtol=1e-10)
    drifting = path.charge(lg.noether(kepler, lg.Translation(x)))
    assert np.ptp(drifting) > 1.0


def test_a_block_flow_is_the_flow_of_its_entries(learning_symbols):
    """One block of three entries and a quadratic loss: three damped oscillators."""
    mass, mu, decay = learning_symbols
    w = lg.blocks("w")
    stiff = np.array([1.0, 2.0, 3.0])
    system = lg.HeavyBall(0.1, 0.5, 0.1).lagrangian(lg.Loss("f", w))
    flow = lg.lower(
        system,
        {mass: 1.0, mu: 0.0, decay: 0.0},
        losses={"f": lambda w: 0.5 * (jnp.asarray(stiff) * w**2).sum()},
    )
    path = flow.integrate({w: np.ones(3)}, {w: np.zeros(3)}, (0, 5), tol=1e-11)
    expected = np.cos(np.sqrt(stiff) * path.t[:, None])
    np.testing.assert_allclose(path[w], expected, atol=1e-9)
    with pytest.raises(lg.LagrangianError, match="`lg.Taylor` is for scalar coord"):
        flow.integrate({w: np.ones(3)}, {w: np.zeros(3)}, (0, 5), solver=lg.Taylor())


def test_a_stop_keeps_what_was_computed():
    x = lg.coordinates("x")
    falling = lg.Lagrangian(x.dot**2 / 2, -(x**4))  # reaches infinity in finite time
    with pytest.raises(lg.IntegrationFailed, match="last known state is at t") as stop:
        lg.lower(falling).integrate({x: 1.0}, {x: 1.0}, (0.0, 10.0), max_steps=500)
    path = stop.value.trajectory
    assert 0 < path.t[-1] < 10 and np.isfinite(path.q).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q0": {}}, "`q0` has no value for `a`, `b`"),
        ({"q0": [1.0]}, r"`q0` has shape \(1,\)"),
        ({"t": (1.0, 0.0)}, "`t` must be increasing times"),
        ({"t": (0.0, np.inf)}, "`t` must be increasing times"),
        ({"tol": 0}, "`tol` is 0; write a positive number"),
        ({"tol": -1e-9}, "`tol` is -1e-09"),
        ({"tol": np.nan}, "`tol` is nan"),
        ({"points": 1}, "`points` is 1; an interval has at least"),
        ({"solver": "taylor"}, r"`solver` is 'taylor'. Pass an object"),
        ({"solver": diffrax.Tsit5}, r"`solver` is <class.*Pass an object"),
        ({"solver": lg.Taylor}, r"`solver` is <class.*Pass an object"),
    ],
)
def test_errors_name_what_is_wrong(pendulum, change, message):
    system, parameters = pendulum
    a, b = system.coordinates
    arguments = {"q0": {a: 1, b: 1}, "v0": {a: 0, b: 0}, "t": (0.0, 1.0)} | change
    with pytest.raises(lg.LagrangianError, match=message):
        lg.lower(system, parameters).integrate(**arguments)


def test_a_missing_parameter_is_never_defaulted(pendulum):
    system, parameters = pendulum
    g = next(s for s in parameters if s.name == "g")
    del parameters[g]
    with pytest.raises(lg.CannotLower, match=r"no value for `g`.*Pass `\{g: ...\}`"):
        lg.lower(system, parameters)


def test_a_function_without_a_jax_counterpart_is_named():
    x = lg.coordinates("x")
    system = lg.Lagrangian(x.dot**2 / 2, sp.zeta(x))
    with pytest.raises(lg.CannotLower, match="`zeta` in the equation for `x`|zeta"):
        lg.lower(system)


def test_a_metric_that_mixes_entries_is_not_explicit(learning_symbols):
    mass, _, _ = learning_symbols
    w, G = lg.blocks("w"), lg.LinearMap("G", parity=1)
    system = lg.Lagrangian(mass / 2 * lg.Inner(w.dot, G(w.dot)))
    with pytest.raises(lg.CannotLower, match="not explicit in `w.ddot`"):
        lg.lower(system, {mass: 1.0, G: lambda x: x})


def test_stiff_damping_takes_an_implicit_solver_of_diffrax():
    # x'' + 1e4 x' + x = 0: the fast decay limits explicit steps long after it is over.
    x = lg.coordinates("x")
    system = lg.Lagrangian(x.dot**2 / 2, x**2 / 2, dissipation=5000 * x.dot**2)
    flow = lg.lower(system)
    stiff, explicit = (
        flow.integrate([1.0], [0.0], (0, 10), solver=solver, tol=1e-7, points=2)
        for solver in (diffrax.Kvaerno5(), diffrax.Dopri8())
    )
    slow, fast = np.roots([1, 1e4, 1])[::-1]
    expected = (fast * np.exp(slow * 10) - slow * np.exp(fast * 10)) / (fast - slow)
    np.testing.assert_allclose(stiff[x][-1], expected, rtol=1e-5)
    assert stiff.steps < 300 < 10_000 < explicit.steps


def test_a_path_knows_accelerations_and_multipliers():
    """On a circle of radius 1, lambda is half the tension: T = m (v^2 - g y)."""
    x, y = lg.coordinates("x y")
    m, g = sp.symbols("m g", positive=True)
    T, V = m * (x.dot**2 + y.dot**2) / 2, m * g * y
    held = lg.Lagrangian(T, V, constraints=[x**2 + y**2 - 1])
    flow = lg.lower(held, {m: 2.0, g: 9.81})
    path = flow.integrate([0.6, -0.8], [0.0, 0.0], (0, 1), points=9)
    (pull,) = held.constraints.multipliers
    tension = 2.0 * (path[x.dot] ** 2 + path[y.dot] ** 2 - 9.81 * path[y])
    np.testing.assert_allclose(path.evaluate(-2 * pull), tension, rtol=1e-9)
    np.testing.assert_allclose(path.evaluate(x.ddot), path[x.ddot], rtol=1e-12)
    rate = lg.noether(held, lg.Translation(x)).rate
    np.testing.assert_allclose(path.evaluate(rate), 2 * path[x.ddot], rtol=1e-9)
    with pytest.raises(lg.CannotLower, match="no value for `k`"):
        path.evaluate(sp.Symbol("k"))
