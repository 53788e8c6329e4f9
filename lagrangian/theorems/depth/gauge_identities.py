"""The gauge symmetry of depth, in symbols: what the engine derives of it.

W(t) is the layer at depth t, `W.dot` its change along depth, G(t) the gradient of a
loss of the end state by W(t).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import (
    Block,
    ConstantBlock,
    block_terms,
    blocks,
    is_block,
)
from lagrangian.symbolic.algebra.calculus import (
    gradient,
    total_derivative,
    variation,
)
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.matrices import Matmul, Transposed, matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Symmetry
from lagrangian.symbolic.laws.second_theorem import noether_identity
from lagrangian.theorems.theorem import Claim, identity

W, G, epsilon = blocks("W G epsilon")
bias, bias_slope, shift = blocks("b g c")
state, adjoint = blocks("x lambda")
eta, decay, h = sp.symbols("eta lambda h", positive=True)


def motion(generator: Any, weights: Any = W) -> Any:
    """How W moves under the turn 1 + s epsilon(t) of the state: of the connection."""
    moved = matmul(generator, weights) - matmul(weights, generator)
    return total_derivative(generator) + moved


def ward_identity() -> Any:
    """What the gradient at every depth obeys: Noether's second theorem."""
    return noether_identity({W: G}, Symmetry({W: motion(epsilon)}), epsilon)


def antiderivative(expression: Any) -> Any:
    """Q(W) with dQ = `expression` along dW = G, if there is one: along rays from 0."""
    along = expression.xreplace({G: W, G.dot: W.dot})
    return sp.Add(*(c / _degree(core) * core for c, core in block_terms(along)))


def _degree(core: Any) -> int:
    return len(core.args) if isinstance(core, Matmul) else 1


def _changes(charge: Any) -> Any:
    return variation(charge, {W: G, W.dot: G.dot})


def conserved() -> Any:
    """The matrix that gradient flow conserves at every depth."""
    found = ward_identity()
    return -antiderivative(found + transpose(found))


def gauge_identities() -> Iterator[Claim]:
    yield from _of_the_symmetry()
    yield from _of_the_ward_identity()
    yield from _of_the_charge()
    yield from _of_decay()


# ------------------------------------------------------------------ the symmetry


def _of_the_symmetry() -> Iterator[Claim]:
    turn = sp.eye(2) + h * _as_matrix(epsilon)
    weights = _as_matrix(W)
    # x' = A x: dx'/dt = (A_t + A W) x, for every x.
    finite = (_along(turn) + turn * weights) * turn.inv()
    first = finite.applyfunc(lambda e: sp.cancel(sp.diff(e, h).subs(h, 0)))
    what = "W' = (A_t + A W) A^-1 at first order in A - 1, less {}, 2 x 2"
    stated = _as_matrix(motion(epsilon))
    yield identity(what.format("eps_t + [eps, W]"), _size(first - stated))
    still = stated - _as_matrix(epsilon.dot)
    yield identity(what.format("[eps, W] alone"), _size(first - still), control=True)
    slower = coordinates("eta")
    left = motion(-slower * W) + total_derivative(slower * W)
    yield identity("another clock of depth is the gauge eps = -eta(t) W", left)


def _of_the_ward_identity() -> Iterator[Claim]:
    found = ward_identity()
    slopes = matmul(adjoint, transpose(state))
    for weights, control in ((transpose(W), False), (W, True)):
        moves = {state: matmul(W, state), adjoint: -matmul(weights, adjoint)}
        along = {G: slopes, G.dot: variation(slopes, moves)}
        what = "Ward identity of lambda x^T, lambda_t = -W^T lambda"
        what = "the same with W for W^T" if control else what
        yield identity(what, found.xreplace(along), control=control)
    both = {W: G, bias: bias_slope}
    turn = Symmetry({W: motion(epsilon), bias: matmul(epsilon, bias)})
    moves = {
        state: matmul(W, state) + bias,
        adjoint: -matmul(transpose(W), adjoint),
    }
    along = {G: slopes, G.dot: variation(slopes, moves)}
    along |= {bias_slope: adjoint, bias_slope.dot: moves[adjoint]}
    left = noether_identity(both, turn, epsilon)
    yield identity("the same of W and a bias", left.xreplace(along))
    translation = Symmetry({bias: shift.dot - matmul(W, shift)})
    left = noether_identity(both, translation, shift)
    yield identity("that of translations of the state", left.xreplace(along))
    clock = coordinates("eta")
    slower = Symmetry({W: -total_derivative(clock * W)})
    left = noether_identity({W: G}, slower, clock) - Inner(G.dot, W)
    yield identity("that of another clock, less <G_t, W>", left)
    left = sp.expand(Inner(found + G.dot, W))
    yield identity("<G_t, W> by the Ward identity", left)


# ------------------------------------------------------------------ the charge


def _of_the_charge() -> Iterator[Claim]:
    found = ward_identity()
    for sign, control in ((1, False), (-1, True)):
        half = found + sign * transpose(found)
        left = _changes(antiderivative(half)) - half
        what = "dQ, less the Ward identity's symmetric half"
        what = "its antisymmetric half has an antiderivative" if control else what
        yield identity(what, left, control=control)
    wt = transpose(W)
    stated = W.dot + transpose(W.dot) + matmul(wt, W) - matmul(W, wt)
    what = "Q - (W_t + W_t^T + W^T W - W W^T)"
    yield identity(what, conserved() - stated)
    yield from _of_layers()


def _of_layers() -> Iterator[Claim]:
    """Two layers M1 and then M2, and the limit of many."""
    earlier, later, g1, g2 = blocks("M1 M2 g1 g2")
    middle = ConstantBlock("A")
    symmetry = GeneralLinear(later, earlier, middle)
    slopes = {later: g2, earlier: g1}
    loss = Loss("f", (later, earlier))
    named = {loss.gradient(q): slope for q, slope in slopes.items()}
    law = gradient(variation(loss, symmetry.xi).xreplace(named), middle)
    stated = matmul(transpose(later), g2) - matmul(g1, transpose(earlier))
    yield identity("two layers: Ward identity, less M2^T g2 - g1 M1^T", law - stated)

    def balance(first: Any, second: Any) -> Any:
        return matmul(transpose(second), second) - matmul(first, transpose(first))

    step = balance(earlier - eta * g1, later - eta * g2) - balance(earlier, later)
    left = step - eta**2 * balance(g1, g2)
    what = "a step of gradient descent: growth of M2^T M2 - M1 M1^T, less eta^2 ({})"
    left = sp.expand(left + eta * (law + transpose(law)))
    yield identity(what.format("g2^T g2 - g1 g1^T"), left)
    what = "the same without what is of second order"
    left = sp.expand(step + eta * (law + transpose(law)))
    yield identity(what, left, control=True)

    size = sp.eye(2)
    layer, slope = _as_matrix(W), _as_matrix(G)
    known = {
        earlier: size + h * layer,
        later: size + h * (layer + h * _as_matrix(W.dot)),
        g1: slope,
        g2: slope + h * _as_matrix(G.dot),
    }
    limit = _lowest(_as_matrix(law, known), 1) + _as_matrix(ward_identity())
    yield identity("M = 1 + h W: the limit of the Ward identity", _size(limit))
    limit = _lowest(_as_matrix(balance(earlier, later), known), 2)
    what = "M = 1 + h W: the limit of (M2^T M2 - M1 M1^T)/h^2, less Q"
    yield identity(what, _size(limit - _as_matrix(conserved())))


# ------------------------------------------------------------------ decay


def _of_decay() -> Iterator[Claim]:
    """G = -decay W, where the loss with decay is stationary."""
    still = ward_identity().xreplace({G: -decay * W, G.dot: -decay * W.dot})
    rate = W.dot - sp.expand(still / decay)
    symmetric, antisymmetric = ((W + s * transpose(W)) / 2 for s in (1, -1))
    yield identity("decay: K_t", sp.expand((rate - transpose(rate)) / 2))
    turn = matmul(antisymmetric, symmetric) - matmul(symmetric, antisymmetric)
    left = sp.expand((rate + transpose(rate)) / 2 - 2 * turn)
    yield identity("decay: S_t - 2 [K, S]", left)
    left = sp.expand((rate + transpose(rate)) / 2 - turn)
    yield identity("decay: S_t - [K, S]", left, control=True)
    # S and K of two layers, one after the other.
    s1, s2 = ConstantBlock("S1", 1), ConstantBlock("S2", 1)
    k = ConstantBlock("K", -1)
    first, second = s1 + k, s2 + k
    apart, total = s2 - s1, s2 + s1
    left = second - first
    left += h * (matmul(transpose(second), second) - matmul(first, transpose(first)))
    mixed = matmul(apart, total) + matmul(total, apart)
    mixed -= 2 * (matmul(k, total) - matmul(total, k))
    what = "decay, two layers: stationary, less {2 D + h (D T + T D - 2 [K, T])}/2"
    yield identity(what, sp.expand(left - apart - h * mixed / 2))
    # In the basis of T, (2 + h (t_i + t_j)) D_ij = 2 h K_ij (t_j - t_i): no diagonal.
    t = sp.symbols("t_1:4", real=True)
    diagonal = sp.diag(*t)
    keeps = sp.Matrix(
        3, 3, lambda i, j: sp.sign(j - i) * sp.Symbol(f"k{min(i, j)}{max(i, j)}")
    )
    solved = sp.Matrix(
        3, 3, lambda i, j: 2 * h * keeps[i, j] * (t[j] - t[i]) / (2 + h * (t[i] + t[j]))
    )
    mixed = solved * diagonal + diagonal * solved
    mixed -= 2 * (keeps * diagonal - diagonal * keeps)
    yield identity(
        "decay, two layers: that D solves it, 3 x 3", _size(2 * solved + h * mixed)
    )
    yield identity("tr W is the same in both", solved.trace())
    yield identity("|W|^2 is the same in both", (solved * diagonal).trace())


# ------------------------------------------------------------------ matrices


def _entry(name: str, i: int, j: int) -> Any:
    return coordinates(f"{name}{i}{j}")


def _along(matrix: Any) -> Any:
    return matrix.applyfunc(total_derivative)


def _as_matrix(expression: Any, known: Mapping[Any, Any] | None = None) -> Any:
    """A matrix expression in 2 x 2 matrices of coordinates, or in those given."""
    known = known or {}
    found = sp.zeros(2, 2)
    for coefficient, core in block_terms(sp.sympify(expression)):
        product = sp.eye(2)
        for factor in core.args if isinstance(core, Matmul) else (core,):
            product *= _letter(factor, known)
        found += coefficient * product
    return found


def _letter(factor: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(factor, Transposed):
        return _letter(factor.args[0], known).T
    if factor in known:
        return known[factor]
    assert isinstance(factor, Block) and is_block(factor)
    found = sp.Matrix(2, 2, lambda i, j: _entry(factor.base.name, i, j))
    return _along(found) if factor.order else found


def _lowest(matrix: Any, power: int) -> Any:
    """The coefficient of h^power, if there is none below."""
    grown = matrix.applyfunc(sp.expand)
    assert all(
        grown.applyfunc(lambda e, p=p: e.coeff(h, p)).is_zero_matrix
        for p in range(power)
    )
    return grown.applyfunc(lambda e: e.coeff(h, power))


def _size(matrix: Any) -> Any:
    """Zero exactly where a real matrix is."""
    return sp.Add(*(sp.cancel(entry) ** 2 for entry in matrix))
