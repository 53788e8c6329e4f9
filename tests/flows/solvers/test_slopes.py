"""Momenta, forces and their derivatives, by the engine and by JAX's forward mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.flows.solvers import rattle, variational
from lagrangian.flows.solvers.slopes import Linear, linearised, slopes
from lagrangian.lowering import batched_scalars
from lagrangian.lowering.kernels.fused import fused
from lagrangian.systems.mechanics import make_system

x, y = lg.coordinates("x y")


def everything(potential=0):
    """A metric, a magnetic field, time, damping, a force and friction at once."""
    T = ((1 + x**2) * x.dot**2 + x * x.dot * y.dot + 2 * y.dot**2) / 2
    V = x**2 / 2 + y**4 / (1 + lg.time**2) - x * y * y.dot + potential
    return lg.lower(
        lg.Lagrangian(
            *(T, V),
            damping=lg.time / 3,
            forces={x: -y * x.dot, y: x * y.dot**2 / 3},
            dissipation=x.dot**4 / 5,
        )
    )


def links(n):
    system = make_system("n-pendulum", {"links": n})
    return lg.lower(system.lagrangian, system.parameters)


#: The last has a second derivative that is no function, so that JAX derives.
FLOWS = {
    "everything": everything,
    "six links": lambda: links(6),
    "a kink": lambda: everything(abs(x) ** 3 + abs(y)),
}


def by_forward_mode(flow, q, v, t, since):
    momentum, force = slopes(flow)

    def values(q, v):
        return momentum(q, v, t, since), force(q, v, t, since)

    (drift, mass), (stiffness, friction) = jax.jacfwd(values, (0, 1))(q, v)
    return Linear(*values(q, v), mass, drift, stiffness, friction)


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("name", FLOWS)
def test_the_engine_and_forward_mode_agree(name, kernel):
    flow, since = FLOWS[name](), 0.2
    n = len(flow.lagrangian.coordinates)
    states = np.random.default_rng(0).normal(size=(2, 5, n))
    states[:, 0], states[1, 1], states[:, 2] = 0, 0, 1.5  # zeros, rest, all alike
    if name == "a kink":
        states[0, 0] = 0.3
    with jax.enable_x64(True):
        q, v = jnp.asarray(states)
        t = jnp.linspace(0.2, 0.9, 5)
        alone = jax.jit(linearised(flow))
        together = jax.jit(fused(linearised(flow)) if kernel else linearised(flow))
        forward = jax.jit(lambda *state: by_forward_mode(flow, *state))
        found = together(q, v, t, since)
        for i in range(5):
            state = q[i], v[i], t[i], since
            rows = zip(found, alone(*state), forward(*state), strict=True)
            for part, one, other in rows:
                assert part.shape[1:] == other.shape
                np.testing.assert_allclose(part[i], other, rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("large", [0, 10**6])
def test_by_levels_or_one_by_one(large, monkeypatch):
    monkeypatch.setattr(batched_scalars, "LARGE_IN_LANES", large)
    flow = everything()
    with jax.enable_x64(True):
        q, v = jnp.asarray([0.4, -1.2]), jnp.asarray([0.3, 0.9])
        found = jax.jit(linearised(flow))(q[None], v[None], jnp.array([0.7]), 0.2)
        expected = jax.jit(lambda *s: by_forward_mode(flow, *s))(q, v, 0.7, 0.2)
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part[0], other, rtol=1e-12, atol=1e-12)


def without(name):
    """`linearised` with one of the matrices left out."""

    def broken(flow):
        function = linearised(flow)

        def linear(*state):
            found = function(*state)
            return found._replace(**{name: 0 * getattr(found, name)})

        return linear

    return broken


def arrives(solver, constraints=(), **start):
    """Whether a few iterations a step are enough, as Newton's method promises."""
    system = everything().lagrangian
    flow = lg.lower(
        lg.Lagrangian(
            *(system.T, system.V),
            damping=system.damping,
            forces=system.forces,
            dissipation=system.dissipation,
            constraints=constraints,
        )
    )
    # Anew each time: what is compiled for a flow is kept.
    jax.clear_caches()
    try:
        flow.integrate(start["q"], start["v"], (0, 2.5), solver=solver, points=6)
    except lg.IntegrationFailed:
        return False
    return True


@pytest.mark.parametrize("left_out", [None, "drift", "stiffness", "friction"])
def test_newton_needs_every_matrix(left_out, monkeypatch):
    monkeypatch.setattr(variational, "_ITERATIONS", 5)
    if left_out:
        monkeypatch.setattr(variational, "linearised", without(left_out))
    solver = lg.Variational(0.5, 4)
    assert arrives(solver, q=[0.5, 0.3], v=[0.2, 1.3]) == (left_out is None)


@pytest.mark.parametrize("left_out", [None, "drift", "friction"])
def test_newton_needs_every_matrix_under_constraints(left_out, monkeypatch):
    monkeypatch.setattr(variational, "_ITERATIONS", 5)
    if left_out:
        monkeypatch.setattr(rattle, "linearised", without(left_out))
    circle = [x**2 + y**2 - 1]
    start = {"q": [0.6, 0.8], "v": [-1.6, 1.2]}
    assert arrives(lg.Rattle(0.2), circle, **start) == (left_out is None)
