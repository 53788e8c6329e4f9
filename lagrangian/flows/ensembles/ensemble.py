"""Ensembles: many initial states at once, on every core or device, resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from tqdm import tqdm

from lagrangian.errors import LagrangianError, nearest
from lagrangian.files import LOCK, one_writer
from lagrangian.flows.ensembles.broken import BROKEN, looked_at, mark_broken
from lagrangian.flows.ensembles.chunks import chunk_folder, save_chunk, saved_chunk
from lagrangian.flows.ensembles.memory import check_memory
from lagrangian.flows.ensembles.records import Record, read_records
from lagrangian.flows.ensembles.streamed import Streamed, bytes_of_chunk
from lagrangian.flows.guard import Guard
from lagrangian.flows.solvers.dopri8_lanes import (
    DONE,
    HELD,
    RUNNING,
    STUCK,
    TOO_MANY_STEPS,
    Bounds,
    Results,
    integrate_lanes,
)
from lagrangian.flows.solvers.lanes import (
    field_in_lanes,
    may_jump,
    noise_in_lanes,
    reach_in_lanes,
)
from lagrangian.flows.solvers.solver import Demands
from lagrangian.flows.solvers.threads import integrate_threads
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.by_rows import NotByRows
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.platform import (
    devices_of_float64,
    float64,
    lowered_for,
    on_cpu,
    platform,
)
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.shown import few
from lagrangian.version import __version__

#: Members side by side in one kernel on the CPU: enough to hide its overhead; and on an
#: accelerator, where so many threads fill a large one.
LANES, _ACCELERATOR_LANES = 64, 2**17
#: Members of a chunk, by platform, unless its outputs would need more than `_BYTES`.
#: More than the lanes of an accelerator, too: refilled, they wait for no slow member.
_CHUNK, _ACCELERATOR_CHUNK, _BYTES = 4096, 2**20, 2**27

#: Members that a figure shows at most.
_DRAWN = 20_000

_REASONS = {
    STUCK: "the step became too small, or the state was not finite",
    TOO_MANY_STEPS: "`max_steps` did not reach the end",
    HELD: "a force that jumps, as dry friction does, holds the motion",
    BROKEN: "the energy, or a charge, did not keep its balance",
}


class Ensemble(AtPrompt):
    """The members' states at the output times; what `ensemble` of a flow returns.

    Args:
        flow: whose motions they are.
        t: the times that were asked for, shape (times,).
        parts: the arrays below by name, in their shapes.

    Attributes:
        t: the times that were asked for, shape (times,).
        q, v: float64 of shape (members, times, coordinates), nan behind a failure; None
            where expressions were recorded instead.
        records: the recorded expressions, each of shape (members, times), or (members,)
            for a summary.
        status: 0 where a member reached the end, shape (members,).
        t_end: the time that each member reached, shape (members,).
        steps: how many steps were tried, for each member, shape (members,).

    Under `memory` all of these are read from the disk where they are looked at.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> import numpy as np
    >>> many = flow.ensemble({x: np.linspace(0, 1, 3)}, {x: 0.0}, (0.0, np.pi))
    >>> many[x][:, -1].round(9) + 0.0, many.failures
    (array([ 0. , -0.5, -1. ]), {})
    """

    def __init__(self, flow: Any, t: np.ndarray, parts: Mapping[str, np.ndarray]):
        self.flow, self.t = flow, t
        self.q, self.v = parts.get("q"), parts.get("v")
        self.status, self.t_end = parts["status"], parts["t"]
        self.steps = parts["steps"]
        prefix = "record "
        self.records = {
            name.removeprefix(prefix): values
            for name, values in parts.items()
            if name.startswith(prefix)
        }

    def __len__(self) -> int:
        return len(self.status)

    _next = "`many[x]`, `.failures`, `.records`, `.t_end`, `.plot()`"

    def __str__(self) -> str:
        names = few(c.name for c in self.flow.lagrangian.coordinates)
        failed = f"; {len(self.failures)} failed" if self.failures else ""
        return (
            f"Ensemble({names}; {len(self)} members, {len(self.t)} times in "
            f"[{self.t[0]:g}, {self.t[-1]:g}]{failed}; float64)"
        )

    def __getitem__(self, coordinate: Coordinate) -> np.ndarray:
        """One coordinate or velocity of every member.

        Args:
            coordinate: such as `x` or `x.dot`.

        Returns:
            float64 of shape (members, times), nan behind a failure.

        Raises:
            LagrangianError: expressions were recorded instead of states; or the flow
                has no such coordinate.
        """
        coordinates = self.flow.lagrangian.coordinates
        known = isinstance(coordinate, Coordinate) and coordinate.base in coordinates
        if not known or coordinate.order > 1:
            raise LagrangianError(
                "an ensemble has the coordinates of its system and their velocities, "
                f"and got `{coordinate}`. "
                + nearest(str(coordinate), (q.name for q in coordinates))
            )
        states = (self.q, self.v)[coordinate.order]
        if states is None:
            raise LagrangianError(
                "this ensemble kept its records instead of its states: "
                f"{', '.join(f'`{name}`' for name in self.records)}."
                ' Read `.records["name"]`, or leave out `record`.'
            )
        return states[..., coordinates.index(coordinate.base)]

    def plot(self) -> Any:
        """A Matplotlib figure of the members at the last time, in each phase plane.

        Of at most 20,000 members. Where expressions were recorded instead of states,
        how many members have which value of each, at the last time.
        """
        from lagrangian.plots import plot_clouds, plot_histograms

        if self.q is None:
            last = {
                n: np.asarray(r).reshape(len(r), -1) for n, r in self.records.items()
            }
            return plot_histograms({n: values[:, -1] for n, values in last.items()})
        some = slice(None, None, -(-len(self) // _DRAWN))
        clouds = {
            q: (self[q][some, -1], self[q.dot][some, -1])
            for q in self.flow.lagrangian.coordinates
        }
        return plot_clouds(clouds, self.t[-1])

    @property
    def failures(self) -> dict[int, str]:
        """For each member that did not reach the end, when and why it stopped."""
        return {
            int(i): f"at t = {self.t_end[i]:g}: {_REASONS[int(self.status[i])]}"
            for i in np.flatnonzero(self.status != DONE)
        }


def initial_states(
    coordinates: Sequence[Any], q0: Any, v0: Any
) -> tuple[np.ndarray, np.ndarray]:
    """What `ScalarFlow.ensemble` takes, as two arrays (members, coordinates)."""
    q, v = _states(coordinates, q0, "q0"), _states(coordinates, v0, "v0")
    if 1 in (len(q), len(v)):  # one for all
        q, v = np.broadcast_arrays(q, v)
    if q.shape != v.shape:
        raise LagrangianError(
            f"`q0` has {len(q)} members and `v0` has {len(v)}: pass as many."
        )
    return q, v


def _states(coordinates: Sequence[Any], states: Any, what: str) -> np.ndarray:
    if isinstance(states, Mapping):
        if missing := [c for c in coordinates if c not in states]:
            raise LagrangianError(
                f"`{what}` has no values for {', '.join(f'`{c}`' for c in missing)}"
                f". Pass `{{{missing[0]}: array, ...}}`."
            )
        columns = [np.atleast_1d(np.float64(states[c])) for c in coordinates]
        states = np.stack(np.broadcast_arrays(*columns), -1)
    array = np.asarray(states, np.float64)
    if array.ndim != 2 or array.shape[1] != len(coordinates) or not len(array):
        raise LagrangianError(
            f"`{what}` has shape {array.shape}; expected (members, "
            f"{len(coordinates)}), a row for each member."
        )
    return array


def run_ensemble(
    flow: Any,
    q0: np.ndarray,
    v0: np.ndarray,
    times: np.ndarray,
    *,
    demands: Demands,
    guard: Guard,
    record: Mapping[str, Any],
    devices: Any,
    save: str | os.PathLike[str] | None,
    memory: int | None,
    progress: bool,
) -> Ensemble:
    """See `ScalarFlow.ensemble`."""
    devices, records = _devices(devices), read_records(flow, record)
    members, n = q0.shape
    kept = sum(1 if r.summary else len(times) for r in records.values())
    each = len(times) * (2 * n + len(demands.rates)) * 8
    most = _BYTES
    if memory is None:
        check_memory(members, len(times), 2 * n, kept)
    else:
        _check_streamed(save)
        most = min(most, bytes_of_chunk(memory, _workers(devices), LANES * each))
    chunk = _chunk_size(devices, members, each, most)
    count = -(-members // chunk)
    folder = streamed = None
    if save is not None:
        asked = (demands.tol, demands.atol.tolist(), *demands[2:], guard.balances)
        settings = (asked, chunk, sorted(map(str, records.items())), memory is None)
        # The same bits come from the same program on the same kind of device only.
        program = (__version__, jax.__version__, _kind(devices))
        folder = chunk_folder(Path(save), flow, (q0, v0, times), (settings, program))
        streamed = Streamed(folder, members) if memory is not None else None
    work = _worker(flow, times, demands, guard, records, chunk, _kind(devices))

    def one(number: int, device: Any) -> dict[str, np.ndarray]:
        """The results of a chunk; of one that is streamed only its statuses."""
        rows = slice(number * chunk, min((number + 1) * chunk, members))
        states = q0[rows], v0[rows]
        if streamed:
            if not streamed.has(number, states, rows.start):
                streamed.save(number, states, rows.start, work(*states, device))
            return {"status": np.full(len(states[0]), DONE)}
        if folder and (saved := saved_chunk(folder, number, states)):
            return saved
        parts = work(*states, device)
        if folder:
            save_chunk(folder, number, states, parts)
        return parts

    # With fewer chunks than processes, each of these computes all of them.
    processes = jax.process_count() if count >= jax.process_count() else 1
    mine = range(jax.process_index() % processes, count, processes)
    with (
        ExitStack() as stack,
        tqdm(
            total=sum(min(chunk, members - number * chunk) for number in mine),
            unit="member",
            delay=2,
            disable=None if progress else True,
        ) as bar,
        ThreadPoolExecutor(_workers(devices)) as pool,
    ):
        if folder:
            # Another process that computes the same finds it done when it is its turn.
            lock = f"{LOCK}-{jax.process_index()}"
            stack.enter_context(one_writer(folder, "save", wait=True, name=lock))
        futures = [
            pool.submit(one, number, devices[i % len(devices)])
            for i, number in enumerate(mine)
        ]
        try:
            for future in as_completed(futures):
                bar.update(np.count_nonzero(future.result()["status"] != RUNNING))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if streamed:
        return Ensemble(flow, times, streamed.arrays(streamed.names()))
    parts = [future.result() for future in futures]
    return Ensemble(flow, times, _joined(parts, count, members, processes))


def _check_streamed(save: Any) -> None:
    if save is None:
        raise LagrangianError(
            "`memory` was given without `save`. Pass a folder there: what is not held "
            "in memory is kept in it."
        )
    if jax.process_count() > 1:
        raise LagrangianError(
            "`memory` is for one process, as several hand all results to each other. "
            "Leave it out."
        )


def _worker(
    flow: Any,
    times: np.ndarray,
    demands: Demands,
    guard: Guard,
    records: Mapping[str, Record],
    chunk: int,
    kind: str,
) -> Callable[..., dict[str, np.ndarray]]:
    """What integrates the members of one chunk on one device of a kind."""
    lanes = LANES if kind == "cpu" else min(chunk, _ACCELERATOR_LANES)
    settings = (chunk, lanes, demands.max_steps, demands.rates)
    rates = demands.rates
    bounds = Bounds(demands.tol, demands.atol[:, None], demands.max_step)

    def work(q0: np.ndarray, v0: np.ndarray, device: Any) -> dict[str, np.ndarray]:
        active, n = q0.shape
        # In a thread of its own, which knows of no context but these.
        with jax.default_device(device), lowered_for(kind), float64():
            y = np.zeros((2 * n + len(rates), chunk))
            y[:n, :active], y[n : 2 * n, :active] = q0.T, v0.T
            arguments = y, active, jnp.asarray(times), bounds
            results = run(_from_start, settings, flow, *arguments)
            y, suspects = looked_at(flow, guard, times, results, active, demands.tol)
            parts = {"status": results.status, "t": results.t, "steps": results.steps}
            parts = {name: np.array(x) for name, x in parts.items()}
            if len(suspects):
                y = [np.array(x) for x in y]
                mark_broken(flow, guard, times, y, parts, suspects, demands.tol)
            q, v, _ = y
            if not records:
                parts |= {"q": q, "v": v}
            for name, record in records.items():
                values = record.values(
                    flow, jnp.asarray(q), jnp.asarray(v), jnp.asarray(times)
                )
                parts[f"record {name}"] = values
            return {name: np.asarray(x) for name, x in parts.items()}

    return work


def _from_start(
    flow: Any,
    chunk: int,
    lanes: int,
    max_steps: int,
    rates: tuple[Any, ...],
) -> Callable[..., Results]:
    field, settle = field_in_lanes(flow, rates), flow.settle
    reach, jumps = reach_in_lanes(flow), may_jump(flow)

    @fused
    def in_lanes(*arguments: Any) -> Results:
        return integrate_lanes(
            *(field, *arguments),
            settle=settle,
            reach=reach,
            jumps=jumps,
            lanes=lanes,
            max_steps=max_steps,
            at_once=not on_cpu(),
        )

    def kernel(*arguments: Any) -> Results:
        if platform() not in ("cuda", "gpu") or settle is not None:
            return in_lanes(*arguments)
        try:
            return integrate_threads(
                *(field_in_lanes(flow, rates, levels=False), *arguments),
                reach=reach,
                jumps=jumps,
                max_steps=max_steps,
                interpret=jax.default_backend() == "cpu",
            )
        except NotByRows:
            return in_lanes(*arguments)

    def from_start(y: Any, active: Any, times: Any, bounds: Any) -> Results:
        t = jnp.full(chunk, times[0])
        noise = noise_in_lanes(flow, rates, y, t)
        return kernel(y, field(y, t), noise, active, times, bounds)

    return from_start


def _joined(
    mine: list[dict[str, np.ndarray]], count: int, members: int, processes: int
) -> dict[str, np.ndarray]:
    """All members in order from this process's chunks and those of the others.

    Chunk i of the `count` belongs to process i mod P, as its number i div P.
    """
    if count == processes == 1:
        alone = {name: x[:members] for name, x in mine[0].items()}
        return {name: np.require(x, requirements="CW") for name, x in alone.items()}
    slots = -(-count // processes)
    parts = {}
    for name, first in mine[0].items():
        own = np.zeros((slots, *first.shape), first.dtype)
        for slot, chunk in enumerate(mine):
            own[slot] = chunk[name]
        if processes > 1:
            with float64():
                everyone = np.asarray(process_allgather(own))
        else:
            everyone = own[None]
        in_order = np.swapaxes(everyone, 0, 1).reshape(-1, *first.shape[1:])
        parts[name] = in_order[:members]
    return parts


def _devices(given: Any) -> Sequence[Any]:
    """The devices of this process: those given, or of a mesh, or all there are."""
    if given is None:
        return devices_of_float64()
    devices = getattr(given, "devices", given)
    devices = [d for d in np.ravel(np.asarray(devices, object))]
    if not all(isinstance(device, jax.Device) for device in devices):
        raise LagrangianError(
            f"`devices` is {given!r}. Pass devices, such as `jax.devices()`, or a "
            "`jax.sharding.Mesh` of them."
        )
    if any(device.platform == "tpu" for device in devices):
        raise LagrangianError(
            "`devices` has TPUs, which have no float64. Leave it out, or pass "
            '`jax.local_devices(backend="cpu")`.'
        )
    mine = [d for d in devices if d.process_index == jax.process_index()]
    if not mine:
        raise LagrangianError(
            f"`devices` has none of this process's: {devices}. Pass some of "
            "`jax.local_devices()`, or a mesh over `jax.devices()`."
        )
    return mine


def _kind(devices: Sequence[Any]) -> str:
    """The platform that the members' programs are made for."""
    return lowered_for.value or devices[0].platform


def _workers(devices: Sequence[Any]) -> int:
    """A thread a device; on a lone CPU device, one a core."""
    if len(devices) > 1 or _kind(devices) != "cpu":
        return len(devices)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _chunk_size(
    devices: Sequence[Any], members: int, bytes_each: int, bytes_most: int
) -> int:
    most = _CHUNK if _kind(devices) == "cpu" else _ACCELERATOR_CHUNK
    fits = max(bytes_most // bytes_each, LANES)
    size = 1 << (min(most, fits).bit_length() - 1)
    # A small ensemble is still shared among the cores.
    share = -(-members // (_workers(devices) * jax.process_count()))
    return max(LANES, min(size, 1 << (share - 1).bit_length()))
