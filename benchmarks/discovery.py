"""What it takes to find the symmetries of networks of a million parameters.

No other tool finds them, so the time is compared with that of the one thing which
cannot be saved: a gradient of the same loss in float64, of which `discover` samples
some hundred.

    python benchmarks/discovery.py              # a million parameters
    python benchmarks/discovery.py ten-million  # by itself, for its memory
    python benchmarks/discovery.py observed     # the time until a run begins, with laws
"""

from __future__ import annotations

import platform
import resource
import sys
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

    classes = generator.integers(0, 10, 64)
    linear = Perceptron([512] * 5, nnx.Rngs(0), activation=None, use_bias=False)
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
        "transformer, 5 blocks of width 128": transformer(128, 5),
    }


def transformer(width: int, blocks: int) -> Case:
    generator, tokens = np.random.default_rng(0), (32, 32)
    model = Transformer(
        nnx.Rngs(0),
        "layer",
        "pre",
        vocabulary=64,
        length=32,
        width=width,
        heads=4,
        hidden=4 * width,
        blocks=blocks,
    )
    batch = (generator.integers(0, 64, tokens), generator.integers(0, 64, tokens))
    return model, cross_entropy, batch


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


def print_table(cases: dict[str, Case]) -> None:
    head = "network | parameters | generators | discover s | of CPU s | "
    head += "one gradient s | gradients"
    print(f"| {head} |\n|{' --- |' * 7}")
    for name, case in cases.items():
        start, worked = time.perf_counter(), time.process_time()
        found = lg.discover(*case)
        seconds = time.perf_counter() - start
        worked = time.process_time() - worked
        one = gradient_time(case)
        print(
            f"| {name} | {found.parameters:,} | {found.dimension:,} | {seconds:.1f} | "
            f"{worked:.1f} | {one:.3f} | {seconds / one:.0f} |",
            flush=True,
        )


def print_beginning() -> None:
    """Runs of ten steps, all compiled anew: without laws and with them, in turns."""
    model = Transformer(
        nnx.Rngs(0), vocabulary=5, length=4, width=4, heads=2, hidden=6, blocks=1
    )
    generator, tokens = np.random.default_rng(0), (32, 4)
    batch = generator.integers(0, 5, tokens), generator.integers(0, 5, tokens)
    found = lg.discover(model, cross_entropy, batch)
    rule = lg.HeavyBall(0.01, momentum=0.9, weight_decay=1e-3)
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in found]
    charges = sum(s.evidence.generators for s in found)

    def seconds(observe: list[Any]) -> float:
        jax.clear_caches()
        start = time.perf_counter()
        lg.train(model, cross_entropy, batch, rule, 10, observe=observe, batch_size=16)
        return time.perf_counter() - start

    seconds([])
    pairs = [(seconds([]), seconds(laws)) for _ in range(3)]
    without, observed = (min(column) for column in zip(*pairs, strict=True))
    print(
        f"{found.parameters} parameters, {len(laws)} laws of {charges} generators: "
        f"{without:.2f} s without, {observed:.2f} s with laws, "
        f"{observed / without:.2f} times"
    )


def main(what: str = "million") -> None:
    print(f"{jax.default_backend()}, Python {platform.python_version()}, ", end="")
    print(f"jax {jax.__version__}; compilation included\n")
    if what == "observed":
        print_beginning()
    elif what == "ten-million":
        print_table({"transformer, 6 blocks of width 384": transformer(384, 6)})
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"\n{peak / 2**20:.1f} GB at most")
    else:
        print_table(cases())


if __name__ == "__main__":
    main(*sys.argv[1:])
