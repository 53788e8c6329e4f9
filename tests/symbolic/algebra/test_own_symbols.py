"""Symbols that the engine names, against a user's of the same name; and equality."""

import copy
import pickle

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import learning_rate

x, y = lg.coordinates("x y")
QUICK = settings(max_examples=15, deadline=None)
ASSUMPTIONS = st.sampled_from(
    [{}, {"real": True}, {"positive": True}, {"nonnegative": True}, {"integer": True}]
)
FREE = (x.dot**2 + y.dot**2) / 2


@QUICK
@given(ASSUMPTIONS, st.sampled_from(["lambda_1", "lambdaprime_1", "lambda_2"]))
def test_a_multiplier_is_none_of_the_users_parameters(given, name):
    k = sp.Symbol(name, **given)
    held = lg.Lagrangian(FREE, k * x, constraints=[y])
    (multiplier,) = held.constraints.multipliers
    assert k != multiplier and str(k) != str(multiplier)
    law = lg.noether(held, lg.Translation(x))
    assert law.is_conserved is False and law.rate == -k
    assert held.equations[0].lhs == x.ddot + k
    assert held.equations[1].lhs == y.ddot - multiplier
    again = lg.Lagrangian(FREE, k * x, constraints=[y])
    assert again.constraints.multipliers == held.constraints.multipliers
    # Without a rival it has the name that everybody gives it.
    (usual,) = lg.Lagrangian(FREE, constraints=[y]).constraints.multipliers
    assert str(usual) == "lambda_1" and sp.latex(usual) == r"\lambda_{1}"


@QUICK
@given(ASSUMPTIONS, st.sampled_from(["p_x", "pprime_x", "p_y", "pdot_x"]))
def test_a_momentum_is_none_of_the_users_parameters(given, name):
    k = sp.Symbol(name, **given)
    transform = lg.Lagrangian(FREE, k * x).hamiltonian
    p, _ = transform.momenta.values()
    assert k not in transform.momenta.values()
    assert str(k) not in map(str, transform.momenta.values())
    assert transform.expression.diff(p) == p and transform.expression.diff(x) == k
    assert transform.rate(p) == -k
    rates = [e.lhs for e in transform.equations[2:]]
    assert k not in rates and [e.rhs for e in transform.equations[2:]] == [-k, 0]
    again = lg.Lagrangian(FREE, k * x).hamiltonian
    assert again.momenta == transform.momenta and again.equations == transform.equations
    # A cyclic momentum is given by the user, in whatever symbol.
    assert lg.routh(lg.Lagrangian(FREE, x**2), {y: k}).V == x**2 + k**2 / 2


@QUICK
@given(ASSUMPTIONS)
def test_a_t_of_the_users_is_not_taken_for_time(given):
    t = sp.Symbol("t", **given)
    assert t != lg.time
    for wrong in (
        lambda: lg.Lagrangian(FREE, t * x),
        lambda: lg.HigherOrderLagrangian(x.ddot**2 - t * x),
        lambda: lg.FieldTheory(t * lg.fields("phi", over="t x").d("t") ** 2),
    ):
        with pytest.raises(lg.InvalidLagrangian, match=r"lg\.time"):
            wrong()


def test_a_step_size_of_the_users_is_theirs():
    """A map may have a parameter called eta; its own step size is then told apart."""
    eta, h = sp.Symbol("eta", positive=True), sp.Symbol("h", positive=True)
    recursion = lg.Recursion({x: -h * eta * x}, step_size=h)
    flow = lg.modified_flow(recursion, 1)
    assert flow.step_size == h and learning_rate not in flow.velocity[x].free_symbols
    assert sp.expand(flow.velocity[x] + eta * x + h * eta**2 * x / 2) == 0


def test_printing_beside_the_users_own():
    k = sp.Symbol("p_x", real=True)
    transform = lg.Lagrangian(x.dot**2 / 2, k * x).hamiltonian
    assert str(transform) == "H = p_x*x + pprime_x**2/2"
    (p,) = transform.momenta.values()
    assert sp.latex(p) == "{p}'_{x}"
    usual = lg.Lagrangian(x.dot**2 / 2, x).hamiltonian.equations
    assert str(usual) == "[Eq(x.dot, p_x), Eq(pdot_x, -1)]"
    assert sp.latex(usual[1].lhs) == r"\dot{p}_{x}"


# ------------------------------------------------------------------ equality

phi = lg.fields("phi", over="t x")
WRITTEN = {
    "lagrangian": lambda k: lg.Lagrangian(
        FREE, k * x, damping=lg.time, forces={y: -k}, constraints=[x + y - k]
    ),
    "blocks": lambda k: lg.HeavyBall(0.1).lagrangian(lg.Scale(f"w{k}").loss),
    "symmetry": lambda k: lg.Symmetry({x: k, y: -x}, tau=k),
    "rotation": lambda k: lg.Rotation(*[lg.coordinates(f"{c}{k}") for c in "xy"]),
    "law": lambda k: lg.noether(lg.Lagrangian(FREE, k * x), lg.TimeTranslation()),
    "higher order": lambda k: lg.HigherOrderLagrangian(x.ddot**2 - k * x),
    "fields": lambda k: lg.FieldTheory(phi.d("t") ** 2 - k * phi.d("x") ** 2),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_twice_is_equal(kind):
    make = WRITTEN[kind]
    k = sp.Symbol("k")
    one, same, other = make(k), make(k), make(2)
    assert one is not same and one == same and hash(one) == hash(same)
    assert one != other and len({one, same, other}) == 2
    assert one != str(one) and one != WRITTEN["symmetry"](7)


def test_what_differs_in_one_part_differs():
    base = {"T": FREE, "V": x * y}
    variants = [
        {"V": x},
        {"damping": lg.time},
        {"forces": {x: y}},
        {"forces": {y: y}},
        {"dissipation": x.dot**2},
        {"constraints": [x - y]},
        {"coordinates": [y, x]},
        {"T": 2 * FREE},
    ]
    made = [lg.Lagrangian(**base), *(lg.Lagrangian(**base | v) for v in variants)]
    assert len(set(made)) == len(made)
    named = lg.Symmetry({x: 1}, name="shift")
    assert named != lg.Translation(x) and lg.Translation(x) == lg.Translation(x, 1)


def test_multipliers_and_momenta_are_pickled_with_their_system():
    k = sp.Symbol("lambda_1")
    held = lg.Lagrangian(FREE, k * x, constraints=[y])
    for found in (pickle.loads(pickle.dumps(held)), copy.deepcopy(held)):
        assert found == held and found.equations == held.equations
        assert found.constraints.multipliers == held.constraints.multipliers
