"""Scalars in NumPy, against JAX and 30 digits."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.lowering.in_numpy import InNumpy, NotInNumpy

x, y = lg.coordinates("x y")
m = sp.Symbol("m", positive=True)
ONE = [sp.sin, sp.cos, sp.tan, sp.atan, sp.sinh, sp.cosh, sp.tanh, sp.asinh, sp.exp]
LEAVES = [x, y, m, sp.pi, sp.sqrt(2), sp.Rational(1, 3), sp.Integer(-2), sp.Float(0.3)]


def combined(children):
    return st.one_of(
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Add(*a)),
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Mul(*a)),
        st.tuples(st.sampled_from(ONE), children).map(lambda a: a[0](sp.sin(a[1]))),
        children.map(lambda a: (2 + sp.sin(a)) ** sp.Rational(-3, 2)),
        children.map(lambda a: sp.sqrt(2 + sp.sin(a)) ** 3 + sp.log(2 + sp.cos(a))),
        children.map(lambda a: sp.Abs(a) + sp.atan2(sp.cos(a), 2)),
        children.map(lambda a: sp.asin(sp.sin(a) / 2) * sp.acos(sp.cos(a) / 2)),
        children.map(lambda a: (2 + sp.cos(a)) ** m),
    )


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.sampled_from(LEAVES), combined, max_leaves=8))
def test_the_values_are_those_of_high_precision(expression):
    state = {x: np.array([0.7, -1.3, 0.0]), y: np.array([0.2, 0.9, -0.4])}
    both = [expression, expression * x]
    found = InNumpy(both, [x, y, m])({**state, m: np.float64(1.7)})
    for i in range(3):
        point = {x: state[x][i], y: state[y][i], m: 1.7}
        for e, values in zip(both, found, strict=True):
            exact = float(sp.re(e.evalf(30, subs=point)))
            value = np.broadcast_to(values, 3)[i]
            assert abs(value - exact) <= 1e-11 * (1 + abs(exact))


def test_equal_parts_are_evaluated_once():
    part = sp.sin(x * y)
    program = InNumpy([part + 1, part * x, part], [x, y])
    assert len([f for f, _ in program._operations if f is np.sin]) == 1


@pytest.mark.parametrize(
    "expression",
    [
        sp.Piecewise((x, y > 0), (0, True)),
        sp.Heaviside(x),
        sp.Symbol("unknown") * x,
        sp.gamma(x),
        sp.Function("f")(x),
        sp.I * x,
    ],
    ids=str,
)
def test_anything_else_is_refused(expression):
    with pytest.raises(NotInNumpy):
        InNumpy([expression], [x, y])
