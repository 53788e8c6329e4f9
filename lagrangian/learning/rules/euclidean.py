"""What rules with a Euclidean kinetic energy share, from four numbers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import sympy as sp
from jax.typing import ArrayLike

from lagrangian.learning.rules.rule import Rule, friction, mass
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


class EuclideanRule(Rule):
    """A rule that is linear in the gradients of the past.

    From its memory beta, its gain kappa, its decays and the mean age of the gradients
    in a move: with the age times (1 - beta) as the lag l, its mass is
    eta ((1 - beta)/2 + l)/kappa and its friction (1 - beta)/kappa.
    """

    is_euclidean: ClassVar[bool] = True

    @property
    @abstractmethod
    def _lag(self) -> float:
        """By how many steps' moves a run from rest falls behind, times (1 - beta)."""

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

    def initial_velocity(self, loss: Loss) -> dict[Any, Any]:
        """What takes the second-order flow along a run that starts at rest.

        -grad F/(1 + beta) for the heavy ball: with it the flow is as far behind, after
        the first few times 1/(1 - beta) steps, as a run whose trace had to grow.
        """
        slowing = self.gain / (1 - self.memory + 2 * self._lag)
        return {
            w: -slowing * (loss.gradient(w) + self.coupled_decay * w)
            - self.decoupled_decay * w
            for w in loss.blocks
        }

    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        eta = self._eta(learning_rate)
        decoupled = self.decoupled_decay
        loss_of_speed = 1 - self.memory
        return {
            mass: eta * (loss_of_speed / 2 + self._lag) / self.gain,
            friction: (loss_of_speed + eta * self._lag * decoupled) / self.gain,
            weight_decay: self.coupled_decay + loss_of_speed * decoupled / self.gain,
        }
