"""Rules that divide by averages of past gradients: RMSProp, Adam, Lion, sign descent.

Their metric G is diagonal and made of the gradients met so far, so no Lagrangian of
the parameters alone has them as its equation. What they do have is one with G held
fixed, m/2 <qdot, G qdot> - F: true while G changes little, and enough to derive what
the metric does to a symmetry. Their discrete law is exact all the same; and their
modified flows are, at fixed decay rates, as long as no entry of the gradient comes near
zero, by whose size they divide.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp
from jax.typing import ArrayLike
from jaxtyping import PyTree
from optax import GradientTransformation

from lagrangian.learning.rules.block_adam import scale_by_block_adam
from lagrangian.learning.rules.rule import (
    Rule,
    check_learning_rate,
    check_nonnegative,
    check_share,
    friction,
    mass,
    metric_block,
)
from lagrangian.symbolic.algebra.blocks import Block, EngineBlock
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.laws.backward_error import Average, Recursion
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: The decay rate of the average of squares, and what keeps a division from zero.
_second, _eps = sp.symbols("beta_2 epsilon", nonnegative=True, real=True)


class AdaptiveRule(Rule):
    """What the rules of this file share: a diagonal metric that is held fixed."""

    @property
    @abstractmethod
    def _decay(self) -> tuple[float, bool]:
        """The weight decay, and whether it shrinks q directly, past the metric."""

    @property
    def coupled_decay(self) -> float:
        decay, decoupled = self._decay
        return 0.0 if decoupled else decay

    @property
    def decoupled_decay(self) -> float:
        decay, decoupled = self._decay
        return decay if decoupled else 0.0

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """exp((mu/m) t) (m/2 <qdot, G qdot> - F), with the metric G held fixed.

        In the symbols m, mu, lambda, and a diagonal metric `G(w)` for every block.
        """
        kinetic, decay = sp.S.Zero, sp.S.Zero
        _, decoupled = self._decay
        for w in loss.blocks:
            metric = metric_block(w)
            kinetic += Inner(w.dot, metric * w.dot)
            decay += Inner(w, metric * w if decoupled else w)
        return Lagrangian(
            mass / 2 * kinetic,
            loss + weight_decay / 2 * decay,
            damping=friction / mass * time,
            coordinates=loss.blocks,
        )

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        """The first-order flow, once the averages have caught up with the gradient.

        qdot = -g/|g|, element by element, with eps where the rule has it: as the
        learning rate goes to zero at fixed decay rates, the averages forget faster
        than q moves.
        """
        _, decoupled = self._decay
        flow = {}
        for w in loss.blocks:
            g = loss.gradient(w) + (0 if decoupled else weight_decay * w)
            flow[w] = self._divided(g) - (weight_decay * w if decoupled else 0)
        return flow

    def _divided(self, g: Any) -> Any:
        """The velocity of a gradient that its own averages have caught up with."""
        return -g / sp.sqrt(g**2)

    @property
    def _mass_in_steps(self) -> float:
        """m/eta: half a step, and the mean age of the gradients in the covector."""
        return 0.5

    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        return {
            mass: self._eta(learning_rate) * self._mass_in_steps,
            friction: 1.0,
            weight_decay: self._decay[0],
        }

    def start_offset(self, loss: Loss) -> dict[Any, Any]:
        """None to first order: averages of what is nearly constant start out right."""
        return dict.fromkeys(loss.blocks, sp.S.Zero)

    def recursion(self, loss: Loss | None = None) -> Recursion:
        """Its update with averages that have forgotten their start."""
        if loss is None:
            loss = Loss("f", Block("w"))
        moves, averages = {}, {}
        for w in loss.blocks:
            g = loss.gradient(w) + (weight_decay * w if self.coupled_decay else 0)
            move, of_block = self._averaged(w.name, g)
            shrinking = weight_decay * w if self.decoupled_decay else 0
            moves[w] = learning_rate * (move - shrinking)
            averages |= of_block
        return Recursion(moves, averages=averages)

    @abstractmethod
    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        """The update per learning rate, and the averages of g that it contains."""

    def _chain(self, scaling: GradientTransformation) -> GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.coupled_decay),
            scaling,
            optax.add_decayed_weights(self.decoupled_decay),
            optax.scale_by_learning_rate(self.learning_rate),
        )


@dataclass(frozen=True)
class RMSProp(AdaptiveRule):
    """Division by the root of an average of squared gradients, as optax runs it.

    G^2 <- decay G^2 + (1 - decay) g^2;  q <- q - eta g/sqrt(G^2 + eps), where g is
    grad f + lambda q (Tieleman & Hinton, "Neural networks for machine learning", 2012,
    lecture 6.5).

    Args:
        learning_rate: eta > 0, or a schedule.
        decay: of the average, in [0, 1).
        eps: added under the root.
        weight_decay: lambda >= 0, through the gradient.

    Raises:
        LagrangianError: a hyperparameter outside its range.

    >>> import lagrangian as lg
    >>> rule = lg.RMSProp(1e-3)
    >>> rule.decay, rule.is_euclidean
    (0.9, False)
    """

    decay: float = 0.9
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_share("decay", self.decay)
        check_nonnegative("eps", self.eps)
        check_nonnegative("weight_decay", self.weight_decay)

    @property
    def _decay(self) -> tuple[float, bool]:
        return self.weight_decay, False

    def _divided(self, g: Any) -> Any:
        return -g / sp.sqrt(g**2 + self.eps)

    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        squares = EngineBlock(f"V({name})")
        return -g / sp.sqrt(squares + _eps), {squares: Average(_second, g**2)}

    def recursion_parameters(
        self, learning_rate: ArrayLike | None = None
    ) -> dict[Any, Any]:
        own = {_second: self.decay, _eps: self.eps}
        return super().recursion_parameters(learning_rate) | own

    def start_offset(self, loss: Loss) -> dict[Any, Any]:
        """The average of squares starts at zero, so that the first steps are longer.

        The k-th is by 1/sqrt(1 - decay^k), if eps is small beside the squares.
        """
        shares = self.decay ** np.arange(1, 1 + math.ceil(40 / (1 - self.decay)))
        longer = float(np.sum(1 / np.sqrt(1 - shares) - 1))
        eta = self._eta(None)
        return {w: eta * longer * v for w, v in self.gradient_flow(loss).items()}

    def optax(self) -> GradientTransformation:
        return self._chain(optax.scale_by_rms(self.decay, self.eps))

    def metric(self, new_state: PyTree, gradient: PyTree, state: PyTree) -> Any:
        average = optax.tree.get(new_state, "nu")
        return jax.tree.map(lambda v: jnp.sqrt(v + self.eps), average)


@dataclass(frozen=True)
class Adam(AdaptiveRule):
    """Adam, and with weight decay AdamW, as optax runs them.

    p <- b1 p + (1 - b1) g and G^2 <- b2 G^2 + (1 - b2) g^2, both divided by what their
    weights add up to so far; q <- q - eta (p/(G + eps) + lambda q) (Kingma & Ba, "Adam:
    A Method for Stochastic Optimization", 2015; Loshchilov & Hutter, "Decoupled Weight
    Decay Regularization", 2019).

    Args:
        learning_rate: eta > 0, or a schedule.
        b1, b2: of the averages of the gradient and of its square, in [0, 1).
        eps: added to the root.
        weight_decay: lambda >= 0.
        decoupled: whether the decay acts on q directly (AdamW) or through the gradient.
        per_block: whether G^2 is one number for a whole array, the average of |g|^2
            over it, summed. A step then has a length of about eta for each array, and
            rotations of an array keep their law, as its metric is the same everywhere.

    Raises:
        LagrangianError: a hyperparameter outside its range.

    >>> import lagrangian as lg
    >>> print(lg.rule(lg.Adam(0.1, b1=0.0, eps=0.0, per_block=True).optax()))
    Optax rule (a metric at the state, eta = 1/10)
      u = -g/(10*sqrt(nu'/(1 - (999/1000)**(k + 1))))
      nu' = 999*nu/1000 + sum(g**2)/1000
      kinetic energy: T = m/2 <v, D v>, D = sqrt(nu'/(1 - (999/1000)**(k + 1)))
      eta = 1/10, m = 1/2 eta, mu = 1
      keeps rotation, permutation, translation
      breaks scale and rescale (the size of a move does not follow that of q)
    >>> rule = lg.Adam(1e-3, weight_decay=1e-2)
    >>> rule.b1, rule.is_euclidean
    (0.9, False)
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True
    per_block: bool = False

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_share("b1", self.b1)
        check_share("b2", self.b2)
        check_nonnegative("eps", self.eps)
        check_nonnegative("weight_decay", self.weight_decay)

    @property
    def memory(self) -> float:
        return self.b1

    @property
    def gain(self) -> float:
        return 1 - self.b1

    @property
    def _decay(self) -> tuple[float, bool]:
        return self.weight_decay, self.decoupled

    def _squared(self, g: Any) -> Any:
        return Inner(g, g) if self.per_block else g**2

    def _divided(self, g: Any) -> Any:
        return -g / (sp.sqrt(self._squared(g)) + self.eps)

    @property
    def _mass_in_steps(self) -> float:
        return (1 + self.b1) / (2 * (1 - self.b1))

    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        mean, squares = EngineBlock(f"P({name})"), f"V({name})"
        own = EngineSymbol(squares, positive=True)
        own = own if self.per_block else EngineBlock(squares)
        return -mean / (sp.sqrt(own) + _eps), {
            mean: Average(momentum, g),
            own: Average(_second, self._squared(g)),
        }

    def recursion_parameters(
        self, learning_rate: ArrayLike | None = None
    ) -> dict[Any, Any]:
        own = {momentum: self.b1, _second: self.b2, _eps: self.eps}
        return super().recursion_parameters(learning_rate) | own

    def optax(self) -> GradientTransformation:
        scaling = scale_by_block_adam if self.per_block else optax.scale_by_adam
        return self._chain(scaling(self.b1, self.b2, self.eps))

    def trace(self, state: PyTree) -> Any:
        return optax.tree.get(state, "mu")

    def metric(self, new_state: PyTree, gradient: PyTree, state: PyTree) -> Any:
        adam = optax.tree.get(new_state, "ScaleByAdamState")
        weights = 1 - self.b2**adam.count

        def of_array(v: Any, g: Any) -> Any:
            return jnp.broadcast_to(jnp.sqrt(v / weights) + self.eps, jnp.shape(g))

        return jax.tree.map(of_array, adam.nu, gradient)


@dataclass(frozen=True)
class Lion(AdaptiveRule):
    """The sign of an averaged gradient; with b1 = b2 = 0, sign descent.

    q <- q - eta (sign(b1 p + (1 - b1) g) + lambda q);  p <- b2 p + (1 - b2) g, as optax
    runs it (Chen et al., "Symbolic discovery of optimization algorithms", 2023). Its
    metric is the size of what it takes the sign of.

    Args:
        learning_rate: eta > 0, or a schedule.
        b1, b2: of the average in the sign and of the one that is kept, in [0, 1).
        weight_decay: lambda >= 0, decoupled.

    Raises:
        LagrangianError: a hyperparameter outside its range.

    >>> import lagrangian as lg
    >>> rule = lg.Lion(1e-4, b2=0.9)
    >>> print(rule.steps(lg.Scale("w").loss))
    Steps: p' = 0.9*p + 0.1*grad f, q' = q + update
    """

    b1: float = 0.9
    b2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_share("b1", self.b1)
        check_share("b2", self.b2)
        check_nonnegative("weight_decay", self.weight_decay)

    @property
    def _decay(self) -> tuple[float, bool]:
        return self.weight_decay, True

    @property
    def memory(self) -> float:
        return self.b2

    @property
    def gain(self) -> float:
        return 1 - self.b2

    @property
    def _mass_in_steps(self) -> float:
        return 0.5 + self.b1 / (1 - self.b2)

    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        """The sign of an average is that of g, until an entry of g changes its sign."""
        return -sp.sign(g), {}

    def optax(self) -> GradientTransformation:
        return self._chain(optax.scale_by_lion(self.b1, self.b2))

    def trace(self, state: PyTree) -> Any:
        return optax.tree.get(state, "mu")

    def metric(self, new_state: PyTree, gradient: PyTree, state: PyTree) -> Any:
        kept = optax.tree.get(state, "mu")
        return jax.tree.map(
            lambda p, g: jnp.abs(self.b1 * p + (1 - self.b1) * g), kept, gradient
        )
