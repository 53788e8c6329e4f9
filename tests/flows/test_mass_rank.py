import pytest
import sympy as sp

import lagrangian as lg

x, y, z = lg.coordinates("x y z")
m = sp.Symbol("m")


@pytest.mark.parametrize(
    ("kinetic", "values", "direction"),
    [
        ((x.dot + y.dot) ** 2, {}, r"`x.dot` -1\*`y.dot`|`x.dot` -`y.dot`"),
        (x.dot**2 + y.dot, {}, "`y.dot`"),
        (x.dot**2 + m * y.dot**2, {m: 0.0}, "`y.dot`"),
        (x * y.dot - y * x.dot, {}, "`x.dot`.*`y.dot`|`y.dot`.*`x.dot`"),
    ],
)
def test_a_degenerate_lagrangian_names_its_null_directions(kinetic, values, direction):
    with pytest.raises(lg.InvalidLagrangian, match="degenerate.*" + direction):
        lg.lower(lg.Lagrangian(kinetic, x * y), values)


def test_a_constraint_can_fix_what_has_no_inertia():
    system = lg.Lagrangian(x.dot**2 + 0 * y, (x - 1) ** 2 + y**2 * 0)
    lg.lower(system)
    held = lg.Lagrangian((x.dot + y.dot) ** 2, x**2, constraints=[x - y])
    lg.lower(held)


def test_an_indefinite_or_state_dependent_mass_is_regular():
    lg.lower(lg.Lagrangian(x.dot * y.dot, x * y))
    lg.lower(lg.Lagrangian(x**2 * x.dot**2 + y.dot**2, x))
    lg.lower(lg.Lagrangian(-m * sp.sqrt(1 - x.dot**2), x), {m: 1.0})
