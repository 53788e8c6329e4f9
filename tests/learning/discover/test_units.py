"""Views, terms and flows in coordinates."""

import numpy as np
import pytest
from scipy.linalg import expm

from lagrangian.learning.discover.generator import Generator, flow
from lagrangian.learning.discover.terms import (
    ABSORB,
    ANTISYMMETRIC,
    SCALE,
    SHIFT,
    SYMMETRIC,
    Draw,
    Term,
)
from lagrangian.learning.discover.units import CONTIGUOUS, STRIDED, View

RANDOM = np.random.default_rng(0)
VIEWS = [
    View("w", (3, 4)),
    View("w", (3, 4), (1,)),
    View("w", (2, 3, 4), (0, 2)),
    View("w", (5, 6), (1,), (CONTIGUOUS, 3)),
    View("w", (6, 5), (0,), (STRIDED, 2)),
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_folding_undoes_unfolding(view):
    array = RANDOM.normal(size=view.shape)
    unfolded = view.unfold(array)
    assert unfolded.shape == (*view.units, view.size)
    np.testing.assert_array_equal(view.fold(unfolded), array)


def test_splits_group_neighbours_or_every_nth():
    array = np.arange(6.0)
    contiguous = View("b", (6,), (0,), (CONTIGUOUS, 2))
    strided = View("b", (6,), (0,), (STRIDED, 2))
    np.testing.assert_array_equal(contiguous.unfold(array), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(strided.unfold(array), [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(contiguous.group(array[None]), [[3, 12]])
    np.testing.assert_array_equal(strided.group(array[None]), [[6, 9]])
    assert contiguous.index() == "[3k:3k+3]" and strided.index() == "[k::2]"


@pytest.mark.parametrize(
    ("shape", "axes", "text"),
    [
        ((3, 4), (), ""),
        ((3, 4), (1,), "[..., k]"),
        ((3, 4), (0,), "[k, ...]"),
        ((4,), (0,), "[k]"),
        ((3, 3, 2, 8), (2,), "[..., k, :]"),
        ((2, 3, 4), (0, 1), "[k1, k2, ...]"),
    ],
)
def test_one_unit_is_written_as_an_index(shape, axes, text):
    assert View("w", shape, axes).index() == text


def terms():
    whole = {
        SCALE: Term(View("w", (3, 4), (1,)), SCALE),
        SHIFT: Term(View("w", (3, 4), (0,)), SHIFT),
        ABSORB: Term(View("w", (3, 4), (0,)), ABSORB, "b", tail=1),
    }
    return whole.values()


@pytest.mark.parametrize("term", terms(), ids=lambda t: t.action)
def test_the_pairing_is_that_of_the_field(term):
    theta = {"w": RANDOM.normal(size=(3, 4)), "b": RANDOM.normal(size=4)}
    gradient = {"w": RANDOM.normal(size=(3, 4)), "b": RANDOM.normal(size=4)}
    sums, _ = term.pairing(Draw(theta, gradient))
    for unit, value in enumerate(sums):
        chosen = np.eye(len(sums))[unit]
        field = term.field(theta[term.view.path], chosen)
        assert value == pytest.approx(np.sum(gradient[term.path] * field), rel=1e-12)


@pytest.mark.parametrize(("action", "sign"), [(SYMMETRIC, 1), (ANTISYMMETRIC, -1)])
def test_the_pairing_with_matrices_is_that_of_the_field(action, sign):
    term = Term(View("w", (3, 2, 4), (1, 2)), action)
    theta, gradient = RANDOM.normal(size=(2, 3, 2, 4))
    sums, _ = term.pairing(Draw({"w": theta}, {"w": gradient}))
    expected = []
    for head in range(2):
        for i, j in zip(*np.triu_indices(4, 1), strict=True):
            matrix = np.zeros((2, 4, 4))
            matrix[head, i, j], matrix[head, j, i] = 1.0, sign
            expected.append(np.sum(gradient * term.field(theta, matrix)))
            np.testing.assert_allclose(
                term.field(theta, matrix),
                np.einsum("ahi,hij->ahj", theta, matrix),
                atol=1e-14,
            )
    np.testing.assert_allclose(sums, expected, rtol=1e-12)


def test_flows_are_matrix_exponentials():
    first = Term(View("a", (3, 4), (1,)), SYMMETRIC)
    second = Term(View("b", (4, 2), (0,)), SYMMETRIC)
    generator = Generator(((first, 1.0), (second, -1.0)), 0.0, (0.0, 1.0))
    theta = {"a": RANDOM.normal(size=(3, 4)), "b": RANDOM.normal(size=(4, 2))}
    chosen = generator.element(np.random.default_rng(1))
    assert generator.count == 6 and np.allclose(chosen, chosen.T)
    moved = flow(lambda q: generator.field(q, chosen), theta)
    np.testing.assert_allclose(moved["a"], theta["a"] @ expm(chosen), rtol=1e-12)
    np.testing.assert_allclose(moved["b"], expm(-chosen) @ theta["b"], rtol=1e-12)


def test_affine_flows_keep_what_absorbs_the_shift():
    shift = Term(View("b", (4,), (0,)), SHIFT)
    absorb = Term(View("w", (4, 2), (0,)), ABSORB, "c", tail=1)
    generator = Generator(((shift, 1.0), (absorb, -1.0)), 0.0, (0.0, 1.0))
    theta = {
        "b": RANDOM.normal(size=4),
        "w": RANDOM.normal(size=(4, 2)),
        "c": RANDOM.normal(size=2),
    }
    chosen = generator.element(np.random.default_rng(1))
    moved = flow(lambda q: generator.field(q, chosen), theta)
    before, after = (q["b"] @ q["w"] + q["c"] for q in (theta, moved))
    np.testing.assert_allclose(after, before, rtol=1e-13)
    np.testing.assert_allclose(moved["b"] - theta["b"], chosen, rtol=1e-13)
