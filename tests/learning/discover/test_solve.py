"""Null spaces of matrices that were made with known ones."""

import numpy as np
import pytest

from lagrangian.learning.discover.solve import solutions

EXACT, NEAR = 1e-11, 0.1


def sampled(null, rows=200, noise=0.0, sizes=None):
    """Rows orthogonal to the columns of `null`, but for noise."""
    generator = np.random.default_rng(0)
    basis, _ = np.linalg.qr(null)
    raw = generator.normal(size=(rows, len(null)))
    samples = raw - raw @ basis @ basis.T + noise * generator.normal(size=raw.shape)
    if sizes is not None:
        samples = samples * sizes
    return samples, np.broadcast_to(np.mean(samples**2, 0), samples.shape)


def coefficients(found):
    return [tuple(np.round(s.coefficients, 9)) for s in found]


def test_the_basis_is_the_sparsest():
    null = np.array([[1, 0, 0, -1, 0, 0], [0, 1, 1, 0, -1, 0], [1, 1, 1, -1, -1, 0]]).T
    found = solutions(*sampled(null[:, [0, 2]]), [], EXACT, NEAR)
    assert coefficients(found) == [(1, 0, 0, -1, 0, 0), (0, 1, 1, 0, -1, 0)]
    zero, other = found[0].gap
    assert zero < 1e-14 and other > 0.5 and found[0].defect < 1e-14


def test_rational_coefficients_and_columns_of_any_size():
    null = np.array([[2.0, -1.0, 0.5, 0.0]]).T
    sizes = np.array([1.0, 1e-4, 1e3, 1.0])
    samples, squares = sampled(null, sizes=1 / sizes)
    found = solutions(samples, squares, [], EXACT, NEAR)
    # The null vector of the scaled columns, its first entry 1 or a multiple.
    (vector,) = (s.coefficients for s in found)
    expected = null[:, 0] * sizes
    np.testing.assert_allclose(
        vector / vector[0], expected / expected[0], rtol=1e-6, atol=1e-9
    )


def test_what_other_levels_imply_is_left_out():
    null = np.array([[1, -1, 0, 0], [0, 0, 1, -1]], float).T
    known = [np.array([1.0, -1, 0, 0]), np.array([2.0, -2, 0, 0])]  # dependent ones
    found = solutions(*sampled(null), known, EXACT, NEAR)
    assert coefficients(found) == [(0, 0, 1, -1)]


def test_an_approximate_one_has_its_defect_and_is_no_exact_one():
    null = np.array([[1, 1, -1, 0, 0]], float).T
    found = solutions(*sampled(null, noise=1e-4), [], EXACT, NEAR)
    assert coefficients(found) == [(1, 1, -1, 0, 0)]
    assert 1e-5 < found[0].defect < 1e-3 and found[0].gap[1] < 1e-3


@pytest.mark.parametrize("terms", [1, 7])
def test_without_a_null_space_nothing_is_found(terms):
    samples = np.random.default_rng(0).normal(size=(200, terms))
    assert solutions(samples, np.ones_like(samples), [], EXACT, NEAR) == []


def test_a_tiny_term_is_not_added_to_an_approximate_one():
    """One column that is nearly zero: its multiples plus anything are no news."""
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(200, 4)) * np.array([1e-5, 1, 1, 1])
    found = solutions(samples, np.ones_like(samples), [], EXACT, NEAR)
    assert coefficients(found) == [(1, 0, 0, 0)]
