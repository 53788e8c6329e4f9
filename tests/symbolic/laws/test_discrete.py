"""The exact discrete law: the identity reduces to zero, and only for a symmetry."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import (
    ROLES,
    discrete_law,
    gain,
    learning_rate,
    momentum,
    role,
    weight_decay,
)

GENERATORS = {
    "scale": lg.Scale("w"),
    "translation": lg.Translation("w"),
    "rescale": lg.Rescale("u", "v"),
    "rotation": lg.Rotation("w", lg.LinearMap("A", parity=-1)),
    "any linear map": lg.Symmetry(
        {lg.blocks("w"): lg.LinearMap("A")(lg.blocks("w")) + lg.ones}
    ),
}


def residual_on_the_update(symmetry, loss, any_update):
    """The law's residual on a step: the heavy ball's, or one with any update."""
    expression = discrete_law(symmetry).residual
    updated = {}
    for q in symmetry.xi:
        trace, gradient, after, trace_after, update = (role(q, r) for r in ROLES)
        gradient_now = loss.gradient(q)
        new_trace = momentum * trace + gain * (gradient_now + weight_decay * q)
        move = update if any_update else -learning_rate * new_trace
        updated |= {
            gradient: gradient_now,
            trace_after: new_trace,
            update: move,
            after: q + move,
        }
    return sp.expand(expression.xreplace(updated))


@pytest.mark.parametrize("any_update", [False, True])
@pytest.mark.parametrize("name", GENERATORS)
def test_the_law_is_an_identity_of_the_update(name, any_update):
    symmetry = GENERATORS[name]
    assert residual_on_the_update(symmetry, symmetry.loss, any_update) == 0


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("any_update", [False, True])
def test_without_the_symmetry_its_defect_is_left(name, any_update):
    symmetry = GENERATORS[name]
    loss = lg.Loss("f", symmetry.blocks)
    left = residual_on_the_update(symmetry, loss, any_update)
    defect = sp.Add(*(lg.Inner(loss.gradient(q), xi) for q, xi in symmetry.xi.items()))
    assert sp.expand(left - gain * defect) == 0 and left != 0
