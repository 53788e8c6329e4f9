"""What every learning rule states, and how it says that it has no such thing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import sympy as sp
from jax.typing import ArrayLike
from jaxtyping import PyTree
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.learning.pickled import packed, unpacked
from lagrangian.symbolic.algebra.blocks import Block, EngineBlock
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws import discrete
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.laws.discrete import Steps
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Mass and friction of a learning rule in continuous time t = sum of learning rates.
mass, friction = sp.symbols("m mu", positive=True)

#: A learning rate beside which its square is nothing.
_SMALL = 1e-9


def metric_block(block: Block) -> EngineBlock:
    """The symbol of a diagonal metric on a block: |qdot|^2 becomes <qdot, G qdot>."""
    return EngineBlock(f"G({block.name})")


@dataclass(frozen=True)
class Rule(ABC):
    """A learning rule: it moves q by an update, and keeps a covector p.

    Every rule here has the covector p' = memory p + gain (grad f + coupled_decay q).
    What it makes of p' to get its update is its metric (the heavy ball's is
    Euclidean: -eta p'). The exact discrete law needs no more than that.

    Args:
        learning_rate: eta > 0, or a schedule: a function from the step to eta.

    A rule of your own is rarely needed, as `lg.rule` reads any optax chain. One that
    changes what a rule of the library does to single blocks writes `optax` anew; which
    decay and learning rate each block then has is read from it:

    >>> import jax
    >>> import optax
    >>> import lagrangian as lg
    >>> class DecaysMatrices(lg.HeavyBall):
    ...     def optax(self):
    ...         def matrices(tree):
    ...             return jax.tree.map(lambda a: a.ndim > 1, tree)
    ...
    ...         return optax.chain(
    ...             optax.add_decayed_weights(self.weight_decay, matrices),
    ...             optax.trace(self.momentum),
    ...             optax.scale_by_learning_rate(self.learning_rate),
    ...         )
    >>> DecaysMatrices(0.1, momentum=0.9, weight_decay=1e-3).memory
    0.9

    One that states everything itself, in another way for single blocks, says so by
    `of`.

    Attributes:
        learning_rate: eta > 0, or a schedule: a function from the step to eta.
        memory: the share of the covector that a step keeps.
        gain: the factor of the gradient in it.
        coupled_decay: the weight decay that is added to the gradient (L2).
        decoupled_decay: the weight decay that shrinks q directly.
        is_euclidean: whether its kinetic energy is m/2 |qdot|^2, with m and the
            friction mu among its `parameters`.
    """

    learning_rate: float | Callable[[Any], Any]
    is_euclidean: ClassVar[bool] = False

    def __copy__(self) -> Rule:
        return self  # nothing of it can change

    def __deepcopy__(self, memo: Any) -> Rule:
        return self

    def __getstate__(self) -> dict[str, Any] | bytes:
        return packed(vars(self), self)  # a schedule is a function in another

    def __setstate__(self, state: dict[str, Any] | bytes) -> None:
        vars(self).update(unpacked(state))

    @property
    def memory(self) -> float:
        """The share of the covector that a step keeps."""
        return 0.0

    @property
    def gain(self) -> float:
        """The factor of the gradient in the covector."""
        return 1.0

    @property
    def coupled_decay(self) -> float:
        """The weight decay that is added to the gradient (L2)."""
        return 0.0

    @property
    def decoupled_decay(self) -> float:
        """The weight decay that shrinks q directly."""
        return 0.0

    def rate(self, step: ArrayLike) -> Any:
        """The learning rate of one step.

        Args:
            step: its number, from 0, or an array of numbers that the schedule takes.

        Returns:
            eta, of the shape of `step` for a schedule.
        """
        eta = self.learning_rate
        return eta(step) if callable(eta) else eta

    @abstractmethod
    def lagrangian(self, loss: Loss) -> Lagrangian:
        """Its Lagrangian for an opaque loss, in the symbols of `parameters`.

        The Euler-Lagrange equation is its second-order flow.

        Args:
            loss: opaque, such as `lg.Scale("w").loss`.

        Returns:
            A `Lagrangian` of the blocks of the loss.
        """

    def steps(self, loss: Loss) -> Steps:
        """Its steps as a theory, whose laws are exact at any learning rate.

        In the `role`s of the blocks, with `lg.learning_rate` for eta.

        Args:
            loss: opaque, such as `lg.Scale("w").loss`.

        Returns:
            `Steps`, which `noether` takes.
        """
        updates = None
        if self.is_euclidean:
            eta = discrete.learning_rate
            updates = {w: eta * self.velocity(w) for w in loss.blocks}
        return Steps(
            loss,
            memory=self.memory,
            gain=self.gain,
            weight_decay=self.coupled_decay,
            updates=updates,
        )

    @abstractmethod
    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        """The first-order flow: the velocity of each block.

        Args:
            loss: opaque, of the blocks that move.

        Returns:
            An expression for each block, in the symbols of `parameters`.
        """

    def initial_velocity(self, loss: Loss) -> dict[Any, Any]:
        """The velocity from which the second-order flow follows a run from rest.

        Of a Euclidean rule: what it forgets at the rate mu/m is then as long as the way
        by which the run falls behind while its trace grows, whose gradients are older
        than half a step by (m/mu - eta/2). Decoupled decay is there from the start.

        Args:
            loss: opaque, of the blocks that move.

        Returns:
            An expression for each block.

        Raises:
            LagrangianError: the rule has no second-order flow of that kind.
        """
        if not self.is_euclidean:
            raise LagrangianError(
                f"{type(self).__name__} has no stated initial velocity: its "
                "second-order flow holds its metric fixed, and the metric of the "
                "first steps is not. Pass a `v0` that you know, or take "
                "`gradient_flow`."
            )
        values, shrinking = self.parameters(_SMALL), self.decoupled_decay
        share = _SMALL * values[friction] / (2 * values[mass])
        return {
            w: share * (v + shrinking * w) - shrinking * w
            for w, v in self.gradient_flow(loss).items()
        }

    @abstractmethod
    def recursion(self, loss: Loss | None = None) -> Recursion:
        """Its update as a recursion, for backward error analysis.

        In the symbols of `recursion_parameters`; for one block `w` and an opaque loss
        if none is given.

        Args:
            loss: opaque.

        Returns:
            A `Recursion`, which `lg.modified_flow` takes.

        Raises:
            LagrangianError: no loss, where each array has a rule or a potential of its
                own.
        """

    def recursion_parameters(
        self, learning_rate: ArrayLike | None = None
    ) -> dict[Any, Any]:
        """Values for the symbols of `recursion` and of its modified flow.

        Args:
            learning_rate: a number; the rule's own if None.

        Returns:
            Numbers by symbol.

        Raises:
            LagrangianError: the rule has a schedule, and no rate is given.
        """
        return {
            discrete.learning_rate: self._eta(learning_rate),
            discrete.momentum: self.memory,
            discrete.gain: self.gain,
            # One of the two is zero: a recursion has one symbol for both.
            discrete.weight_decay: self.coupled_decay + self.decoupled_decay,
        }

    def start_offset(self, loss: Loss) -> dict[Any, Any]:
        """From how far beside its start a run from rest follows its modified flow.

        To first order in eta, in the symbols of `parameters`: where the second-order
        flow seems to come from when it has forgotten its initial velocity, at the rate
        of its friction.

        Args:
            loss: opaque, of the blocks that move.

        Returns:
            An expression for each block.

        Raises:
            LagrangianError: as of `initial_velocity`; or, of RMSProp, a schedule.
        """
        first, rate = self.gradient_flow(loss), self.lagrangian(loss).friction_rate
        return {
            w: (v - first[w]) / rate for w, v in self.initial_velocity(loss).items()
        }

    @abstractmethod
    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        """Values for the symbols of the flows, at the given or the constant eta.

        Args:
            learning_rate: a number; the rule's own if None.

        Returns:
            Numbers by symbol, such as `lg.mass`, `lg.friction` and `lg.weight_decay`.

        Raises:
            LagrangianError: the rule has a schedule, and no rate is given.
        """

    @abstractmethod
    def optax(self) -> GradientTransformation:
        """The optax transformation that this rule is."""

    def trace(self, state: PyTree) -> Any | None:
        """The covector that a state of `optax()` keeps; None without a memory.

        Args:
            state: of `optax()`.

        Returns:
            A pytree like the parameters, or None.
        """
        return None

    def covector(self, new_state: PyTree, gradient: PyTree, parameters: PyTree) -> Any:
        """The covector p' of a step.

        Args:
            new_state: of `optax()`, after the step.
            gradient: of the loss, in this step.
            parameters: before the step.

        Returns:
            A pytree like the parameters.
        """
        kept = self.trace(new_state)
        if kept is not None:
            return kept
        decay = self.coupled_decay
        return jax.tree.map(lambda g, q: g + decay * q, gradient, parameters)

    def metric(self, new_state: PyTree, gradient: PyTree, state: PyTree) -> Any | None:
        """The diagonal metric of a step, as a pytree; None for the Euclidean one.

        Args:
            new_state: of `optax()`, after the step.
            gradient: of the loss, in this step, a pytree like the parameters.
            state: of `optax()`, before the step.

        Returns:
            A pytree like the parameters, with arrays of their shapes, or None.
        """
        return None

    def of(self, block: Block) -> Rule:
        """The rule as it treats one block: itself, but for one made of several.

        Args:
            block: named by the path of a parameter.

        Returns:
            A `Rule`.
        """
        return self

    @property
    def unsolved(self) -> str:
        """Why it has no continuous law, in words, if it is not Euclidean."""
        return f"the metric of {type(self).__name__} moves"

    def velocity(self, block: Block) -> Any:
        """The velocity of a step from what was measured, in the `role`s of a block.

        Args:
            block: named by the path of a parameter.

        Returns:
            An expression in `lg.role(block, ...)` and `lg.learning_rate`.
        """
        return discrete.role(block, "update") / discrete.learning_rate

    def slow_velocity(self, block: Block) -> Any:
        """The velocity that the gradient of a step alone would keep up, in `role`s.

        Args:
            block: named by the path of a parameter.

        Returns:
            An expression in the block, `lg.role(block, "gradient")` and the symbols of
            `parameters` that change with the rate.
        """
        return self._in_roles(self.gradient_flow, block)

    def starting_velocity(self, block: Block) -> Any:
        """`initial_velocity` in the `role`s of a block.

        Args:
            block: named by the path of a parameter.

        Returns:
            An expression as of `slow_velocity`.

        Raises:
            LagrangianError: as of `initial_velocity`.
        """
        return self._in_roles(self.initial_velocity, block)

    def _in_roles(self, flow: Callable[[Loss], dict[Any, Any]], block: Block) -> Any:
        loss = Loss("f", block)
        values, others = self.parameters(1.0), self.parameters(0.5)
        # What is the same at every rate is put in, so that fewer products are recorded.
        constant = {s: sp.sympify(v) for s, v in values.items() if v == others[s]}
        pull = {loss.gradient(block): discrete.role(block, "gradient")}
        return flow(loss)[block].xreplace(pull | constant)

    def _eta(self, learning_rate: Any) -> Any:
        eta = self.learning_rate if learning_rate is None else learning_rate
        if callable(eta):
            raise LagrangianError(
                "this rule has a learning-rate schedule, so its mass changes with the "
                "step. Say at which rate: `rule.parameters(rule.learning_rate(step))`."
            )
        return eta


def check_learning_rate(value: Any) -> None:
    """Raise unless it is a schedule or a number above 0."""
    if not callable(value) and not value > 0:
        raise LagrangianError(f"`learning_rate` is {value}; pass a number above 0.")


def check_share(name: str, value: float) -> None:
    """Raise unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise LagrangianError(f"`{name}` is {value}; pass a number in [0, 1).")


def check_nonnegative(name: str, value: float) -> None:
    """Raise unless value >= 0."""
    if not value >= 0:
        raise LagrangianError(f"`{name}` is {value}; pass 0 or a positive number.")
