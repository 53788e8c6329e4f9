"""Forces that jump: dry friction as the motion turns, and what is switched on."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.flows.guard import Seen
from lagrangian.flows.solvers.dormand_prince import DormandPrince

x = lg.coordinates("x")
R, T0, F = sp.symbols("R T0 F", positive=True)
T, V = x.dot**2 / 2, x**2 / 2
DRY = lg.Lagrangian(T, V, dissipation=R * sp.Abs(x.dot))
SWITCHED = {
    "a force": lg.Lagrangian(T, V, forces={x: F * sp.Heaviside(lg.time - T0)}),
    "a potential": lg.Lagrangian(T, V - F * x * sp.Heaviside(lg.time - T0)),
    "pieces": lg.Lagrangian(T, V - x * sp.Piecewise((0, lg.time < T0), (F, True))),
}


def dry(t, start, friction):
    """The oscillator from rest, which loses 2 R of its amplitude at every turn."""
    half = np.floor(t / np.pi)
    amplitude = start - friction - 2 * friction * half
    return (-1) ** half * friction + amplitude * np.cos(t)


def switched(t, start, at, force):
    on = np.clip(t - at, 0, None)
    return start * np.cos(t) + force * (1 - np.cos(on))


@pytest.mark.parametrize("tol", [1e-6, 1e-9, 1e-12])
def test_dry_friction_turns_with_the_motion(tol):
    times = np.linspace(0, 15, 61)
    path = lg.lower(DRY, {R: 0.1}).integrate([1.0], [0.0], times, tol=tol)
    assert np.abs(path[x] - dry(times, 1.0, 0.1)).max() < 100 * tol


def test_dry_friction_that_holds_is_refused_by_name():
    flow = lg.lower(DRY, {R: 0.1})
    with pytest.raises(lg.IntegrationFailed, match="dry friction") as caught:
        flow.integrate([1.0], [0.0], (0, 20))
    reached = caught.value.trajectory
    assert 15.5 < reached.t[-1] <= 5 * np.pi
    assert np.abs(reached[x] - dry(reached.t, 1.0, 0.1)).max() < 1e-7


def test_an_ensemble_marks_the_members_that_are_held():
    flow = lg.lower(DRY, {R: 0.1})
    starts = np.array([[1.0], [3.0]])
    found = flow.ensemble(starts, np.zeros((1, 1)), (0, 20), tol=1e-9, progress=False)
    assert list(found.failures) == [0]
    assert "dry friction" in found.failures[0]
    assert abs(found.q[1, -1, 0] - dry(20, 3.0, 0.1)) < 1e-7


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("form", SWITCHED)
@pytest.mark.parametrize("times", [(0, 10), (0, 5, 10), (0, 4.9, 10)])
def test_what_is_switched_on_is_felt_from_then_on(form, start, times):
    flow = lg.lower(SWITCHED[form], {T0: 5.0, F: 1.0})
    path = flow.integrate([start], [0.0], times, tol=1e-10)
    assert np.abs(path[x] - switched(path.t, start, 5.0, 1.0)).max() < 1e-8


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(sorted(SWITCHED)),
    start=st.sampled_from([0.0, 1.0, -0.1]),
    at=st.floats(0.0, 20.0),
    force=st.floats(1e-3, 1e3),
    tol=st.sampled_from([1e-6, 1e-9, 1e-12]),
)
def test_right_whenever_and_however_strong(form, start, at, force, tol):
    times = np.linspace(0, 25, 26)
    flow = lg.lower(SWITCHED[form], {T0: at, F: force})
    path = flow.integrate([start], [0.0], times, tol=tol)
    true = switched(times, start, at, force)
    scale = max(force, abs(start))
    assert np.abs(path[x] - true).max() < 200 * max(tol, 1e-14) * scale


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_units_of_time_make_no_difference(unit):
    k = sp.Symbol("k", positive=True)
    force = k * sp.Heaviside(lg.time - T0)
    flow = lg.lower(
        lg.Lagrangian(T, k * V, forces={x: force}), {k: unit**-2, T0: 5 * unit}
    )
    path = flow.integrate([0.0], [0.0], np.array([0, 7, 10]) * unit, tol=1e-9)
    np.testing.assert_allclose(path[x], [0, 1 - np.cos(2), 1 - np.cos(5)], atol=1e-7)


def test_a_spring_that_becomes_stiffer():
    stiffer = 1 + 3 * sp.Heaviside(lg.time - T0)
    flow = lg.lower(lg.Lagrangian(T, V * stiffer), {T0: 5.0})
    path = flow.integrate([1.0], [0.0], (0, 10), tol=1e-10)
    q, v = np.cos(5), -np.sin(5)
    assert abs(path[x][-1] - (q * np.cos(10) + v / 2 * np.sin(10))) < 1e-8


def test_the_guard_still_sees_a_wrong_path():
    flow = lg.lower(SWITCHED["a potential"], {T0: 5.0, F: 1.0})
    guard = flow.guard()
    t = np.linspace(0, 10, 101)
    q = switched(t, 1.0, 5.0, 1.0)[:, None]
    v = (-np.sin(t) + np.sin(np.clip(t - 5, 0, None)))[:, None]
    work = (q[:, 0] - q[50, 0]) * (t >= 5)
    assert guard.broken(flow, Seen(t, q, v, work[:, None]), 1e-9, 100) is None
    v[70:] *= 1.001
    broken = guard.broken(flow, Seen(t, q, v, work[:, None]), 1e-9, 100)
    assert broken is not None
    assert broken.index == 70


SINGULAR = {
    "1/x": -1 / x,
    "1/|x|": -1 / sp.Abs(x),
    "1/x^2": -1 / x**2,
    "log": sp.log(sp.Abs(x)),
    "1/sqrt": -1 / sp.sqrt(sp.Abs(x)),
    "escape": -(x**4),
    "|x|^(1/10)": sp.Abs(x) ** sp.Rational(1, 10),
    "a pole in time": -x / (lg.time - 3),
}


@pytest.mark.parametrize("tol", [1e-6, 1e-12])
@pytest.mark.parametrize("form", SINGULAR)
def test_singularities_are_no_jumps(form, tol):
    flow = lg.lower(lg.Lagrangian(T, SINGULAR[form]), {})
    with pytest.raises(lg.IntegrationFailed, match="singularity"):
        flow.integrate([1.0], [0.0], (0, 5), solver=DormandPrince(), tol=tol)
