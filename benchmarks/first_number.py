"""How long until the first number: deriving, lowering, compiling, and a short run.

    python benchmarks/first_number.py

Planar chains of n links, whose mass matrix is dense; for `Rattle` with their end held
at its height, and rods of unit length in cartesian coordinates. Each case is a
structure that the process has not seen, so that nothing is compiled yet. Writes
docs/benchmarks/first_number.md.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

import lagrangian as lg
from lagrangian.systems.mechanics import make_system

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
STEP, TIMES = 0.01, (0, 0.1)


def links(n: int) -> Any:
    system = make_system("n-pendulum", {"links": n})
    return lg.lower(system.lagrangian, system.parameters)


def chain(n: int, solver: Any = None) -> Any:
    start = np.linspace(2.0, 1.0, n), np.zeros(n)
    return links(n).integrate(*start, TIMES, solver=solver)


def ensemble(n: int) -> Any:
    q = np.random.default_rng(0).uniform(-2, 2, (64, n))
    return links(n).ensemble(q, np.zeros((1, n)), TIMES, progress=False)


def held(n: int) -> Any:
    system, start = make_system("n-pendulum", {"links": n}), np.linspace(1.0, 0.5, n)
    places = system.lagrangian.coordinates
    height = sp.Add(*map(sp.cos, places)) - float(np.cos(start).sum())
    constrained = lg.Lagrangian(
        *(system.lagrangian.T, system.lagrangian.V), constraints=[height]
    )
    flow = lg.lower(constrained, system.parameters)
    return flow.integrate(start, np.zeros(n), TIMES, solver=lg.Rattle(STEP))


def rods(n: int) -> Any:
    q = lg.coordinates(" ".join(f"x{i} y{i}" for i in range(n)))
    places = [(0, 0), *zip(q[::2], q[1::2], strict=True)]
    system = lg.Lagrangian(
        sum(c.dot**2 for c in q) / 2,
        sum(q[1::2]),
        constraints=[
            (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 - 1
            for a, b in zip(places, places[1:], strict=False)
        ],
    )
    start: dict[Any, float] = dict.fromkeys(q, 0.0)
    start |= {x: 1.0 + i for i, x in enumerate(q[::2])}
    still = np.zeros(2 * n)
    return lg.lower(system).integrate(start, still, TIMES, solver=lg.Rattle(STEP))


CASES: dict[str, tuple[Callable[[int], Any], tuple[int, ...]]] = {
    "a trajectory (`Taylor`)": (chain, (2, 4, 5, 8, 16, 32, 64)),
    "an ensemble": (ensemble, (2, 5, 9, 16)),
    "`Variational`": (
        lambda n: chain(n, lg.Variational(STEP)),
        (2, 4, 5, 8, 12, 16, 32),
    ),
    "`Rattle`, a chain with its end held": (held, (3, 5, 8, 12, 16)),
    "`Rattle`, n rods": (rods, (2, 5, 12)),
}


def main() -> None:
    np.asarray(jnp.zeros(2) + 1)  # JAX starts up
    lines = [
        "# How long until the first number",
        "",
        "`python benchmarks/first_number.py`: seconds to derive, lower, compile and",
        f"run a system not seen before. {os.cpu_count()} CPU cores, Python "
        f"{platform.python_version()}, jax {jax.__version__}.",
        "",
        "XLA uses both cores where the CPU's time is longer than the clock's. Times",
        "vary by a third from one minute to the next.",
        "",
        "| case | coordinates or rods | s | s of CPU |",
        "| --- | --- | --- | --- |",
    ]
    for name, (first, sizes) in CASES.items():
        for n in sizes:
            begin, work = time.perf_counter(), time.process_time()
            first(n)
            took = time.perf_counter() - begin, time.process_time() - work
            lines.append(f"| {name} | {n} | {took[0]:.1f} | {took[1]:.1f} |")
            print(lines[-1], flush=True)
    (DOCS / "first_number.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
