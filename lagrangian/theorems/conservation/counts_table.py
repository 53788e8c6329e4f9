"""Which networks are counted, and by which formula the number is predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.theorems.conservation.counted_networks import (
    Counted,
    law,
    linear_law,
    only,
    parameter,
    said,
    seen,
    unit_law,
    weights,
)
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.testbeds.classifier import same


def _leaky(x: Any) -> Any:
    return jnp.where(x > 0, x, 0.3 * x)


def _cube(x: Any) -> Any:
    return x**3


def _squared_relu(x: Any) -> Any:
    return jax.nn.relu(x) ** 2


def _inverse(x: Any) -> Any:
    return 1 / x


#: Positively homogeneous activations, with their degree.
HOMOGENEOUS = {
    "square": (jnp.square, 2),
    "cube": (_cube, 3),
    "squared ReLU": (_squared_relu, 2),
    "leaky ReLU": (_leaky, 1),
}
#: Activations that are not.
OTHERS = {"tanh": jnp.tanh, "GELU": jax.nn.gelu, "SiLU": jax.nn.silu}

#: (inputs, units, outputs) of two layers: N = 3 at every width, and others.
LINEAR = tuple((2, r, 1) for r in range(1, 6)) + ((4, 3, 3), (1, 4, 2))
RELU = ((2, 1, 1), (2, 2, 1), (2, 3, 1), (4, 5, 3))
SMALL = ((2, 2, 2), (3, 2, 1), (2, 3, 1))
#: Widths of deep linear networks, with the numbers that no formula is known for, and
#: which of these have scalar inputs and outputs.
DEEP = ((2, 2, 2, 2), (2, 3, 2, 2), (3, 2, 2, 2), (1, 2, 2, 2))
DEEP_LAWS = (6, 9, 6, 6)
SCALAR = ((1, 2, 2, 1), (1, 2, 3, 1), (1, 2, 2, 2, 1))
NO_SURPLUS = ((1, 1, 1, 1), (1, 2, 1, 2), (1, 1, 2, 1))
#: Outputs, and how many units have a positive and a negative weight at a scalar input.
COLLINEAR = ((1, 2, 1), (1, 3, 2), (2, 3, 1), (2, 4, 0))


def linear(sizes: tuple[int, int, int], seed: int) -> Counted:
    w = weights(sizes, seed)
    name, predicted = said("linear", sizes), linear_laws(*sizes)
    return Counted(name, w, seen(w, same, seed), predicted, (linear_law(0),))


def units(
    kind: str,
    sizes: tuple[int, int, int],
    seed: int,
    activation: Any = jax.nn.relu,
    degree: int = 1,
    bias: bool = False,
) -> Counted:
    """Two layers with a homogeneous activation: one law a hidden unit."""
    w, laws = weights(sizes, seed, bias), (unit_law(0, degree, bias),)
    return Counted(said(kind, sizes), w, seen(w, activation, seed), sizes[1], laws)


def reciprocal(sizes: tuple[int, int, int], seed: int) -> Counted:
    """The degree -1: sums of squares in the place of differences."""
    w = {name: 0.5 + abs(array) for name, array in weights(sizes, seed).items()}
    inputs = 0.5 + abs(np.random.default_rng(seed).normal(size=(60, sizes[0])))

    def outputs(w: Any) -> Any:
        return jnp.ravel(_inverse(inputs @ w["layer0"]) @ w["layer1"])

    laws = (unit_law(0, -1),)
    return Counted(said("1/z", sizes), w, outputs, sizes[1], laws)


def without_laws(kind: str, sizes: tuple[int, int, int], seed: int) -> Counted:
    w = weights(sizes, seed)
    return Counted(said(kind, sizes), w, seen(w, OTHERS[kind], seed), 0)


def deep(sizes: tuple[int, ...], seed: int, predicted: int | None = None) -> Counted:
    """Linear layers. Without a prediction, all laws are those that are written down."""
    w = weights(sizes, seed)
    laws = tuple(linear_law(i) for i in range(len(sizes) - 2))
    found = Counted(said("linear", sizes), w, seen(w, same, seed), predicted or 0, laws)
    return found if predicted else replace(found, predicted=found.written)


def scalar(sizes: tuple[int, ...], seed: int) -> Counted:
    """One output function: one field, which has no brackets, so D - 1 laws."""
    size = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
    return replace(deep(sizes, seed, size - 1), complete=False)


def product(factors: int, seed: int) -> Counted:
    """x1 x2 ... xD."""
    names = [f"x{i}" for i in range(factors)]
    chance = np.random.default_rng([seed, factors])
    w = {name: 0.5 + chance.random(1) for name in names}

    def outputs(w: Any) -> Any:
        found = jnp.ones(1)
        for name in names:
            found = found * w[name]
        return found

    pairs = zip(names, names[1:], strict=False)
    laws = tuple(law(Rescale(*pair)) for pair in pairs)
    return Counted(f"product of {factors}", w, outputs, factors - 1, laws)


def any_field(size: int, seed: int) -> Counted:
    """The gradient of one function without any symmetry."""
    chance = np.random.default_rng([seed, size])
    mix, turned = chance.normal(size=(2, size, size))
    w = {"x": chance.normal(size=size)}
    outputs = lambda w: jnp.sum(jnp.sin(mix @ w["x"]) * jnp.cos(turned @ w["x"]))[None]
    return Counted(f"one function of {size}", w, outputs, size - 1)


def collinear(outputs: int, positive: int, negative: int, seed: int) -> Counted:
    """ReLU units on a scalar input: those of one sign are a linear network."""
    sizes = (1, positive + negative, outputs)
    w = weights(sizes, seed)
    signs = np.array([1.0] * positive + [-1.0] * negative)
    w["layer0"] = signs * abs(w["layer0"])
    predicted = linear_laws(1, positive, outputs) + linear_laws(1, negative, outputs)
    together = np.equal.outer(signs, signs)
    laws = (only(linear_law(0), together),)
    name = f"ReLU, scalar input, {positive} + {negative} units, {outputs} outputs"
    return Counted(name, w, seen(w, jax.nn.relu, seed), predicted, laws)


def deep_relu(kind: str, seed: int) -> Counted:
    """2-3-2-2, whose second layer is mixed, has a dead unit, or is a linear pair."""
    w, chance = weights((2, 3, 2, 2), seed), np.random.default_rng(seed)
    # Three directions around the plane, so that each unit is on by itself somewhere.
    angles = 2 * np.pi / 3 * np.arange(3) + chance.uniform(-0.2, 0.2, 3)
    w["layer0"] = np.array([np.cos(angles), np.sin(angles)]) * (0.5 + chance.random(3))
    first, size = unit_law(0), 0.5 + chance.random((3, 2))
    if kind == "mixed signs":
        # No column of one sign, so that each unit is on and off.
        w["layer1"] = size * np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
        laws, predicted = (first, unit_law(1)), 3 + 2
    elif kind == "a dead unit":
        w["layer1"] = size * np.array([[1.0, -1.0], [-1.0, -1.0], [1.0, -1.0]])
        dead = parameter("layer1", 1, 1), parameter("layer2", 1, 0)
        # The law of each unit of the first layer, of the living one, and the weights.
        laws, predicted = (first, unit_law(1), *dead), 3 + 1 + (3 + 2)
    else:
        w["layer1"] = size
        laws, predicted = (first, linear_law(1)), 3 + linear_laws(3, 2, 2)
    name = f"ReLU 2-3-2-2, {kind}"
    return Counted(name, w, seen(w, jax.nn.relu, seed), predicted, laws)


DEEP_RELU = ("mixed signs", "a dead unit", "a linear pair")


def networks(seed: int, quick: bool) -> Iterator[Counted]:
    """Those of the table: a few of each kind, or all."""
    few = lambda cases, first=0: cases[first : first + 1] if quick else cases
    for sizes in few(LINEAR, 1):
        yield linear(sizes, seed)
    for sizes in few(RELU, 1):
        yield units("ReLU", sizes, seed)
    for sizes in few(RELU[2:]):
        yield units("ReLU and bias", sizes, seed, bias=True)
    for kind, (activation, degree) in few([*HOMOGENEOUS.items()]):
        for sizes in few(SMALL):
            yield units(kind, sizes, seed, activation, degree)
    yield reciprocal((2, 2, 1), seed)
    yield product(3, seed)
    yield any_field(5, seed)
    for kind in few([*OTHERS]):
        for sizes in few(SMALL, 2):
            yield without_laws(kind, sizes, seed)
    for sizes, predicted in few([*zip(DEEP, DEEP_LAWS, strict=True)], 3):
        yield deep(sizes, seed, predicted)
    for sizes in few(NO_SURPLUS):
        yield deep(sizes, seed)
    for sizes in few(SCALAR):
        yield scalar(sizes, seed)
    for case in few(COLLINEAR):
        yield collinear(*case, seed)
    for kind in few(DEEP_RELU, 1):
        yield deep_relu(kind, seed)
