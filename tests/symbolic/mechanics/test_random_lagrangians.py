"""Whatever is written as T and V: the equations that SymPy's `diff` gives."""

import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

x, y, z = COORDINATES = lg.coordinates("x y z")
SPEEDS = [q.dot for q in COORDINATES]
t, m, k = lg.time, *sp.symbols("m k", positive=True)
f = sp.Function("f")

#: What stands before a square of velocities, or in a potential.
FACTORS = [
    *(m, k, sp.Rational(2, 3), sp.Float(0.3), 1 + t**2, sp.exp(-k * t), sp.pi),
    *(2 + sp.cos(x), 2 + sp.sin(x - y), 1 + z**2, f(x), f(x * y), sp.sqrt(2 + x**2)),
    sp.Piecewise((1 + x**2, y > 0), (2 + x * y, True)),
    2 + sp.tanh(x * z),
]
#: What velocities are made of: sums within sums among them.
DIRECTIONS = [
    *SPEEDS,
    x.dot + y.dot,
    x.dot + y.dot + z.dot,
    sp.cos(x) * x.dot,
    sp.cos(x) * x.dot + sp.cos(y) * y.dot,
    sp.cos(x) * x.dot + sp.cos(y) * y.dot + sp.cos(z) * z.dot + t,
    sp.sin(x - y) * z.dot - t * x.dot,
]
TERMS = st.tuples(
    *(st.sampled_from(some) for some in (FACTORS, DIRECTIONS, DIRECTIONS))
).map(lambda parts: sp.Mul(*parts) / 2)
SQUARES = st.tuples(st.sampled_from(FACTORS), st.lists(TERMS, max_size=3)).map(
    lambda parts: parts[0] * (1 + sp.Add(*(v for v in parts[1]))) ** 2
)
KINETIC = st.one_of(
    st.lists(TERMS, max_size=4).map(lambda some: sp.Add(*some)),
    SQUARES,
    st.just(-m * sp.sqrt(9 - x.dot**2 / 4 - z.dot**2 / 9)),
)
POTENTIALS = st.lists(st.sampled_from([*FACTORS, x * y.dot, x * y * z]), max_size=3)

POINT = {
    **dict(zip(COORDINATES, map(sp.Rational, ("2/5", "3/7", "-5/9")), strict=True)),
    **dict(zip(SPEEDS, map(sp.Rational, ("3/4", "-2/3", "7/8")), strict=True)),
    **{t: sp.Rational(3, 5), m: sp.Rational(17, 10), k: sp.Rational(13, 11)},
}


def number(expression):
    held = sp.sympify(expression).replace(f, lambda s: 2 + sp.sin(s)).doit()
    return held.xreplace(POINT).evalf(50)


def close(first, second):
    first, second = number(first), number(second)
    return abs(first - second) <= 1e-14 * (1 + abs(second))


def of_sympy(L, forces, sigma):
    """M, F and the energy by derivatives of the tree."""
    p = [L.diff(v) for v in SPEEDS]
    matrix = [[r.diff(v) for v in SPEEDS] for r in p]
    forcing = [
        L.diff(q)
        - sum(r.diff(b) * b.dot for b in COORDINATES)
        - r.diff(t)
        - sigma.diff(t) * r
        + forces[q]
        for q, r in zip(COORDINATES, p, strict=True)
    ]
    return matrix, forcing, sum(r * v for r, v in zip(p, SPEEDS, strict=True)) - L


@settings(max_examples=40, deadline=None)
@given(KINETIC, POTENTIALS, st.sampled_from([sp.S.Zero, k * t, sp.log(1 + t)]))
def test_equations_are_those_of_sympy(extra, potential, sigma):
    T = m * (x.dot**2 + y.dot**2 + z.dot**2) / 2 + extra
    V = sp.Add(*potential)
    forces = {x: -k * x.dot + sp.sin(t), y: x, z: sp.S.Zero}
    system = lg.Lagrangian(T, V, damping=sigma, forces=forces, coordinates=COORDINATES)
    matrix, forcing, energy = of_sympy(T - V, forces, sigma)
    for i in range(3):
        assert close(system.forcing[i], forcing[i])
        assert all(close(system.mass_matrix[i, j], matrix[i][j]) for j in range(3))
    assert close(system.energy, energy)
    assert not close(system.energy + sp.Rational(1, 10**9), energy)


@settings(max_examples=10, deadline=None)
@given(KINETIC)
def test_constraints_leave_the_equations_beside_their_forces(extra):
    T = m * (x.dot**2 + y.dot**2 + z.dot**2) / 2 + extra
    free = lg.Lagrangian(T, k * x**2)
    held = lg.Lagrangian(T, k * x**2, constraints=[x**2 + y**2 + sp.sin(z) - 1 - t])
    assert held.mass_matrix == free.mass_matrix
    assert held.forcing == free.forcing
    matrix, right = held.saddle_point
    assert matrix[3, :3] == sp.Matrix([[2 * x, 2 * y, sp.cos(z)]])
    expected = sp.sin(z) * z.dot**2 - 2 * x.dot**2 - 2 * y.dot**2
    assert sp.expand(right[3] - expected) == 0
