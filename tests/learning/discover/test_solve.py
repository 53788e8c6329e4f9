"""Null spaces of matrices that were made with known ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagrangian.learning.discover.pairings import Pairings, widest_gap
from lagrangian.learning.discover.solve import exact_solutions, near_solutions

LOW, HIGH, NEAR = 1e-14, 1e-8, 0.1


def solutions(samples, squares, known):
    """The exact ones, then the approximate ones."""
    pairings = Pairings(samples, squares)
    found = exact_solutions(pairings, known, LOW, HIGH)
    basis = [*known, *(s.coefficients for s in found)]
    return [*found, *near_solutions(pairings, basis, LOW, HIGH, NEAR)]


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
    found = solutions(*sampled(null[:, [0, 2]]), [])
    assert coefficients(found) == [(1, 0, 0, -1, 0, 0), (0, 1, 1, 0, -1, 0)]
    zero, other = found[0].gap
    assert zero < 1e-14 and other > 0.5 and found[0].defect < 1e-14


def test_rational_coefficients_and_columns_of_any_size():
    null = np.array([[2.0, -1.0, 0.5, 0.0]]).T
    sizes = np.array([1.0, 1e-4, 1e3, 1.0])
    samples, squares = sampled(null, sizes=1 / sizes)
    found = solutions(samples, squares, [])
    # The null vector of the scaled columns, its first entry 1 or a multiple.
    (vector,) = (s.coefficients for s in found)
    expected = null[:, 0] * sizes
    np.testing.assert_allclose(
        vector / vector[0], expected / expected[0], rtol=1e-6, atol=1e-9
    )


def test_what_other_levels_imply_is_left_out():
    null = np.array([[1, -1, 0, 0], [0, 0, 1, -1]], float).T
    known = [np.array([1.0, -1, 0, 0]), np.array([2.0, -2, 0, 0])]  # dependent ones
    found = solutions(*sampled(null), known)
    assert coefficients(found) == [(0, 0, 1, -1)]


def test_an_approximate_one_has_its_defect_and_is_no_exact_one():
    null = np.array([[1, 1, -1, 0, 0]], float).T
    found = solutions(*sampled(null, noise=1e-4), [])
    assert coefficients(found) == [(1, 1, -1, 0, 0)]
    assert 1e-5 < found[0].defect < 1e-3


@pytest.mark.parametrize("terms", [1, 7])
def test_without_a_null_space_nothing_is_found(terms):
    samples = np.random.default_rng(0).normal(size=(200, terms))
    assert solutions(samples, np.ones_like(samples), []) == []


def test_a_tiny_term_is_not_added_to_an_approximate_one():
    """One column that is nearly zero: its multiples plus anything are no news."""
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(200, 4)) * np.array([1e-5, 1, 1, 1])
    found = solutions(samples, np.ones_like(samples), [])
    assert coefficients(found) == [(1, 0, 0, 0)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0.0, np.inf)),
        ([0.1, 1.0], (0.0, 0.1)),
        ([1e-17, 3e-16], (3e-16, np.inf)),
        ([1e-16, 2e-12, 0.1], (2e-12, 0.1)),
        ([1e-15, 5e-9, 0.1], (1e-15, 5e-9)),  # an epsilon in a normalisation
    ],
)
def test_zeros_end_at_the_widest_gap(values, expected):
    assert widest_gap(np.array(values), LOW, HIGH) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 6))
def test_a_basis_of_any_null_space_is_found_within_the_range(seed, terms, dimension):
    """As many as it has dimensions, null, independent, and never zero or huge."""
    generator = np.random.default_rng(seed)
    dimension = min(dimension, terms)
    null = generator.integers(-2, 3, (terms, dimension)).astype(float)
    dimension = int(np.linalg.matrix_rank(null)) if null.size else 0
    basis = np.linalg.svd(null)[0][:, :dimension] if null.size else null
    raw = generator.normal(size=(60, terms))
    samples = raw - raw @ basis @ basis.T
    found = exact_solutions(Pairings(samples, samples**2 + 1e-3), [], LOW, HIGH)
    vectors = np.array([s.coefficients for s in found]).reshape(-1, terms)
    assert len(found) == dimension
    assert np.abs(vectors @ (np.eye(terms) - basis @ basis.T)).max(initial=0) < 1e-5
    if found:
        assert np.linalg.matrix_rank(vectors, tol=1e-6) == dimension
        assert 0.01 < np.abs(vectors).max(axis=1).min() <= np.abs(vectors).max() < 100


def test_a_vector_that_known_ones_span_is_left_as_it_is():
    """Thinned by them it would be zero, which says nothing."""
    null = np.array([[1, 1, -1, 0], [0, 1, -1, 1]], float).T
    samples, squares = sampled(null, noise=1e-5)
    found = solutions(samples, squares, [np.array([1.0, 0, 0, -1])])
    assert found and all(s.coefficients.any() for s in found)
