"""Symplectic steps against the same loops in Numba.

    python benchmarks/symplectic.py

A million steps of leapfrog and of Yoshida's compositions of order 4 and 6, written by
hand for each system in Numba (scalars in registers, the forces inlined) and derived
from T and V here. They take turns in one process; the table has the median of the
rounds, without the first call. Both must arrive at the same state on the regular orbit.
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
from lagrangian.flows.compositions import YOSHIDA_4, YOSHIDA_6

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


def numba_loop(force: Any) -> Any:
    @numba.njit
    def run(state: Any, weights: Any, h: float, steps: int) -> Any:
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

    return run


def cases() -> dict[str, tuple[Any, Any, np.ndarray, float]]:
    x, y = lg.coordinates("x y")
    kinetic = (x.dot**2 + y.dot**2) / 2
    star = (x**2 + y**2) / 2 + x**2 * y - y**3 / 3
    return {
        "Kepler e = 0.6": (
            lg.lower(lg.Lagrangian(kinetic, -1 / sp.sqrt(x**2 + y**2))),
            numba_loop(kepler_force),
            np.array([0.4, 0.0, 0.0, 2.0]),
            2 * np.pi / 200,
        ),
        "Henon-Heiles": (
            lg.lower(lg.Lagrangian(kinetic, star)),
            numba_loop(henon_heiles_force),
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
    print("| system | method | lagrangian s | Numba s | ratio | energy drift |")
    print("| --- | --- | --- | --- | --- | --- |")
    for system, (flow, loop, start, h) in cases().items():
        for method, weights in METHODS.items():
            solver = lg.Symplectic(h, weights=weights)
            times = np.linspace(0, STEPS * h, 11)

            def ours(flow=flow, solver=solver, start=start, times=times):
                return flow.integrate(
                    start[:2], start[2:], times, solver=solver, max_steps=2 * STEPS
                )

            shares = np.array(weights)

            def theirs(loop=loop, start=start, shares=shares, h=h):
                return np.array(loop(tuple(start), shares, h, STEPS))

            path, other = ours(), theirs()
            end = np.concatenate([path.q[-1], path.v[-1]])
            if system == "Henon-Heiles":
                np.testing.assert_allclose(end, other, atol=1e-5)
            assert path.steps == STEPS
            spent: tuple[list[float], list[float]] = [], []
            for _ in range(ROUNDS):
                for run, seconds in zip((ours, theirs), spent, strict=True):
                    began = time.perf_counter()
                    run()
                    seconds.append(time.perf_counter() - began)
            a, b = (float(np.median(seconds)) for seconds in spent)
            print(
                f"| {system} | {method} | {a:.4f} | {b:.4f} | {a / b:.2f} | "
                f"{path.energy_drift:.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
