"""Velocities from momenta: the branch through rest, real and short."""

import mpmath as mp
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

x, y, z, r, theta = lg.coordinates("x y z r theta")
m, c = sp.symbols("m c", positive=True)
k, B, J, K = sp.symbols("k B J K", real=True)
QUICK = settings(max_examples=8, deadline=None)


def at_rest_energy(speed_squared):
    return -m * c**2 * sp.sqrt(1 - speed_squared / c**2)


def test_a_cubic_momentum_has_a_real_velocity_of_its_sign():
    transform = lg.Lagrangian(x.dot**4 / 4).hamiltonian
    (p,) = transform.momenta.values()
    (v,) = transform.velocities.values()
    assert [v.subs(p, 8 * s) for s in (-1, 0, 1)] == [-2, 0, 2]
    assert sp.simplify(transform.expression - sp.Rational(3, 4) * sp.Abs(v) ** 4) == 0


@pytest.mark.parametrize(
    ("squared", "metric"),
    [
        (x.dot**2, {x: 1}),
        (x.dot**2 + y.dot**2, {x: 1, y: 1}),
        (x.dot**2 + y.dot**2 + z.dot**2, {x: 1, y: 1, z: 1}),
        (r.dot**2 + r**2 * theta.dot**2, {r: 1, theta: 1 / r**2}),
        ((x.dot - y.dot) ** 2 + y.dot**2, None),
    ],
    ids=str,
)
def test_a_relativistic_particle_is_written_as_in_the_books(squared, metric):
    V = sp.Function("V")(next(iter(metric or [x])))
    transform = lg.Lagrangian(at_rest_energy(squared), V).hamiltonian
    if metric:
        size = sum(g * transform.momenta[q] ** 2 for q, g in metric.items())
    else:
        p, q = transform.momenta.values()
        size = p**2 + (p + q) ** 2
    expected = c * sp.sqrt(m**2 * c**2 + size) + V
    assert sp.simplify(transform.expression - expected) == 0
    if metric:
        assert sp.count_ops(transform.expression) <= sp.count_ops(expected)


def test_in_a_magnetic_field():
    system = lg.Lagrangian(
        at_rest_energy(x.dot**2 + y.dot**2), -B / 2 * (x * y.dot - y * x.dot)
    )
    p, q = system.hamiltonian.momenta.values()
    size = (p + B * y / 2) ** 2 + (q - B * x / 2) ** 2
    expected = c * sp.sqrt(m**2 * c**2 + size)
    assert sp.simplify(system.hamiltonian.expression - expected) == 0


def test_a_sum_of_kinds_is_solved_part_by_part():
    system = lg.Lagrangian(
        x.dot**4 / 4 + (1 + x**2) * y.dot**2 / 2 - sp.sqrt(1 - z.dot**2), x * y
    )
    p, q, s = system.hamiltonian.momenta.values()
    assert system.hamiltonian.velocities[y] == q / (1 + x**2)
    assert system.hamiltonian.velocities[z] == s / sp.sqrt(1 + s**2)
    assert system.hamiltonian.expression.subs({p: -8, q: 0, s: 0}) == 13 + x * y


KINETIC = {
    "power": lambda n, a: a * sp.Abs(x.dot) ** n / n,
    "even power": lambda n, a: a * x.dot ** (2 * n) / n,
    "drifting": lambda n, a: a * x.dot ** (2 * n) / n - k * x * x.dot,
    "quartic and square": lambda n, a: x.dot**4 / 4 + a * x.dot**2,
    "relativistic": lambda n, a: -a * sp.sqrt(1 - x.dot**2 / n**2),
    "curved": lambda n, a: -a * sp.sqrt(1 + x**2 - x.dot**2),
    "hyperbolic": lambda n, a: a * sp.cosh(x.dot),
    "plane power": lambda n, a: a * (x.dot**2 + (1 + x**2) * y.dot**2) ** n,
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow)
        if kind == "quartic and square"  # roots of cubics
        else kind
        for kind in KINETIC
    ],
)
@settings(max_examples=3, deadline=None)
@given(
    n=st.integers(2, 4),
    a=st.fractions(min_value="1/3", max_value=3, max_denominator=4),
    seed=st.integers(0, 5),
)
def test_velocities_come_back_from_momenta_of_either_sign(kind, n, a, seed):
    system = lg.Lagrangian(KINETIC[kind](n, sp.Rational(a)))
    transform = system.hamiltonian
    for sign in (-1, 1):
        speed = sp.Rational(3 + seed, 10) * sign
        state = {x: sp.Rational(2, 7), k: -sp.Rational(5, 3), x.dot: speed}
        state |= {y: 1, y.dot: -speed / 3}
        known = {
            p: system.momenta[q].subs(state).evalf(40)
            for q, p in transform.momenta.items()
        }
        fixed = {s: state[s] for s in (x, y, k)} | known
        for q, v in transform.velocities.items():
            value = v.subs(fixed).evalf(30)
            assert value.is_real and abs(value - state[q.dot]) < 1e-25
        energy = system.energy.subs(state).evalf(30)
        assert abs(transform.expression.subs(fixed).evalf(30) - energy) < 1e-25


@pytest.mark.parametrize(
    ("T", "message"),
    [
        (
            x.dot**4 / 4 - x.dot**2 / 2,
            "could not be solved",
        ),  # two wells: no one branch
        (x.dot**2 + sp.exp(x.dot) + sp.cos(x.dot), "could not be solved"),
        ((x.dot + y.dot) ** 2, "momenta of `x`, `y` do not determine"),
        ((x.dot + y.dot) ** 4, "could not be solved"),
    ],
)
def test_what_has_no_inverse_is_refused(T, message):
    with pytest.raises(lg.InvalidLagrangian, match=message):
        lg.Lagrangian(T).hamiltonian  # noqa: B018


def test_blocks_are_refused_by_name():
    w = lg.blocks("w")
    system = lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2)
    with pytest.raises(lg.InvalidLagrangian, match="scalar coordinates"):
        system.hamiltonian  # noqa: B018
    with pytest.raises(lg.InvalidLagrangian, match="with the block `w`"):
        lg.Lagrangian(system.T, constraints=[lg.Inner(w, w) - 1])


# ------------------------------------------------------------------ reductions


@QUICK
@given(
    entries=st.lists(st.integers(-3, 3), min_size=6, max_size=6),
    magnetic=st.integers(-2, 2),
)
def test_coupled_cyclic_coordinates_are_reduced_together(entries, magnetic):
    """Routh's equation for z, with x' and y' of the momenta, is that of the whole."""
    a, b, d, e, f, g = entries
    T = (a * x.dot**2 + 2 * b * x.dot * y.dot + d * y.dot**2) / 2 + z.dot**2 * 5
    T += z.dot * (e * x.dot + f * z * y.dot) + sp.sin(z) * x.dot * y.dot + x.dot**2
    T += y.dot**2 + g * z**2 * x.dot**2
    whole = lg.Lagrangian(T, sp.cos(z) + magnetic * z * x.dot)
    reduced = lg.routh(whole, {x: J, y: K})
    state = {z: sp.Rational(3, 7), z.dot: sp.Rational(-2, 5), x.dot: sp.Rational(1, 3)}
    state |= {y.dot: sp.Rational(5, 4)}
    momenta = {s: whole.momenta[q].xreplace(state) for s, q in ((J, x), (K, y))}
    solved = whole.mass_matrix.LUsolve(whole.forcing).xreplace(state).evalf(30)
    matrix, right = reduced.mass_matrix, reduced.forcing
    found = matrix.LUsolve(right).xreplace(momenta).xreplace(state).evalf(30)
    position = whole.coordinates.index(z)
    assert abs(found[0] - solved[position]) < 1e-20


def test_what_one_momentum_does_not_determine():
    system = lg.Lagrangian(x.dot * y.dot + z.dot**2 / 2, z**2)
    with pytest.raises(lg.InvalidLagrangian, match="coupled to these"):
        lg.routh(system, {x: J})
    reduced = lg.routh(system, {x: J, y: K})
    assert reduced == lg.Lagrangian(z.dot**2 / 2, z**2 + J * K)
    with pytest.raises(lg.InvalidLagrangian, match="nothing is left"):
        lg.routh(lg.Lagrangian(x.dot**2), {x: J})


def test_a_relativistic_particle_loses_two_coordinates():
    speed = x.dot**2 + y.dot**2 + z.dot**2
    reduced = lg.routh(lg.Lagrangian(at_rest_energy(speed), k * z), {x: J, y: K})
    heavier = sp.sqrt(m**2 * c**2 + J**2 + K**2)
    expected = lg.Lagrangian(-c * heavier * sp.sqrt(1 - z.dot**2 / c**2), k * z)
    values = {m: 1.5, c: 2, k: 0.7, J: 0.4, K: -1.1, z: 0.3, z.dot: 0.9}
    for name in ("mass_matrix", "forcing"):
        mine, other = (getattr(s, name)[0].subs(values) for s in (reduced, expected))
        assert mp.almosteq(mine, other, 1e-12)
