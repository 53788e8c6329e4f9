"""Charges and rates: identities that reduce to zero, and controls that do not."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.inner import Inner

x, y = lg.coordinates("x y")
m, k, mu, decay = sp.symbols("m k mu lambda", positive=True)
t = lg.time


def on_shell(system, expression):
    """`expression` with every acceleration replaced by the equations of motion."""
    solution = system.mass_matrix.LUsolve(system.forcing)
    return expression.xreplace(
        {q.ddot: a for q, a in zip(system.coordinates, solution, strict=True)}
    )


def assert_balance(law):
    """dc/dt on shell minus the sum of the law's terms is identically zero."""
    change = on_shell(law.lagrangian, total_derivative(law.charge))
    assert sp.simplify(change - law.rate) == 0


SYSTEMS = {
    "central": lg.Lagrangian(m * (x.dot**2 + y.dot**2) / 2, k / sp.sqrt(x**2 + y**2)),
    "damped": lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2,
        k * (x**2 + y**2) / 2,
        damping=mu / m * t + sp.sin(t),
    ),
    "driven": lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2 * (1 + x**2), x * sp.cos(t) + x * y.dot
    ),
}
GENERATORS = {
    "energy": lg.TimeTranslation(),
    "translation": lg.Translation(x),
    "rotation": lg.Rotation(x, y),
    "scale": lg.Scale(x, y),
    "time-dependent": lg.Symmetry({x: t * y, y: x**2}, tau=t * x),
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_the_balance_holds_for_every_generator(system, generator):
    assert_balance(lg.noether(SYSTEMS[system], GENERATORS[generator]))


def test_the_balance_notices_a_missing_term():
    law = lg.noether(SYSTEMS["damped"], lg.Scale(x, y))
    change = on_shell(law.lagrangian, total_derivative(law.charge))
    assert sp.simplify(change - (law.rate - law.friction)) != 0


def test_energy_and_angular_momentum():
    energy = lg.noether(SYSTEMS["central"], lg.TimeTranslation())
    assert sp.expand(energy.charge - SYSTEMS["central"].energy) == 0
    turning = lg.noether(SYSTEMS["central"], lg.Rotation(x, y))
    assert sp.expand(turning.charge - m * (x * y.dot - y * x.dot)) == 0
    assert energy.is_conserved and turning.is_conserved


def test_what_is_not_conserved_says_so():
    assert lg.noether(SYSTEMS["central"], lg.Translation(x)).is_conserved is False
    assert lg.noether(SYSTEMS["damped"], lg.TimeTranslation()).is_conserved is False


def test_a_pendulum_conserves_energy(pendulum):
    assert lg.noether(pendulum[0], lg.TimeTranslation()).is_conserved


def test_a_galilean_boost_has_a_boundary_term():
    free = lg.Lagrangian(m * (x.dot**2 + y.dot**2) / 2)
    boost = lg.noether(free, lg.Symmetry({x: t}, name="boost"))
    assert boost.is_conserved is False
    assert sp.expand(boost.boundary - m * x) == 0
    assert sp.expand(boost.conserved - (m * t * x.dot - m * x)) == 0
    assert lg.noether(free, lg.Scale(x)).boundary is None


def test_the_runge_lenz_vector_comes_from_a_velocity_dependent_generator():
    r = sp.sqrt(x**2 + y**2)
    kepler = lg.Lagrangian(m * (x.dot**2 + y.dot**2) / 2, -k / r)
    generator = lg.Symmetry({x: y * y.dot, y: x.dot * y - 2 * x * y.dot})
    law = lg.noether(kepler, generator)
    vector = -m * y.dot * (x * y.dot - y * x.dot) + k * x / r
    ratio = sp.simplify(law.conserved / vector)
    assert ratio.is_number and ratio != 0
    assert sp.simplify(on_shell(kepler, total_derivative(law.conserved))) == 0
    wrong = lg.Symmetry({x: y * y.dot, y: x.dot * y - 3 * x * y.dot})
    assert lg.noether(kepler, wrong).conserved is None


def test_friction_can_be_a_boundary_term():
    """A free particle with friction: m xdot + mu x is constant."""
    damped = lg.Lagrangian(m * x.dot**2 / 2, damping=mu / m * t)
    law = lg.noether(damped, lg.Translation(x))
    assert sp.expand(law.conserved - m * x.dot - mu * x) == 0


def test_a_damped_oscillator_has_a_constant_of_its_whole_lagrangian():
    """Time translation with a shrinking amplitude leaves exp(mu t/m) (T - V) alone."""
    damped = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, damping=mu / m * t)
    law = lg.noether(damped, lg.Symmetry({x: -mu * x / (2 * m)}, tau=1))
    assert law.boundary is None
    assert sp.simplify(on_shell(damped, total_derivative(law.conserved))) == 0
    assert law.conserved.has(sp.exp)


# ------------------------------------------------------------------ learning


def learning(symmetry, metric=lambda v: v):
    """Noether's law of a heavy ball whose kinetic energy has the given metric."""
    blocks = symmetry.loss.blocks
    system = lg.Lagrangian(
        m / 2 * sp.Add(*(Inner(w.dot, metric(w.dot)) for w in blocks)),
        symmetry.loss + decay / 2 * sp.Add(*(Inner(w, w) for w in blocks)),
        damping=mu / m * t,
    )
    return lg.noether(system, symmetry)


def test_scale_gives_the_law_of_the_squared_norm():
    w = lg.blocks("w")
    law = learning(lg.Scale(w))
    law_of_rho = law.oscillator
    assert law_of_rho.quantity == Inner(w, w)
    assert (law_of_rho.mass, law_of_rho.damping) == (m / 2, mu / 2)
    assert law_of_rho.stiffness == decay
    assert law_of_rho.source == m * Inner(w.dot, w.dot)


def test_another_metric_gives_another_law():
    w, D = lg.blocks("w"), lg.ConstantBlock("D")
    law = learning(lg.Scale(w), metric=lambda v: D * v).oscillator
    assert law.quantity == Inner(D * w, w)
    assert law.stiffness == 0
    source = m * Inner(D * w.dot, w.dot) - decay * Inner(w, w)
    assert sp.expand(law.source - source) == 0
    G = lg.LinearMap("G", parity=1)
    assert learning(lg.Scale(w), metric=G).oscillator.quantity == Inner(w, G(w))


def test_a_scale_invariant_metric_has_no_kinetic_breaking():
    """T = m |qdot|^2 / (2 |q|^2): scale is an isometry, and nothing drives it."""
    w = lg.blocks("w")
    symmetry = lg.Scale(w)
    system = lg.Lagrangian(m / 2 * Inner(w.dot, w.dot) / Inner(w, w), symmetry.loss)
    law = lg.noether(system, symmetry)
    assert law.kinetic == 0 and law.is_conserved
    assert learning(symmetry).kinetic != 0


def test_translation_is_a_free_damped_oscillator():
    w = lg.blocks("w")
    law = learning(lg.Translation(w))
    assert law.kinetic == 0
    assert law.oscillator.quantity == Inner(w, lg.ones)
    assert law.oscillator.source == 0
    assert (law.oscillator.mass, law.oscillator.stiffness) == (m, decay)


def test_rescale_gives_the_difference_of_squared_norms():
    u, v = lg.blocks("u v")
    law = learning(lg.Rescale(u, v)).oscillator
    assert sp.expand(law.quantity - Inner(u, u) + Inner(v, v)) == 0
    source = m * (Inner(u.dot, u.dot) - Inner(v.dot, v.dot))
    assert sp.expand(law.source - source) == 0
    assert law.stiffness == decay


def test_rotation_decays_and_is_no_oscillator():
    w, A = lg.blocks("w"), lg.LinearMap("A", parity=-1)
    law = learning(lg.Rotation(w, A))
    assert law.kinetic == 0 and law.potential == 0 and law.oscillator is None
    assert sp.expand(law.rate + mu / m * law.charge) == 0


def test_a_symmetry_that_the_loss_lacks_leaves_its_gradient_in_the_law():
    w = lg.blocks("w")
    symmetry = lg.Scale(w)
    f = lg.Loss("f", w)
    law = lg.noether(lg.HeavyBall(0.1).lagrangian(f), symmetry)
    assert law.potential.has(f.gradient(w))
    assert law.is_conserved is None  # f may have it, undeclared


# ------------------------------------------------------------------ presentation


def test_the_terms_come_in_one_order_and_at_most_five_lines():
    law = learning(lg.Scale(lg.blocks("w")))
    lines = str(law).splitlines()
    names = [line.split(":")[0].strip() for line in lines]
    assert names == ["charge", "kinetic", "potential", "explicit time", "friction"]
    assert r"\text{charge}" in law._repr_latex_()
    assert r"\ddot x" in law.oscillator._repr_latex_()


def test_a_generator_on_foreign_coordinates_is_refused():
    z = lg.coordinates("z")
    with pytest.raises(lg.InvalidSymmetry, match="moves `z`.*coordinates are `x`, `y`"):
        lg.noether(SYSTEMS["central"], lg.Translation(z))
