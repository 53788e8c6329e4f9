"""Laws on blocks as functions of pytrees, against NumPy written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg

RULE = lg.HeavyBall(learning_rate=0.1, momentum=0.9, weight_decay=0.01)
M, MU = 0.1 * 1.9 / 2, 0.1


def lowered(symmetry, **keywords):
    law = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)
    return lg.lower(law, RULE.parameters(), **keywords)


@pytest.fixture
def state():
    generator = np.random.default_rng(0)
    q, v = (generator.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
    return q, v


def test_the_scale_law_of_a_nested_pytree(state):
    q, v = state
    terms = lowered(lg.Scale("dense.kernel"))(
        {"dense": {"kernel": q, "bias": 0.0}}, {"dense": {"kernel": v}}
    )
    np.testing.assert_allclose(terms["charge"], M * (q * v).sum(), rtol=1e-5)
    np.testing.assert_allclose(terms["kinetic"], M * (v * v).sum(), rtol=1e-5)
    np.testing.assert_allclose(terms["potential"], -0.01 * (q * q).sum(), rtol=1e-5)
    np.testing.assert_allclose(terms["friction"], -MU * (q * v).sum(), rtol=1e-5)
    np.testing.assert_allclose(terms["quantity"], (q * q).sum(), rtol=1e-5)


@pytest.mark.parametrize(("axis", "others"), [(-1, 0), (0, 1)])
def test_a_unit_axis_gives_a_charge_a_unit(state, axis, others):
    q, v = state
    terms = lowered(lg.Scale("w", unit_axis=axis))({"w": q}, {"w": v})
    np.testing.assert_allclose(
        terms["charge"], M * (q * v).sum(axis=others), rtol=1e-4, atol=1e-6
    )


def test_it_is_a_plain_jax_function(state):
    q, v = state
    law = lowered(lg.Scale("w"))

    def charge(q, v):
        return law({"w": q}, {"w": v})["charge"]

    np.testing.assert_allclose(jax.jit(charge)(q, v), charge(q, v), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(charge)(q, v), M * v, rtol=1e-5)
    assert jax.vmap(charge)(jnp.stack([q, q]), jnp.stack([v, v])).shape == (2,)


def test_the_gradient_of_an_opaque_loss_is_taken_by_jax(state):
    q, v = state
    symmetry = lg.Scale("w")
    (w,) = symmetry.blocks
    law = lg.noether(RULE.lagrangian(lg.Loss("f", w)), symmetry)
    terms = lg.lower(law, RULE.parameters(), losses={"f": lambda w: (w**3).sum()})(
        {"w": q}, {"w": v}
    )
    expected = -(3 * q**3).sum() - 0.01 * (q * q).sum()
    np.testing.assert_allclose(terms["potential"], expected, rtol=1e-4)


def test_linear_maps_are_functions(state):
    q, v = state
    A = lg.LinearMap("A", parity=-1)
    matrix = np.array([[0, 1, 2], [-1, 0, 3], [-2, -3, 0]], np.float32)
    symmetry = lg.Rotation("w", A)
    law = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)
    parameters = RULE.parameters() | {A: lambda x: matrix @ x}
    terms = lg.lower(law, parameters)({"w": q}, {"w": v})
    np.testing.assert_allclose(terms["charge"], M * (v * (matrix @ q)).sum(), rtol=1e-4)


x, y = lg.coordinates("x y")
k, g = sp.symbols("k g", positive=True)
KINETIC = (x.dot**2 + y.dot**2) / 2
KEPLER = lg.Lagrangian(KINETIC, -k / sp.sqrt(x**2 + y**2))
SCALAR = {
    "runge-lenz, which contains accelerations": (
        KEPLER,
        lg.Symmetry({x: -y * y.dot, y: 2 * x * y.dot - y * x.dot}),
    ),
    "energy under friction": (
        lg.Lagrangian(KINETIC, KEPLER.V, damping=g * lg.time, dissipation=x.dot**4),
        lg.TimeTranslation(),
    ),
    "momentum under a force": (
        lg.Lagrangian(KINETIC, k * x * sp.cos(lg.time), forces={x: -g * y.dot}),
        lg.Symmetry({x: lg.time}, tau=lg.time),
    ),
    "momentum of a pendulum on its circle": (
        lg.Lagrangian(KINETIC, g * y, constraints=[x**2 + y**2 - 1]),
        lg.Translation(x),
    ),
    "velocities under a constraint on them": (
        lg.Lagrangian(KINETIC, g * y, constraints=[x.dot - y * y.dot]),
        lg.Symmetry({x: y.dot, y: x * y}),
    ),
}


@pytest.mark.parametrize("name", SCALAR)
def test_every_law_lowers_and_its_rate_is_that_of_the_charge_along_a_path(name):
    system, symmetry = SCALAR[name]
    law, values = lg.noether(system, symmetry), {k: 1.0, g: 0.7}
    # On both constraints: a speed along the circle, and x.dot = y y.dot.
    start = {x: -0.4, y: 0.5} if "constraint" in name else {x: 0.4, y: 0.3}
    path = lg.lower(system, values).integrate(
        {x: 0.6, y: -0.8}, start, t=(0, 1), points=201, tol=1e-12
    )
    lowered = lg.lower(law, values)
    with jax.enable_x64(True):
        terms = jax.vmap(
            lambda q, v, t: lowered({x: q[0], y: q[1]}, {x: v[0], y: v[1]}, t)
        )(path.q, path.v, path.t)
    charge, rate = np.asarray(terms["charge"]), np.asarray(terms["rate"])
    np.testing.assert_allclose(charge, path.charge(law), rtol=1e-12)
    inside = 8 * (charge[3:-1] - charge[1:-3]) - charge[4:] + charge[:-4]
    np.testing.assert_allclose(inside * 200 / 12, rate[2:-2], atol=1e-6)
    assert np.ptp(charge) > 1e-2 and np.abs(rate).max() > 1e-2


def test_errors_name_what_is_missing(state):
    q, v = state
    symmetry = lg.Scale("w")
    law = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)
    with pytest.raises(lg.CannotLower, match="no value for `m`, which the charge"):
        lg.lower(law)
    with pytest.raises(lg.UnknownBlock, match="velocity has no block `w`. Known: `x`"):
        lg.lower(law, RULE.parameters())({"w": q}, {"x": v})
    with pytest.raises(lg.CannotLower, match="takes a `Lagrangian`, a `Law` or a"):
        lg.lower(3)
