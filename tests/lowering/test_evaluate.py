"""The lowering of scalar expressions against mpmath, in both precisions."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.errors import CannotLower
from lagrangian.lowering import batched_scalars
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.functions import FUNCTIONS, LOGIC, ORDERED, number

x, y = sp.symbols("x y", real=True)
Q = lg.coordinates("q")

EVERYWHERE = [-2.7, -1.0, -0.4, 0.3, 1.0, 2.2, 11.5]
POSITIVE = [0.02, 0.3, 1.0, 2.5, 17.0]
INSIDE = [-0.95, -0.4, 0.0, 0.3, 0.8]
OUTSIDE = [-7.0, -1.3, 1.2, 4.0]

#: Every entry of the table, with arguments all over its documented domain.
CASES = [
    *((f(x), EVERYWHERE) for f in (sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc)),
    *((f(x), EVERYWHERE) for f in (sp.sinh, sp.cosh, sp.tanh, sp.asinh, sp.atan)),
    *((f(x), EVERYWHERE) for f in (sp.coth, sp.sech, sp.csch, sp.exp)),
    (sp.sinc(x), [0.0, *EVERYWHERE]),
    (sp.acot(x), [0.0, *EVERYWHERE, 1e9]),
    *((f(x), INSIDE) for f in (sp.asin, sp.acos, sp.atanh, sp.erfinv)),
    *((f(x), OUTSIDE) for f in (sp.asec, sp.acsc, sp.acoth)),
    (sp.acsch(x), EVERYWHERE),
    (sp.asech(x), [0.02, 0.3, 1.0]),
    (sp.acosh(x), [1.0, 1.5, 9.0]),
    (sp.log(x), POSITIVE),
    *((f(x), [0.0, *EVERYWHERE]) for f in (sp.Abs, sp.sign, sp.floor, sp.ceiling)),
    (sp.frac(x), EVERYWHERE),
    (sp.Heaviside(x), [0.0, *EVERYWHERE]),
    *((f(x), EVERYWHERE) for f in (sp.erf, sp.erfc)),
    (sp.gamma(x), [-3.5, -2.7, -0.4, *POSITIVE]),
    (sp.loggamma(x), POSITIVE),
    (sp.factorial(x), [-3.5, -0.4, 0.0, 0.3, 2.0, 5.5]),
    (sp.beta(x, y), [-2.7, -0.4, *POSITIVE]),
    *((f(y, x), POSITIVE) for f in (sp.lowergamma, sp.uppergamma)),
    *((f(x), EVERYWHERE) for f in (sp.Ei, sp.Si, sp.fresnels, sp.fresnelc)),
    (sp.Ci(x), POSITIVE),
    *((sp.expint(n, x), POSITIVE) for n in (1, 2, 7)),
    *((sp.polygamma(n, x), POSITIVE) for n in (1, 2, 5)),
    (sp.polygamma(0, x), [-2.7, -0.4, *POSITIVE]),
    *((sp.besseli(n, x), [0.0, *EVERYWHERE]) for n in (0, 1)),
    *((f(x, y), EVERYWHERE) for f in (sp.atan2, sp.Mod, sp.Min, sp.Max)),
    (sp.Piecewise((x**2, x < -1), (sp.sin(x), sp.And(x < 2, x > -1)), (y, True)), None),
    (sp.Piecewise((1, sp.Or(x < 0, sp.Eq(x, 1))), (2, sp.Not(x > 3)), (3, True)), None),
]
SECOND = 1.3

#: The functions of `jax.scipy.special` are this accurate, relative to 1 + |value|.
TOLERANCE = {jnp.float64: 2e-13, jnp.float32: 4e-5}


def lowered(expression, *values, dtype=jnp.float64):
    arguments = [jnp.asarray(value, dtype) for value in values]
    return evaluate([expression], dict(zip((x, y), arguments, strict=False)))[0]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda d: d.__name__)
@pytest.mark.parametrize(("expression", "points"), CASES, ids=lambda c: str(c)[:40])
def test_every_function_agrees_with_arbitrary_precision(expression, points, dtype):
    with jax.enable_x64(True):
        for point in points or EVERYWHERE:
            point = float(dtype(point))
            second = float(dtype(SECOND))
            found = lowered(expression, point, second, dtype=dtype)
            assert found.dtype == dtype
            exact = {x: sp.Float(point, 60), y: sp.Float(second, 60)}
            expected = expression.subs(exact).evalf(40)
            error = abs(float(found) - float(expected))
            assert error <= TOLERANCE[dtype] * (1 + abs(float(expected))), point


def test_what_is_evaluated_is_not_refused():
    for expression, _ in CASES:
        check_lowerable({"potential": expression}, [x, y])
    one_sided = lg.Lagrangian(Q.dot**2 / 2, sp.Max(Q, 0) ** 2)
    flow = lg.lower(one_sided)
    with jax.enable_x64(True):
        forces = [
            float(flow.acceleration(jnp.array([at]), jnp.zeros(1))[0])
            for at in (-1.0, 2.0)
        ]
    assert forces == [0.0, -4.0]


def test_the_cases_cover_the_tables():
    nodes = {type(n) for e, _ in CASES for n in sp.preorder_traversal(e)}
    missing = (set(FUNCTIONS) | set(ORDERED)) - nodes
    assert not missing
    assert LOGIC.keys() - nodes <= {
        sp.Not,
        sp.LessThan,
        sp.GreaterThan,
        sp.Unequality,
    }


def test_logic_and_relations():
    conditions = [
        (sp.LessThan(x, y), True),
        (sp.GreaterThan(x, y), False),
        (sp.Unequality(x, y), True),
        (sp.Not(sp.And(x > 0, y > 0), evaluate=False), False),
    ]
    for condition, expected in conditions:
        assert bool(lowered(condition, 0.5, 0.75, dtype=jnp.float32)) is expected


def test_a_wrong_value_would_be_noticed():
    with jax.enable_x64(True):
        found = float(lowered(sp.gamma(x), 2.5))
    assert abs(found - float(mpmath.gamma(2.5))) < 1e-13
    assert abs(found - float(mpmath.gamma(2.5000001))) > 1e-8


@pytest.mark.parametrize(
    ("expression", "point"),
    [
        (sp.loggamma(x), -0.5),
        (sp.polygamma(2, x), -0.5),
        (sp.Ci(x), -0.5),
        (sp.expint(2, x), -0.5),
        (sp.uppergamma(y, x), -0.5),
    ],
)
def test_outside_the_documented_domain_is_nan(expression, point):
    assert np.isnan(lowered(expression, point, SECOND, dtype=jnp.float32))


@pytest.mark.parametrize(
    "constant",
    [
        sp.Rational(1, 3),
        sp.Rational(16777217, 2**24 * 3),
        sp.pi,
        sp.E,
        sp.GoldenRatio,
        sp.EulerGamma,
        sp.sqrt(2),
        sp.log(7) ** 3,
        sp.Float("0.1", 50),
        -sp.Rational(10**40, 3**50),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constants_are_rounded_once_and_correctly(constant, dtype):
    """The rounded number is nearer to the exact one than both of its neighbours."""
    found = dtype(number(constant, dtype))
    assert float(found) == number(constant, dtype)
    exact = sp.N(constant, 60)
    errors = [
        abs(sp.Float(float(candidate), 60) - exact)
        for candidate in (
            found,
            np.nextafter(found, dtype(np.inf)),
            np.nextafter(found, dtype(-np.inf)),
        )
    ]
    assert errors[0] == min(errors)


def test_a_number_between_two_floats_is_not_rounded_twice():
    """1 + 2^-24 + 2^-60 is nearest to 1 + 2^-23, and rounds to 1 through float64."""
    tricky = 1 + sp.Rational(1, 2**24) + sp.Rational(1, 2**60)
    assert number(tricky, np.float32) == 1 + 2.0**-23
    assert np.float32(float(tricky)) == 1.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "expression",
    [
        sp.Rational(1, 3) * x + sp.pi,
        sp.Piecewise((1, x > 0), (2, True)),
        x ** sp.Rational(-3, 2) * y**-2 + x ** sp.Rational(1, 3),
        sp.Max(x, 2) + sp.Heaviside(x) + sp.sqrt(2),
    ],
    ids=str,
)
def test_the_type_of_the_inputs_is_kept(expression, dtype):
    with jax.enable_x64(True):
        assert lowered(expression, 0.7, 1.1, dtype=dtype).dtype == dtype


def test_transformations_of_a_lowered_function():
    expression = sp.sin(x * y) / x + sp.exp(-(x**2)) * sp.gamma(2 + y)
    f = lambda a, b: evaluate([expression], {x: a, y: b})[0]
    with jax.enable_x64(True):
        a, b = jnp.asarray(0.8), jnp.asarray(1.7)
        exact = {x: 0.8, y: 1.7}
        slope = float(expression.diff(x).evalf(30, subs=exact))
        np.testing.assert_allclose(jax.jit(f)(a, b), f(a, b), rtol=1e-15)
        np.testing.assert_allclose(jax.grad(f)(a, b), slope, rtol=1e-13)
        np.testing.assert_allclose(jax.vjp(f, a, b)[1](1.0)[0], slope, rtol=1e-13)
        many = jnp.linspace(0.5, 2.0, 7)
        one_by_one = [f(a, b) for a in many]
        np.testing.assert_allclose(jax.vmap(f, (0, None))(many, b), one_by_one)
        np.testing.assert_allclose(f(many, b), one_by_one)


def test_a_matrix_gives_an_array_and_batches_come_first():
    matrix = sp.Matrix([[x, x * y, 1], [0, sp.cos(y), x]])
    a, b = jnp.asarray([0.5, 1.5]), jnp.asarray([0.1, 0.2])
    (array, scalar) = evaluate([matrix, x + y], {x: a, y: b})
    assert array.shape == (2, 2, 3)
    np.testing.assert_allclose(array[1, 0, 1], 1.5 * 0.2, rtol=1e-6)
    np.testing.assert_allclose(scalar, a + b)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sp.zeta(x), r"`zeta` in the potential has no JAX counterpart here: zeta\(x\)"),
        (sp.besselj(0, x), "`besselj` in the potential"),
        (sp.besseli(2, x), r"`besseli` in the potential.*one of \[0, 1\]"),
        (sp.polygamma(y, x), "`polygamma` in the potential"),
        (sp.Function("f")(x), "`f` in the potential.*it is undefined: put"),
        (sp.Function("f")(x).diff(x), "`f` in the potential.*it is undefined: put"),
        (sp.zeta(x).diff(x), r"`zeta` in the potential.*Derivative\(zeta\(x\), x\)"),
        (sp.Integer(-2) ** sp.Rational(1, 3) * x, "`Pow` in the potential"),
        (sp.Integral(sp.sin(x**x), x), "`Integral` in the potential"),
        (sp.I * x, "`ImaginaryUnit` in the potential"),
        (sp.Piecewise((x, sp.Xor(x > 0, y > 0)), (y, True)), "`Xor` in the potential"),
        (sp.DiracDelta(x), "`DiracDelta` in the potential"),
        (sp.Matrix([[x, sp.zeta(x)]]), "`zeta` in the potential"),
        (sp.Symbol("g") * x, "no value for `g`, which the potential contains"),
    ],
)
def test_what_jax_lacks_is_named_before_tracing(expression, message):
    with pytest.raises(lg.CannotLower, match=message):
        check_lowerable({"potential": expression}, [x, y])


def test_constants_without_a_counterpart_are_evaluated_by_sympy():
    expression = sp.zeta(3) * x + sp.besselj(0, 2)
    check_lowerable({"potential": expression}, [x])
    with jax.enable_x64(True):
        found = lowered(expression, 2.0)
    expected = 2 * mpmath.zeta(3) + mpmath.besselj(0, 2)
    np.testing.assert_allclose(found, float(expected), rtol=1e-15)


# ------------------------------------------------------------------ many scalars


@pytest.fixture
def by_levels(monkeypatch):
    """Small graphs, too, are evaluated as the large ones are."""
    monkeypatch.setattr(batched_scalars, "LARGE", 0)


leaves = st.sampled_from(
    [x, y, sp.Symbol("m"), sp.Integer(3), sp.Rational(2, 7), sp.pi]
)


def combined(children):
    pair = st.tuples(children, children)
    return st.one_of(
        st.lists(children, min_size=2, max_size=5).map(lambda a: sp.Add(*a)),
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Mul(*a)),
        children.map(lambda a: 1 / (2 + sp.cos(a))),
        children.map(lambda a: (2 + sp.sin(a)) ** sp.Rational(-3, 2)),
        pair.map(lambda a: (2 + sp.sin(a[0])) ** sp.tanh(a[1])),
        pair.map(lambda a: sp.atan2(a[0], 3 + sp.cos(a[1]))),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.recursive(leaves, combined, max_leaves=7), min_size=1, max_size=3))
def test_levels_and_nodes_give_the_same_values(expressions):
    values = {sp.Symbol("m"): 1.7}
    with jax.enable_x64(True):
        values |= {x: jnp.asarray(0.6), y: jnp.asarray(-1.1)}
        one_by_one = evaluate(expressions, values)
        together = batched_scalars.evaluate_levels(
            [sp.sympify(e) for e in expressions], values, jnp.float64
        )
    np.testing.assert_allclose(together, one_by_one, rtol=1e-12, atol=1e-12)


def test_levels_keep_types_and_transformations(by_levels):
    expression = sp.sin(x * y) / x + sp.exp(-(x**2)) * (x + y + 1) ** 3
    f = lambda a, b: evaluate([expression], {x: a, y: b})[0]
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(True):
            a, b = jnp.asarray(0.8, dtype), jnp.asarray(1.7, dtype)
            assert batched_scalars.is_large([expression], {x: a, y: b})
            found, slope = jax.jit(jax.value_and_grad(f))(a, b)
            assert found.dtype == slope.dtype == dtype
            exact = {x: sp.Float(float(a)), y: sp.Float(float(b))}
            expected = float(expression.diff(x).evalf(30, subs=exact))
            np.testing.assert_allclose(slope, expected, rtol=20 * jnp.finfo(dtype).eps)
            many = jnp.linspace(0.5, 2.0, 5, dtype=dtype)
            np.testing.assert_allclose(
                jax.vmap(f, (0, None))(many, b),
                [f(a, b) for a in many],
                rtol=20 * jnp.finfo(dtype).eps,
            )


def test_accelerations_by_levels(pendulum, monkeypatch):
    flow = lg.lower(*pendulum)
    with jax.enable_x64(True):
        q, v = jnp.asarray([0.4, -1.2]), jnp.asarray([0.3, 0.9])
        one_by_one = flow.acceleration(q, v)
        monkeypatch.setattr(batched_scalars, "LARGE", 0)
        together = jax.jit(flow.acceleration)(q, v)
    np.testing.assert_allclose(together, one_by_one, rtol=1e-13)


def test_what_levels_cannot_hold_is_walked(by_levels):
    array = jnp.ones(3)
    assert not batched_scalars.is_large([x + y], {x: array, y: 1.0})
    assert not batched_scalars.is_large(
        [sp.Piecewise((x, x > 0), (y, True))], {x: 1.0, y: 1.0}
    )
    assert not batched_scalars.is_large([sp.besseli(0, x)], {x: 1.0})


def test_shapes_that_do_not_go_together_are_named():
    w, A, c = lg.Block("w"), lg.ConstantBlock("A"), lg.ConstantBlock("c")
    shapes = {w: (3, 4), A: (3, 3), c: (5,)}
    values = {symbol: np.ones(shape, np.float32) for symbol, shape in shapes.items()}
    for expression in (lg.matmul(w, A), 2 * c * w, c + w, lg.Inner(c, w)):
        with pytest.raises(CannotLower, match=r"Pass `[Ac]` in a shape that does") as e:
            evaluate([expression], values)
        assert "`w` (3, 4)" in str(e.value)
    with pytest.raises(CannotLower, match="no value for `y` here. Known: `x`"):
        evaluate([x + y], {x: 1.0})
