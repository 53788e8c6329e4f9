"""Higher-order Lagrangians: known equations, identities, and first order as a case."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.calculus import total_derivative

q, x = lg.coordinates("q x")
a, b, m, k = sp.symbols("a b m k", positive=True)

PAIS_UHLENBECK = lg.HigherOrderLagrangian(
    (q.ddot**2 - (a**2 + b**2) * q.dot**2 + a**2 * b**2 * q**2) / 2
)


def test_the_oscillator_of_pais_and_uhlenbeck():
    (equation,) = PAIS_UHLENBECK.equations
    expected = q.ddot.ddot + (a**2 + b**2) * q.ddot + a**2 * b**2 * q
    assert sp.expand(equation.lhs + expected) == 0


def test_its_energy_is_constant_along_the_known_solution():
    t = sp.Symbol("s")
    path = 2 * sp.cos(a * t) + sp.sin(b * t)
    jets = {q: path}
    for symbol, order in ((q.dot, 1), (q.ddot, 2), (q.ddot.dot, 3)):
        jets[symbol] = path.diff(t, order)
    energy = PAIS_UHLENBECK.energy.xreplace(jets).subs({a: 1.3, b: 0.7})
    values = sp.lambdify(t, energy)(np.linspace(0, 9, 20))
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    other = (PAIS_UHLENBECK.energy + q.dot**2).xreplace(jets).subs({a: 1.3, b: 0.7})
    assert np.ptp(sp.lambdify(t, other)(np.linspace(0, 9, 20))) > 0.1


@pytest.mark.parametrize(
    "symmetry",
    [
        lg.TimeTranslation(),
        lg.Translation(q),
        lg.Scale(q),
        lg.Symmetry({q: lg.time * q}, tau=lg.time**2),
    ],
    ids=repr,
)
def test_the_balance_of_the_charge_is_an_identity(symmetry):
    """d/dt C - rate = (Euler-Lagrange expression) (xi - tau qdot), off shell."""
    law = lg.noether(PAIS_UHLENBECK, symmetry)
    (equation,) = PAIS_UHLENBECK.equations
    motion = symmetry.xi.get(q, 0) - symmetry.tau * q.dot
    left = total_derivative(law.charge) - law.rate
    assert sp.expand(left - equation.lhs * motion) == 0


def test_time_translation_gives_the_energy_and_translation_is_broken():
    energy = lg.noether(PAIS_UHLENBECK, lg.TimeTranslation())
    assert sp.expand(energy.charge - PAIS_UHLENBECK.energy) == 0 and energy.rate == 0
    assert lg.noether(PAIS_UHLENBECK, lg.Translation(q)).rate != 0


def test_first_order_lagrangians_are_a_case():
    T, V = m * x.dot**2 / 2, k * x**2 / 2
    higher, plain = lg.HigherOrderLagrangian(T - V), lg.Lagrangian(T, V)
    assert sp.expand(higher.equations[0].lhs - plain.equations[0].lhs) == 0
    assert sp.expand(higher.energy - plain.energy) == 0
    law = lg.noether(plain, lg.Scale(x))
    assert sp.expand(lg.noether(higher, lg.Scale(x)).charge - law.charge) == 0


def test_errors_name_what_is_wrong():
    with pytest.raises(lg.InvalidLagrangian, match="contains no coordinates"):
        lg.HigherOrderLagrangian(m)
    with pytest.raises(lg.InvalidLagrangian, match="no inertia in `x`"):
        lg.HigherOrderLagrangian(q.ddot**2 + x)
    with pytest.raises(
        lg.InvalidSymmetry,
        match="moves `x`, which this HigherOrderLagrangian does not have",
    ):
        lg.noether(PAIS_UHLENBECK, lg.Translation(x))
    with pytest.raises(lg.InvalidLagrangian, match="contains q, which is not the coor"):
        lg.HigherOrderLagrangian(q.ddot**2 + sp.Symbol("q"))
    with pytest.raises(lg.InvalidLagrangian, match="`expression` is the text"):
        lg.HigherOrderLagrangian("q.ddot**2")


def test_its_law_prints():
    law = lg.noether(PAIS_UHLENBECK, lg.TimeTranslation())
    assert str(law) == f"       charge: {law.charge}\n    variation: 0"
    assert r"\text{charge} &:" in law._repr_latex_()
