"""Field theories by the method of lines, against closed forms and their charges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.fields.field_flow import FieldFlow
from lagrangian.symbolic.algebra.coordinates import time

TURN = 2 * np.pi
phi, chi = lg.fields("phi chi", over="t x")
t, x = phi.over
psi = lg.fields("psi", over="t x", complex=True)
u = lg.fields("u", over="t x y")
m, c, g = sp.symbols("m c g", positive=True)

WAVE = lg.FieldTheory((phi.d("t") ** 2 - c**2 * phi.d("x") ** 2) / 2)
KLEIN_GORDON = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2 - m**2 * phi**2) / 2)
SINE_GORDON = lg.FieldTheory(
    (phi.d("t") ** 2 - phi.d("x") ** 2) / 2 - (1 - sp.cos(phi))
)


def modulus(z):
    return z * sp.conjugate(z)


COMPLEX = modulus(psi.d("t")) - modulus(psi.d("x")) - m**2 * modulus(psi)
QUARTIC = lg.FieldTheory(COMPLEX - g * modulus(psi) ** 2)
PHASE = {psi: sp.I * psi}
START = (
    {psi: lambda x: np.exp(np.cos(x)) + 1j * np.sin(x)},
    {psi: lambda x: 1j * np.exp(np.sin(x)) - 0.3 * np.cos(x)},
)


# ------------------------------------------------------------------ closed forms


def current(theory, xi, tau=0):
    return lg.noether(theory, lg.Symmetry(xi, tau))


def test_a_wave_is_that_of_d_alembert():
    """Half of the start runs to the right and half to the left."""

    def bump(x):
        return np.exp(3 * np.cos(x))

    flow = lg.lower(WAVE, {c: 2.0}, interval=(0, TURN), points=65)
    path = flow.integrate({phi: bump}, {phi: 0.0}, t=(0, 5), tol=1e-12)
    X, when = flow.domain.grid[x], path.t[:, None]
    expected = (bump(X - 2 * when) + bump(X + 2 * when)) / 2
    np.testing.assert_allclose(path[phi], expected, atol=1e-9)
    assert path.energy_drift < 1e-11


@pytest.mark.parametrize("k", [0, 1, 5])
@pytest.mark.parametrize("mass", [0.7, 2.0])
def test_the_dispersion_relation_of_klein_gordon(k, mass):
    flow = lg.lower(KLEIN_GORDON, {m: mass}, interval=(-1.0, 3.0), points=16)
    wave_number = k * TURN / 4
    omega = np.hypot(wave_number, mass)
    path = flow.integrate(
        {phi: lambda x: np.cos(wave_number * x)},
        {phi: lambda x: omega * np.sin(wave_number * x)},
        t=(0, 10),
        tol=1e-12,
    )
    phase = wave_number * flow.domain.grid[x] - omega * path.t[:, None]
    np.testing.assert_allclose(path[phi], np.cos(phase), atol=1e-9)
    np.testing.assert_allclose(path[phi.d("t")], omega * np.sin(phase), atol=1e-8)
    np.testing.assert_allclose(
        path[phi.d("x")], -wave_number * np.sin(phase), atol=1e-8
    )


def breather(x, t, omega=0.6):
    eta = np.sqrt(1 - omega**2)
    return 4 * np.arctan(eta / omega * np.sin(omega * t) / np.cosh(eta * x))


def boosted(x, t, speed=0.4):
    """A breather that moves: it has momentum as well."""
    gamma = 1 / np.sqrt(1 - speed**2)
    return breather(gamma * (x - speed * t), gamma * (t - speed * x))


def test_the_breather_of_sine_gordon():
    flow = lg.lower(SINE_GORDON, interval=(-24, 24), points=256)
    step = 1e-5  # the fourth-order difference of a closed form
    path = flow.integrate(
        {phi: lambda x: boosted(x, 0.0)},
        {
            phi: lambda x: (
                (
                    8 * (boosted(x, step) - boosted(x, -step))
                    - boosted(x, 2 * step)
                    + boosted(x, -2 * step)
                )
                / (12 * step)
            )
        },
        t=(0, 10),
        tol=1e-11,
    )
    expected = boosted(flow.domain.grid[x], path.t[:, None])
    np.testing.assert_allclose(path[phi], expected, atol=1e-6)
    # E = 16 gamma sqrt(1 - omega^2) and P = v E, on the whole line.
    energy = 16 / np.sqrt(1 - 0.4**2) * np.sqrt(1 - 0.6**2)
    momentum = path.charge(current(SINE_GORDON, {}, tau={x: -1}))
    np.testing.assert_allclose(path.energy, energy, rtol=1e-6)
    np.testing.assert_allclose(np.abs(momentum), 0.4 * energy, rtol=1e-6)
    assert np.ptp(momentum) < 1e-8 and path.energy_drift < 1e-9


def test_two_space_dimensions():
    theory = lg.FieldTheory(
        (u.d("t") ** 2 - u.d("x") ** 2 - u.d("y") ** 2 - m**2 * u**2) / 2
    )
    flow = lg.lower(theory, {m: 1.0}, interval=((0, TURN), (0, 1)), points=(8, 10))
    omega = np.sqrt(4 + (3 * TURN) ** 2 + 1)

    def wave(x, y):
        return np.cos(2 * x + 3 * TURN * y)

    path = flow.integrate({u: wave}, {u: 0.0}, t=(0, 1), points=11, tol=1e-12)
    X, Y = flow.domain.grid.values()
    expected = np.cos(omega * path.t)[:, None, None] * wave(X, Y)
    np.testing.assert_allclose(path[u], expected, atol=1e-9)
    assert path.energy_drift < 1e-11
    np.testing.assert_allclose(path.energy[0], omega**2 / 4 * TURN, rtol=1e-12)


# ------------------------------------------------------------------ charges


def test_a_phase_keeps_its_charge_at_any_number_of_points():
    """So few points that the fields are not resolved: momentum drifts, charge not."""
    flow = lg.lower(QUARTIC, {m: 1.0, g: 0.5}, interval=(0, TURN), points=9)
    path = flow.integrate(*START, t=(0, 10), tol=1e-12)
    charge = path.charge(current(QUARTIC, PHASE))
    momentum = path.charge(current(QUARTIC, {}, tau={x: -1}))
    assert abs(charge[0]) > 1
    assert np.ptp(charge) < 1e-9 and path.energy_drift < 1e-9
    assert np.ptp(momentum) > 1e-2


def test_momentum_is_kept_spectrally():
    drifts = []
    for points in (8, 12, 16):
        flow = lg.lower(QUARTIC, {m: 1.0, g: 0.5}, interval=(0, TURN), points=points)
        path = flow.integrate(*START, t=(0, 3), points=31, tol=1e-12)
        drifts.append(np.ptp(path.charge(current(QUARTIC, {}, tau={x: -1}))))
    assert drifts[0] > 20 * drifts[1] > 20 * 20 * drifts[2]


def test_a_potential_that_breaks_the_phase_moves_the_charge_at_the_rate_of_the_law():
    broken = lg.FieldTheory(QUARTIC.density - sp.re(psi**2) / 3)
    law = current(broken, PHASE)
    assert law.is_conserved is False
    assert current(QUARTIC, PHASE).is_conserved
    flow = lg.lower(broken, {m: 1.0, g: 0.5}, interval=(0, TURN), points=32)
    path = flow.integrate(*START, t=(0, 2), points=401, tol=1e-12)
    charge, rate = path.charge(law), path.integral(law.divergence)
    assert np.ptp(charge) > 1
    step = path.t[1] - path.t[0]
    slope = (8 * (charge[3:-1] - charge[1:-3]) - charge[4:] + charge[:-4]) / (12 * step)
    np.testing.assert_allclose(slope, rate[2:-2], atol=1e-5 * np.abs(rate).max())


def test_a_density_that_depends_on_space_or_time_moves_momentum_or_energy():
    pushed = lg.FieldTheory(
        KLEIN_GORDON.density + sp.cos(x) * phi**2 * sp.sin(t) / 2 + g * phi**3
    )
    flow = lg.lower(pushed, {m: 1.0, g: 0.1}, interval=(0, TURN), points=32)
    path = flow.integrate(
        {phi: lambda x: np.cos(x + 0.5)}, {phi: 0.3}, t=(0, 2), points=401, tol=1e-12
    )
    for variable in (t, x):
        law = current(pushed, {}, tau={variable: -1})
        charge, rate = path.charge(law), path.integral(law.divergence)
        assert np.ptp(charge) > 1e-2
        assert not law.is_conserved
        inside = charge[3:-1] - charge[1:-3]
        slope = (8 * inside - charge[4:] + charge[:-4]) * 200 / 12
        np.testing.assert_allclose(slope, rate[2:-2], atol=1e-6)


def test_a_complex_field_is_two_real_ones():
    pair = lg.FieldTheory(
        sum(
            f.d("t") ** 2 - f.d("x") ** 2 - m**2 * f**2 - g * (phi**2 + chi**2) * f**2
            for f in (phi, chi)
        )
    )
    domain = {"interval": (0, TURN), "points": 16}
    one = lg.lower(QUARTIC, {m: 1.0, g: 0.5}, **domain).integrate(*START, t=(0, 3))
    (q, v), X = START, one.flow.domain.grid[x]
    two = lg.lower(pair, {m: 1.0, g: 0.5}, **domain).integrate(
        {phi: q[psi](X).real, chi: q[psi](X).imag},
        {phi: v[psi](X).real, chi: v[psi](X).imag},
        t=(0, 3),
    )
    np.testing.assert_allclose(one[psi], two[phi] + 1j * two[chi], atol=1e-12)
    np.testing.assert_allclose(
        one[psi.conjugate().d("x")], two[phi.d("x")] - 1j * two[chi.d("x")], atol=1e-11
    )
    np.testing.assert_allclose(one.energy, two.energy, rtol=1e-12)
    np.testing.assert_allclose(
        one.charge(current(QUARTIC, PHASE)),
        two.charge(current(pair, {phi: -chi, chi: phi})),
        rtol=1e-12,
    )


# ------------------------------------------------------------------ accuracy


def test_the_error_falls_faster_than_any_power_of_the_number_of_points():
    def error(points):
        flow = lg.lower(WAVE, {c: 1.0}, interval=(0, TURN), points=points)
        path = flow.integrate(
            {phi: lambda x: np.exp(np.cos(x))}, {phi: 0.0}, t=(0, 3), tol=1e-13
        )
        X, when = flow.domain.grid[x], path.t[:, None]
        expected = (np.exp(np.cos(X - when)) + np.exp(np.cos(X + when))) / 2
        return np.abs(path[phi] - expected).max()

    errors = [error(points) for points in (7, 11, 15)]
    assert errors[0] > 50 * errors[1] and errors[1] / errors[2] > errors[0] / errors[1]
    assert error(31) < 1e-11


GENERAL = {
    "curved": phi.d("t") ** 2 * (1 + phi**2) / 2 - phi.d("x") ** 4 / 4 + sp.sin(phi),
    "mixed": phi.d("t") ** 2 / 2
    + g * phi * phi.d("t") * phi.d("x")
    - phi.d("x") ** 2 * sp.cosh(phi) / 2,
    "explicit": sp.exp(sp.cos(x) + time / 3)
    * (phi.d("t") ** 2 / 2 - phi.d("x") ** 2 / 2),
    "coupled": phi.d("t") ** 2
    + chi.d("t") ** 2
    + phi.d("t") * chi.d("t") * sp.cos(phi)
    - (phi.d("x") - chi.d("x")) ** 2
    - phi**2 * chi,
    "born-infeld": -sp.sqrt(1 - phi.d("t") ** 2 / 4 + phi.d("x") ** 2 / 4),
}


@pytest.mark.parametrize(
    ("name", "points"), [*zip(GENERAL, (8, 9, 8, 9, 9), strict=True)]
)
def test_the_equations_are_those_of_the_discretised_action(name, points):
    """Automatic differentiation of the summed density, as an independent way."""
    theory = lg.FieldTheory(GENERAL[name])
    flow = lg.lower(theory, {g: 0.4}, interval=(0, TURN), points=points)
    chance = np.random.default_rng(1)
    with jax.enable_x64(True):
        shape = (len(flow.components), points)
        q, v = (jnp.asarray(0.4 * chance.normal(size=shape)) for _ in range(2))
        now = jnp.asarray(0.7)

        def action(q, v, now):
            return flow.integral(theory.density, q, v, now)

        momentum = jax.grad(action, 1)
        mass = jax.jacfwd(momentum, 1)(q, v, now).reshape(q.size, q.size)
        _, drift = jax.jvp(lambda q, now: momentum(q, v, now), (q, now), (v, 1.0))
        right = jax.grad(action, 0)(q, v, now) - drift
        expected = jnp.linalg.solve(mass, right.ravel()).reshape(shape)
        np.testing.assert_allclose(
            flow.acceleration(q, v, now), expected, rtol=1e-9, atol=1e-9
        )


def test_the_acceleration_is_a_plain_jax_function():
    flow = lg.lower(SINE_GORDON, interval=(0, TURN), points=8)
    with jax.enable_x64(True):
        q, v = jnp.sin(jnp.arange(16.0)).reshape(2, 1, 8)
        plain = flow.acceleration(q, v)
        np.testing.assert_allclose(jax.jit(flow.acceleration)(q, v), plain, rtol=1e-12)
        stacked = jax.vmap(flow.acceleration)(jnp.stack([q, 2 * q]), jnp.stack([v, v]))
        np.testing.assert_allclose(stacked[0], plain, rtol=1e-12)
        slope = jax.grad(lambda q: flow.energy(q, v))(q)
        np.testing.assert_allclose(-slope, plain * TURN / 8, rtol=1e-12)
    assert flow.acceleration(jnp.ones((1, 8)), jnp.ones((1, 8))).dtype == jnp.float32


# ------------------------------------------------------------------ what it refuses


def lowered(theory=KLEIN_GORDON, **changes):
    values = {"parameters": {m: 1.0}, "interval": (0, 1), "points": 8} | changes
    return lg.lower(theory, **values)


A_t, A_x = lg.fields("A_t A_x", over="t x")
MAXWELL = lg.FieldTheory((A_x.d("t") + A_t.d("x")) ** 2 / 2)
still = lg.fields("s", over="x y")
Q = lg.coordinates("Q")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: lowered(parameters={}),
            "no value for `m`, which the density contains",
        ),
        (lambda: lowered(interval=None), r"Pass `interval=\(0.0, 1.0\), points=64`"),
        (lambda: lowered(points=(8, 8)), "1 pairs and `points` 2 numbers.*each of `x`"),
        (lambda: lowered(interval=(1, 0)), "Pass a start below the end"),
        (
            lambda: lowered(lg.noether(lg.Lagrangian(Q.dot**2), lg.Translation(Q))),
            "domain of a `FieldTheory`, and `lower` got Law",
        ),
        (lambda: lowered(points=2), "three points or more"),
        (lambda: lowered(MAXWELL), "degenerate.*follows for `A_t`.*gauge-fixing"),
        (lambda: lowered(lg.FieldTheory(still.d("x") ** 2)), "over time and at least"),
        (
            lambda: lowered(lg.FieldTheory(phi.d("t") ** 2 - sp.zeta(phi))),
            "`zeta` in the density has no JAX counterpart",
        ),
        (
            lambda: lowered().integrate({}, {phi: 0}, t=(0, 1)),
            "`q0` has no value for `phi`",
        ),
        (
            lambda: lowered().integrate({phi: 1j}, {phi: 0}, t=(0, 1)),
            "`q0` is complex for the real field `phi`",
        ),
        (
            lambda: lowered().integrate({phi: 1.0}, {phi: np.ones(5)}, t=(0, 1)),
            r"`v0` has shape \(5,\) for `phi`; expected \(8,\)",
        ),
        (
            lambda: lowered().integrate(np.ones(8), np.ones((1, 8)), t=(0, 1)),
            r"`q0` has shape \(8,\); expected \(1, 8\)",
        ),
        (
            lambda: lowered().evaluate(chi, jnp.ones((1, 8)), jnp.ones((1, 8))),
            "no field `chi`. It has `phi`",
        ),
        (
            lambda: lowered().evaluate(
                phi.d("t", "t", "t"), jnp.ones((1, 8)), jnp.ones((1, 8))
            ),
            "`phi_ttt` is above the second time derivative",
        ),
    ],
)
def test_errors_name_what_is_wrong(build, message):
    with pytest.raises(lg.LagrangianError, match=message):
        build()


def test_a_gauge_fixing_term_makes_maxwells_field_regular():
    fixed = lg.FieldTheory(MAXWELL.density - (A_t.d("t") + A_x.d("x")) ** 2 / 2)
    flow = lowered(fixed, interval=(0, TURN))
    path = flow.integrate({A_t: 0.0, A_x: np.cos}, {A_t: 0.0, A_x: 0.0}, t=(0, 3))
    expected = np.cos(path.t)[:, None] * np.cos(flow.domain.grid[A_x.over[1]])
    np.testing.assert_allclose(path[A_x], expected, atol=1e-7)


def test_a_stop_keeps_what_was_computed():
    falling = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2 + phi**4)
    flow = lg.lower(falling, interval=(0, 1), points=4)
    with pytest.raises(lg.IntegrationFailed, match="last known state is at t") as stop:
        flow.integrate({phi: 1.0}, {phi: 1.0}, (0.0, 10.0), max_steps=500)
    path = stop.value.trajectory
    assert 0 < path.t[-1] < 10 and np.isfinite(path.q).all()


def test_it_says_what_it_is():
    flow = lowered()
    assert repr(flow).startswith("FieldFlow(phi; 8 points on [0, 1); float64")
    path = flow.integrate(np.ones((1, 8)), np.zeros((1, 8)), t=(0, 1))
    assert "201 times in [0, 1]" in repr(path)
    assert path.q.shape == (201, 1, 8) and path.q.dtype == np.float64
    assert not jax.config.jax_enable_x64


# ------------------------------------------------------------------ what is checked


def test_the_same_wave_in_any_unit_of_the_field():
    """Tolerances are relative to each field's own size."""
    flow = lg.lower(KLEIN_GORDON, {m: 1.0}, interval=(0, TURN), points=32)
    paths = [
        flow.integrate({phi: lambda x, s=s: s * np.cos(x)}, {phi: 0.0}, t=(0, 20))
        for s in (1.0, 2.0**-40, 2.0**40)
    ]
    for path, scale in zip(paths[1:], (2.0**-40, 2.0**40), strict=True):
        assert path.steps == paths[0].steps
        np.testing.assert_allclose(path[phi] / scale, paths[0][phi], atol=1e-13)


@pytest.mark.parametrize("push", [0, phi * sp.sin(t)], ids=["free", "driven"])
def test_a_path_keeps_the_balance_of_its_energy_or_is_refused(push, monkeypatch):
    theory = lg.FieldTheory(KLEIN_GORDON.density.subs(m, 1) + push)
    flow = lg.lower(theory, interval=(0, TURN), points=16)
    flow.integrate({phi: np.cos}, {phi: 0.0}, t=(0, 5))
    right = FieldFlow.acceleration
    wrong = lambda self, q, v, t=0.0: 1.001 * right(self, q, v, t)
    monkeypatch.setattr(FieldFlow, "acceleration", wrong)
    with pytest.raises(lg.IntegrationFailed, match="balance of the energy"):
        flow.integrate({phi: np.cos}, {phi: 0.0}, t=(0, 5), points=11)


def test_a_sweep_over_a_parameter_of_a_field_is_a_vmap():
    flow = lg.lower(KLEIN_GORDON, {m: 1.0}, interval=(0, TURN), points=8)
    assert jax.tree.leaves(flow) == [1.0]
    with jax.enable_x64(True):
        q, v = jnp.ones((1, 8)), jnp.zeros((1, 8))
        masses = jnp.array([1.0, 2.0])
        flows = jax.tree.map(lambda _: masses, flow)
        found = jax.vmap(lambda flow: flow.acceleration(q, v))(flows)
    np.testing.assert_allclose(found[:, 0, 0], [-1.0, -4.0])


def test_a_field_that_stands_still_does_not_drift():
    flow = lg.lower(WAVE, {c: 2.0}, interval=(0, TURN), points=8)
    path = flow.integrate({phi: 1.0}, {phi: 0.0}, t=(0, 1), points=3)
    assert path.energy_drift == 0.0
