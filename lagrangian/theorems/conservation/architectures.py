"""Convolutions, attention, softmax and residual blocks whose laws are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.symmetry import Rescale, Translation
from lagrangian.theorems.conservation.conserved import SYMMETRIES
from lagrangian.theorems.conservation.counted_networks import Counted, law, said
from lagrangian.theorems.testbeds.symmetric_networks import attention

#: One for each channel between two convolutions with kernels (width, in, out).
CHANNELS = Rescale(Block("first", unit_axis=-1), Block("second", unit_axis=1))
#: One for each input of a softmax: the sum of its weights into the classes.
CLASSES = Translation(Block("kernel", unit_axis=0))
SAMPLES = 30

#: (length, channels in, between, out, first and second filter).
CONVOLUTIONS = ((4, 1, 1, 1, 2, 2), (4, 1, 2, 1, 2, 2), (5, 2, 2, 1, 2, 1))
#: (tokens, dimensions, head) and (tokens, dimensions, width, heads).
ATTENTION = ((2, 2, 1), (2, 3, 1), (3, 2, 2))
HEADS = ((2, 2, 2, 2), (3, 2, 4, 2))
#: Full filters of a linear convolution of one channel.
MODES = (2, 3, 4, 5, 6)


# ------------------------------------------------------------------ convolutions


def circular(x: Any, kernel: Any) -> Any:
    """A convolution around a circle: (..., length, in) by (width, in, out)."""
    shifted = [jnp.roll(x, -k, axis=-2) @ one for k, one in enumerate(kernel)]
    return sum(shifted[1:], start=shifted[0])


def convolution(sizes: tuple[int, ...], seed: int, activation: Any = None) -> Counted:
    """Two convolutions with ReLU between: one law a channel between them."""
    length, coming, between, going, narrow, wide = sizes
    chance = np.random.default_rng([seed, *sizes])
    w = {
        "first": chance.normal(size=(narrow, coming, between)),
        "second": chance.normal(size=(wide, between, going)),
    }
    x = chance.normal(size=(SAMPLES, length, coming))

    def outputs(w: Any) -> Any:
        hidden = (activation or jax.nn.relu)(circular(x, w["first"]))
        return jnp.ravel(circular(hidden, w["second"]))

    name = said("convolution", sizes)
    return Counted(name, w, outputs, between, (law(CHANNELS),))


def constant_filter(seed: int) -> Counted:
    """A first filter all of whose shifts coincide."""
    case = convolution((3, 1, 1, 1, 3, 3), seed)
    w = {**case.w, "first": np.full((3, 1, 1), 0.7)}
    laws, name = case.laws, "convolution, a constant filter"
    return Counted(name, w, case.outputs, 1, laws)


def modes(length: int, seed: int) -> Counted:
    """A linear convolution of one channel: one law a frequency."""
    sizes = (length, 1, 1, 1, length, length)
    case = convolution(sizes, seed, activation=lambda x: x)

    def powers(w: Any) -> Any:
        first, second = (jnp.fft.rfft(w[n][:, 0, 0]) for n in ("first", "second"))
        return jnp.abs(first) ** 2 - jnp.abs(second) ** 2

    name, predicted = f"linear convolution of length {length}", length // 2 + 1
    return Counted(name, case.w, case.outputs, predicted, (powers,))


# ------------------------------------------------------------------ attention


def heads(sizes: tuple[int, int, int, int], seed: int) -> Counted:
    """Heads of attention side by side: the laws of each."""
    tokens, size, width, count = sizes
    chance = np.random.default_rng([seed, *sizes])
    each = width // count
    w = {
        f"{name}{h}": chance.normal(
            size=(each, size) if name == "output" else (size, each)
        )
        for h in range(count)
        for name in ("query", "key", "value", "output")
    }
    x = chance.normal(size=(SAMPLES, tokens, size))

    def head(w: Any, h: int) -> dict[str, Any]:
        return {n: w[f"{n}{h}"] for n in ("query", "key", "value", "output")}

    def outputs(w: Any) -> Any:
        found = [jnp.ravel(attention(head(w, h), x)) for h in range(count)]
        return sum(found[1:], start=found[0])

    pair = law(SYMMETRIES["query-key"]), law(SYMMETRIES["value-output"])
    laws = tuple(
        (lambda w, h=h, one=one: one(head(w, h))) for h in range(count) for one in pair
    )
    # QQ^T - KK^T and VV^T - OO^T of each, which are symmetric.
    predicted = count * each * (each + 1)
    return Counted(said("attention", sizes), w, outputs, predicted, laws)


# ------------------------------------------------------------------ others


def softmax(inputs: int, classes: int, seed: int, bias: bool = False) -> Counted:
    """Softmax regression: the sums of the weights of each input, and of the biases."""
    chance = np.random.default_rng([seed, inputs, classes])
    w = {"kernel": chance.normal(size=(inputs, classes))}
    w |= {"bias": chance.normal(size=classes)} if bias else {}
    x = chance.normal(size=(SAMPLES, inputs))

    def outputs(w: Any) -> Any:
        return jnp.ravel(jax.nn.softmax(x @ w["kernel"] + w.get("bias", 0.0)))

    laws = (law(CLASSES),) + ((law(Translation(Block("bias"))),) if bias else ())
    name = f"softmax {inputs}-{classes}" + (" and bias" if bias else "")
    return Counted(name, w, outputs, inputs + bias, laws)


def residual(size: int, width: int, blocks: int, seed: int, skip: bool = True) -> Any:
    """Blocks x + W2 relu(W1 x) one after the other: the laws of each."""
    chance = np.random.default_rng([seed, size, width, blocks])
    w = {}
    for b in range(blocks):
        w[f"in{b}"] = chance.normal(size=(size, width))
        w[f"out{b}"] = chance.normal(size=(width, size))
    inputs = chance.normal(size=(60, size))

    def outputs(w: Any) -> Any:
        x = inputs
        for b in range(blocks):
            added = jax.nn.relu(x @ w[f"in{b}"]) @ w[f"out{b}"]
            x = x + added if skip else added
        return jnp.ravel(x)

    laws = tuple(
        law(Rescale(Block(f"in{b}", unit_axis=-1), Block(f"out{b}", unit_axis=0)))
        for b in range(blocks)
    )
    name = f"{blocks} residual blocks {size}-{width}-{size}"
    return Counted(name, w, outputs, blocks * width, laws)


def scalar_blocks(w: Mapping[str, Any]) -> Counted:
    """x + u relu(v x), and then the same with s and t, on numbers of both signs."""
    x = jnp.linspace(-2.0, 2.0, 9)

    def outputs(w: Any) -> Any:
        y = x + w["u"] * jax.nn.relu(w["v"] * x)
        return y + w["s"] * jax.nn.relu(w["t"] * y)

    return Counted("two scalar residual blocks", w, outputs, 3)


def cases(seed: int, quick: bool) -> Iterator[Counted]:
    """Those of the table: a few of each kind, or all."""
    few = lambda cases, first=0: cases[first : first + 1] if quick else cases
    for sizes in few(CONVOLUTIONS):
        yield convolution(sizes, seed)
    for length in few(MODES, 1):
        yield modes(length, seed)
    for sizes in few(ATTENTION):
        yield heads((*sizes, 1), seed)
    for sizes in HEADS[:0] if quick else HEADS:
        yield heads(sizes, seed)
    yield softmax(3, 4, seed)
    if not quick:
        yield softmax(3, 4, seed, bias=True)
        yield residual(3, 4, 2, seed)
