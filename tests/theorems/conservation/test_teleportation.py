"""Moves along orbits: what they gain on quadratics, rescalings, and between layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from jax.flatten_util import ravel_pytree

import lagrangian as lg
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.theorems.conservation import (
    layer_actions,
    teleported_identities,
    teleported_quadratics,
    teleported_units,
)
from lagrangian.theorems.conservation.teleported_networks import Teleported


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("teleportation", quick=True)
    assert found.holds, str(found)
    kinds = {c.criterion.split()[0] for c in found.evidence.claims if c.is_control}
    assert kinds >= {"identically", "below", "within"}
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("teleportation", seed=seed)
    assert found.holds, str(found)


def test_a_wrong_eigenvalue_is_refuted(monkeypatch):
    """The middle of the spectrum in the place of its end."""
    right = teleported_quadratics.Quadratic.modes.func

    def wrong(self):
        values, vectors = right(self)
        return values.mean() + 0 * values, vectors

    assert all(c.is_as_expected for c in claims(teleported_quadratics.booth_claims()))
    monkeypatch.setattr(teleported_quadratics.Quadratic, "modes", property(wrong))
    found = claims(teleported_quadratics.booth_claims())
    assert not all(c.is_as_expected for c in found)


def claims(found):
    return [c for c in found if hasattr(c, "is_as_expected")]


def test_the_losses_of_booths_function():
    """As they are worked out by hand from the modes: 18 alone after the move."""
    problem = teleported_quadratics.booth()
    run = problem.descend(np.array([5.0, -5.0]), 0.08, 4)
    heights = [problem.height(w) for w in run]
    np.testing.assert_allclose(
        heights, [144, 64.7424, 38.54536704, 25.815912874, 17.948211370], rtol=1e-9
    )
    after = problem.descend(problem.teleported(run[-1]), 0.08, 2)
    shares = [problem.height(w) / heights[-1] for w in after]
    np.testing.assert_allclose(shares, [1, 0.1936, 0.1936**2], rtol=1e-12)


def test_the_slope_needs_the_invariance():
    """What is left out is zero for an invariant f, and for no other."""
    symmetry = lg.Rescale("a", "b")
    a, b = symmetry.blocks
    loss = lg.Loss("f", symmetry.blocks)
    slopes = teleported_identities.slopes(symmetry)
    assert slopes[a] == -Inner(loss.gradient(a), loss.gradient(a))
    assert slopes[b] == Inner(loss.gradient(b), loss.gradient(b))
    assert sp.expand(slopes[a] + slopes[b]) != 0


def test_the_gradient_of_a_unit_that_is_moved_by_hand():
    found = Teleported("ReLU", 0)
    w = {name: array.copy() for name, array in found.start.items()}
    w["first"][:, 3] *= 2
    w["bias"][3] *= 2
    w["second"][3] /= 2
    s = np.zeros(16)
    s[3] = np.log(2)
    np.testing.assert_allclose(found.at(s)["first"], w["first"], rtol=1e-14)
    inward, outward = teleported_units.squares(found, found.start)
    moved = teleported_units.squares(found, w)
    assert moved[0][3] == pytest.approx(inward[3] / 4, rel=1e-12)
    assert moved[1][3] == pytest.approx(outward[3] * 4, rel=1e-12)


def test_the_sharpness_is_the_largest_eigenvalue():
    """Nothing is left of the eigenpair, and the power method finds no larger one."""
    found = Teleported("tanh", 1)
    sharpness, direction = found.stiffest(found.start)
    with jax.enable_x64(True):
        vector, unravel = ravel_pytree(jax.tree.map(jnp.asarray, found.start))
        slope = jax.grad(lambda v: found.loss(unravel(v)))
        times = jax.jit(lambda v: jax.jvp(slope, (vector,), (v,))[1])
        stiffest = ravel_pytree(direction)[0]
        left = times(stiffest) - sharpness * stiffest
        assert jnp.linalg.norm(left) < 1e-9 * sharpness
        drawn = jax.random.normal(jax.random.key(0), vector.shape)
        for _ in range(200):
            drawn = times(drawn) + sharpness * drawn  # shifted, to be positive
            drawn /= jnp.linalg.norm(drawn)
        assert drawn @ times(drawn) == pytest.approx(sharpness, rel=1e-3)


@pytest.mark.parametrize("updated", [True, False])
def test_one_hidden_layer_has_no_error_of_order_one(monkeypatch, updated):
    """Old activations are those of the data there."""
    monkeypatch.setattr(layer_actions, "WIDTHS", (5, 6, 8))
    sizes = np.array([1e-3, 1e-4])
    exact = layer_actions.loss_changes(0, sizes, updated=updated)
    assert np.abs(exact).max() < 1e-12
    public = layer_actions.loss_changes(0, sizes, updated=updated, exact=False)
    assert np.log10(public[0] / public[1]) == pytest.approx(2, abs=0.01)


def test_positive_numbers_never_leave_the_linear_part():
    """Where the published regression begins: any number of samples is kept there."""
    weights, (inputs, _) = layer_actions.problem(0, lowest=0.0)
    hidden = inputs
    for matrix in weights[:-1]:
        hidden = matrix @ hidden
        assert hidden.min() > 0


def test_more_samples_than_the_layer_has_inputs(monkeypatch):
    """The pseudo-inverse is one from the left only of columns that are independent."""
    monkeypatch.setattr(layer_actions, "SAMPLES", 7)
    changes = layer_actions.loss_changes(0, [1e-3])
    assert np.abs(changes).max() > 1e-6
