"""Identities that the ring must see, and those that it must not claim to see."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.exact.function_ring import FunctionRing, vanishes

x, y = lg.coordinates("x y")
t = lg.time
m, a, b, k = sp.symbols("m a b k", positive=True)
r = sp.sqrt(x**2 + y**2)


def test_the_ring_differentiates_as_sympy_does():
    functions = [
        sp.sin(x * y) / (1 + sp.cos(x)),
        sp.exp(-a * r) * sp.log(1 + x**2),
        (x**2 + a) ** sp.Rational(5, 3) / x,
        sp.Abs(x - y) * sp.tanh(x),
        r**a * x.dot,
    ]
    variables = (x, y, x.dot, t)
    for function in functions:
        algebra = FunctionRing([function], variables)
        polynomial = algebra.polynomial(function)
        for variable in variables:
            slope = algebra.expression(algebra.derivative(polynomial, variable))
            point = {x: 0.7, y: 0.3, x.dot: 1.1, a: 0.6, t: 0.2}
            exact = function.diff(variable).subs(point).evalf()
            assert abs(slope.subs(point).evalf() - exact) < 1e-12


def test_only_what_is_zero_vanishes():
    assert vanishes(r**2 - x**2 - y**2, (x, y))
    assert vanishes(sp.sin(3 * x) - 3 * sp.sin(x) + 4 * sp.sin(x) ** 3, (x,))
    assert not vanishes(r - x - y, (x, y))
    assert not vanishes(sp.sin(3 * x) - 3 * sp.sin(x), (x,))
    assert not vanishes(a * x - m * x, (x,))


ZERO = [
    sp.cos(x) + sp.cos(x + 2 * sp.pi / 3) + sp.cos(x - 2 * sp.pi / 3),
    sp.sin(x + sp.pi / 3) + sp.sin(x - sp.pi / 3) - sp.sin(x),
    sp.log(6) * x - (sp.log(2) + sp.log(3)) * x,
    sp.log(a * b) - sp.log(a) - sp.log(b),
    sp.log(x * y) - sp.log(x) - sp.log(y),
    sp.log((x**2 + 1) / (y**2 + 1)) - sp.log(x**2 + 1) + sp.log(y**2 + 1),
    sp.log(r) - sp.log(x**2 + y**2) / 2,
    sp.log(3 * sp.exp(a * x)) - a * x - sp.log(3),
    sp.exp(x + 1) - sp.E * sp.exp(x),
    sp.exp(a + b) - sp.exp(a) * sp.exp(b),
    sp.cos((a + b) * t) - sp.cos(a * t) * sp.cos(b * t) + sp.sin(a * t) * sp.sin(b * t),
    sp.tanh(2 * x) - 2 * sp.tanh(x) / (1 + sp.tanh(x) ** 2),
]


@pytest.mark.parametrize("zero", ZERO, ids=str)
def test_identities_reduce_to_zero_and_their_neighbours_do_not(zero):
    assert zero != 0  # SymPy does not see it by itself
    assert vanishes(zero, (x, y, t))
    first = sp.Add.make_args(zero)[0]
    assert not vanishes(zero + first / 7, (x, y, t))


HIDDEN = [
    sp.Abs(x * y) - sp.Abs(x) * sp.Abs(y),
    sp.sqrt(x**4 + 2 * x**2 + 1) - x**2 - 1,
    4**x - 2 ** (2 * x),
    (4**a - 2 ** (2 * a)) * x,
    (a**k * b**k - (a * b) ** k) * x,
    (8 * sp.cos(sp.pi / 7) ** 3 - 4 * sp.cos(sp.pi / 7) ** 2) * x
    + (1 - 4 * sp.cos(sp.pi / 7)) * x,
    (sp.sqrt(3 + 2 * sp.sqrt(2)) - 1 - sp.sqrt(2)) * x,
    ((x**2 + 2 * x + 1) ** a - ((x + 1) ** 2) ** a),
]


@pytest.mark.parametrize("zero", HIDDEN, ids=str)
def test_where_an_identity_hides_the_ring_does_not_claim_to_be_complete(zero):
    point = {
        x: sp.Rational(7, 5),
        y: sp.Rational(-3, 4),
        a: 2,
        b: 3,
        k: sp.Rational(1, 3),
    }
    assert abs(zero.subs(point).evalf(30)) < 1e-25
    found = FunctionRing([zero], (x, y, t))
    assert not found.complete or not found.normal([found.polynomial(zero)])[0]


@pytest.mark.parametrize(
    "function",
    [
        sp.log(x**2 + 1) + sp.log(x) + sp.log(a),
        sp.Abs(x) + sp.Abs(x - y),
        sp.exp(-a * x) * sp.cos(a * x),
        2**x + 3**x,
        sp.exp(1) * x + sp.sin(1),
        sp.log(r) / r,
    ],
    ids=str,
)
def test_the_ring_is_complete_where_it_can_be(function):
    assert FunctionRing([function], (x, y, t)).complete
