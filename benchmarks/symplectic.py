"""Symplectic steps against the same loops in Numba.

    python benchmarks/symplectic.py

A million steps of leapfrog and of Yoshida's compositions of order 4 and 6, derived from
T and V here, and written by hand for each system in Numba (scalars in registers, the
forces inlined): as one writes them, half a drift before and behind each kick, and with
the drifts between two kicks joined, as this library does. All take turns in one
process; the table has the median of the rounds, without the first call. They must
arrive at the same state on the regular orbit.
"""

from __future__ import annotations

import os
import platform
import time
from typing import Any

import jax
import numba
import numpy as np
import sympy as sp

import lagrangian as lg
from lagrangian.flows.solvers.compositions import YOSHIDA_4, YOSHIDA_6

STEPS, ROUNDS = 1_000_000, 7
METHODS = {
    "leapfrog": (1.0,),
    "Yoshida 4": YOSHIDA_4,
    "Yoshida 6": YOSHIDA_6,
}


@numba.njit
def kepler_force(x: float, y: float) -> tuple[float, float]:
    r2 = x * x + y * y
    scale = -1.0 / (r2 * np.sqrt(r2))
    return scale * x, scale * y


@numba.njit
def henon_heiles_force(x: float, y: float) -> tuple[float, float]:
    return -x - 2 * x * y, -y - x * x + y * y


def numba_loops(force: Any) -> tuple[Any, Any]:
    """The loop with two half drifts a stage, and that with one joined drift."""

    @numba.njit
    def halves(state: Any, weights: Any, h: float, steps: int) -> Any:
        x, y, u, v = state
        for _ in range(steps):
            for w in weights:
                x += w * h / 2 * u
                y += w * h / 2 * v
                a, b = force(x, y)
                u += w * h * a
                v += w * h * b
                x += w * h / 2 * u
                y += w * h / 2 * v
        return x, y, u, v

    @numba.njit
    def joined(state: Any, weights: Any, h: float, steps: int) -> Any:
        kicks = h * weights
        drifts = (kicks + np.roll(kicks, 1)) / 2
        half = kicks[0] / 2
        x, y, u, v = state
        x, y = x - half * u, y - half * v
        for _ in range(steps):
            for i in range(len(kicks)):
                x += drifts[i] * u
                y += drifts[i] * v
                a, b = force(x, y)
                u += kicks[i] * a
                v += kicks[i] * b
        return x + half * u, y + half * v, u, v

    return halves, joined


def cases() -> dict[str, tuple[Any, tuple[Any, Any], np.ndarray, float]]:
    x, y = lg.coordinates("x y")
    kinetic = (x.dot**2 + y.dot**2) / 2
    star = (x**2 + y**2) / 2 + x**2 * y - y**3 / 3
    return {
        "Kepler e = 0.6": (
            lg.lower(lg.Lagrangian(kinetic, -1 / sp.sqrt(x**2 + y**2))),
            numba_loops(kepler_force),
            np.array([0.4, 0.0, 0.0, 2.0]),
            2 * np.pi / 200,
        ),
        "Henon-Heiles": (
            lg.lower(lg.Lagrangian(kinetic, star)),
            numba_loops(henon_heiles_force),
            np.array([0.0, 0.1, 0.4, 0.1]),
            0.05,
        ),
    }


def main() -> None:
    print(
        f"{STEPS:,} steps, float64, {os.cpu_count()} CPU cores, Python "
        f"{platform.python_version()}, jax {jax.__version__}, numba "
        f"{numba.__version__}\n"
    )
    print(
        "| system | method | lagrangian s | Numba s | Numba, drifts joined s | "
        "ratio to the faster | energy drift |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for system, case in cases().items():
        for method, weights in METHODS.items():
            spent, drift = measured(case, weights, regular=system == "Henon-Heiles")
            ratio = spent[0] / min(spent[1:])
            listed = " | ".join(f"{seconds:.4f}" for seconds in spent)
            print(
                f"| {system} | {method} | {listed} | {ratio:.2f} | {drift:.0e} |",
                flush=True,
            )


def measured(case: Any, weights: Any, regular: bool) -> tuple[list[float], float]:
    """The median seconds of this library and of both loops, and the energy drift."""
    flow, loops, start, h = case
    solver, shares = lg.Symplectic(h, weights=weights), np.array(weights)
    times = np.linspace(0, STEPS * h, 11)

    def ours(t=times, **options):
        return flow.integrate(
            start[:2], start[2:], t, solver=solver, max_steps=2 * STEPS, **options
        )

    runs = [ours, *(lambda f=f: f(tuple(start), shares, h, STEPS) for f in loops)]
    path, *others = (run() for run in runs)
    assert path.steps == STEPS
    if regular:
        end = np.concatenate([path.q[-1], path.v[-1]])
        for other in others:
            np.testing.assert_allclose(end, np.array(other), atol=1e-5)
    spent: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, seconds in zip(runs, spent, strict=True):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    # The energy at times that do not fall on one phase of the orbit.
    drift = ours((0, STEPS * h), points=1237).energy_drift
    return [float(np.median(seconds)) for seconds in spent], drift


if __name__ == "__main__":
    main()
