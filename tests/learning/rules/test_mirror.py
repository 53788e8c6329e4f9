"""Mirror descent and natural gradient: twins, flows and their orders, refusals."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg

RATES = [0.02, 0.01, 0.005, 0.0025]


def entropy(x):
    return x * sp.log(x) - x


def hypentropy(x):
    """Ghai, Hazan & Singer's: between x^2/2 and the entropy of |x|."""
    return x * sp.asinh(x) - sp.sqrt(x**2 + 1)


POTENTIALS = {
    "entropy": (entropy, np.log, np.exp, lambda x: 1 / x),
    "hypentropy": (hypentropy, np.arcsinh, np.sinh, lambda x: 1 / np.sqrt(1 + x**2)),
    "euclidean": (lambda x: x**2 / 2, np.positive, np.positive, np.ones_like),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_mirror_step_is_a_step_of_the_dual(name, discrete, slope, start):
    potential, forward, backward, _ = POTENTIALS[name]
    q = start
    for _ in range(10):
        q = backward(forward(q) - 0.05 * (np.asarray(slope(q)) + 0.1 * q))
    rule = lg.MirrorDescent(0.05, potential, weight_decay=0.1)
    np.testing.assert_allclose(discrete(rule.optax(), start, 10), q, rtol=1e-12)


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_natural_step_divides_by_the_metric(name, discrete, slope, start):
    potential, *_, metric = POTENTIALS[name]
    q = start
    for _ in range(10):
        q = q - 0.05 * (np.asarray(slope(q)) + 0.1 * q) / metric(q)
    rule = lg.NaturalGradient(0.05, potential, weight_decay=0.1)
    np.testing.assert_allclose(discrete(rule.optax(), start, 10), q, rtol=1e-12)


def test_in_the_euclidean_geometry_both_are_gradient_descent(discrete, start):
    plain = discrete(lg.HeavyBall(0.05).optax(), start, 20)
    for kind in (lg.MirrorDescent, lg.NaturalGradient):
        rule = kind(0.05, lambda x: x**2 / 2)
        np.testing.assert_allclose(discrete(rule.optax(), start, 20), plain, rtol=1e-14)


def test_a_schedule_is_followed(discrete, slope, start):
    rule = lg.MirrorDescent(lambda step: 0.05 / (1 + step), entropy)
    q = start
    for k in range(5):
        q = q * np.exp(-0.05 / (1 + k) * np.asarray(slope(q)))
    np.testing.assert_allclose(discrete(rule.optax(), start, 5), q, rtol=1e-12)


@pytest.mark.parametrize("kind", [lg.MirrorDescent, lg.NaturalGradient])
@pytest.mark.parametrize("potential", [entropy, hypentropy])
def test_the_flows_have_orders_one_and_two(
    kind, potential, discrete, first_order, second_order, start, order
):
    """The Euler-Lagrange flow follows the steps to second order in eta."""
    first, second, modified, other = [], [], [], []
    swapped = {
        lg.MirrorDescent: lg.NaturalGradient,
        lg.NaturalGradient: lg.MirrorDescent,
    }[kind]
    for eta in RATES:
        rule = kind(eta, potential, weight_decay=0.1)
        end = discrete(rule.optax(), start, round(1 / eta))
        (field,) = rule.gradient_flow(lg.Loss("f", lg.blocks("w"))).values()
        values = rule.parameters()
        first.append(np.linalg.norm(end - first_order(field, start, 1.0, values)))
        second.append(np.linalg.norm(end - second_order(rule, start, 1.0)))
        flow = second_order(swapped(eta, potential, weight_decay=0.1), start, 1.0)
        other.append(np.linalg.norm(end - flow))
        corrected = lg.modified_flow(rule, 1)
        (field,) = corrected.velocity.values()
        values = {corrected.step_size: eta, **values}
        modified.append(np.linalg.norm(end - first_order(field, start, 1.0, values)))
    assert order(first, RATES) == pytest.approx(1, abs=0.1)
    assert order(second, RATES) == pytest.approx(2, abs=0.1)
    assert order(modified, RATES) == pytest.approx(2, abs=0.1)
    # The control: the other rule in the same geometry agrees to first order only.
    assert order(other, RATES) == pytest.approx(1, abs=0.1)


def test_a_potential_must_be_convex_and_its_derivative_invertible():
    with pytest.raises(lg.LagrangianError, match="second derivative is zero"):
        lg.NaturalGradient(0.1, lambda x: 3 * x)
    with pytest.raises(lg.LagrangianError, match="no inverse that was found"):
        lg.MirrorDescent(0.1, lambda x: x**2 + sp.exp(x) + sp.cosh(x))
    with pytest.raises(lg.LagrangianError, match="found right"):
        lg.MirrorDescent(0.1, lambda x: x**4 / 4 + x**2, inverse=lambda z: z)


def test_an_inverse_can_be_given(discrete, start):
    given = lg.MirrorDescent(0.05, hypentropy, inverse=sp.sinh)
    found = lg.MirrorDescent(0.05, hypentropy)
    np.testing.assert_array_equal(
        discrete(given.optax(), start, 5), discrete(found.optax(), start, 5)
    )


def test_a_mirror_descent_of_two_blocks_is_two_mirror_descents():
    rule, (u, v) = lg.MirrorDescent(0.1, hypentropy), lg.blocks("u v")
    both = rule.lagrangian(lg.Loss("f", (u, v)))
    alone = [rule.lagrangian(lg.Loss("f", w)) for w in (u, v)]
    assert sp.simplify(both.T - alone[0].T - alone[1].T) == 0
    assert both.coordinates == (u, v) and both.damping == alone[0].damping
    # What neither of them shares.
    assert both.T.free_symbols > alone[0].T.free_symbols
