"""The learning rules that are read from the code of an optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import optax
import sympy as sp
from optax import GradientTransformation

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.adaptive import AdaptiveRule
from lagrangian.learning.rules.euclidean import EuclideanRule
from lagrangian.learning.rules.read.at_run_time import Step, field_arrays
from lagrangian.learning.rules.read.describe import describe, summary
from lagrangian.learning.rules.read.elements import Part, Reading, count, q
from lagrangian.learning.rules.read.elements import g as slope
from lagrangian.learning.rules.read.kinds import Covector, Kind, coefficients_of_decay
from lagrangian.learning.rules.read.linear import Filter, ratio
from lagrangian.learning.rules.read.settled import (
    averages,
    caught_up,
    filled,
    longer,
)
from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.symbolic.algebra.blocks import Block, EngineBlock
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.backward_error import Average, Recursion
from lagrangian.symbolic.laws.discrete import (
    gain,
    learning_rate,
    momentum,
    role,
    weight_decay,
)
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@dataclass(frozen=True, repr=False, eq=False)
class ReadRule(Rule):
    """A rule of which everything was read from an optax transformation.

    Attributes:
        transformation: the optax transformation.
        reading: its update in symbols, array by array (`reading.parts`).
        kinds: what was derived of each array.
    """

    transformation: GradientTransformation
    reading: Reading
    kinds: dict[str, Kind]

    def __repr__(self) -> str:
        return summary(self.reading, self.kinds)

    def __str__(self) -> str:
        return "\n".join(describe(self.reading, self.kinds))

    def __format__(self, specification: str) -> str:
        # In a sentence it is named, and not described.
        return format(repr(self), specification)

    @property
    def kind(self) -> Kind:
        """Of the first array; of all where they are updated alike."""
        return next(iter(self.kinds.values()))

    @property
    def part(self) -> Part:
        return self.reading.parts[next(iter(self.kinds))]

    @property
    def _covector(self) -> Covector:
        return self.kind.covector

    @property
    def memory(self) -> float:
        return float(self._covector.memory)

    @property
    def gain(self) -> float:
        return float(self._covector.gain)

    @property
    def coupled_decay(self) -> float:
        return float(self._covector.decay)

    def optax(self) -> GradientTransformation:
        return optax.with_extra_args_support(self.transformation)

    def trace(self, state: Any) -> Any | None:
        kept, scale = self._covector.state, self._covector.scale
        if kept is None:
            return None
        arrays = field_arrays(self.reading, kept.name, state)
        if scale == 1:
            return arrays
        return {name: a / float(scale) for name, a in arrays.items()}

    def covector(self, new_state: Any, gradient: Any, parameters: Any) -> Any:
        kept = self.trace(new_state)
        if kept is not None:
            return kept
        decay = self.coupled_decay
        if not decay:
            return gradient
        return jax.tree.map(lambda g, q: g + decay * q, gradient, parameters)

    def _no(self, what: str) -> NoReturn:
        raise LagrangianError(
            f"{self!r} has no {what}: {self.kind.reason or 'its metric moves'}. Its "
            "discrete law is exact all the same."
        )


@dataclass(frozen=True, repr=False, eq=False)
class ReadEuclidean(EuclideanRule, ReadRule):
    """A rule that was found to be linear in the gradients of the past."""

    @property
    def decoupled_decay(self) -> float:
        return float(self.kind.decoupled)

    @property
    def coupled_decay(self) -> float:
        return float(self.kind.coupled)

    @property
    def _lag(self) -> float:
        return float(self.kind.age * (1 - self.kind.covector.memory))

    def initial_velocity(self, loss: Loss) -> dict[Any, Any]:
        if self.kind.starts_full:
            return self.gradient_flow(loss)
        return super().initial_velocity(loss)

    @property
    def _filter(self) -> Filter:
        assert self.kind.filter is not None  # of this kind, all have one
        return self.kind.filter

    @property
    def _weights(self) -> tuple[Any, Any] | None:
        """(a, b) in u = -eta (a p' + b (grad f + lambda q)) - eta delta q."""
        kind = self.kind
        found, covector = self._filter, kind.covector
        if len(found.states) > 1 or not kind.exact:
            return None
        feed = found.feed * found.B[0] if found.states else sp.S.Zero
        rate = kind.rate
        direct = ratio(found.D * found.scale, rate)
        if not found.states:
            return sp.S.Zero, -direct
        through, share = ratio(found.C[0] * found.factor, rate), found.A[0, 0]
        if covector.state is None:
            return None  # a gradient that is kept for one step
        a = -through / share
        return a * covector.scale, -(direct + a * feed)

    def velocity(self, block: Block) -> Any:
        weights = self._weights
        if weights is None:
            return super().velocity(block)
        a, b = map(_float, weights)
        gradient = role(block, "gradient") + self.coupled_decay * block
        move = a * role(block, "next trace") if a else sp.S.Zero
        if b:
            move += b * gradient
        return -move - self.decoupled_decay * block

    def recursion(self, loss: Loss | None = None) -> Recursion:
        if loss is None:
            loss = Loss("f", Block("w"))
        found, covector = self._filter, self.kind.covector
        if len(found.states) > 1:
            self._no("recursion with one memory, as it keeps two averages")
        k = gain if covector.gain != 1 else sp.S.One
        coupled = weight_decay if self.kind.coupled else sp.S.Zero
        decoupled = weight_decay if self.kind.decoupled else sp.S.Zero
        moves, lagged = {}, {}
        for w in loss.blocks:
            pull = learning_rate * (loss.gradient(w) + coupled * w)
            shrinking = learning_rate * decoupled * w
            if covector.state is None:
                direct = ratio(found.D * found.scale, self.kind.rate)
                before = sp.S.Zero
                if found.states:
                    before = ratio(found.C[0] * found.factor, self.kind.rate)
                    before *= found.feed * found.B[0]
                moves[w] = direct * pull - shrinking
                lagged[w] = before * pull
                continue
            a, b = self._settled_weights()
            a = momentum if a == covector.memory else a
            b = b / covector.gain
            moves[w] = -(a + b) * k * pull - shrinking
            lagged[w] = momentum * (b * k * pull + shrinking)
        lagged = {w: move for w, move in lagged.items() if move != 0}
        beta = momentum if covector.state is not None else sp.S.Zero
        return Recursion(moves, beta, lagged=lagged)

    def _settled_weights(self) -> tuple[Any, Any]:
        weights = self._weights
        if weights is None:
            found, covector = self._filter.late(), self.kind.covector
            feed = found.feed * found.B[0]
            a = -ratio(found.C[0] * found.factor, self.kind.rate) / found.A[0, 0]
            direct = ratio(found.D * found.scale, self.kind.rate)
            return a * covector.scale, -(direct + a * feed)
        return weights


@dataclass(frozen=True, repr=False, eq=False)
class ReadMetric(ReadRule, AdaptiveRule):
    """A rule with a metric that is made of the state: T = <v, D v>/2, D held fixed."""

    @property
    def _decay(self) -> tuple[float, bool]:
        kind = self.kind
        if kind.decoupled.is_number and kind.decoupled != 0:
            return float(kind.decoupled), True
        return float(kind.coupled), False

    @property
    def coupled_decay(self) -> float:
        return float(self._covector.decay)

    @property
    def _mass_in_steps(self) -> float:
        return 0.5 + float(self.kind.age)

    @property
    def _move(self) -> Any:
        """The update per learning rate, without the decay that acts on q."""
        _, rest = coefficients_of_decay(self.kind.update)
        return ratio(rest, self.kind.rate)

    def _divided(self, g: Any) -> Any:
        return _in_blocks(self._settled, {slope: g})

    @property
    def _settled(self) -> Any:
        """The move once the averages have met nothing but one gradient."""
        move, part = self._forced
        settled = caught_up(part, move)
        if settled is None:
            self._no("gradient flow")
        return settled

    @property
    def _forced(self) -> tuple[Any, Part]:
        """The move, and the part, with g for what the gradient is with its decay."""
        coupled = self.kind.coupled
        if coupled == 0:
            return self._move, self.part
        put = {slope: slope - coupled * q}
        states = tuple(
            replace(s, update=sp.expand(s.update.xreplace(put)))
            for s in self.part.states
        )
        return sp.expand(self._move.xreplace(put)), replace(self.part, states=states)

    def _averaged(self, name: str, g: Any) -> tuple[Any, dict[Any, Average]]:
        if self.kind.name == "convex":
            # A sign is that of g, until an entry of g changes its own.
            return self._settled.xreplace({slope: g}), {}
        move, part = self._forced
        move, kept = filled(move), averages(part)
        blocks = {a: EngineBlock(f"{a.name.rstrip(chr(39))}({name})") for a in kept}
        known = {slope, *kept}
        if not move.free_symbols <= known or any(
            not e.free_symbols <= known for _, e in kept.values()
        ):
            self._no("recursion in averages of the gradient alone")
        put = {**blocks, slope: g}
        used = {a for a in kept if a in move.free_symbols}
        return _in_blocks(move, put), {
            blocks[a]: Average(kept[a][0], _in_blocks(kept[a][1], put)) for a in used
        }

    def start_offset(self, loss: Loss) -> dict[Any, Any]:
        ahead = longer(self.part, self._move)
        if not ahead:
            return super().start_offset(loss)
        eta = self._eta(None)
        return {w: eta * ahead * v for w, v in self.gradient_flow(loss).items()}

    def metric(self, new_state: Any, gradient: Any, state: Any) -> Any:
        return self.metric_at(new_state, gradient, state, None)

    def metric_at(
        self, new_state: Any, gradient: Any, state: Any, parameters: Any
    ) -> Any:
        gradients = named_leaves(gradient)
        q_ = None if parameters is None else named_leaves(parameters)
        parts = {name: self._part_of(name) for name in gradients}
        step = Step(self.reading, parts, gradients, q_, state, new_state)
        return {
            name: jnp.broadcast_to(step(name, self.kind.metric), leaf.shape)
            for name, leaf in gradients.items()
        }

    def _part_of(self, name: str) -> Part:
        return self.reading.parts.get(name, self.part)


@dataclass(frozen=True, repr=False, eq=False)
class AnyRule(ReadRule):
    """A rule without a kinetic energy, or with one for each of several arrays.

    Its discrete law is exact; its Lagrangian is that of free motion at unit mass, whose
    charge is <v, xi>.
    """

    @property
    def _covector(self) -> Covector:
        found = {k.covector for k in self.kinds.values()}
        if len(found) == 1 and self.kind.covector.state is not None:
            return self.kind.covector
        return Covector(None, sp.S.Zero, sp.S.One, sp.S.Zero)

    def of(self, block: Block) -> Rule:
        if block.name not in self.kinds:
            return self
        return _alone(self, block.name)

    def lagrangian(self, loss: Loss) -> Lagrangian:
        kinetic = sp.Add(*(Inner(w.dot, w.dot) for w in loss.blocks))
        return Lagrangian(kinetic / 2, loss, coordinates=loss.blocks)

    def gradient_flow(self, loss: Loss) -> dict[Any, Any]:
        self._no("gradient flow")

    def recursion(self, loss: Loss | None = None) -> Recursion:
        self._no("recursion")

    def parameters(self, learning_rate: Any = None) -> dict[Any, Any]:
        return {}


def made(tx: Any, reading: Reading, kinds: dict[str, Kind]) -> ReadRule:
    """The rule of these arrays."""
    forms = {part.form for leaf, part in reading.parts.items() if leaf in kinds}
    kind = next(iter(kinds.values()))
    if len(forms) > 1:
        return AnyRule(_common_rate(kinds), tx, reading, kinds)
    if kind.name == "euclidean" and not kind.runs_away:
        return ReadEuclidean(rate_of(kind), tx, reading, kinds)
    if kind.metric is not None and not _has_parameter(kind):
        return ReadMetric(rate_of(kind), tx, reading, kinds)
    return AnyRule(rate_of(kind), tx, reading, kinds)


def _has_parameter(kind: Kind) -> bool:
    """Whether it is another metric at every q: then it moves with q itself."""
    return q in kind.metric.free_symbols


def _common_rate(kinds: dict[str, Kind]) -> Any:
    moved = [kind for kind in kinds.values() if kind.name not in ("none", "opaque")]
    return rate_of(moved[0]) if moved else 1.0


def _alone(rule: ReadRule, leaf: str) -> ReadRule:
    """The rule as it treats one array."""
    part = rule.reading.parts[leaf]
    alike = [name for name, p in rule.reading.parts.items() if p.form == part.form]
    parts = {name: rule.reading.parts[name] for name in alike}
    kinds = {name: rule.kinds[name] for name in alike}
    reading = replace(rule.reading, parts=parts)
    return made(rule.transformation, reading, kinds)


@dataclass(frozen=True)
class ReadSchedule:
    """A learning rate as a function of the step, from its expression."""

    expression: Any

    def __call__(self, step: Any) -> Any:
        return evaluate([self.expression], {count: jnp.asarray(step)})[0]

    def __repr__(self) -> str:
        return str(self.expression)


def rate_of(kind: Kind) -> float | Callable[[Any], Any]:
    """A learning rate as a number or a schedule."""
    if kind.rate.is_number:
        return float(kind.rate)
    return ReadSchedule(kind.rate)


def _float(value: Any) -> Any:
    """1 stays a whole number, so that nothing is multiplied by it."""
    return int(value) if value.is_Integer else float(value)


def _in_blocks(expression: Any, put: dict[Any, Any]) -> Any:
    """With blocks for symbols, and |x| and sign(x) as blocks are calculated with."""
    if expression in put:
        return put[expression]
    if not expression.args:
        return expression
    inside = [_in_blocks(a, put) for a in expression.args]
    if isinstance(expression, sp.Abs):
        return sp.sqrt(inside[0] ** 2)
    if isinstance(expression, sp.sign):
        return inside[0] / sp.sqrt(inside[0] ** 2)
    return expression.func(*inside)
