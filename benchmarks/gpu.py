"""What an accelerator computes, whether it is right, and how fast, in a few minutes.

    python benchmarks/gpu.py [--members 1000000]

First every solver against its own answer on the CPU, several at once, since most of
that is compiling: whoever fails ends the run with status 1. Then ensembles of double
pendulums and of Kepler's orbits against diffrax's vmapped solver, on the same device,
with the share of its arithmetic rate; training with laws observed; and `discover` on a
million parameters. Prints its tables under the name of the device and the versions, and
writes them to docs/benchmarks/gpu.md.

On a machine without an accelerator the CPU runs the programs that are made for one, of
fewer members, and nothing is written: the numbers say nothing of an accelerator.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from flax import nnx

import lagrangian as lg
from lagrangian.lowering.platform import lowered_for
from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy
from lagrangian.networks.networks import Perceptron
from lagrangian.systems.mechanics import make_system

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "gpu.md"
DEVICE, HOST = jax.devices()[0], jax.devices("cpu")[0]
IS_CPU = DEVICE.platform == "cpu"
STAGES, CHECKED, TOL = 13, 64, 1e-6
#: Seconds after which no further size is begun.
ENOUGH = 300

lines: list[str] = []


def say(text: str) -> None:
    lines.append(text)
    print(text, flush=True)


def there() -> Any:
    """A context in which the accelerator computes; on a CPU, by its programs."""
    return lowered_for("cuda") if IS_CPU else jax.default_device(DEVICE)


def here() -> Any:
    """A context in which the CPU computes."""
    return nullcontext() if IS_CPU else jax.default_device(HOST)


def timed(run: Callable[[], Any], rounds: int = 3) -> float:
    """Seconds of the fastest of some calls behind the first."""
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return min(spent[1:])


# ------------------------------------------------------------------- is it right?


def named(name: str, **sizes: int) -> Any:
    system = make_system(name, sizes)
    return lg.lower(system.lagrangian, system.parameters)


def answers() -> Iterator[tuple[str, float, Callable[[], Any]]]:
    """By name: how far two computations may be apart, and one of them.

    Adaptive solvers by what their tolerance leaves, and steps of one size by rounding.
    """
    pendulum, kepler = named("double-pendulum"), named("kepler")
    swing, driven = named("rotating-hoop"), named("van-der-pol")
    q, v, span = [2.0, 1.0], [0.0, 0.0], (0.0, 1.0)
    orbit = [1.0, 0.0], [0.0, 1.1]
    x, y = lg.coordinates("x y")
    rod = lg.lower(
        lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y, constraints=[x**2 + y**2 - 1])
    )
    hangs = [0.6, -0.8]
    w = lg.blocks("w")
    blocks = lg.lower(
        lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, lg.Loss("f", w)),
        losses={"f": lambda w: jnp.sum(w**4)},
    )
    phi = lg.fields("phi", over="t x")
    wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2 - (1 - sp.cos(phi)))
    field = lg.lower(wave, interval=(0.0, 2 * np.pi), points=32)

    def slope() -> Any:
        with jax.enable_x64(True):
            arrived = lambda q: swing.flow_map(q, jnp.zeros(1), span)[0].sum()
            return jax.grad(arrived)(jnp.array([2.0]))

    def many(flow: Any) -> Any:
        n = len(flow.lagrangian.coordinates)
        q0 = np.random.default_rng(0).uniform(-1, 1, (200, n))
        if flow is rod:
            q0 /= np.linalg.norm(q0, axis=1)[:, None]
        return flow.ensemble(q0, 0 * q0, span, tol=1e-10, progress=False).q

    yield "Taylor", 1e-11, lambda: pendulum.integrate(q, v, span, tol=1e-12).q
    yield "Taylor, constraint", 1e-11, lambda: rod.integrate(hangs, v, span).q
    for solver in (diffrax.Dopri8(), diffrax.Tsit5()):
        yield (
            f"diffrax {type(solver).__name__}",
            1e-7,
            lambda s=solver: pendulum.integrate(q, v, span, solver=s).q,
        )
    for flow, start, solver in (
        (kepler, orbit, lg.Symplectic(0.01, order=6)),
        (pendulum, (q, v), lg.Variational(0.01)),
        (rod, (hangs, v), lg.Rattle(0.01)),
    ):
        yield (
            type(solver).__name__,
            1e-11,
            lambda f=flow, s=start, x=solver: f.integrate(*s, span, solver=x).q,
        )
    yield "derivative of the flow map", 1e-10, slope
    yield (
        "section",
        1e-10,
        lambda: (
            pendulum.section(
                q, v, sp.sin(pendulum.lagrangian.coordinates[0]), (0.0, 5.0)
            ).q
        ),
    )
    yield (
        "Lyapunov exponents",
        1e-8,
        lambda: pendulum.lyapunov_exponents(q, v, (0.0, 3.0)),
    )
    yield "ensemble", 1e-7, lambda: many(pendulum)
    yield "ensemble, five links", 1e-7, lambda: many(named("n-pendulum", links=5))
    yield "ensemble, constraint", 1e-7, lambda: many(rod)
    yield "ensemble, guarded by a power", 1e-7, lambda: many(driven)
    yield "blocks", 1e-8, lambda: blocks.integrate({w: q}, {w: v}, span).q[w.name]
    yield "field", 1e-7, lambda: field.integrate({phi: np.cos}, {phi: 0.0}, span).q


def are_right() -> bool:
    say("## Is it right?\n\n| solver | from the CPU's answer | allowed | s |")
    say("| --- | --- | --- | --- |")
    good = True

    def compared(answer: Callable[[], Any]) -> tuple[float, float]:
        with here():
            expected = np.asarray(answer())
        began = time.perf_counter()
        with there():
            found = np.asarray(answer())
        seconds = time.perf_counter() - began
        missed = np.abs(found - expected).max() / np.abs(expected).max()
        return float(missed), seconds

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        rows = [(n, a, pool.submit(compared, answer)) for n, a, answer in answers()]
        for name, allowed, row in rows:
            missed, seconds = row.result()
            verdict = "" if missed <= allowed else " **wrong**"
            good &= missed <= allowed
            say(f"| {name} | {missed:.0e}{verdict} | {allowed:.0e} | {seconds:.1f} |")
    return good


# --------------------------------------------------------------------- ensembles


def starts(name: str, members: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    if name == "double-pendulum":
        q0 = random.uniform(-2, 2, (members, 2))
        return q0, np.zeros((members, 2))
    # From the circle, of eccentricities up to 0.6.
    speed = random.uniform(0.65, 1.26, members)
    zero = np.zeros(members)
    return np.stack([1 + zero, zero], 1), np.stack([zero, speed], 1)


def by_diffrax(flow: Any, q0: Any, v0: Any) -> Callable[[], Any]:
    """The positions at the end, and whether each member came there."""
    with jax.enable_x64(True):
        start = jnp.asarray(q0), jnp.asarray(v0)

        @jax.jit
        @jax.vmap
        def solve(q: Any, v: Any) -> Any:
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(flow.field),
                diffrax.Dopri8(),
                *(0.0, 10.0, None, (q, v)),
                stepsize_controller=diffrax.PIDController(rtol=TOL, atol=TOL),
                throw=False,
            )
            return found.ys[0][-1], found.result == diffrax.RESULTS.successful

    def run() -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, solve(*start))

    return run


def peak_rate() -> float:
    """What the device reaches in float64: long chains of x * a + b, flop/s."""
    length, lanes = 256, 2**14 if IS_CPU else 2**22

    @jax.jit
    def chain(x: Any, a: Any, b: Any) -> Any:
        for _ in range(length):
            x = x * a + b
        return x

    with jax.enable_x64(True):
        given = jnp.ones(lanes), jnp.float64(0.99), jnp.float64(0.01)
        seconds = timed(lambda: chain(*given).block_until_ready(), 9)
    return 2 * length * lanes / seconds


def flops_of_acceleration(flow: Any) -> float:
    """Operations of one evaluation, as XLA counts them; a sine is one."""
    lanes = 1024
    with jax.enable_x64(True):
        states = jnp.ones((lanes, 2))
        function = jax.jit(lambda q, v: flow.acceleration(q, v))
        found: Any = function.lower(states, states).compile().cost_analysis()
    return float(found["flops"]) / lanes


def ensembles(members: int, began: float) -> None:
    rate = peak_rate()
    say("\n## Ensembles\n\nt = 10, tolerance 1e-6, float64. Errors are medians.\n")
    head = "system | members | solver | members/s | of ours | error | failed"
    say(f"| {head} |\n|{' --- |' * 7}")
    shares = []
    for name in ("double-pendulum", "kepler"):
        flow = named(name)
        for size in sorted({min(10**k, members) for k in (4, 6)}):
            if time.perf_counter() - began > ENOUGH:
                say(f"| {name} | {size:,} | left out: {ENOUGH} s are over ||||")
                continue
            q0, v0 = starts(name, size)
            with here():
                exact = [
                    flow.integrate(q, v, (0, 10), tol=1e-14, points=2).q[-1]
                    for q, v in zip(q0[:CHECKED], v0[:CHECKED], strict=True)
                ]

            def missed(final: Any, exact: Any = exact) -> float:
                return float(np.median(np.abs(final[:CHECKED] - exact).max(axis=1)))

            with there():
                ours = lambda q=q0, v=v0, f=flow: f.ensemble(
                    q, v, (0, 10), tol=TOL, progress=False
                )
                theirs = by_diffrax(flow, q0, v0)
                path, (final, there_yet) = ours(), theirs()
                rows = {
                    "lagrangian": (
                        timed(ours),
                        missed(path.q[:, -1]),
                        len(path.failures),
                    ),
                    "diffrax Dopri8, vmap": (
                        timed(theirs),
                        missed(final),
                        np.count_nonzero(~there_yet),
                    ),
                }
                steps = float(path.steps.mean())
            reference = rows["lagrangian"][0]
            for solver, (seconds, error, failed) in rows.items():
                say(
                    f"| {name} | {size:,} | {solver} | {size / seconds:,.0f} | "
                    f"{reference / seconds:.3f} | {error:.0e} | {failed} |"
                )
        done = flops_of_acceleration(flow) * STAGES * steps * size / reference
        shares.append(
            f"{name}: {steps:.0f} steps a member, {done:.2g} flop/s in the "
            f"accelerations, {done / rate:.1%} of what chains of x * a + b reach here "
            f"({rate:.2g})"
        )
    say("\n" + ".\n".join(shares) + ".")


# ---------------------------------------------------------------------- learning


def training() -> bool:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(4096, 8, 8, 1)).astype(np.float32)
    data = images, generator.integers(0, 10, 4096)
    rule = lg.HeavyBall(0.05, 0.9, 5e-4)
    symmetries = [
        lg.Scale("conv1.kernel", unit_axis=-1),
        lg.Scale("conv2.kernel", unit_axis=-1),
        lg.Translation("dense.kernel", unit_axis=0),
        lg.Translation("dense.bias"),
    ]
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    # Convolutions in a loop as an accelerator has them take a CPU long.
    short, long, size = (10, 60, 64) if IS_CPU else (50, 10_050, 256)

    def run(observe: Any, steps: int) -> Any:
        return lg.train(
            ConvolutionalNetwork(nnx.Rngs(0)),
            *(cross_entropy, data, rule, steps),
            observe=observe,
            batch_size=size,
            progress=False,
        )

    say("\n## Training, the main job's network in float32\n")
    say("| laws observed | us a step |\n| --- | --- |")
    # Else a GPU multiplies float32 in TF32, to which the loss is no longer invariant.
    with there(), jax.default_matmul_precision("highest"):
        for observe in ([], laws):
            # `train` compiles in every call: the difference of two has none of that.
            spent = [timed(lambda o=observe, n=n: run(o, n), 1) for n in (long, short)]
            each = (spent[0] - spent[1]) / (long - short)
            say(f"| {len(observe)} | {1e6 * each:.0f} |")
        report = lg.check(run(laws, long), laws)
    holds = all(row.holds for row in report)
    say(f"\nThe {len(laws)} laws {'hold' if holds else '**do not hold**'}.")
    for row in report:
        if not row.holds:
            say(f"- {row.symmetry}: {row.verdict}: {row.reason}")
    return holds


def discovery() -> bool:
    model = Perceptron([256, 1024, 700, 64, 10], nnx.Rngs(0))
    generator = np.random.default_rng(0)
    batch = generator.normal(size=(64, 256)), generator.integers(0, 10, 64)
    began = time.perf_counter()
    with there():
        found = lg.discover(model, cross_entropy, batch)
    seconds = time.perf_counter() - began
    # A rescale for each hidden unit, and a shift of all logits by bias and kernel rows.
    expected = 1024 + 700 + 64 + 64 + 1
    say(
        f"\n## Discovery\n\n{found.parameters:,} parameters, {found.dimension:,} "
        f"generators ({expected:,} by hand): {seconds:.1f} s."
    )
    return found.dimension == expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=2_000 if IS_CPU else 1_000_000)
    members = parser.parse_args().members
    began = time.perf_counter()
    versions = ", ".join(f"{n} {version(n)}" for n in ("jax", "diffrax", "flax"))
    say(f"# On {DEVICE.device_kind}\n\n`python benchmarks/gpu.py`.")
    say(f"One of {jax.device_count()}; Python {platform.python_version()}, {versions}.")
    if IS_CPU:
        say("No accelerator here: a CPU runs the programs of one.")
    say("")
    good = are_right()
    ensembles(members, began)
    good &= training()
    good &= discovery()
    peak = (DEVICE.memory_stats() or {}).get("peak_bytes_in_use")
    if peak:
        say(f"\nThe device held {peak / 2**30:.1f} GiB at most.")
    say(f"\nAll of it took {time.perf_counter() - began:.0f} s.")
    if not IS_CPU:
        PAGE.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
