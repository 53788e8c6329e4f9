"""Members in the threads of an accelerator: one kernel, without any array.

Each thread integrates one member after the other, whose numbers are in its registers
from the first step to the last. Threads of a group take their steps together; one whose
member is done takes the next of its own list at once, so that a group waits for the
largest sum of many members' steps, and these are alike.

The stages of a step are a loop, with the equations once in the program: unrolled, they
would not fit into the memory that instructions are read from.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.arguments import is_traced
from lagrangian.flows.solvers.dopri8_lanes import (
    ERROR,
    NODES,
    RUNNING,
    STAGES,
    WEIGHTS,
    Bounds,
    Field,
    Lanes,
    Results,
    Stages,
    advanced,
    proposed,
    started,
)
from lagrangian.lowering.kernels.by_rows import (
    LANES,
    ByRows,
    NotByRows,
    array_of,
    number,
    rows,
)

#: Threads that take their steps together, and how many there are at most: what a large
#: accelerator holds at once.
GROUP, THREADS = 32, 2**15


def integrate_threads(
    field: Field,
    y0: Any,
    slope0: Any,
    noise: Any,
    active: Any,
    times: Any,
    bounds: Bounds,
    reach: Callable[[Any, Any, Any], Any] | None,
    jumps: bool,
    max_steps: int,
    interpret: bool,
) -> Results:
    """What `integrate_lanes` does, for systems without constraints.

    Args:
        interpret: whether Pallas does by XLA, one group after the other, what a kernel
            would do, on a machine without an accelerator.

    Raises:
        NotByRows: the equations cannot be taken apart, or JAX has no Triton.
    """
    pl, triton = _pallas()
    size, members = y0.shape
    count, n, bounds = len(times), len(noise), bounds.within(times)
    threads = min(max(GROUP, 1 << (members - 1).bit_length()), THREADS)

    def real(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.float64)

    lane, y, rough = real(LANES), real(size, LANES), real(n, LANES)
    member = jax.ShapeDtypeStruct((LANES,), jnp.int32)
    limits = Bounds(real(), real(n, 1), real())
    given = y, y, rough, member, real(), limits
    state = jax.eval_shape(started, *given)
    proposal = jax.eval_shape(lambda *a: proposed(*a, reach=reach), state, lane, limits)
    parts = {
        "field": ByRows(field, y, lane),
        "started": ByRows(started, *given),
        "proposed": ByRows(lambda *a: proposed(*a, reach=reach), state, lane, limits),
        "advanced": ByRows(
            lambda state, proposal, found, target, bounds: advanced(
                *(state, proposal, found, target, count, bounds, None),
                *(jumps, max_steps),
            ),
            *(state, proposal, Stages(y, y, y), lane, limits),
        ),
    }
    # What these know from outside: numbers, and data that the kernel reads.
    data: list[Any] = []
    known = {name: list(_known(part.consts, data)) for name, part in parts.items()}
    shapes = [leaf.shape[:-1] for leaf in state]

    def kernel(*refs: Any) -> None:
        y0, slope0, noise, last, times, tol, floor, longest, *rest = refs
        weights, nodes, error, *rest = rest
        data, (_, _, _, _, out_y, out_status, out_t, out_steps) = rest[:-8], rest[-8:]
        bounds = Bounds(
            number(tol[0]),
            array_of((n, 1), [floor[i] for i in range(n)]),
            number(longest[0]),
        )
        last, start = last[0], times[0]
        read = {name: [_read(x, data) for x in given] for name, given in known.items()}

        def call(name: str, *arguments: Any) -> Any:
            return parts[name](read[name], *arguments)

        def loaded(member: Any) -> tuple[Any, ...]:
            held = jnp.minimum(member, last - 1)

            def column(ref: Any) -> np.ndarray:
                size = ref.shape[0]
                return array_of(
                    (size,), [triton.load(ref.at[i, held]) for i in range(size)]
                )

            columns = column(y0), column(slope0), column(noise)
            return _numbers(
                call("started", *columns, number(member), number(start), bounds)
            )

        def stages(state: Lanes, h: Any) -> Stages:
            """Of every stage to come, the sum over the slopes that are known.

            The next stage's is always the first of them, so that no place in them has
            to be computed.
            """

            def stage(i: Any, carry: Any) -> Any:
                sums, missed, _, _ = carry
                change = sums[0]
                at = array_of((size,), _added(state.y, h, change))
                slope = tuple(call("field", at, number(state.t[()] + nodes[i] * h)))
                later = [*sums[1:], tuple(jnp.zeros_like(x) for x in slope)]
                sums = [
                    _added(kept, weights[k, i], slope) for k, kept in enumerate(later)
                ]
                return sums, _added(missed, error[i], slope), change, slope

            first = tuple(state.slope)
            none = tuple(jnp.zeros_like(x) for x in first)
            sums = [_added(none, weights[k, 0], first) for k in range(STAGES)]
            carry = sums, _added(none, error[0], first), none, none
            _, missed, change, slope = jax.lax.fori_loop(1, STAGES + 1, stage, carry)
            return Stages(*(array_of((size,), x) for x in (change, slope, missed)))

        def unfinished(numbers: Any) -> Any:
            return _any(_packed(numbers, shapes).member[()] < last)

        def body(numbers: Any) -> Any:
            state = _packed(numbers, shapes)
            row, member = state.written[()], state.member[()]
            row = jnp.minimum(row, count - 1)
            target = number(triton.load(times.at[row]))
            proposal = call("proposed", state, target, bounds)
            found = stages(state, proposal.h[()])
            state, stored, ended, status = call(
                "advanced", *(state, proposal, found, target, bounds)
            )
            valid = member < last
            stored, ended = stored[()] & valid, ended[()] & valid

            def store(numbers: Any) -> Any:
                for i in range(size):
                    triton.store(out_y.at[row, i, member], state.y[i], mask=stored)
                for ref, value in (
                    (out_status, status[()].astype(jnp.int32)),
                    (out_t, state.t[()]),
                    (out_steps, state.steps[()]),
                ):
                    triton.store(ref.at[member], value, mask=ended)
                fresh = loaded(jnp.minimum(member + threads, last))
                return tuple(
                    jnp.where(ended, a, b) for a, b in zip(fresh, numbers, strict=True)
                )

            numbers = _numbers(state)
            return jax.lax.cond(_any(stored | ended), store, lambda x: x, numbers)

        thread = pl.program_id(0) * GROUP + jnp.arange(GROUP, dtype=jnp.int32)
        jax.lax.while_loop(unfinished, body, loaded(jnp.minimum(thread, last)))

    blank = (
        jnp.full((count, size, members), jnp.nan).at[0].set(y0),
        jnp.full(members, RUNNING, jnp.int32),
        jnp.full(members, times[0]),
        jnp.zeros(members, jnp.int32),
    )
    # As many sums as there are stages to come: weights[k, i] is the weight of the slope
    # of stage i in the stage that is k behind the next one.
    weights = np.zeros((STAGES, STAGES + 1))
    for k, i in itertools.product(range(STAGES), range(STAGES + 1)):
        if i + 1 + k <= STAGES:
            weights[k, i] = WEIGHTS[i + 1 + k, i]
    inputs = (
        *(y0, slope0, noise, jnp.reshape(active, 1).astype(jnp.int32), times),
        jnp.reshape(jnp.float64(bounds.tol), 1),
        jnp.reshape(jnp.broadcast_to(jnp.float64(bounds.floor), (n, 1)), n),
        jnp.reshape(jnp.float64(bounds.longest), 1),
        *(jnp.asarray(x) for x in (weights, NODES, ERROR)),
        *data,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The Pallas Triton", DeprecationWarning)
        y, status, t, steps = pl.pallas_call(
            kernel,
            grid=(threads // GROUP,),
            in_specs=[pl.no_block_spec] * (len(inputs) + len(blank)),
            out_specs=[pl.no_block_spec] * len(blank),
            out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in blank],
            input_output_aliases={len(inputs) + i: i for i in range(len(blank))},
            compiler_params=triton.CompilerParams(num_warps=GROUP // 32, num_stages=1),
            interpret=interpret,
            name="members",
        )(*inputs, *blank)
    return Results(y, status.astype(int), t, steps.astype(int))


def _pallas() -> Any:
    """Pallas and its form for Triton, which take a while to import."""
    try:
        from jax.experimental import pallas
        from jax.experimental.pallas import triton
    except ImportError as error:
        raise NotByRows(str(error)) from error
    return pallas, triton


def _known(consts: Sequence[Any], data: list[Any]) -> Iterator[Any]:
    """Of each constant its numbers, or its place in `data` and its shape."""
    for const in consts:
        if is_traced(const):
            # Of a weak type, Pallas would take the float32 form of a function.
            data.append(jnp.reshape(jnp.asarray(const, const.dtype), -1))
            yield len(data) - 1, np.shape(const)
        else:
            yield rows(const)


def _read(known: Any, data: Sequence[Any]) -> np.ndarray:
    if isinstance(known, np.ndarray):
        return known
    place, shape = known
    return array_of(shape, [data[place][i] for i in range(math.prod(shape))])


def _numbers(state: Lanes) -> tuple[Any, ...]:
    return tuple(x for leaf in state for x in leaf.flat)


def _packed(numbers: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> Lanes:
    left = iter(numbers)
    return Lanes(
        *(array_of(s, list(itertools.islice(left, math.prod(s)))) for s in shapes)
    )


def _added(sums: Sequence[Any], weight: Any, slope: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(a + weight * b for a, b in zip(sums, slope, strict=True))


def _any(condition: Any) -> Any:
    """`jnp.any`, which has no form in such a kernel."""
    return jnp.max(condition.astype(jnp.int32)) > 0
