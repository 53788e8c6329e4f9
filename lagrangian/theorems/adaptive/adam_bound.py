"""How large Adam's step can be, exactly: from its update as `lg.rule` reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import optax
import sympy as sp

from lagrangian.learning.rules.adaptive import Adam
from lagrangian.learning.rules.read.part import count, g
from lagrangian.learning.rules.read.read import rule
from lagrangian.symbolic.algebra.blocks import Block, EngineBlock
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Scale
from lagrangian.symbolic.laws.discrete import (
    Steps,
    learning_rate,
    momentum,
    role,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.theorem import Claim, identity

b1, b2 = sp.symbols("b_1 b_2", positive=True)
n = sp.Symbol("n", integer=True, positive=True)
#: Decay rates at which the rule is read: bounded, at the boundary, beyond it.
_READ = ("0.9", "0.999"), ("0.6", "0.36"), ("0.9", "0.8")


def bound_squared(first: Any, second: Any, steps: Any) -> Any:
    """B_n^2, with the bias factors that Adam divides by, as a finite sum."""
    ages = (1 - second**steps) / (1 - first**steps) ** 2
    powers = sum((first**2 / second) ** j for j in range(steps))
    return ages * (1 - first) ** 2 / (1 - second) * powers


def update_as_read(pair: tuple[str, str], slopes: Sequence[Any]) -> Any:
    """Adam's last step on these gradients, from what optax computes, in rationals."""
    first, second = map(float, pair)
    part = rule(optax.adam(1.0, b1=first, b2=second, eps=0.0)).part
    state = {s.before: s.start for s in part.states}
    update: Any = None
    for k, slope in enumerate(slopes):
        known = {**state, g: sp.sympify(slope), count: sp.Integer(k)}
        after = {s.after: s.update.xreplace(known) for s in part.states}
        update = part.update.xreplace(known | after)
        state = {s.before: after[s.after] for s in part.states}
    return update


def averages(slopes: Sequence[Any]) -> list[Any]:
    """m and v after these gradients, at any decay rates, as the library states Adam."""
    loss = Loss("f", Block("w"))
    (w,) = loss.blocks
    found = []
    for average in Adam(0.1).recursion(loss).averages.values():
        share = b1 if average.decay == momentum else b2
        value = sp.S.Zero
        for slope in slopes:
            source = sp.sympify(average.source).xreplace({loss.gradient(w): slope})
            value = share * value + (1 - share) * source
        found.append(value)
    return found


def weights(average: Any, slopes: Sequence[Any], power: int) -> list[Any]:
    """What an average gives to the powers of each gradient."""
    return [sp.expand(average).coeff(slope, power) for slope in slopes]


# ------------------------------------------------------------------ the bound


def bound_identities(quick: bool) -> Iterator[Claim]:
    """Cauchy-Schwarz with what is left over, and where nothing is left over."""
    for steps in (2, 3) if quick else (2, 3, 5):
        slopes = sp.symbols(f"g_1:{steps + 1}", real=True)
        m, v = averages(slopes)
        w, big = weights(m, slopes, 1), weights(v, slopes, 2)
        ages = sum(big) / sum(w) ** 2
        gap = bound_squared(b1, b2, steps) * v - ages * m**2
        squares = sum(
            (w[i] * big[j] * slopes[j] - w[j] * big[i] * slopes[i]) ** 2
            / (big[i] * big[j])
            for i, j in combinations(range(steps), 2)
        )
        what = f"n = {steps}, any gradients: (B_n^2 - u_n^2) v_n - a sum of squares"
        yield identity(what, gap - ages * squares)
        for pair in _READ[:1] if quick else _READ:
            first, second = map(sp.Rational, pair)
            worst = [(first / second) ** (steps - k) for k in range(1, steps + 1)]
            read = update_as_read(pair, worst) ** 2
            what = f"optax, b = ({pair[0]}, {pair[1]}), n = {steps}: u_n^2 - B_n^2"
            what = f"{what} at g_k = (b1/b2)^(n-k)"
            yield identity(what, read - bound_squared(first, second, steps))
    pair = _READ[0]
    flat = update_as_read(pair, [1, 1]) ** 2
    first, second = map(sp.Rational, pair)
    what = "u_2^2 - B_2^2 at equal gradients"
    yield identity(what, flat - bound_squared(first, second, 2), control=True)


def boundary_identities() -> Iterator[Claim]:
    """Where the bound stays finite: in steps, in the continuum, and when they agree."""
    ratio = sp.Symbol("r", positive=True)
    j = sp.Symbol("j", integer=True, nonnegative=True)
    inside = sp.summation((ratio / (1 + ratio)) ** j, (j, 0, sp.oo))
    # Below 1 is r/(1 + r), whose series SymPy sums without a case to tell apart.
    yield identity("sum of r^j over all j, r < 1: it minus 1/(1-r)", inside - 1 - ratio)
    finite = sp.Sum(ratio**j, (j, 0, n - 1)).doit()
    finite = finite.args[1][0] if isinstance(finite, sp.Piecewise) else finite
    what = "sum of r^j over j < n: it minus (1-r^n)/(1-r)"
    yield identity(what, finite - (1 - ratio**n) / (1 - ratio))
    no_momentum = bound_squared(sp.S.Zero, b2, 4)
    what = "b1 = 0 (RMSProp): B_n^2 - (1 - b2^n)/(1 - b2), bounded for every b2"
    yield identity(what, no_momentum - (1 - b2**4) / (1 - b2))
    yield from _continuum()


def exponent(first: Any, second: Any) -> Any:
    """C, of the kernels of the continuous model: C > 0 is its region of stability."""
    return 2 * (1 - first) / first - (1 - second) / second


def _kernel(share: Any, age: Any) -> Any:
    """What the continuous average gives to a gradient so many steps ago."""
    rate = (1 - share) / share
    return rate * sp.exp(-rate * age)


def _continuum() -> Iterator[Claim]:
    age, small, x, y = sp.symbols("s epsilon x y", positive=True)
    square = sp.powsimp(_kernel(b1, age) ** 2 / _kernel(b2, age))
    left = -sp.diff(sp.log(square), age)
    what = "continuous kernels, K_b1^2/K_b2: its rate of decay - C"
    yield identity(what, left - exponent(b1, b2))
    what = "C at b2 = b1/(2 - b1), the continuous boundary"
    yield identity(what, exponent(b1, b1 / (2 - b1)))
    discrete = sp.log(b1**2 / b2) / 2
    yield identity("ln(b1^2/b2)/2 at b2 = b1^2", discrete.subs(b2, b1**2))
    elsewhere = discrete.subs(b2, b1 / (2 - b1))
    what = "ln(b1^2/b2)/2 at b2 = b1/(2 - b1)"
    yield identity(what, elsewhere, control=True)
    near = {b1: 1 - x * small, b2: 1 - y * small}
    gap = sp.series((discrete + exponent(b1, b2) / 2).subs(near), small, 0, 3).removeO()
    gap = sp.expand(gap)
    what = "ln(b1^2/b2)/2 + C/2 at 1 - b1, 1 - b2 ~ epsilon: its terms below epsilon^2"
    yield identity(what, gap.coeff(small, 0) + gap.coeff(small, 1) * small)
    what = "and that of epsilon^2"
    yield identity(what, gap.coeff(small, 2), control=True)


# ------------------------------------------------------------------ scale


def scale_law() -> tuple[Law, Claim]:
    """What AdamW's step, with any metric D, makes of <m, W> if f(cW) = f(W)."""
    scale = Scale("W")
    (w,) = scale.loss.blocks
    kept, after = role(w, "trace"), role(w, "next trace")
    metric = EngineBlock("D")
    steps = Steps(
        scale.loss,
        memory=momentum,
        gain=1 - momentum,
        weight_decay=0,
        updates={w: -learning_rate * (weight_decay * w + metric * after)},
    )
    law = noether(steps, scale)
    # By the symmetry the gradient adds nothing to <m', W>.
    pulled = momentum * Inner(w, kept) + (1 - momentum) * variation(
        scale.loss, scale.xi
    )
    total = Inner(w, kept) + sum(law.changes.values())
    total = total.xreplace({Inner(w, after): pulled})
    stated = momentum * (1 - learning_rate * weight_decay) * Inner(
        w, kept
    ) - learning_rate * Inner(after, metric * after)
    what = (
        "AdamW, any diagonal metric: <m', W'> - b1(1-eta lambda)<m, W> + eta<m', Dm'>"
    )
    return law, identity(what, total - stated)
