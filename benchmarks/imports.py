"""Time of fresh processes: what importing and deriving cost over importing SymPy."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from statistics import median
from time import perf_counter

RUNS = 7

DERIVE = """
import sympy as sp
import lagrangian as lg
a, b = lg.coordinates("a b")
m, l, g = sp.symbols("m l g", positive=True)
T = m*l**2*(a.dot**2 + b.dot**2/2 + a.dot*b.dot*sp.cos(a - b))
V = -m*g*l*(2*sp.cos(a) + sp.cos(b))
pendulum = lg.Lagrangian(T, V)
pendulum.mass_matrix, pendulum.forcing, pendulum.equations
assert "jax" not in __import__("sys").modules
"""

PROGRAMS = {
    "bare Python": "pass",
    "import sympy": "import sympy",
    "import lagrangian": "import lagrangian",
    "derive the double pendulum": DERIVE,
    "import jax": "import jax",
    "lower it (JAX and diffrax)": DERIVE.split("assert")[0]
    + "lg.lower(pendulum, {m: 1.0, l: 1.0, g: 9.81})",
}


def seconds(program: str) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return perf_counter() - start


def main() -> None:
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}", end="; "
    )
    print(f"Python {platform.python_version()}; median of {RUNS} fresh processes\n")
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(RUNS):  # taken in turns, so that all see the same machine
        for name, program in PROGRAMS.items():
            times[name].append(seconds(program))
    sympy = median(times["import sympy"])
    print("| process | s | over importing SymPy |")
    print("|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {median(taken):.2f} | {median(taken) - sympy:+.2f} |")


if __name__ == "__main__":
    main()
