"""The flows of a learning rule on the loss of a network, integrated as they are.

A rule moves every parameter by the same formula, so one block holds all of them, the
arrays of the model end to end: a Hessian-vector product then is a single one, however
many arrays the model has. No matrix is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian.errors import LagrangianError
from lagrangian.flows.arguments import (
    check_tolerance,
    output_times,
    whole_number,
)
from lagrangian.flows.flow import Flow
from lagrangian.flows.solvers.solver import Demands, Solver, solve, stopped_early
from lagrangian.learning.flat_loss import Network
from lagrangian.learning.network_motions import (
    ERROR,
    LOSS,
    PARAMETERS,
    BlockwiseMotion,
    TangentMotion,
    at_start,
    differs,
    flow_through,
    gradient_flow,
    remembers,
    second_order_flow,
    tangent_motion,
)
from lagrangian.learning.network_path import NetworkPath, named
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.platform import float64
from lagrangian.prompt import AtPrompt


def network_flow(
    model: PyTree,
    loss: Callable[[Any, Any], Any],
    batch: PyTree,
    rule: Rule,
    order: int | Literal["second"] = "second",
) -> NetworkFlow:
    """A flow that training `model` by `rule` on the whole of `batch` follows.

    With eta the learning rate, in the time t = eta step, and from rest as optax starts:

    - "second": the Euler-Lagrange equation of its Lagrangian, of second order in time,
      from the velocity `rule.initial_velocity`, at an error of order eta^2 (Tanaka &
      Kunin, "Noether's Learning Dynamics", 2021, but for the velocity);
    - n = 0, 1, 2, 3, ...: of first order in time, q' = f_0 + eta f_1 + ... + eta^n f_n
      by backward error analysis (`lg.modified_flow`), at an error of order eta^(n+1).
      0 is the gradient flow, qdot = -grad F/(1 - beta) for the heavy ball; 1 adds
      implicit gradient regularisation (Barrett & Dherin, "Implicit Gradient
      Regularization", 2021); all of them are the equation of motion of Miyagawa,
      "Toward equation of motion for deep neural networks" (2022), here for momentum,
      too. The series is asymptotic: it is for learning rates well below 1/|Hess F|.

    A rule with a memory follows the latter once its trace has grown, as if it had
    started beside q: n = 1 starts at `rule.start_offset`, which is
    eta beta grad F/(1 - beta)^2 for the heavy ball. That is right to first order, so
    from n = 2 on such a rule needs the `q0` of a run that has gone on for some time.
    Where a rule divides by the size of the gradient, n > 0 is for stretches on which no
    entry of the gradient is near zero.

    Args:
        model: a Flax NNX module, or a pytree of arrays such as Linen's
            `variables["params"]`. It is not changed. Floating-point arrays are taken to
            float64; batch statistics and random streams stay as they are.
        loss: `loss(model, batch)`, a scalar, differentiable; n + 1 times for n.
        batch: what `loss` gets, in any pytree.
        rule: the learning rule, with a constant learning rate.
        order: "second", or a whole number n. A step costs about as much as 2^n
            gradients.

    Returns:
        A `NetworkFlow`, whose `integrate` is the path.

    Raises:
        LagrangianError: an unknown order; a model without floating-point parameters; a
            loss that is no scalar or not finite; a rule that has no such flow.

    >>> import jax.numpy as jnp
    >>> import lagrangian as lg
    >>> def loss(w, scale):
    ...     return scale * jnp.sum(w["w"] ** 2) / 2
    >>> rule = lg.HeavyBall(0.1)
    >>> for n in range(3):  # the run multiplies by 1 - eta at every step
    ...     flow = lg.network_flow({"w": np.ones(1)}, loss, 1.0, rule, order=n)
    ...     print(f"{flow.integrate((0, 1), points=2).q['w'][-1, 0] - 0.9**10:.5f}")
    0.01920
    0.00126
    0.00009
    """
    if order != "second":
        known = 'pass "second", or n = 0, 1, 2, ...; 0 is the gradient flow'
        order = whole_number(order, "order", 0, known)
    if callable(rule.learning_rate):
        raise LagrangianError(
            "`rule` has a learning-rate schedule, and a flow has one learning rate. "
            "Pass a rule with a number, one for each stretch of the schedule."
        )
    with float64():
        network = Network(model, loss, batch)
        if order != 0 and differs(network, rule):
            raise LagrangianError(
                f"`rule` does not treat all arrays alike, and `order` is {order!r}. "
                "Supported is `order=0` then. Pass that, or a rule for all of them."
            )
        q0: Any = network.start
        v0 = None
        if order == "second":
            motion, v0 = second_order_flow(network, rule)
        elif order == 0:
            motion = gradient_flow(network, rule)
        else:
            motion = flow_through(network, rule, order)
            q0 = q0 + _beside(network, rule)
            if order > 1 and remembers(rule):
                q0 = None
        q0, v0 = (
            None if x is None else jax.device_get(network.split(x)) for x in (q0, v0)
        )
    return NetworkFlow(rule, order, q0, v0, network, motion)


def _beside(network: Network, rule: Rule) -> Any:
    """How far from its start the slow motion of a run from rest seems to start."""
    return at_start(network, rule, rule.start_offset(LOSS)[PARAMETERS])


@dataclass(frozen=True, repr=False, eq=False)
class NetworkFlow(AtPrompt):
    """A flow of a learning rule on the loss of a model; made by `network_flow`.

    Attributes:
        rule, order: as they were given.
        q0: where it starts by default: float64 arrays by the path of each parameter;
            None if that is not known.
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
    order: int | Literal["second"]
    q0: dict[str, np.ndarray] | None
    v0: dict[str, np.ndarray] | None
    _network: Network
    _motion: Any

    _next = "`.integrate(t=(0, 1))`"

    def __str__(self) -> str:
        return (
            f"NetworkFlow({named(self.order)}; {self.rule}; {self._network.start.size} "
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

        Returns:
            A `NetworkPath`.

        Raises:
            IntegrationFailed: `max_steps` did not reach the end, the state stopped
                being finite, or the energy of a second-order flow did not fall as its
                friction says; carries the path until then.
            UnknownBlock: `q0` or `v0` without an array of some parameter.
            LagrangianError: no `q0`, where the flow knows of none.
        """
        times = output_times(t, points)
        check_tolerance(tol)
        if v0 is not None and self.v0 is None:
            raise LagrangianError(
                f"`v0` was given to the flow of {named(self.order)}, whose velocity "
                "follows from its position. Leave it out, or make the flow with "
                '`order="second"`.'
            )
        _check_blocks(solver)
        network, v0 = self._network, self.v0 if v0 is None else v0
        with float64():
            q = {PARAMETERS.name: self._start(q0)}
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

    def leading_error(
        self,
        t: Sequence[float | int],
        *,
        q0: PyTree | None = None,
        solver: diffrax.AbstractSolver | None = None,
        tol: float = 1e-9,
        points: int = 201,
        max_steps: int = 1_000_000,
    ) -> dict[str, np.ndarray]:
        """How far the flow will be from the run, to leading order, without a run.

        The flow through eta^n minus the run at the same time is eta^(n+1) E up to
        eta^(n+2). Where the field is f = f_0 + ... + eta^n f_n, and f_(n+1) the
        coefficient that it leaves out,

            E' = f'(q) E - f_(n+1)(q),    E(0) = 0:

        what is left out at each time, carried along by the tangent of the flow. Where
        this is small beside what a user cares for, the flow may stand for the run; for
        gradient descent and n = 0 it is eta/2 times the integral of Hess F grad F, so
        carried. A run from rest with a memory is beside the gradient flow from the
        start, by `rule.start_offset`.

        Args:
            t, solver, tol, points, max_steps: as for `integrate`.
            q0: another start, for a rule with a memory one that a run has come to
                after some time.

        Returns:
            eta^(n+1) E by dotted path, of the shape of `integrate(t).q[path]`.

        Raises:
            LagrangianError: the second-order flow; arrays that are not all treated
                alike; n > 0 and a rule with a memory, without a `q0`.
            IntegrationFailed: as of `integrate`, with the errors until then.

        >>> import jax.numpy as jnp
        >>> import lagrangian as lg
        >>> def loss(w, _):
        ...     return jnp.sum(w["w"] ** 2) / 2
        >>> flow = lg.network_flow({"w": np.ones(1)}, loss, None, lg.HeavyBall(0.1), 0)
        >>> error = flow.leading_error((0, 1), points=2)["w"][-1, 0]
        >>> print(f"{error:.5f}, and it is {np.exp(-1) - 0.9**10:.5f}")
        0.01839, and it is 0.01920
        """
        times = output_times(t, points)
        check_tolerance(tol)
        _check_blocks(solver)
        network = self._network
        with float64():
            motion, eta = self._tangent, self.rule.rate(0)
            q = self._start(q0)
            error = jnp.zeros_like(q)
            if q0 is None and remembers(self.rule):
                if motion.order:
                    raise LagrangianError(_UNKNOWN_START.format(named(motion.order)))
                error = -_beside(network, self.rule) / eta
            demands = Demands(tol, None, np.inf, max_steps)
            state = {PARAMETERS.name: q, ERROR: error}
            found = solve(motion, state, {}, times, solver, demands)
            scaled = eta ** (motion.order + 1) * found.q[ERROR]
            errors = jax.device_get(jax.vmap(network.split)(scaled))
        if found.stopped:
            raise stopped_early(found, errors)
        return errors

    @cached_property
    def _tangent(self) -> TangentMotion:
        if self.order == "second" or isinstance(self._motion, BlockwiseMotion):
            what = "the second-order flow" if self.order == "second" else "such a rule"
            raise LagrangianError(
                f"`leading_error` is not known for {what}. Make a flow with `order` a "
                "whole number, of a rule that treats all arrays alike."
            )
        return tangent_motion(self._motion, self.rule, self.order)

    def _start(self, q0: PyTree | None) -> Any:
        """The parameters of a start as one vector."""
        if q0 is None and self.q0 is None:
            raise LagrangianError(_UNKNOWN_START.format(named(self.order)))
        return self._network.join(self.q0 if q0 is None else q0, "`q0`")


_UNKNOWN_START = (
    "`q0` is needed for {} and a rule with a memory: where the slow motion of a run "
    "from rest seems to start is known to first order only. Pass the parameters of a "
    "run after a few times 1/(1 - momentum) steps."
)


def _check_blocks(solver: Any) -> None:
    if isinstance(solver, Solver):
        raise LagrangianError(
            f"`solver` is {solver}, which is for scalar coordinates. Pass a solver "
            "of diffrax, such as `diffrax.Dopri8()`."
        )
