"""Field equations that textbooks know, and currents whose identity reduces to zero."""

import pickle

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.fields import divergence

phi = lg.fields("phi", over="t x")
t, x = phi.over
m, c, e = sp.symbols("m c e", positive=True)

WAVE = lg.FieldTheory((phi.d("t") ** 2 - c**2 * phi.d("x") ** 2) / 2)
KLEIN_GORDON = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2 - m**2 * phi**2) / 2)
SINE_GORDON = lg.FieldTheory(
    (phi.d("t") ** 2 - phi.d("x") ** 2) / 2 - (1 - sp.cos(phi))
)
psi, bar = lg.fields("psi psibar", over="t x")
COMPLEX = lg.FieldTheory(
    psi.d("t") * bar.d("t") - psi.d("x") * bar.d("x") - m**2 * psi * bar
)
A_t, A_x, A_y = lg.fields("A_t A_x A_y", over="t x y")
E_x, E_y = -A_x.d("t") - A_t.d("x"), -A_y.d("t") - A_t.d("y")
MAGNETIC = A_y.d("x") - A_x.d("y")
MAXWELL = lg.FieldTheory((E_x**2 + E_y**2 - MAGNETIC**2) / 2)

THEORIES = {
    "wave": WAVE,
    "klein-gordon": KLEIN_GORDON,
    "sine-gordon": SINE_GORDON,
    "complex": COMPLEX,
    "maxwell": MAXWELL,
}


def current(theory, xi, tau=0, boundary=0):
    return lg.noether(theory, lg.Symmetry(xi, tau, boundary=boundary))


def test_known_equations():
    assert WAVE.equations[0].lhs == phi.d("t", "t") - c**2 * phi.d("x", "x")
    box = phi.d("t", "t") - phi.d("x", "x")
    assert sp.expand(KLEIN_GORDON.equations[0].lhs - box - m**2 * phi) == 0
    assert sp.expand(SINE_GORDON.equations[0].lhs - box - sp.sin(phi)) == 0
    # Varying psibar gives the equation of psi.
    by_field = dict(zip(COMPLEX.fields, COMPLEX.equations, strict=True))
    wave = psi.d("t", "t") - psi.d("x", "x") + m**2 * psi
    assert sp.expand(by_field[bar].lhs - wave) == 0


def test_maxwells_equations():
    gauss, ampere_x, _ = MAXWELL.equations
    E = {"x": E_x, "y": E_y}
    flux = divergence({A_x.over[1]: E["x"], A_x.over[2]: E["y"]})
    assert sp.expand(gauss.lhs + flux) == 0
    curl = divergence({A_x.over[2]: MAGNETIC}) - divergence({A_x.over[0]: E_x})
    assert sp.expand(ampere_x.lhs - curl) == 0


@pytest.mark.parametrize("name", THEORIES)
def test_the_divergence_of_a_current_is_an_identity(name):
    """D_mu J^mu = E eta + divergence for generators that are no symmetries at all."""
    theory = THEORIES[name]
    variables = theory.variables
    xi = {f: f**2 + variables[1] for f in theory.fields}
    tau = {variables[0]: variables[1], variables[1]: theory.fields[0] * variables[0]}
    boundary = {variables[1]: theory.fields[0] ** 3}
    law = current(theory, xi, tau, boundary=boundary)
    left = divergence(law.components) - law.divergence
    for f, equation in zip(theory.fields, theory.equations, strict=True):
        eta = xi[f] - sum(rate * f.d(v) for v, rate in tau.items())
        left -= equation.lhs * eta
    assert sp.expand(left) == 0
    assert law.divergence != 0


@pytest.mark.parametrize("name", THEORIES)
def test_translations_give_the_stress_energy_tensor(name):
    theory = THEORIES[name]
    for nu, variable in enumerate(theory.variables):
        law = current(theory, {}, tau={variable: -1})
        assert law.is_conserved
        for mu, component in enumerate(law.components.values()):
            assert sp.expand(component - theory.stress_energy[mu, nu]) == 0


def test_the_energy_density_of_klein_gordon():
    energy = (phi.d("t") ** 2 + phi.d("x") ** 2 + m**2 * phi**2) / 2
    assert sp.expand(KLEIN_GORDON.stress_energy[0, 0] - energy) == 0
    assert KLEIN_GORDON.momenta == {phi: phi.d("t")}


def test_charge_boosts_and_gauge():
    charge = current(COMPLEX, {psi: sp.I * psi, bar: -sp.I * bar})
    assert charge.is_conserved
    density = sp.I * (psi * bar.d("t") - bar * psi.d("t"))
    assert sp.expand(charge.components[t] - density) == 0
    boost = current(KLEIN_GORDON, {}, tau={t: x, x: t})
    assert boost.is_conserved
    assert current(KLEIN_GORDON, {}, tau={t: x, x: -t}).is_conserved is False
    gauge = sp.Function("g")(*A_t.over)
    moved = {A_t: -gauge.diff(A_t.over[0])}
    moved |= {a: gauge.diff(v) for a, v in zip((A_x, A_y), A_t.over[1:], strict=True)}
    assert current(MAXWELL, moved).is_conserved


def test_what_breaks_a_symmetry_is_in_the_divergence():
    uneven = lg.FieldTheory(KLEIN_GORDON.density - x * phi**2)
    assert current(uneven, {}, tau={t: -1}).is_conserved
    assert current(uneven, {}, tau={x: -1}).divergence == phi**2
    massless = current(WAVE, {phi: sp.S.One})
    assert massless.is_conserved
    assert current(KLEIN_GORDON, {phi: sp.S.One}).is_conserved is False


# ------------------------------------------------------------------ complex fields

g = sp.Symbol("g")  # parameters count as real without being declared so
z = lg.fields("z", over="t x", complex=True)
u, v = lg.fields("u v", over="t x")
CHARGED = lg.FieldTheory(
    sp.Abs(z.d("t")) ** 2 - sp.Abs(z.d("x")) ** 2 - g * sp.Abs(z) ** 4 - sp.re(g * z)
)
# z = u + i v
PAIR = lg.FieldTheory(
    sum(f.d("t") ** 2 - f.d("x") ** 2 for f in (u, v)) - g * (u**2 + v**2) ** 2 - g * u
)


def in_pair(expression):
    """An expression in z and its conjugate in the two real fields."""
    split = {}
    for f in expression.atoms(lg.Field):
        if not f.is_real:
            a, b = u.d(*f.index), v.d(*f.index)
            split[f] = a - sp.I * b if f.conjugated else a + sp.I * b
    return sp.expand(expression.xreplace(split))


def test_a_complex_field_and_its_conjugate():
    bar = z.conjugate()
    assert sp.conjugate(z.d("x")) == bar.d("x") and bar.conjugate() == z
    assert bar != z and bar.base == bar and bar.d("t").base == bar
    assert pickle.loads(pickle.dumps(bar.d("x"))) == bar.d("x")
    assert str(bar.d("x", "t")) == "conjugate(z_tx)"
    assert sp.latex(bar.d("x")) == r"\partial_{x} \overline{z}"
    assert u.conjugate() == u and z != lg.fields("z", over="t x")
    assert CHARGED.fields == (z, bar)
    assert CHARGED.real_form.density.atoms(sp.I, sp.conjugate, sp.Abs) == set()


def test_the_equations_of_a_complex_field_are_those_of_two_real_ones():
    """With d/dz = (d/du - i d/dv)/2, E_z = (E_u - i E_v)/2."""
    of_u, of_v = (equation.lhs for equation in PAIR.equations)
    of_z, of_bar = (in_pair(equation.lhs) for equation in CHARGED.equations)
    assert sp.expand(of_z - (of_u - sp.I * of_v) / 2) == 0
    assert sp.expand(of_bar - (of_u + sp.I * of_v) / 2) == 0
    assert in_pair(CHARGED.density) == sp.expand(PAIR.density)


def test_the_stress_energy_of_a_complex_field_is_that_of_two_real_ones():
    difference = CHARGED.stress_energy.applyfunc(in_pair) - PAIR.stress_energy
    assert difference.expand() == sp.zeros(2)
    energy = in_pair(CHARGED.energy_density)
    assert sp.expand(energy - PAIR.energy_density) == 0


@pytest.mark.parametrize(
    ("motion", "xi", "tau"),
    [
        ({z: sp.I * z}, {u: -v, v: u}, {}),  # a phase, which Re z breaks
        ({z: sp.I * g}, {v: g}, {}),
        ({z: z}, {u: u, v: v}, {t: t, x: x}),
        ({}, {}, {x: -1}),
    ],
)
def test_the_currents_of_a_complex_field_are_those_of_two_real_ones(motion, xi, tau):
    law, expected = current(CHARGED, motion, tau), current(PAIR, xi, tau)
    for variable in (t, x):
        difference = in_pair(law.components[variable])
        assert sp.expand(difference - expected.components[variable]) == 0
    assert sp.expand(in_pair(law.divergence) - expected.divergence) == 0
    assert law.is_conserved == expected.is_conserved == (not motion)


def test_a_phase_is_a_symmetry_where_the_density_has_it():
    free = lg.FieldTheory(CHARGED.density + sp.re(g * z))
    law = current(free, {z: sp.I * z})
    assert law.is_conserved
    bar = z.conjugate()
    density = sp.I * (z * bar.d("t") - bar * z.d("t"))
    assert sp.expand(law.components[t] - density) == 0
    # The motion of the conjugate, and both, say the same.
    both = current(free, {z: sp.I * z, bar: -sp.I * bar})
    assert current(free, {bar: -sp.I * bar}) == law == both
    assert current(CHARGED, {z: sp.I * z}).is_conserved is False


def test_the_density_of_schroedinger_is_real_up_to_a_divergence():
    bar = z.conjugate()
    hermitian = sp.I * (bar * z.d("t") - z * bar.d("t")) / 2
    for first in (hermitian, sp.I * bar * z.d("t")):
        theory = lg.FieldTheory(first - sp.Abs(z.d("x")) ** 2 / 2)
        expected = -sp.I * z.d("t") - z.d("x", "x") / 2
        assert sp.expand(theory.equations[1].lhs - expected) == 0
        probability = current(theory, {z: -sp.I * z})
        assert probability.is_conserved


def test_printing_and_pickling():
    assert str(phi.d("x", "t")) == "phi_tx"
    assert sp.latex(phi.d("x")) == r"\partial_{x} \phi"
    copy = pickle.loads(pickle.dumps(phi.d("x")))
    assert copy == phi.d("x") and copy.base == phi
    assert phi.d("x") != phi and phi != sp.Symbol("phi", real=True)
    assert repr(KLEIN_GORDON).startswith("FieldTheory: L = ")
    assert KLEIN_GORDON._repr_latex_().startswith(r"$\displaystyle \mathcal{L} =")
    assert "J^t" in str(current(WAVE, {phi: sp.S.One}))
    assert "J^{t} &:" in current(WAVE, {phi: sp.S.One})._repr_latex_()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: phi.d("y"), "`phi` does not depend on `y`"),
        (lambda: lg.fields("u", over="t x x"), "names a variable twice"),
        (lambda: lg.FieldTheory(m), "contains no field"),
        (lambda: lg.FieldTheory("phi**2"), "`density` is the text 'phi"),
        (lambda: lg.FieldTheory(phi.d("x", "x") ** 2), "`phi_xx`, above the first"),
        (lambda: lg.FieldTheory(phi * A_t), "over the same variables"),
        (lambda: current(WAVE, {psi: psi}), "moves `psi`.*coordinates are `phi`"),
        (lambda: lg.FieldTheory(z.d("t") ** 2), "the action is not real"),
        (lambda: lg.FieldTheory(z * z.conjugate() * sp.I), "the action is not real"),
        (
            lambda: current(CHARGED, {z: sp.I * z, z.conjugate(): z}),
            "is not the conjugate of the motion",
        ),
    ],
)
def test_errors_name_what_is_wrong(build, message):
    with pytest.raises((lg.InvalidLagrangian, lg.InvalidSymmetry), match=message):
        build()


def test_first_order_equations_leave_the_verdict_open():
    """u v is conserved by u (v_t - v_x), whose density vanishes on shell."""
    first_order = lg.FieldTheory(u * v.d("t") - u * v.d("x"))
    law = current(first_order, {u: u, v: v})
    assert law.components == {t: u * v, x: -u * v}
    equations = {v.d("t"): v.d("x"), u.d("t"): u.d("x")}
    on_shell = divergence(law.components).xreplace(equations)
    assert sp.expand(on_shell) == 0
    assert law.is_conserved is None


def test_higher_derivatives_are_those_of_the_equations():
    """Energy as the charge of xi = -phi_t, and what only the equations show."""
    motion = -phi.d("t")
    density = KLEIN_GORDON.density
    assert current(KLEIN_GORDON, {phi: motion}).is_conserved is False
    assert current(KLEIN_GORDON, {phi: motion}, boundary={t: -density}).is_conserved
    # phi -> phi + s (phi_tt - phi_xx + m^2 phi) moves no solution.
    trivial = current(KLEIN_GORDON, {phi: KLEIN_GORDON.equations[0].lhs})
    assert trivial.divergence != 0 and trivial.is_conserved
    moved = current(KLEIN_GORDON, {phi: KLEIN_GORDON.equations[0].lhs + phi})
    assert moved.is_conserved is False


def test_a_boundary_along_another_symbol_is_refused():
    with pytest.raises(
        lg.InvalidSymmetry, match="boundary along `x`.*variables are `t`"
    ):
        current(WAVE, {phi: 1}, boundary={sp.Symbol("x"): phi})
    with pytest.raises(lg.InvalidSymmetry, match="`xi` is 'phi'"):
        lg.Symmetry("phi")
