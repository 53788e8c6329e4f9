"""Series by machine code against those by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.lowering.native import recursion
from lagrangian.lowering.native.code import Code, NotNative
from lagrangian.lowering.native.compiled import Compiled
from lagrangian.lowering.native.recursion import Recursion, check_native, coefficients
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.algebra.coordinates import time

x, y = lg.coordinates("x y")
ORDER = 10
NEVER, ALWAYS = 0, 10**9
ways = pytest.mark.parametrize("written_out", [NEVER, ALWAYS], ids=["loop", "lines"])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def series_of(matrix, forcing, rates=()):
    positions = [x, y][: len(forcing)]
    velocities = [q.dot for q in positions]
    matrix, forcing = sp.Matrix(matrix), sp.Matrix(forcing)
    return TaylorSeries(matrix, forcing, positions, velocities, time, {}, rates)


def by_machine(series, state, t, unit):
    """What `expand` gives, flat: terms, reach, gross and masses."""
    check_native(series, ORDER)
    code = Code("expand", ["given", "out"])
    pointer, out = code.pointers
    read = [code.read(pointer, place=i) for i in range(len(state) + 2)]
    column = np.array(read[2:], object)[:, None]
    code.label("all")
    weigh = {w: float(w) for w in coefficients(series)}.__getitem__
    found = Recursion(code, series, weigh, ORDER).expand(
        column, np.array(read[:1]), np.array(read[1:2])
    )
    flat = [value for part in found for value in np.asarray(part, object).flat]
    for place, value in enumerate(flat):
        code.write(value, out, place=place)
    result = np.full(len(flat), np.nan)
    Compiled(code)(np.array([t, unit, *state]), result)
    return result


def by_jax(series, state, t, unit):
    state = jnp.asarray(state, float)[:, None]
    expand = jax.jit(series.expand, static_argnums=3)
    found = expand(state, jnp.full(1, t), jnp.full(1, unit), ORDER)
    return np.concatenate([np.ravel(part) for part in found])


def check(series, state, t=0.3, unit=0.5):
    found, expected = (way(series, state, t, unit) for way in (by_machine, by_jax))
    size = np.abs(expected[np.isfinite(expected)]).max(initial=1e-300)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * size)


SYSTEMS = {
    "products": ([[1]], [-x * x.dot + x**2 * time + x**7], ()),
    "quotients": ([[1]], [x / (2 + x.dot) + 1 / (1 + x**2)], ()),
    "powers": (
        [[1]],
        [(1 + x**2) ** sp.Rational(-3, 2) + (2 + x) ** sp.Rational(1, 3)],
        (),
    ),
    "roots": ([[1]], [sp.sqrt(2 + x) + (2 + x) ** sp.Rational(3, 2)], ()),
    "functions": ([[1]], [sp.exp(sp.sin(x) * sp.cos(time)) * sp.log(2 + x.dot)], ()),
    "two arguments": ([[1]], [sp.atan2(1 + x, 2 + x.dot * time)], ()),
    "watched": (
        [[1]],
        [sp.exp(-(x**2)) + sp.tanh(30 * x) + sp.erf(x) / (1 + x**2)],
        (),
    ),
    "a mass that moves": ([[1 + x**2 * sp.cos(x)]], [sp.sin(x)], ()),
    "coupled": (
        [[2, sp.cos(x - y)], [sp.cos(x - y), 1]],
        [-sp.sin(x) * y.dot**2, sp.sin(y) + x.dot * time],
        (x.dot * y, sp.cos(y)),
    ),
    "constants": ([[3]], [sp.pi / 7], (sp.S.One,)),
    "nothing": ([[1]], [sp.S.Zero], (sp.S.Zero,)),
}
STATES = ([0.4, 0.3], [0.0, 0.0], [-1.3, 2.0], [0.4, 0.0], [0.0, 1e-8])


@ways
@pytest.mark.parametrize("name", SYSTEMS)
def test_they_agree(name, written_out, monkeypatch):
    monkeypatch.setattr(recursion, "_WRITTEN_OUT", written_out)
    series = series_of(*SYSTEMS[name])
    for q, v in STATES:
        n = series.count
        state = [q, q + 0.1][:n] + [v, -v][:n] + [0.0] * series.integrals
        check(series, state)


@ways
def test_another_force_is_another_series(written_out, monkeypatch):
    """The control: a difference of 1e-9 is seen."""
    monkeypatch.setattr(recursion, "_WRITTEN_OUT", written_out)
    one, other = (
        series_of([[1]], [sp.sin(x) + sp.Float(e) * x**3]) for e in ("0", "1e-9")
    )
    found = by_machine(one, [0.4, 0.3], 0.0, 0.5)
    expected = by_jax(other, [0.4, 0.3], 0.0, 0.5)
    finite = np.isfinite(expected)
    assert np.abs(found[finite] - expected[finite]).max() > 1e-12


ATOMS = st.sampled_from([x, y, x.dot, y.dot, time, sp.S.Half, sp.Integer(-2)])


def grown(terms):
    """Expressions that are smooth for all real arguments."""
    pairs = st.tuples(terms, terms)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        pairs.map(lambda p: p[0] / (2 + p[1] ** 2)),
        st.tuples(
            terms, st.sampled_from([sp.sin, sp.cos, sp.tanh, sp.atan, sp.erf])
        ).map(lambda p: p[1](p[0])),
        st.tuples(
            terms, st.sampled_from(["-3/2", "-1/2", "1/2", "3/2", "1/3", "-1"])
        ).map(lambda p: (1 + p[0] ** 2) ** sp.Rational(p[1])),
        terms.map(lambda e: e**3),
    )


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.recursive(ATOMS, grown, max_leaves=6), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.0, 1.0, -0.7, 0.25, 1e-9]), min_size=4, max_size=4),
    st.sampled_from([NEVER, ALWAYS]),
)
def test_they_agree_on_random_systems(expressions, state, written_out):
    first, second, rate = expressions
    matrix = [[2 + sp.cos(x), sp.S.Half], [sp.S.Half, 1]]
    series = series_of(matrix, [first, second], (rate,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recursion, "_WRITTEN_OUT", written_out)
        check(series, [*state, 0.0])


def test_what_is_too_large_or_needs_pivots_is_left_to_jax(monkeypatch):
    with pytest.raises(NotNative, match="diagonal"):
        check_native(series_of([[0, 1], [1, 0]], [x, y]), ORDER)
    series = series_of([[1]], [sp.sin(x)])
    check_native(series, ORDER)
    monkeypatch.setattr(recursion, "_MOST_UNKNOWNS", 1)
    check_native(series_of([[1, 0], [0, 2]], [x, y]), ORDER)
    with pytest.raises(NotNative, match="unknowns"):
        check_native(series_of([[2, 1], [1, 2]], [x, y]), ORDER)
    monkeypatch.setattr(recursion, "_MOST_NODES", 1)
    with pytest.raises(NotNative, match="order"):
        check_native(series, 10_000)
    with pytest.raises(NotNative, match="nodes"):
        check_native(series, ORDER)
