"""Jets: what a derivative may assume, and what it is called in code."""

import copy
import pickle
import re

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock, EngineBlock
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.fields import Field
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: Each with a motion that has the property at all times, and whose velocity has not.
PROPERTIES = (
    *("positive", "negative", "nonnegative", "nonpositive", "nonzero", "zero"),
    *("integer", "rational", "irrational", "even", "odd", "prime", "composite"),
    *("algebraic", "transcendental", "noninteger", "extended_positive", "finite"),
)
QUICK = settings(max_examples=25, deadline=None)


def assumptions():
    def possible(chosen):
        try:
            sp.Symbol("q", **chosen)
        except sp.core.facts.InconsistentAssumptions:
            return False
        return True

    chosen = st.dictionaries(st.sampled_from(PROPERTIES), st.booleans(), max_size=3)
    return chosen.filter(lambda c: possible({"real": True} | c))


@QUICK
@given(assumptions(), st.integers(1, 5), st.sampled_from([Coordinate, Block]))
def test_a_derivative_is_real_and_nothing_more(chosen, order, kind):
    q = kind("q", **chosen)
    derivative = q
    for _ in range(order):
        derivative = derivative.dot
    plain = sp.Symbol("q", real=True)
    assert derivative.assumptions0 == plain.assumptions0
    assert derivative.base is q and q.assumptions0.items() >= plain.assumptions0.items()
    for name, value in chosen.items():
        assert getattr(q, f"is_{name}") is value
    # Another coordinate of the name has another derivative.
    other = kind("q", **({"positive": True} if chosen else {"negative": True}))
    assert (other.dot == q.dot) == (other == q)


@pytest.mark.parametrize("given", [{"complex": True}, {"imaginary": True}])
def test_a_derivative_of_what_may_be_complex_may_be(given):
    z = lg.coordinates("z", **given)
    assert z.is_real is not True and z.dot.is_real is None and z.dot.is_complex
    assert z.dot.base is z and pickle.loads(pickle.dumps(z.dot)) == z.dot
    assert lg.coordinates("z", real=None).is_real is None
    psi = lg.fields("psi", over="t x", complex=True)
    assert psi.d("t").is_real is None and lg.fields("u", over="x").d("x").is_real
    A = lg.coordinates("A", commutative=False)
    assert A.dot.is_commutative is False and A * A.dot != A.dot * A


def test_drag_against_a_radius_that_shrinks():
    """v' = -c |v| v from v = -1 is v = -1/(1 + c t): r(0.9) = 10 - log(1.9)."""
    r = lg.coordinates("r", positive=True)
    c = sp.Symbol("c", positive=True)
    system = lg.Lagrangian(r.dot**2 / 2, forces={r: -c * sp.Abs(r.dot) * r.dot})
    path = lg.lower(system, {c: 1.0}).integrate({r: 10.0}, {r: -1.0}, (0, 0.9))
    assert path[r.dot][-1] == pytest.approx(-1 / 1.9, rel=1e-6)
    assert path[r][-1] == pytest.approx(10 - np.log(1.9), rel=1e-6)


# ------------------------------------------------------------------ code

PRINTERS = {
    name: getattr(sp, name)
    for name in (
        *("pycode", "ccode", "cxxcode", "fcode", "julia_code", "octave_code"),
        *("rust_code", "jscode", "glsl_code", "rcode", "maple_code"),
        "mathematica_code",
    )
}


def jets_of(kind):
    if kind == "fields":
        u, psi = lg.fields("u", over="t x"), lg.fields("psi", over="t x1", complex=True)
        parts = [u, u.d("t"), u.d("x"), u.d("t", "x"), u.d("t", "t")]
        return [*parts, psi, psi.conjugate(), psi.d("t"), psi.conjugate().d("t")]
    make = {"coordinates": lg.coordinates, "blocks": lg.blocks}[kind]
    found = [make("theta_1"), make("x")]
    for _ in range(5):
        found += [q.dot for q in found[-2:]]
    return found


@pytest.mark.parametrize("kind", ["coordinates", "blocks", "fields"])
@pytest.mark.parametrize("printer", PRINTERS)
def test_every_printer_tells_derivatives_apart_by_identifiers(printer, kind):
    symbols = jets_of(kind)
    texts = [PRINTERS[printer](s).strip() for s in symbols]
    assert len(set(texts)) == len(symbols)
    pattern = r"[A-Za-z][\w$]*" if printer == "mathematica_code" else r"[A-Za-z]\w*"
    assert all(re.fullmatch(pattern, text) for text in texts)


@pytest.mark.parametrize("module", ["numpy", "mpmath", "sympy", "jax", "math"])
def test_lambdify_tells_them_from_each_other_and_from_the_users_own(module):
    x = lg.coordinates("x")
    phi, psi = lg.fields("phi psi", over="t x", complex=True)
    mine, named = sp.symbols("x_dot p_x", real=True)
    system = lg.Lagrangian(x.dot**2 / 2, named * x + mine)
    (p,) = system.hamiltonian.momenta.values()
    symbols = [x, x.dot, x.ddot, mine, p, named, lg.time]
    symbols += [phi, phi.d("t"), phi.conjugate(), psi.d("t", "x")]
    total = sp.Add(*(10**k * s for k, s in enumerate(symbols)))
    function = sp.lambdify(symbols, total, module)
    assert function(1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2) == 21987654321
    assert sp.lambdify([x], x**2, module)(x=3) == 9


def test_generated_python_computes_what_the_expression_says():
    x, y = lg.coordinates("x y")
    expression = x + 10 * x.dot + 100 * x.ddot * sp.sin(y.dot)
    values = {x: 1.0, x.dot: 2.0, x.ddot: 3.0, y.dot: 0.5}
    names = {sp.pycode(s): v for s, v in values.items()}
    found = eval(sp.pycode(expression), {"math": __import__("math")}, names)
    assert found == pytest.approx(float(expression.subs(values)))


NAMESPACE = {
    **vars(sp),
    **{
        c.__name__: c
        for c in (Coordinate, Block, Field, ConstantBlock, EngineBlock, EngineSymbol)
    },
}


def copies(symbol):
    yield eval(sp.srepr(symbol), NAMESPACE)
    yield copy.copy(symbol)
    yield copy.deepcopy(symbol)
    for protocol in range(2, 6):
        yield pickle.loads(pickle.dumps(symbol, protocol))


@pytest.mark.parametrize(
    "symbol",
    [
        *(s for kind in ("coordinates", "blocks", "fields") for s in jets_of(kind)),
        lg.coordinates("r", positive=True).ddot,
        lg.coordinates("z", complex=True).dot,
        lg.blocks("w", unit_axis=-1).dot,
        lg.ConstantBlock("A", parity=-1),
        lg.time,
        EngineBlock("G(w)"),
        lg.Lagrangian(
            lg.coordinates("x").dot ** 2, constraints=[lg.coordinates("x")]
        ).constraints.multipliers[0],
    ],
    ids=str,
)
def test_copies_are_equal(symbol):
    for found in copies(symbol):
        assert found == symbol and hash(found) == hash(symbol)
        assert type(found) is type(symbol) and str(found) == str(symbol)
        assert sp.latex(found) == sp.latex(symbol)
        for name in ("dot", "base", "parity", "unit_axis", "over", "conjugated"):
            assert getattr(found, name, None) == getattr(symbol, name, None)
    inside = sp.sin(symbol) + 2 if symbol.is_commutative else symbol
    assert pickle.loads(pickle.dumps(inside)) == inside
