"""The parameters of a network along a flow, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import PyTree

from lagrangian.errors import UnknownBlock, nearest
from lagrangian.flows.path import Path
from lagrangian.flows.series import series
from lagrangian.flows.to_xarray import Labelled
from lagrangian.learning.model import split
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.platform import float64
from lagrangian.lowering.pytrees import pick
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.laws.noether import Law


def named(order: int | Literal["second"]) -> str:
    """The order of a flow as it is printed."""
    return str(order) if order == "second" else f"order {order}"


@dataclass(repr=False, eq=False)
class NetworkPath(Path):
    """The parameters of a model along a flow, in float64; made by `lg.NetworkFlow`.

    Attributes:
        flow: the `NetworkFlow`.
        t: times, shape (times,).
        q, v: parameters and velocities: for each dotted path an array whose first axis
            are the times.
        steps: how many steps the solver took.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.eye(4, 3)
    >>> def loss(model, batch):
    ...     return ((batch @ model["w"] - 1) ** 2).mean()
    >>> model = {"w": np.zeros(3)}
    >>> flow = lg.network_flow(model, loss, data, lg.HeavyBall(0.1), order=0)
    >>> path = flow.integrate(t=(0, 0.5), points=3)
    >>> path["w"].shape, bool(path.losses[-1] < path.losses[0])
    ((3, 3), True)
    """

    flow: Any
    t: np.ndarray
    q: dict[str, np.ndarray]
    v: dict[str, np.ndarray]
    steps: int

    _next = "`.losses`, `.model(-1)`, `.distance(model)`, `.plot()`, `.save(file)`"

    def __str__(self) -> str:
        span = f" in [{self.t[0]:g}, {self.t[-1]:g}]" if len(self.t) else ""
        order, count = named(self.flow.order), len(self.t)
        return f"NetworkPath({order}; {count} times{span}; {self.steps} steps; float64)"

    def __getitem__(self, symbol: Block | str) -> np.ndarray:
        """A parameter, or the velocity of a block.

        Args:
            symbol: a dotted path, a block of that name, or the `dot` of one.

        Returns:
            float64 of shape (times, ...).

        Raises:
            UnknownBlock: the model has no such parameter.
        """
        known = list(self.q)
        if isinstance(symbol, Block) and symbol.order == 1:
            return pick(self.v, [symbol.base.name], "the model")[symbol.base.name]
        name = symbol.name if isinstance(symbol, Block) else symbol
        if name not in self.q:
            raise UnknownBlock(
                f"the model has no parameter `{name}`. {nearest(str(name), known)}"
            )
        return series(self.q[name])

    def labelled(self) -> dict[str, Labelled]:
        """Parameters, their velocities and the loss."""
        found: dict[str, Labelled] = {}
        for state, mark in ((self.q, ""), (self.v, ".dot")):
            for path, array in state.items():
                axes = tuple(f"{path}_{i}" for i in range(array.ndim - 1))
                found[path + mark] = axes, array
        return found | {"loss": ((), self.losses)}

    def described(self) -> dict[str, Any]:
        """The rule, and which of its flows this is."""
        return {"rule": str(self.flow.rule), "order": self.flow.order}

    def plot(self) -> Any:
        """A Matplotlib figure of the loss along the path."""
        from lagrangian.plots import plot_losses

        return plot_losses(self.t, self.losses)

    def until(self, index: int) -> NetworkPath:
        """The path before one of its output times."""
        cut = lambda state: {path: array[:index] for path, array in state.items()}
        steps = self.steps
        return NetworkPath(self.flow, self.t[:index], cut(self.q), cut(self.v), steps)

    def model(self, index: int = -1) -> Any:
        """The model with the parameters at one output time, by default the last.

        A copy in float64: use it inside `jax.enable_x64(True)`.

        Args:
            index: of the output time.

        Returns:
            A Flax module, or a pytree, as the flow was given.
        """
        network = self.flow._network
        with float64():
            arrays = {path: array[index] for path, array in self.q.items()}
            return network.model(network.join(arrays, "the path"))

    def distance(self, model: PyTree, index: int = -1) -> float:
        """How far the parameters at one output time are from those of `model`.

        The Euclidean distance over all parameters. Of a run that ended there,
        `path.distance(run.model)` is the error of the flow; `path.evaluate` of a law's
        `oscillator.quantity` against `run[law].quantity` is that of its charge.

        Args:
            model: of the flow's kind: a Flax module, or a pytree of its parameters.
            index: of the output time.

        Returns:
            A number.

        Raises:
            LagrangianError: a model without floating-point parameters.
            UnknownBlock: one without an array of some parameter.
        """
        network = self.flow._network
        with float64():
            there = network.join(split(model).parameters, "`model`")
            here = network.join({p: a[index] for p, a in self.q.items()}, "the path")
            return float(jnp.linalg.norm(here - there))

    @cached_property
    def losses(self) -> np.ndarray:
        """The loss, without weight decay, at each time; shape (times,)."""
        network = self.flow._network
        with float64():
            # One time after another: together, the states may be large.
            at = lambda q: network.loss(network.join(q, "the path"))
            return series(np.asarray(jax.lax.map(at, self.q)))

    def evaluate(
        self, expression: sp.Expr, maps: Mapping[Any, Any] | None = None
    ) -> np.ndarray:
        """A SymPy expression along the path, times first.

        Args:
            expression: in blocks that are named by paths of parameters, their
                velocities, `lg.time`, and the symbols of `rule.parameters()`.
            maps: a value for every linear map and constant block, as for `train`.

        Returns:
            float64 of shape (times,), or (times, ...) of an expression of blocks.

        Raises:
            UnknownBlock: a block that the model does not have.
            CannotLower: a symbol without a value, or an opaque loss.
        """
        parameters = {**self.flow.rule.parameters(), **(maps or {})}
        blocks = {block.base for block in expression.atoms(Block)}
        pick(self.q, [block.name for block in blocks], "the model")
        jets = [jet for block in blocks for jet in (block, block.dot)]
        check_lowerable({"expression": expression}, [time, *parameters, *jets])

        def at(state: Any) -> Any:
            q, v, t = state
            values = {time: t, **parameters}
            for block in blocks:
                values |= {block: q[block.name], block.dot: v[block.name]}
            return jnp.asarray(evaluate([expression], values)[0])

        with float64():
            return series(np.asarray(jax.lax.map(at, (self.q, self.v, self.t))))

    def charge(self, law: Law, maps: Mapping[Any, Any] | None = None) -> np.ndarray:
        """The charge of a law at each time; shape (times,) or (times, units).

        Args:
            law: of blocks that are named by paths of parameters.
            maps: as for `evaluate`.

        Returns:
            float64 of shape (times,) or (times, units).

        Raises:
            UnknownBlock, CannotLower: as of `evaluate`.
        """
        return self.evaluate(law.charge, maps)
