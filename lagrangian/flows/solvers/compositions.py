"""Steps of a fixed size: compositions that raise their order, and the loop of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.elapsed import elapsed
from lagrangian.errors import LagrangianError
from lagrangian.flows.solvers.solver import NOT_FINITE, OUT_OF_STEPS, Solution, reached
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused


def _palindrome(*half: float) -> tuple[float, ...]:
    """The weights of a composition from its first half; the middle one makes 1."""
    return *half, 1 - 2 * sum(half), *reversed(half)


#: The weights of palindromic compositions, as shares of a step. A self-adjoint step of
#: order 2, taken with each share in turn, becomes one of the order in the name.
#: Yoshida, "Construction of higher order symplectic integrators" (1990): the triple
#: jump, and solution A of his order 6.
YOSHIDA_4 = _palindrome(1 / (2 - 2 ** (1 / 3)))
YOSHIDA_6 = _palindrome(
    0.78451361047755726382, 0.23557321335935813368, -1.17767998417887100695
)
#: Suzuki, "Fractal decomposition of exponential operators" (1990).
SUZUKI_4 = _palindrome(1 / (4 - 4 ** (1 / 3)), 1 / (4 - 4 ** (1 / 3)))
#: Kahan and Li, "Composition constants for raising the orders of unconventional schemes
#: for ordinary differential equations" (1997): 9 and 17 stages.
KAHAN_LI_6 = _palindrome(
    0.39216144400731413928,
    0.33259913678935943860,
    -0.70624617255763935981,
    0.08221359629355080023,
)
KAHAN_LI_8 = _palindrome(
    0.13020248308889008088,
    0.56116298177510838456,
    -0.38947496264484728641,
    0.15884190655515560090,
    -0.39590389413323757734,
    0.18453964097831570709,
    0.25837438768632204729,
    0.29501172360931029887,
)

#: The most accurate of these for each order, at equal work.
WEIGHTS: dict[int, tuple[float, ...]] = {
    2: (1.0,),
    4: SUZUKI_4,
    6: KAHAN_LI_6,
    8: KAHAN_LI_8,
}


class Method(NamedTuple):
    """A method with steps of one size, as functions of arrays.

    Attributes:
        start: (q, v, t) to the method's own state.
        advance: (state, t, h, count) to the state after `count` steps h from time t.
        finish: (state, t) to (q, v).
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Any]


def repeated(step: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """`advance` of a method whose single step is step(state, t, h)."""

    def advance(state: Any, t: Any, h: Any, count: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda k, x: step(x, t + k * h, h), state)

    return advance


def check_step(solver: str, step: float, order: int, orders: Any) -> None:
    """Raise unless `step` is positive and finite, and `order` one of `orders`."""
    if not (np.isfinite(step) and step > 0):
        raise LagrangianError(
            f"`step` is {step!r}; write a positive time, such as `{solver}(0.01)`."
        )
    if order not in orders:
        listed = ", ".join(map(str, orders))
        raise LagrangianError(
            f"`order` is {order!r}; `{solver}` has {listed}; write one of these."
        )


def check_scalar(solver: str, flow: Any) -> None:
    """Raise unless the flow is that of a Lagrangian in scalar coordinates."""
    lagrangian = getattr(flow, "lagrangian", None)
    if lagrangian is None or lagrangian.has_blocks:
        raise LagrangianError(
            f"`{solver}` is for Lagrangians in scalar coordinates, and got {flow}. "
            "Use a solver of diffrax, such as `diffrax.Dopri8()`."
        )


def solve_in_steps(
    flow: Any,
    make: Callable[..., Method],
    settings: tuple[Any, ...],
    q: Any,
    v: Any,
    times: np.ndarray,
    step: float,
    max_steps: int,
) -> Solution:
    """The path at `times`, each interval between them divided into equal steps.

    Their number is the least with which they are no longer than `step`. The path ends
    before the interval that `max_steps` does not reach the end of, or in which the
    state stops being finite; a method says by nan that it found no next state.

    Args:
        make: `make(flow, *settings)` is the `Method`; a function of a module.
        settings: hashable.
    """
    # An interval of three steps is not one of four for a rounding error.
    counts = np.maximum(np.ceil(np.diff(times) / step * (1 - 1e-9)), 1).astype(np.int64)
    counts = counts[np.cumsum(counts) <= max_steps]
    allowed = times[: len(counts) + 1]
    if not len(counts):
        return reached(allowed, q[None], v[None], None, 0, OUT_OF_STEPS)
    with elapsed(f"integrating to t = {times[-1]:g}"):
        qs, vs, done = run(_steps, (make, settings), flow, q, v, allowed, counts)
        done = int(done)
    stopped = NOT_FINITE if done < len(counts) else ""
    if not stopped and len(allowed) < len(times):
        stopped = OUT_OF_STEPS
    return reached(allowed, qs, vs, None, int(counts[:done].sum()), stopped)


def _steps(flow: Any, make: Callable[..., Method], settings: Any) -> Any:
    method = make(flow, *settings)
    return fused(lambda *arguments: _path(method, *arguments))


def _path(method: Method, q: Any, v: Any, times: Any, counts: Any) -> Any:
    """The states at `times`, nan behind a failure, and how many intervals were done."""
    missing = jnp.full((len(times), len(q)), jnp.nan)
    outputs = missing.at[0].set(q), missing.at[0].set(v)

    def unfinished(carry: Any) -> Any:
        i, _, _, healthy = carry
        return (i < len(counts)) & healthy

    def interval(carry: Any) -> Any:
        i, state, (qs, vs), _ = carry
        h = (times[i + 1] - times[i]) / counts[i]
        state = method.advance(state, times[i], h, counts[i])
        q, v = method.finish(state, times[i + 1])
        healthy = jnp.isfinite(q + v).all()
        return i + 1, state, (qs.at[i + 1].set(q), vs.at[i + 1].set(v)), healthy

    state = method.start(q, v, times[0])
    done, _, outputs, _ = jax.lax.while_loop(
        unfinished, interval, (0, state, outputs, jnp.asarray(True))
    )
    return *outputs, done
