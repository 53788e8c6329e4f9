"""The Bregman Lagrangian: accelerated learning rules with a non-Euclidean metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.calculus import gradient
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


def bregman_lagrangian(
    loss: Loss,
    alpha: Expression,
    beta: Expression,
    gamma: Expression,
    h: Callable[[Any], Any] | Mapping[Any, Callable[[Any], Any]] | None = None,
) -> Lagrangian:
    """L = exp(gamma + alpha) [D_h(q + exp(-alpha) qdot, q) - exp(beta) f(q)].

    D_h(x, q) = h(x) - h(q) - <grad h(q), x - q>. Under ideal scaling,
    gamma' = exp(alpha), its equation is

        qddot + (exp(alpha) - alpha') qdot
            + exp(2 alpha + beta) [Hess h(q + exp(-alpha) qdot)]^-1 grad f(q) = 0

    (Wibisono, Wilson & Jordan, "A variational perspective on accelerated methods in
    optimization", 2016). Nesterov's method is alpha = log(2/t), beta = log(t^2/4),
    gamma = 2 log t with the Euclidean h.

    Args:
        loss: an opaque loss. The h of several blocks is the sum of theirs.
        alpha, beta, gamma: functions of `lg.time`, or constants.
        h: the distance-generating function of a block, from a block expression to a
            scalar; opaque as `lambda x: lg.Loss("h", x)`; or one by each block. By
            default |x|^2/2.

    Returns:
        A `Lagrangian` of the blocks of the loss, whose damping is gamma.

    Raises:
        InvalidLagrangian: a gamma that is no function of time alone, or an h without
            inertia, such as a linear one.
        KeyError: an `h` by block that lacks one.

    >>> import lagrangian as lg
    >>> import sympy as sp
    >>> t, f = lg.time, lg.Loss("f", lg.Block("w"))
    >>> rates = sp.log(2 / t), sp.log(t**2 / 4), 2 * sp.log(t)        # Nesterov's
    >>> lg.bregman_lagrangian(f, *rates).momenta
    {w: t*w.dot/2}
    """
    alpha, beta = sp.sympify(alpha), sp.sympify(beta)
    common = h or (lambda x: Inner(x, x) / 2)
    divergence = sp.S.Zero
    for q in loss.blocks:
        distance = common[q] if isinstance(common, Mapping) else common
        shift = sp.exp(-alpha) * q.dot
        here = distance(q)
        divergence += distance(q + shift) - here - Inner(gradient(here, q), shift)
    return Lagrangian(
        sp.expand_mul(sp.exp(alpha) * divergence),
        sp.exp(alpha + beta) * loss,
        damping=gamma,
        coordinates=loss.blocks,
    )
