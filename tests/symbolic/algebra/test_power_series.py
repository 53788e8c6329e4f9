"""Power series: those of functions, and of shifts along a field, against SymPy's."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.power_series import PowerSeries, constant, expansion

x, y = lg.coordinates("x y")
eta = lg.learning_rate


def coefficients(series, order):
    return [sp.expand(series[n]) for n in range(order + 1)]


@pytest.mark.parametrize(
    "expression", [sp.sin(x + eta * y), 1 / (1 + eta * x), eta**2 * y + x]
)
def test_an_expansion_is_that_of_sympy(expression):
    expected = sp.series(expression, eta, 0, 5).removeO()
    found = coefficients(expansion(expression, eta), 4)
    assert found == [sp.expand(expected).coeff(eta, n) for n in range(5)]


def test_series_inside_of_an_expansion():
    """exp(eta a) with a = x + eta y."""
    a = sp.Symbol("a")
    inner = {a: expansion(x + eta * y, eta)}
    found = coefficients(expansion(sp.exp(eta * a), eta, inner), 3)
    plain = coefficients(expansion(sp.exp(eta * (x + eta * y)), eta), 3)
    assert found == plain


def test_a_shift_is_the_flow_of_its_field():
    """xdot = x^2 takes x to x/(1 - eta x); ydot = x takes y along."""
    field = {x: constant(x**2), y: constant(x)}
    later = constant(x + y).shifted(field, lambda j: 1 / sp.factorial(j))
    exact = x / (1 - eta * x) + y - sp.log(1 - eta * x)
    assert coefficients(later, 4) == coefficients(expansion(exact, eta), 4)


def test_a_series_may_be_the_unknown_of_its_equation():
    """s = 1 + eta s^2, the numbers of Catalan."""
    s = PowerSeries(
        lambda n: sp.S.One if n == 0 else sum(s[i] * s[n - 1 - i] for i in range(n))
    )
    assert coefficients(s, 6) == [sp.catalan(n) for n in range(7)]
    with pytest.raises(RecursionError):  # one that needs what it defines has none
        endless = PowerSeries(lambda n: endless[n] + 1)
        _ = endless[0]
