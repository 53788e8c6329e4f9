"""Matrix blocks, and the laws of linear layers for every matrix at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.matrices import matmul, transpose

W1, W2 = lg.blocks("W1 W2")
m, mu = sp.symbols("m mu", positive=True)
decay = sp.Symbol("lambda", nonnegative=True, real=True)
ANY, EVEN, ODD = (lg.ConstantBlock("A", parity=p) for p in (0, 1, -1))


def test_products_multiply_out_and_transpose():
    product = matmul(2 * W1 + W2, W1)
    assert product == 2 * matmul(W1, W1) + matmul(W2, W1)
    assert transpose(matmul(W1, W2)) == matmul(transpose(W2), transpose(W1))
    assert transpose(transpose(W1)) == W1
    assert transpose(EVEN) == EVEN and transpose(ODD) == -ODD
    assert matmul(W1, 0) == 0
    assert matmul(W1, W2) != matmul(W2, W1)


def test_traces_are_cyclic_and_transpose():
    assert Inner(matmul(W1, W2), ANY) == Inner(W2, matmul(transpose(W1), ANY))
    assert Inner(matmul(W1, W2), ANY) == Inner(W1, matmul(ANY, transpose(W2)))
    assert Inner(matmul(W1, W2), ANY) != Inner(matmul(W2, W1), ANY)
    assert Inner(W1, matmul(ODD, W1)) == 0
    assert Inner(W1, matmul(EVEN, W1)) != 0


def test_a_scalar_factor_is_refused():
    with pytest.raises(TypeError, match="`matmul` takes blocks, and `m` is a scalar"):
        matmul(W1, m)


def law_of(generator):
    """Two linear layers W2 W1, whose product (A W1, -W2 A) leaves alone."""
    symmetry = lg.Symmetry(
        {W1: matmul(generator, W1), W2: -matmul(W2, generator)}, name="general linear"
    )
    squares = Inner(W1, W1) + Inner(W2, W2)
    speeds = Inner(W1.dot, W1.dot) + Inner(W2.dot, W2.dot)
    system = lg.Lagrangian(
        m / 2 * speeds, symmetry.loss + decay / 2 * squares, damping=mu / m * lg.time
    )
    return lg.noether(system, symmetry)


def test_the_symmetric_half_moves_p():
    """(m/2) P'' + (mu/2) P' + lambda P = m (W1' W1'^T - W2'^T W2')."""
    law = law_of(EVEN).oscillator
    P = matmul(W1, transpose(W1)) - matmul(transpose(W2), W2)
    source = matmul(W1.dot, transpose(W1.dot)) - matmul(transpose(W2.dot), W2.dot)
    assert sp.expand(law.quantity - Inner(P, EVEN)) == 0
    assert (law.mass, law.damping, law.stiffness) == (m / 2, mu / 2, decay)
    assert sp.expand(law.source - m * Inner(source, EVEN)) == 0
    assert sp.expand(lg.gradient(law.quantity, EVEN) - P) == 0


def test_the_antisymmetric_half_decays():
    """m J' + mu J = 0, with J the antisymmetric part; no kinetic breaking."""
    law = law_of(ODD)
    assert law.kinetic == 0 and law.potential == 0 and law.oscillator is None
    assert sp.expand(law.rate + mu / m * law.charge) == 0
    J = matmul(W1.dot, transpose(W1)) - matmul(transpose(W2), W2.dot)
    assert sp.expand(law.charge - m * Inner(J, ODD)) == 0


def test_any_matrix_has_both_parts():
    law = law_of(ANY)
    assert law.kinetic != 0 and law.oscillator is None


def test_the_charge_matrix_is_that_of_numpy():
    charge = lg.gradient(law_of(ANY).charge, ANY)
    generator = np.random.default_rng(0)
    shapes = {W1: (3, 2), W2: (4, 3), W1.dot: (3, 2), W2.dot: (4, 3)}
    with jax.enable_x64(True):
        arrays = {
            s: jnp.asarray(generator.normal(size=shape)) for s, shape in shapes.items()
        }
        (matrix,) = evaluate([charge], arrays | {m: 2.0})
    a, b, da, db = (np.asarray(x) for x in arrays.values())
    np.testing.assert_allclose(matrix, 2 * (da @ a.T - b.T @ db), rtol=1e-12)


def test_flax_kernels_have_the_generator_on_the_other_side():
    symmetry = lg.GeneralLinear("up.kernel", "down.kernel", ANY)
    first, second = symmetry.blocks
    product = matmul(first, second)
    change = matmul(symmetry.xi[first], second) + matmul(first, symmetry.xi[second])
    assert sp.expand(change) == 0 and product != 0


def test_an_adaptive_diagonal_metric_gives_each_entry_its_weight():
    """T = m <qdot, G * qdot>/2 with a diagonal G, as in RMSProp."""
    w, G = lg.blocks("w"), lg.ConstantBlock("G")
    scale = lg.Scale(w)
    system = lg.Lagrangian(m / 2 * Inner(w.dot, G * w.dot), scale.loss)
    law = lg.noether(system, scale)
    assert law.oscillator.quantity == Inner(w, G * w)
    assert law.kinetic == m * Inner(w.dot, G * w.dot)
