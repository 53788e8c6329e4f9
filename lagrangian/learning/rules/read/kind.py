"""What was derived of an update: its covector, and its kind of kinetic energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.linear import Filter, ratio
from lagrangian.learning.rules.read.part import State, count, q
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: The covector of which an update is a function.
P = EngineSymbol("P", real=True)
#: Its length over an array or the tree.
LENGTH = EngineSymbol("|P|", positive=True)


@dataclass(frozen=True)
class Covector:
    """p' = memory p + gain (grad f + decay q), in numbers.

    Attributes:
        state: the field that keeps it, times `scale`; None for the gradient itself.
    """

    state: State | None
    memory: Any
    gain: Any
    decay: Any
    scale: Any = sp.S.One


@dataclass(frozen=True)
class Kind:
    """What was derived of one array's update.

    Attributes:
        name: "euclidean", "metric", "convex", "none" or "opaque".
        reason: in words, where there is no kinetic energy.
        rate: the learning rate, a function of `count`.
        covector: of the balance.
        age: tau, in steps.
        response: H/(-eta): what a constant gradient of one moves, per learning rate.
        coupled, decoupled: the weight decays through the gradient and past it.
        metric: D, of a metric; P/phi(P) of a convex function.
        slope: phi, a function of `P`, and of `LENGTH` if it is one of the length.
        exact: whether that is so from the first step on, without noise.
        starts_full: whether averages that start at zero are made up for.
        filter: the linear part, where there is one.
        update: u without noise, and without what happens almost nowhere.
    """

    name: str
    reason: str = ""
    rate: Any = sp.S.One
    covector: Covector = Covector(None, sp.S.Zero, sp.S.One, sp.S.Zero)
    age: Any = sp.S.Zero
    response: Any = sp.S.One
    coupled: Any = sp.S.Zero
    decoupled: Any = sp.S.Zero
    metric: Any = None
    slope: Any = None
    exact: bool = True
    starts_full: bool = False
    update: Any = None
    filter: Filter | None = None

    @property
    def runs_away(self) -> bool:
        """Whether the mass is not above zero, so that no second-order flow follows.

        Of what extrapolates, whose gradients are newer than the move.
        """
        return bool(self.age <= -sp.Rational(1, 2))


def covector_of(found: Filter, fixed: Any) -> Covector:
    """The first of the `fixed` states that only gradients feed."""
    exact = {s.name: s for s in fixed}
    for i, state in enumerate(found.states):
        if state.name not in exact:
            continue
        others = [a for j, a in enumerate(found.A[i, :]) if j != i]
        share, gain = found.A[i, i], found.B[i] * found.feed
        pull = found.K[i]
        if any(others) or not all(x.is_number for x in (share, gain, pull)):
            continue
        if gain == 0 or not 0 <= share < 1:
            continue
        if gain < 0:  # the learning rate is in the trace
            return Covector(state, share, sp.S.One, pull / gain, gain)
        return Covector(state, share, gain, pull / gain)
    decay = sp.S.Zero
    if not found.states and found.D != 0:
        share = ratio(found.E, found.D * found.scale)
        decay = share if share.is_number else decay
    return Covector(None, sp.S.Zero, sp.S.One, decay)


def coefficients_of_decay(update: Any) -> tuple[Any, Any]:
    """(factor, rest): what q adds to an update by itself."""
    terms = sp.Add.make_args(update)
    own = [t for t in terms if q in t.free_symbols and (t / q).free_symbols <= {count}]
    move = sp.Add(*(t / q for t in own))
    return move, sp.Add(*(t for t in terms if t not in own))


#: Steps at which the sign of a schedule is looked at, which may warm up and end.
_LOOKED_AT = (0, 1, 2, 5, 10, 100, 1000, 10**5)


def goes_down(rate: Any) -> bool:
    """Whether a move at this rate goes down the gradient, and never up."""
    if not rate.has(count):
        return bool(rate < 0)
    found = [rate.xreplace({count: sp.Integer(k)}) for k in _LOOKED_AT]
    return all(r <= 0 for r in found) and any(r < 0 for r in found)
