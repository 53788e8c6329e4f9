import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.blocks import is_block
from lagrangian.symbolic.algebra.losses import Gradient

w, v, d = lg.blocks("w v d")
k = sp.Symbol("k", real=True)


def test_inner_is_bilinear_and_symmetric():
    product = lg.Inner(k * w + v, 2 * w - v)
    squares = 2 * k * lg.Inner(w, w) - lg.Inner(v, v)
    assert sp.expand(product - squares - (2 - k) * lg.Inner(w, v)) == 0
    assert lg.Inner(w, v) == lg.Inner(v, w)
    assert lg.Inner(w, 0) == 0


def test_elementwise_factors_are_pooled():
    assert lg.Inner(w * v, d) == lg.Inner(w, v * d) == lg.Inner(d * w, v)
    assert lg.Inner(w**2, v) == lg.Inner(w, w * v)
    assert lg.Inner(w**2, v) != lg.Inner(w, v**2)


def test_maps_move_by_transposition():
    A = lg.LinearMap("A")
    assert lg.Inner(A(w), v) == lg.Inner(w, A.T(v))
    assert lg.Inner(A(w), v) != lg.Inner(w, A(v))
    S = lg.LinearMap("S", parity=1)
    assert lg.Inner(S(w), v) == lg.Inner(w, S(v))
    R = lg.LinearMap("R", parity=-1)
    assert lg.Inner(R(w), v) == -lg.Inner(w, R(v))
    assert lg.Inner(w, R(w)) == 0
    assert lg.Inner(w, A(w)) != 0
    assert lg.Inner(R(w), R(w)) != 0


def test_maps_are_linear():
    A = lg.LinearMap("A")
    assert A(2 * w + k * v) == 2 * A(w) + k * A(v)
    assert A(sp.S.Zero) == 0


def test_a_scalar_in_an_inner_product_is_refused():
    with pytest.raises(TypeError, match="takes two blocks, and `k` is a scalar"):
        lg.Inner(w, k)


def test_a_declared_invariance_rewrites_the_gradient():
    f = lg.Loss("f", w, [{w: w}])
    assert lg.Inner(Gradient(f, w), w) == 0
    assert lg.Inner(Gradient(f, w), v) != 0
    assert lg.Inner(Gradient(lg.Loss("f", w), w), w) != 0


def test_invariance_of_several_blocks_needs_all_of_them():
    f = lg.Loss("f", [w, v], [{w: w, v: -v}])
    assert f.is_invariant({w: 3 * w, v: -3 * v})
    assert not f.is_invariant({w: w})
    assert not f.is_invariant({w: w, v: v})


def test_kinds():
    f = lg.Loss("f", w)
    assert is_block(w * v) and is_block(k * Gradient(f, w)) and is_block(lg.ones)
    assert not is_block(lg.Inner(w, v)) and not is_block(f) and not is_block(k)


def test_printing():
    assert str(lg.Inner(w, w) ** 2) == "(|w|^2)**2"
    assert str(lg.Inner(w, v)) == "<v, w>"
    assert sp.latex(lg.Inner(w.dot, w.dot)) == r"\left|\dot{w}\right|^{2}"


def test_a_loss_takes_blocks_only():
    with pytest.raises(TypeError, match="takes blocks, and `k` is none"):
        lg.Loss("f", [k])


def test_a_parity_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="`parity` of `A` is 2"):
        lg.LinearMap("A", parity=2)


def test_an_elementwise_product_is_written_as_one():
    u, G = lg.blocks("u"), lg.ConstantBlock("G")
    A = lg.ConstantBlock("A")
    mixed = sp.latex(lg.Inner(G, u.dot * lg.matmul(A, u)))
    assert r"\odot" in mixed and r"\dot{u} A" not in mixed
    assert r"\odot" not in sp.latex(lg.Inner(u, lg.matmul(A, u)))
