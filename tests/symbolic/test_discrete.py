"""The exact discrete law: the identity reduces to zero, and only for a symmetry."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.discrete import (
    ROLES,
    discrete_law,
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


def residual_on_the_update(symmetry, loss):
    """The law's residual with the optimiser's update substituted."""
    expression = discrete_law(symmetry).residual
    updated = {}
    for q in symmetry.xi:
        trace, gradient, after, trace_after = (role(q, name) for name in ROLES)
        gradient_now = loss.gradient(q)
        new_trace = momentum * trace + gradient_now + weight_decay * q
        updated |= {
            gradient: gradient_now,
            trace_after: new_trace,
            after: q - learning_rate * new_trace,
        }
    return sp.expand(expression.xreplace(updated))


@pytest.mark.parametrize("name", GENERATORS)
def test_the_law_is_an_identity_of_the_update(name):
    symmetry = GENERATORS[name]
    assert residual_on_the_update(symmetry, symmetry.loss) == 0


@pytest.mark.parametrize("name", GENERATORS)
def test_without_the_symmetry_its_defect_is_left(name):
    symmetry = GENERATORS[name]
    loss = lg.Loss("f", symmetry.blocks)
    left = residual_on_the_update(symmetry, loss)
    defect = sp.Add(*(lg.Inner(loss.gradient(q), xi) for q, xi in symmetry.xi.items()))
    assert sp.expand(left - defect) == 0 and left != 0
