"""Mirror descent and natural gradient descent in the geometry of a potential h."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
import sympy as sp
from jax.typing import ArrayLike
from optax import GradientTransformation

from lagrangian.errors import LagrangianError, nearest
from lagrangian.learning.rules.potentials import ByPath, Elementwise, by_path
from lagrangian.learning.rules.rule import (
    Rule,
    check_learning_rate,
    check_nonnegative,
)
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.symbolic.algebra.blocks import Block, ones
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.laws.backward_error import Recursion
from lagrangian.symbolic.laws.discrete import learning_rate, weight_decay
from lagrangian.symbolic.mechanics.bregman import bregman_lagrangian
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

_x, _z = sp.symbols("x z", cls=EngineSymbol, real=True)
_q, _step = sp.symbols("q step", cls=EngineSymbol, real=True)


class GeometricRule(Rule):
    """A gradient step in the geometry of a metric of q, element by element."""

    @abstractmethod
    def _metric_of(self, w: Any) -> Any:
        """The metric of a block."""

    def _pull(self, loss: Loss, w: Any) -> Any:
        return loss.gradient(w) + weight_decay * w

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        """The first-order flow: qdot = -grad F / D(q), element by element."""
        return {w: -self._pull(loss, w) / self._metric_of(w) for w in loss.blocks}

    def initial_velocity(self, loss: Loss) -> dict[Any, Any]:
        """That of the first-order flow: without momentum there is no rest to leave."""
        decay = {weight_decay: sp.sympify(self.coupled_decay)}
        return {w: v.xreplace(decay) for w, v in self.gradient_flow(loss).items()}

    def parameters(self, learning_rate: ArrayLike | None = None) -> dict[Any, Any]:
        return {
            rate_symbol: self._eta(learning_rate),
            weight_decay: self.coupled_decay,
        }


#: A function of one element, as users give it, as it is kept, or one by each pattern.
Potential = Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]] | ByPath


@dataclass(frozen=True)
class PotentialRule(GeometricRule):
    """What the rules of this file share: a strictly convex potential, elementwise.

    The metric is its second derivative. Arrays may have potentials of their own, by
    patterns of their paths: all else is that of the whole rule.
    """

    potential: Potential
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_nonnegative("weight_decay", self.weight_decay)
        object.__setattr__(self, "potential", by_path(self.potential, _x))
        if isinstance(self.potential, ByPath):
            _ = self._parts  # made now, so that an error comes now
        elif sp.simplify(self._derivative(2, _x)) == 0:
            raise LagrangianError(
                f"`potential` is {self._h(_x)}, whose second derivative is "
                "zero. Pass a strictly convex function, such as `lambda x: x**2/2`."
            )

    @cached_property
    def _parts(self) -> dict[str, PotentialRule]:
        """The rule of each pattern; none if all arrays have one potential."""
        if not isinstance(self.potential, ByPath):
            return {}
        return {p: self._part(p, h) for p, h in self.potential.items}

    def _part(self, pattern: str, potential: Elementwise) -> PotentialRule:
        return replace(self, potential=potential)

    def of(self, block: Block) -> PotentialRule:
        """The rule with the potential of one block.

        Args:
            block: named by the path of a parameter.

        Returns:
            A rule of the same class.

        Raises:
            UnknownBlock: no pattern matches its path.
        """
        if not isinstance(self.potential, ByPath):
            return self
        return self._parts[self.potential.pattern(block.name)]

    @property
    def _h(self) -> Elementwise:
        assert isinstance(self.potential, Elementwise)
        return self.potential

    @property
    def coupled_decay(self) -> float:
        return self.weight_decay

    def _derivative(self, order: int, at: Any) -> Any:
        return self._h.derivative(order).xreplace({self._h.symbol: at})

    def _metric_of(self, w: Any) -> Any:
        return self.of(w)._derivative(2, w)

    @abstractmethod
    def _moved(self, q: Any, step: Any) -> Any:
        """Where an element goes from `q`, in SymPy; `step` is eta grad F."""

    def _change(self, q: Any, step: Any) -> Any:
        """By how much; zero for a zero step in the form in which it is written."""
        return self._moved(q, step) - q

    @cached_property
    def _written_change(self) -> Any:
        """How far `_q` moves for `_step`; written once, for all arrays and steps."""
        return self._moved(_q, _step) - _q

    def recursion(self, loss: Loss | None = None) -> Recursion:
        if loss is None and self._parts:
            raise LagrangianError(
                f"{type(self).__name__} has a potential for each array here. Say of "
                'which, as in `rule.of(lg.blocks("dense.kernel"))`.'
            )
        loss = loss or Loss("f", Block("w"))
        return Recursion(
            {
                w: self.of(w)._change(w, learning_rate * self._pull(loss, w))
                for w in loss.blocks
            }
        )

    def optax(self) -> GradientTransformation:
        """A transformation of this project's own: optax has none of this kind."""

        def init(params: Any) -> Any:
            if isinstance(self.potential, ByPath):
                self.potential.check(named_leaves(params))
            return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            rate = self.rate(state.count)
            values, structure = jax.tree.flatten(params)

            def move(path: str, value: Any, gradient: Any) -> Any:
                size = rate * (gradient + self.weight_decay * value)
                change = self.of(Block(path))._written_change
                return evaluate([change], {_q: value, _step: size})[0]

            slopes = jax.tree.leaves(updates)
            moved = [*map(move, named_leaves(params), values, slopes)]
            after = optax.ScaleByScheduleState(count=state.count + 1)
            return jax.tree.unflatten(structure, moved), after

        return GradientTransformation(init, update)


#: The learning rate where a Lagrangian divides by it.
rate_symbol = sp.Symbol("eta", positive=True)


@dataclass(frozen=True)
class MirrorDescent(PotentialRule):
    """A gradient step on the dual variable grad h(q), element by element.

    h'(q') = h'(q) - eta (grad f + lambda q). To second order in eta it is the
    Euler-Lagrange equation of the Bregman Lagrangian with alpha = log(2/eta),
    beta = -alpha and gamma = 2 t/eta, that is d/dt grad h(q + (eta/2) qdot) = -grad F
    (the rule: Beck & Teboulle, "Mirror descent and nonlinear projected subgradient
    methods for convex optimization", 2003; the Lagrangian: `lg.bregman_lagrangian`).

    Args:
        learning_rate: eta > 0, or a schedule.
        potential: h, from a SymPy symbol to its value, strictly convex; as
            `lambda x: x * sp.log(x) - x`, which makes it exponentiated gradient. Or one
            for each array, by patterns of their paths, of which the first that matches
            counts.
        weight_decay: lambda >= 0, through the gradient.
        inverse: the inverse of h', if SymPy does not find it; by the same patterns, if
            there are several.

    Raises:
        LagrangianError: a learning rate or decay outside its range; a potential that is
            not strictly convex, or whose derivative has no inverse that SymPy finds; an
            inverse for a pattern that `potential` has not.

    >>> import lagrangian as lg
    >>> import sympy as sp
    >>> entropy = lambda x: x * sp.log(x) - x
    >>> rule = lg.MirrorDescent(0.1, {"out.*": entropy, "*": lambda x: x**2 / 2})
    >>> rule.of(lg.blocks("out.kernel")).potential
    x -> x*log(x) - x
    """

    inverse: Any = None

    def __post_init__(self) -> None:
        if self.inverse is not None:
            object.__setattr__(self, "inverse", by_path(self.inverse, _z))
        self._check_patterns()
        super().__post_init__()
        if not self._parts:
            _ = self._inverse  # found now, so that an error comes now

    def _check_patterns(self) -> None:
        """Raise unless every pattern of `inverse` is one of `potential`."""
        if not isinstance(self.inverse, ByPath):
            return
        potential = by_path(self.potential, _x)
        known = potential.patterns if isinstance(potential, ByPath) else []
        if stray := [p for p in self.inverse.patterns if p not in known]:
            advice = nearest(stray[0], known) if known else "Pass one function."
            raise LagrangianError(
                f"`inverse` has the pattern `{stray[0]}`, which `potential` has not. "
                f"{advice}"
            )

    def _part(self, pattern: str, potential: Elementwise) -> PotentialRule:
        known = dict(self.inverse.items) if isinstance(self.inverse, ByPath) else {}
        return replace(self, potential=potential, inverse=known.get(pattern))

    @cached_property
    def _inverse(self) -> Any:
        """The element whose h' is z, as an expression in z."""
        slope = self._derivative(1, _x)
        if self.inverse is not None:
            found = [sp.sympify(self.inverse(_z))]
        else:
            try:
                found = sp.solve(slope - _z, _x)
            except NotImplementedError:
                found = []
        if len(found) != 1 or not self._inverts(slope, found[0]):
            raise LagrangianError(
                f"the derivative of `potential`, {slope}, has no inverse that was "
                f"found{' right' if self.inverse else ''}. Pass it as `inverse`, a "
                "function from z to the x with h'(x) = z."
            )
        return found[0]

    @staticmethod
    def _inverts(slope: Any, inverse: Any) -> bool:
        """Whether inverse(h'(x)) = x wherever h' is real, at a few points."""
        for point in (-1.3, -0.2, 0.4, 1.7):
            z = slope.subs(_x, sp.Float(point, 30)).evalf(30)
            if z.is_real and abs(inverse.subs(_z, z).evalf(30) - point) > 1e-20:
                return False
        return True

    def _moved(self, q: Any, step: Any) -> Any:
        return self._inverse.xreplace({_z: self._derivative(1, q) - step})

    def _change(self, q: Any, step: Any) -> Any:
        # SymPy does not see that asinh(sinh(q)) is q.
        return self._moved(q, step) - self._moved(q, sp.S.Zero)

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """The Bregman Lagrangian, in the symbols eta and lambda."""
        alpha, damping = sp.log(2 / rate_symbol), 2 * time / rate_symbol

        def distance(w: Any) -> Any:
            return lambda x: Inner(ones, self.of(w)._h(x))

        potentials = {w: distance(w) for w in loss.blocks}
        free = bregman_lagrangian(loss, alpha, -alpha, damping, potentials)
        decay = sp.Add(*(Inner(w, w) for w in loss.blocks))
        return Lagrangian(
            free.T,
            free.V + weight_decay / 2 * decay,
            damping=damping,
            coordinates=loss.blocks,
        )


@dataclass(frozen=True)
class NaturalGradient(PotentialRule):
    """A gradient step divided by the metric h''(q), element by element.

    q' = q - eta (grad f + lambda q)/h''(q) (Amari, "Natural Gradient Works Efficiently
    in Learning", 1998). Its kinetic energy is that of the metric,
    m/2 <qdot, h''(q) qdot> with m = eta/2, and its friction acts on h''(q) qdot. A step
    goes straight in q and not along a geodesic: that is a force, m/2 h'''(q) qdot^2.

    Args:
        learning_rate: eta > 0, or a schedule.
        potential: h, from a SymPy symbol to its value, strictly convex; or one for each
            array, by patterns of their paths, of which the first that matches counts.
        weight_decay: lambda >= 0, through the gradient.

    Raises:
        LagrangianError: a learning rate or decay outside its range, or a potential that
            is not strictly convex.

    >>> import lagrangian as lg
    >>> lg.NaturalGradient(0.1, lambda x: x**2 / 2).potential
    x -> x**2/2
    """

    def _moved(self, q: Any, step: Any) -> Any:
        return q - step / self._derivative(2, q)

    def lagrangian(self, loss: Loss) -> Lagrangian:
        """The Lagrangian of the metric, with its force, in eta and lambda."""
        return geometric_lagrangian(
            loss, self._metric_of, lambda w: self.of(w)._derivative(3, w)
        )


def geometric_lagrangian(
    loss: Loss, metric: Callable[[Any], Any], slope: Callable[[Any], Any]
) -> Lagrangian:
    """m/2 <qdot, D(q) qdot> - F with m = eta/2, for steps that are straight in q.

    Args:
        loss: opaque.
        metric, slope: D and its derivative, elementwise, of a block.
    """
    kinetic, decay, forces = sp.S.Zero, sp.S.Zero, {}
    for w in loss.blocks:
        kinetic += Inner(w.dot, metric(w) * w.dot)
        decay += Inner(w, w)
        force = rate_symbol / 4 * slope(w) * w.dot**2
        if force != 0:
            forces[w] = force
    return Lagrangian(
        rate_symbol / 4 * kinetic,
        loss + weight_decay / 2 * decay,
        damping=2 * time / rate_symbol,
        coordinates=loss.blocks,
        forces=forces,
    )
