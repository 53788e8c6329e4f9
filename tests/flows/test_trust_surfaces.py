"""What is built on the flows' steps: sections, constraints, exponents, options."""

import math

import diffrax
import jax
import numpy as np
import pytest
import sympy as sp
from scipy.special import ellipk

import lagrangian as lg

from .trust import suite
from .trust.constrained import COUPLER, CRANK, FOLLOWER, GROUND
from .trust.drivers import has_option
from .trust.measure import compare

x, th = lg.coordinates("x theta")
G = 9.81
#: From level at rest to the bottom.
QUARTER = float(ellipk(0.5)) / math.sqrt(G)


def problem(name):
    return next(p for p in suite.problems() if p.name == name)


@pytest.fixture(scope="module")
def pendulum():
    return lg.lower(lg.Lagrangian(th.dot**2 / 2, -G * sp.cos(th)))


def test_a_free_particle_crosses_a_sine_as_often_as_it_has_zeros():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2))
    up = flow.section({x: 0.1}, {x: 1.0}, sp.sin(x), t=(0, 100))
    assert len(up.t) == 15
    assert up.t == pytest.approx(2 * np.pi * np.arange(1, 16) - 0.1, rel=1e-12)
    both = flow.section({x: 0.1}, {x: 1.0}, sp.sin(x), t=(0, 100), direction=0)
    assert len(both.t) == 31


@pytest.mark.parametrize("v, crossings", [(1000.0, 318), (1e-3, 0)])
def test_crossings_do_not_depend_on_how_fast_the_particle_is(v, crossings):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2))
    path = flow.section({x: 0.1}, {x: v}, sp.sin(x), t=(0, 1), direction=0)
    assert len(path.t) == crossings


@pytest.mark.parametrize("tol", [1e-6, 1e-9, 1e-12, 1e-14])
def test_a_level_pendulum_passes_the_bottom_at_odd_quarters(pendulum, tol):
    path = pendulum.section(
        {th: np.pi / 2}, {th: 0.0}, th, t=(0, 6 * QUARTER), direction=0, tol=tol
    )
    assert path.t / QUARTER == pytest.approx([1, 3, 5], rel=1000 * tol + 1e-13)


def test_a_flow_map_over_a_quarter_period_ends_at_the_bottom(pendulum):
    with jax.enable_x64(True):
        q, v = pendulum.flow_map(np.array([np.pi / 2]), np.zeros(1), (0.0, QUARTER))
    assert abs(float(q[0])) < 1e-10
    assert float(v[0]) == pytest.approx(-math.sqrt(2 * G), rel=1e-10)


def test_a_regular_motion_from_a_symmetric_start_has_no_exponents(pendulum):
    found = pendulum.lyapunov_exponents(
        {th: np.pi / 2}, {th: 0.0}, (0.0, 400.0), tol=1e-9
    )
    # The deviation grows linearly, whose exponent is log(t)/t.
    assert np.abs(found).max() < 0.05
    assert abs(found.sum()) < 1e-6


def test_members_of_an_ensemble_are_right_in_any_unit():
    duffing = problem("Duffing in SI")
    flow, case = duffing.lower(), duffing.cases[0]
    many = flow.ensemble(np.full((3, 1), 1e-9), np.zeros((3, 1)), case.times)
    states = np.concatenate([many.q[0], many.v[0]], axis=1)
    assert (many.status == 0).all()
    assert compare(states, suite.reference(case), 1e-6).word == "right"


def test_a_million_steps_are_not_spent_on_nothing():
    """A free particle needs few steps, however long its way."""
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2))
    path = flow.integrate({x: 0.0}, {x: 1.0}, (0, 1e9), max_steps=10_000)
    assert path.q[-1, 0] == pytest.approx(1e9, rel=1e-12)


# --- constraints ----------------------------------------------------------------------


def gaps(path):
    """How far the linkage's three bars are from their lengths."""
    ax, ay, bx, by = path.q.T
    lengths = [
        np.hypot(ax, ay) - CRANK,
        np.hypot(bx - ax, by - ay) - COUPLER,
        np.hypot(bx - GROUND, by) - FOLLOWER,
    ]
    return np.abs(lengths).max()


def test_a_linkage_stays_assembled_for_a_minute():
    linkage = problem("four-bar linkage")
    case = linkage.cases[0]
    path = linkage.lower().integrate(case.q, case.v, (0, 60), points=601)
    assert gaps(path) < 1e-12
    energy = path.energy if hasattr(path, "energy") else None
    assert energy is None or np.ptp(energy) < 1e-5 * np.abs(energy).max()


@pytest.mark.parametrize("end", [100.0, pytest.param(1e4, marks=pytest.mark.slow)])
def test_a_rod_keeps_its_length(end):
    pendulum = problem("Cartesian pendulum")
    case = next(c for c in pendulum.cases if c.label == "generic")
    path = pendulum.lower().integrate(case.q, case.v, (0, end), max_steps=10**7)
    assert np.abs(np.hypot(*path.q.T) - 1).max() < 1e-11
    assert np.abs((path.q * path.v).sum(axis=1)).max() < 1e-10


def test_a_start_beside_the_constraint_can_be_projected():
    pendulum = problem("Cartesian pendulum")
    flow = pendulum.lower()
    if not has_option(flow.integrate, "project"):
        pytest.skip("`integrate` does not know `project` yet")
    path = flow.integrate([0.61, -0.8], [0.8, 0.6], (0, 1), project=True)
    assert np.abs(np.hypot(*path.q.T) - 1).max() < 1e-12


# --- options --------------------------------------------------------------------------


def test_a_longest_step_is_kept_to_and_changes_nothing_right():
    case = problem("pulse at 15").cases[0]
    flow = case.problem.lower()
    if not has_option(flow.integrate, "max_step"):
        pytest.skip("`integrate` does not know `max_step` yet")
    path = flow.integrate(case.q, case.v, case.times, max_step=0.1)
    states = np.concatenate([path.q, path.v], axis=1)
    assert compare(states, suite.reference(case), 1e-9).word == "right"


def test_an_absolute_tolerance_frees_small_coordinates_from_digits():
    case = problem("pendulum").cases[0]
    flow = case.problem.lower()
    if not has_option(flow.integrate, "atol"):
        pytest.skip("`integrate` does not know `atol` yet")
    path = flow.integrate(case.q, case.v, case.times, tol=1e-9, atol=1e-12)
    states = np.concatenate([path.q, path.v], axis=1)
    assert compare(states, suite.reference(case), 1e-9).word == "right"


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Kvaerno5()])
def test_solvers_of_diffrax_keep_constraints_too(solver):
    x, y = lg.coordinates("x y")
    circle = x**2 + y**2 - 1
    hanging = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, G * y, constraints=[circle])
    path = lg.lower(hanging).integrate([0.6, -0.8], [0, 0], (0, 20), solver=solver)
    assert np.abs(path.evaluate(circle)).max() < 1e-14
    assert np.abs(path.evaluate(x * x.dot + y * y.dot)).max() < 1e-13
