"""Explicit symplectic steps: order, structure, long runs, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.solvers.compositions import (
    KAHAN_LI_6,
    KAHAN_LI_8,
    SUZUKI_4,
    YOSHIDA_4,
    YOSHIDA_6,
    Method,
    repeated,
    solve_in_steps,
)
from lagrangian.flows.solvers.symplectic import Symplectic, drift_and_kick
from lagrangian.systems.celestial import henon_heiles, kepler
from lagrangian.systems.chains import fput_chain

ORDERS = {2: (1.0,), 4: SUZUKI_4, 6: KAHAN_LI_6, 8: KAHAN_LI_8}
STEPS = {2: (0.02, 0.005), 4: (0.04, 0.01), 6: (0.1, 0.03), 8: (0.15, 0.06)}


class RungeKutta:
    """The classical explicit method of order 4: the control that keeps no structure."""

    adaptive = False

    def __init__(self, step):
        self.step = step

    def method(self, flow):
        def step(state, t, h):
            def field(state, t):
                return jnp.stack([state[1], flow.acceleration(*state, t)])

            a = field(state, t)
            b = field(state + h / 2 * a, t + h / 2)
            c = field(state + h / 2 * b, t + h / 2)
            d = field(state + h * c, t + h)
            return state + h / 6 * (a + 2 * b + 2 * c + d)

        return Method(
            lambda q, v, t: jnp.stack([q, v]), repeated(step), lambda x, t: (x[0], x[1])
        )

    def solve(self, flow, q, v, times, demands):
        arguments = q, v, times, self.step, demands.max_steps
        return solve_in_steps(flow, self.method, (), *arguments)


def lowered(system):
    return lg.lower(system.lagrangian, system.parameters)


def coupled():
    """A mass matrix off the diagonal and a potential that moves: all that is taken."""
    x, y = lg.coordinates("x y")
    T = x.dot**2 + y.dot**2 * sp.Rational(3, 2) + x.dot * y.dot
    V = (x**2 + y**2) / 2 + (x - y) ** 4 / (1 + lg.time**2)
    return lg.lower(lg.Lagrangian(T, V))


def measured_order(flow, start, solvers, end=2.0):
    """The slope of log error over log step."""
    exact = flow.integrate(*start, (0, end), tol=1e-15, points=2).q[-1]
    errors = [
        np.abs(flow.integrate(*start, (0, end), solver=s, points=2).q[-1] - exact).max()
        for s in solvers
    ]
    steps = [end / np.ceil(end / s.step) for s in solvers]
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def steps_between(longest, shortest):
    return np.geomspace(longest, shortest, 4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("make", [lambda: lowered(kepler()), coupled])
def test_the_order_is_what_it_says(order, make):
    flow, start = make(), ([0.5, 0.3], [0.2, 1.3])
    solvers = [Symplectic(h, order) for h in steps_between(*STEPS[order])]
    assert measured_order(flow, start, solvers) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize(("order", "weights"), [(4, YOSHIDA_4), (6, YOSHIDA_6)])
def test_yoshidas_compositions_have_their_order(order, weights):
    flow, start = lowered(kepler()), ([0.5, 0.3], [0.2, 1.3])
    steps = steps_between(*STEPS[order]) / 3
    solvers = [Symplectic(h, weights=weights) for h in steps]
    assert measured_order(flow, start, solvers) == pytest.approx(order, abs=0.2)


def test_a_composition_with_a_wrong_weight_loses_its_order():
    flow, start = lowered(kepler()), ([0.5, 0.3], [0.2, 1.3])
    wrong = (0.3, 0.2, 0.0, 0.2, 0.3)  # adds up to 1, but its cubes do not cancel
    solvers = [Symplectic(h, 4, wrong) for h in steps_between(*STEPS[2])]
    assert measured_order(flow, start, solvers) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("weights", "power"),
    [(YOSHIDA_4, 3), (SUZUKI_4, 3)]
    + [(w, p) for w in (YOSHIDA_6, KAHAN_LI_6) for p in (3, 5)]
    + [(KAHAN_LI_8, p) for p in (3, 5, 7)],
)
def test_odd_powers_of_the_weights_cancel(weights, power):
    assert sum(w**power for w in weights) == pytest.approx(0, abs=1e-15)
    assert sum(weights) == pytest.approx(1, abs=1e-15)


def structure_defect(method, flow, states, h):
    """max |J^T Omega J - Omega| of one step in (q, p), over many states.

    Relative to |J|^2, of which rounding is a share.
    """
    n = len(flow.lagrangian.coordinates)
    mass = flow.evaluate(flow.lagrangian.mass_matrix, states[0, :n], states[0, n:])

    def step(x):
        q, v = x[:n], jnp.linalg.solve(mass, x[n:])
        state = method.advance(method.start(q, v, 0.3), 0.3, h, 1)
        q, v = method.finish(state, 0.3 + h)
        return jnp.concatenate([q, mass @ v])

    zero, one = np.zeros((n, n)), np.eye(n)
    omega = np.block([[zero, one], [-one, zero]])
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacfwd(step)))(states))
    defects = np.abs(jacobians.mT @ omega @ jacobians - omega).max(axis=(1, 2))
    return (defects / np.linalg.norm(jacobians, axis=(1, 2)) ** 2).max()


@pytest.mark.parametrize("order", ORDERS)
def test_the_step_is_symplectic_and_that_of_runge_kutta_is_not(order):
    with jax.enable_x64(True):
        flow = coupled()
        states = jnp.asarray(np.random.default_rng(0).normal(size=(20, 4)))
        method = drift_and_kick(flow, ORDERS[order])
        assert structure_defect(method, flow, states, 0.3) < 1e-15
        control = RungeKutta(0.3).method(flow)
        assert structure_defect(control, flow, states, 0.3) > 1e-5


def there_and_back(flow, start, solver):
    """How far from its start a path ends after turning round."""
    path = flow.integrate(*start, (0, 5), solver=solver, points=2)
    back = flow.integrate(path.q[-1], -path.v[-1], (0, 5), solver=solver, points=2)
    return np.abs(np.concatenate([back.q[-1] - start[0], back.v[-1] + start[1]])).max()


@pytest.mark.parametrize("order", ORDERS)
def test_a_path_can_be_walked_back(order):
    flow, start = lowered(henon_heiles()), (np.array([0.0, 0.1]), np.array([0.4, 0.3]))
    assert there_and_back(flow, start, Symplectic(0.05, order)) < 1e-13
    assert there_and_back(flow, start, RungeKutta(0.05)) > 1e-8


@pytest.mark.parametrize("order", ORDERS)
def test_angular_momentum_stays_until_the_symmetry_is_broken(order):
    x, y = lg.coordinates("x y")
    spin = x * y.dot - y * x.dot
    skew = sp.Symbol("skew")
    system = lg.Lagrangian(
        (x.dot**2 + y.dot**2) / 2, -1 / sp.sqrt(x**2 + (1 + skew) * y**2)
    )
    drift = {}
    for value in (0.0, 1e-3):
        path = lg.lower(system, {skew: value}).integrate(
            {x: 0.4, y: 0.0}, {x: 0.0, y: 2.0}, (0, 100), solver=Symplectic(0.03, order)
        )
        drift[value] = np.ptp(path.evaluate(spin))
    assert drift[0.0] < 1e-13  # 3,000 steps and up to 17 kicks in each
    assert drift[1e-3] > 1e-4


def energy_growth(flow, start, solver, end):
    """The largest energy error of the last tenth of a path, over that of the first."""
    path = flow.integrate(*start, (0, end), solver=solver, points=2001)
    error = np.abs(path.energy - path.energy[0])
    return error[-200:].max() / error[:200].max(), path.steps


@pytest.mark.parametrize("order", ORDERS)
def test_the_energy_error_does_not_grow_in_a_million_steps(order):
    flow, start = lowered(kepler()), ([0.4, 0.0], [0.0, 2.0])
    step = {2: 0.03, 4: 0.05, 6: 0.1, 8: 0.15}[order]
    end = step * 1e6
    growth, steps = energy_growth(flow, start, Symplectic(step, order), end)
    assert steps == 1_000_000
    assert growth < 1.2


def test_the_energy_error_of_runge_kutta_grows():
    flow, start = lowered(kepler()), ([0.4, 0.0], [0.0, 2.0])
    assert energy_growth(flow, start, RungeKutta(0.03), 3000.0)[0] > 5


def test_a_long_chain_runs_its_stages_as_a_loop():
    system = fput_chain(24)
    flow = lowered(system)
    start = system.positions, system.velocities
    path = flow.integrate(*start, (0, 20), solver=Symplectic(0.05, 8), points=2)
    exact = flow.integrate(*start, (0, 20), tol=1e-14, points=2)
    np.testing.assert_allclose(path.q, exact.q, atol=1e-12)


def test_intervals_are_divided_into_equal_steps():
    flow = lowered(henon_heiles())
    times = [0.0, 0.3, 0.35, 1.0]
    path = flow.integrate([0.0, 0.1], [0.4, 0.3], times, solver=Symplectic(0.1, 8))
    assert path.steps == 3 + 1 + 7
    np.testing.assert_array_equal(path.t, times)
    exact = flow.integrate([0.0, 0.1], [0.4, 0.3], times, tol=1e-14)
    np.testing.assert_allclose(path.q, exact.q, atol=1e-11)


def test_too_few_steps_give_the_path_until_then():
    flow = lowered(henon_heiles())
    for allowed, reached in ((25, 2.0), (9, 0.0)):
        with pytest.raises(lg.IntegrationFailed) as stop:
            flow.integrate(
                *([0.0, 0.1], [0.4, 0.3], [0.0, 1.0, 2.0, 3.0]),
                solver=Symplectic(0.1),
                max_steps=allowed,
            )
        assert stop.value.trajectory.t[-1] == reached


def test_a_state_that_is_not_finite_ends_the_path():
    x = lg.coordinates("x")
    falling = lg.lower(lg.Lagrangian(x.dot**2 / 2, x ** sp.Rational(3, 2)))
    with pytest.raises(lg.IntegrationFailed) as stop:
        falling.integrate([1.0], [0.0], (0, 4), solver=Symplectic(0.01), points=41)
    path = stop.value.trajectory
    assert 1 < path.t[-1] < 3
    assert np.isfinite(path.q).all() and path[x].min() > 0
    assert path.steps == 10 * (len(path.t) - 1) + 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: lg.Lagrangian(x.dot**2 * y**2 + y.dot**2), "depends on `y`"),
        (lambda x, y: lg.Lagrangian(x.dot**2 * lg.time, x), "depends on `t"),
        (lambda x, y: lg.Lagrangian(x.dot**4, x), "depends on `x.dot`"),
        (
            lambda x, y: lg.Lagrangian(x.dot**2 + y.dot**2, x * y.dot - y * x.dot),
            "forces that depend on `x.dot`, `y.dot`",
        ),
        (lambda x, y: lg.Lagrangian(x.dot**2, x, damping=lg.time), "damped by"),
        (lambda x, y: lg.Lagrangian(x.dot**2, x, dissipation=x.dot**2), "beside"),
        (lambda x, y: lg.Lagrangian(x.dot**2, x, forces={x: -x}), "beside"),
    ],
)
def test_a_system_that_is_not_separable_is_refused(change, message):
    system = change(*lg.coordinates("x y"))
    flow, ones = lg.lower(system), np.ones(len(system.coordinates))
    with pytest.raises(lg.LagrangianError, match=message) as refusal:
        flow.integrate(ones, ones, (0, 1), solver=Symplectic(0.1))
    assert "lg.Variational" in str(refusal.value)


def test_constraints_and_blocks_are_refused():
    x, y = lg.coordinates("x y")
    system = lg.Lagrangian(x.dot**2 + y.dot**2, constraints=[x**2 + y**2 - 1])
    with pytest.raises(lg.LagrangianError, match=r"lg\.Rattle"):
        lg.lower(system).integrate([1, 0], [0, 1], (0, 1), solver=Symplectic(0.1))
    w = lg.blocks("w")
    flow = lg.lower(lg.Lagrangian(lg.Inner(w.dot, w.dot), lg.Inner(w, w)))
    with pytest.raises(lg.LagrangianError, match="scalar coordinates"):
        flow.integrate({w: np.ones(3)}, {w: np.ones(3)}, (0, 1), solver=Symplectic(0.1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 0.0}, "`step` is 0.0"),
        ({"step": 0.1, "order": 3}, "`order` is 3"),
        ({"step": 0.1, "weights": (0.2, 0.8)}, "same from both ends"),
        ({"step": 0.1, "weights": (0.5, 0.5, 0.5)}, "adds up to 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(lg.LagrangianError, match=message):
        Symplectic(**arguments)


@pytest.mark.parametrize("solver", [lg.Symplectic, lg.Variational])
def test_the_step_is_the_longest_one(solver):
    """Every output time ends a step, and `steps` says how many there were."""
    q = lg.coordinates("q")
    flow = lg.lower(lg.Lagrangian(q.dot**2 / 2, q**2 / 2))

    def steps(length, points):
        options = {"points": points, "solver": solver(length)}
        return flow.integrate([1.0], [0.0], (0, 6), **options).steps

    assert steps(6.0, 201) == 200
    assert steps(0.25, 2) == 24 and steps(0.25, 13) == 24 and steps(0.2, 13) == 36
