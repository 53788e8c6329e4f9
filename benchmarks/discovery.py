"""What it takes to find the symmetries of networks of a million parameters.

No other tool finds them, so the time is compared with that of the one thing which
cannot be saved: a gradient of the same loss in float64, of which `discover` samples
some hundred.

    python benchmarks/discovery.py
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

import lagrangian as lg
from lagrangian.networks.digits import cross_entropy
from lagrangian.networks.networks import (
    ConvolutionalClassifier,
    Perceptron,
    Transformer,
    mean_square,
)

Case = tuple[Any, Callable[[Any, Any], Any], Any]


def cases() -> dict[str, Case]:
    """By name: a network of about a million parameters, its loss and a batch."""
    generator = np.random.default_rng(0)

    def vectors(size: int, rows: int = 64) -> Any:
        return generator.normal(size=(rows, size))

    classes, tokens = generator.integers(0, 10, 64), (32, 32)
    linear = Perceptron([512] * 5, nnx.Rngs(0), activation=None, use_bias=False)
    transformer = Transformer(
        nnx.Rngs(0),
        "layer",
        "pre",
        vocabulary=64,
        length=32,
        width=128,
        heads=4,
        hidden=512,
        blocks=5,
    )
    return {
        "ReLU perceptron 256-1024-700-64-10": (
            Perceptron([256, 1024, 700, 64, 10], nnx.Rngs(0)),
            cross_entropy,
            (vectors(256), classes),
        ),
        "convolutions with BatchNorm, 340 channels": (
            ConvolutionalClassifier(nnx.Rngs(0), "batch", channels=340, classes=10),
            cross_entropy,
            (generator.normal(size=(32, 8, 8, 1)), classes[:32]),
        ),
        "linear network of depth 4, width 512": (
            linear,
            mean_square,
            (vectors(512), vectors(512)),
        ),
        "transformer, 5 blocks of width 128": (
            transformer,
            cross_entropy,
            (generator.integers(0, 64, tokens), generator.integers(0, 64, tokens)),
        ),
    }


def gradient_time(case: Case) -> float:
    """Seconds of one jitted gradient in float64, the fastest of three."""
    model, loss, batch = case
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: a.astype(np.float64), parameters)

        def value(parameters: Any) -> Any:
            return loss(nnx.merge(graph, parameters, rest, copy=True), batch)

        gradient = jax.jit(jax.grad(value))
        times = []
        for _ in range(4):
            start = time.perf_counter()
            jax.block_until_ready(gradient(double))
            times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    print(f"{jax.default_backend()}, Python {platform.python_version()}, ", end="")
    print(f"jax {jax.__version__}; compilation included\n")
    head = "network | parameters | generators | discover s | one gradient s | gradients"
    print(f"| {head} |\n|{' --- |' * 6}")
    for name, case in cases().items():
        start = time.perf_counter()
        found = lg.discover(*case)
        seconds = time.perf_counter() - start
        one = gradient_time(case)
        print(
            f"| {name} | {found.parameters:,} | {found.dimension:,} | {seconds:.1f} | "
            f"{one:.3f} | {seconds / one:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
