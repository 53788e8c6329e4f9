"""Paths that break the balance of a law are not returned."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.ensembles.ensemble import BROKEN
from lagrangian.flows.guard import Guard, Seen
from lagrangian.flows.solvers.solver import reached
from lagrangian.flows.solvers.taylor import Taylor

x, y = lg.coordinates("x y")
PLANE = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + y**2) / 2)
ROTATION = lg.Rotation(x, y)


@dataclass(frozen=True)
class Jolted:
    """A right path, but for a velocity that jumps by a share at one time."""

    share: float
    since: float = 3.0
    adaptive: ClassVar[bool] = True

    def solve(self, flow, q, v, times, demands):
        found = Taylor().solve(flow, q, v, times, demands)
        late = found.t > self.since
        v = np.where(late[:, None], found.v * (1 + self.share), found.v)
        return reached(found.t, found.q, v, found.integrals, found.steps, "")


def start(flow, **options):
    return flow.integrate([1.0, 0.0], [0.0, 0.5], (0, 10), tol=1e-10, **options)


def test_a_broken_energy_is_refused_with_its_time_and_the_path_until_then():
    flow = lg.lower(PLANE)
    with pytest.raises(lg.IntegrationFailed, match="balance of the energy") as caught:
        start(flow, solver=Jolted(1e-5))
    path = caught.value.trajectory
    assert path.t[-1] == 3.0
    assert path.energy_drift < 1e-9
    assert len(start(flow, solver=Jolted(0.0)).t) == 201


def test_it_is_as_fine_as_the_tolerance():
    flow = lg.lower(PLANE)
    with pytest.raises(lg.IntegrationFailed):
        start(flow, solver=Jolted(1e-7))
    start(flow, solver=Jolted(1e-13))  # less than the errors that steps may make


@pytest.mark.parametrize(
    "system",
    [
        lg.Lagrangian(x.dot**2 / 2, x**2 / 2, dissipation=x.dot**2 / 20),
        lg.Lagrangian(x.dot**2 / 2, x**2 / 2, damping=lg.time / 10),
        lg.Lagrangian(x.dot**2 / 2, x**2 / 2 - x * sp.sin(3 * lg.time)),
        lg.Lagrangian(x.dot**2 / 2, x**2 / 2, forces={x: sp.cos(lg.time) * x}),
        lg.Lagrangian(
            (x.dot**2 + y.dot**2) / 2,
            9.81 * y,
            constraints=[x**2 + (y - sp.sin(5 * lg.time) / 10) ** 2 - 1],
        ),
    ],
    ids=["friction", "damping", "drive", "force", "moving constraint"],
)
def test_what_moves_the_energy_is_followed(system, monkeypatch):
    n = len(system.coordinates)
    state = [1.0, 0.0][:n], [0.1, 0.0][:n]
    options = {"tol": 1e-11, "project": n == 2} if n == 2 else {"tol": 1e-11}
    lg.lower(system).integrate(*state, (0, 10), **options)
    # Without the integral of the power the same path breaks its balance.
    flow = lg.lower(system)
    guard = flow.guard()
    guard.balances = [b._replace(rate=sp.S.Zero) for b in guard.balances]
    guard.rates = ()
    with pytest.raises(lg.IntegrationFailed, match="energy"):
        flow.integrate(*state, (0, 10), **options)


def test_laws_of_the_user_are_guarded_too():
    law = lg.noether(PLANE, ROTATION)
    start(lg.lower(PLANE), laws=[law])
    # The energy is kept by an anisotropic potential, the spin is not.
    uneven = lg.Lagrangian(PLANE.T, x**2 / 2 + y**2)
    start(lg.lower(uneven), laws=[lg.noether(uneven, ROTATION)])
    with pytest.raises(lg.IntegrationFailed, match="rotation"):
        start(lg.lower(uneven), laws=[law])


@pytest.mark.parametrize(
    ("laws", "message"),
    [(["energy"], "`laws` has 'energy'"), ([lg.noether(PLANE, ROTATION)], "does not")],
)
def test_what_is_no_law_here_is_named(laws, message):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2))
    with pytest.raises(lg.LagrangianError, match=message):
        flow.integrate([1.0], [0.0], (0, 1), laws=laws)


def test_members_that_break_a_balance_are_marked_and_the_others_are_not():
    flow = lg.lower(PLANE)
    q = np.array([[1.0, 0.0], [1.0, 1.0], [0.5, 0.0]])
    v = np.array([[0.0, 1.0], [-1.0, 1.0], [0.0, 0.2]])
    uneven = lg.Lagrangian(PLANE.T, x**2 / 2 + (1 + (x - y) ** 2) * y**2 / 2)
    law = lg.noether(PLANE, ROTATION)
    good = flow.ensemble(q, v, (0, 1, 2, 3), tol=1e-9, laws=[law])
    assert not good.failures
    bad = lg.lower(uneven).ensemble(
        np.vstack([q, [[0.0, 0.0]]]), np.vstack([v, [[0.0, 0.0]]]), (0, 1, 2, 3),
        tol=1e-9, laws=[law],
    )  # fmt: skip
    assert bad.status.tolist() == [BROKEN] * 3 + [0]
    assert "balance" in bad.failures[0]
    assert np.isnan(bad.q[0, 1:]).all() and np.isfinite(bad.q[3]).all()


def test_a_flow_map_that_breaks_its_balance_is_nan(monkeypatch):
    flow = lg.lower(PLANE)
    with jax.enable_x64(True):
        state = np.array([1.0, 0.0]), np.array([0.0, 0.5])
        assert np.isfinite(flow.flow_map(*state, (0.0, 2.0))).all()
        monkeypatch.setattr(Guard, "kept", lambda *_: np.bool_(False))
        assert np.isnan(flow.flow_map(*state, (0.0, 2.0), tol=3e-11)).all()


def test_fixed_steps_are_refused_only_where_they_are_no_motion():
    flow = lg.lower(PLANE)
    rough = start(flow, solver=lg.Symplectic(0.3, order=2), points=11)
    assert rough.energy_drift > 1e-4
    with pytest.raises(lg.IntegrationFailed, match="energy"):
        start(flow, solver=lg.Symplectic(5.0, order=2), points=3)


def test_rates_that_outrun_the_motion_lead_the_steps():
    """A pulse in L that moves nothing, and a law whose charge waves along the path."""
    t = lg.time
    waving = lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + sp.sin(50 * t))
    pulse = lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + sp.exp(-(((t - 3) * 100) ** 2)))
    for system in (waving, pulse):
        path = lg.lower(system).integrate([1.0], [0.0], (0, 10))
        np.testing.assert_allclose(path.q[:, 0], np.cos(path.t), atol=1e-8)
    free = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    waves = lg.noether(free, lg.Symmetry({x: sp.sin(50 * x)}))
    assert waves.rate != 0
    lg.lower(free).integrate([1.0], [0.0], (0, 10), laws=[waves])


@pytest.mark.parametrize(
    "potential",
    [
        sp.erf(x) ** 2,
        sp.Piecewise((x**2 / 2, x < 0), (x**2, True)),
        sp.Max(x, x / 2) ** 2,
    ],
)
def test_energies_that_numpy_cannot_compute_are_kept_by_many_members(potential):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, potential))
    q0, times = np.linspace(-1.0, 1.5, 5), (0.0, 0.5, 1.0, 2.0)
    many = flow.ensemble({x: q0}, {x: 0.3}, times, progress=False)
    assert not many.failures
    for q, path in zip(q0, many[x], strict=True):
        alone = flow.integrate({x: q}, {x: 0.3}, times)
        np.testing.assert_allclose(path, alone[x], rtol=1e-5, atol=1e-6)


def test_a_member_off_an_energy_that_numpy_cannot_compute_is_found():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.erf(x) ** 2))
    q = np.array([[[0.5], [0.5]], [[0.5], [0.5]]])  # times, members, coordinates
    v = np.array([[[1.0], [1.0]], [[1.0], [1.1]]])
    t = np.array([[0.0, 0.0], [1.0, 1.0]])
    [(_, missed, allowed)] = flow.guard().missed(
        flow, Seen(t, q, v, None), 1e-9, np.array([10, 10])
    )
    assert (missed <= allowed).tolist() == [[True, True], [True, False]]
