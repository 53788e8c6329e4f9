"""Differentiation on the shared graph, against SymPy's differentiation of trees."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.symbolic.algebra.graph import (
    MOST_TERMS,
    Graph,
    degree,
    nested_sums,
    partials,
    summed,
)

x, y, z = lg.coordinates("x y z")
m, k = sp.symbols("m k", positive=True)
SYMBOLS = [x, y, x.dot, y.dot, m]
POINT = {
    x: sp.Rational(7, 10),
    y: -sp.Rational(13, 10),
    z: sp.Rational(2, 5),
    x.dot: sp.Rational(9, 10),
    y.dot: sp.Rational(-3, 5),
    z.dot: sp.Rational(11, 10),
    m: sp.Rational(17, 10),
    k: sp.Rational(3, 10),
}


def agrees(first, second, tolerance=1e-25):
    """Whether two expressions have the same value, in 40-digit arithmetic."""
    a, b = (sp.sympify(e).evalf(40, subs=POINT) for e in (first, second))
    return abs(a - b) <= tolerance * (1 + abs(a))


def derivative(expression, symbol):
    return summed(partials(expression, [symbol])[symbol])


def combined(children):
    pairs = st.tuples(children, children)
    one = st.sampled_from([sp.sin, sp.cos, sp.tanh, sp.atan, sp.exp, sp.erf, sp.Abs])
    return st.one_of(
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Add(*a)),
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Mul(*a)),
        st.tuples(children, st.sampled_from([2, 3, -1])).map(lambda a: bounded(*a)),
        # Arguments of functions are kept of order one, so that nothing overflows.
        st.tuples(one, children).map(lambda a: a[0](sp.sin(a[1]))),
        pairs.map(lambda a: sp.sqrt(2 + sp.cos(a[0])) * a[1]),
        pairs.map(lambda a: (2 + sp.sin(a[0])) ** sp.cos(a[1])),
        pairs.map(lambda a: sp.Piecewise((a[0], x > 0), (a[1], True))),
        pairs.map(lambda a: sp.Max(a[0], a[1])),
        pairs.map(lambda a: sp.atan2(sp.sin(a[0]), 2 + sp.cos(a[1]))),
    )


def bounded(base, power):
    return base**power if power > 0 else (2 + sp.sin(base)) ** power


expressions = st.recursive(
    st.sampled_from([*SYMBOLS, sp.Integer(2), sp.Rational(1, 3), sp.pi]),
    combined,
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(expressions)
def test_every_partial_is_that_of_sympy(expression):
    found = partials(expression, SYMBOLS)
    for symbol in SYMBOLS:
        assert agrees(summed(found[symbol]), expression.diff(symbol))


def test_a_wrong_derivative_would_be_noticed():
    expression = x**3 * sp.sin(x * y)
    right = derivative(expression, x)
    assert agrees(right, expression.diff(x))
    assert not agrees(right + sp.Rational(1, 10**12), expression.diff(x))
    assert not agrees(derivative(expression, y), expression.diff(x))


@pytest.mark.parametrize(
    "expression",
    [
        sp.Function("f")(x, y**2),
        sp.Function("f")(x * y).diff(x),
        sp.Integral(sp.exp(-(z**2) * x), (z, 0, y)),
        sp.besselj(x, y),
        sp.Abs(x * y) * sp.sign(y) * x,
        sp.Heaviside(x) * x,
        sp.Piecewise((x**2, x < y), (y**2 * x, True)),
    ],
    ids=str,
)
def test_what_has_no_rule_here_is_left_to_sympy(expression):
    for symbol in (x, y):
        difference = derivative(expression, symbol) - expression.diff(symbol)
        assert sp.expand(difference.doit()) == 0


def test_symbols_that_do_not_occur_give_no_terms():
    assert partials(x**2, [x, y]) == {x: [(2, x)], y: []}
    assert partials(sp.Integer(3), [x]) == {x: []}
    assert partials(x, [x]) == {x: [()]}
    assert summed([]) == 0 and summed([()]) == 1


def test_factors_that_do_not_commute_keep_their_order():
    a, b = sp.symbols("a b", commutative=False)
    assert derivative(a * x**2 * b, x) == 2 * x * a * b


def test_a_graph_far_smaller_than_its_tree_is_quick():
    """Each step doubles the tree: 2^60 leaves, 180 nodes."""
    node = x
    for _ in range(60):
        node = sp.Mul(node, sp.sin(node, evaluate=False), evaluate=False)
    order = partials(node, [x])[x]
    assert 0 < len(order) <= 2 * MOST_TERMS


def test_a_sum_within_another_is_passed_once():
    inner, outer, whole = x + y, x + y + z, x + y + z + m
    nested = nested_sums(outer**2 + inner**3 + sp.sin(whole) + (x + z) ** 2)
    assert nested[outer] == (inner, z)
    assert nested[whole] == (outer, m)
    assert inner not in nested and x + z not in nested


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from(SYMBOLS), min_size=1), min_size=1, max_size=6),
    st.lists(st.sampled_from([1, 2, 3, -1]), min_size=6, max_size=6),
)
def test_sums_of_sums_have_their_partials(parts, powers):
    """Sums that contain one another, in every way."""
    sums = [sp.Add(*(sp.sin(s) + s for s in part), 7) for part in parts]
    expression = sp.Add(*(s**p for s, p in zip(sums, powers, strict=False)))
    graph = Graph(expression)
    found = graph.partials(expression, SYMBOLS)
    for symbol in SYMBOLS:
        assert agrees(summed(found[symbol]), expression.diff(symbol))
    first = summed(found[x])
    second = graph.partials(first, SYMBOLS)
    for other in SYMBOLS:
        assert agrees(summed(second[other]), expression.diff(x, other))


def test_the_work_grows_as_the_mass_matrix_does(monkeypatch):
    """In the factors that are multiplied and the terms that are added: with n^2."""

    def work(links):
        count = 0
        made = sp.Basic.__new__

        def counted(cls, *args):
            nonlocal count
            count += len(args)
            return made(cls, *args)

        system, _ = pendulum(links, squares=True)
        with monkeypatch.context() as patch:
            patch.setattr(sp.Basic, "__new__", counted)
            assert system.mass_matrix.shape == (links, links)
            assert system.forcing.shape == (links, 1)
        return count

    small, middle, large = map(work, (6, 12, 24))
    assert large / middle < 4.4
    assert middle / small < 4.4


def pendulum(n, squares):
    """Planar links with the masses at their ends, from the squares of velocities or
    from the cosines of differences."""
    q = lg.coordinates(f"a1:{n + 1}")
    masses, lengths = sp.symbols(f"m1:{n + 1}"), sp.symbols(f"l1:{n + 1}")
    kinetic = potential = sp.S.Zero
    for i, mass in enumerate(masses):
        links = list(zip(q, lengths, strict=True))[: i + 1]
        potential -= mass * sum(length * sp.cos(a) for a, length in links)
        if squares:
            across = sum(length * sp.cos(a) * a.dot for a, length in links)
            up = sum(length * sp.sin(a) * a.dot for a, length in links)
            kinetic += mass / 2 * (across**2 + up**2)
        else:
            kinetic += sum(
                mass / 2 * u * v * a.dot * b.dot * sp.cos(a - b)
                for a, u in links
                for b, v in links
            )
    values = {s: sp.Rational(i + 3, 7) for i, s in enumerate([*masses, *lengths])}
    for i, a in enumerate(q):
        values |= {a: sp.Rational(3 * i - 4, 5), a.dot: sp.Rational(7 - 2 * i, 3)}
    return lg.Lagrangian(kinetic, potential), values


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("n", [2, 4])
def test_the_pendulum_has_the_equations_that_sympy_derives(n, squares):
    system, values = pendulum(n, squares)
    q = system.coordinates
    L = system.undamped
    for i, a in enumerate(q):
        momentum = L.diff(a.dot)
        for j, b in enumerate(q):
            entry = (system.mass_matrix[i, j] - momentum.diff(b.dot)).subs(values)
            assert abs(entry.evalf(30)) < 1e-25
        expected = L.diff(a) - sum(momentum.diff(b) * b.dot for b in q)
        assert abs((system.forcing[i] - expected).subs(values).evalf(30)) < 1e-25
        left = system.equations[i].lhs.subs({b.ddot: 0 for b in q})
        assert abs((left + expected).subs(values).evalf(30)) < 1e-25
    energy = sum(L.diff(a.dot) * a.dot for a in q) - L
    assert abs((system.energy - energy).subs(values).evalf(30)) < 1e-25


def test_the_two_ways_to_write_the_pendulum_agree():
    (first, values), (second, _) = pendulum(3, True), pendulum(3, False)
    difference = (first.forcing - second.forcing).subs(values)
    assert max(abs(entry.evalf(30)) for entry in difference) < 1e-25


def test_the_double_pendulum_reads_as_in_a_textbook(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    m, l, g = parameters
    assert system.mass_matrix == sp.Matrix(
        [[2 * l**2 * m, l**2 * m * sp.cos(a - b)], [l**2 * m * sp.cos(a - b), l**2 * m]]
    )
    turning = l**2 * m * sp.sin(a - b)
    assert system.forcing == sp.Matrix(
        [
            -2 * g * l * m * sp.sin(a) - turning * b.dot**2,
            -g * l * m * sp.sin(b) + turning * a.dot**2,
        ]
    )
    assert system.energy == system.T + system.V
    assert system.equations[0].lhs == (
        2 * l**2 * m * a.ddot
        + l**2 * m * sp.cos(a - b) * b.ddot
        + turning * b.dot**2
        + 2 * g * l * m * sp.sin(a)
    )


def test_terms_cancel_in_a_chain_of_relative_angles():
    a, b = lg.coordinates("a b")
    across = sp.cos(a) * a.dot + sp.cos(a + b) * (a.dot + b.dot)
    up = sp.sin(a) * a.dot + sp.sin(a + b) * (a.dot + b.dot)
    system = lg.Lagrangian((across**2 + up**2) / 2)
    assert system.forcing[1] == (
        a.dot**2 * sp.sin(a) * sp.cos(a + b) - a.dot**2 * sp.sin(a + b) * sp.cos(a)
    )


def test_friction_and_explicit_time_enter_the_forcing():
    t, sigma = lg.time, sp.Symbol("sigma")
    L = lg.Lagrangian(m * (1 + t**2) * x.dot**2 / 2, k * x**2 * t, damping=sigma * t)
    expected = -2 * m * t * x.dot - 2 * k * t * x - sigma * m * (1 + t**2) * x.dot
    assert sp.expand(L.forcing[0] - expected) == 0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (x.dot * y.dot * sp.cos(x), 2),
        (sp.sqrt(x.dot**2 + k * y.dot**2), 1),
        (x**2 * y, 0),
        (x.dot**k, k),
        (x.dot + y.dot**2, None),
        (sp.sin(x.dot), None),
        (2 ** (x.dot), None),
    ],
)
def test_degrees_of_homogeneity(expression, expected):
    assert degree(expression, [x.dot, y.dot]) == expected


def test_the_energy_of_a_relativistic_particle():
    """A Lagrangian that is not homogeneous in the velocity: E = m / sqrt(1 - v^2)."""
    system = lg.Lagrangian(-m * sp.sqrt(1 - x.dot**2))
    assert sp.simplify(system.energy - m / sp.sqrt(1 - x.dot**2)) == 0
