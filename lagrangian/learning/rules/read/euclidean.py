"""Rules that were found to be linear in the gradients of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.learning.rules.euclidean import EuclideanRule
from lagrangian.learning.rules.read.linear import Filter, ratio
from lagrangian.learning.rules.read.read_rule import ReadRule
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
        direct = -ratio(found.D * found.scale, kind.rate)
        if not found.states:
            return direct, sp.S.Zero
        through = -ratio(found.C[0] * found.factor, kind.rate)
        share, feed = found.A[0, 0], found.feed * found.B[0]
        if share == 0:  # of what is kept for one step, or not at all
            return None if through != 0 else (direct / covector.gain, sp.S.Zero)
        a = through / share
        return a * covector.scale, direct - a * feed

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
            if covector.memory == 0:
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
        beta = momentum if covector.memory != 0 else sp.S.Zero
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


def _float(value: Any) -> Any:
    """1 stays a whole number, so that nothing is multiplied by it."""
    return int(value) if value.is_Integer else float(value)
