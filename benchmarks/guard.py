"""What guarding runs by their laws costs: each run with the guard, and without it.

    python benchmarks/guard.py

Runs take turns, and each figure is the fastest of its rounds. Without the guard no
balance is computed: neither the energy along the path nor, where forces or friction
move it, the integral of their power. Writes docs/benchmarks/guard.md.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sympy as sp

import lagrangian as lg
from lagrangian.flows.guard import Balance, Guard

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
ROUNDS = 40
AFTERWARDS = """\
Without forces and friction the energy alone is evaluated, at the output times. Their
power is integrated along the path, as one more row of the series: a share that is
small where a system has several coordinates, and not where one coordinate has hardly
any products but those of the power. Van der Pol's power oscillates four times as fast
as its motion, so that a fifth of the steps is there for the power alone."""
G = 9.81


def links(n: int, **terms: Any) -> lg.Lagrangian:
    """A planar chain of n equal links."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(n)))
    kinetic = sum(
        (n - max(i, j)) / 2 * q[i].dot * q[j].dot * sp.cos(q[i] - q[j])
        for i in range(n)
        for j in range(n)
    )
    potential = sum(-(n - i) * G * sp.cos(q[i]) for i in range(n))
    drag = sum(c.dot**2 for c in q) / 100 if terms.pop("drag", False) else 0
    return lg.Lagrangian(kinetic, potential, dissipation=drag)


def van_der_pol() -> lg.Lagrangian:
    """Self-sustained oscillations: no other product than those of its power."""
    x = lg.coordinates("x")
    return lg.Lagrangian(x.dot**2 / 2, x**2 / 2, forces={x: (1 - x**2) * x.dot})


def driven_duffing() -> lg.Lagrangian:
    x = lg.coordinates("x")
    force = sp.Rational(3, 10) * sp.cos(sp.Rational(6, 5) * lg.time)
    potential = x**4 / 4 - x**2 / 2 - x * force
    return lg.Lagrangian(x.dot**2 / 2, potential, dissipation=x.dot**2 / 10)


def unguarded(flow: Any) -> None:
    """Give a flow a guard that watches nothing."""
    nothing = Guard(flow.structure, [Balance("nothing", sp.S.Zero, sp.S.Zero)])
    flow.guard = lambda laws=(): nothing


def single(system: lg.Lagrangian, tol: float) -> Callable[[bool], Callable[[], Any]]:
    def prepare(guarded: bool) -> Callable[[], Any]:
        flow = lg.lower(system)
        if not guarded:
            unguarded(flow)
        n, times = len(system.coordinates), np.linspace(0, 100, 101)
        start = np.linspace(2.0, 1.0, n), np.zeros(n)
        return lambda: flow.integrate(*start, times, tol=tol)

    return prepare


def many(system: lg.Lagrangian) -> Callable[[bool], Callable[[], Any]]:
    def prepare(guarded: bool) -> Callable[[], Any]:
        flow = lg.lower(system)
        if not guarded:
            unguarded(flow)
        q = np.random.default_rng(0).uniform(-2, 2, (10_000, 2))
        return lambda: flow.ensemble(q, np.zeros((1, 2)), (0, 10), progress=False)

    return prepare


CASES = {
    "double pendulum, t = 100, 1e-6": (single(links(2), 1e-6), ROUNDS),
    "double pendulum, t = 100, 1e-12": (single(links(2), 1e-12), ROUNDS),
    "double pendulum with drag, 1e-12": (single(links(2, drag=True), 1e-12), ROUNDS),
    "driven Duffing oscillator, 1e-12": (single(driven_duffing(), 1e-12), ROUNDS),
    "van der Pol oscillator, 1e-12": (single(van_der_pol(), 1e-12), ROUNDS),
    "five links, t = 100, 1e-12": (single(links(5), 1e-12), ROUNDS),
    "10,000 double pendulums, t = 10": (many(links(2)), 7),
}


def fastest(runs: list[Callable[[], Any]], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds + 1):  # the first round compiles
        row = []
        for run in runs:
            begin = time.perf_counter()
            run()
            row.append(time.perf_counter() - begin)
        found.append(row)
    return np.min(found[1:], axis=0).tolist()


def main() -> None:
    lines = [
        "# What the guard costs",
        "",
        f"`python benchmarks/guard.py`, float64, fastest of {ROUNDS} rounds in turns.",
        f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, jax "
        f"{jax.__version__}.",
        "",
        "| run | with ms | without ms | cost |",
        "| --- | --- | --- | --- |",
    ]
    for name, (prepare, rounds) in CASES.items():
        with_it, without = fastest([prepare(True), prepare(False)], rounds)
        cost = with_it / without - 1
        cells = f"{1e3 * with_it:.2f} | {1e3 * without:.2f} | {100 * cost:.1f} %"
        lines.append(f"| {name} | {cells} |")
        print(lines[-1], flush=True)
    lines += ["", AFTERWARDS]
    (DOCS / "guard.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
