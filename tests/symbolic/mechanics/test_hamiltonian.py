"""Legendre transforms against known Hamiltonians, and reductions against paths."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg

x, y, theta, phi = lg.coordinates("x y theta phi")
m, k, c, g, l = sp.symbols("m k c g l", positive=True)
B, J = sp.symbols("B J", real=True)

TURNING = lg.Lagrangian(m * (x.dot**2 + y.dot**2) / 2, -B / 2 * (x * y.dot - y * x.dot))
SPHERICAL = lg.Lagrangian(
    m * l**2 * (theta.dot**2 + sp.sin(theta) ** 2 * phi.dot**2) / 2,
    m * g * l * sp.cos(theta),
)


def test_known_hamiltonians():
    oscillator = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2).hamiltonian
    (p,) = oscillator.momenta.values()
    assert sp.expand(oscillator.expression - p**2 / (2 * m) - k * x**2 / 2) == 0

    relativistic = lg.Lagrangian(
        -m * c**2 * sp.sqrt(1 - x.dot**2 / c**2), k * x
    ).hamiltonian
    (p,) = relativistic.momenta.values()
    expected = c * sp.sqrt(p**2 + m**2 * c**2) + k * x
    assert sp.simplify(relativistic.expression - expected) == 0

    magnetic = TURNING.hamiltonian
    p_x, p_y = magnetic.momenta.values()
    expected = ((p_x + B * y / 2) ** 2 + (p_y - B * x / 2) ** 2) / (2 * m)
    assert sp.expand(magnetic.expression - expected) == 0


def test_the_damped_oscillator_has_the_hamiltonian_of_caldirola_and_kanai():
    mu = sp.Symbol("mu", positive=True)
    grown = sp.exp(mu / m * lg.time)
    system = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, damping=mu / m * lg.time)
    transform = system.hamiltonian
    (p,) = transform.momenta.values()
    expected = p**2 / (2 * m) / grown + grown * k * x**2 / 2
    assert sp.simplify(transform.expression - expected) == 0


def test_hamiltons_equations_are_those_of_lagrange(pendulum):
    """pdot from H, with p written in velocities, equals d(T - V)/dq."""
    system, _ = pendulum
    transform = system.hamiltonian
    momenta = {p: system.momenta[q] for q, p in transform.momenta.items()}
    for equation, q in zip(transform.equations[:2], system.coordinates, strict=True):
        assert sp.simplify(equation.rhs.subs(momenta) - q.dot) == 0
    for equation, q in zip(transform.equations[2:], system.coordinates, strict=True):
        force = system.undamped.diff(q)
        assert sp.simplify(equation.rhs.subs(momenta) - force) == 0


def test_brackets():
    transform = TURNING.hamiltonian
    p_x, p_y = transform.momenta.values()
    assert transform.bracket(x, p_x) == 1 and transform.bracket(x, p_y) == 0
    turning = x * p_y - y * p_x
    assert sp.expand(transform.rate(turning)) == 0
    assert sp.expand(transform.rate(p_x)) != 0
    # The magnetic translations conserve, and do not commute with each other.
    guides = (p_x - B * y / 2, p_y + B * x / 2)
    assert all(sp.expand(transform.rate(guide)) == 0 for guide in guides)
    assert sp.expand(transform.bracket(*guides)) == -B


def test_a_noether_charge_in_momenta_generates_its_symmetry():
    transform = SPHERICAL.hamiltonian
    law = lg.noether(SPHERICAL, lg.Translation(phi))
    charge = sp.simplify(transform.in_momenta(law.charge))
    assert charge == transform.momenta[phi]
    assert transform.bracket(phi, charge) == 1 and transform.bracket(theta, charge) == 0


def test_the_routhian_moves_as_the_whole_system():
    assert lg.cyclic(SPHERICAL) == [phi]
    reduced = lg.routh(SPHERICAL, {phi: J})
    assert reduced.coordinates == (theta,)
    values = {m: 1.0, l: 1.0, g: 9.81}
    start, spin = 1.0, 2.0
    momentum = np.sin(start) ** 2 * spin
    whole = lg.lower(SPHERICAL, values).integrate(
        {theta: start, phi: 0.0}, {theta: 0.0, phi: spin}, (0, 3), tol=1e-12
    )
    part = lg.lower(reduced, values | {J: momentum}).integrate(
        {theta: start}, {theta: 0.0}, (0, 3), tol=1e-12
    )
    np.testing.assert_allclose(part[theta], whole[theta], atol=1e-9)


def test_errors_name_what_is_wrong():
    with pytest.raises(lg.InvalidLagrangian, match="mass matrix is singular"):
        lg.Lagrangian((x.dot + y.dot) ** 2, x * y).hamiltonian  # noqa: B018
    with pytest.raises(
        lg.InvalidLagrangian, match="`theta` is not cyclic.*Cyclic are: `phi`"
    ):
        lg.routh(SPHERICAL, {theta: 1})
    with pytest.raises(lg.InvalidLagrangian, match="damped Lagrangian has no constant"):
        lg.routh(lg.Lagrangian(x.dot**2, damping=lg.time), {x: 1})


def test_a_relativistic_particle_reduces_to_its_transverse_motion():
    """The momentum is no linear function of the cyclic velocity."""
    speed = sp.sqrt(1 - (x.dot**2 + y.dot**2) / c**2)
    system = lg.Lagrangian(-m * c**2 * speed, k * y**2)
    reduced = lg.routh(system, {x: J})
    values = {m: 1.0, c: 2.0, k: 1.0}
    momentum = 0.3 / np.sqrt(1 - (0.3**2 + 0.1**2) / 4)
    whole = lg.lower(system, values).integrate(
        {x: 0.0, y: 0.4}, {x: 0.3, y: 0.1}, (0, 3), tol=1e-12
    )
    part = lg.lower(reduced, values | {J: momentum}).integrate(
        {y: 0.4}, {y: 0.1}, (0, 3), tol=1e-12
    )
    np.testing.assert_allclose(part[y], whole[y], atol=1e-9)
    resting = lg.lower(reduced, values | {J: 0.0}).integrate(
        {y: 0.4}, {y: 0.1}, (0, 3), tol=1e-12
    )
    assert np.abs(resting[y] - whole[y]).max() > 1e-3


def test_a_reduced_system_keeps_the_forces_on_what_remains():
    free = m * (x.dot**2 + y.dot**2) / 2
    system = lg.Lagrangian(
        free, k * y**2 / 2, forces={y: x.dot}, dissipation=c * y.dot**2 / 2
    )
    (equation,) = lg.routh(system, {x: J}).equations
    assert sp.expand(equation.lhs - (m * y.ddot + k * y - J / m + c * y.dot)) == 0
    for changes, message in (
        ({"forces": {x: y}}, "acts on `x`: its momentum"),
        ({"dissipation": x.dot**2}, "acts on `x`: its momentum"),
        ({"forces": {y: x}}, "a force depends on `x`"),
        ({"constraints": [x - y]}, "forces of constraints move"),
    ):
        with pytest.raises(lg.InvalidLagrangian, match=message):
            lg.routh(lg.Lagrangian(free, k * y**2 / 2, **changes), {x: J})


def test_forces_and_damping_stand_in_hamiltons_equations():
    """pdot, and the rate of any quantity, against the Euler-Lagrange equations."""
    system = lg.Lagrangian(
        m * x.dot**2 / 2,
        k * x**2 / 2,
        damping=c * lg.time,
        forces={x: sp.sin(lg.time) * x.dot},
        dissipation=l * x.dot**2 / 2,
    )
    transform = system.hamiltonian
    (p,) = transform.momenta.values()
    momentum = sp.exp(c * lg.time) * m * x.dot
    (acceleration,) = system.mass_matrix.LUsolve(system.forcing)
    rate = lg.total_derivative(momentum).xreplace({x.ddot: acceleration})
    assert sp.simplify(transform.equations[1].rhs.subs(p, momentum) - rate) == 0
    energy = transform.rate(transform.expression).subs(p, momentum)
    law = lg.noether(system, lg.TimeTranslation())
    whole = sp.exp(c * lg.time) * law.charge
    expected = lg.total_derivative(whole).xreplace({x.ddot: acceleration})
    assert sp.simplify(energy - expected) == 0
    unforced = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, damping=c * lg.time)
    assert sp.simplify(unforced.hamiltonian.equations[1].rhs.subs(p, momentum)) != (
        sp.simplify(rate)
    )
    with pytest.raises(lg.InvalidLagrangian, match="without constraints"):
        lg.Lagrangian(x.dot**2 + y.dot**2, constraints=[x - y]).hamiltonian  # noqa: B018
