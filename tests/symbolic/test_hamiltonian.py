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
