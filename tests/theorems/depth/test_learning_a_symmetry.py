"""Leave-one-out errors on orbits."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.depth import learning_a_symmetry as module
from lagrangian.theorems.depth import orbit_kernels as kernels
from lagrangian.theorems.depth import orbit_networks as networks

GROUPS = {
    "C4": (kernels.rolls(4), kernels.cyclic(4)),
    "D4": (kernels.square(), kernels.dihedral()),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_representations_are_those_of_the_permutations(name):
    group, representations = GROUPS[name]
    assert sum(r.shape[-1] ** 2 for r in representations) == len(group)
    for i, row in enumerate(group.table):
        for j, both in enumerate(row):
            for r in representations:
                np.testing.assert_allclose(r[i] @ r[j], r[both], atol=1e-12)


def test_values_known_before():
    images = kernels.digits()
    cases = {
        (8, 0, 1): 1.1673,
        (8, 5, 12): 0.7919,
        (8, 20, 33): 1.7222,
        (4, 0, 1): 1.9668,
    }
    for (n, i, j), error in cases.items():
        group = kernels.rolls(n)
        gram = kernels.tangent(
            kernels.two_orbits(images[i], images[j], group.permutations)
        )
        found = kernels.closed(gram, kernels.cyclic(n))[0]
        assert found == pytest.approx(error, abs=5e-5)


def test_units_in_orbits_have_an_invariant_kernel():
    group, images = kernels.rolls(4), kernels.digits()
    points = kernels.two_orbits(images[0], images[1], group.permutations)
    gram = networks.kernel(networks.start(0, group, 3), points)
    moved = np.r_[np.roll(np.arange(4), 1), 4 + np.roll(np.arange(4), 1)]
    np.testing.assert_allclose(gram[np.ix_(moved, moved)], gram, rtol=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("learning-a-symmetry", quick=True).holds


def _refuted(claims):
    kept = [c for c in claims if isinstance(c, module.Claim)]
    return not all(claim.is_as_expected for claim in kept)


def test_another_closed_form_is_refuted(monkeypatch):
    right = kernels.closed
    swapped = lambda gram, representations: right(gram, representations)[::-1]
    monkeypatch.setattr(module, "closed", swapped)
    assert _refuted(module._kernels(0, True))
    assert _refuted(module._networks(0, True))


def test_another_spectral_error_is_refuted(monkeypatch):
    right = kernels.interleaved
    monkeypatch.setattr(module, "interleaved", lambda gram: 1.001 * right(gram))
    assert _refuted(module._circles())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("learning-a-symmetry", seed=seed).holds
