"""The data sets, each against a property that its definition gives in closed form."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from scipy import integrate, stats

from lagrangian.errors import LagrangianError
from lagrangian.networks.datasets import (
    ALPHABET,
    BRANCHING,
    DATASETS,
    characters,
    digits,
    from_arrays,
    gaussian_mixture,
    make_dataset,
    mixture_means,
    random_teacher,
    teacher_student,
)

SHAPES = {
    "digits": ((1797, 8, 8, 1), (1797,), 10),
    "teacher-student": ((1024, 16), (1024, 1), None),
    "gaussian-mixture": ((1024, 8), (1024,), 4),
    "characters": ((512, 32), (512, 32), 16),
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_named_set_has_the_shapes_and_types_that_the_docs_give(name):
    dataset = make_dataset(name)
    inputs, targets, classes = SHAPES[name]
    assert (dataset.name, dataset.classes) == (name, classes)
    assert (dataset.inputs.shape, dataset.targets.shape) == (inputs, targets)
    assert dataset.inputs.dtype == (np.int32 if name == "characters" else np.float32)
    assert dataset.targets.dtype == (np.float32 if classes is None else np.int32)
    if classes is not None:
        assert set(np.unique(dataset.targets)) == set(range(classes))
        assert len(dataset.names) in (0, classes)


@pytest.mark.parametrize("name", DATASETS)
def test_the_seed_alone_decides(name):
    first, again, other = (make_dataset(name, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert not np.array_equal(first.inputs, other.inputs)
    assert not np.array_equal(first.targets, other.targets)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(LagrangianError, match="no data set `digit`. Nearest: `digits`"):
        make_dataset("digit")


def test_more_examples_ask_the_same_teacher():
    few, many = (teacher_student(examples=n) for n in (10, 20))
    np.testing.assert_array_equal(few.inputs, many.inputs[:10])
    np.testing.assert_allclose(few.targets, many.targets[:10], rtol=1e-6)


# ------------------------------------------------------------------ digits


def test_the_digits_are_those_of_scikit_learn_in_another_order():
    from sklearn import datasets

    raw, dataset = datasets.load_digits(), digits(seed=5)
    scanned = raw.images / 16
    found = dataset.inputs[..., 0] + scanned.mean()

    def pairs(images, labels):
        rows = np.rint(np.asarray(images) * 16).astype(int).reshape(len(labels), -1)
        return sorted(zip(rows.tolist(), labels.tolist(), strict=True))

    assert pairs(found, dataset.targets) == pairs(scanned, raw.target)
    assert abs(dataset.inputs.mean(dtype=np.float64)) < 1e-6


# ------------------------------------------------------------------ teacher and student


def test_the_loss_of_the_teacher_is_zero_and_that_of_another_is_not():
    sizes = {"inputs": 5, "hidden": 3, "outputs": 2}
    dataset = teacher_student(seed=1, examples=200, **sizes)

    def loss(seed):
        outputs = random_teacher(seed, **sizes)(dataset.inputs)
        return np.mean((outputs.astype(np.float32) - dataset.targets) ** 2)

    assert loss(1) == 0.0
    assert loss(2) > 0.1


def test_the_second_moment_of_the_targets_is_the_arc_cosine_kernel():
    """E relu(u.x) relu(v.x) for normal x (Cho & Saul, "Kernel Methods for Deep
    Learning", 2009)."""
    teacher = random_teacher(seed=0)
    norms = np.linalg.norm(teacher.first, axis=0)
    sizes = np.outer(norms, norms)
    cosine = np.clip(teacher.first.T @ teacher.first / sizes, -1, 1)
    angle = np.arccos(cosine)
    kernel = sizes * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    expected = (teacher.second.T @ kernel @ teacher.second).item()
    squares = teacher_student(seed=0, examples=100_000).targets.astype(np.float64) ** 2
    error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - expected) < 4 * error < 0.03 * expected


def test_the_noise_has_the_size_that_was_asked_for():
    clean, noisy = (teacher_student(examples=20_000, noise=s) for s in (0.0, 0.3))
    np.testing.assert_array_equal(clean.inputs, noisy.inputs)
    noise = (noisy.targets - clean.targets).ravel().astype(np.float64) / 0.3
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert stats.kstest(1.1 * noise, "norm").pvalue < 1e-6  # the test can tell


# ------------------------------------------------------------------ mixture


def test_the_means_are_centred_and_at_equal_distances():
    means = mixture_means(seed=2, inputs=7, classes=5, separation=3.0)
    distances = np.linalg.norm(means[:, None] - means, axis=-1)
    np.testing.assert_allclose(distances, 3 * (1 - np.eye(5)), atol=1e-12)
    np.testing.assert_allclose(means.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(("classes", "separation"), [(2, 1.0), (2, 3.0), (4, 2.0)])
def test_the_nearest_mean_is_right_as_often_as_bayes(classes, separation):
    """For two classes Phi(separation/2); for more, one score against the others."""
    sizes = {"classes": classes, "separation": separation}
    dataset = gaussian_mixture(seed=1, examples=100_000, **sizes)
    means = mixture_means(seed=1, **sizes)
    distances = ((dataset.inputs[:, None] - means) ** 2).sum(axis=-1)
    share = np.mean(distances.argmin(axis=1) == dataset.targets)

    def all_others_are_lower(score):
        rest = stats.norm.cdf(score) ** (classes - 1)
        return stats.norm.pdf(score - separation / math.sqrt(2)) * rest

    expected, _ = integrate.quad(all_others_are_lower, -12, 16)
    if classes == 2:
        assert expected == pytest.approx(stats.norm.cdf(separation / 2), abs=1e-10)
    error = math.sqrt(expected * (1 - expected) / len(dataset.targets))
    assert abs(share - expected) < 4 * error
    counts = np.bincount(dataset.targets)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_classes_that_do_not_fit_are_told_how_many_inputs_they_need():
    with pytest.raises(LagrangianError, match="5 classes .* 3 dim.*`inputs=5` or more"):
        gaussian_mixture(inputs=3, classes=5)


# ------------------------------------------------------------------ characters


@pytest.fixture(scope="module")
def corpus():
    return characters(seed=1, examples=2000, length=50)


def text_of(dataset):
    return "".join(dataset.names[i] for i in dataset.inputs.ravel())


def test_a_target_is_the_next_input(corpus):
    np.testing.assert_array_equal(corpus.inputs[:, 1:], corpus.targets[:, :-1])
    np.testing.assert_array_equal(corpus.inputs[1:, 0], corpus.targets[:-1, -1])


def test_every_line_is_of_the_grammar(corpus):
    """By reduction: (E+E) to E until nothing else is left."""
    lines = text_of(corpus).split("\n")[:-1]  # the last one is cut off
    assert max(map(len, lines)) > 100
    for line in lines:
        reduced, before = re.sub(r"\d", "E", line), ""
        while reduced != before:
            before, reduced = reduced, re.sub(r"\(E[-+*]E\)", "E", reduced)
        assert reduced == "E", line


def test_the_bigrams_are_those_of_the_grammar(corpus):
    """In closed form, though the language is not regular.

    What starts an expression is "(" with probability p, whatever came before. Of the
    1/(1 - 2p) expressions of a line one is the line, and half of the others stand to
    the left of an operator, half to the right; their inside does not depend on that.
    """
    p = BRANCHING
    start = {"(": p, "d": 1 - p}
    end = {"\n": 1 - 2 * p, "o": p, ")": p}
    expected = {"\n": start, "(": start, "o": start, "d": end, ")": end}
    text = re.sub(r"[-+*]", "o", re.sub(r"\d", "d", text_of(corpus)))
    pairs = Counter(zip(text, text[1:], strict=False))
    for first, row in expected.items():
        total = sum(n for (a, _), n in pairs.items() if a == first)
        assert total > 3000
        assert {b for a, b in pairs if a == first} == set(row)
        for second, probability in row.items():
            assert pairs[first, second] / total == pytest.approx(probability, abs=0.02)


def test_digits_and_operators_are_equally_likely(corpus):
    counts = Counter(text_of(corpus))
    for kind in ("0123456789", "+-*"):
        assert stats.chisquare([counts[c] for c in kind]).pvalue > 1e-3
    assert set(counts) == set(ALPHABET) == set(corpus.names)


# ------------------------------------------------------------------ a user's arrays

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
TOKENS = np.array([[0, 1, 4], [2, 1, 0]])
IMAGES = np.full((6, 4, 4), 51, np.uint8)


@pytest.mark.parametrize(
    ("inputs", "targets", "dtype", "shape", "classes"),
    [
        (X, LABELS, np.float32, (6,), 3),
        (X.astype(np.float16), LABELS > 1, np.float32, (6,), 2),
        (X > 3, LABELS.astype(np.uint8), np.float32, (6,), 3),
        (X, LABELS / 2, np.float32, (6, 1), None),
        (X, X, np.float32, (6, 2), None),
        (X.astype(int), LABELS, np.int32, (6,), 3),
        (TOKENS, [1, 0], np.int32, (2,), 2),
        (TOKENS, TOKENS[:, ::-1] // 2, np.int32, (2, 3), 5),
        (TOKENS.astype(np.uint8), [1, 0], np.int32, (2,), 2),
    ],
)
def test_arrays_are_read_by_their_type(inputs, targets, dtype, shape, classes):
    dataset = from_arrays(inputs, targets)
    assert (dataset.inputs.dtype, dataset.classes) == (dtype, classes)
    assert dataset.targets.dtype == (np.float32 if classes is None else np.int32)
    np.testing.assert_array_equal(dataset.inputs, inputs)
    np.testing.assert_array_equal(dataset.targets, np.reshape(targets, shape))


def test_bytes_are_images_from_three_axes_on():
    dataset = from_arrays(IMAGES, LABELS)
    assert dataset.inputs.dtype == np.float32
    np.testing.assert_allclose(dataset.inputs, 0.2, rtol=1e-6)


def changed(values, row, value):
    values = np.array(values)
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (X[:, 0], LABELS, r"`inputs` has shape \(6,\). Write one row an example"),
        (X[:0], LABELS[:0], r"`inputs` has shape \(0, 2\)"),
        (X, LABELS[:4], r"shape \(6, 2\), but `targets` has \(4,\). Write one target"),
        (X, np.float32(1), r"`targets` has \(\)"),
        (X, np.zeros((6, 0)), r"`targets` has \(6, 0\)"),
        (
            changed(X, 4, np.nan),
            LABELS,
            "`inputs` is NaN .* 1 of 6 rows, first in row 4",
        ),
        (changed(X, [2, 5], np.inf), LABELS, "2 of 6 rows, first in row 2. Leave"),
        (changed(X, 1, 1e300), LABELS, "`inputs` is NaN or infinite .* row 1"),
        (X, changed(X, 3, np.nan), "`targets` is NaN or infinite .* row 3"),
        (X.astype(str), LABELS, "`inputs` has dtype `<U32`. Write numbers"),
        (X, list("abcabc"), "`targets` has dtype `<U1`.* return_inverse=True"),
        (1j * X, LABELS, "`inputs` has dtype `complex128`"),
        (TOKENS - 1, [0, 1], r"-1 to 3 in row 0; .*\.astype\('float32'\)"),
        (TOKENS + 2**31, [0, 1], "2147483648 to 2147483652 in row 0; .* to 2147483647"),
        (X, changed(LABELS, 2, -1), "`targets` has -1 to -1 in row 2.*classes from 0"),
        (X, np.eye(6, dtype=int), r"shape \(6, 6\).*shape \(6,\): `.argmax\(axis=1\)`"),
        (X, 0 * LABELS, "`targets` has one class only, 0"),
    ],
)
def test_arrays_that_are_wrong_are_told_where_and_what_to_write(
    inputs, targets, message
):
    with pytest.raises(LagrangianError, match=message):
        from_arrays(inputs, targets)
