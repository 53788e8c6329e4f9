"""The Taylor solver: accuracy, order, dense output, long times, failures."""

import diffrax
import jax
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import lagrangian as lg
from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows import structure
from lagrangian.flows.solvers import taylor, taylor_native
from lagrangian.flows.solvers.dormand_prince import DormandPrince
from lagrangian.flows.solvers.taylor import Taylor
from lagrangian.systems.mechanics import SYSTEMS

x, y = lg.coordinates("x y")
k = sp.Symbol("k", positive=True)

OSCILLATOR = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2))
KEPLER = lg.lower(
    lg.Lagrangian((x.dot**2 + y.dot**2) / 2, -1 / sp.sqrt(x**2 + y**2)), {}
)


def kepler_start(e):
    return [1 - e, 0.0], [0.0, np.sqrt((1 + e) / (1 - e))]


def double_pendulum():
    system = SYSTEMS["double-pendulum"]()
    flow = lg.lower(system.lagrangian, system.parameters)
    return flow, list(system.positions.values()), list(system.velocities.values())


@pytest.mark.parametrize("tol", [1e-6, 1e-9, 1e-12, 1e-15])
def test_the_error_follows_the_tolerance(tol):
    path = OSCILLATOR.integrate([1.0], [0.0], (0, 20), tol=tol, solver=Taylor())
    error = np.abs(path[x] - np.cos(path.t)).max()
    assert error < 50 * tol


def test_it_agrees_with_scipy_on_a_chaotic_system():
    flow, q0, v0 = double_pendulum()

    def field(t, state):
        with jax.enable_x64(True):
            return np.concatenate([state[2:], flow.acceleration(state[:2], state[2:])])

    times = np.linspace(0, 3, 7)
    path = flow.integrate(q0, v0, times, tol=1e-14, solver=Taylor())
    reference = solve_ivp(
        field, (0, 3), [*q0, *v0], "DOP853", times, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(path.q, reference.y[:2].T, atol=2e-10)


@pytest.mark.parametrize(("order", "finest"), [(4, 1e-8), (6, 1e-9), (8, 1e-12)])
def test_a_step_of_order_p_errs_by_its_power(order, finest):
    # Where steps are short: sixty of order 8 and more on this orbit.
    tolerances = np.geomspace(1e4 * finest, finest, 9)
    q0, v0 = kepler_start(0.3)
    errors, steps = [], []
    for tol in tolerances:
        path = KEPLER.integrate(
            q0, v0, (0, 2 * np.pi), tol=tol, solver=Taylor(order), points=2
        )
        errors.append(np.abs(path.q[-1] - q0).max())
        steps.append(path.steps)
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.35)


def test_between_the_steps_it_is_as_accurate_as_at_their_ends():
    q0, v0 = kepler_start(0.6)
    path = KEPLER.integrate(q0, v0, (0, 2 * np.pi), tol=1e-13, points=1001)
    assert path.steps < 200
    assert path.energy_drift < 1e-13


def test_a_thousand_periods_lose_no_digits():
    q0, v0 = kepler_start(0.6)
    path = KEPLER.integrate(q0, v0, (0, 2000 * np.pi), tol=1e-15, solver=Taylor())
    assert path.energy_drift < 2e-14
    # The phase runs ahead by 3/2 of the energy's relative error, at speed 2.
    assert np.abs(path.q[-1] - q0).max() < 3 * path.t[-1] * 2e-14 * 3 / 2


def test_forces_damping_and_explicit_time():
    flow = lg.lower(
        lg.Lagrangian(x.dot**2 / 2, k * x**2 / 2, damping=lg.time / 5), {k: 4.0}
    )
    path = flow.integrate([1.0], [0.0], (0, 10), tol=1e-13, solver=Taylor())
    other = flow.integrate(
        [1.0], [0.0], (0, 10), tol=1e-12, solver=diffrax.Dopri8(), max_steps=100_000
    )
    np.testing.assert_allclose(path.q, other.q, atol=1e-11)


def test_constraints_are_part_of_the_series():
    a = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y, constraints=[x**2 + y**2 - 1])
    flow = lg.lower(a)
    start = [np.sin(1.0), -np.cos(1.0)]
    path = flow.integrate(start, [0, 0], (0, 5), tol=1e-14, solver=Taylor())
    theta = lg.coordinates("theta")
    angle = lg.lower(lg.Lagrangian(theta.dot**2 / 2, -sp.cos(theta))).integrate(
        [1.0], [0.0], (0, 5), tol=1e-14
    )
    np.testing.assert_allclose(path[x], np.sin(angle[theta]), atol=1e-11)


def test_a_free_particle_takes_few_steps():
    """Its series says nothing of what may lie ahead: 256 steps look around."""
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.S.Zero, coordinates=[x]))
    path = flow.integrate([1.0], [2.0], (0, 1e6), solver=Taylor())
    assert path.steps < 300
    np.testing.assert_allclose(path[x][-1], 1 + 2e6, rtol=1e-15)


def test_smooth_scalars_take_taylor_by_default_and_kinks_do_not():
    assert isinstance(OSCILLATOR.default_solver(), Taylor)
    kink = lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.Piecewise((x**2, x > 0), (0, True))))
    assert isinstance(kink.default_solver(), DormandPrince)
    assert kink.integrate([1.0], [0.0], (0, 1)).t[-1] == 1


def test_a_singularity_keeps_the_path_until_then():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -1 / x))
    with pytest.raises(IntegrationFailed) as caught:
        flow.integrate([1.0], [0.0], (0, 10), solver=Taylor())
    path = caught.value.trajectory
    fall = np.pi / np.sqrt(8)  # the time of fall into the centre from rest
    assert fall - 0.06 < path.t[-1] < fall
    assert np.isfinite(path.q).all()


def test_the_limit_on_steps_is_kept():
    with pytest.raises(IntegrationFailed, match="after 5 steps"):
        OSCILLATOR.integrate([1.0], [0.0], (0, 100), solver=Taylor(), max_steps=5)


def programs():
    """How many programs have been compiled, by XLA and by LLVM."""
    return structure._run._cache_size() + taylor_native._kept_steps.cache_info().misses


def test_a_second_call_compiles_nothing():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**4 / 4))
    flow.integrate([1.0], [0.0], (0, 1))
    compiled = programs()
    flow.integrate([2.0], [0.5], (3, 9))
    assert programs() == compiled


def test_other_parameters_and_a_flow_made_anew_compile_nothing():
    k = sp.Symbol("k")

    def flow(value):
        return lg.lower(lg.Lagrangian(x.dot**2 / 2, k * x**4 / 4), {k: value})

    first = flow(1.0)
    before = first.integrate([1.0], [0.0], (0, 1))
    compiled = programs()
    again = flow(1.0).integrate([1.0], [0.0], (0, 1))
    stiffer = first.with_parameters({k: 4.0}).integrate([1.0], [0.0], (0, 1))
    assert programs() == compiled
    np.testing.assert_array_equal(again.q, before.q)
    assert stiffer.q[-1] < before.q[-1]


def test_any_time_of_a_path_to_the_accuracy_of_its_steps():
    q0, v0 = kepler_start(0.5)
    path = KEPLER.integrate(q0, v0, (0, 10), tol=1e-14, points=8)
    times = np.sort(np.random.default_rng(0).uniform(0, 10, 40))
    fine = KEPLER.integrate(q0, v0, [0.0, *times], tol=1e-14)
    between = path.at(times)
    np.testing.assert_allclose(between.q, fine.q[1:], atol=1e-12)
    np.testing.assert_allclose(between[x.dot], fine[x.dot][1:], atol=1e-12)
    np.testing.assert_array_equal(path.at(path.t).q, path.q)
    with pytest.raises(LagrangianError, match="where the path is known"):
        path.at([11.0])


def test_long_paths_are_computed_in_segments_without_a_seam(monkeypatch):
    q0, v0 = kepler_start(0.5)
    whole = KEPLER.integrate(q0, v0, (0, 50), tol=1e-12)
    monkeypatch.setattr(taylor, "_SEGMENT", 7)
    pieces = KEPLER.integrate(q0, v0, (0, 50), tol=1e-12)
    np.testing.assert_array_equal(whole.q, pieces.q)
    assert whole.steps == pieces.steps > 21


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_each_coordinate_is_as_accurate_as_its_own_size_allows(scale):
    """A slow oscillation of `scale` metres beside a fast one of 1 rad."""
    flow = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, x**2 / 2 + 50 * y**2))
    path = flow.integrate([scale, 1.0], [0.0, 0.0], (0, 20), tol=1e-12)
    np.testing.assert_allclose(path[y], np.cos(10 * path.t), atol=1e-12)


def test_a_mass_matrix_with_zeros_on_its_diagonal():
    flow = lg.lower(lg.Lagrangian(x.dot * y.dot, x * y))  # two oscillators
    path = flow.integrate([1.0, 0.5], [0.0, 0.0], (0, 3), tol=1e-14)
    np.testing.assert_allclose(path[x], np.cos(path.t), atol=1e-13)
    np.testing.assert_allclose(path[y], np.cos(path.t) / 2, atol=1e-13)


@pytest.mark.parametrize("order", [1, 0, -3, 2.5, "high"])
def test_an_order_that_is_none_is_named(order):
    with pytest.raises(LagrangianError, match="`order` is"):
        Taylor(order)


@pytest.mark.parametrize("values", [{}, {k: 1.0}], ids=["numbers", "parameter"])
def test_dozens_of_coupled_coordinates(values):
    """The tables of so many would break XLA's compiler if they were constants."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(40)))
    stiffness = k if values else 1
    springs = sum((a - b) ** 2 for a, b in zip(q, q[1:], strict=False)) / 2
    system = lg.Lagrangian(sum(a.dot**2 for a in q) / 2, stiffness * springs)
    ring = np.cos(np.pi * (np.arange(40) + 0.5) / 40)  # a normal mode of free ends
    omega = 2 * np.sin(np.pi / 80)
    path = lg.lower(system, values).integrate(ring, 0 * ring, (0, 50), tol=1e-12)
    np.testing.assert_allclose(path.q[-1], ring * np.cos(omega * 50), atol=1e-10)
