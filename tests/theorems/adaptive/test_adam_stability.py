"""Adam's step: the sharp bound, and what grows beyond the boundary."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.adaptive import adam_runs as runs
from lagrangian.theorems.adaptive import adam_stability as module


@pytest.mark.parametrize("pair", [(0.9, 0.999), (0.9, 0.81), (0.9, 0.75), (0.0, 0.5)])
def test_no_gradients_of_a_grid_make_a_larger_step_than_the_stated_one(pair):
    """By the definition written out, over all directions of three gradients."""
    b1, b2 = pair
    angles = np.linspace(0, np.pi, 400)
    polar, around = np.meshgrid(angles, 2 * angles)
    gradients = np.stack(
        [
            np.sin(polar) * np.cos(around),
            np.sin(polar) * np.sin(around),
            np.cos(polar),
        ]
    )
    m, v = np.zeros_like(polar), np.zeros_like(polar)
    for gradient in gradients:
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
    found = np.abs(m / (1 - b1**3) / np.sqrt(v / (1 - b2**3))).max()
    (stated,) = runs.bound([pair], 3)[0]
    assert found <= stated * (1 + 1e-12)
    assert found == pytest.approx(stated, rel=1e-3)


def test_at_the_boundary_the_bound_grows_like_the_root_of_the_steps():
    steps = np.array([1, 4, 100])
    found = runs.unbiased_bound((0.9, 0.81), steps)
    np.testing.assert_allclose(found / found[0], np.sqrt(steps), rtol=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("adam-stability", quick=True).holds


@pytest.mark.parametrize("name, factor", [("bound", 0.99), ("growth", 1.02)])
def test_another_bound_and_another_rate_are_refuted(monkeypatch, name, factor):
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: factor * right(*given))
    claims = [c for c in module._digits(0, True) if isinstance(c, module.Claim)]
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("adam-stability", seed=seed).holds
