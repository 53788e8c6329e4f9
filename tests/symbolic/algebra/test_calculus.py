"""The block calculus against finite differences of the same expressions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.calculus import gradient, total_derivative, variation
from lagrangian.symbolic.algebra.losses import Gradient

w, v = lg.blocks("w v")
D = lg.ConstantBlock("D")
k = sp.Symbol("k", real=True)
A = lg.LinearMap("A")
S = lg.LinearMap("S", parity=1)

EXPRESSIONS = [
    lg.Inner(w, w),
    lg.Inner(w, v) ** 2 / lg.Inner(v, v),
    sp.sqrt(lg.Inner(w, A(v))) * sp.exp(-lg.Inner(v, v)),
    lg.Inner(D * w, w) * k + lg.Inner(S(w), S(A(v))),
    lg.Inner(w**3, v) + sp.log(1 + lg.Inner(w, lg.ones) ** 2),
    lg.Inner(A(D * A(w)), w),
]


@pytest.fixture
def values():
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(4, 4))
    return {
        w: jnp.asarray(generator.uniform(0.5, 1.5, 4)),
        v: jnp.asarray(generator.uniform(0.5, 1.5, 4)),
        D: jnp.asarray(generator.uniform(0.5, 1.5, 4)),
        k: 0.7,
        A: lambda x: jnp.asarray(np.abs(matrix)) @ x,
        S: lambda x: jnp.asarray(matrix + matrix.T) @ x,
    }


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_gradient_is_that_of_automatic_differentiation(expression, values):
    with jax.enable_x64(True):
        values = {s: a if callable(a) else jnp.asarray(a) for s, a in values.items()}
        values = {
            s: a if callable(a) else a.astype(jnp.float64) for s, a in values.items()
        }
        (symbolic,) = evaluate([gradient(expression, w)], values)
        oracle = jax.grad(lambda x: evaluate([expression], values | {w: x})[0])(
            values[w]
        )
        np.testing.assert_allclose(symbolic, oracle, rtol=1e-12)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_variation_is_linear_and_pairs_with_the_gradient(expression):
    u = lg.ConstantBlock("u")
    difference = variation(expression, {w: u}) - lg.Inner(gradient(expression, w), u)
    assert sp.expand(difference) == 0


def test_total_derivative_follows_velocities_and_time():
    q = lg.coordinates("q")
    f = q**2 * sp.sin(lg.time) + q.dot
    expected = 2 * q * q.dot * sp.sin(lg.time) + q**2 * sp.cos(lg.time) + q.ddot
    assert sp.expand(total_derivative(f) - expected) == 0
    assert total_derivative(lg.Inner(w, w)) == 2 * lg.Inner(w, w.dot)


def test_an_invariant_loss_does_not_vary_along_its_symmetry():
    f = lg.Loss("f", [w, v], [{w: w, v: -v}])
    assert variation(f, {w: w, v: -v}) == 0
    assert variation(f, {w: w, v: v}) != 0


def test_derivatives_of_an_opaque_gradient_are_symmetric():
    f = lg.Loss("f", [w, v])
    a, b = lg.ConstantBlock("a"), lg.ConstantBlock("b")
    along = variation(f.gradient(w), {v: a, w: 2 * b})
    assert along == Gradient(f, w, (v, a)) + 2 * Gradient(f, w, (w, b))
    assert Gradient(f, w, (w, a), (w, b)) == Gradient(f, w, (w, b), (w, a))
    # <a, D grad_w f[v: b]> = <D grad_v f[w: a], b>
    assert gradient(lg.Inner(f.gradient(w), a), v) == Gradient(f, v, (w, a))


def test_matrix_products_follow_the_product_rule_and_transpose():
    x, y = lg.blocks("x y")
    M = lg.ConstantBlock("M")
    product = lg.matmul(x, M, lg.transpose(y))
    assert total_derivative(product) == lg.matmul(
        x.dot, M, lg.transpose(y)
    ) + lg.matmul(x, M, lg.transpose(y.dot))
    assert gradient(lg.Inner(product, x), M) == lg.matmul(lg.transpose(x), x, y)


MATRICES = [
    lg.Inner(lg.matmul(w, v), lg.matmul(v, w)),
    lg.Inner(lg.matmul(w, lg.transpose(w)), lg.matmul(v, D)),
    lg.Inner(lg.matmul(w, w, w), lg.transpose(v)) * lg.Inner(w, D),
    lg.Inner(lg.matmul(w * v, D), w),
]


@pytest.mark.parametrize("expression", MATRICES, ids=str)
def test_matrix_gradients_are_those_of_automatic_differentiation(expression):
    generator = np.random.default_rng(2)
    with jax.enable_x64(True):
        values = {s: jnp.asarray(generator.normal(size=(3, 3))) for s in (w, v, D)}
        (symbolic,) = evaluate([gradient(expression, w)], values)
        oracle = jax.grad(lambda x: evaluate([expression], values | {w: x})[0])(
            values[w]
        )
        np.testing.assert_allclose(symbolic, oracle, rtol=1e-11)


def test_hessian_products_are_lowered():
    f = lg.Loss("f", [w, v])
    a = lg.ConstantBlock("a")
    third = Gradient(f, w, (v, a), (w, a))

    def loss(w, v):
        return jnp.sum(jnp.sin(w) * v**2) + jnp.sum(w) ** 3 * jnp.sum(v)

    generator = np.random.default_rng(2)
    with jax.enable_x64(True):
        values = {s: jnp.asarray(generator.normal(size=3)) for s in (w, v, a)}
        (number,) = evaluate([third], values, {"f": loss})
        mixed = jax.jacfwd(jax.jacfwd(jax.grad(loss, 0), 1), 0)(values[w], values[v])
        expected = jnp.einsum("ijk,j,k->i", mixed, values[a], values[a])
        np.testing.assert_allclose(number, expected, rtol=1e-12)
