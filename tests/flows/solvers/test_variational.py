"""Galerkin variational integrators against the action, closed forms and Taylor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.solvers.compositions import Method, repeated, solve_in_steps
from lagrangian.flows.solvers.variational import (
    Variational,
    discrete_euler_lagrange,
    galerkin,
    slopes,
)
from lagrangian.systems.celestial import kepler
from lagrangian.systems.particles import charged_particle

ORDERS = (2, 4, 6, 8)
STEPS = {2: (0.02, 0.005), 4: (0.05, 0.0125), 6: (0.1, 0.04), 8: (0.09, 0.045)}


class RungeKutta:
    """The classical explicit method of order 4: the control that keeps no structure."""

    adaptive = False

    def __init__(self, step):
        self.step = step

    def solve(self, flow, q, v, times, demands):
        def step(state, t, h):
            def field(state, t):
                return jnp.stack([state[1], flow.acceleration(*state, t)])

            a = field(state, t)
            b = field(state + h / 2 * a, t + h / 2)
            c = field(state + h / 2 * b, t + h / 2)
            d = field(state + h * c, t + h)
            return state + h / 6 * (a + 2 * b + 2 * c + d)

        method = Method(
            lambda q, v, t: jnp.stack([q, v]), repeated(step), lambda x, t: (x[0], x[1])
        )
        arguments = q, v, times, self.step, demands.max_steps
        return solve_in_steps(flow, lambda _: method, (), *arguments)


def lowered(system):
    return lg.lower(system.lagrangian, system.parameters)


def curved():
    """A metric that depends on the position."""
    x, y = lg.coordinates("x y")
    T = ((1 + x**2) * x.dot**2 + x * x.dot * y.dot + 2 * y.dot**2) / 2
    return lg.lower(lg.Lagrangian(T, x**2 / 2 + y**4))


def with_everything():
    """A metric, a magnetic field, explicit time and damping at once."""
    x, y = lg.coordinates("x y")
    T = ((1 + x**2) * x.dot**2 + x * x.dot * y.dot + 2 * y.dot**2) / 2
    V = x**2 / 2 + y**4 / (1 + lg.time**2) - x * y * y.dot
    return lg.lower(lg.Lagrangian(T, V, damping=lg.time / 3 + lg.time**2 / 9))


def driven():
    """Forces and friction that no Lagrangian gives."""
    x, y = lg.coordinates("x y")
    T, V = (x.dot**2 + (1 + x**2) * y.dot**2) / 2, (x**2 + y**2 + x * y) / 2
    forces = {x: -y / (1 + lg.time), y: x * y.dot / 3}
    return lg.lower(
        lg.Lagrangian(T, V, forces=forces, dissipation=x.dot**2 / 5, damping=lg.time)
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("make", "factor"),
    # Where the motion is smooth, shorter steps would err by rounding alone.
    [(lambda: lowered(kepler()), 1.0), (with_everything, 1.6), (driven, 2.5)],
    ids=["kepler", "with everything", "driven"],
)
def test_the_order_is_what_it_says(order, make, factor):
    flow, start, end = make(), ([0.5, 0.3], [0.2, 1.3]), 2.0
    exact = flow.integrate(*start, (0, end), tol=1e-15, points=2).q[-1]
    steps = factor * np.geomspace(*STEPS[order], 4)
    counts = np.unique(np.round(end / steps))
    errors = []
    for count in counts:
        solver = Variational(end / count, order)
        path = flow.integrate(*start, (0, end), solver=solver, points=2)
        assert path.steps == count
        errors.append(np.abs(path.q[-1] - exact).max())
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("order", ORDERS)
def test_a_step_extremises_the_action_over_polynomials(order):
    """Built anew here: control points, NumPy's polynomials, the Lagrangian itself."""
    degree, h, t = order // 2, 0.2, 0.7
    flow = with_everything()
    roots, weights = np.polynomial.legendre.leggauss(degree)
    points = (1 + roots) / 2
    controls = np.linspace(0, 1, degree + 1)
    basis = [
        np.polynomial.Polynomial.fit(controls, row, degree)
        for row in np.eye(degree + 1)
    ]
    values = np.array([b(points) for b in basis]).T
    rates = np.array([b.deriv()(points) for b in basis]).T

    def action(at_controls):
        q, v = values @ at_controls, rates @ at_controls / h
        times = t + h * points
        L = flow.evaluate(flow.lagrangian.undamped, q, v, times)
        growth = flow.evaluate(flow.lagrangian.damping, q, v, times) - (
            t / 3 + t**2 / 9
        )
        return h / 2 * jnp.sum(weights * jnp.exp(growth) * L)

    with jax.enable_x64(True):
        method = galerkin(flow, degree)
        start = method.start(jnp.array([0.5, 0.3]), jnp.array([0.2, 1.3]), t)
        q, p, velocities = map(np.asarray, method.advance(start, t, h, 1))
        # From the velocities at Gauss's points to the positions at the control points.
        velocity = np.linalg.solve(
            np.vander(points, degree, increasing=True), velocities
        )
        powers = np.arange(1, degree + 1)
        moved = h * (controls[:, None] ** powers / powers) @ velocity
        at_controls = np.asarray(start[0]) + moved
        slope = np.asarray(jax.grad(action)(jnp.asarray(at_controls)))
    end = t + h
    growth = np.exp((end - t) / 3 + (end**2 - t**2) / 9)
    # Terms of this size cancel in the slopes.
    rounding = 1e-15 * np.abs(rates).sum() * np.abs(p).max()
    np.testing.assert_allclose(at_controls[-1], q, atol=1e-15)
    np.testing.assert_allclose(slope[1:-1], 0, atol=rounding)
    np.testing.assert_allclose(slope[0], -np.asarray(start[1]), atol=rounding)
    np.testing.assert_allclose(slope[-1], p * growth, atol=rounding)
    assert rounding < 1e-12


def test_order_2_is_the_discrete_lagrangian_of_the_midpoint():
    flow, h = curved(), 0.05
    start = np.array([0.5, 0.3]), np.array([0.2, 1.3])
    path = flow.integrate(*start, (0, 40 * h), solver=Variational(h, 2), points=41)

    def midpoint(q, r, k):
        return h * flow.evaluate(flow.lagrangian.undamped, (q + r) / 2, (r - q) / h)

    with jax.enable_x64(True):
        step = jax.jit(lambda q, r, k: discrete_euler_lagrange(midpoint, q, r, k))
        q, r = path.q[0], path.q[1]
        for k in range(1, 40):
            q, r = r, np.asarray(step(q, r, k))
            np.testing.assert_allclose(r, path.q[k + 1], rtol=0, atol=1e-12)


def heavy_ball_path(loss, rule, start, steps):
    """The points of a run by optax."""
    transformation = optax.sgd(rule[0], momentum=rule[1])
    q, state = jnp.asarray(start), transformation.init(jnp.asarray(start))
    points = [q]
    for _ in range(steps):
        updates, state = transformation.update(jax.grad(loss)(q), state)
        q = optax.apply_updates(q, updates)
        points.append(q)
    return points


@pytest.mark.parametrize(("end", "same"), [(0, True), (1, False)])
def test_the_heavy_ball_is_the_variational_integrator_of_its_lagrangian(end, same):
    """L_d = L at one end of the step, which must be the first.

    The Lagrangian is damped by sigma = -log(beta) t/eta and has the mass eta; with the
    step eta, L_d = eta beta^-k (|q_{k+1} - q_k|^2/(2 eta) - F(q_k)).
    """
    x, y = lg.coordinates("x y")
    eta, beta = sp.symbols("eta beta", positive=True)
    F = (x**2 - y) ** 2 + (1 - x) ** 4 / 2 + y**2 / 8
    system = lg.Lagrangian(
        eta * (x.dot**2 + y.dot**2) / 2, F, damping=-sp.log(beta) * lg.time / eta
    )
    rate, momentum = 0.02, 0.9
    flow = lg.lower(system, {eta: rate, beta: momentum})

    def discrete(q, r, k):
        place = r if end else q
        return rate * flow.evaluate(system.expression, place, (r - q) / rate, k * rate)

    def loss(q):
        return flow.evaluate(F, q, q)

    with jax.enable_x64(True):
        points = heavy_ball_path(loss, (rate, momentum), [-0.7, 1.2], 60)
        step = jax.jit(lambda q, r, k: discrete_euler_lagrange(discrete, q, r, k))
        found = [step(points[k - 1], points[k], k) for k in range(1, 60)]
    error = np.abs(np.array(found) - np.array(points[2:])).max()
    assert error < 1e-14 if same else error > 1e-4


@pytest.mark.parametrize("order", ORDERS)
def test_a_damped_oscillator_follows_its_closed_form(order):
    """To sigma = 1000, where e^sigma is no floating-point number."""
    x = lg.coordinates("x")
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, 2 * x**2, damping=lg.time / 2))
    rate, omega = 0.25, np.sqrt(4 - 0.25**2)

    def exact(t):
        turning = np.cos(omega * t) + rate / omega * np.sin(omega * t)
        return np.exp(-rate * t) * turning

    counts, errors = np.array([8, 12, 16]), []
    for count in counts:
        solver = Variational(4 / count, order)
        path = flow.integrate({x: 1.0}, {x: 0.0}, (0, 4), solver=solver, points=5)
        assert path.steps == count
        errors.append(np.abs(path[x] - exact(path.t)).max())
    assert -np.polyfit(np.log(counts), np.log(errors), 1)[0] == pytest.approx(
        order, abs=0.3
    )
    fine = flow.integrate({x: 1.0}, {x: 0.0}, (0, 4), solver=Variational(0.01, order))
    np.testing.assert_allclose(
        fine[x], exact(fine.t), rtol=0, atol=max(1e-14, 0.01**order)
    )
    long = flow.integrate({x: 1.0}, {x: 0.0}, (0, 2000), solver=Variational(0.2, order))
    assert 0 < np.abs(long.q).max(axis=1)[-1] < 1e-200


def test_friction_as_damping_and_as_dissipation_is_one_flow():
    x = lg.coordinates("x")
    kinetic, potential = x.dot**2 / 2, x**4
    damped = lg.lower(lg.Lagrangian(kinetic, potential, damping=lg.time / 2))
    driven = lg.lower(lg.Lagrangian(kinetic, potential, dissipation=x.dot**2 / 4))
    ends = [
        flow.integrate({x: 1}, {x: 0}, (0, 5), solver=Variational(0.05, 8)).q[-1]
        for flow in (damped, driven)
    ]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-11)


def structure_defect(flow, step, t):
    """max |J^T Omega J - Omega| of step(q, p, v), relative to |J|^2, over many states.

    v is the velocity of the state at which the derivative is taken.
    """
    momentum, _ = slopes(flow)

    def jacobian(q, v):
        x = jnp.concatenate([q, momentum(q, v, t, t)])
        return jax.jacfwd(lambda x: jnp.concatenate(step(x[:2], x[2:], v)))(x)

    states = np.random.default_rng(0).uniform(-1, 1, (2, 20, 2))
    jacobians = np.asarray(jax.jit(jax.vmap(jacobian))(*jnp.asarray(states)))
    zero, one = np.zeros((2, 2)), np.eye(2)
    omega = np.block([[zero, one], [-one, zero]])
    defects = np.abs(jacobians.mT @ omega @ jacobians - omega).max(axis=(1, 2))
    return (defects / np.linalg.norm(jacobians, axis=(1, 2)) ** 2).max()


@pytest.mark.parametrize("order", ORDERS)
def test_the_step_is_symplectic(order):
    flow, h, t = with_everything(), 0.2, 0.3
    with jax.enable_x64(True):
        method = galerkin(flow, order // 2)
        growth = np.exp(h / 3 + ((t + h) ** 2 - t**2) / 9)

        def step(q, p, v):
            guess = jnp.tile(v, (order // 2, 1))
            q, p, _ = method.advance((q, p, guess), t, h, 1)
            return q, p * growth

        assert structure_defect(flow, step, t) < 2e-15


def test_an_explicit_step_is_not_symplectic():
    """Euler's, the explicit Runge-Kutta method of order 1."""
    flow, h, t = with_everything(), 0.2, 0.3
    with jax.enable_x64(True):
        momentum, _ = slopes(flow)

        def step(q, p, v):
            mass = jax.jacfwd(lambda v: momentum(q, v, t, t))(v)
            v = v - jnp.linalg.solve(mass, momentum(q, v, t, t) - p)
            new = q + h * v, v + h * flow.acceleration(q, v, t)
            return new[0], momentum(*new, t + h, t)

        assert structure_defect(flow, step, t) > 1e-3


@pytest.mark.parametrize("order", ORDERS)
def test_a_path_can_be_walked_back(order):
    flow = curved()
    q, v = np.array([0.5, 0.3]), np.array([0.2, 1.3])
    missed = []
    for solver in (Variational(0.05, order), RungeKutta(0.05)):
        path = flow.integrate(q, v, (0, 2), solver=solver, points=2)
        back = flow.integrate(path.q[-1], -path.v[-1], (0, 2), solver=solver, points=2)
        missed.append(np.abs([back.q[-1] - q, back.v[-1] + v]).max())
    symmetric, control = missed
    assert symmetric < 1e-13
    assert control > 1e-8


@pytest.mark.parametrize("order", ORDERS)
def test_momentum_maps_are_kept_until_the_symmetry_is_broken(order):
    """In a magnetic field, where the momentum is not x v_y - y v_x."""
    system = charged_particle()
    x, y, z = system.lagrangian.coordinates
    px, py, pz = system.lagrangian.momenta.values()
    charges = (x * py - y * px, pz)
    names = {str(symbol): symbol for symbol in system.parameters}
    drift = {}
    for field in (0.0, 1e-3):  # the electric one, along x
        parameters = system.parameters | {names["E"]: field}
        path = lg.lower(system.lagrangian, parameters).integrate(
            system.positions,
            system.velocities,
            (0, 200),
            solver=Variational(0.1, order),
        )
        drift[field] = [np.ptp(path.evaluate(charge)) for charge in charges]
    assert max(drift[0.0]) < 2e-14
    assert drift[1e-3][0] > 1e-4 and drift[1e-3][1] < 2e-14


@pytest.mark.parametrize("order", [2, 4])
def test_the_energy_error_does_not_grow_in_a_million_steps(order):
    growth = {}
    flow = lowered(kepler())
    for solver in (Variational(0.03, order), RungeKutta(0.03)):
        path = flow.integrate(
            [0.4, 0.0], [0.0, 2.0], (0, 30_000), solver=solver, points=2001
        )
        assert path.steps == 1_000_000
        error = np.abs(path.energy - path.energy[0])
        growth[solver] = error[-200:].max() / error[:200].max()
    kept, control = growth.values()
    assert kept < 1.2
    assert control > 2


def test_a_kinetic_energy_of_indefinite_metric_needs_pivots():
    x, y = lg.coordinates("x y")
    flow = lg.lower(lg.Lagrangian(x.dot * y.dot, x * y))  # two oscillators
    path = flow.integrate([1.0, 0.5], [0.0, 0.0], (0, 3), solver=Variational(0.1, 8))
    np.testing.assert_allclose(path[x], np.cos(path.t), atol=1e-13)
    np.testing.assert_allclose(path[y], np.cos(path.t) / 2, atol=1e-13)


def test_a_system_at_rest_stays_there():
    x, y = lg.coordinates("x y")
    flow = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, x**2 + x * y**3))
    path = flow.integrate([0.0, 0.0], [0.0, 0.0], (0, 1), solver=Variational(0.1))
    assert not path.q.any() and not path.v.any()


def test_a_step_without_a_solution_ends_the_path():
    x = lg.coordinates("x")
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**3))  # to -infinity in finite time
    with pytest.raises(lg.IntegrationFailed) as stop:
        flow.integrate({x: 0.0}, {x: -1.0}, (0, 5), solver=Variational(0.01), points=51)
    path = stop.value.trajectory
    # The time of the fall, by energy: the integral of dx/sqrt(1 + 2 x^3).
    assert 1 < path.t[-1] < 3
    assert np.isfinite(path.q).all()


def test_constraints_are_refused():
    x, y = lg.coordinates("x y")
    system = lg.Lagrangian(x.dot**2 + y.dot**2, constraints=[x**2 + y**2 - 1])
    with pytest.raises(lg.LagrangianError, match=r"lg\.Rattle"):
        lg.lower(system).integrate([1, 0], [0, 1], (0, 1), solver=Variational(0.1))


@pytest.mark.parametrize("arguments", [(-1.0, 4), (np.nan, 4), (0.1, 5), (0.1, 10)])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(lg.LagrangianError, match=r"`(step|order)` is"):
        Variational(*arguments)
