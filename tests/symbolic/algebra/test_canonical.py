"""Sums and products as SymPy writes them, by the short way."""

import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.symbolic.algebra import canonical
from lagrangian.symbolic.algebra.canonical import product, total

x, y = lg.coordinates("x y")
m, k = sp.symbols("m k", positive=True)
n = sp.Symbol("n", integer=True)
a, b = sp.symbols("a b", commutative=False)
w = lg.Block("w")
f = sp.Function("f")

#: What the short way is for, and what it must hand on.
PLAIN = [
    *(x, y, x.dot, y.dot, m, k, n, lg.time, f(x, y), sp.sin(x), sp.cos(x - y)),
    *(x + y, 2 * x + 2 * y, x - 1, x**2, 1 / y, (x + y) ** 2, (x + y) ** -1),
    *(sp.tan(x) ** -2, -x * y, 2 * x * sp.cos(y), sp.Abs(x), sp.Max(x, y)),
    *map(sp.sympify, (1, -1, 3, "1/2", "-2/3", 0.3, -0.7)),
]
OTHER = [
    *(sp.sqrt(x), sp.sqrt(x + y), sp.exp(x), sp.exp(2 * x), x**n, x**m, 2**x),
    *(sp.pi, sp.E, sp.I, sp.sqrt(2), 1 + sp.sqrt(2), sp.oo, -sp.oo, sp.zoo, sp.nan),
    *(sp.S.Zero, sp.Float(0), sp.Mul(2, x + y, evaluate=False), sp.O(x), a, a * b * x),
    *(sp.Pow(x**2, 3, evaluate=False), sp.Piecewise((x, y > 0), (y, True)), w),
    *(lg.Inner(w, w), sp.Derivative(f(x, y), x), sp.Integral(sp.exp(-(x**2)), x)),
]
LISTS = [st.lists(st.sampled_from(some), max_size=5) for some in (PLAIN, PLAIN + OTHER)]
NESTED = st.one_of(
    *LISTS,
    st.tuples(LISTS[0], LISTS[0], LISTS[1]).map(
        lambda parts: [sp.Add(*parts[0]), sp.Mul(*parts[1]), *parts[2]]
    ),
)


def outcome(make):
    """What comes out, with the order of its arguments; or how it fails."""
    try:
        return sp.srepr(make())
    except Exception as error:
        return type(error)


@settings(max_examples=400, deadline=None)
@given(NESTED)
def test_they_are_what_sympy_makes(parts):
    assert outcome(lambda: product(parts)) == outcome(lambda: sp.Mul(*parts))
    assert outcome(lambda: total(parts)) == outcome(lambda: sp.Add(*parts))


def test_plain_parts_take_the_short_way(monkeypatch):
    factors = [m, x.dot, sp.cos(x - y), 2 * x * y, x + m, sp.Rational(1, 2)]
    terms = [sp.cos(x - y), 2 * x * y, x + m, -m, 3 * f(x, y) * x]
    expected = sp.Mul(*factors), sp.Add(*terms)
    sp.core.cache.clear_cache()
    asked = []
    for kind in (sp.Mul, sp.Add):
        monkeypatch.setattr(kind, "flatten", lambda seq: asked.append(seq))
    assert (product(factors), total(terms)) == expected
    assert not asked


def test_what_cancels_and_what_is_empty():
    assert product([]) == 1
    assert total([]) == 0
    assert product([x, 1 / x, m]) is m
    assert total([2 * x * y, m, -2 * x * y]) is m
    assert product([x + y, 1 / (x + y), m]) == m
    assert total([x / 3, 2 * x / 3]) == x
    assert product([sp.S.Zero, x]) == 0


def test_a_distributed_number_is_sympys_choice():
    assert product([sp.S(2), x + y]) == 2 * x + 2 * y
    assert product([sp.S(2), x + y, m]) == sp.Mul(2, m, x + y)


def test_numbers_are_multiplied_in_the_order_of_sympy():
    """Rounding depends on it."""
    numbers = [sp.Float(0.1), sp.Float(0.7), sp.Float(1.3), sp.Rational(1, 3)]
    parts = [sp.Mul(numbers[0], x), numbers[1], sp.Mul(numbers[2], y), numbers[3]]
    assert sp.srepr(product(parts)) == sp.srepr(sp.Mul(*parts))


def test_sympys_caches_are_emptied_together():
    product([x, y, sp.sin(x)])
    assert canonical._order.cache_info().currsize
    sp.core.cache.clear_cache()
    assert canonical._order.cache_info().currsize == 0
