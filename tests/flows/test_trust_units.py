"""Units change no digit of a motion: over sixty decades of length, time and mass."""

from functools import lru_cache

import jax
import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lagrangian as lg

a, b, x, y, r = lg.coordinates("a b x y r")
m, l, g, k, c, F, w, M = sp.symbols("m l g k c F w M", positive=True)
t = lg.time
TOL = 1e-11
#: Both runs may be so many tolerances away from the truth.
DIGITS = 1e3 * TOL

#: By name: the Lagrangian, and for each parameter, coordinate and the time its value
#: and its exponents of length, time and mass.
MOTIONS = {
    "double pendulum": (
        lambda: lg.Lagrangian(
            m * l**2 * (a.dot**2 + b.dot**2 / 2 + a.dot * b.dot * sp.cos(a - b)),
            -m * g * l * (2 * sp.cos(a) + sp.cos(b)),
        ),
        {m: (1.3, 0, 0, 1), l: (0.7, 1, 0, 0), g: (9.81, 1, -2, 0)},
        {a: (np.pi / 2, 0, 0, 0), b: (np.pi / 2, 0, 0, 0)},
        {a: 0.0, b: 0.0},
        1.0,
    ),
    "Duffing oscillator": (
        lambda: lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2 + c * x**4 / 4),
        {m: (2.0, 0, 0, 1), k: (3.0, 0, -2, 1), c: (1.5, -2, -2, 1)},
        {x: (0.0, 1, 0, 0)},
        {x: 1.0},
        5.0,
    ),
    "Kepler": (
        lambda: lg.Lagrangian(
            m * (x.dot**2 + y.dot**2) / 2, -M * m / sp.sqrt(x**2 + y**2)
        ),
        {m: (0.1, 0, 0, 1), M: (1.0, 3, -2, 0)},
        {x: (0.4, 1, 0, 0), y: (0.0, 1, 0, 0)},
        {x: 0.0, y: 2.0},
        7.0,
    ),
    "driven damped oscillator": (
        lambda: lg.Lagrangian(
            m * x.dot**2 / 2,
            k * x**2 / 2 - F * x * sp.cos(w * t),
            dissipation=c * x.dot**2 / 2,
        ),
        {
            m: (1.0, 0, 0, 1),
            k: (4.0, 0, -2, 1),
            F: (0.5, 1, -2, 1),
            w: (1.5, 0, -1, 0),
            c: (0.3, 0, -1, 1),
        },
        {x: (0.0, 1, 0, 0)},
        {x: 0.0},
        10.0,
    ),
    "late pulse": (
        lambda: lg.Lagrangian(
            m * x.dot**2 / 2, k * x**2 / 2 - F * x * sp.exp(-((w * t - 9) ** 2))
        ),
        {m: (1.0, 0, 0, 1), k: (1.0, 0, -2, 1), F: (1.0, 1, -2, 1),
         w: (1.0, 0, -1, 0)},
        {x: (0.0, 1, 0, 0)},
        {x: 0.0},
        12.0,
    ),
}  # fmt: skip

decades = st.floats(-30, 30, allow_nan=False)


def scaled(name, length, time, mass):
    """Values of the parameters, sizes of the coordinates, and the unscaled start."""
    _, parameters, positions, velocities, _ = MOTIONS[name]

    def unit(exponents):
        return length ** exponents[0] * time ** exponents[1] * mass ** exponents[2]

    values = {s: n * unit(e) for s, (n, *e) in parameters.items()}
    size = np.array([unit(e) for _, *e in positions.values()])
    q = np.array([n for n, *_ in positions.values()])
    return values, size, q, np.array(list(velocities.values()))


@lru_cache
def by_map(name):
    """The end state as a function of units; compiled once."""
    until, symbols = MOTIONS[name][4], list(MOTIONS[name][1])
    flow = lg.lower(MOTIONS[name][0](), scaled(name, 1.0, 1.0, 1.0)[0])

    @jax.jit
    def end(numbers, q, v, t):
        other = flow.with_parameters(dict(zip(symbols, numbers, strict=True)))
        return other.flow_map(q, v, (0.0, t), tol=TOL)

    def run(length, time, mass):
        values, size, q, v = scaled(name, length, time, mass)
        numbers = np.array([values[s] for s in symbols])
        with jax.enable_x64(True):
            ends = end(numbers, q * size, v * size / time, until * time)
        q, v = (np.asarray(x) for x in ends)
        return np.array([q / size, v / size * time])

    return run


def by_path(name):
    """The states of a trajectory as a function of units."""

    def run(length, time, mass):
        values, size, q, v = scaled(name, length, time, mass)
        times = np.linspace(0, MOTIONS[name][4] * time, 5)
        flow = lg.lower(MOTIONS[name][0](), values)
        path = flow.integrate(q * size, v * size / time, times, tol=TOL)
        return np.array([path.q / size, path.v / size * time])

    return run


@lru_cache
def plain(make, name):
    return make(name)(1.0, 1.0, 1.0)


def check(make, name, decades):
    found = make(name)(*(10.0**d for d in decades))
    for some, right in zip(found, plain(make, name), strict=True):
        apart = np.abs(some - right).max() / np.abs(right).max()
        assert apart < DIGITS, (name, decades, apart)


@pytest.mark.parametrize("name", MOTIONS)
def test_trajectories_in_small_units(name):
    check(by_path, name, (-9, -15, -30))


@pytest.mark.parametrize("name", MOTIONS)
def test_any_units(name):
    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.tuples(decades, decades, decades))
    @example((-9, 0, 0))
    @example((0, -15, 0))
    @example((30, -30, 30))
    @example((-30, 30, -30))
    def any_units(decades):
        check(by_map, name, decades)

    any_units()
