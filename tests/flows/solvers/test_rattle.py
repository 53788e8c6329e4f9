"""RATTLE against angles: constraints at rounding, order, and structure."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.solvers.compositions import repeated
from lagrangian.flows.solvers.rattle import Rattle, constrained_trapezoidal
from lagrangian.flows.solvers.solver import reached
from lagrangian.flows.solvers.symplectic import Symplectic

x, y, z = lg.coordinates("x y z")


class RungeKutta:
    """The classical explicit method of order 4: the control that keeps no structure."""

    adaptive = False

    def __init__(self, step):
        self.step = step

    def solve(self, flow, q, v, times, demands):
        @jax.jit
        def advance(state, t, h, count):  # with LAPACK, which no single kernel takes
            return repeated(lambda x, t, h: runge_kutta_step(flow, x, t, h))(
                state, t, h, count
            )

        states = [jnp.stack([q, v])]
        for t, end in itertools.pairwise(times):
            count = round((end - t) / self.step)
            states.append(advance(states[-1], t, (end - t) / count, count))
        q, v = np.asarray(states).swapaxes(0, 1)
        return reached(times, q, v, None, 0, "")


def runge_kutta_step(flow, state, t, h):
    def field(state, t):
        return jnp.stack([state[1], flow.acceleration(*state, t)])

    a = field(state, t)
    b = field(state + h / 2 * a, t + h / 2)
    c = field(state + h / 2 * b, t + h / 2)
    d = field(state + h * c, t + h)
    return state + h / 6 * (a + 2 * b + 2 * c + d)


def on_a_circle(potential, metric=1, **others):
    """A bead of unit mass on the unit circle."""
    T = metric * (x.dot**2 + y.dot**2) / 2
    constraint = x**2 + y**2 - 1
    return lg.lower(lg.Lagrangian(T, potential, constraints=[constraint], **others))


def as_an_angle(potential, metric=1, **others):
    """The same in the angle from the x axis."""
    angle = lg.coordinates("angle")
    circle = {x: sp.cos(angle), y: sp.sin(angle)}
    T = sp.sympify(metric).xreplace(circle) * angle.dot**2 / 2
    return lg.lower(lg.Lagrangian(T, sp.sympify(potential).xreplace(circle), **others))


def circle_state(angle, speed):
    place = np.array([np.cos(angle), np.sin(angle)])
    return place, speed * np.array([-place[1], place[0]])


def spherical(tilt=0.0):
    """A spherical pendulum in Cartesian coordinates; a tilt breaks its symmetry."""
    T = (x.dot**2 + y.dot**2 + z.dot**2) / 2
    V = 9.81 * (z + tilt * x)
    return lg.lower(lg.Lagrangian(T, V, constraints=[x**2 + y**2 + z**2 - 1]))


SPHERE = np.array([0.6, 0.0, -0.8]), np.array([0.4, 1.5, 0.3])

CASES = {
    "a pendulum": (9.81 * y, 1, {}),
    "a metric": (y + x * y, 1 + x**2 / 2 + lg.time**2 / 4, {}),
    "damping": (3 * y, 1, {"damping": lg.time / 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_positions_agree_with_the_angle_to_order_2(case):
    potential, metric, others = CASES[case]
    flow = on_a_circle(potential, metric, **others)
    times = np.linspace(0, 2, 5)
    exact = as_an_angle(potential, metric, **others).integrate(
        [0.4], [1.2], times, tol=1e-14
    )
    expected = np.stack([np.cos(exact.q[:, 0]), np.sin(exact.q[:, 0])], -1)
    counts, errors = np.array([10, 20, 40, 80]), []
    for count in counts:
        path = flow.integrate(
            *circle_state(0.4, 1.2), times, solver=Rattle(0.5 / count)
        )
        assert path.steps == 4 * count
        errors.append(np.abs(path.q - expected).max())
    assert -np.polyfit(np.log(counts), np.log(errors), 1)[0] == pytest.approx(
        2, abs=0.1
    )
    assert errors[-1] < 1e-3


def test_friction_enters_by_the_same_rule():
    """Rayleigh's friction and a turning force, against the angle."""
    turning = {x: -y / 3, y: x / 3}
    flow = on_a_circle(2 * y, forces=turning, dissipation=(x.dot**2 + y.dot**2) / 8)
    (angle,) = as_an_angle(2 * y).lagrangian.coordinates
    exact = lg.lower(
        lg.Lagrangian(
            angle.dot**2 / 2,
            2 * sp.sin(angle),
            forces={angle: sp.Rational(1, 3)},
            dissipation=angle.dot**2 / 8,
        )
    ).integrate([0.4], [1.2], (0, 2), tol=1e-14, points=2)
    end = np.array([np.cos(exact.q[-1, 0]), np.sin(exact.q[-1, 0])])
    errors = [
        np.abs(
            flow.integrate(
                *circle_state(0.4, 1.2), (0, 2), solver=Rattle(step), points=2
            ).q[-1]
            - end
        ).max()
        for step in (0.02, 0.01)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def residuals(path, constraint, velocity_level):
    return [np.abs(path.evaluate(e)).max() for e in (constraint, velocity_level)]


def test_constraints_hold_at_rounding_in_every_step_and_those_of_runge_kutta_drift():
    flow, constraint = spherical(), x**2 + y**2 + z**2 - 1
    level = x * x.dot + y * y.dot + z * z.dot
    times = np.arange(3001) * 0.01  # an output after each step
    kept = flow.integrate(*SPHERE, times, solver=Rattle(0.01))
    assert kept.steps == 3000
    position, velocity = residuals(kept, constraint, level)
    assert position < 1e-15
    assert velocity < 4e-15  # speeds are up to 4
    drifting = flow.integrate(*SPHERE, times, solver=RungeKutta(0.01))
    assert min(residuals(drifting, constraint, level)) > 1e-9


def test_several_constraints_and_one_that_moves():
    """A double pendulum whose support swings, in four Cartesian coordinates."""
    X, Y = lg.coordinates("X Y")
    T = (x.dot**2 + y.dot**2 + X.dot**2 + Y.dot**2) / 2
    V = 9.81 * (y + Y)
    support = sp.sin(lg.time) / 5
    held = [(x - support) ** 2 + y**2 - 1, (X - x) ** 2 + (Y - y) ** 2 - 1]
    flow = lg.lower(lg.Lagrangian(T, V, constraints=held, coordinates=(x, y, X, Y)))
    start = [1.0, 0.0, 1.0, -1.0], [0.2, 0.0, 0.2, 0.0]

    a, b = lg.coordinates("a b")  # angles from the vertical
    at = {x: support + sp.sin(a), y: -sp.cos(a)}
    at |= {X: at[x] + sp.sin(b), Y: at[y] - sp.cos(b)}
    kinetic = sum(lg.total_derivative(at[c]) ** 2 for c in (x, y, X, Y)) / 2
    exact = lg.lower(lg.Lagrangian(kinetic, V.xreplace(at))).integrate(
        [np.pi / 2, 0.0], [0.0, 0.0], (0, 1), tol=1e-13, points=3
    )
    expected = np.stack([exact.evaluate(at[c]) for c in (x, y, X, Y)], -1)
    errors = []
    for step in (0.01, 0.005):
        path = flow.integrate(*start, (0, 1), solver=Rattle(step), points=3)
        errors.append(np.abs(path.q - expected).max())
        for part in (*held, *flow.lagrangian.constraints.velocity_level):
            assert np.abs(path.evaluate(part)).max() < 1e-14
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_it_is_verlet_where_the_constraint_does_nothing():
    """A constraint on a coordinate of its own leaves the others to Stoermer-Verlet."""
    V = x**4 / 4 + x**2 * y**2 / 2
    T = (x.dot**2 + y.dot**2) / 2
    free = lg.lower(lg.Lagrangian(T, V))
    held = lg.lower(lg.Lagrangian(T + z.dot**2 / 2, V, constraints=[z + z**3]))
    h, (q, v) = 0.1, (np.array([0.5, 0.3]), np.array([0.2, 0.7]))
    path = held.integrate([*q, 0], [*v, 0], (0, 20 * h), solver=Rattle(h), points=21)

    def force(q):
        return -np.array([q[0] ** 3 + q[0] * q[1] ** 2, q[0] ** 2 * q[1]])

    for k in range(20):  # kick, drift, kick
        v = v + h / 2 * force(q)
        q = q + h * v
        v = v + h / 2 * force(q)
        np.testing.assert_allclose(path.q[k + 1, :2], q, atol=1e-14)
        np.testing.assert_allclose(path.v[k + 1, :2], v, atol=1e-14)
    other = free.integrate(
        path.q[0, :2], path.v[0, :2], (0, 2), solver=Symplectic(h, 2)
    )
    assert np.abs(other.q[-1] - q).max() < 0.01  # its sibling, drift, kick, drift


def pulled_back_defect(step):
    """max |J^T Omega J - Omega| from the sphere's angles and momenta to (q, v)."""

    def state(s):
        a, b, pa, pb = s
        q = [jnp.sin(a) * jnp.cos(b), jnp.sin(a) * jnp.sin(b), jnp.cos(a)]
        along_a = [jnp.cos(a) * jnp.cos(b), jnp.cos(a) * jnp.sin(b), -jnp.sin(a)]
        along_b = [-jnp.sin(a) * jnp.sin(b), jnp.sin(a) * jnp.cos(b), 0 * a]
        v = pa * jnp.stack(along_a) + pb / jnp.sin(a) ** 2 * jnp.stack(along_b)
        return jnp.stack(q), v

    def omega(n):
        zero, one = np.zeros((n, n)), np.eye(n)
        return np.block([[zero, one], [-one, zero]])

    states = np.random.default_rng(0).uniform(0.6, 1.6, (20, 4))
    jacobian = jax.jacfwd(lambda s: jnp.concatenate(step(*state(s))))
    jacobians = np.asarray(jax.jit(jax.vmap(jacobian))(jnp.asarray(states)))
    defects = np.abs(jacobians.mT @ omega(3) @ jacobians - omega(2)).max(axis=(1, 2))
    return (defects / np.linalg.norm(jacobians, axis=(1, 2)) ** 2).max()


def test_the_step_is_symplectic_on_the_constraint():
    with jax.enable_x64(True):
        method = constrained_trapezoidal(spherical(tilt=0.3))

        def step(q, v):
            return method.advance(method.start(q, v, 0.0), 0.0, 0.1, 1)[:2]

        assert pulled_back_defect(step) < 2e-15


def test_a_step_of_runge_kutta_is_not_symplectic_on_the_constraint():
    with jax.enable_x64(True):
        flow = spherical(tilt=0.3)

        def step(q, v):
            return tuple(runge_kutta_step(flow, jnp.stack([q, v]), 0.0, 0.1))

        assert pulled_back_defect(step) > 1e-6


def test_a_path_can_be_walked_back():
    flow = spherical()
    missed = []
    for solver in (Rattle(0.02), RungeKutta(0.02)):
        path = flow.integrate(*SPHERE, (0, 3), solver=solver, points=2)
        back = path.q[-1], -path.v[-1]
        if solver.__class__ is RungeKutta:  # back onto the constraint that it has left
            q = back[0] / np.linalg.norm(back[0])
            back = q, back[1] - q * (q @ back[1])
        back = flow.integrate(*back, (0, 3), solver=solver, points=2)
        missed.append(np.abs([back.q[-1] - SPHERE[0], back.v[-1] + SPHERE[1]]).max())
    symmetric, control = missed
    assert symmetric < 1e-12
    assert control > 1e-7


def test_the_momentum_about_the_vertical_stays_until_the_symmetry_is_broken():
    drift = {}
    for tilt in (0.0, 1e-4):
        path = spherical(tilt).integrate(*SPHERE, (0, 100), solver=Rattle(0.02))
        drift[tilt] = np.ptp(path.evaluate(x * y.dot - y * x.dot))
    assert drift[0.0] < 5e-14  # 5,000 steps
    assert drift[1e-4] > 1e-5


def test_the_energy_error_does_not_grow_in_a_million_steps():
    """On a circle, where a run of a million steps takes two seconds."""
    flow = on_a_circle(9.81 * y)
    growth = []
    for solver, end in ((Rattle(0.02), 20_000), (RungeKutta(0.02), 100)):
        path = flow.integrate(
            *circle_state(0.4, 1.2), (0, end), solver=solver, points=2001
        )
        error = np.abs(path.energy - path.energy[0])
        growth.append(error[-200:].max() / error[:200].max())
        if solver.__class__ is Rattle:
            assert path.steps == 1_000_000
            assert np.abs(path.evaluate(x**2 + y**2 - 1)).max() < 1e-15
    kept, control = growth
    assert kept < 1.1
    assert control > 3


def test_a_step_without_a_solution_ends_the_path():
    """A bead on a wire that ends: at the tip the constraint has no next point."""
    flow = lg.lower(
        lg.Lagrangian((x.dot**2 + y.dot**2) / 2, 0, constraints=[y - sp.sqrt(1 - x)])
    )
    with pytest.raises(lg.IntegrationFailed) as stop:
        flow.integrate([0.0, 1.0], [1.0, -0.5], (0, 5), solver=Rattle(0.01), points=51)
    path = stop.value.trajectory
    assert 0.5 < path.t[-1] < 2
    assert (path[x] < 1).all()


@pytest.mark.parametrize(
    ("constraints", "message"),
    [([], r"lg\.Symplectic"), ([x.dot - y], "contains `x.dot`")],
)
def test_other_constraints_are_refused(constraints, message):
    T = (x.dot**2 + y.dot**2) / 2
    flow = lg.lower(lg.Lagrangian(T, constraints=constraints))
    with pytest.raises(lg.LagrangianError, match=message):
        flow.integrate([1.0, 0.0], [0.0, 1.0], (0, 1), solver=Rattle(0.1))


def test_a_step_that_is_not_positive_is_refused():
    with pytest.raises(lg.LagrangianError, match="`step` is 0"):
        Rattle(0)
