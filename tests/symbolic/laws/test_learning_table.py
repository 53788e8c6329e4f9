"""Every row of the table of charges of learning, on a path of a real loss.

For each symmetry the charge along the flow has the rate of its law, in which the loss
does not occur; kinetic breaking is there exactly where the table says so; and for a
loss without the symmetry the same law fails.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.matrices import matmul, transpose

m, mu = sp.symbols("m mu", positive=True)
decay = sp.Symbol("lambda", nonnegative=True, real=True)
VALUES = {m: 0.6, mu: 0.5, decay: 0.3}
u, v = lg.blocks("u v")
a = lg.ConstantBlock("a")
EVEN, ODD = (lg.ConstantBlock("A", parity=p) for p in (1, -1))

CHANCE = np.random.default_rng(3)
TARGET, MIXED = CHANCE.normal(size=(3, 3)), CHANCE.normal(size=(3, 3))
ARRAYS = {a: TARGET, EVEN: MIXED + MIXED.T, ODD: MIXED - MIXED.T}


def turned(matrix):
    return lg.Symmetry({u: matmul(matrix, u)})


def layers(matrix):
    """W1 = u and W2 = v in W2 W1."""
    return lg.Symmetry({u: matmul(matrix, u), v: -matmul(v, matrix)})


def heads(matrix):
    """W_K = u and W_Q = v in the attention logits x^T W_Q^T W_K y."""
    return lg.Symmetry({u: matmul(matrix, u), v: -matmul(transpose(matrix), v)})


def away(x):
    return jnp.sum(jnp.cos(x - TARGET))


def unit(x):
    return x / jnp.sqrt((x * x).sum())


# Symmetry, an invariant loss, and whether the kinetic energy breaks the symmetry.
ROWS = {
    "translation": (
        lg.Symmetry({u: a}),
        lambda u: away(u - TARGET * (u * TARGET).sum() / (TARGET**2).sum()),
        False,
    ),
    "rotation": (turned(ODD), lambda u: away(u.T @ u), False),
    "scale": (lg.Scale(u), lambda u: away(unit(u)), True),
    "rescale": (lg.Rescale(u, v), lambda u, v: away(u * v.sum()), True),
    "linear layers, symmetric": (layers(EVEN), lambda u, v: away(v @ u), True),
    "linear layers, antisymmetric": (layers(ODD), lambda u, v: away(v @ u), False),
    "attention, symmetric": (heads(EVEN), lambda u, v: away(v.T @ u), True),
    "attention, antisymmetric": (heads(ODD), lambda u, v: away(v.T @ u), False),
}


def law_of(symmetry, loss):
    blocks = symmetry.blocks
    system = lg.Lagrangian(
        m / 2 * sp.Add(*(Inner(w.dot, w.dot) for w in blocks)),
        loss + decay / 2 * sp.Add(*(Inner(w, w) for w in blocks)),
        damping=mu / m * lg.time,
    )
    return lg.noether(system, symmetry)


def charge_and_rate(symmetry, loss):
    """Along one path of this loss, with the rate of the law of an invariant one."""
    law = law_of(symmetry, symmetry.loss)
    flow = lg.lower(
        law_of(symmetry, lg.Loss("g", symmetry.blocks)).lagrangian,
        VALUES,
        losses={"g": loss},
    )
    chance = np.random.default_rng(0)
    q0, v0 = ({w: chance.normal(size=(3, 3)) for w in symmetry.blocks} for _ in "qv")
    path = flow.integrate(q0, v0, t=(0, 1), points=801, tol=1e-11)
    constants = {s: x for s, x in ARRAYS.items() if law.charge.has(s)}
    with jax.enable_x64(True):
        terms = jax.vmap(lg.lower(law, VALUES | constants))(path.q, path.v)
    return path.t, np.asarray(terms["charge"]), np.asarray(terms["rate"])


def slope(t, charge):
    """At the inner times, by differences of the fourth order."""
    inside = 8 * (charge[3:-1] - charge[1:-3]) - charge[4:] + charge[:-4]
    return inside / (12 * (t[1] - t[0]))


def rows(*fast):
    slow = pytest.mark.slow
    return [r if r in fast else pytest.param(r, marks=slow) for r in ROWS]


@pytest.mark.parametrize(
    "row", rows("translation", "rotation", "rescale", *(r for r in ROWS if "att" in r))
)
def test_the_charge_moves_as_its_law_says_without_the_loss(row):
    symmetry, loss, broken = ROWS[row]
    law = law_of(symmetry, symmetry.loss)
    assert (law.kinetic != 0) == broken
    t, charge, rate = charge_and_rate(symmetry, loss)
    assert np.ptp(charge) > 1e-2
    np.testing.assert_allclose(slope(t, charge), rate[2:-2], atol=1e-6)
    if not broken and row != "translation":  # decays exactly like e^{-mu t/m}
        expected = charge[0] * np.exp(-VALUES[mu] / VALUES[m] * t)
        np.testing.assert_allclose(charge, expected, rtol=1e-8)


@pytest.mark.parametrize("row", rows("scale", "attention, antisymmetric"))
def test_a_loss_without_the_symmetry_breaks_the_law(row):
    symmetry, loss, _ = ROWS[row]
    t, charge, rate = charge_and_rate(
        symmetry, lambda *blocks: loss(*blocks) + away(sum(blocks) * 1.3)
    )
    assert np.abs(slope(t, charge) - rate[2:-2]).max() > 1e-2


def test_the_oscillators_of_the_table():
    """mass, damping, stiffness and source of each row that is an oscillator."""
    expected = {
        "translation": (m, Inner(u, a), 0),
        "scale": (m / 2, Inner(u, u), m * Inner(u.dot, u.dot)),
        "rescale": (
            m / 2,
            Inner(u, u) - Inner(v, v),
            m * Inner(u.dot, u.dot) - m * Inner(v.dot, v.dot),
        ),
        "attention, symmetric": (
            m / 2,
            Inner(matmul(u, transpose(u)) - matmul(v, transpose(v)), EVEN),
            m
            * Inner(
                matmul(u.dot, transpose(u.dot)) - matmul(v.dot, transpose(v.dot)), EVEN
            ),
        ),
    }
    for row, (mass, quantity, source) in expected.items():
        symmetry = ROWS[row][0]
        found = law_of(symmetry, symmetry.loss).oscillator
        assert (found.mass, found.damping) == (mass, mass * mu / m)
        assert found.stiffness == decay
        assert sp.expand(found.quantity - quantity) == 0
        assert sp.expand(found.source - source) == 0


def test_a_general_generator_feels_its_symmetric_part_only():
    """m c' + mu c = m <qdot, A_s qdot> - lambda <q, A_s q>, for c = <qdot, A q>."""
    A = lg.LinearMap("A")
    law = law_of(lg.Symmetry({u: A(u)}), lg.Symmetry({u: A(u)}).loss)
    parts = (Inner(u.dot, A(u.dot)), Inner(u, A(u)))  # both see A_s alone
    assert sp.expand(law.charge - m * Inner(u.dot, A(u))) == 0
    right = m * parts[0] - decay * parts[1]
    assert sp.expand(law.rate + mu / m * law.charge - right) == 0
    odd = lg.LinearMap("A", parity=-1)
    turning = law_of(lg.Symmetry({u: odd(u)}), lg.Symmetry({u: odd(u)}).loss)
    assert sp.expand(turning.rate + mu / m * turning.charge) == 0
