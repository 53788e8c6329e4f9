"""Data sets: generated from a seed, shipped with a package, or from a user's arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError, nearest

#: What `characters` is written in; a token is a position here.
ALPHABET = "\n()+-*0123456789"
#: The share of the expressions of `characters` that are not single digits.
BRANCHING = 0.4


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with their targets.

    Args:
        name: for titles and messages.
        inputs: one row an example; float32, or int32 where they are tokens.
        targets: int32 labels of shape (n,) or, one for each token, (n, length); or
            float32 of shape (n, outputs) for regression.
        classes: how many classes, or tokens, there are; None for regression.
        names: of the classes or tokens, in their order, where they have any.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    classes: int | None
    names: tuple[str, ...] = ()


def from_arrays(
    inputs: Any,
    targets: Any,
    name: str = "arrays",
    called: Sequence[str] = ("`inputs`", "`targets`"),
) -> Dataset:
    """A data set of a user's own arrays, checked.

    Args:
        inputs: one row an example. Floating-point numbers become float32; uint8 with
            three axes or more are images, and are scaled to [0, 1]; other whole numbers
            are tokens, and become int32.
        targets: labels are whole numbers from 0, of shape (n,) or, one for each token,
            of the shape of the inputs. Floating-point numbers mean regression; of shape
            (n,), they become (n, 1).
        name: of the data set.
        called: what messages call the two arrays.

    Raises:
        LagrangianError: no rows, rows that differ in number, shapes or types other than
            these, NaN, infinite or negative numbers, or one class only.
    """
    x = _as_inputs(np.asarray(inputs), called[0])
    targets = np.asarray(targets)
    if targets.shape[:1] != x.shape[:1] or targets.size == 0:
        raise LagrangianError(
            f"{called[0]} has shape {x.shape}, but {called[1]} has {targets.shape}. "
            "Write one target an example."
        )
    if targets.dtype.kind in "biu":
        return Dataset(name, x, *_as_labels(targets, x, called[1]))
    y = _finite(targets, called[1])
    return Dataset(name, x, y[:, None] if y.ndim == 1 else y, None)


@dataclass(frozen=True, eq=False)
class Teacher:
    """relu(x W) a, with W of shape (inputs, hidden) and a of (hidden, outputs)."""

    first: np.ndarray
    second: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs of shape (n, outputs) for inputs of shape (n, inputs)."""
        return np.maximum(x @ self.first, 0.0) @ self.second


def digits(seed: int = 0) -> Dataset:
    """The 1,797 digits of scikit-learn: images (n, 8, 8, 1), centred, labels 0 to 9.

    The seed draws their order.
    """
    from lagrangian.networks.digits import load_digits

    (images, labels), _ = load_digits(seed, held_out=0.0)
    return Dataset("digits", images, labels, 10, tuple("0123456789"))


def teacher_student(
    seed: int = 0,
    examples: int = 1024,
    inputs: int = 16,
    hidden: int = 8,
    outputs: int = 1,
    noise: float = 0.0,
) -> Dataset:
    """Regression onto a random two-layer ReLU network without biases.

    Inputs are standard normal. Targets are those of `random_teacher`, drawn from the
    same seed, and Gaussian noise of standard deviation `noise`.
    """
    teacher_rng, rng = _streams(seed)
    x = rng.normal(size=(examples, inputs)).astype(np.float32)
    y = _draw_teacher(teacher_rng, inputs, hidden, outputs)(x)
    y = y + noise * rng.normal(size=y.shape)
    return Dataset("teacher-student", x, y.astype(np.float32), None)


def random_teacher(
    seed: int = 0, inputs: int = 16, hidden: int = 8, outputs: int = 1
) -> Teacher:
    """The network, in float64, behind `teacher_student` of the same arguments.

    Its weights are normal with variances 2/inputs and 1/hidden, so that its outputs
    have second moments about one.
    """
    return _draw_teacher(_streams(seed)[0], inputs, hidden, outputs)


def gaussian_mixture(
    seed: int = 0,
    examples: int = 1024,
    inputs: int = 8,
    classes: int = 4,
    separation: float = 4.0,
) -> Dataset:
    """Classes that are unit normal distributions about the rows of `mixture_means`.

    All classes are equally likely. Of two, the nearest mean tells the share
    Phi(separation/2) apart, and nothing can tell more (Phi: the normal distribution).

    Raises:
        LagrangianError: more classes than inputs.
    """
    means = mixture_means(seed, inputs, classes, separation)
    rng = _streams(seed)[1]
    labels = rng.integers(classes, size=examples).astype(np.int32)
    x = means[labels] + rng.normal(size=(examples, inputs))
    return Dataset("gaussian-mixture", x.astype(np.float32), labels, classes)


def mixture_means(
    seed: int = 0, inputs: int = 8, classes: int = 4, separation: float = 4.0
) -> np.ndarray:
    """Random centred points (classes, inputs), each `separation` from each other.

    They are the corners of a regular simplex, in float64.

    Raises:
        LagrangianError: more classes than inputs.
    """
    if classes > inputs:
        raise LagrangianError(
            f"{classes} classes at equal distances do not fit into {inputs} "
            f"dimensions. Write `inputs={classes}` or more."
        )
    frame, _ = np.linalg.qr(_streams(seed)[0].normal(size=(inputs, classes)))
    corners = separation / math.sqrt(2) * frame.T
    return corners - corners.mean(axis=0)


def characters(seed: int = 0, examples: int = 512, length: int = 32) -> Dataset:
    """Lines of arithmetic, to be predicted character by character.

    The grammar is E -> digit | (E+E) | (E-E) | (E*E), a line each; an E branches with
    probability `BRANCHING`. So bigrams have a closed form, while only a model that
    counts parentheses knows which ones close. Inputs and targets are tokens of shape
    (examples, length); a target is the character that comes next. `names` is the
    alphabet: `"".join(dataset.names[i] for i in row)` is the text of a row.
    """
    text = _lines(np.random.default_rng(seed), examples * length + 1)
    tokens = np.array([ALPHABET.index(c) for c in text], np.int32)
    inputs, targets = (t.reshape(examples, length) for t in (tokens[:-1], tokens[1:]))
    return Dataset("characters", inputs, targets, len(ALPHABET), tuple(ALPHABET))


#: The data sets that are known by name.
DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "teacher-student": teacher_student,
    "gaussian-mixture": gaussian_mixture,
    "characters": characters,
}


def make_dataset(name: str, seed: int = 0) -> Dataset:
    """The data set of that name, in its default size.

    >>> make_dataset("characters").inputs.shape
    (512, 32)

    Raises:
        LagrangianError: an unknown name.
    """
    if name not in DATASETS:
        raise LagrangianError(f"no data set `{name}`. {nearest(name, DATASETS)}")
    return DATASETS[name](seed=seed)


def _streams(seed: int) -> list[np.random.Generator]:
    """One for the distribution and one for the examples, which size cannot mix up."""
    return np.random.default_rng(seed).spawn(2)


def _draw_teacher(
    rng: np.random.Generator, inputs: int, hidden: int, outputs: int
) -> Teacher:
    first = rng.normal(size=(inputs, hidden)) * math.sqrt(2 / inputs)
    second = rng.normal(size=(hidden, outputs)) / math.sqrt(hidden)
    return Teacher(first, second)


def _lines(rng: np.random.Generator, size: int) -> str:
    """The first `size` characters of endless lines of the grammar of `characters`."""
    text: list[str] = []
    pending: list[str] = []  # what is still to be written, the next one last
    while len(text) < size:
        symbol = pending.pop() if pending else "line"
        if symbol == "line":
            pending += ["\n", "E"]
        elif symbol != "E":
            text.append(symbol)
        elif rng.random() < BRANCHING:
            pending += [")", "E", "+-*"[rng.integers(3)], "E", "("]
        else:
            text.append(str(rng.integers(10)))
    return "".join(text)


def _as_inputs(values: np.ndarray, called: str) -> np.ndarray:
    if values.ndim < 2 or values.size == 0:
        raise LagrangianError(
            f"{called} has shape {values.shape}. Write one row an example, such as "
            "(n, features) or (n, height, width, channels)."
        )
    if values.dtype == np.uint8 and values.ndim > 2:
        return values / np.float32(255)
    if values.dtype.kind in "iu":
        return _whole(values, called, "For measurements, write `.astype('float32')`.")
    return _finite(values, called)


def _as_labels(
    values: np.ndarray, inputs: np.ndarray, called: str
) -> tuple[np.ndarray, int]:
    """Labels, and how many classes there are."""
    per_token = inputs.dtype == np.int32 and values.shape == inputs.shape
    if values.ndim != 1 and not per_token:
        raise LagrangianError(
            f"{called} has whole numbers of shape {values.shape}. Write one label an "
            f"example, shape ({len(inputs)},): `.argmax(axis=1)` turns one-hot rows "
            "into labels. For regression, write `.astype('float32')`."
        )
    labels = _whole(values, called, "Number the classes from 0.")
    classes = 1 + int(max(labels.max(), inputs.max() if per_token else 0))
    if classes == 1:
        raise LagrangianError(
            f"{called} has one class only, 0. Write labels of two or more."
        )
    return labels, classes


def _whole(values: np.ndarray, called: str, advice: str) -> np.ndarray:
    rows = values.reshape(len(values), -1)
    largest = np.iinfo(np.int32).max
    wrong = ((rows < 0) | (rows > largest)).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise LagrangianError(
            f"{called} has {rows[row].min()} to {rows[row].max()} in row {row}; labels "
            f"and tokens run from 0 to {largest}. {advice}"
        )
    return values.astype(np.int32)


def _finite(values: np.ndarray, called: str) -> np.ndarray:
    if values.dtype.kind not in "bf":
        raise LagrangianError(
            f"{called} has dtype `{values.dtype}`. Write numbers: float32, or int32 "
            "for labels and tokens. `np.unique(names, return_inverse=True)[1]` numbers "
            "the names of classes."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported below
        values = values.astype(np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise LagrangianError(
            f"{called} is NaN or infinite in {(~finite).sum()} of {len(values)} rows, "
            f"first in row {finite.argmin()}. Leave these rows out, or fill them in."
        )
    return values
