"""Learning rules: each states once its Lagrangian and its optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optax
import sympy as sp
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.backward_error import Recursion
from lagrangian.symbolic.blocks import Block
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.discrete import learning_rate, momentum, weight_decay
from lagrangian.symbolic.inner import Inner
from lagrangian.symbolic.losses import Loss
from lagrangian.symbolic.system import Lagrangian

mass, friction = sp.symbols("m mu", positive=True)


@dataclass(frozen=True)
class HeavyBall:
    """Gradient descent with momentum and L2 weight decay, as optax runs it.

    trace <- beta trace + grad f + lambda q;  q <- q - eta trace.

    In continuous time t = eta k it is the Euler-Lagrange equation of
    L = exp((mu/m) t) (m/2 |qdot|^2 - F), F = f + lambda/2 |q|^2, with mass
    m = eta (1 + beta)/2 and friction mu = 1 - beta (Tanaka & Kunin, "Noether's
    Learning Dynamics", 2021), up to an error of order eta^2.

    Args:
        learning_rate: eta > 0, or a schedule: a function from the step to eta.
        momentum: beta in [0, 1).
        weight_decay: lambda >= 0.

    Raises:
        LagrangianError: a hyperparameter outside its range.
    """

    learning_rate: float | Callable[[Any], Any]
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.learning_rate) and not self.learning_rate > 0:
            raise LagrangianError(
                f"`learning_rate` is {self.learning_rate}; pass a number above 0."
            )
        if not 0 <= self.momentum < 1:
            raise LagrangianError(
                f"`momentum` is {self.momentum}; pass a number in [0, 1)."
            )
        if not self.weight_decay >= 0:
            raise LagrangianError(
                f"`weight_decay` is {self.weight_decay}; pass 0 or a positive number."
            )

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """Its Lagrangian for an opaque loss, in the symbols m, mu and lambda."""
        squares = sp.Add(*(Inner(w, w) for w in loss.blocks))
        kinetic = sp.Add(*(Inner(w.dot, w.dot) for w in loss.blocks))
        return Lagrangian(
            mass / 2 * kinetic,
            loss + weight_decay / 2 * squares,
            damping=friction / mass * time,
            coordinates=loss.blocks,
        )

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        """The first-order flow: for each block its velocity, -grad F / mu."""
        return {
            w: -(loss.gradient(w) + weight_decay * w) / friction for w in loss.blocks
        }

    def recursion(self, loss: Loss | None = None) -> Recursion:
        """Its update as a two-step recursion, for backward error analysis.

        In the symbols eta, beta and lambda; for one block `w` and an opaque loss if
        none is given.
        """
        if loss is None:
            loss = Loss("f", Block("w"))
        return Recursion(
            {
                w: -learning_rate * (loss.gradient(w) + weight_decay * w)
                for w in loss.blocks
            },
            momentum,
        )

    def parameters(self, learning_rate: Any = None) -> dict[Any, Any]:
        """Values for the symbols of `lagrangian`, at the given or the constant eta."""
        eta = self.learning_rate if learning_rate is None else learning_rate
        if callable(eta):
            raise LagrangianError(
                "this rule has a learning-rate schedule, so its mass changes with the "
                "step. Say at which rate: `rule.parameters(rule.learning_rate(step))`."
            )
        return {
            mass: eta * (1 + self.momentum) / 2,
            friction: 1 - self.momentum,
            weight_decay: self.weight_decay,
        }

    def rate(self, step: Any) -> Any:
        """The learning rate of one step."""
        eta = self.learning_rate
        return eta(step) if callable(eta) else eta

    def optax(self) -> GradientTransformation:
        """The optax transformation that this rule is.

        It keeps a trace at momentum 0 also, so that the trace can always be observed.
        """
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.sgd(self.learning_rate, momentum=self.momentum),
        )
