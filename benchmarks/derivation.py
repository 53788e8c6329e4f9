"""Time to derive a planar pendulum of n links, next to other programs, in one run.

From T and V, the sums of squares of Cartesian velocities and of heights, to the mass
matrix and the forcing; every program starts from its own symbols, and building T and V
is not counted. Prints the table of docs/benchmarks/derivation.md.

What peers there are is measured: pip install symengine casadi heyoka
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from sympy.core.cache import clear_cache

import lagrangian as lg

SIZES = (2, 4, 8, 16, 32, 64)
#: A program that would need longer than this for the next size is stopped (s).
LIMIT = 30.0


def energies(q: Any, v: Any, m: Any, l: Any, g: Any, cos: Any, sin: Any) -> Any:
    """T and V of point masses on massless rods, angles from the vertical."""
    T, V = 0, 0
    across, up, height = 0, 0, 0
    for a, w, mass, length in zip(q, v, m, l, strict=True):
        across = across + length * cos(a) * w
        up = up + length * sin(a) * w
        height = height - length * cos(a)
        T = T + mass / 2 * (across**2 + up**2)
        V = V + mass * g * height
    return T, V


def pairs(q: Any, v: Any, m: Any, l: Any, g: Any) -> Any:
    """The same, as sums over pairs of links."""
    tails = [sp.Add(*m[i:]) for i in range(len(m))]
    links = range(len(m))
    T = sp.Add(
        *(
            tails[max(i, j)] * l[i] * l[j] * v[i] * v[j] * sp.cos(q[i] - q[j]) / 2
            for i in links
            for j in links
        )
    )
    return T, -g * sp.Add(*(tails[i] * l[i] * sp.cos(q[i]) for i in links))


def parameters(n: int) -> tuple[Any, Any, Any]:
    g = sp.Symbol("g", positive=True)
    m = sp.symbols(f"m1:{n + 1}", positive=True)
    return m, sp.symbols(f"l1:{n + 1}", positive=True), g


def ours(n: int, by_pairs: bool = False) -> Callable[[], Any]:
    q = lg.coordinates(f"a1:{n + 1}")
    v = [a.dot for a in q]
    if by_pairs:
        T, V = pairs(q, v, *parameters(n))
    else:
        T, V = energies(q, v, *parameters(n), sp.cos, sp.sin)

    def derive() -> Any:
        system = lg.Lagrangian(T, V)
        return system.mass_matrix, system.forcing, system

    return derive


def by_diff(T: Any, V: Any, q: Any, v: Any) -> Callable[[], Any]:
    """Mass matrix and forcing by the `diff` of whatever wrote T and V."""

    def derive() -> Any:
        L = T - V
        p = [L.diff(w) for w in v]
        forcing = [
            L.diff(a) - sum(r.diff(b) * w for b, w in zip(q, v, strict=True))
            for a, r in zip(q, p, strict=True)
        ]
        return [[r.diff(w) for w in v] for r in p], forcing

    return derive


def sympy_symbols(n: int) -> Callable[[], Any]:
    q, v = sp.symbols(f"a1:{n + 1}"), sp.symbols(f"v1:{n + 1}")
    return by_diff(*energies(q, v, *parameters(n), sp.cos, sp.sin), q, v)


def sympy_lagranges_method(n: int) -> Callable[[], Any]:
    from sympy.physics.mechanics import LagrangesMethod, dynamicsymbols

    q = dynamicsymbols(f"a1:{n + 1}")
    v = [a.diff(dynamicsymbols._t) for a in q]
    T, V = energies(q, v, *parameters(n), sp.cos, sp.sin)

    def derive() -> Any:
        method = LagrangesMethod(T - V, q)
        method.form_lagranges_equations()
        return method.mass_matrix, method.forcing

    return derive


def symengine(n: int) -> Callable[[], Any]:
    import symengine as se

    q, v = se.symbols(f"a1:{n + 1}"), se.symbols(f"v1:{n + 1}")
    m, l = se.symbols(f"m1:{n + 1}"), se.symbols(f"l1:{n + 1}")
    return by_diff(*energies(q, v, m, l, se.Symbol("g"), se.cos, se.sin), q, v)


def casadi(n: int) -> Callable[[], Any]:
    import casadi as ca

    q, v = ca.SX.sym("q", n), ca.SX.sym("v", n)
    m, l, g = ca.SX.sym("m", n), ca.SX.sym("l", n), ca.SX.sym("g")
    each = [ca.vertsplit(vector) for vector in (q, v, m, l)]
    T, V = energies(*each, g, ca.cos, ca.sin)

    def derive() -> Any:
        p = ca.gradient(T - V, v)
        return ca.jacobian(p, v), ca.gradient(T - V, q) - ca.jtimes(p, q, v)

    return derive


def heyoka(n: int) -> Callable[[], Any]:
    import heyoka as hy

    q = hy.make_vars(*[f"a{i}" for i in range(n)])
    v = hy.make_vars(*[f"v{i}" for i in range(n)])
    m = [hy.par[i] for i in range(n)]
    l = [hy.par[n + i] for i in range(n)]
    T, V = energies(q, v, m, l, hy.par[2 * n], hy.cos, hy.sin)
    return lambda: hy.lagrangian(T - V, q, v)


def seconds(build: Callable[[int], Callable[[], Any]], n: int) -> float:
    """The best of up to three runs, each with SymPy's caches empty."""
    best = np.inf
    for _ in range(3):
        clear_cache()
        derive = build(n)
        start = perf_counter()
        derive()
        best = min(best, perf_counter() - start)
        if best > 2:
            break
    return best


def measured(build: Callable[[int], Callable[[], Any]]) -> list[float | None]:
    times: list[float | None] = []
    for n in SIZES:
        previous = [t for t in times if t is not None]
        grown = previous[-1] * (n / SIZES[len(times) - 1]) ** 3 if previous else 0.0
        too_long = len(previous) < len(times) or grown > LIMIT
        times.append(None if too_long else seconds(build, n))
    return times


def compile_times(by_pairs: bool) -> list[float]:
    """Tracing and compiling the accelerations in float64, at one state."""
    times = []
    for n in SIZES:
        *_, system = ours(n, by_pairs)()
        names = sorted(
            (system.T + system.V).free_symbols
            - set(system.coordinates)
            - {q.dot for q in system.coordinates},
            key=str,
        )
        values = {s: 1.0 + i / 50 for i, s in enumerate(names)}
        flow = lg.lower(system, values)
        with jax.enable_x64(True):
            state = jnp.linspace(0.1, 1.0, n)
            jax.block_until_ready(jnp.linalg.solve(jnp.eye(3), jnp.ones(3)))
            start = perf_counter()
            jax.jit(flow.acceleration).trace(state, -state).lower().compile()
            times.append(perf_counter() - start)
    return times


def exponent(times: list[float | None]) -> str:
    """The slope of log t over log n from n = 4 on."""
    kept = [(n, t) for n, t in zip(SIZES, times, strict=True) if t and n >= 4]
    if len(kept) < 3:
        return ""
    return f"{np.polyfit(*np.log(np.array(kept)).T, 1)[0]:.1f}"


def row(name: str, times: list[float | None]) -> str:
    cells = ["" if t is None else f"{t:.3g}" for t in times]
    return f"| {name} | {' | '.join(cells)} | {exponent(times)} |"


PROGRAMS: list[tuple[str, str, Callable[[int], Callable[[], Any]]]] = [
    ("lagrangian, T in squares", "sympy", ours),
    ("lagrangian, T in pairs", "sympy", lambda n: ours(n, by_pairs=True)),
    ("SymPy, symbols and diff", "sympy", sympy_symbols),
    ("SymPy LagrangesMethod", "sympy", sympy_lagranges_method),
    ("symengine", "symengine", symengine),
    ("CasADi", "casadi", casadi),
    ("heyoka (explicit accelerations)", "heyoka", heyoka),
]


def main() -> None:
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}", end="; "
    )
    print(f"Python {platform.python_version()}, sympy {sp.__version__}", end=", ")
    print(f"jax {jax.__version__}")
    print("\nFrom T and V to mass matrix and forcing (s):\n")
    print(f"| | {' | '.join(f'n = {n}' for n in SIZES)} | exponent |")
    print("|---" * (len(SIZES) + 2) + "|")
    for name, package, build in PROGRAMS:
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"| {name} | not installed |")
            continue
        label = name if package == "sympy" else f"{name} {version(package)}"
        print(row(label, measured(build)), flush=True)
    print("\nTracing and compiling the right-hand side in JAX (s):\n")
    print(f"| | {' | '.join(f'n = {n}' for n in SIZES)} | exponent |")
    print("|---" * (len(SIZES) + 2) + "|")
    for name, by_pairs in (("T in squares", False), ("T in pairs", True)):
        print(row(name, compile_times(by_pairs)), flush=True)


if __name__ == "__main__":
    main()
