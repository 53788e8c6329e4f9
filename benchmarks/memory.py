"""The memory that an ensemble of double pendulums takes, with every state stored.

    python benchmarks/memory.py [--members 1000000]

Each run is a process of its own, which reports by how much its resident memory grew at
most. Results that are held are limited to a tenth of the members. Writes
docs/benchmarks/memory.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "memory.md"
TIMES = 51
BOUNDS = (None, 2**30, 2**28, 2**26)


def run(members: int, bound: int) -> None:
    """One ensemble, in this process; prints the growth in bytes, and the seconds."""
    import lagrangian as lg
    from lagrangian.systems.pendulums import double_pendulum

    system = double_pendulum()
    flow = lg.lower(system.lagrangian, system.parameters)
    q0 = np.random.default_rng(0).uniform(-2, 2, (members, 2))
    times = np.linspace(0, 10, TIMES)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def ensemble(q0: np.ndarray, folder: str | None) -> None:
        memory = bound if folder else None
        flow.ensemble(q0, 0 * q0, times, save=folder, memory=memory, progress=False)

    with tempfile.TemporaryDirectory() as folder:
        ensemble(q0[:200], folder if bound else None)
        before, began = peak(), time.perf_counter()
        ensemble(q0, folder if bound else None)
        print(peak() - before, time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--bound", type=int, help="of one run, in this process")
    given = parser.parse_args()
    if given.bound is not None:
        run(given.members, given.bound)
        return
    lines = [
        "# The memory of ensembles",
        "",
        f"`python benchmarks/memory.py`: double pendulums, t = 10, {TIMES} output "
        "times, all states stored.",
        f"{os.cpu_count()} CPU cores, Python {platform.python_version()}. Growth of "
        "the resident memory, at most. About 100 MiB of it do not depend on the",
        "bound, which is for results: the program is compiled in between.",
        "",
        "| members | results MiB | `memory` MiB | growth MiB | s |",
        "| --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    for bound in BOUNDS:
        members = given.members if bound else given.members // 10
        command = [sys.executable, __file__, f"--members={members}"]
        done = subprocess.run(
            [*command, f"--bound={bound or 0}"],
            capture_output=True,
            text=True,
            check=True,
        )
        growth, seconds = map(float, done.stdout.split())
        size, mebi = members * TIMES * 4 * 8, 2**20
        allowed = f"{bound / mebi:,.0f}" if bound else "none"
        lines.append(
            f"| {members:,} | {size / mebi:,.0f} | {allowed} | {growth / mebi:,.0f} | "
            f"{seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
