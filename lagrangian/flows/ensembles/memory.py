"""What an ensemble will need of the memory, found out before it is computed."""

from __future__ import annotations

import os
from pathlib import Path

from lagrangian.errors import LagrangianError


def check_memory(members: int, times: int, columns: int, recorded: int) -> None:
    """Raise if the results of an ensemble will not fit into this machine's memory.

    Args:
        members: how many.
        times: how many output times.
        columns: how many numbers a state has.
        recorded: how many are kept of a member in place of its states; 0 for none.

    Raises:
        LagrangianError: says how much it takes, and what takes less.
    """
    each = recorded or times * columns
    needed, free = members * each * 8, free_memory()
    # While chunks are joined, all of them are there twice.
    if free is None or 2 * needed <= free:
        return
    raise LagrangianError(
        f"an ensemble of {members} members at {times} times has results of "
        f"{needed / 2**30:.3g} GiB, and needs twice that for a moment; "
        f"{free / 2**30:.3g} GiB are free. Keep fewer times, or only what you need of "
        'the paths: `record={"energy": (energy, "max")}`; or have them on the disk: '
        '`save="folder", memory=2**30`.'
    )


def free_memory() -> int | None:
    """Bytes that this process may still take; None where nobody says.

    What Linux calls available, and at most what the control group of a container, or
    `ulimit -v`, leaves; elsewhere the memory of the machine.
    """
    found = [_available(), _left_of_group(), _left_of_limit()]
    known = [bytes_ for bytes_ in found if bytes_ is not None]
    return min(known, default=None)


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _physical()


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _left_of_group() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text().strip()
        used = (group / "memory.current").read_text().strip()
        # What only caches files counts as used there, and is free all the same.
        cached = [
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        ]
        return None if most == "max" else int(most) - int(used) + sum(cached)
    except (OSError, ValueError):
        return None


def _left_of_limit() -> int | None:
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getpagesize, getrlimit

        most, _ = getrlimit(RLIMIT_AS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * getpagesize()
    except (ImportError, OSError, ValueError):
        return None
    return None if most == RLIM_INFINITY else max(most - taken, 0)
