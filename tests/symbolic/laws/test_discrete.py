"""The exact law of a step: the identity reduces to zero, and only for a symmetry."""

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import (
    ROLES,
    gain,
    learning_rate,
    momentum,
    role,
    weight_decay,
)

w, A = lg.blocks("w"), lg.LinearMap("A", parity=-1)
GENERATORS = {
    "scale": lg.Scale("w"),
    "translation": lg.Translation("w"),
    "rescale": lg.Rescale("u", "v"),
    "rotation": lg.Rotation("w", A),
    "general linear": lg.GeneralLinear("u", "v", lg.ConstantBlock("G")),
    "any linear map": lg.Symmetry({w: lg.LinearMap("B")(w) + lg.ones}),
    "not affine": lg.Symmetry({w: w**2}),
    "infinite at zero": lg.Symmetry({w: 1 / w}),
}


def balance_on_the_update(symmetry, loss, any_update):
    """What the charge gains, less the law's rate: on the heavy ball's step, or any."""
    law = lg.noether(lg.Steps(loss), symmetry)
    gained, updated = sp.S.Zero, {}
    for q, xi in symmetry.xi.items():
        trace, gradient, after, trace_after, update = (role(q, r) for r in ROLES)
        later = {v: role(v, "next") for v in symmetry.xi}
        gained += lg.Inner(trace_after, xi.xreplace(later)) - lg.Inner(trace, xi)
        new_trace = momentum * trace + gain * (loss.gradient(q) + weight_decay * q)
        move = update if any_update else -learning_rate * new_trace
        updated |= {
            gradient: loss.gradient(q),
            trace_after: new_trace,
            update: move,
            after: q + move,
        }
    return sp.expand((gained - law.rate).xreplace(updated))


@pytest.mark.parametrize("any_update", [False, True])
@pytest.mark.parametrize("name", GENERATORS)
def test_the_law_is_an_identity_of_the_update(name, any_update):
    symmetry = GENERATORS[name]
    for loss in (symmetry.loss, lg.Loss("f", symmetry.blocks)):
        assert balance_on_the_update(symmetry, loss, any_update) == 0


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("any_update", [False, True])
def test_without_the_symmetry_its_defect_is_missed(name, any_update):
    """The law of a loss with the symmetry, on the step of one without it."""
    symmetry = GENERATORS[name]
    claimed, loss = symmetry.loss, lg.Loss("g", symmetry.blocks)
    left = balance_on_the_update(symmetry, claimed, any_update)
    other = {claimed.gradient(q): loss.gradient(q) for q in symmetry.xi}
    defect = sp.Add(*(lg.Inner(loss.gradient(q), xi) for q, xi in symmetry.xi.items()))
    assert left == 0
    rate = lg.noether(lg.Steps(loss), symmetry).rate
    missed = rate - lg.noether(lg.Steps(claimed), symmetry).rate.xreplace(other)
    assert sp.expand(missed - gain * defect) == 0 and missed != 0


def test_a_linear_generator_shows_the_update_alone():
    for name in ("scale", "rescale", "rotation", "general linear", "any linear map"):
        symmetry = GENERATORS[name]
        kinetic = lg.noether(lg.Steps(symmetry.loss), symmetry).kinetic
        assert not kinetic.has(*(role(q, "next") for q in symmetry.xi))
    assert (
        lg.noether(lg.Steps(lg.Scale(w).loss), GENERATORS["translation"]).kinetic == 0
    )


def test_the_steps_of_a_rule():
    rule, scale = lg.HeavyBall(0.1, 0.9, 0.01), lg.Scale(w)
    law = lg.noether(rule.steps(scale.loss), scale)
    p, after = role(w, "trace"), role(w, "next trace")
    assert law.charge == lg.Inner(p, w)
    assert sp.expand(law.kinetic + learning_rate * lg.Inner(after, after)) == 0
    assert law.changes["loss"] == 0
    assert sp.expand(law.changes["decay"] - 0.01 * lg.Inner(w, w)) == 0
    assert sp.expand(law.friction + (1 - sp.Float(0.9)) * law.charge) == 0
    adam = lg.noether(lg.Adam(1e-3).steps(scale.loss), scale)
    assert adam.kinetic == lg.Inner(after, role(w, "update"))


def test_what_a_step_conserves():
    frictionless = {"memory": 1, "weight_decay": 0}
    turn = lg.Rotation(w, A)
    ball = {w: -learning_rate * role(w, "next trace")}
    kept = lg.noether(lg.Steps(turn.loss, updates=ball, **frictionless), turn)
    assert kept.is_conserved and kept.conserved == kept.charge
    # Controls: another update, another loss, friction.
    moved = lg.noether(lg.Steps(turn.loss, **frictionless), turn)
    assert moved.is_conserved is False and moved.conserved is None
    undeclared = lg.noether(
        lg.Steps(lg.Loss("f", w), updates=ball, **frictionless), turn
    )
    assert undeclared.is_conserved is None
    slowed = lg.noether(lg.Steps(turn.loss, updates=ball, weight_decay=0), turn)
    assert slowed.is_conserved is False


def test_refusals():
    steps = lg.Steps(lg.Scale(w).loss)
    with pytest.raises(lg.InvalidSymmetry, match="moves `t`.*variables are `k`"):
        lg.noether(steps, lg.TimeTranslation())
    with pytest.raises(lg.InvalidSymmetry, match="moves time, and steps are counted"):
        lg.noether(steps, lg.Symmetry({w: w}, tau={steps.variables[0]: 1}))
    with pytest.raises(lg.InvalidLagrangian, match="`loss` is of type Symbol"):
        lg.Steps(sp.Symbol("f"))
    with pytest.raises(
        lg.LagrangianError, match="law of Steps has no term `potential`"
    ):
        _ = lg.noether(steps, lg.Scale(w)).potential
    with pytest.raises(lg.InvalidLagrangian, match="a `Lagrangian`, and got one of St"):
        lg.lower(lg.noether(steps, lg.Scale(w)))
