"""The flows of a learning rule on the loss of a network, integrated as they are.

A rule moves every parameter by the same formula, so one block holds all of them, the
arrays of the model end to end: a Hessian-vector product then is a single one, however
many arrays the model has. No matrix is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import PyTree

from lagrangian.errors import LagrangianError, UnknownBlock, nearest
from lagrangian.flows.arguments import check_tolerance, output_times
from lagrangian.flows.flow import Flow
from lagrangian.flows.path import Path
from lagrangian.flows.series import series
from lagrangian.flows.solvers.solver import Demands, Solver, solve, stopped_early
from lagrangian.flows.to_xarray import Labelled
from lagrangian.learning.flat_loss import Network
from lagrangian.learning.model import split
from lagrangian.learning.network_motions import ORDERS, PARAMETERS, differs
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.platform import float64
from lagrangian.lowering.pytrees import pick
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.laws.noether import Law


def network_flow(
    model: PyTree,
    loss: Callable[[Any, Any], Any],
    batch: PyTree,
    rule: Rule,
    order: str = "second",
) -> NetworkFlow:
    """A flow that training `model` by `rule` on the whole of `batch` follows.

    With eta the learning rate, in the time t = eta step, and from rest as optax starts:

    - "gradient": the first-order flow of the rule, at an error of order eta;
    - "second": the Euler-Lagrange equation of its Lagrangian, from the velocity
      `rule.initial_velocity`, at an error of order eta^2 (Tanaka & Kunin, "Noether's
      Learning Dynamics", 2021, but for the velocity);
    - "modified": the flow of backward error analysis through eta^1, at an error of
      order eta^2 once the trace has grown (Barrett & Dherin, "Implicit Gradient
      Regularization", 2021, with momentum). It starts at `rule.start_offset` beside
      q, which is eta beta grad F/(1 - beta)^2 for the heavy ball. Where a rule divides
      by the size of the gradient, it is for stretches on which no entry of the gradient
      is near zero.

    Args:
        model: a Flax NNX module, or a pytree of arrays such as Linen's
            `variables["params"]`. It is not changed. Floating-point arrays are taken to
            float64; batch statistics and random streams stay as they are.
        loss: `loss(model, batch)`, a scalar, differentiable; twice for "modified".
        batch: what `loss` gets, in any pytree.
        rule: the learning rule, with a constant learning rate.
        order: "gradient", "second" or "modified".

    Raises:
        LagrangianError: an unknown order; a model without floating-point parameters; a
            loss that is no scalar or not finite; a rule that has no such flow.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.eye(4, 3)
    >>> def loss(model, batch):
    ...     return ((batch @ model["w"] - 1) ** 2).mean()
    >>> model = {"w": np.zeros(3)}
    >>> rule = lg.HeavyBall(0.1, momentum=0.9)
    >>> flow = lg.network_flow(model, loss, data, rule)
    >>> flow.v0["w"].round(3)               # that of a run from rest
    array([0.263, 0.263, 0.263])
    """
    if order not in ORDERS:
        known = ", ".join(f'"{name}"' for name in ORDERS)
        raise LagrangianError(f"`order` is {order!r}; pass one of {known}.")
    if callable(rule.learning_rate):
        raise LagrangianError(
            "`rule` has a learning-rate schedule, and a flow has one learning rate. "
            "Pass a rule with a number, one for each stretch of the schedule."
        )
    with float64():
        network = Network(model, loss, batch)
        if order != "gradient" and differs(network, rule):
            raise LagrangianError(
                f"`rule` does not treat all arrays alike, and `order` is {order!r}. "
                'Supported is `order="gradient"` then; or a rule for all of them.'
            )
        motion, start, velocity = ORDERS[order](network, rule)
        q0 = jax.device_get(network.split(start))
        v0 = None if velocity is None else jax.device_get(network.split(velocity))
    return NetworkFlow(rule, order, q0, v0, network, motion)


@dataclass(frozen=True, repr=False, eq=False)
class NetworkFlow(AtPrompt):
    """A flow of a learning rule on the loss of a model; made by `network_flow`.

    Attributes:
        rule, order: as they were given.
        q0: where it starts by default: float64 arrays by the path of each parameter.
        v0: likewise its initial velocity; None for a first-order flow.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.eye(4, 3)
    >>> def loss(model, batch):
    ...     return ((batch @ model["w"] - 1) ** 2).mean()
    >>> model = {"w": np.zeros(3)}
    >>> flow = lg.network_flow(model, loss, data, lg.HeavyBall(0.1))
    >>> flow.order, flow.q0["w"].dtype
    ('second', dtype('float64'))
    """

    rule: Rule
    order: str
    q0: dict[str, np.ndarray]
    v0: dict[str, np.ndarray] | None
    _network: Network
    _motion: Any

    _next = "`.integrate(t=(0, 1))`"

    def __str__(self) -> str:
        return (
            f"NetworkFlow({self.order}; {self.rule}; {self._network.start.size} "
            f"parameters; float64, {jax.default_backend()})"
        )

    def integrate(
        self,
        t: Sequence[float | int],
        *,
        q0: PyTree | None = None,
        v0: PyTree | None = None,
        solver: diffrax.AbstractSolver | None = None,
        tol: float = 1e-9,
        points: int = 201,
        max_steps: int = 1_000_000,
    ) -> NetworkPath:
        """The path in float64, whatever the global JAX configuration is.

        Args:
            t: the output times, increasing; a pair is an interval, of which `points`
                evenly spaced times are kept. Step k of a run is at eta k.
            q0, v0: another start than the flow's own: arrays by dotted path, or a Flax
                state. First-order flows take no `v0`.
            solver: a solver of diffrax; `diffrax.Dopri8()` if None.
            tol: relative and absolute tolerance of each step. A loss that rounds to
                float32 inside has no use for one below 1e-6.
            points, max_steps: how many output times an interval has; where to give up.

        Raises:
            IntegrationFailed: `max_steps` did not reach the end, the state stopped
                being finite, or the energy of a second-order flow did not fall as its
                friction says; carries the path until then.
            UnknownBlock: `q0` or `v0` without an array of some parameter.
        """
        times = output_times(t, points)
        check_tolerance(tol)
        if v0 is not None and self.v0 is None:
            raise LagrangianError(
                f"`v0` was given to the {self.order} flow, whose velocity follows from "
                'its position. Leave it out, or make the flow with `order="second"`.'
            )
        if isinstance(solver, Solver):
            raise LagrangianError(
                f"`solver` is {solver}, which is for scalar coordinates. Pass a solver "
                "of diffrax, such as `diffrax.Dopri8()`."
            )
        network, v0 = self._network, self.v0 if v0 is None else v0
        with float64():
            q = {PARAMETERS.name: network.join(self.q0 if q0 is None else q0, "`q0`")}
            v = {} if v0 is None else {PARAMETERS.name: network.join(v0, "`v0`")}
            guard = self._motion.guard() if isinstance(self._motion, Flow) else None
            rates = guard.rates if guard else ()
            demands = Demands(tol, None, np.inf, max_steps, rates)
            found = solve(self._motion, q, v, times, solver, demands)
            q = found.q[PARAMETERS.name]
            v = found.v[PARAMETERS.name] if v else self._motion.along(q)
            states = jax.device_get([jax.vmap(network.split)(x) for x in (q, v)])
        path = NetworkPath(self, found.t, *states, found.steps)
        if guard:
            explained = max(tol, 10 * network.rounding)
            guard.check(self._motion, found, solver, explained, path)
        if found.stopped:
            raise stopped_early(found, path)
        return path


@dataclass(repr=False, eq=False)
class NetworkPath(Path):
    """The parameters of a model along a flow, in float64.

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
    >>> flow = lg.network_flow(model, loss, data, lg.HeavyBall(0.1), order="gradient")
    >>> path = flow.integrate(t=(0, 0.5), points=3)
    >>> path["w"].shape, bool(path.losses[-1] < path.losses[0])
    ((3, 3), True)
    """

    flow: NetworkFlow
    t: np.ndarray
    q: dict[str, np.ndarray]
    v: dict[str, np.ndarray]
    steps: int

    _next = "`.losses`, `.model(-1)`, `.distance(model)`, `.plot()`, `.save(file)`"

    def __str__(self) -> str:
        span = f" in [{self.t[0]:g}, {self.t[-1]:g}]" if len(self.t) else ""
        order, count = self.flow.order, len(self.t)
        return f"NetworkPath({order}; {count} times{span}; {self.steps} steps; float64)"

    def __getitem__(self, symbol: Block | str) -> np.ndarray:
        """A parameter by its dotted path or as a block, or the velocity of a block."""
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
        """The charge of a law at each time; shape (times,) or (times, units)."""
        return self.evaluate(law.charge, maps)
