"""Bregman Lagrangians: known equations, and Noether's law with the metric term."""

import jax
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.losses import Gradient

w = lg.blocks("w")
t = sp.Symbol("t", positive=True)


def alpha(time=lg.time):
    return sp.Function("alpha")(time)


def test_nesterovs_equation():
    """qddot + (3/t) qdot + grad f = 0 (Su, Boyd & Candes)."""
    f = lg.Loss("f", w)
    system = lg.bregman_lagrangian(
        f, sp.log(2 / lg.time), sp.log(lg.time**2 / 4), 2 * sp.log(lg.time)
    )
    (equation,) = system.equations
    left = sp.expand(sp.simplify(equation.lhs.xreplace({lg.time: t})))
    mass = left.coeff(w.ddot)
    expected = w.ddot + 3 / t * w.dot + f.gradient(w)
    assert sp.expand(sp.expand(left / mass) - expected) == 0


def test_the_equation_of_an_opaque_h_under_ideal_scaling():
    f, h = lg.Loss("f", w), lambda x: lg.Loss("h", x)
    gamma = sp.Function("gamma")(lg.time)
    system = lg.bregman_lagrangian(f, alpha(), 0, gamma, h)
    (equation,) = system.equations
    # gamma' = exp(alpha), by which the terms in grad h cancel.
    left = equation.lhs.xreplace({gamma.diff(lg.time): sp.exp(alpha())})
    point = w + sp.exp(-alpha()) * w.dot
    bent = Gradient(
        h(point), point, (point, w.ddot + (sp.exp(alpha()) - alpha().diff()) * w.dot)
    )
    expected = sp.exp(-alpha()) * bent + sp.exp(alpha()) * f.gradient(w)
    assert sp.simplify(sp.expand(left - expected)) == 0


def test_the_metric_term_of_noethers_law():
    """kinetic = e^alpha <D - e^-alpha Hess h qdot, a>, D = grad h(x) - grad h(q)."""
    symmetry = lg.Translation(w, lg.ConstantBlock("a"))
    (direction,) = symmetry.xi.values()
    system = lg.bregman_lagrangian(
        symmetry.loss, alpha(), 0, lg.time, lambda x: lg.Loss("h", x)
    )
    law = lg.noether(system, symmetry)
    point = w + sp.exp(-alpha()) * w.dot
    here, there = lg.Loss("h", w), lg.Loss("h", point)
    D = Gradient(there, point) - Gradient(here, w)
    bent = Gradient(here, w, (w, w.dot))
    assert sp.simplify(law.charge - lg.Inner(D, direction)) == 0
    metric = sp.exp(alpha()) * lg.Inner(D, direction) - lg.Inner(bent, direction)
    assert sp.simplify(sp.expand(law.kinetic - metric)) == 0
    assert law.potential == 0 and law.kinetic != 0


def test_the_euclidean_h_has_no_metric_term():
    symmetry = lg.Translation(w)
    system = lg.bregman_lagrangian(symmetry.loss, alpha(), 0, lg.time)
    assert sp.simplify(lg.noether(system, symmetry).kinetic) == 0


def test_several_blocks_move_by_their_own_equations():
    """The sum of the Lagrangians of each, but for the loss that couples them."""
    u, v = lg.blocks("u v")
    f, h = lg.Loss("f", (u, v)), lambda x: lg.Loss("h", x)
    together = lg.bregman_lagrangian(f, alpha(), 0, lg.time, h)
    for block, equation in zip((u, v), together.equations, strict=True):
        alone = lg.bregman_lagrangian(lg.Loss("f", block), alpha(), 0, lg.time, h)
        other = alone.equations[0].lhs
        apart = other.xreplace({lg.Loss("f", block).gradient(block): f.gradient(block)})
        assert sp.expand(equation.lhs - apart) == 0
        assert sp.expand(equation.lhs - other) != 0


def test_a_law_with_an_opaque_h_simplifies():
    """`Loss` has a method for invariances, which must not hide SymPy's `rewrite`."""
    symmetry, h = lg.Translation(w), lambda x: lg.Loss("h", x)
    a = sp.Symbol("a", real=True)
    kinetic = lg.noether(
        lg.bregman_lagrangian(symmetry.loss, a, 0, lg.time, h), symmetry
    ).kinetic
    assert sp.expand(sp.simplify(kinetic) - kinetic) == 0


def test_the_divergence_of_itakura_and_saito_is_left_alone_by_scale():
    """Along scale the change of log(q) is 1, the block of ones and no scalar."""
    eta = sp.Symbol("eta", positive=True)
    rule = lg.MirrorDescent(0.1, lambda x: -sp.log(x))
    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    assert law.kinetic == 0
    decay = {s: 0.0 for s in law.potential.free_symbols if s.name == "lambda"}
    state = {"w": np.array([1.0, 2.0, 3.0])}
    with jax.enable_x64(True):
        terms = lg.lower(law, {eta: 0.1, **decay})(state, state)
    # <D, q> with D = 1/q - 1/(q + (eta/2) v), entry by entry.
    assert float(terms["charge"]) == pytest.approx(3 - 3 / 1.05, rel=1e-12)


def test_inner_products_that_cancel_count_the_entries():
    assert lg.Inner(1 / w, w) != lg.Inner(lg.ones, lg.ones)
    assert lg.Inner(w**2, 1 / w) == lg.Inner(lg.ones, w)
    assert lg.Inner(1 / w, lg.ones * w.dot) == lg.Inner(1 / w, w.dot)
    assert lg.variation(lg.Inner(w, sp.log(w)), {w: w}) == lg.Inner(
        w, sp.log(w)
    ) + lg.Inner(lg.ones, w)
