"""What AdamW makes of a block whose scale the loss does not feel, in symbols.

From the steps of the rule as a theory: the laws of <m, W> and |W|^2, what is stationary
under them, and the second stage of Adam that the norm is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import sympy as sp

from lagrangian.learning.rules.adaptive import Adam
from lagrangian.learning.rules.read.read import rule as read
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Scale
from lagrangian.symbolic.laws.discrete import (
    learning_rate,
    momentum,
    role,
    weight_decay,
)
from lagrangian.theorems.theorem import Claim, equal, identity

eta, b, decay = learning_rate, momentum, weight_decay
#: D of one number for the block, E|u|^2 and E|W|^2 of a stationary state.
_d, _speed, _square = sp.symbols("D U R", positive=True)
_charge = sp.Symbol("C", real=True)


def squared_norm() -> Any:
    """|W'|^2 of a step with a scalar D, by |W|^2, <m, W> and |m'|^2."""
    scale = Scale("W")
    (w,) = scale.loss.blocks
    kept, after = role(w, "trace"), role(w, "next trace")
    later = (1 - eta * decay) * w - eta * _d * after
    # By the symmetry the gradient adds nothing to <m', W>.
    pulled = b * Inner(w, kept) + (1 - b) * variation(scale.loss, scale.xi)
    found = sp.expand(Inner(later, later))
    return sp.expand(found.xreplace({Inner(w, after): pulled}))


@cache
def stationary() -> dict[str, Any]:
    """What a stationary state has, where D does not change, by E|u|^2 and E|W|^2.

    From E<m', W'> = b (1 - eta lambda) E<m, W> - eta E<m', D m'> and that of |W'|^2.

    Returns:
        "ratio": eta^2 E|u|^2/E|W|^2; "inward": E<W, u>/E|u|^2; "growth": without decay,
        of |W|^2 a step over eta^2 |u|^2; "angle": E|W' - W|^2/E|W|^2.
    """
    (w,) = Scale("W").loss.blocks
    kept, after = role(w, "trace"), role(w, "next trace")
    law = b * (1 - eta * decay) * _charge - eta * _speed / _d - _charge
    (charge,) = sp.solve(law, _charge)
    grown = squared_norm().xreplace(
        {
            Inner(w, w): _square,
            Inner(w, kept): charge,
            Inner(after, after): _speed / _d**2,
        }
    )
    (square,) = sp.solve(sp.expand(grown - _square), _square)
    ratio = sp.factor(eta**2 * _speed / square)
    inward = sp.factor(_d * b * charge / _speed)
    free = sp.factor(sp.expand(grown - _square).subs(decay, 0) / (eta**2 * _speed))
    moved = eta**2 * decay**2 + 2 * decay * inward * ratio + ratio
    return {
        "ratio": ratio,
        "inward": inward,
        "growth": free,
        "angle": sp.factor(moved),
    }


@cache
def second_stage() -> dict[str, Any]:
    """c2, alpha, and |W|^2/v of the stage of Adam that the norm of W is.

    Where <m, W> has caught up, |W'|^2 = (1 - eta lambda)^2 |W|^2 + eta^2 K |u|^2, which
    is v' = c2 v + (1 - c2) |u|^2 in other units.
    """
    share, size = (1 - eta * decay) ** 2, stationary()["growth"]
    unit = eta**2 * size / (1 - share)
    return {"share": share, "step": eta / sp.sqrt(unit), "unit": unit}


def identities() -> Iterator[Claim]:
    """The closed forms that the statement has."""
    scale = Scale("W")
    (w,) = scale.loss.blocks
    kept, after = role(w, "trace"), role(w, "next trace")
    stated = (1 - eta * decay) ** 2 * Inner(w, w)
    stated -= 2 * eta * (1 - eta * decay) * _d * b * Inner(w, kept)
    stated += eta**2 * _d**2 * Inner(after, after)
    what = "AdamW, D of one number: |W'|^2 - (1-eta lambda)^2|W|^2"
    what = f"{what} + 2 eta(1-eta lambda)D b1<m, W> - eta^2|u|^2"
    yield identity(what, squared_norm() - sp.expand(stated))
    found, late = stationary(), b * (1 - eta * decay)
    ratio = eta * decay * (2 - eta * decay) * (1 - late) / (1 + late)
    what = "eta^2 E|u|^2/E|W|^2 - eta lambda(2-eta lambda)(1-b')/(1+b'),"
    yield identity(f"{what} b' = b1(1-eta lambda)", found["ratio"] - ratio)
    what = "E|W'-W|^2/E|W|^2 - 2 eta lambda(1-b1)/(1+b')"
    yield identity(what, found["angle"] - 2 * eta * decay * (1 - b) / (1 + late))
    what = "no decay: growth of |W|^2 over eta^2|u|^2 - (1+b1)/(1-b1)"
    yield identity(what, found["growth"] - (1 + b) / (1 - b))
    yield identity("the same - 1, as published", found["growth"] - 1, control=True)
    what = "E<W, u>/E|u|^2 + eta b1/(1-b'), 0 as published"
    yield identity(what, found["inward"] + eta * b / (1 - late))
    yield identity("E<W, u>", found["inward"], control=True)
    stage = second_stage()
    alpha = (1 - stage["share"]) * (1 - b) / (1 + b)
    yield identity("alpha^2 - (1-c2)(1-b1)/(1+b1)", stage["step"] ** 2 - alpha)


def as_read() -> Iterator[Claim]:
    """That these are the steps of optax, as `lg.rule` reads them."""
    tx = Adam(0.01, 0.9, 0.99, eps=0.0, weight_decay=0.2, per_block=True).optax()
    kind = read(tx).kind
    told = (kind.covector.memory, kind.covector.gain, kind.decoupled)
    tenth = sp.Rational(1, 10)
    what = "AdamW per block as optax runs it: memory, gain, decay of W itself"
    yield equal(what, (1 - tenth, tenth, 2 * tenth), told)
