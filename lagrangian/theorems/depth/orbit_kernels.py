"""Leave-one-out errors of a kernel on two orbits of a finite group, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lagrangian.learning.input_group import InputGroup

#: For each irreducible representation its matrices; shape (elements, d, d).
Representations = Sequence[np.ndarray]


def digits() -> np.ndarray:
    """The scans, from 0 to 1; shape (images, 64)."""
    from sklearn import datasets

    return datasets.load_digits().data / 16.0


def rolls(elements: int) -> InputGroup:
    """The cyclic group that rolls the columns by multiples of 8/`elements`."""
    by = 8 // elements
    return InputGroup.generated(lambda x: np.roll(x, by, axis=1), shape=(8, 8))


def square() -> InputGroup:
    """The group D4 of the image's turns t^k, and of t^k after a reflection."""
    pixels = np.arange(64).reshape(8, 8)
    turns = [np.rot90(pixels, k).ravel() for k in range(4)]
    both = np.stack([*turns, *(turn[pixels.T.ravel()] for turn in turns)])
    return InputGroup(both, (8, 8))


def cyclic(elements: int) -> Representations:
    """The irreducible representations of `rolls`."""
    k = np.arange(elements)
    return [
        np.exp(2j * np.pi * m * k / elements).reshape(-1, 1, 1) for m in range(elements)
    ]


def dihedral() -> Representations:
    """Those of `square`: four of one dimension, and the plane."""
    places = [(k, f) for f in (0, 1) for k in range(4)]
    turn, flip = np.array([[0, -1], [1, 0]]), np.diag([1, -1])
    power = np.linalg.matrix_power
    lines = [
        np.array([a**k * b**f for k, f in places]).reshape(-1, 1, 1)
        for a in (1, -1)
        for b in (1, -1)
    ]
    return [*lines, np.array([power(turn, k) @ power(flip, f) for k, f in places])]


def two_orbits(first: np.ndarray, second: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Both images in all their copies, the first one's before; shape (2 moves, 64).

    Args:
        moves: permutations of the pixels, shape (moves, 64); those of a group, or not.
    """
    return np.vstack([first[moves], second[moves]])


def tangent(points: np.ndarray) -> np.ndarray:
    """The neural tangent kernel of a layer of ReLU units of infinite width, biases too.

    By the formulas of Cho & Saul (2009) for the average over Gaussian weights.
    """
    inner = points @ points.T / points.shape[1] + 1
    size = np.sqrt(np.diag(inner))
    sizes = np.outer(size, size)
    angle = np.arccos(np.clip(inner / sizes, -1, 1))
    last = sizes * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return last + 1 + inner * (np.pi - angle) / (2 * np.pi)


def gaussian(points: np.ndarray, rate: float) -> np.ndarray:
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    return np.exp(-rate * apart)


def labels(elements: int) -> np.ndarray:
    """+1 on the first orbit and -1 on the second."""
    return np.repeat([1.0, -1.0], elements)


def direct(kernel: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y (y - yhat) of each point, by regression on all others, one after the other."""
    errors = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)], y[rest])
        errors.append(y[i] * (y[i] - kernel[i, rest] @ weights))
    return np.array(errors)


def closed(kernel: np.ndarray, representations: Representations) -> tuple[float, float]:
    """The errors on both orbits, from three rows of the kernel.

    eps_A = (b0 + c0)/(a0 b0 - c0^2)/mean, with row sums a0, b0, c0 of K_AA, K_BB, K_AB
    and mean = sum_r d_r tr (a_r - c_r^+ b_r^-1 c_r)^-1/|G| over the representations.
    """
    n = len(kernel) // 2
    rows = kernel[0, :n], kernel[n, n:], kernel[0, n:]
    a0, b0, c0 = (row.sum() for row in rows)
    first = second = 0.0
    for matrices in representations:
        a, b, c = (np.einsum("g,gij->ij", row, matrices) for row in rows)
        d = len(a)
        there = np.linalg.inv(a - c.conj().T @ np.linalg.inv(b) @ c)
        back = np.linalg.inv(b - c @ np.linalg.inv(a) @ c.conj().T)
        first += d * np.trace(there).real / n
        second += d * np.trace(back).real / n
    apart = a0 * b0 - c0**2
    return float((b0 + c0) / apart / first), float((a0 + c0) / apart / second)


def circles(points: int, gap: float = 1.0) -> np.ndarray:
    """Points of two unit circles, one above the other, turned by half a step."""
    angles = np.pi * np.arange(2 * points) / points
    height = gap * (np.arange(2 * points) % 2)
    found = np.stack([np.cos(angles), np.sin(angles), height], axis=1)
    return np.vstack([found[::2], found[1::2]])


def interleaved(kernel: np.ndarray) -> float:
    """The paper's spectral error of two orbits, their points taken in turns.

    lambda_N^-1/<lambda^-1>, of the kernel averaged along its diagonals to a circulant.
    """
    n = len(kernel) // 2
    turns = np.arange(2 * n).reshape(2, n).T.ravel()
    there = kernel[np.ix_(turns, turns)]
    places = np.arange(2 * n)
    row = [there[places, (places + k) % (2 * n)].mean() for k in places]
    inverse = 1 / np.fft.fft(row).real
    return float(inverse[n] / inverse.mean())
