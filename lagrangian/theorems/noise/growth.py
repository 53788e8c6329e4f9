"""By how much a step of gradient descent moves <q, A q>: from Noether's discrete law.

For every symmetric generator A, batch and learning rate,

    <q', A q'> = (1 - eta lambda)^2 <q, A q> + eta^2 <g, A g>,

g the gradient of the batch without the weight decay. The law is what removes
<g, A q>.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from lagrangian.learning.gradient_noise import quadratic_form
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.discrete import (
    Steps,
    learning_rate,
    role,
    step,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import noether


def growth(symmetry: Symmetry, loss: Loss | None = None) -> Any:
    """<q', A q'> - <q, A q> of a step, in q and the gradient of the batch.

    By the law of `symmetry` on `loss`, by default one that has the symmetry.
    """
    theory = Steps(loss or symmetry.loss, memory=0, gain=1)
    law = noether(theory, symmetry)
    here = {q: q for q in symmetry.xi}
    slope = {q: role(q, "gradient") + weight_decay * q for q in here}
    after = {q: q - learning_rate * p for q, p in slope.items()}
    moved = quadratic_form(symmetry, after) - quadratic_form(symmetry, here)
    # <g, A q>, which the law says to be the change of the loss.
    updates = {role(q, "update"): -learning_rate * p for q, p in slope.items()}
    parts = law.changes
    change = theory.total_derivative(step, law.charge)
    balance = sum((parts[name] for name in parts), sp.S.Zero)
    excess = theory.on_shell(change - balance).xreplace(updates)
    excess = theory.on_shell(excess).xreplace(updates)
    kept = 1 - learning_rate * weight_decay
    return sp.expand(sp.expand(moved) + 2 * learning_rate * kept * sp.expand(excess))


def stated(symmetry: Symmetry) -> Any:
    """What the theorem says it is."""
    kept = 1 - learning_rate * weight_decay
    gradients = {q: role(q, "gradient") for q in symmetry.xi}
    here = {q: q for q in symmetry.xi}
    squares = learning_rate**2 * quadratic_form(symmetry, gradients)
    return sp.expand((kept**2 - 1) * quadratic_form(symmetry, here) + squares)
