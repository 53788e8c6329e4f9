"""The heavy ball and its kin: rules with a Euclidean kinetic energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optax
import sympy as sp
from jaxtyping import PyTree
from optax import GradientTransformation

from lagrangian.learning.rules.euclidean import EuclideanRule
from lagrangian.learning.rules.rule import (
    check_learning_rate,
    check_nonnegative,
    check_share,
)
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.laws.discrete import (
    gain,
    learning_rate,
    momentum,
    role,
    weight_decay,
)


@dataclass(frozen=True)
class HeavyBall(EuclideanRule):
    """Gradient descent, with momentum and weight decay, as optax runs it.

    With p the trace and k = 1 - dampening,

        p <- beta p + k (grad f + lambda q),    q <- q - eta p.

    Nesterov's rule moves by beta p + k (grad f + lambda q) instead. Decoupled decay
    leaves lambda q out of the trace and adds it to the move.

    In continuous time t = eta step it is the Euler-Lagrange equation of
    L = exp((mu/m) t) (m/2 |qdot|^2 - F), F = f + lambda/2 |q|^2, with mass
    m = eta (1 + beta)/2 and friction mu = 1 - beta (Tanaka & Kunin, "Noether's
    Learning Dynamics", 2021), up to an error of order eta^2. `parameters` has m, mu
    and lambda of the variants; Nesterov's lighter mass, eta (1 - beta + 2 beta^2)/2,
    supposes gradients that are smooth in time, without the noise of minibatches.

    Args:
        learning_rate: eta > 0, or a schedule: a function from the step to eta.
        momentum: beta in [0, 1).
        weight_decay: lambda >= 0.
        dampening: in [0, 1); `dampening=momentum` averages the gradients.
        nesterov: whether the move looks ahead.
        decoupled: whether the decay acts on q directly, not through the gradient.

    Raises:
        LagrangianError: a hyperparameter outside its range.

    >>> import lagrangian as lg
    >>> values = lg.HeavyBall(0.05, momentum=0.9).parameters()
    >>> round(values[lg.mass], 9), round(values[lg.friction], 9)
    (0.0475, 0.1)
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    decoupled: bool = False

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_share("momentum", self.momentum)
        check_nonnegative("weight_decay", self.weight_decay)
        check_share("dampening", self.dampening)

    @property
    def memory(self) -> float:
        return self.momentum

    @property
    def gain(self) -> float:
        return 1 - self.dampening

    @property
    def coupled_decay(self) -> float:
        return 0.0 if self.decoupled else self.weight_decay

    @property
    def decoupled_decay(self) -> float:
        return self.weight_decay if self.decoupled else 0.0

    @property
    def _lag(self) -> float:
        return self.momentum**2 if self.nesterov else self.momentum

    def recursion(self, loss: Loss | None = None) -> Recursion:
        if loss is None:
            loss = Loss("f", Block("w"))
        k = gain if self.dampening else sp.S.One
        coupled, decoupled = (
            (sp.S.Zero, weight_decay) if self.decoupled else (weight_decay, sp.S.Zero)
        )
        ahead = momentum if self.nesterov else sp.S.Zero
        moves, lagged = {}, {}
        for w in loss.blocks:
            pull = learning_rate * k * (loss.gradient(w) + coupled * w)
            shrinking = learning_rate * decoupled * w
            moves[w] = -(1 + ahead) * pull - shrinking
            lagged[w] = ahead * pull + momentum * shrinking
        lagged = {w: move for w, move in lagged.items() if move != 0}
        return Recursion(moves, momentum, lagged=lagged)

    def velocity(self, block: Block) -> Any:
        gradient = role(block, "gradient") + self.coupled_decay * block
        move = role(block, "next trace")
        if self.nesterov:
            move = self.momentum * move + self.gain * gradient
        return -move - self.decoupled_decay * block

    def optax(self) -> GradientTransformation:
        """The optax transformation that this rule is.

        It keeps a trace at momentum 0 also, so that the trace can always be observed.
        """
        decay = optax.add_decayed_weights(self.weight_decay)
        steps = [
            optax.identity() if self.decoupled else decay,
            optax.scale(self.gain) if self.dampening else optax.identity(),
            optax.trace(self.momentum, self.nesterov),
            decay if self.decoupled else optax.identity(),
            optax.scale_by_learning_rate(self.learning_rate),
        ]
        return optax.chain(*steps)

    def trace(self, state: PyTree) -> Any:
        return optax.tree.get(state, "trace")
