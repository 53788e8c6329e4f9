"""What `lg.cache` saves: from the import to the first trajectory, in fresh processes.

Each system runs in processes of its own: without a cache, with an empty one, and with
the one that this left. The faster of two of each is reported, phase by phase.

    python benchmarks/cache.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 2

PROCESS = """
import sys, time
start = time.perf_counter()
import lagrangian as lg
if sys.argv[2]:
    lg.cache(sys.argv[2])
import diffrax, sympy as sp
from lagrangian.flows import flow
imported = time.perf_counter()

def pendulum(links):
    q = lg.coordinates(f"q1:{links + 1}")
    g = sp.Symbol("g", positive=True)
    vx = vy = height = T = V = 0
    for a in q:
        vx += sp.cos(a) * a.dot
        vy += sp.sin(a) * a.dot
        height -= sp.cos(a)
        T += (vx**2 + vy**2) / 2
        V += g * height
    rest = dict.fromkeys(q, 0.0)
    return lg.lower(lg.Lagrangian(T, V), {g: 9.81}), dict.fromkeys(q, 1.0), rest

def sine_gordon(points):
    phi = lg.fields("phi", over="t x")
    kinetic = (phi.d("t") ** 2 - phi.d("x") ** 2) / 2
    theory = lg.FieldTheory(kinetic - 1 + sp.cos(phi))
    moved = lg.lower(theory, interval=(-8, 8), points=points)
    return moved, {phi: lambda x: 1 / (1 + x**2)}, {phi: 0.0}

kind, size = sys.argv[1].split("-")
lowered, q0, v0 = {"pendulum": pendulum, "field": sine_gordon}[kind](int(size))
derived = time.perf_counter()
lowered.integrate(q0, v0, t=(0, 1))
ended = time.perf_counter()
print(imported - start, derived - imported, ended - derived)
"""

SYSTEMS = {
    "pendulum-2": "pendulum, 2 links",
    "pendulum-8": "pendulum, 8 links",
    "pendulum-16": "pendulum, 16 links",
    "field-256": "sine-Gordon, 256 points",
}


def run(system: str, folder: str) -> tuple[float, ...]:
    """Seconds to import, to derive and lower, and to the first trajectory."""
    # JAX, where it is loaded, sets one of these for its child processes, too.
    ours = ("EQX_ON_ERROR", "TF_CPP_MIN_LOG_LEVEL")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, system, folder],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return tuple(map(float, done.stdout.split()))


def main() -> None:
    import jax

    print(f"Python {platform.python_version()}, jax {jax.__version__}; seconds")
    print("| system | cache | import | derive, lower | first trajectory | all |")
    print("| --- | --- | --- | --- | --- | --- |")
    for system, name in SYSTEMS.items():
        runs: dict[str, list[tuple[float, ...]]] = {"none": [], "empty": [], "full": []}
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                runs["none"].append(run(system, ""))
                runs["empty"].append(run(system, folder))
                size = sum(f.stat().st_size for f in Path(folder).rglob("*"))
                runs["full"].append(run(system, folder))
        for state, times in runs.items():
            best = min(times, key=sum)
            columns = " | ".join(f"{seconds:.2f}" for seconds in (*best, sum(best)))
            print(f"| {name} | {state} | {columns} |")
        print(f"| | on disk | {size / 1024:.0f} KiB | | | |")


if __name__ == "__main__":
    main()
