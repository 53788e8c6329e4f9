"""What kind of kinetic energy an update has, derived from its symbols.

With u the update of an element and t = sum of learning rates:

- *Euclidean*: u is linear in the gradients of the past. Its steps solve
  m qddot + mu qdot + lambda q = -grad f to second order: with H the sum of the weights
  and tau their mean age in steps, mu = -eta/H and m = mu eta (1/2 + tau).
- *metric*: linear with what else is in it held fixed, u = -eta P/D: T = <v, D v>/2.
- *convex*: u = -eta phi(P) with phi the slope of a convex function of a covector P: T
  is its Legendre transform.
- none of these: no kinetic energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.convex import is_increasing
from lagrangian.learning.rules.read.elements import (
    Part,
    State,
    count,
    g,
    is_nonnegative,
    q,
)
from lagrangian.learning.rules.read.linear import (
    Filter,
    coefficients,
    factored,
    filter_of,
    linear_states,
    ratio,
)
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
        momentum: P as a combination of the gradient and of averages.
        slope: phi, a function of `P`, and of `LENGTH` if it is one of the length.
        output: the factors of u per learning rate, in terms of g, q and the states.
        exact: whether that is so from the first step on, without noise.
        starts_full: whether averages that start at zero are made up for.
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
    momentum: Any = None
    slope: Any = None
    output: Mapping[Any, Any] | None = None
    exact: bool = True
    starts_full: bool = False
    update: Any = None

    @property
    def runs_away(self) -> bool:
        """Whether the mass is not above zero, so that no second-order flow follows.

        Of what extrapolates, whose gradients are newer than the move.
        """
        return bool(self.age <= -sp.Rational(1, 2))

    filter: Filter | None = None


#: Of what is only a part of a rule.
UPHILL = "it moves along the gradient, and not down: chain it with `optax.scale(-eta)`"


def kind_of(part: Part) -> Kind:
    """Derive what an array's update is."""
    if part.update is None:
        return _unreadable(part)
    update = _typical(part)
    typical = replace(
        part,
        states=tuple(
            replace(s, update=almost_everywhere(s.update, part.nonnegative))
            for s in part.states
        ),
    )
    if not update.free_symbols - {count}:
        if update == 0:
            return Kind("none", "it does not move")
        return Kind("none", "it does not depend on the gradient")
    fixed, frozen = linear_states(part, True), linear_states(typical, False)
    kind = (
        _euclidean(update, fixed, part)
        or _convex(update, part, fixed)
        or _metric(update, part, fixed, frozen)
        or _convex_at_q(update)
        or Kind("none", _why(update, part, frozen))
    )
    return replace(kind, update=update)


def _typical(part: Part) -> Any:
    """The update without noise, and without what happens almost nowhere."""
    noise = {s: sp.S.Zero for s in part.update.free_symbols if s.name == "xi"}
    update = part.update.xreplace(noise if part.noise else {})
    return almost_everywhere(update, part.nonnegative)


def _unreadable(part: Part) -> Kind:
    if part.opaque:
        first = part.opaque[0]
        more = f", and {len(part.opaque) - 1} more" if len(part.opaque) > 1 else ""
        return Kind(
            "opaque", f"no symbolic form: {first.primitive} in {first.place}{more}"
        )
    return Kind(
        "opaque",
        "its elements are not updated alike, or its state is laid out otherwise",
    )


def _why(update: Any, part: Part, frozen: Any) -> str:
    """What stands in the way of a kinetic energy."""
    counters = [s.name for s in part.states if s.before.is_integer]
    if update.free_symbols & {s.before for s in part.states if s.before.is_integer}:
        return f"its steps differ by the counter `{counters[0]}`"
    if coefficients_of_decay(update)[0] == -1:
        return (
            "it sets q anew in every step, from averages that it keeps (dual averaging)"
        )
    known = {v for s in frozen for v in (s.before, s.after)}
    other = sorted(
        s.name
        for s in part.states
        if not {s.before, s.after} & known and {s.before, s.after} & update.free_symbols
    )
    if other and g not in update.free_symbols:
        return f"it moves by `{other[0]}`, which is no average of gradients"
    return "it is no gradient of a convex function of a covector"


#: Below this, a threshold guards against a division by zero.
_GUARD = sp.Rational(1, 10**5)


def almost_everywhere(expression: Any, nonnegative: frozenset[Any]) -> Any:
    """Without what happens at the first step, near zero, or where numbers are equal."""
    if not expression.has(sp.core.relational.Relational):
        return expression

    def is_rare(node: Any) -> bool:
        return _verdict(node, nonnegative) is not None

    return expression.replace(is_rare, lambda node: _verdict(node, nonnegative))


def _verdict(node: Any, nonnegative: frozenset[Any]) -> Any:
    if not isinstance(node, sp.core.relational.Relational):
        return None
    symbols = node.free_symbols
    if isinstance(node, sp.Eq | sp.Ne):
        first = count in node.args and symbols == {count}
        if first or not all(s.is_integer for s in symbols):
            return sp.false if isinstance(node, sp.Eq) else sp.true
        return None
    large, small = node.gts, node.lts
    if symbols == {count} and count in (large, small):
        number = small if large == count else large
        return sp.true if large == count else sp.false if number <= 1 else None
    if small.is_number and 0 <= small <= _GUARD and not large.is_number:
        return sp.true if is_nonnegative(large, nonnegative) else None
    if large.is_number and 0 <= large <= _GUARD and not small.is_number:
        return sp.false if is_nonnegative(small, nonnegative) else None
    return None


def _euclidean(update: Any, states: Any, part: Part) -> Kind | None:
    found = filter_of(update, states, True)
    if found is None or not found.stable:
        return None
    if not all(f.free_symbols <= {count} for f in found.output.values()):
        return None
    late = found.late()
    response, decays, age = late.response, late.decays, late.age
    if response == 0 or decays is None or not age.is_number:
        return None
    rate, rest = factored(response)
    if rest != 1:
        return None
    covector = _covector(found, states)
    rate = -rate * (1 - covector.memory) / covector.gain
    if not _negative(-rate):
        return Kind("none", UPHILL)
    coupled, move = decays
    decoupled = -move / rate
    if not (coupled.is_number and decoupled.is_number):
        return None
    return Kind(
        "euclidean",
        rate=rate,
        covector=covector,
        age=age,
        response=covector.gain / (1 - covector.memory),
        coupled=coupled,
        decoupled=decoupled,
        output={v: ratio(f, rate) for v, f in found.output.items()},
        exact=update == part.update
        and all(ratio(f, rate).is_number for f in found.output.values()),
        starts_full=any(
            _has_power(f, pole) for f in found.output.values() for pole in found.poles
        ),
        filter=found,
    )


def _covector(found: Filter, fixed: Any) -> Covector:
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
        if gain == 0 or not 0 < share < 1:
            continue
        if gain < 0:  # the learning rate is in the trace
            return Covector(state, share, sp.S.One, pull / gain, gain)
        return Covector(state, share, gain, pull / gain)
    decay = sp.S.Zero
    if not found.states and found.D != 0:
        share = ratio(found.E, found.D * found.scale)
        decay = share if share.is_number else decay
    return Covector(None, sp.S.Zero, sp.S.One, decay)


def _metric(update: Any, part: Part, fixed: Any, frozen: Any) -> Kind | None:
    for with_q in (True, False):
        found = filter_of(update, frozen, with_q)
        if found is not None and g_matters(found):
            break
    else:
        return None
    if not all(p.is_number and abs(p) < 1 for p in found.poles):
        return None
    covector = _covector(found, fixed)
    late = found.late()
    response = _corrected(found, covector)
    rate, rest = factored(late.response if response is None else response)
    if rest == 1 or rate == 0:
        return None
    if not _negative(rate):
        return Kind("none", UPHILL)
    rate = -rate
    decays, age = late.decays, late.age
    if decays is None:
        return None
    coupled, move = decays
    decoupled = ratio(-move, rate)
    if covector.state is None and coupled != 0:
        covector = Covector(None, sp.S.Zero, sp.S.One, coupled)
    return Kind(
        "metric",
        rate=rate,
        covector=covector,
        age=age if age.is_number else sp.S.Zero,
        coupled=coupled,
        decoupled=decoupled,
        metric=1 / rest,
        output=found.output,
        filter=found,
    )


def g_matters(found: Filter) -> bool:
    return found.D != 0 or any(b != 0 for b in found.B)


def _negative(rate: Any) -> bool:
    number = rate.as_coeff_Mul()[0]
    if rate.is_number or number != 1:
        return bool(number < 0)
    return bool(rate.subs(count, 1000) < 0) if rate.has(count) else False


def _corrected(found: Filter, covector: Covector) -> Any:
    """The response, where an average makes up for its start at zero."""
    state = covector.state
    if state is not None and len(found.states) == 1 and found.D == 0:
        factor = found.output.get(state.after)
        if factor is not None:
            share = covector.memory
            corrected = factor * (1 - share ** (count + 1))
            full = covector.gain * covector.scale / (1 - share)
            if not _has_power(corrected, share):
                return corrected * full
    return None


def _has_power(expression: Any, base: Any) -> bool:
    return any(p.base == base and p.exp.has(count) for p in expression.atoms(sp.Pow))


def _convex(update: Any, part: Part, states: Any) -> Kind | None:
    past = coefficients_of_decay(update)
    move, rest = past
    combination = _argument(rest, states)
    if combination is None:
        return None
    found = filter_of(combination, states, True)
    if found is None or not found.stable:
        return None
    response = found.response
    if response == 0 or not response.is_number:
        return None
    decays = found.decays
    if decays is None or decays[1] != 0 or not decays[0].is_number:
        return None
    combination = sp.expand(combination / response)
    slope = _in_covector(rest, combination)
    length = None
    if slope is None:
        return None
    allowed = {P, count}
    sums = [s for s in slope.free_symbols if s in part.sums]
    if sums:
        radial = _radial(slope, sums, part, combination)
        if radial is None:
            return None
        (slope, length), allowed = radial, {P, LENGTH, count}
    elif any(s in part.sums for s in rest.free_symbols):
        return None
    if not slope.free_symbols <= allowed | _settled_states(part):
        return None
    if coefficients(slope, [P]) and not sums:
        return None  # linear: a metric
    rate, slope = _rate_and_slope(-slope)
    if slope is None or not is_increasing(slope, P, LENGTH):
        return None
    decoupled = sp.cancel(-move / rate)
    if not decoupled.is_number:
        return None
    return Kind(
        "convex",
        rate=rate,
        covector=_with_decay(_covector(found, states), decays[0]),
        age=found.age,
        coupled=decays[0],
        decoupled=decoupled,
        metric=_unsigned(P / slope).xreplace({P: combination, LENGTH: length}),
        momentum=combination,
        slope=slope,
        filter=found,
    )


def _convex_at_q(update: Any) -> Kind | None:
    """A convex function of the gradient that is another one at every q (mirrors)."""
    if update.free_symbols != {g, q} or update.xreplace({g: sp.S.Zero}) != 0:
        return None
    slope = -update.xreplace({g: P})
    if not slope.diff(P).is_positive:
        return None
    return Kind("convex", momentum=g, slope=slope, metric=-g / update)


def _unsigned(expression: Any) -> Any:
    """x/sign(x) as |x|."""
    signs = {s: s.args[0] / sp.Abs(s.args[0]) for s in expression.atoms(sp.sign)}
    return expression.xreplace(signs)


def _with_decay(covector: Covector, decay: Any) -> Covector:
    if covector.state is None and decay != 0:
        return Covector(None, sp.S.Zero, sp.S.One, decay)
    return covector


def _settled_states(part: Part) -> set[Any]:
    """Averages that are given when the step is made: a step size of each element."""
    return {v for s in part.states for v in (s.before, s.after)}


def coefficients_of_decay(update: Any) -> tuple[Any, Any]:
    """(factor, rest): what q adds to an update by itself."""
    terms = sp.Add.make_args(update)
    own = [t for t in terms if q in t.free_symbols and (t / q).free_symbols <= {count}]
    move = sp.Add(*(t / q for t in own))
    return move, sp.Add(*(t for t in terms if t not in own))


def _argument(rest: Any, states: Any) -> Any:
    """The linear combination of which all else is a function."""
    symbols = {v for s in states for v in (s.before, s.after)} | {g}
    present = rest.free_symbols & symbols
    if present == {g} and q not in rest.free_symbols:
        return g
    if len(present) == 1 and q not in rest.free_symbols:
        return present.pop()
    variables = [g, q, *symbols - {g}]
    largest = None
    for node in sp.preorder_traversal(rest):
        if isinstance(node, sp.Add) and (found := coefficients(node, variables)):
            if all(f.is_number for f in found.values()) and found.keys() & symbols:
                largest = node
                break
    if largest is None and present == {g}:
        return g
    return largest


def _in_covector(rest: Any, combination: Any) -> Any:
    """The expression with P in the place of its argument; None if more is left."""
    variables = sorted(combination.free_symbols, key=lambda s: (s != g, s.name))
    pivot = variables[0]
    found = coefficients(combination, variables)
    if not found:
        return None
    others = sp.Add(*(f * v for v, f in found.items() if v != pivot))
    told = rest.xreplace({pivot: sp.expand((P - others) / found[pivot])})
    if told.free_symbols & set(variables):
        told = sp.expand(told)
    return None if told.free_symbols & set(variables) - {P} - ({q} - {pivot}) else told


def _radial(slope: Any, sums: Any, part: Part, combination: Any) -> Any:
    """The slope as a function of |P|, and |P|, where the only sum in it is of P^2."""
    if len(sums) != 1:
        return None
    kind, term, _ = part.sums[sums[0]]
    if kind not in ("sum", "mean"):
        return None
    share = sp.cancel(term / combination**2)
    if not (share.is_number and share > 0):
        return None
    factor = coefficients(slope, [P])
    if not factor:
        return None
    told = P * factor[P].xreplace({sums[0]: share * LENGTH**2})
    return told, sp.sqrt(sums[0] / share)


def _rate_and_slope(slope: Any) -> tuple[Any, Any]:
    """(eta, phi): with the numbers in front, if phi then has a plain scale."""
    rate, rest = factored(slope)
    if rate.is_number and rate < 0:
        rate, rest = -rate, -rest
    return (rate, rest) if rate != 0 else (rate, None)
