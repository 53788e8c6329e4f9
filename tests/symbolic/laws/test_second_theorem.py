"""Noether's second theorem, on gauge theories, reparametrisations and depth."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import InvalidLagrangian, InvalidSymmetry

W, G, b, g, epsilon, c = lg.blocks("W G b g epsilon c")
TURNED = epsilon.dot + lg.matmul(epsilon, W) - lg.matmul(W, epsilon)


def test_the_gauge_symmetry_of_depth():
    found = lg.noether_identity({W: G}, lg.Symmetry({W: TURNED}), epsilon)
    wt = lg.transpose(W)
    assert found == lg.matmul(G, wt) - lg.matmul(wt, G) - G.dot


def test_a_bias_adds_its_share_and_has_translations_of_its_own():
    both = {W: G, b: g}
    turn = lg.Symmetry({W: TURNED, b: lg.matmul(epsilon, b)})
    found = lg.noether_identity(both, turn, epsilon)
    alone = lg.noether_identity({W: G}, lg.Symmetry({W: TURNED}), epsilon)
    assert found - alone == lg.matmul(g, lg.transpose(b))
    shift = lg.Symmetry({b: c.dot - lg.matmul(W, c)})
    found = lg.noether_identity(both, shift, c)
    assert found == -g.dot - lg.matmul(lg.transpose(W), g)


def _slopes(theory):
    return {phi: e.lhs for phi, e in zip(theory.fields, theory.equations, strict=True)}


@pytest.mark.parametrize("mass", [0, 1])
def test_currents_of_electrodynamics_are_conserved_off_shell(mass):
    names = [f"A_{v}" for v in "txy"]
    *fields, chi = lg.fields(f"{' '.join(names)} chi", over="t x y")
    a = dict(zip("txy", fields, strict=True))
    sign = {"t": 1, "x": -1, "y": -1}
    pairs = [("t", "x"), ("t", "y"), ("x", "y")]
    density = sum(
        -sign[i] * sign[j] * (a[j].d(i) - a[i].d(j)) ** 2 / 2 for i, j in pairs
    )
    density += mass**2 * sum(sign[i] * a[i] ** 2 for i in a) / 2
    gauge = lg.Symmetry({a[i]: chi.d(i) for i in a})
    found = lg.noether_identity(_slopes(lg.FieldTheory(density)), gauge, chi)
    # A mass breaks the symmetry; what is left is what it makes the equations say.
    divergence = sum(sign[i] * a[i].d(i) for i in a)
    assert sp.expand(found - mass**2 * divergence) == 0


def test_a_charged_field_pays_for_its_current():
    a_t, a_x, chi, u, v = lg.fields("A_t A_x chi u v", over="t x")

    def covariant(i, a):
        return u.d(i) + a * v, v.d(i) - a * u

    parts = [covariant("t", a_t), covariant("x", a_x)]
    squares = [p**2 + q**2 for p, q in parts]
    density = (a_x.d("t") - a_t.d("x")) ** 2 / 2 + (squares[0] - squares[1]) / 2
    slopes = _slopes(lg.FieldTheory(density))
    motion = {a_t: chi.d("t"), a_x: chi.d("x"), u: -v * chi, v: u * chi}
    assert lg.noether_identity(slopes, lg.Symmetry(motion), chi) == 0
    alone = {q: xi for q, xi in motion.items() if q not in (u, v)}
    assert lg.noether_identity(slopes, lg.Symmetry(alone), chi) != 0


@pytest.mark.parametrize("power, holds", [(sp.Rational(1, 2), True), (1, False)])
def test_a_path_without_a_clock_of_its_own(power, holds):
    """Of an action that a change of the parameter leaves alone, <E, qdot> = 0."""
    x, y, shift = lg.coordinates("x y shift")
    lagrangian = (x.dot**2 + y.dot**2) ** power
    slopes = {
        q: lg.gradient(lagrangian, q)
        - lg.total_derivative(lg.gradient(lagrangian, q.dot))
        for q in (x, y)
    }
    found = lg.noether_identity(slopes, lg.Symmetry({}, tau=shift), shift)
    assert (sp.simplify(found) == 0) is holds


def test_derivatives_alternate_in_sign():
    x, slope, shift = lg.coordinates("x E shift")
    symmetry = lg.Symmetry({x: shift + 2 * shift.dot + 3 * x * shift.ddot})
    found = lg.noether_identity({x: slope}, symmetry, shift)
    bent = lg.total_derivative(lg.total_derivative(3 * x * slope))
    assert sp.expand(found - slope + 2 * slope.dot - bent) == 0


def test_what_is_not_local_is_refused():
    symmetry = lg.Symmetry({W: TURNED})
    still = lg.ConstantBlock("A")
    with pytest.raises(InvalidSymmetry, match="no function of time, depth or space"):
        lg.noether_identity({W: G}, lg.Symmetry({W: lg.matmul(still, W)}), still)
    with pytest.raises(InvalidSymmetry, match="no function of time, depth or space"):
        lg.noether_identity({W: G}, symmetry, epsilon.dot)
    with pytest.raises(InvalidSymmetry, match="is not in the motion"):
        lg.noether_identity({W: G}, symmetry, c)
    with pytest.raises(InvalidSymmetry, match="`W`, which has no slope"):
        lg.noether_identity({b: g}, symmetry, epsilon)
    with pytest.raises(InvalidLagrangian, match="`slopes` is the text 'G'"):
        lg.noether_identity({W: "G"}, symmetry, epsilon)
    squared = lg.Symmetry({W: lg.matmul(epsilon, epsilon.dot)})
    with pytest.raises(InvalidSymmetry, match="not linear in `epsilon`"):
        lg.noether_identity({W: G}, squared, epsilon)
