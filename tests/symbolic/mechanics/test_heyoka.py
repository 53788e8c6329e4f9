"""Explicit accelerations against heyoka's, an independent symbolic engine in C++."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg

pytestmark = pytest.mark.slow

a, b, c, r = lg.coordinates("a b c r")
sin, cos = sp.sin, sp.cos

SYSTEMS = {
    "double pendulum": (
        a.dot**2 + b.dot**2 / 2 + a.dot * b.dot * cos(a - b),
        -9.81 * (2 * cos(a) + cos(b)),
        0,
    ),
    "triple pendulum with friction": (
        3 * a.dot**2 / 2
        + b.dot**2
        + c.dot**2 / 2
        + 2 * a.dot * b.dot * cos(a - b)
        + a.dot * c.dot * cos(a - c)
        + b.dot * c.dot * cos(b - c),
        -9.81 * (3 * cos(a) + 2 * cos(b) + cos(c)),
        0.3 * a.dot**2 + 0.1 * b.dot * c.dot + 0.2 * c.dot**2,
    ),
    "kepler": ((r.dot**2 + r**2 * a.dot**2) / 2, -1 / r, 0),
    "surface of revolution": (
        (r.dot**2 * (1 + 4 * r**2) + r**2 * a.dot**2) / 2,
        9.81 * r**2,
        0.05 * r.dot**2,
    ),
    "spherical pendulum": (
        (a.dot**2 + sin(a) ** 2 * b.dot**2) / 2,
        9.81 * cos(a),
        0,
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_accelerations_agree_with_heyoka(name):
    heyoka = pytest.importorskip("heyoka", reason="`make slow` installs heyoka")
    T, V, dissipation = SYSTEMS[name]
    ours = lg.Lagrangian(T, V, dissipation=dissipation)
    plain = {}
    for q in ours.coordinates:
        plain |= {q.dot: sp.Symbol(f"v_{q.name}"), q: sp.Symbol(q.name)}
    positions = [heyoka.expression(q.name) for q in ours.coordinates]
    velocities = [heyoka.expression(f"v_{q.name}") for q in ours.coordinates]
    equations = heyoka.lagrangian(
        heyoka.from_sympy(sp.sympify(ours.undamped).xreplace(plain)),
        positions,
        velocities,
        heyoka.from_sympy(sp.sympify(dissipation).xreplace(plain))
        if dissipation != 0
        else heyoka.expression(0.0),
    )
    size = len(positions)
    theirs = heyoka.cfunc(
        [right for _, right in equations[size:]], vars=[*positions, *velocities]
    )
    flow = lg.lower(ours)
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        for _ in range(5):
            q = generator.uniform(0.4, 1.4, size)
            v = generator.uniform(-1, 1, size)
            found = flow.acceleration(jnp.asarray(q), jnp.asarray(v))
            np.testing.assert_allclose(found, theirs([*q, *v]), rtol=1e-12)
