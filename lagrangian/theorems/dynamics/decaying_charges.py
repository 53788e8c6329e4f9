"""How charges decay in steps with weight decay, beside the rates of the flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from lagrangian.theorems.testbeds.classifier import problem

DECAY = 0.5


class Decays(NamedTuple):
    """Of one run: how far each step is from its exact law, and the rates in time.

    The rate of a scale is that of |q|^2 less what the gradient adds to it.
    """

    translation: float
    scale: float
    rates: tuple[float, float]


@cache
def _slope(loss: Callable[..., Any]) -> Callable[..., Any]:
    """One program for all learning rates."""
    return jax.jit(jax.grad(loss))


def decays(loss: Callable[..., Any], eta: float, steps: int, seed: int) -> Decays:
    """Gradient descent with weight decay on the small classifier."""
    w, batch = problem(seed)
    slope = _slope(loss)
    kept, off, first = 1 - eta * DECAY, [], w
    logarithm = 0.0
    for _ in range(steps):
        g = {name: np.asarray(a) for name, a in slope(w, batch).items()}
        after = {name: a - eta * (g[name] + DECAY * a) for name, a in w.items()}
        moved = (after["kernel"] ** 2).sum(axis=0)
        moved -= eta**2 * (g["kernel"] ** 2).sum(axis=0)
        ratio = moved / (w["kernel"] ** 2).sum(axis=0)
        off.append(np.abs(ratio / kept**2 - 1).max())
        logarithm += np.log(ratio).mean()
        w = after
    ratio = w["bias"].sum() / first["bias"].sum()
    time = eta * steps
    rates = -np.log(np.abs(ratio)) / time, -logarithm / time
    return Decays(abs(ratio / kept**steps - 1), max(off), rates)


def told(eta: float | np.ndarray, order: int) -> Any:
    """The rate of a translation's charge in the flow through eta^order."""
    return sum(eta**n * DECAY ** (n + 1) / (n + 1) for n in range(order + 1))


def at_rest(eta: float, decay: float, squared: float) -> float:
    """|q|^4 where gradient descent on a scale-invariant loss comes to rest.

    The loss grows with the angle, so that |grad f|^2 = squared/|q|^2 everywhere.
    """
    q = np.array([(eta * squared / (2 * decay)) ** 0.25, 0.0])
    for _ in range(round(10 / (eta * decay))):
        turned = np.array([-q[1], q[0]]) / (q @ q)
        q = q - eta * (np.sqrt(squared) * turned + decay * q)
    return float((q @ q) ** 2)


def equilibria(eta: float, decay: float, squared: float) -> Sequence[float]:
    """|q|^4 at rest: of the steps, to leading order, and of the flow through eta."""
    push, twice = eta * squared, 2 * decay
    shift = eta * decay**2
    return push / (twice - shift), push / twice, push / (twice + shift)
