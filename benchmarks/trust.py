"""Who is silently wrong? The stress suite of tests/flows/trust with four solvers.

    python benchmarks/trust.py [--quick]

Every solver takes every case with its usual settings at each tolerance: ours by
default, heyoka's Taylor series, diffrax's Dopri8 with a PIDController and SciPy's
DOP853, the last two with rtol = atol = tol. A run is right if its error is at most 100
tolerances times the growth of the motion, refused if the solver says that it failed,
and wrong otherwise. Writes docs/benchmarks/trust.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffrax
import heyoka as hy
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from scipy.integrate import solve_ivp

import lagrangian as lg

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "flows"))

from trust import drivers, suite  # noqa: E402
from trust.case import Case, Problem  # noqa: E402
from trust.equations import heyoka_equations, numpy_field  # noqa: E402
from trust.measure import Verdict, judge  # noqa: E402

TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12, 1e-14)
QUICK_TOLERANCES = (1e-6, 1e-12)
#: Where a solver is taken to have given up.
MAX_STEPS = 100_000
WORST = 12
Driver = Callable[[Case, float], Callable[[], Any]]


class GaveUp(lg.LagrangianError):
    """A peer says that it failed."""


def by_us(problem: Problem) -> Driver:
    flow = problem.lower()
    return lambda case, tol: drivers.integrate(flow, case, tol, max_steps=MAX_STEPS)


def by_heyoka(problem: Problem) -> Driver:
    equations, variables = heyoka_equations(problem, hy)
    solvers: dict[float, Any] = {}

    def driver(case: Case, tol: float) -> Callable[[], Any]:
        def run() -> np.ndarray:
            if tol not in solvers:
                start = np.zeros(len(variables))
                solvers[tol] = hy.taylor_adaptive(equations, start, tol=tol)
            solver = solvers[tol]
            solver.time = case.times[0]
            solver.state[:] = np.concatenate([case.q, case.v])
            found = solver.propagate_grid(case.times, max_steps=MAX_STEPS)
            if found[0] != hy.taylor_outcome.time_limit:
                raise GaveUp(str(found[0]))
            return found[5]

        return run

    return driver


def by_diffrax(problem: Problem) -> Driver:
    flow = problem.lower()

    @jax.jit
    def solve(q: Any, v: Any, times: Any, tol: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(flow.field),
            diffrax.Dopri8(),
            *(times[0], times[-1], None, (q, v)),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
            max_steps=MAX_STEPS,
            throw=False,
        )

    def driver(case: Case, tol: float) -> Callable[[], Any]:
        def run() -> np.ndarray:
            with jax.enable_x64(True):
                found = solve(*map(jnp.asarray, (case.q, case.v, case.times)), tol)
                if found.result != diffrax.RESULTS.successful:
                    raise GaveUp(str(found.result))
                return np.concatenate([np.asarray(x) for x in found.ys], axis=1)

        return run

    return driver


def by_scipy(problem: Problem) -> Driver:
    field = numpy_field(problem)

    def driver(case: Case, tol: float) -> Callable[[], Any]:
        def run() -> np.ndarray:
            calls = 0

            def counted(t: float, y: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls > 12 * MAX_STEPS:
                    raise GaveUp(f"{calls} evaluations")
                return field(t, y)

            start = np.concatenate([case.q, case.v])
            span = case.times[[0, -1]]
            found = solve_ivp(
                counted, span, start, "DOP853", case.times, rtol=tol, atol=tol
            )
            if not found.success:
                raise GaveUp(found.message)
            return found.y.T

        return run

    return driver


SOLVERS: dict[str, Callable[[Problem], Driver]] = {
    "lagrangian": by_us,
    "heyoka": by_heyoka,
    "diffrax Dopri8": by_diffrax,
    "SciPy DOP853": by_scipy,
}


def runs(
    problem: Problem, make: Callable[[Problem], Driver], tolerances: tuple[float, ...]
) -> Iterator[tuple[str, float, Verdict]]:
    driver = make(problem)
    for tol in tolerances:
        for case in problem.cases:
            verdict = judge(driver(case, tol), suite.reference(case), tol)
            yield case.name, tol, verdict


def tables(results: dict[str, list[tuple[str, float, Verdict]]]) -> list[str]:
    rows = [
        "| solver | runs | right | wrong | refused | crashed | median | largest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for solver, found in results.items():
        words = Counter(verdict.word for _, _, verdict in found)
        errors = [v.error for _, _, v in found if np.isfinite(v.error)]
        counts = [words[w] for w in ("right", "WRONG", "refused", "crashed")]
        numbers = " | ".join(f"{n:,}" for n in (len(found), *counts))
        rows.append(
            f"| {solver} | {numbers} | {np.median(errors):.1e} | {max(errors):.0e} |"
        )
    tolerances = sorted({tol for some in results.values() for _, tol, _ in some})[::-1]
    rows += [
        "",
        "Wrong and refused, by tolerance:",
        "",
        "| solver | " + " | ".join(f"{tol:.0e}" for tol in tolerances) + " |",
        "| --- |" + " --- |" * len(tolerances),
    ]
    for solver, found in results.items():
        words = Counter((tol, verdict.word) for _, tol, verdict in found)
        cells = [f"{words[t, 'WRONG']} and {words[t, 'refused']}" for t in tolerances]
        rows.append(f"| {solver} | " + " | ".join(cells) + " |")
    return rows


def worst(results: dict[str, list[tuple[str, float, Verdict]]]) -> list[str]:
    """The wrong cases of each solver that miss by most of their motion."""
    rows: list[str] = []
    for solver, found in results.items():
        missed: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for name, tol, verdict in found:
            if verdict.word == "WRONG":
                missed[name].append((verdict.relative, tol))
        order = sorted(missed, key=lambda name: (-len(missed[name]), name))
        rows += ["", f"{solver}: {len(missed)} cases are wrong at some tolerance."]
        rows += [""] if order else []
        for name in order[:WORST]:
            error, tol = max(missed[name])
            rows.append(
                f"- {name}: wrong {len(missed[name])} times, at worst by {error:.0e} "
                f"of its scale, at {tol:.0e}"
            )
        refused = Counter(name for name, _, v in found if v.word == "refused")
        if refused:
            some = ", ".join(f"`{n}` ({k})" for n, k in refused.most_common(WORST))
            rows += ["", f"Refused, most often first: {some}."]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases, no file")
    parser.add_argument("--only", default="", help="one solver")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    tolerances = QUICK_TOLERANCES if arguments.quick else TOLERANCES
    problems = suite.problems(arguments.quick)
    results: dict[str, list[tuple[str, float, Verdict]]] = {}
    for solver, make in SOLVERS.items():
        if arguments.only not in solver:
            continue
        start, results[solver] = time.perf_counter(), []
        for problem in problems:
            results[solver] += runs(problem, make, tolerances)
        print(f"{solver}: {time.perf_counter() - start:.0f} s", flush=True)
    summary, names = tables(results), worst(results)
    print("\n".join([*summary, *names]))
    if arguments.quick or arguments.only:
        return
    cases = sum(len(p.cases) for p in problems)
    versions = (
        f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, "
        f"jax {jax.__version__}, diffrax {diffrax.__version__}, "
        f"heyoka {hy.__version__}, SciPy {scipy.__version__}"
    )
    text = "\n".join(
        [
            "# Flows that must not be wrong without a word",
            "",
            f"`python benchmarks/trust.py`: {len(problems)} systems with {cases} "
            "starts, special ones among them,",
            "at each tolerance. An error is in units of the tolerance times the growth "
            "of the motion;",
            "up to 100 of them are right. The truth comes from heyoka in extended "
            "precision with short",
            "steps, confirmed by DOP853. Peers as they are usually called: heyoka by "
            "its tol, the others with",
            f"rtol = atol = tol. {versions}.",
            "",
            *summary,
            *names,
        ]
    )
    (ROOT / "docs" / "benchmarks" / "trust.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
