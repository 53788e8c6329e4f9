"""Work against precision: every solver of this library and each peer, three systems.

    python benchmarks/work_precision.py

Errors are those against heyoka in extended precision at 1e-18, at eleven times, angles
modulo 2 pi. Writes docs/benchmarks/work_precision.png and prints the errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from flows import DOCS, FIVE, KEPLER, PENDULUM, SOLVERS, Case, G, by_us, timed

import lagrangian as lg

ROUNDS = 3
TOLERANCES = np.geomspace(1e-5, 1e-14, 7)
#: Steps of the solvers that have fixed ones.
COUNTS = np.geomspace(200, 5000, 5).astype(int)


def by_ensemble(case: Case, tol: float, times: np.ndarray) -> Any:
    """The ensemble's core with a single member, in one of its 64 lanes."""

    def run() -> np.ndarray:
        many = case.flow.ensemble(case.q0[None], case.v0[None], times, tol=tol)
        return np.concatenate([many.q[0], many.v[0]], axis=1)

    return run


def by_rattle(case: Case, step: float, times: np.ndarray) -> Any:
    """The pendulum's unit masses in Cartesian coordinates on rods, read as angles."""
    n = len(case.q0)
    x, y = lg.coordinates(f"x1:{n + 1}"), lg.coordinates(f"y1:{n + 1}")
    kinetic = sum(c.dot**2 for c in (*x, *y)) / 2
    ends = list(zip(x, y, strict=True))
    rods = [
        (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 - 1
        for a, b in zip([(0, 0), *ends], ends, strict=False)
    ]
    flow = lg.lower(
        lg.Lagrangian(kinetic, G * sum(y), constraints=rods, coordinates=(*x, *y))
    )
    sines, cosines = np.sin(case.q0), np.cos(case.q0)
    q0 = np.concatenate([np.cumsum(sines), -np.cumsum(cosines)])
    v0 = np.concatenate([np.cumsum(cosines * case.v0), np.cumsum(sines * case.v0)])
    solver = lg.Rattle(step)

    def run() -> np.ndarray:
        path = flow.integrate(q0, v0, times, solver=solver)
        (dx, dy), (du, dv) = (
            (np.diff(z[:, :n], prepend=0.0), np.diff(z[:, n:], prepend=0.0))
            for z in (path.q, path.v)
        )
        return np.concatenate([np.arctan2(dx, -dy), dx * dv - dy * du], 1)

    return run


def fixed_steps(case: Case) -> dict[str, Callable[[float, np.ndarray], Any]]:
    """Our solvers of fixed steps that take this system, as functions of the step."""

    def ours(method: Any, order: int) -> Callable[[float, np.ndarray], Any]:
        return lambda step, times: by_us(case, 1.0, times, method(step, order))

    orders = (2, 4, 6, 8)
    found = {f"lagrangian Variational {p}": ours(lg.Variational, p) for p in orders}
    if case is KEPLER:  # the only one that is separable; the others have rods
        found |= {f"lagrangian Symplectic {p}": ours(lg.Symplectic, p) for p in orders}
    elif case is PENDULUM:  # with ten constrained coordinates it compiles for minutes
        found["lagrangian Rattle"] = lambda step, times: by_rattle(case, step, times)
    return found


def reaches_its_end(run: Callable[[], np.ndarray]) -> bool:
    """Whether a run succeeds: an implicit step that is too long has no solution."""
    try:
        run()
    except lg.IntegrationFailed:
        return False
    return True


def missed(states: np.ndarray, exact: np.ndarray, angles: int) -> float:
    """The largest error of a state; the first `angles` columns count modulo 2 pi."""
    error = states - exact
    error[:, :angles] = (error[:, :angles] + np.pi) % (2 * np.pi) - np.pi
    return float(np.abs(error).max())


class Panel:
    """One system's axes, and how each solver looks in all of them."""

    def __init__(self, axis: Any, case: Case, end: float, handles: dict[str, Any]):
        self.axis, self.case, self.handles = axis, case, handles
        self.times = np.linspace(0, end, 11)
        self.exact = case.reference(self.times)
        self.angles = 0 if case is KEPLER else len(case.q0)
        axis.set(title=f"{case.name}, t = {end:.3g}", xlabel="largest error of a state")

    def draw(self, name: str, runs: list[Any], style: str) -> None:
        runs = [run for run in runs if reaches_its_end(run)]
        error = [missed(run(), self.exact, self.angles) for run in runs]
        work = [timed({"": run}, ROUNDS)[""] for run in runs]
        colour = None
        if name in self.handles:
            colour = self.handles[name].get_color()
        elif not name.startswith("lagrangian"):  # the peers are grey
            colour = f"{0.15 + 0.15 * list(SOLVERS).index(name):.2f}"
        (line,) = self.axis.loglog(error, work, style, ms=3, color=colour, label=name)
        self.handles.setdefault(name, line)
        print(self.case.name, name, *(f"{e:.0e}" for e in error), flush=True)


def main() -> None:
    cases = [(PENDULUM, 10.0), (FIVE, 5.0), (KEPLER, 20 * np.pi)]
    adaptive = SOLVERS | {"lagrangian ensemble (1 of 64 lanes)": by_ensemble}
    figure, axes = plt.subplots(1, 3, figsize=(14, 6.5), layout="constrained")
    handles: dict[str, Any] = {}
    for axis, (case, end) in zip(axes, cases, strict=True):
        panel = Panel(axis, case, end, handles)
        for name, prepare in adaptive.items():
            finest = 1e-12 if "Tsit5" in name else 0.0
            used = TOLERANCES[TOLERANCES > finest]
            style = "o-" if name.startswith("lagrangian") else "^--"
            panel.draw(name, [prepare(case, tol, panel.times) for tol in used], style)
        for name, make in fixed_steps(case).items():
            # The colours come round again: the families differ in their lines, too.
            style = "D-." if "Symplectic" in name else "s:"
            panel.draw(name, [make(end / n, panel.times) for n in COUNTS], style)
        axis.invert_xaxis()
    axes[0].set_ylabel("seconds")
    figure.legend(
        handles=list(handles.values()),
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    figure.savefig(DOCS / "work_precision.png", dpi=110)
    print(f"Wrote {DOCS / 'work_precision.png'}.")


if __name__ == "__main__":
    main()
