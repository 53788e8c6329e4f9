"""One function gives the law of every kind of theory, as each has its own formula."""

import pickle

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.learning.rules.rule import mass
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.fields import total

q, r = lg.coordinates("q r")
m, k, mu, e = sp.symbols("m k mu e", positive=True)
t = lg.time
phi, chi = lg.fields("phi chi", over="t x")
t, x = phi.over

MECHANICS = lg.Lagrangian(
    m * (q.dot**2 + r.dot**2 * (1 + q**2)) / 2,
    k * q**2 * r + e * q * r.dot + t * r,
    damping=mu * t,
    forces={q: r.dot},
    dissipation=q.dot**4,
)
HELD = lg.Lagrangian(m * (q.dot**2 + r.dot**2) / 2, k * r, constraints=[q**2 - t * r])
HIGHER = lg.HigherOrderLagrangian(q.ddot**2 * r - q.dot**2 * r.dot + r.dot**2 + t * q)
FIELDS = lg.FieldTheory(
    (phi.d(t) ** 2 - phi.d(x) ** 2) / 2
    + phi.d(t) * chi.d(x) ** 2
    - x * phi**2 * chi
    + chi.d(t) ** 2
)
THEORIES = {
    "mechanics": (MECHANICS, [q, r]),
    "constraints": (HELD, [q, r]),
    "higher order": (HIGHER, [q, r]),
    "fields": (FIELDS, [phi, chi]),
}


def velocity(unknown, variable):
    return unknown.dot if isinstance(unknown, type(q)) else unknown.d(variable)


def excess(theory, law):
    """D_mu J^mu less the rate and what the equations, off shell, add along it."""
    symmetry, left = law.symmetry, -law.rate
    for v, part in law.components.items():
        left += theory.total_derivative(v, part)
    for unknown, equation in zip(theory.coordinates, theory.equations, strict=True):
        shifted = sum(
            rate * velocity(unknown, v) for v, rate in symmetry.shifts.items()
        )
        left -= equation.lhs * (symmetry.xi.get(unknown, 0) - shifted)
    return sp.expand(left)


def on_constraints(expression):
    """J qdot = -b, which the power of a constraint makes use of."""
    rate = total_derivative(q**2 - t * r)
    return sp.expand(expression.subs(q.dot, sp.solve(rate, q.dot)[0]))


@st.composite
def polynomials(draw, symbols):
    picks = st.lists(st.sampled_from(symbols), max_size=2)
    terms = draw(st.lists(st.tuples(st.integers(-3, 3), picks), min_size=1, max_size=3))
    return sp.Add(*(c * sp.Mul(*factors) for c, factors in terms))


@pytest.mark.parametrize("name", THEORIES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_noethers_identity_holds_for_every_theory_and_generator(name, data):
    theory, unknowns = THEORIES[name]
    symbols = [*unknowns, *theory.variables]
    fast = [*symbols, *(velocity(u, theory.variables[0]) for u in unknowns)]
    symmetry = lg.Symmetry(
        {u: data.draw(polynomials(fast)) for u in unknowns},
        tau={v: data.draw(polynomials(symbols)) for v in theory.variables},
        boundary={v: data.draw(polynomials(symbols)) for v in theory.variables},
    )
    law = lg.noether(theory, symmetry)
    left = excess(theory, law)
    assert (on_constraints(left) if theory is HELD else left) == 0


@pytest.mark.parametrize("name", ["mechanics", "higher order", "fields"])
def test_the_identity_notices_what_is_missing(name):
    theory, unknowns = THEORIES[name]
    symmetry = lg.Symmetry(
        {unknowns[0]: unknowns[1]}, tau={t: unknowns[0]}, boundary={t: unknowns[1]}
    )
    law = lg.noether(theory, symmetry)
    for cause, change in law.changes.items():
        if change != 0:
            rest = {n: c for n, c in law.changes.items() if n != cause}
            assert excess(theory, lg.Law(theory, symmetry, law.components, rest)) != 0


# ------------------------------------------------------------------ own formulas


def test_mechanics_by_its_formula():
    """c = dl/dqdot (xi - tau qdot) + tau l - B/e^sigma, l = T - V."""
    plain = lg.Lagrangian(MECHANICS.T, MECHANICS.V, damping=mu * t)
    symmetry = lg.Symmetry({q: r * t, r: q}, tau=q, boundary=r)
    law, bare = lg.noether(plain, symmetry), plain.T - plain.V
    eta = {q: r * t - q * q.dot, r: q - q * r.dot}
    charge = sum(bare.diff(c.dot) * motion for c, motion in eta.items())
    charge += q * bare - r * sp.exp(-mu * t)
    assert sp.expand(law.charge - charge) == 0
    assert law.components == {t: law.charge} and law.lagrangian is plain
    assert list(law.terms())[:5] == [
        *("charge", "kinetic", "potential", "explicit time", "friction")
    ]
    assert (
        sp.expand(law.changes["boundary"] + total_derivative(r * sp.exp(-mu * t))) == 0
    )


def test_higher_derivatives_by_ostrogradskys_formula():
    L, symmetry = HIGHER.expression, lg.Symmetry({q: t, r: q.dot}, tau=r)
    law = lg.noether(HIGHER, symmetry)
    eta = {q: t - r * q.dot, r: q.dot - r * r.dot}
    p = {c: L.diff(c.dot) - total_derivative(L.diff(c.ddot)) for c in (q, r)}
    rates = {c: total_derivative(motion) for c, motion in eta.items()}
    charge = r * L + sum(p[c] * eta[c] + L.diff(c.ddot) * rates[c] for c in (q, r))
    change = total_derivative(r * L) + sum(
        L.diff(c) * eta[c]
        + L.diff(c.dot) * rates[c]
        + L.diff(c.ddot) * total_derivative(rates[c])
        for c in (q, r)
    )
    assert sp.expand(law.charge - charge) == 0
    assert sp.expand(law.rate - change) == 0


def test_fields_by_the_formula_of_currents():
    L = FIELDS.density
    symmetry = lg.Symmetry({phi: chi}, tau={t: x, x: phi}, boundary={x: chi})
    law = lg.noether(FIELDS, symmetry)
    eta = {f: -x * f.d(t) - phi * f.d(x) for f in (phi, chi)}
    eta[phi] += chi
    shifts, change = {t: x, x: phi}, -total(x, chi)
    for v in (t, x):
        flow = sum(L.diff(f.d(v)) * eta[f] for f in eta)
        current = shifts[v] * L + flow - (chi if v == x else 0)
        assert sp.expand(law.components[v] - current) == 0
        change += total(v, shifts[v] * L)
        change += sum(L.diff(f.d(v)) * total(v, eta[f]) for f in eta)
    change += sum(L.diff(f) * eta[f] for f in eta)
    assert sp.expand(law.divergence - change) == 0
    assert law.charge == law.components[t]
    assert list(law.terms()) == ["J^t", "J^x", "variation", "boundary"]


def test_a_symmetry_that_was_found_has_the_law_of_noether():
    """A falling particle's boost: m (t qdot - q) + m g t^2/2."""
    g = sp.Symbol("g", positive=True)
    falling = lg.Lagrangian(m * q.dot**2 / 2, m * g * q)
    laws = {law.symmetry.name: law for law in lg.find_symmetries(falling).found}
    assert all(law == lg.noether(falling, law.symmetry) for law in laws.values())
    assert all(law.is_conserved for law in laws.values())
    boost = laws["Galilean boost"]
    expected = m * t * q.dot - m * q + m * g * t**2 / 2
    assert sp.expand(boost.charge - expected) == 0
    # The boundary is a part of the generator: without it, the charge moves.
    bare = lg.noether(falling, lg.Symmetry(boost.symmetry.xi))
    assert bare.is_conserved is False
    assert sp.expand(bare.charge - bare.boundary - expected) == 0


def test_found_symmetries_of_a_damped_lagrangian():
    damped = lg.Lagrangian(m * q.dot**2 / 2, k * q**2 / 2, damping=mu / m * t)
    (law,) = lg.find_symmetries(damped).found
    whole = sp.exp(mu / m * t) * law.charge
    acceleration = -(k * q + mu * q.dot) / m
    rate = total_derivative(whole).xreplace({q.ddot: acceleration})
    assert sp.simplify(rate) == 0
    assert sp.simplify(law.conserved / whole).is_number


def test_a_rule_has_two_laws_of_one_symmetry():
    rule, scale = lg.HeavyBall(0.1, 0.9), lg.Scale("w")
    (w,) = scale.blocks
    smooth = lg.noether(rule.lagrangian(scale.loss), scale)
    exact = lg.noether(rule.steps(scale.loss), scale)
    assert type(smooth) is type(exact) is lg.Law
    assert smooth.kinetic == mass * lg.Inner(w.dot, w.dot)
    assert exact.kinetic.has(lg.Inner) and exact.changes["loss"] == 0


# ------------------------------------------------------------------ verdicts


def test_verdicts_of_higher_derivatives():
    a, b = sp.symbols("a b", positive=True)
    oscillator = lg.HigherOrderLagrangian(
        (q.ddot**2 - (a**2 + b**2) * q.dot**2 + a**2 * b**2 * q**2) / 2
    )
    energy = lg.noether(oscillator, lg.TimeTranslation())
    assert energy.is_conserved and energy.conserved == energy.charge
    assert lg.noether(oscillator, lg.Scale(q)).is_conserved is False
    assert lg.noether(oscillator, lg.Translation(q)).conserved is None
    # q -> q + s cos(a t) moves every solution to another: a boundary term is found.
    mode = lg.noether(oscillator, lg.Symmetry({q: sp.cos(a * t)}))
    assert mode.is_conserved is False and mode.conserved is not None
    # On shell alone: the generator is the equation itself.
    trivial = lg.noether(oscillator, lg.Symmetry({q: oscillator.equations[0].lhs}))
    assert trivial.rate != 0 and trivial.is_conserved
    # The equations of a degenerate Lagrangian do not give the highest derivatives.
    bound = lg.HigherOrderLagrangian(q.ddot * r.dot)
    assert lg.noether(bound, lg.Scale(q)).is_conserved is None


def test_verdicts_of_fields_that_are_no_polynomials():
    pendula = lg.FieldTheory((phi.d(t) ** 2 - phi.d(x) ** 2) / 2 + sp.cos(phi))
    assert lg.noether(pendula, lg.TimeTranslation()).is_conserved
    moved = lg.noether(pendula, lg.Translation(phi))
    assert moved.is_conserved is False and moved.conserved is None
    f = sp.Function("f")
    unknown = lg.FieldTheory((phi.d(t) ** 2 - phi.d(x) ** 2) / 2 + f(phi))
    assert lg.noether(unknown, lg.Translation(phi)).is_conserved is None


def test_energy_of_fields_is_the_charge_of_time_translation():
    law = lg.noether(FIELDS, lg.TimeTranslation())
    assert sp.expand(law.charge - FIELDS.energy_density) == 0
    assert law.conserved == law.charge


# ------------------------------------------------------------------ refusals


def test_a_symmetry_says_what_it_cannot_move():
    u = lg.fields("u", over="x y")
    static = lg.FieldTheory(u.d("x") ** 2 + u.d("y") ** 2)
    law = lg.noether(static, lg.Translation(u))
    with pytest.raises(lg.LagrangianError, match="are not over time.*`components`"):
        _ = law.charge
    with pytest.raises(lg.InvalidSymmetry, match="moves `t`.*variables are `x`, `y`"):
        lg.noether(static, lg.TimeTranslation())
    with pytest.raises(lg.InvalidSymmetry, match="moves `phi_t`, a derivative"):
        lg.Symmetry({phi.d(t): 1})
    with pytest.raises(lg.InvalidSymmetry, match="`tau` has a part along `q`"):
        lg.Symmetry({}, tau={q: 1})
    with pytest.raises(lg.InvalidSymmetry, match="moves `x`.*variables are `t`"):
        lg.noether(MECHANICS, lg.Symmetry({}, tau={x: 1}))
    with pytest.raises(lg.InvalidSymmetry, match="moves `phi`.*coordinates are `q`"):
        lg.noether(MECHANICS, lg.Symmetry({phi: 1}))
    with pytest.raises(lg.InvalidLagrangian, match="got one of FieldTheory"):
        lg.lower(law)


def test_laws_are_equal_by_content_and_can_be_stored():
    made = [lg.noether(FIELDS, lg.Symmetry({phi: 1}, tau={x: -1})) for _ in range(2)]
    assert made[0] == made[1] and len({*made}) == 1
    assert made[0] != lg.noether(FIELDS, lg.Symmetry({phi: 1}))
    assert made[0] != lg.noether(FIELDS, lg.Symmetry({phi: 1}, boundary={x: 1}))
    for law in (*made, lg.noether(MECHANICS, lg.TimeTranslation())):
        assert pickle.loads(pickle.dumps(law)) == law
