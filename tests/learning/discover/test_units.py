"""Views, terms and flows in coordinates."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from lagrangian.learning.discover.axes import Cut
from lagrangian.learning.discover.generator import Generator, flow
from lagrangian.learning.discover.pieces import Piece, pieces_of
from lagrangian.learning.discover.terms import (
    ABSORB,
    ANTISYMMETRIC,
    SCALE,
    SHIFT,
    SYMMETRIC,
    TURN,
    Draw,
    Term,
)
from lagrangian.learning.discover.units import View

RANDOM = np.random.default_rng(0)
#: Of a kernel (5, 24): keys of a fused one with heads, and every second entry.
KEYS = Piece("w", (5, 24), 8, ((5, 24), (2, 4), (4, 1)))
EVEN = Piece("w", (5, 24), 0, ((5, 24), (12, 2)))


def view(shape, axes=(), path="w"):
    return View(Piece.all_of(path, shape), axes)


VIEWS = [
    view((3, 4)),
    view((3, 4), (1,)),
    view((2, 3, 4), (0, 2)),
    View(Piece("w", (5, 6), 0, ((5, 6), (3, 2), (2, 1))), (1,)),
    View(KEYS, (1, 2)),
    View(EVEN, (1,)),
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_folding_undoes_unfolding(view):
    array = RANDOM.normal(size=view.piece.whole)
    unfolded = view.unfold(array)
    assert unfolded.shape == (*view.units, view.size)
    kept = view.fold(unfolded)
    inside = np.isin(np.arange(array.size), view.piece.index).reshape(array.shape)
    np.testing.assert_array_equal(kept, np.where(inside, array, 0.0))
    traced = view.fold(jnp.asarray(unfolded))
    np.testing.assert_allclose(traced, kept, rtol=1e-6)


def test_pieces_are_where_the_model_takes_them():
    array = RANDOM.normal(size=(5, 24))
    np.testing.assert_array_equal(KEYS.take(array), array[:, 8:16].reshape(5, 2, 4))
    np.testing.assert_array_equal(EVEN.take(array), array[:, ::2])


def test_cuts_that_are_no_partition_are_not_used():
    shapes = {"w": (4, 6)}
    half, rest = Cut(0, ((4, 6), (3, 1))), Cut(3, ((4, 6), (3, 1)))
    assert [p.start for p in pieces_of(shapes, {"w": [half, rest]})] == [0, 3]
    for wrong in ([half], [half, half], [Cut(0, ((24, 1),))], []):
        assert pieces_of(shapes, {"w": wrong}) == [Piece.all_of("w", (4, 6))]


@pytest.mark.parametrize(
    ("piece", "axes", "text"),
    [
        (Piece.all_of("w", (3, 4)), (), ""),
        (Piece.all_of("w", (3, 4)), (1,), "[..., k]"),
        (Piece.all_of("w", (3, 4)), (0,), "[k, ...]"),
        (Piece.all_of("w", (4,)), (0,), "[k]"),
        (Piece.all_of("w", (3, 3, 2, 8)), (2,), "[..., k, :]"),
        (Piece.all_of("w", (2, 3, 4)), (0, 1), "[k1, k2, ...]"),
        (Piece("w", (6,), 0, ((2, 3), (3, 1))), (0,), "[3k:3k+3]"),
        (Piece("w", (6,), 0, ((3, 2), (2, 1))), (1,), "[k::2]"),
        (KEYS, (), "[..., 8:16]"),
        (KEYS, (1, 2), "[..., 8+4k1+k2]"),
        (KEYS, (1,), "[..., 8+(k, :)]"),
        (EVEN, (), "[..., 0:23:2]"),
        (EVEN, (1,), "[..., 2k]"),
    ],
)
def test_one_unit_is_written_as_an_index(piece, axes, text):
    assert View(piece, axes).index() == text


def test_units_of_a_whole_axis_may_have_one_number():
    heads = Piece("w", (5, 8), 0, ((5, 8), (2, 4), (4, 1)))
    assert View(heads, (1, 2)).index(flat=True) == "[..., k]"
    assert View(KEYS, (1, 2)).index(flat=True) == "[..., 8+k]"
    assert View(heads, (1,)).index(flat=True) == "[..., 4k:4k+4]"
    assert View(heads, (1, 2)).axis_by_units == {(0, 1): 1}


def terms():
    bias = Piece.all_of("b", (4,))
    return [
        Term(view((3, 4), (1,)), SCALE),
        Term(view((3, 4), (0,)), SHIFT),
        Term(view((3, 4), (0,)), ABSORB, bias, kept=(1,)),
        Term(view((4, 3), (1,), "v"), ABSORB, bias, kept=(0,)),
        Term(view((3, 4), (0,)), TURN, Piece.all_of("v", (3, 4))),
    ]


@pytest.mark.parametrize("term", terms(), ids=lambda t: t.action)
def test_the_pairing_is_that_of_the_field(term):
    shapes = {"w": (3, 4), "b": 4, "v": term.view.shape}
    theta, gradient = (
        {path: RANDOM.normal(size=shape) for path, shape in shapes.items()}
        for _ in range(2)
    )
    sums, _ = term.pairing(Draw(theta, gradient))
    for unit, value in enumerate(sums):
        chosen = np.eye(len(sums))[unit]
        field = term.field(theta[term.view.path], chosen)
        assert value == pytest.approx(np.sum(gradient[term.path] * field), rel=1e-12)


@pytest.mark.parametrize(("action", "sign"), [(SYMMETRIC, 1), (ANTISYMMETRIC, -1)])
def test_the_pairing_with_matrices_is_that_of_the_field(action, sign):
    term = Term(view((3, 2, 4), (1, 2)), action)
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
    first = Term(view((3, 4), (1,), "a"), SYMMETRIC)
    second = Term(view((4, 2), (0,), "b"), SYMMETRIC)
    generator = Generator(((first, 1.0), (second, -1.0)), 0.0, (0.0, 1.0))
    theta = {"a": RANDOM.normal(size=(3, 4)), "b": RANDOM.normal(size=(4, 2))}
    chosen = generator.element(np.random.default_rng(1))
    assert generator.count == 6 and np.allclose(chosen, chosen.T)
    moved = flow(lambda q: generator.field(q, chosen), theta)
    np.testing.assert_allclose(moved["a"], theta["a"] @ expm(chosen), rtol=1e-12)
    np.testing.assert_allclose(moved["b"], expm(-chosen) @ theta["b"], rtol=1e-12)


def test_affine_flows_keep_what_absorbs_the_shift():
    shift = Term(view((4,), (0,), "b"), SHIFT)
    absorb = Term(view((4, 2), (0,)), ABSORB, Piece.all_of("c", (2,)), kept=(1,))
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
