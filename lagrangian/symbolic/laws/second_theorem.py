"""Noether's second theorem: what a symmetry with a function in it says of slopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidSymmetry
from lagrangian.symbolic.algebra.blocks import is_block
from lagrangian.symbolic.algebra.calculus import gradient, pairing, total_derivative
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.fields import Field, total
from lagrangian.symbolic.algebra.inputs import written
from lagrangian.symbolic.algebra.symmetry import Symmetry


def noether_identity(
    slopes: Mapping[Any, Any], symmetry: Symmetry, parameter: sp.Expr
) -> Any:
    """What the slopes of an action obey identically, by Noether's second theorem.

    A local symmetry moves q by eta = xi - tau^mu D_mu q, which is linear in a function
    epsilon and its derivatives, with epsilon as one likes at every point. The action S
    changes by the integral of <E, eta>, E = dS/dq, so that this is zero for every
    epsilon; by parts, sum_k (-D)^k (d<E, eta>/d(D^k epsilon)) = 0 at every point, and
    on no equation of motion (Noether, "Invariante Variationsprobleme", 1918).

    The function depends on what the q depend on. For a network, that may be depth:
    W = `lg.blocks("W")` is the layer at depth t, and `W.dot` its change along depth.

    Args:
        slopes: E by coordinate, block or field q. Symbols for an unknown action, such
            as `lg.blocks("G")` for a gradient at every depth; or expressions, such as
            the left sides of `lg.FieldTheory(...).equations`.
        symmetry: a generator with `parameter` and its derivatives in it.
        parameter: epsilon, a coordinate, a block or a field.

    Returns:
        an expression that is zero for every q; of the kind of `parameter`.

    Raises:
        InvalidSymmetry: a parameter that depends on nothing, is in no motion, or not
            linearly; something that moves and has no slope.
        InvalidLagrangian: a slope that is no expression.

    The gauge symmetry of depth, for which see `lagrangian verify depth-gauge`:

    >>> import lagrangian as lg
    >>> W, G, epsilon = lg.blocks("W G epsilon")
    >>> turned = lg.matmul(epsilon, W) - lg.matmul(W, epsilon)
    >>> gauge = lg.Symmetry({W: epsilon.dot + turned})
    >>> noether_identity({W: G}, gauge, epsilon)
    -G.dot + G@W.T - W.T@G
    """
    if not isinstance(parameter, Coordinate | Field) or parameter != parameter.base:
        raise InvalidSymmetry(
            f"`parameter` is `{parameter}`, which is no function of time, depth or "
            'space. Make one with `lg.coordinates("epsilon")`, `lg.blocks("epsilon")` '
            'or `lg.fields("epsilon", over="t x")`.'
        )
    work = _work(slopes, symmetry)
    jets = [s for s in work.atoms(type(parameter)) if s.base == parameter]
    if not jets:
        raise InvalidSymmetry(
            f"`parameter` `{parameter}` is not in the motion of {symmetry!r}, which is "
            "global then: its law is `lg.noether(theory, symmetry)`. Write that, or "
            "move by the parameter."
        )
    found = sp.S.Zero
    for jet in jets:
        share = gradient(work, jet)
        if share.atoms(type(parameter)) & set(jets):
            raise InvalidSymmetry(
                f"{symmetry!r} is not linear in `{parameter}`. Give the generator, the "
                "part of the motion that is of first order in it."
            )
        for derivative in _derivatives(jet):
            share = -derivative(share)
        found += share
    return found if is_block(found) else sp.expand(found)


def _work(slopes: Mapping[Any, Any], symmetry: Symmetry) -> Any:
    """<E, xi - tau^mu D_mu q>, over all that moves."""
    known = {q: written(slope, "slopes") for q, slope in slopes.items()}
    if lacking := [q for q in symmetry.xi if q not in known]:
        raise InvalidSymmetry(
            f"{symmetry!r} moves `{lacking[0]}`, which has no slope. Add it to "
            f"`slopes`, as `{{{lacking[0]}: ...}}`."
        )
    terms = []
    for q, slope in known.items():
        carried = (
            rate * (q.d(v) if isinstance(q, Field) else q.dot)
            for v, rate in symmetry.shifts.items()
        )
        motion = symmetry.xi.get(q, sp.S.Zero) - sp.Add(*carried)
        terms.append(pairing(slope, motion))
    return sp.Add(*terms)


def _derivatives(jet: Any) -> list[Callable[[Any], Any]]:
    """The total derivatives that make a jet of its base, one after the other."""
    if not isinstance(jet, Field):
        return [total_derivative] * jet.order
    return [lambda expression, v=v: total(v, expression) for v in jet.index]
