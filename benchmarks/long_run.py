"""What a long run needs: time and memory, observed, streamed and checked.

The same small network is trained for a thousand and for a million steps, each in a
process of its own, with its laws observed and streamed to a folder, and then checked.
The memory is the highest anonymous one: pages of the streamed files, which the system
takes back when it needs them, are no part of it.

    python benchmarks/long_run.py
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import threading
import time

import jax
import numpy as np
import optax
from flax import nnx

import lagrangian as lg

STEPS = 1_000, 10_000, 100_000, 1_000_000


class Network(nnx.Module):
    """4-8-3 with BatchNorm after the hidden layer."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(4, 8, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(8, epsilon=1e-20, use_fast_variance=False, rngs=rngs)
        self.out = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.hidden(x))))


def loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


class Peak:
    """The highest anonymous memory of this process, in MB, looked at every 5 ms."""

    def __init__(self):
        self.highest = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            with open("/proc/self/status") as status:
                for line in status:
                    if line.startswith("RssAnon"):
                        self.highest = max(self.highest, int(line.split()[1]) / 1000)
            time.sleep(0.005)


def one(steps: int) -> None:
    """A line of the table."""
    generator = np.random.default_rng(0)
    data = (
        generator.normal(size=(64, 4)).astype(np.float32),
        generator.integers(0, 3, 64),
    )
    rule = lg.HeavyBall(0.01, 0.9, 1e-3)
    symmetries = [
        lg.Scale("hidden.kernel", unit_axis=-1),
        lg.Translation("out.kernel", unit_axis=0),
        lg.Translation("out.bias"),
    ]
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    peak, seconds = Peak(), []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = lg.train(
            Network(nnx.Rngs(0)),
            loss,
            data,
            rule,
            steps,
            observe=laws,
            batch_size=16,
            checkpoint=folder,
            progress=False,
        )
        seconds.append(time.perf_counter() - start)
        trained = peak.highest
        report = lg.check(run, laws)
        seconds.append(time.perf_counter() - start - seconds[0])
    hold = sum(row.holds for row in report)
    print(
        f"| {steps:,} | {seconds[0]:.1f} | {trained:.0f} | {seconds[1]:.1f} "
        f"| {peak.highest:.0f} | {hold} of {len(laws)} |",
        flush=True,
    )


def main() -> None:
    print(
        f"MLP 4-8-3 with BatchNorm, batch 16, float32, 17 charges; "
        f"{jax.default_backend()}, Python {platform.python_version()}, "
        f"jax {jax.__version__}\n"
    )
    print("| steps | train, s | memory, MB | check, s | memory, MB | laws that hold |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for steps in STEPS:
        subprocess.run([sys.executable, __file__, str(steps)], check=True)


if __name__ == "__main__":
    one(int(sys.argv[1])) if len(sys.argv) > 1 else main()
