"""Trajectories and ensembles against heyoka, diffrax and SciPy, in one run.

    python benchmarks/flows.py [--quick]

Every solver starts from the same state and is timed over complete calls after its first
one, which is reported apart (it builds and compiles). Errors are measured, not
tolerances: against heyoka in extended precision at a tolerance of 1e-18. Peers take
turns, and each reports the median of its rounds. Writes docs/benchmarks/flows.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import diffrax
import heyoka as hy
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

import lagrangian as lg

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
G = 9.81


# --- the systems, for us and for heyoka ----------------------------------------------


def links(n: int, functions: Any, q: Any, v: Any) -> tuple[Any, Any]:
    """T and V of n equal links, written with the given package's functions."""
    kinetic = sum(
        (n - max(i, j)) / 2 * v[i] * v[j] * functions.cos(q[i] - q[j])
        for i in range(n)
        for j in range(n)
    )
    return kinetic, sum(-(n - i) * G * functions.cos(q[i]) for i in range(n))


def kepler(_: int, functions: Any, q: Any, v: Any) -> tuple[Any, Any]:
    root = (q[0] ** 2 + q[1] ** 2) ** (-0.5 if functions is hy else -sp.Rational(1, 2))
    return (v[0] ** 2 + v[1] ** 2) / 2, -root


class Case:
    """One initial-value problem, as our flow and as heyoka's equations."""

    def __init__(self, name: str, terms: Callable[..., Any], q0: Any, v0: Any):
        n = len(q0)
        self.name, self.q0, self.v0 = name, np.array(q0, float), np.array(v0, float)
        q = lg.coordinates(" ".join(f"q{i}" for i in range(n)))
        kinetic, potential = terms(n, sp, q, [c.dot for c in q])
        self.flow = lg.lower(lg.Lagrangian(sp.sympify(kinetic), potential))
        names = [f"q{i}" for i in range(n)], [f"v{i}" for i in range(n)]
        hq, hv = (hy.make_vars(*some) for some in names)
        kinetic, potential = terms(n, hy, hq, hv)
        self.equations = hy.lagrangian(kinetic - potential, hq, hv)
        self.energy_of = hy.cfunc([kinetic + potential], [*hq, *hv])

    @property
    def state(self) -> np.ndarray:
        return np.concatenate([self.q0, self.v0])

    def drift(self, states: np.ndarray) -> float:
        energies = self.energy_of(np.ascontiguousarray(states.T)).ravel()
        return float(np.abs(energies / energies[0] - 1).max())

    def reference(self, times: np.ndarray) -> np.ndarray:
        kind = np.longdouble
        solver = hy.taylor_adaptive(
            self.equations, self.state.astype(kind), tol=kind("1e-18"), fp_type=kind
        )
        return solver.propagate_grid(times.astype(kind))[5].astype(float)


# --- the solvers: case, tolerance, times -> a function that returns the states -------


def by_us(case: Case, tol: float, times: np.ndarray, solver: Any = None) -> Any:
    def run() -> np.ndarray:
        path = case.flow.integrate(case.q0, case.v0, times, tol=tol, solver=solver)
        return np.concatenate([path.q, path.v], axis=1)

    return run


def by_heyoka(case: Case, tol: float, times: np.ndarray) -> Any:
    solver = hy.taylor_adaptive(case.equations, case.state, tol=tol)

    def run() -> np.ndarray:
        solver.time, solver.state[:] = 0.0, case.state
        return solver.propagate_grid(times)[5]

    return run


def by_diffrax(solver: Any) -> Any:
    def prepare(case: Case, tol: float, times: np.ndarray) -> Any:
        with jax.enable_x64(True):
            start = jnp.asarray(case.q0), jnp.asarray(case.v0)

            @jax.jit
            def solve(start: Any) -> Any:
                return diffrax.diffeqsolve(
                    diffrax.ODETerm(case.flow.field),
                    solver,
                    *(0.0, float(times[-1]), None, start),
                    saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
                    stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
                    max_steps=10_000_000,
                ).ys

        def run() -> np.ndarray:
            with jax.enable_x64(True):
                return np.concatenate([np.asarray(x) for x in solve(start)], axis=1)

        return run

    return prepare


def by_scipy(case: Case, tol: float, times: np.ndarray) -> Any:
    n = len(case.q0)
    variables = [f"q{i}" for i in range(n)] + [f"v{i}" for i in range(n)]
    field = hy.cfunc([e for _, e in case.equations], hy.make_vars(*variables))

    def run() -> np.ndarray:
        span = (0.0, times[-1])
        return solve_ivp(
            lambda t, y: field(y), span, case.state, "DOP853", times, rtol=tol, atol=tol
        ).y.T

    return run


SOLVERS = {
    "lagrangian Taylor": by_us,
    "heyoka": by_heyoka,
    "diffrax Dopri8": by_diffrax(diffrax.Dopri8()),
    "diffrax Tsit5": by_diffrax(diffrax.Tsit5()),
    "SciPy DOP853": by_scipy,
}


def timed(runs: dict[str, Any], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turns."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            spent[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in spent.items()}


def trajectories(rounds: int) -> list[str]:
    rows = [
        "| problem | solver | first call s | run s | of heyoka's | energy drift |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    periods = 2 * np.pi * 10_000
    problems = [
        ("double pendulum, t = 100, 1e-6", PENDULUM, 1e-6, 100.0, list(SOLVERS)),
        ("double pendulum, t = 100, 1e-12", PENDULUM, 1e-12, 100.0, list(SOLVERS)),
        ("five links, t = 100, 1e-12", FIVE, 1e-12, 100.0, list(SOLVERS)),
        ("Kepler e = 0.6, 10^4 periods, 1e-15", KEPLER, 1e-15, periods,
         ["lagrangian Taylor", "heyoka"]),
    ]  # fmt: skip
    for label, case, tol, end, names in problems:
        times = np.linspace(0, end, 101)
        runs, first, drift = {}, {}, {}
        for name in names:
            start = time.perf_counter()
            runs[name] = SOLVERS[name](case, tol, times)
            states = runs[name]()
            first[name] = time.perf_counter() - start
            drift[name] = case.drift(states)
        spent = timed(runs, rounds)
        for name in names:
            rows.append(
                f"| {label} | {name} | {first[name]:.2f} | {spent[name]:.4f} | "
                f"{spent[name] / spent['heyoka']:.2f} | {drift[name]:.0e} |"
            )
            print(rows[-1], flush=True)
    return rows


# --- ensembles ------------------------------------------------------------------------


def heyoka_batches(states: np.ndarray) -> np.ndarray:
    """Double pendulums in batches of four, as heyoka vectorises them."""
    out = np.empty_like(states)
    solver = hy.taylor_adaptive_batch(
        PENDULUM.equations, np.ascontiguousarray(states[:4].T), tol=1e-6
    )
    for i in range(0, len(states), 4):
        solver.set_time(0.0)
        solver.state[:] = states[i : i + 4].T
        solver.propagate_until(10.0)
        out[i : i + 4] = solver.state.T
    return out


def field_by_hand(t: Any, state: Any, _: Any) -> Any:
    """What a user of diffrax writes for the double pendulum."""
    (a, b), (u, v) = state
    cos, sin = jnp.cos(a - b), jnp.sin(a - b)
    f = -sin * v**2 - 2 * G * jnp.sin(a)
    g = sin * u**2 - G * jnp.sin(b)
    determinant = 2 - cos**2
    slopes = (f - cos * g) / determinant, (2 * g - cos * f) / determinant
    return state[1], jnp.stack(slopes)


def ensembles(rounds: int, members: int) -> list[str]:
    random = np.random.default_rng(0)
    q0 = random.uniform(-2, 2, (members, 2))
    states = np.concatenate([q0, np.zeros_like(q0)], axis=1)
    flow = PENDULUM.flow
    checked = 64
    exact = []
    for q in q0[:checked]:
        case = Case.__new__(Case)
        case.q0, case.v0, case.equations = q, np.zeros(2), PENDULUM.equations
        exact.append(case.reference(np.array([0.0, 10.0]))[-1, :2])

    def ours() -> np.ndarray:
        return flow.ensemble(q0, 0 * q0, (0, 10), tol=1e-6, progress=False).q[:, -1]

    few = states[: min(members, 4000)]
    cores = os.cpu_count() or 1
    pool = ProcessPoolExecutor(cores)
    list(pool.map(heyoka_batches, [few[:4]] * cores))  # compiled before it is timed

    def heyoka_two() -> np.ndarray:
        return np.concatenate(list(pool.map(heyoka_batches, np.split(few, cores))))

    def diffrax_vmapped(
        solver: Any, tol: float, field: Any = flow.field
    ) -> Callable[[], np.ndarray]:
        with jax.enable_x64(True):

            @jax.jit
            def solve(q: Any) -> Any:
                def one(q: Any) -> Any:
                    return diffrax.diffeqsolve(
                        diffrax.ODETerm(field),
                        solver,
                        *(0.0, 10.0, None, (q, jnp.zeros(2))),
                        stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
                        max_steps=100_000,
                    ).ys[0][-1]

                return jax.vmap(one)(q)

        def run() -> np.ndarray:
            with jax.enable_x64(True):
                return np.asarray(solve(jnp.asarray(few[:, :2])))

        return run

    runs = {
        "lagrangian ensemble": ours,
        f"heyoka, batches of 4, {cores} processes": heyoka_two,
        "diffrax Dopri8, vmap": diffrax_vmapped(diffrax.Dopri8(), 1e-6),
        "diffrax Tsit5, vmap": diffrax_vmapped(diffrax.Tsit5(), 1e-7),
        "diffrax Tsit5, vmap, field by hand": diffrax_vmapped(
            diffrax.Tsit5(), 1e-7, field_by_hand
        ),
    }
    errors, counts = {}, {}
    for name, run in runs.items():
        final = run()
        counts[name] = len(final)
        missed = np.abs(final[:checked, :2] - np.array(exact)).max(axis=1)
        errors[name] = float(np.median(missed))
    spent = timed(runs, rounds)
    pool.shutdown()
    rates = {name: counts[name] / spent[name] for name in runs}
    rows = []
    for name in runs:
        rows.append(
            f"| {members:,} | {name} | {rates[name]:,.0f} | "
            f"{rates[name] / rates['lagrangian ensemble']:.2f} | {errors[name]:.0e} |"
        )
        print(rows[-1], flush=True)
    return rows


def alternatives() -> list[str]:
    """Steps that lanes would take in lockstep, relative to those that members need."""
    q0 = np.random.default_rng(0).uniform(-2, 2, (65536, 2))
    many = PENDULUM.flow.ensemble(q0, 0 * q0, (0, 10), tol=1e-6)
    energy = -2 * np.cos(q0[:, 0]) - np.cos(q0[:, 1])
    rows = [
        "| lanes in lockstep | as they come | sorted by energy | refilled |",
        "| --- | --- | --- | --- |",
    ]
    for lanes in (64, 4096, 65536):
        work = [
            many.steps[order].reshape(-1, lanes).max(axis=1).sum() * lanes
            for order in (np.arange(len(q0)), np.argsort(energy))
        ]
        shares = [total / many.steps.sum() for total in work]
        rows.append(f"| {lanes:,} | {shares[0]:.2f} | {shares[1]:.2f} | 1.00 |")
        print(rows[-1], flush=True)
    return rows


PENDULUM = Case("double pendulum", links, [2.0, 1.0], [0.0, 0.0])
FIVE = Case("five links", links, [2.0, 1.7, 1.4, 1.1, 0.8], [0.0] * 5)
KEPLER = Case("Kepler, e = 0.6", kepler, [0.4, 0.0], [0.0, 2.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no files")
    quick = parser.parse_args().quick
    rounds = 3 if quick else 7
    rows = trajectories(rounds)
    heads = [
        "| members | solver | trajectories/s | of ours | median error |",
        "| --- | --- | --- | --- | --- |",
    ]
    for members in [10_000] if quick else [10_000, 100_000]:
        heads += ensembles(rounds, members)
    heads += ["", "Work of lanes relative to that of their members:", ""]
    heads += alternatives()
    if quick:
        return
    versions = (
        f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, "
        f"jax {jax.__version__}, diffrax {diffrax.__version__}, heyoka {hy.__version__}"
    )
    text = (DOCS / "flows.md").read_text() if (DOCS / "flows.md").exists() else ""
    _, mark, rest = text.partition("<!-- end of the tables -->")
    tables = "\n".join(["## One trajectory", "", *rows, "", "## Ensembles", "", *heads])
    (DOCS / "flows.md").write_text(
        "# Flows against their peers\n\n`python benchmarks/flows.py`, float64, "
        f"medians of {rounds} rounds taken in turns.\n{versions}.\n\n{tables}\n\n"
        f"<!-- end of the tables -->{rest if mark else chr(10)}"
    )


if __name__ == "__main__":
    main()
