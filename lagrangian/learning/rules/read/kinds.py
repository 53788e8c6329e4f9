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

from dataclasses import replace
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.convex_kind import convex, convex_at_q
from lagrangian.learning.rules.read.kind import (
    Covector,
    Kind,
    coefficients_of_decay,
    covector_of,
    goes_down,
)
from lagrangian.learning.rules.read.linear import (
    Filter,
    coefficients,
    factored,
    fading,
    filter_of,
    linear_states,
    ratio,
)
from lagrangian.learning.rules.read.part import Part, count, g, q
from lagrangian.learning.rules.read.typical import typical

#: Of what is only a part of a rule.
UPHILL = "it moves along the gradient, and not down: chain it with `optax.scale(-eta)`"


def kind_of(part: Part) -> Kind:
    """Derive what an array's update is."""
    if part.update is None:
        return _unreadable(part)
    usual = typical(part)
    update = usual.update
    if not update.free_symbols - {count}:
        if update == 0:
            return Kind("none", "it does not move")
        return Kind("none", "it does not depend on the gradient")
    fixed, frozen = linear_states(part, True), linear_states(usual, False)
    kind = (
        _euclidean(update, fixed, part)
        or convex(update, part, fixed)
        or _metric(update, part, fixed, frozen)
        or _geometry(update)
        or convex_at_q(update)
        or Kind("none", _why(update, part, frozen))
    )
    return replace(kind, update=update)


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
    rows = [update, *(s.update for s in part.states)]
    if any(coefficients_of_decay(row)[0].has(count) for row in rows):
        return "its weight decay changes with the step"
    known = {v for s in frozen for v in (s.before, s.after)}
    other = sorted(
        s.name
        for s in part.states
        if not {s.before, s.after} & known and {s.before, s.after} & update.free_symbols
    )
    if other and g not in update.free_symbols:
        return f"it moves by `{other[0]}`, which is no average of gradients"
    return "it is no gradient of a convex function of a covector"


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
    covector = covector_of(found, states)
    rate = -rate * (1 - covector.memory) / covector.gain
    if not goes_down(-rate):
        return Kind("none", UPHILL)
    coupled, move = decays
    decoupled = ratio(-move, rate)
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
        exact=update == part.update
        and all(ratio(f, rate).is_number for f in found.output.values()),
        starts_full=any(
            _has_power(f, pole) for f in found.output.values() for pole in found.poles
        ),
        filter=found,
    )


def _metric(update: Any, part: Part, fixed: Any, frozen: Any) -> Kind | None:
    for with_q in (True, False):
        found = filter_of(update, frozen, with_q)
        if found is not None and _has_gradient(found):
            break
    else:
        return None
    if not all(p.is_number and abs(p) < 1 for p in found.poles):
        return None
    covector = covector_of(found, fixed)
    late = found.late()
    if not late.age.is_number:
        return Kind("none", "it adds up moves that were divided by different metrics")
    response = _corrected(found, covector)
    rate, rest = factored(late.response if response is None else response)
    if rest == 1 or rate == 0:
        return None
    if not goes_down(rate):
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
        age=age,
        coupled=coupled,
        decoupled=decoupled,
        metric=1 / rest,
        filter=found,
    )


def _geometry(update: Any) -> Kind | None:
    """A metric of q itself, and weight decay through it: -eta (g + lambda q)/D(q)."""
    if update.free_symbols != {g, q}:
        return None
    own = update.xreplace({g: sp.S.Zero})
    pull = coefficients(sp.expand(update - own), [g])
    if not pull:
        return None
    decay = ratio(own, pull[g]) / q
    if not decay.is_number:
        return None
    rate, rest = factored(pull[g])
    if not goes_down(rate):
        return Kind("none", UPHILL)
    covector = Covector(None, sp.S.Zero, sp.S.One, decay)
    metric = 1 / rest
    return Kind("metric", rate=-rate, covector=covector, coupled=decay, metric=metric)


def _has_gradient(found: Filter) -> bool:
    return found.D != 0 or any(b != 0 for b in found.B)


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
    return any(fading(p) == base for p in expression.atoms(sp.Pow))
