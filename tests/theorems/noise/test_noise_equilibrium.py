"""Where gradient noise is least."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.noise import noise_equilibrium as module
from lagrangian.theorems.noise import noisy_networks as networks


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_the_stated_matrices_multiply_to_the_teacher_and_are_aligned(layers):
    """tr(B_(i+1)) H_i = tr(H_(i-1)) B_i, by matrices."""
    given = networks.teacher()
    matrices = given.at_rest(layers)
    whole = np.eye(3)
    h = [np.diag(given.inputs)]
    for matrix in matrices:
        whole = matrix @ whole
        h.append(matrix @ h[-1] @ matrix.T)
    np.testing.assert_allclose(whole, given.whole, atol=1e-12)
    b = [np.diag(given.noise)]
    for matrix in matrices[::-1]:
        b.append(matrix.T @ b[-1] @ matrix)
    b = b[::-1]
    for i in range(1, layers):
        left, right = np.trace(b[i + 1]) * h[i], np.trace(h[i - 1]) * b[i]
        np.testing.assert_allclose(left, right, atol=1e-12)


def test_the_minimum_of_equal_norms_is_another():
    given = networks.teacher()
    first, second = module._start(given)
    np.testing.assert_allclose(second @ first, given.whole, atol=1e-12)
    np.testing.assert_allclose(second.T @ second, first @ first.T, atol=1e-12)
    rest = given.at_rest(2)
    assert module._sharpness(given, *(m[None] for m in rest)) != pytest.approx(
        module._sharpness(given, first[None], second[None]), rel=1e-3
    )


def _runs(imbalance, *, runs=16, units=10):
    """Of given ln |g_w|^2/|g_u|^2, with 2 % of noise; one unit learns slowly."""
    generator = np.random.default_rng(0)
    shape = runs, 2, units
    push = np.ones(shape)
    folds = np.full(shape, 10.0)
    charge = np.zeros((runs, 3, units))
    charge[:, 2] = imbalance + 0.02 * generator.normal(size=(runs, units))
    folds[:, 1, 0], charge[:, 2, 0] = 1.0, 1.0
    layers = np.zeros((runs, units, 13)), np.zeros((runs, 10, units))
    return networks.ReluRun(charge, 0.0, push, push, push, push, folds, layers)


def test_a_balance_that_is_off_by_one_percent_is_seen():
    assert all(c.is_as_expected for c in module._balance(_runs(0.0)))
    wrong = [c.what for c in module._balance(_runs(0.01)) if not c.is_as_expected]
    assert len(wrong) == 1
    assert "mean of the runs over its standard error" in wrong[0]


def test_units_that_learn_slowly_are_counted():
    share = next(module._balance(_runs(0.0)))
    assert share.measured == pytest.approx(0.1)
    assert "144 of 160 units" in share.what


def test_it_is_verified_quickly():
    assert lg.verify("noise-equilibrium", quick=True).holds


def test_another_equilibrium_is_refuted(monkeypatch):
    right = networks.Teacher.alpha.fget
    monkeypatch.setattr(
        networks.Teacher, "alpha", property(lambda self: 2 * right(self))
    )
    claims = module._two_layers(0, True)
    assert not all(c.is_as_expected for c in claims if hasattr(c, "holds"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("noise-equilibrium", seed=seed).holds
