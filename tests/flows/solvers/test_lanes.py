"""The equations of many lanes, of a few coordinates and level by level of many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.solvers.lanes import field_in_lanes, noise_in_lanes
from lagrangian.lowering.taylor import TaylorSeries


def chain(n, drag=0):
    """A planar chain of n equal links, with friction."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(n)))
    kinetic = sum(
        (n - max(i, j)) / 2 * q[i].dot * q[j].dot * sp.cos(q[i] - q[j])
        for i in range(n)
        for j in range(n)
    )
    potential = sum(-(n - i) * sp.cos(q[i]) for i in range(n))
    friction = drag * sum(c.dot**2 for c in q)
    return lg.Lagrangian(kinetic, potential, dissipation=friction)


def rods(n):
    """Masses in the plane, each at unit distance from the next; the first hangs."""
    q = lg.coordinates(" ".join(f"x{i} y{i}" for i in range(n)))
    places = [(0, 0), *zip(q[::2], q[1::2], strict=True)]
    gaps = [
        (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 - 1
        for a, b in zip(places, places[1:], strict=False)
    ]
    kinetic, potential = sum(c.dot**2 for c in q) / 2, sum(q[1::2])
    return lg.Lagrangian(kinetic, potential, constraints=gaps)


@pytest.mark.parametrize("system", [chain(3, 1), chain(5, 1), chain(7, 1), rods(3)])
def test_slopes_are_velocities_accelerations_and_powers(system):
    flow, n = lg.lower(system), len(system.coordinates)
    rates = flow.guard().rates
    generator = np.random.default_rng(n)
    y = generator.normal(size=(2 * n + len(rates), 6))
    with jax.enable_x64(True):
        y, t = jnp.asarray(y), jnp.linspace(0.0, 1.0, 6)
        found = np.asarray(field_in_lanes(flow, rates)(y, t))
        q, v = y[:n].T, y[n : 2 * n].T
        wanted = np.asarray(flow.acceleration(q, v, t)).T
        powers = [np.asarray(flow.evaluate(r, q, v, t)) for r in rates]
    np.testing.assert_array_equal(found[:n], y[n : 2 * n])
    np.testing.assert_allclose(found[n : 2 * n], wanted, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found[2 * n :], np.array(powers).reshape(-1, 6), 1e-9)


def test_many_coupled_masses_go_level_by_level():
    """Else they would compile for minutes; masses that are not coupled need not."""
    fields = {
        name: field_in_lanes(lg.lower(system), ())
        for name, system in (("many", chain(5)), ("few", chain(4)), ("rods", rods(3)))
    }
    owners = {name: getattr(f, "__self__", None) for name, f in fields.items()}
    assert isinstance(owners["many"], TaylorSeries)
    assert isinstance(owners["rods"], TaylorSeries)
    assert owners["few"] is None


def test_functions_without_recurrences_go_one_by_one():
    wall = chain(5)
    first = wall.coordinates[0]
    kicked = lg.Lagrangian(wall.T, wall.V + sp.Abs(first) ** 3)
    flow = lg.lower(kicked)
    y = jnp.asarray(np.random.default_rng(0).normal(size=(10, 4)))
    found = field_in_lanes(flow, ())(y, jnp.zeros(4))
    wanted = flow.acceleration(y[:5].T, y[5:].T, 0.0)
    np.testing.assert_allclose(found[5:].T, wanted, rtol=1e-4)


def test_rounding_is_that_of_the_forces_that_cancel():
    """An upright chain: each force is of the size of its weights, however small."""
    for n in (4, 6):
        flow = lg.lower(chain(n))
        with jax.enable_x64(True):
            y = jnp.concatenate([jnp.full((n, 2), np.pi), jnp.zeros((n, 2))])
            noise = np.asarray(noise_in_lanes(flow, (), y, jnp.zeros(2)))
        assert noise.shape == (n, 2)
        # sin(pi) is 1e-16: nothing cancels in a force that is one term.
        assert (noise < 1e-28).all()
        with jax.enable_x64(True):
            y = y.at[:n].set(np.pi / 2).at[n:].set(1.0)
            noise = np.asarray(noise_in_lanes(flow, (), y, jnp.zeros(2)))
        eps = np.finfo(float).eps
        assert (noise > eps).all() and (noise < 1e4 * eps).all()
