"""The true motions of the stress suite of the flows, by independent means.

    python scripts/trust_references.py [--all] [--only TEXT]

Computes what tests/flows/trust/references.npz lacks, or everything with --all, and
drops what the suite no longer has.

Each motion comes from heyoka in extended precision, or from extrapolation (Gragg,
Bulirsch and Stoer) in extended precision where Taylor series do not exist. It is
confirmed by itself at half the longest step and by SciPy's DOP853 in scaled variables.
How much it magnifies small changes is measured from its neighbours.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import heyoka as hy
import numpy as np
from scipy.integrate import solve_ivp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "flows"))

from trust import suite  # noqa: E402
from trust.case import OUTPUTS, Case  # noqa: E402
from trust.equations import heyoka_equations, numpy_field  # noqa: E402
from trust.measure import Reference  # noqa: E402

ld = np.longdouble
#: The growth is measured between the ends of so many parts of the motion.
PARTS = 16 * OUTPUTS
#: How far the methods may be apart, in units of the growth.
AGREEMENT = {"itself": 1e-15, "DOP853": 1e-10}


class NoTruth(Exception):
    """The methods disagree, or none reaches the end."""


def truth(case: Case) -> Reference:
    """States, scales and growth of one case, confirmed."""
    grid = np.linspace(case.times[0], case.times[-1], PARTS + 1)
    motion = primary(case)
    states = [np.concatenate([case.q, case.v]).astype(ld)]
    for a, b in zip(grid, grid[1:], strict=False):
        states.append(motion(states[-1][:, None], a, b, 1.0)[:, 0])
    path = np.array(states)
    scale = np.abs(path).max(axis=0)
    growth = growths(motion, path, grid, scale)
    every = slice(None, None, PARTS // OUTPUTS)
    outputs, times = path[every], grid[every]
    again, other = [outputs[0]], [outputs[0].astype(float)]
    for a, b in zip(times, times[1:], strict=False):
        again.append(motion(again[-1][:, None], a, b, 0.5)[:, 0])
        other.append(by_scipy(case, other[-1], a, b, scale, growth))
    for name, states in (("itself", again), ("DOP853", other)):
        apart = np.abs(np.array(states) - outputs).max(axis=0)
        if not (apart <= AGREEMENT[name] * growth).all():
            far = float((apart / np.maximum(growth, 1e-300)).max())
            raise NoTruth(f"{case.name}: {name} is {far:.1e} of the growth away")
    return Reference(case.times, *(x.astype(float) for x in (outputs, scale, growth)))


def growths(motion: Any, path: Any, grid: Any, scale: Any) -> Any:
    """For each component of the state the largest change, relative to that of a cause.

    The cause is a change of every component at any earlier time by its whole scale,
    extrapolated from small ones; the effect is at any later time. At least the scale.
    """
    size = path.shape[1]
    steps = np.where(scale > 0, ld("1e-8") * scale, 0)
    slopes = []
    for state, a, b in zip(path, grid, grid[1:], strict=False):
        starts = np.concatenate([state[:, None], state[:, None] + np.diag(steps)], 1)
        ends = motion(starts, a, b, 1.0)
        slopes.append((ends[:, 1:] - ends[:, :1]) / np.where(steps > 0, steps, 1))
    largest = scale.copy()
    since = np.zeros((0, size, size), ld)
    for slope in slopes:
        since = np.concatenate([since, np.eye(size, dtype=ld)[None]])
        since = np.einsum("ij,kjl->kil", slope, since)
        effects = np.einsum("kij,j->ki", np.abs(since), scale)
        largest = np.maximum(largest, effects.max(axis=0))
    return largest


def primary(case: Case) -> Callable[..., Any]:
    """The motion of columns of states from one time to another; by heyoka if it can."""
    state = np.concatenate([case.q, case.v]).astype(ld)
    try:
        motion = by_heyoka(case)
        motion(state[:, None], case.times[0], case.times[1], 1.0)
    except (NoTruth, AttributeError, TypeError):
        return by_extrapolation(case)
    return motion


def by_heyoka(case: Case) -> Callable[..., Any]:
    equations, variables = heyoka_equations(case.problem, hy)
    solver = hy.taylor_adaptive(
        equations, np.zeros(len(variables), ld), tol=ld("1e-18"), fp_type=ld
    )

    def motion(starts: Any, a: float, b: float, fraction: float) -> Any:
        ends = np.empty_like(starts)
        for k in range(starts.shape[1]):
            solver.time, solver.state[:] = ld(a), starts[:, k]
            longest = ld(case.longest_step * fraction)
            outcome = solver.propagate_until(ld(b), max_delta_t=longest)[0]
            if outcome != hy.taylor_outcome.time_limit:
                raise NoTruth(f"{case.name}: heyoka stops with {outcome}")
            ends[:, k] = solver.state
        return ends

    return motion


def by_extrapolation(case: Case, tol: float = 1e-17) -> Callable[..., Any]:
    """Modified midpoint rules with 2, 4, ..., 18 steps, extrapolated to none."""
    field = numpy_field(case.problem, ld)
    counts = [ld(2 * k) for k in range(1, 10)]

    def step(y: Any, t: Any, h: Any) -> tuple[Any, Any]:
        slope, row = field(t, y), []
        for count in counts:
            part = h / count
            old, new = y, y + part * slope
            for k in range(1, int(count)):
                old, new = new, old + 2 * part * field(t + k * part, new)
            above, row = row, [(old + new + part * field(t + h, new)) / 2]
            for k, former in enumerate(above, 1):
                ratio = (count / counts[len(above) - k]) ** 2
                row.append(row[-1] + (row[-1] - former) / (ratio - 1))
        return row[-1], np.abs(row[-1] - row[-2])

    def motion(starts: Any, a: float, b: float, fraction: float) -> Any:
        t, y, end = ld(a), starts, ld(b)
        longest = ld(case.longest_step * fraction)
        h, seen = longest, np.abs(starts)
        while t < end:
            h = min(h, longest, end - t)
            new, error = step(y, t, h)
            seen = np.maximum(seen, np.nan_to_num(np.abs(new)))
            worst = (error / np.maximum(seen, ld("1e-300"))).max()
            if not worst <= tol * 10 and h > longest * 1e-6:
                h = h / 2
                continue
            t, y = (end if h == end - t else t + h), new
            h = h * min(ld(2), (ld(tol) / max(worst, ld("1e-30"))) ** (ld(1) / 17))
        if not np.isfinite(y).all():
            raise NoTruth(f"{case.name}: extrapolation is not finite")
        return y

    return motion


def by_scipy(
    case: Case, state: Any, a: float, b: float, scale: Any, growth: Any
) -> Any:
    """DOP853 in the variables state/scale and (t - a)/(b - a).

    Its absolute tolerance is of the growth: smaller changes than that are noise.
    """
    field, length = numpy_field(case.problem), b - a
    unit = np.where(scale > 0, scale, 1).astype(float)

    def scaled(s: float, z: Any) -> Any:
        return length * field(a + s * length, z * unit) / unit

    found = solve_ivp(
        scaled,
        (0.0, 1.0),
        state / unit,
        "DOP853",
        rtol=1e-13,
        atol=1e-14 * np.maximum((growth / unit).astype(float), 1e-300),
        max_step=case.longest_step / length,
    )
    if not found.success:
        raise NoTruth(f"{case.name}: DOP853 says {found.message}")
    return found.y[:, -1] * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="compute every case anew")
    parser.add_argument("--only", default="", help="a part of the names to compute")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    known = suite.stored() if suite.FILE.exists() else {}
    cases = [c for p in suite.problems() for c in p.cases if c.solvable]
    marks = {c.name: c.fingerprint for c in cases}
    if len(marks) < len(cases):
        raise SystemExit("two cases have one name")
    found = {k: x for k, x in known.items() if marks.get(k) == x[0]}
    missing = []
    for case in cases:
        wanted = arguments.only in case.name
        if not wanted or (case.name in found and not arguments.all):
            continue
        start = time.perf_counter()
        try:
            numbers = suite.packed(truth(case))
        except (NoTruth, ArithmeticError) as problem:
            missing.append(str(problem))
            print("NO TRUTH", problem, flush=True)
            continue
        found[case.name] = case.fingerprint, numbers
        print(f"{time.perf_counter() - start:6.1f} s  {case.name}", flush=True)
        suite.store(found)
    suite.store(found)
    print(f"{len(found)} of {len(cases)} cases; without truth: {len(missing)}")


if __name__ == "__main__":
    main()
