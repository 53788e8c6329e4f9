"""Taylor recurrences against series by other means."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import CannotLower
from lagrangian.flows.solvers.dormand_prince import DormandPrince
from lagrangian.lowering.functions import FUNCTIONS
from lagrangian.lowering.recurrences import SMOOTH
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.algebra.coordinates import time

x, y = lg.coordinates("x y")
ORDER = 9


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def expanded(series, y, t, order, unit=1.0):
    """The terms about states y, shape (rows, lanes), at one time for all lanes."""
    y = jnp.asarray(y, float)
    lanes = jnp.ones(y.shape[-1])
    expand = jax.jit(series.expand, static_argnums=3)
    return expand(y, t * lanes, unit * lanes, order)


def series_of(force, order=ORDER, q=0.4, v=0.3, t=0.2, matrix=1, values=None):
    """The series of x and of its velocity in matrix * xddot = force."""
    matrix, forcing = sp.Matrix([[matrix]]), sp.Matrix([sp.sympify(force)])
    series = TaylorSeries(matrix, forcing, [x], [x.dot], time, values or {})
    return np.asarray(expanded(series, [[q], [v]], t, order).terms)[:, :, 0].T


def by_high_precision(force, order=ORDER, q=0.4, v=0.3, t=0.2):
    """The same by repeated differentiation of the force along the motion."""
    derivative, values = sp.sympify(force), [sp.Float(q), sp.Float(v)]
    at = {x: sp.Float(q, 30), x.dot: sp.Float(v, 30), time: sp.Float(t, 30)}
    force = derivative
    for _ in range(order - 1):
        values.append(derivative.subs(at).evalf(25))
        derivative = (
            derivative.diff(x) * x.dot
            + derivative.diff(x.dot) * force
            + derivative.diff(time)
        )
    return np.array(
        [float(value / mpmath.factorial(k)) for k, value in enumerate(values)]
    )


FORCES = {
    "products": -x * x.dot + x**2 * time,
    "quotients": x / (2 + x.dot) + 1 / (1 + x**2),
    "a quotient of products": 3 * x * time / ((1 + x) * (2 + x.dot)),
    "powers": (1 + x**2) ** sp.Rational(-3, 2) + sp.sqrt(2 + x) + x**7,
    "a power of a power": (1 + sp.sqrt(1 + x)) ** sp.Rational(1, 3),
    "a moving exponent": (1 + x**2) ** x.dot,
    "nested functions": sp.exp(sp.sin(x) * sp.cos(time)) * sp.log(2 + x.dot),
    "two arguments": sp.atan2(1 + x, 2 + x.dot * time),
    "constants alone": sp.pi / 7,
}


@pytest.mark.parametrize("name", FORCES)
def test_series_are_those_of_repeated_differentiation(name):
    force = FORCES[name]
    q_series, v_series = series_of(force)
    expected = by_high_precision(force, order=5)
    np.testing.assert_allclose(q_series[:6], expected[:6], rtol=2e-13, atol=1e-15)
    orders = np.arange(1, ORDER + 1)
    np.testing.assert_allclose(v_series[:-1], orders * q_series[1:], rtol=1e-14)


@pytest.mark.parametrize(
    "function", sorted(SMOOTH - {sp.atan2}, key=str), ids=lambda f: f.__name__
)
def test_every_function_has_its_recurrence(function):
    beyond_one = (sp.acosh, sp.acoth, sp.asec, sp.acsc)
    start = 1.7 if function in beyond_one else 0.4
    force = function(x)
    q_series, _ = series_of(force, q=start)
    expected = by_high_precision(force, order=5, q=start)
    np.testing.assert_allclose(q_series[:6], expected[:6], rtol=2e-12, atol=1e-14)


def test_only_kinks_and_gamma_have_no_recurrence():
    kinks = {sp.Abs, sp.sign, sp.floor, sp.ceiling, sp.frac, sp.Mod, sp.Min, sp.Max}
    gammas = {sp.gamma, sp.loggamma, sp.factorial, sp.beta}
    gammas |= {sp.lowergamma, sp.uppergamma}
    # The derivative of sinc is a quotient, 0/0 in the middle, and that of Si is sinc.
    others = {sp.Heaviside, sp.sinc, sp.Si}
    assert set(FUNCTIONS) - SMOOTH == kinks | gammas | others
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 + sp.gamma(x + 3)))
    assert isinstance(flow.default_solver(), DormandPrince)


def test_a_mass_that_moves_needs_no_series_of_its_inverse():
    mass = 1 + x**2 * sp.cos(x)
    q_series, _ = series_of(sp.sin(x), matrix=mass)
    expected = by_high_precision(sp.sin(x) / mass, order=5)
    np.testing.assert_allclose(q_series[:6], expected[:6], rtol=1e-12)


def test_a_wrong_recurrence_would_be_seen():
    q_series, _ = series_of(sp.sin(x))
    expected = by_high_precision(sp.sin(x) + sp.Float("1e-9") * x**2, order=5)
    assert np.abs(q_series[:6] / expected[:6] - 1).max() > 1e-10


def test_parameters_may_be_traced():
    k = sp.Symbol("k")

    def third(value):
        series = TaylorSeries(
            sp.Matrix([[1]]), sp.Matrix([-k * x]), [x], [x.dot], time, {k: value}
        )
        return expanded(series, jnp.ones((2, 1)), 0.0, 4).terms[3, 0, 0]

    assert float(jax.grad(third)(2.0)) == pytest.approx(-1 / 6)


def test_lanes_do_not_mix():
    series = TaylorSeries(
        sp.Matrix([[2, sp.cos(x - y)], [sp.cos(x - y), 1]]),
        sp.Matrix([-sp.sin(x), -sp.sin(y) * x.dot]),
        [x, y],
        [x.dot, y.dot],
        time,
        {},
    )
    states = np.random.default_rng(0).normal(size=(4, 5))
    together = expanded(series, states, 0.0, 7)
    for lane in range(5):
        alone = expanded(series, states[:, lane : lane + 1], 0.0, 7)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[..., lane], b[..., 0], rtol=1e-13)


def test_many_coordinates_are_eliminated_in_a_loop():
    q = [sp.Symbol(f"q{i}", real=True) for i in range(11)]
    v = [sp.Symbol(f"v{i}", real=True) for i in range(11)]
    matrix = sp.Matrix(11, 11, lambda i, j: sp.cos(q[i] - q[j]) + (3 if i == j else 0))
    forcing = sp.Matrix([-sp.sin(a) * b for a, b in zip(q, v, strict=True)])
    series = TaylorSeries(matrix, forcing, q, v, time, {})
    start = np.random.default_rng(1).normal(size=(22, 1))
    terms = expanded(series, start, 0.0, 3).terms
    place = dict(zip(q + v, start.ravel(), strict=True))
    dense = np.array(matrix.subs(place), float)
    expected = np.linalg.solve(dense, np.array(forcing.subs(place), float))
    np.testing.assert_allclose(terms[1, 11:], expected, rtol=1e-12)


def test_a_unit_of_time_scales_every_term():
    series = TaylorSeries(
        sp.eye(1), sp.Matrix([sp.cos(time) - sp.sin(x)]), [x], [x.dot], time, {}
    )
    plain, scaled = (
        np.asarray(expanded(series, [[0.4], [0.3]], 0.2, 7, unit).terms)[:, :, 0]
        for unit in (1.0, 0.25)
    )
    powers = 0.25 ** np.arange(8)[:, None]
    np.testing.assert_allclose(scaled, plain * powers, rtol=1e-14)


def test_integrals_of_rates_with_accelerations_are_carried_along():
    """xddot times t^2, which is known only after the accelerations."""
    rates = [x.dot**2, x.ddot * time**2 + sp.exp(x.ddot)]
    series = TaylorSeries(
        sp.Matrix([[2]]), sp.Matrix([-x]), [x], [x.dot], time, {}, rates, [x.ddot]
    )
    terms = np.asarray(expanded(series, [[0.4], [0.3], [0], [5]], 0.2, 6).terms)
    force = -x / 2
    for row, rate in ((2, rates[0]), (3, rates[1].xreplace({x.ddot: force}))):
        derivative, at = rate, {x: 0.4, x.dot: 0.3, time: 0.2}
        for k in range(1, 5):
            value = derivative.subs(at) / mpmath.factorial(k)
            assert terms[k, row, 0] == pytest.approx(float(value), rel=1e-12)
            derivative = (
                derivative.diff(x) * x.dot
                + derivative.diff(x.dot) * force
                + derivative.diff(time)
            )
    assert terms[0, 2:, 0].tolist() == [0.0, 5.0]


@pytest.mark.parametrize("power", [5, 7, 12, 20, sp.Integer(33)])
def test_whole_powers_do_not_divide_by_their_base(power):
    q_series, _ = series_of(-(x**power), q=0.0, v=1.0, order=8)
    expected = np.zeros(9)
    expected[1] = 1
    if power + 2 <= 8:
        expected[power + 2] = -1 / ((power + 1) * (power + 2))
    np.testing.assert_allclose(q_series, expected, atol=1e-16)


@pytest.mark.parametrize(
    ("force", "start", "reach"),
    [
        (sp.exp(-50 * (x - 3) ** 2), 0.0, (0.005, 0.02)),  # B' = 300
        (sp.exp(-50 * (x - 3) ** 2), -997.0, (100, 400)),  # underflows until x = -1
        (1 / (1 + 50 * x**2), -10.0, (2, 12)),
        (sp.tanh(10 * (x - 3)), 0.0, (0.01, 1.0)),
        (sp.sin(30 * x), 0.0, (np.inf, np.inf)),  # shows in every series
    ],
)
def test_functions_that_can_hide_a_feature_are_watched(force, start, reach):
    series = TaylorSeries(sp.eye(1), sp.Matrix([force]), [x], [x.dot], time, {})
    found = float(expanded(series, [[start], [1.0]], 0.0, 8).reach[0])
    assert reach[0] <= found <= reach[1]


def test_a_function_without_recurrence_is_named_with_its_place():
    with pytest.raises(CannotLower, match=r"`Abs` in the equation for `x`"):
        series_of(-sp.Abs(x))
