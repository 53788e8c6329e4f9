"""Flows under `jit`, `vmap` and `grad`: by parameters, states and times."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.flows import structure

x, y = lg.coordinates("x y")
k, m, c, n = sp.symbols("k m c n", positive=True)

SPRING = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, dissipation=c * x.dot**2 / 2)
VALUES = {k: 2.0, m: 0.5, c: 0.3}
HANGING = lg.Lagrangian(
    m * (x.dot**2 + y.dot**2) / 2, m * k * y, constraints=[x**2 + y**2 - 1]
)


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def spring_end(k, m, c, q, v, t):
    """The closed form of the damped oscillator."""
    rate = c / (2 * m)
    omega = jnp.sqrt(k / m - rate**2)
    turning = q * jnp.cos(omega * t) + (v + rate * q) / omega * jnp.sin(omega * t)
    return jnp.exp(-rate * t) * turning


def end(flow, q, v, t, **options):
    path = flow.integrate({x: q}, {x: v}, (0.0, t), points=4, **options)
    return path[x][-1]


@pytest.mark.parametrize("solver", [None, diffrax.Dopri8()], ids=["own", "diffrax"])
def test_derivatives_by_every_parameter_the_state_and_the_time(solver):
    flow = lg.lower(SPRING, VALUES)

    def by_flow(values, *state):
        moved = flow.with_parameters(dict(zip((k, m, c), values, strict=True)))
        return end(moved, *state, solver=solver)

    at = (2.0, 0.5, 0.3), 1.0, -0.4, 2.5
    found = jax.grad(by_flow, argnums=(0, 1, 2, 3))(*at)
    right = jax.grad(lambda p, *s: spring_end(*p, *s), argnums=(0, 1, 2, 3))(*at)
    np.testing.assert_allclose(
        jax.tree.leaves(found), jax.tree.leaves(right), rtol=1e-7
    )


def test_a_flow_is_a_pytree_with_its_parameters_for_leaves():
    flow = lg.lower(SPRING, VALUES)
    assert jax.tree.leaves(flow) == [2.0, 0.5, 0.3]
    slopes = jax.grad(lambda flow: end(flow, 1.0, 0.0, 2.0))(flow)
    right = jax.grad(lambda k: spring_end(k, 0.5, 0.3, 1.0, 0.0, 2.0))(2.0)
    np.testing.assert_allclose(slopes.parameters[k], right, rtol=1e-9)
    doubled = jax.tree.map(lambda p: 2 * p, flow)
    assert doubled.parameters == {k: 4.0, m: 1.0, c: 0.6}


def test_a_sweep_is_a_vmap():
    flow = lg.lower(SPRING, VALUES)
    stiff = jnp.linspace(1.0, 3.0, 5)
    found = jax.vmap(lambda s: end(flow.with_parameters({k: s}), 1.0, 0.0, 2.0))(stiff)
    right = [spring_end(s, 0.5, 0.3, 1.0, 0.0, 2.0) for s in stiff]
    np.testing.assert_allclose(found, right, rtol=1e-8)


def test_a_function_of_a_flow_is_compiled_once_for_all_parameters():
    compiled = jax.jit(lambda flow, q: end(flow, q, 0.0, 2.0))
    for stiffness in (1.0, 2.0):
        flow = lg.lower(SPRING, {**VALUES, k: stiffness})
        right = spring_end(stiffness, 0.5, 0.3, 1.0, 0.0, 2.0)
        np.testing.assert_allclose(compiled(flow, 1.0), right, rtol=1e-8)
    assert compiled._cache_size() == 1


def test_a_path_comes_out_of_jit_with_all_that_it_answers():
    flow = lg.lower(SPRING, VALUES)
    path = jax.jit(lambda q: flow.integrate({x: q}, {x: 0.0}, (0.0, 2.0), points=5))(
        1.0
    )
    same = flow.integrate({x: 1.0}, {x: 0.0}, (0.0, 2.0), points=5)
    for ours, plain in (
        (path.energy, same.energy),
        (path[x.ddot], same[x.ddot]),
        (path.evaluate(k * x), same.evaluate(k * x)),
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-8, atol=1e-12)


def test_constraints_hold_under_transformations_too():
    flow = lg.lower(HANGING, {m: 1.0, k: 9.81})

    def height(g):
        moved = flow.with_parameters({k: g})
        return moved.integrate([0.6, -0.8], [0.0, 0.0], (0.0, 1.0), points=3)[y][-1]

    step = 1e-5
    differences = (height(9.81 + step) - height(9.81 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(height)(9.81), differences, rtol=1e-6)


def test_exponents_have_derivatives():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**n / n), {n: 4.0})

    def final(value):
        return end(flow.with_parameters({n: value}), 1.5, 0.0, 0.5)

    step = 1e-5
    differences = (final(4.0 + step) - final(4.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(final)(4.0), differences, rtol=1e-6)


def test_blocks_by_their_parameters():
    w = lg.blocks("w")
    flow = lg.lower(
        lg.Lagrangian(m * lg.Inner(w.dot, w.dot) / 2, k * lg.Inner(w, w) / 2),
        {m: 1.0, k: 2.0},
    )
    start, still = jnp.array([1.0, 2.0]), jnp.zeros(2)

    def final(stiffness, start):
        moved = flow.with_parameters({k: stiffness})
        return moved.integrate({w: start}, {w: still}, (0.0, 1.0))[w][-1].sum()

    found = jax.grad(final, argnums=(0, 1))(2.0, start)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(found[0], -3 * np.sin(root) / (2 * root), rtol=1e-7)
    np.testing.assert_allclose(found[1], np.full(2, np.cos(root)), rtol=1e-7)


def test_an_eager_flow_map_is_compiled_once():
    flow = lg.lower(SPRING, VALUES)
    state = np.array([1.0]), np.array([0.0])
    first = flow.flow_map(*state, (0.0, 1.0))
    compiled = structure._run._cache_size()
    later = flow.with_parameters({k: 3.0}).flow_map(*state, (0.5, 2.0))
    assert structure._run._cache_size() == compiled
    np.testing.assert_allclose(
        [first[0][0], later[0][0]],
        [
            spring_end(2.0, 0.5, 0.3, 1.0, 0.0, 1.0),
            spring_end(3.0, 0.5, 0.3, 1.0, 0.0, 1.5),
        ],
        rtol=1e-10,
    )


def test_what_would_raise_is_nan():
    falling = lg.lower(lg.Lagrangian(x.dot**2 / 2, -k / x), {k: 1.0})
    final = jax.jit(lambda q: end(falling, q, 0.0, 5.0, max_steps=2000))
    assert jnp.isnan(final(1.0)) and jnp.isfinite(final(9.0))


def test_what_has_no_derivative_says_so():
    flow = lg.lower(SPRING, VALUES)
    for options in ({"solver": lg.Symplectic(0.1)}, {"atol": 1e-9}):
        with pytest.raises(LagrangianError, match="derivatives"):
            jax.grad(lambda q, o=options: end(flow, q, 0.0, 1.0, **o))(1.0)
    with jax.enable_x64(False), pytest.raises(LagrangianError, match="enable_x64"):
        jax.jit(lambda q: end(flow, q, 0.0, 1.0))(1.0)
    with pytest.raises(LagrangianError, match="no parameter `k2`"):
        flow.with_parameters({sp.Symbol("k2"): 1.0})
