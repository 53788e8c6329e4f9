"""Equations of motion against independent sources, numerically at random states."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.physics.mechanics import LagrangesMethod, dynamicsymbols

import lagrangian as lg

x, y, z, r, theta, phi = lg.coordinates("x y z r theta phi")
m, k, g, l, B, w = sp.symbols("m k g l B w", positive=True)
sin, cos, sqrt = sp.sin, sp.cos, sp.sqrt

#: name -> (T, V), every kind that textbooks have.
SYSTEMS = {
    "oscillator": (m * x.dot**2 / 2, k * x**2 / 2),
    "kepler": (m * (r.dot**2 + r**2 * phi.dot**2) / 2, -k / r),
    "henon-heiles": (
        (x.dot**2 + y.dot**2) / 2,
        (x**2 + y**2) / 2 + x**2 * y - y**3 / 3,
    ),
    "spherical pendulum": (
        m * l**2 * (theta.dot**2 + sin(theta) ** 2 * phi.dot**2) / 2,
        m * g * l * cos(theta),
    ),
    "double pendulum": (
        m
        * l**2
        * (theta.dot**2 + phi.dot**2 / 2 + theta.dot * phi.dot * cos(theta - phi)),
        -m * g * l * (2 * cos(theta) + cos(phi)),
    ),
    "elastic pendulum": (
        m * (r.dot**2 + r**2 * theta.dot**2) / 2,
        k * (r - l) ** 2 / 2 - m * g * r * cos(theta),
    ),
    "bead on a rotating hoop": (
        m * l**2 * (theta.dot**2 + w**2 * sin(theta) ** 2) / 2,
        -m * g * l * cos(theta),
    ),
    "charge in a magnetic field": (
        m * (x.dot**2 + y.dot**2 + z.dot**2) / 2,
        -B / 2 * (x * y.dot - y * x.dot) + k * z**2,
    ),
    "rotating frame": (
        m * ((x.dot - w * y) ** 2 + (y.dot + w * x) ** 2) / 2,
        k * (x**2 + 2 * y**2) / 2,
    ),
    "cart and pendulum": (
        m * x.dot**2
        + m * (x.dot**2 + 2 * l * x.dot * theta.dot * cos(theta)) / 2
        + m * l**2 * theta.dot**2 / 2,
        -m * g * l * cos(theta),
    ),
    "driven pendulum": (
        m
        * (l**2 * theta.dot**2 + 2 * l * w * theta.dot * cos(theta) * cos(lg.time))
        / 2,
        -m * g * l * cos(theta),
    ),
    "relativistic particle": (-m * sqrt(1 - x.dot**2 / 9), k * x**2 / 2),
    "surface of revolution": (
        m * (r.dot**2 * (1 + 4 * r**2) + r**2 * phi.dot**2) / 2,
        m * g * r**2,
    ),
}


def random_state(system, seed):
    """Numbers for every symbol; velocities small enough for the relativistic one."""
    generator = np.random.default_rng(seed)
    symbols = sp.Tuple(system.T, system.V).free_symbols
    names = {s for s in symbols if not isinstance(s, type(x))} | {lg.time}
    values = {s: generator.uniform(0.5, 1.5) for s in sorted(names, key=str)}
    for q in system.coordinates:
        values |= {q: generator.uniform(0.4, 1.4), q.dot: generator.uniform(-1, 1)}
        values[q.ddot] = generator.uniform(-1, 1)
    return values


@pytest.mark.parametrize("name", SYSTEMS)
def test_equations_agree_with_sympys_lagranges_method(name):
    system = lg.Lagrangian(*SYSTEMS[name])
    t = dynamicsymbols._t
    functions = [dynamicsymbols(q.name) for q in system.coordinates]
    to_functions = {lg.time: t}
    for q, f in zip(system.coordinates, functions, strict=True):
        to_functions |= {q.dot: f.diff(t), q: f}
    oracle = LagrangesMethod(system.undamped.xreplace(to_functions), functions)
    theirs = oracle.form_lagranges_equations()
    for seed in range(2):
        values = random_state(system, seed)
        numbers = {t: values[lg.time]}
        for q, f in zip(system.coordinates, functions, strict=True):
            numbers |= {f.diff(t, 2): values[q.ddot], f.diff(t): values[q.dot]}
            numbers |= {f: values[q]}
        for ours, other in zip(system.equations, theirs, strict=True):
            mine = float(ours.lhs.subs(values))
            # Derivatives first: they contain the functions.
            expected = float(other.subs(numbers).subs(values))
            assert mine == pytest.approx(expected, rel=1e-10, abs=1e-10)


def polynomials(symbols):
    """Random polynomials of degree up to 3 with small coefficients."""
    monomial = st.tuples(
        st.integers(-3, 3), st.lists(st.sampled_from(symbols), min_size=1, max_size=3)
    )
    return st.lists(monomial, min_size=1, max_size=4).map(
        lambda terms: sp.Add(*(c * sp.Mul(*factors) for c, factors in terms))
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kinetic=polynomials([x, y, x.dot, y.dot]),
    potential=polynomials([x, y, x.dot, y.dot, lg.time]),
)
def test_the_equations_are_the_gradient_of_the_discretised_action(kinetic, potential):
    """Midpoint action on a smooth path: dS/dq_k = -h (Euler-Lagrange) + O(h^3)."""
    regular = kinetic + 5 * (x.dot**2 + y.dot**2)
    system = lg.Lagrangian(regular, potential, coordinates=[x, y])
    t = sp.Symbol("s")
    path = {x: sp.sin(t) + t**2 / 3, y: sp.cos(2 * t) / 2 - t}
    at, h = 0.4, 1e-3

    states = (x, y, x.dot, y.dot, lg.time)
    action_term = sp.lambdify(states, system.undamped)
    position = {q: sp.lambdify(t, p) for q, p in path.items()}

    def action(shift, coordinate):
        """The two terms of the action that contain q(at), with it shifted."""
        points = [{q: position[q](at + i * h) for q in path} for i in (-1, 0, 1)]
        points[1][coordinate] += shift
        total = 0.0
        for i, (a, b) in enumerate(zip(points, points[1:], strict=False)):
            middle = [(a[q] + b[q]) / 2 for q in path]
            speed = [(b[q] - a[q]) / h for q in path]
            total += h * action_term(*middle, *speed, at + (i - 0.5) * h)
        return total

    jets = {lg.time: at}
    for q, p in path.items():
        jets |= {q: p.subs(t, at), q.dot: p.diff(t).subs(t, at)}
        jets[q.ddot] = p.diff(t, 2).subs(t, at)
    for q, equation in zip(system.coordinates, system.equations, strict=True):
        step = 1e-5
        slope = (action(step, q) - action(-step, q)) / (2 * step)
        expected = -h * float(equation.lhs.subs(jets))
        assert slope == pytest.approx(expected, rel=1e-3, abs=1e-3 * h)
