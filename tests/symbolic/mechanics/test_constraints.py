"""Forces, dissipation and constraints: against SymPy mechanics and against paths."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.calculus import total_derivative

x, y, theta, phi = lg.coordinates("x y theta phi")
m, g, l, c, r = sp.symbols("m g l c r", positive=True)

PENDULUM = lg.Lagrangian(
    m * (x.dot**2 + y.dot**2) / 2, m * g * y, constraints=[x**2 + y**2 - l**2]
)


def test_a_constrained_system_agrees_with_sympy_mechanics():
    """Lagrange's multipliers, forces and dissipation, from SymPy's own method."""
    from sympy.physics.mechanics import (
        LagrangesMethod,
        Particle,
        Point,
        ReferenceFrame,
        dynamicsymbols,
    )

    X, Y = dynamicsymbols("X Y")
    t = dynamicsymbols._t
    frame = ReferenceFrame("N")
    origin = Point("O")
    point = origin.locatenew("P", X * frame.x + Y * frame.y)
    point.set_vel(frame, X.diff(t) * frame.x + Y.diff(t) * frame.y)
    particle = Particle("p", point, m)
    energy = m * (X.diff(t) ** 2 + Y.diff(t) ** 2) / 2 - m * g * Y
    force = (point, -c * X.diff(t) * frame.x + 2 * Y * frame.y)
    method = LagrangesMethod(
        energy, [X, Y], hol_coneqs=[X**2 + Y**2 - l**2], forcelist=[force], frame=frame
    )
    oracle = method.form_lagranges_equations()
    assert particle.mass == m

    ours = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2,
        m * g * y,
        forces={y: 2 * y},
        dissipation=c * x.dot**2 / 2,
        constraints=[x**2 + y**2 - l**2],
    )
    names = {x.ddot: X.diff(t, 2), y.ddot: Y.diff(t, 2), x.dot: X.diff(t), x: X}
    names |= {y.dot: Y.diff(t), y: Y}
    (multiplier,) = ours.constraints.multipliers
    theirs = next(iter(method.lam_vec))
    for equation, other in zip(ours.equations, oracle, strict=True):
        mine = equation.lhs.subs(names).subs(multiplier, theirs)
        # The sign of a multiplier is a convention.
        assert sp.simplify(mine - other) == 0 or (
            sp.simplify(mine.subs(theirs, -theirs) - other) == 0
        )


def test_a_pendulum_in_cartesian_coordinates_swings_as_one_in_its_angle():
    path = lg.lower(PENDULUM, {m: 1.0, g: 9.81, l: 1.0}).integrate(
        {x: np.sin(1.0), y: -np.cos(1.0)}, {x: 0.0, y: 0.0}, (0, 3), tol=1e-12
    )
    swing = lg.Lagrangian(theta.dot**2 / 2, -g * sp.cos(theta))
    angle = lg.lower(swing, {g: 9.81}).integrate(
        {theta: 1.0}, {theta: 0.0}, (0, 3), tol=1e-12
    )
    np.testing.assert_allclose(path[x], np.sin(angle[theta]), atol=1e-8)
    np.testing.assert_allclose(path[y], -np.cos(angle[theta]), atol=1e-8)
    (held,) = PENDULUM.constraints.expressions
    assert np.abs(path.evaluate(held.subs(l, 1.0))).max() < 1e-9


def test_the_multiplier_is_the_tension():
    """At the bottom, J^T lambda holds the weight and turns the velocity."""
    path = lg.lower(PENDULUM, {m: 2.0, g: 9.81, l: 1.0}).integrate(
        {x: 0.0, y: -1.0}, {x: 3.0, y: 0.0}, (0, 0.1)
    )
    (multiplier,) = PENDULUM.constraints.multipliers
    lift = PENDULUM.constraint_forces[y].subs(
        {y: -1.0, multiplier: path.multipliers[0, 0]}
    )
    assert float(lift) == pytest.approx(2.0 * (9.81 + 9.0), rel=1e-12)


def test_a_rolling_wheel_obeys_its_velocity_constraint():
    """A disc rolling down a slope: acceleration 2/3 g sin(slope)."""
    slope = sp.Symbol("slope", positive=True)
    rolling = lg.Lagrangian(
        m * x.dot**2 / 2 + m * r**2 * phi.dot**2 / 4,
        -m * g * sp.sin(slope) * x,
        constraints=[x.dot - r * phi.dot],
    )
    path = lg.lower(rolling, {m: 1.0, g: 9.81, r: 0.5, slope: 0.3}).integrate(
        {x: 0.0, phi: 0.0}, {x: 0.0, phi: 0.0}, (0, 2)
    )
    expected = 9.81 * np.sin(0.3) * 2 / 3 * path.t**2 / 2
    np.testing.assert_allclose(path[x], expected, atol=1e-8)


def test_energy_and_momentum_under_constraints():
    assert lg.noether(PENDULUM, lg.TimeTranslation()).is_conserved
    falling = lg.noether(PENDULUM, lg.Translation(x))
    assert falling.is_conserved is False and falling.forces != 0
    free = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2, constraints=[x**2 + y**2 - l**2]
    )
    assert lg.noether(free, lg.Rotation(x, y)).is_conserved


def test_the_balance_with_forces_and_dissipation_is_an_identity():
    system = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2 * (1 + y**2),
        x * y,
        damping=sp.sin(lg.time),
        forces={x: y.dot * lg.time},
        dissipation=c * (x.dot - y.dot) ** 2 / 2,
    )
    solution = system.mass_matrix.LUsolve(system.forcing)
    on_shell = {x.ddot: solution[0], y.ddot: solution[1]}
    for symmetry in (lg.TimeTranslation(), lg.Scale(x, y), lg.Rotation(x, y)):
        law = lg.noether(system, symmetry)
        change = total_derivative(law.charge).xreplace(on_shell)
        assert sp.simplify(change - law.rate) == 0
        assert law.forces != 0 and sp.simplify(change - law.rate + law.forces) != 0


def test_dissipation_takes_energy_at_twice_its_rate():
    system = lg.Lagrangian(m * x.dot**2 / 2, dissipation=c * x.dot**2 / 2)
    law = lg.noether(system, lg.TimeTranslation())
    assert sp.expand(law.rate + c * x.dot**2) == 0


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ([m - 1], "m - 1 = 0 contains no coordinate"),
        ([x - theta], "contains `theta`, which is neither"),
        ([x.dot**2 + y.dot**2 - 1], "is not linear in the velocities"),
        ([x - y, 2 * x - 2 * y], r"2\*x - 2\*y = 0 follows from, or contradicts"),
        ([x - y, x - y - 1], "x - y - 1 = 0 follows from, or contradicts"),
    ],
)
def test_constraint_errors_name_the_constraint(constraints, message):
    with pytest.raises(lg.InvalidLagrangian, match=message):
        lg.Lagrangian(x.dot**2 + y.dot**2, constraints=constraints)


def test_a_start_off_the_constraint_is_refused():
    flow = lg.lower(PENDULUM, {m: 1.0, g: 9.81, l: 1.0})
    with pytest.raises(lg.LagrangianError, match=r"`q0` violates.*it is 3"):
        flow.integrate({x: 2.0, y: 0.0}, {x: 0.0, y: 0.0}, (0, 1))
    with pytest.raises(lg.LagrangianError, match=r"`v0` violates"):
        flow.integrate({x: 1.0, y: 0.0}, {x: 1.0, y: 0.0}, (0, 1))


def test_a_force_on_a_foreign_coordinate_is_refused():
    with pytest.raises(lg.InvalidLagrangian, match="`forces` acts on `y`"):
        lg.Lagrangian(x.dot**2, forces={y: 1})
