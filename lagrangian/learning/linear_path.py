"""The loss on the straight line between two models, and the barrier on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import Parts, in_double, split_in_double, traced_loss
from lagrangian.lowering.platform import float64
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.prompt import AtPrompt


@dataclass(frozen=True, repr=False)
class LinearPath(AtPrompt):
    """The loss on the line from one model to another.

    Attributes:
        t: of shape (points,), from 0 at the first model to 1 at the second.
        losses: of shape (points,), float64.

    >>> path = LinearPath(np.array([0.0, 0.5, 1.0]), np.array([0.0, 2.0, 1.0]))
    >>> path.excess, path.barrier
    (array([0. , 1.5, 0. ]), 1.5)
    """

    t: np.ndarray
    losses: np.ndarray

    _next = "`.barrier`, `.excess`, `.losses`, `.plot()`"

    def __str__(self) -> str:
        return f"LinearPath({len(self.t)} points; barrier {self.barrier:.3g})"

    @property
    def excess(self) -> np.ndarray:
        """The loss less the line (1 - t) L(0) + t L(1), of shape (points,)."""
        return self.losses - (1 - self.t) * self.losses[0] - self.t * self.losses[-1]

    @property
    def barrier(self) -> float:
        """The largest excess; 0 where the loss is nowhere above the line."""
        return float(self.excess.max())

    def plot(self) -> Any:
        """A Matplotlib figure of the loss along the line."""
        from lagrangian.plots import plot_line

        return plot_line(self.t, self.losses, self.barrier)


def linear_path(
    first: PyTree,
    second: PyTree,
    loss: Callable[[Any, Any], Any],
    batch: PyTree,
    *,
    points: int = 51,
) -> LinearPath:
    """The loss at (1 - t) first + t second, whose barrier tells if they are connected.

    The barrier is that of Entezari, Sedghi, Saukh & Neyshabur, "The Role of Permutation
    Invariance in Linear Mode Connectivity of Neural Networks" (2022): above the line
    between the losses at the ends, where Frankle, Dziugaite, Roy & Carbin, "Linear Mode
    Connectivity and the Lottery Ticket Hypothesis" (2020), take their mean. It is
    between the two models as they are: permuted or rescaled units are another line.

    Args:
        first, second: Flax NNX modules, or pytrees of arrays such as Linen's
            `variables["params"]`, alike but for their numbers. They are not changed;
            everything is in float64. What else a module holds in floating point, such
            as running means, goes along the line, too.
        loss: `loss(model, batch)`, a scalar. Any other scalar does, such as the loss
            where an input was changed.
        batch: what `loss` gets, in any pytree.
        points: how many, evenly spaced, both ends among them.

    Returns:
        A `LinearPath`.

    Raises:
        LagrangianError: models that are not alike, a loss that is no scalar, or fewer
            than two points.

    Example:
        >>> import numpy as np
        >>> import lagrangian as lg
        >>> loss = lambda p, x: ((p["v"] * p["w"] * x - x) ** 2).mean()
        >>> one = {"v": np.array(1.0), "w": np.array(1.0)}
        >>> same = {"v": np.array(4.0), "w": np.array(0.25)}
        >>> path = lg.linear_path(one, same, loss, np.ones(3), points=3)
        >>> path.losses, path.barrier
        (array([0.        , 0.31640625, 0.        ]), 0.31640625)
    """
    if points < 2:
        raise LagrangianError(f"`points` is {points}; pass 2 or more, for both ends.")
    with float64():
        begin, end = split_in_double(first), split_in_double(second)
        _check_alike(begin, end)
        bound = begin.bind(loss)

        def at(t: Any, ends: Any, batch: Any) -> Any:
            state = jax.tree.map(lambda x, y: _mixed(t, x, y), *ends)
            return bound(*state, batch)[0]

        ends = [(parts.parameters, parts.rest) for parts in (begin, end)]
        t = np.linspace(0, 1, points)
        with traced_loss():
            along = jax.jit(lambda t, *more: jax.lax.map(lambda s: at(s, *more), t))
            losses = along(jnp.asarray(t), ends, jax.tree.map(in_double, batch))
    if losses.shape != t.shape:
        raise LagrangianError(
            f"`loss` returns an array of shape {losses.shape[1:]}; pass one that "
            "returns a scalar, such as its mean."
        )
    return LinearPath(t, np.asarray(losses, float))


def _mixed(t: Any, first: Any, second: Any) -> Any:
    """Between two arrays; the first where they are no real numbers, such as keys."""
    if not hasattr(first, "dtype") or not jnp.issubdtype(first.dtype, jnp.floating):
        return first
    return (1 - t) * first + t * second


def _check_alike(first: Parts, second: Parts) -> None:
    one, other = (
        {
            path: np.shape(leaf)
            for path, leaf in named_leaves((parts.parameters, parts.rest)).items()
        }
        for parts in (first, second)
    )
    if one == other:
        return
    path = min(path for path in one | other if one.get(path) != other.get(path))
    shapes = [
        f"of shape {shapes[path]}" if path in shapes else "missing"
        for shapes in (one, other)
    ]
    name = path.partition(".")[2] or path
    raise LagrangianError(
        f"`first` and `second` are not alike: `{name}` is {shapes[0]} in one and "
        f"{shapes[1]} in the other. There is a line between two models of the same "
        "arrays only. Pass two of one architecture."
    )
