"""Taylor recurrences against series by other means."""

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import CannotLower
from lagrangian.lowering.functions import FUNCTIONS
from lagrangian.lowering.recurrences import SMOOTH
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.coordinates import time

x, y = lg.coordinates("x y")
ORDER = 9


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def series_of(force, order=ORDER, q=0.4, v=0.3, t=0.2, matrix=1, values=None):
    """The series of x in matrix * xddot = force."""
    matrix, forcing = sp.Matrix([[matrix]]), sp.Matrix([sp.sympify(force)])
    series = TaylorSeries(matrix, forcing, [x], [x.dot], time, values or {})
    coefficients = jax.jit(series.coefficients, static_argnums=3)
    q_series, v_series = coefficients(
        jnp.full((1, 1), q), jnp.full((1, 1), v), jnp.full(1, t), order
    )
    return np.asarray(q_series)[:, 0, 0], np.asarray(v_series)[:, 0, 0]


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
    assert isinstance(flow.default_solver(), diffrax.Dopri8)


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
        q, _ = series.coefficients(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.zeros(1), 4)
        return q[3, 0, 0]

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
    q = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)))
    coefficients = jax.jit(series.coefficients, static_argnums=3)
    together = coefficients(q, q, jnp.zeros(5), 7)
    for lane in range(5):
        alone = coefficients(
            q[:, lane : lane + 1], q[:, lane : lane + 1], jnp.zeros(1), 7
        )
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[..., lane], b[..., 0], rtol=1e-13)


def test_many_coordinates_are_eliminated_in_a_loop():
    q = [sp.Symbol(f"q{i}", real=True) for i in range(11)]
    v = [sp.Symbol(f"v{i}", real=True) for i in range(11)]
    matrix = sp.Matrix(11, 11, lambda i, j: sp.cos(q[i] - q[j]) + (3 if i == j else 0))
    forcing = sp.Matrix([-sp.sin(a) * b for a, b in zip(q, v, strict=True)])
    series = TaylorSeries(matrix, forcing, q, v, time, {})
    start = jnp.asarray(np.random.default_rng(1).normal(size=(2, 11, 1)))
    _, v_series = jax.jit(series.coefficients, static_argnums=3)(
        *start, jnp.zeros(1), 3
    )
    place = dict(zip(q + v, np.asarray(start).ravel(), strict=True))
    dense = np.array(matrix.subs(place), float)
    expected = np.linalg.solve(dense, np.array(forcing.subs(place), float))
    np.testing.assert_allclose(v_series[1], expected, rtol=1e-12)


def test_a_function_without_recurrence_is_named_with_its_place():
    with pytest.raises(CannotLower, match=r"`Abs` in the equation for `x`"):
        series_of(-sp.Abs(x))
