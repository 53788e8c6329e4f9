"""Ensembles on an accelerator against diffrax's vmapped solver, on the same device.

    python benchmarks/gpu.py [--members 1000000]

Prints, for the double pendulum over t = 10, the trajectories a second of both and their
errors against the Taylor solver on the CPU, and which share of the card's float64 rate
the arithmetic of ours is, as XLA counts it for one evaluation of the accelerations. On
a machine without an accelerator it runs on the CPU with fewer members.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian as lg
from lagrangian.systems.pendulums import double_pendulum

#: Peak float64 rates without tensor cores, by a part of the device's name, in flop/s
#: (NVIDIA's data sheets, SXM).
PEAKS = {"H100": 34e12, "H200": 34e12, "A100": 9.7e12}
STAGES, CHECKED = 13, 64


def timed(run: Any, rounds: int = 3) -> float:
    run()
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent))


def flops_of_acceleration(flow: Any) -> float:
    with jax.enable_x64(True):
        lanes = jnp.ones((2, 1024))
        function = jax.jit(lambda q, v: flow.lanes_acceleration(q, v, jnp.zeros(1024)))
        cost = function.lower(lanes, lanes).compile().cost_analysis()
    return float(cost["flops"]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    parser.add_argument("--members", type=int, default=2_000 if on_cpu else 1_000_000)
    members = parser.parse_args().members
    system = double_pendulum()
    flow = lg.lower(system.lagrangian, system.parameters)
    q0 = np.random.default_rng(0).uniform(-2, 2, (members, 2))

    many = flow.ensemble(q0, 0 * q0, (0, 10), tol=1e-6)
    with jax.default_device(jax.devices("cpu")[0]):
        exact = [
            flow.integrate(q, [0, 0], (0, 10), tol=1e-14, points=2).q[-1]
            for q in q0[:CHECKED]
        ]
    error = np.median(np.abs(many.q[:CHECKED, -1] - exact).max(axis=1))
    ours = timed(lambda: flow.ensemble(q0, 0 * q0, (0, 10), tol=1e-6, progress=False))

    with jax.enable_x64(True):

        @jax.jit
        def solve(q: Any) -> Any:
            def one(q: Any) -> Any:
                return diffrax.diffeqsolve(
                    diffrax.ODETerm(flow.field),
                    diffrax.Dopri8(),
                    *(0.0, 10.0, None, (q, jnp.zeros(2))),
                    stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
                    max_steps=100_000,
                ).ys[0][-1]

            return jax.vmap(one)(q)

        theirs = timed(lambda: np.asarray(solve(jnp.asarray(q0))))
        final = np.asarray(solve(jnp.asarray(q0)))[:CHECKED]
        missed = np.median(np.abs(final - exact).max(axis=1))

    rate, peer = members / ours, members / theirs
    flops = flops_of_acceleration(flow) * STAGES * float(many.steps.mean()) * rate
    peak = next((p for name, p in PEAKS.items() if name in device.device_kind), None)
    share = f"{flops / peak:.1%} of {peak:.3g}" if peak else "no peak rate known"
    print(f"device: {device.device_kind}; jax {jax.__version__}")
    print("| solver | members | trajectories/s | median error |")
    print("| --- | --- | --- | --- |")
    print(f"| lagrangian ensemble | {members:,} | {rate:,.0f} | {error:.0e} |")
    print(f"| diffrax Dopri8, vmap | {members:,} | {peer:,.0f} | {missed:.0e} |")
    print(f"\nratio {rate / peer:.1f}; {flops:.3g} flop/s in the forces ({share})")


if __name__ == "__main__":
    main()
