"""Whether a charge is conserved: decided where it can be, and never guessed."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.inner import Inner

x, y, z, theta = lg.coordinates("x y z theta")
m, g, k, l, c = sp.symbols("m g k l c", positive=True)
PLANE = m * (x.dot**2 + y.dot**2) / 2
CIRCLE = x**2 + y**2 - l**2
EVERY_VELOCITY = lg.Symmetry({q: q.dot for q in (x, y, z)})


def conserved(system, symmetry):
    return lg.noether(system, symmetry).is_conserved


@pytest.mark.parametrize(
    ("system", "symmetry"),
    [
        # The multiplier is zero: nothing presses against the plane.
        (lg.Lagrangian(PLANE + m * z.dot**2 / 2, 0, constraints=[z]), z),
        # The torque of this potential vanishes on the circle, and only there.
        (lg.Lagrangian(PLANE, CIRCLE * x, constraints=[CIRCLE]), None),
        (lg.Lagrangian(PLANE, CIRCLE**2 * x, constraints=[CIRCLE]), None),
        # m |v|^2 of a free particle on a sloping plane.
        (
            lg.Lagrangian(PLANE + m * z.dot**2 / 2, 0, constraints=[z - x]),
            EVERY_VELOCITY,
        ),
    ],
)
def test_constraints_can_conserve(system, symmetry):
    if symmetry is None:
        symmetry = lg.Rotation(x, y)
    elif symmetry is z:
        symmetry = lg.Translation(z)
    assert conserved(system, symmetry) is True


def test_constraints_can_break():
    pendulum = lg.Lagrangian(PLANE, m * g * y, constraints=[CIRCLE])
    assert conserved(pendulum, lg.TimeTranslation()) is True
    assert conserved(pendulum, lg.Rotation(x, y)) is False
    assert conserved(pendulum, lg.Translation(x)) is False
    growing = lg.Lagrangian(PLANE, 0, constraints=[CIRCLE - lg.time])
    assert conserved(growing, lg.TimeTranslation()) is False
    falling = lg.Lagrangian(PLANE + m * z.dot**2 / 2, m * g * z, constraints=[z - x])
    assert conserved(falling, EVERY_VELOCITY) is False


def test_a_knife_edge():
    """Nonholonomic: it turns freely, and its momentum turns with it."""
    edge = lg.Lagrangian(
        PLANE + theta.dot**2 / 2,
        constraints=[x.dot * sp.sin(theta) - y.dot * sp.cos(theta)],
    )
    assert conserved(edge, lg.Translation(theta)) is True
    assert conserved(edge, lg.TimeTranslation()) is True
    assert conserved(edge, lg.Translation(x)) is False


def test_a_verdict_agrees_with_a_path():
    """The torque that vanishes on the circle, and one that does not."""
    for potential, verdict in ((CIRCLE * x, True), (k * x, False)):
        system = lg.Lagrangian(PLANE, potential, constraints=[CIRCLE])
        law = lg.noether(system, lg.Rotation(x, y))
        path = lg.lower(system, {m: 1.0, k: 1.0, l: 1.0}).integrate(
            {x: 0.0, y: 1.0}, {x: 0.8, y: 0.0}, (0, 2), tol=1e-12
        )
        charge = path.evaluate(law.charge)
        assert law.is_conserved is verdict
        assert bool(np.ptp(charge) < 1e-9) is verdict


def test_every_sign_and_domain_is_looked_at():
    move = lg.Translation(x)
    # Zero for x > 0 alone.
    assert conserved(lg.Lagrangian(PLANE, sp.Max(x, 0) - x), move) is False
    kink = sp.Piecewise((x**2, x < 0), (0, True))
    assert conserved(lg.Lagrangian(PLANE, kink), move) is False
    # Zero wherever it is real, which is for x > 5 alone.
    folded = 2 * sp.log(x - 5) - sp.log((x - 5) ** 2)
    assert conserved(lg.Lagrangian(PLANE, folded), move) is True
    relativistic = lg.Lagrangian(
        -m * c**2 * sp.sqrt(1 - (x.dot**2 + y.dot**2) / c**2), k * x
    )
    assert conserved(relativistic, move) is False
    assert conserved(relativistic, lg.Translation(y)) is True


def test_what_is_not_decided_says_so():
    f = sp.Function("f")
    move = lg.Translation(x)
    assert conserved(lg.Lagrangian(PLANE, f(x, y)), move) is None
    assert conserved(lg.Lagrangian(PLANE, f(x**2 + y**2)), lg.Rotation(x, y)) is True
    # Not zero, and below what fifty digits show.
    assert conserved(lg.Lagrangian(PLANE, sp.exp(-1000 * (x**2 + 5))), move) is None
    # The rounding of three floats is no force.
    central = x**2 + y**2
    dust = lg.Lagrangian(PLANE, 0.1 * central + 0.2 * central - 0.3 * central)
    assert conserved(dust, move) is None
    assert conserved(lg.Lagrangian(PLANE, 0.1 * central), move) is False


def test_accelerations_of_blocks_are_those_of_the_equations():
    u, v = lg.blocks("u v")
    kinetic = m / 2 * (Inner(u.dot, u.dot) + Inner(v.dot, v.dot))
    swap = lg.Symmetry({u: v.dot, v: u.dot})
    assert conserved(lg.Lagrangian(kinetic, 0), swap) is True
    assert conserved(lg.Lagrangian(kinetic, Inner(u, u)), swap) is False
    G = lg.LinearMap("G", parity=1)
    unsolved = lg.Lagrangian(Inner(u.dot, G(u.dot)) / 2 + Inner(v.dot, v.dot) / 2)
    assert conserved(unsolved, swap) is None


def test_what_is_no_lagrangian_or_symmetry_is_refused():
    system = lg.Lagrangian(PLANE)
    with pytest.raises(lg.InvalidLagrangian, match="got HeavyBall. Write `rule.lagr"):
        lg.noether(lg.HeavyBall(0.1), lg.Scale("w"))
    with pytest.raises(lg.InvalidLagrangian, match="got str. Write `lg.Lagrangian"):
        lg.noether("L", lg.TimeTranslation())
    with pytest.raises(lg.InvalidSymmetry, match="got dict. Write"):
        lg.noether(system, {x: 1})
    with pytest.raises(lg.InvalidSymmetry, match="got TimeTranslation. Write"):
        lg.noether(system, lg.TimeTranslation)
