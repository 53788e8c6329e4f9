"""The modified flow of every learning rule, at the order that each power promises."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg

MODIFIED = {
    "rmsprop": lambda eta: lg.RMSProp(eta, 0.4, weight_decay=0.2),
    "adam": lambda eta: lg.Adam(eta, 0.3, 0.4),
    "adam with L2": lambda eta: lg.Adam(eta, 0.3, 0.4, weight_decay=0.2, decoupled=0),
    "adamw": lambda eta: lg.Adam(eta, 0.3, 0.4, weight_decay=0.5),
    "adam per block": lambda eta: lg.Adam(eta, 0.3, 0.4, per_block=True),
    "lion": lambda eta: lg.Lion(eta, 0.5, 0.6, weight_decay=0.5),
    "heavy ball": lambda eta: lg.HeavyBall(eta, 0.3, weight_decay=0.2),
    "nesterov, dampened, decoupled": lambda eta: lg.HeavyBall(
        eta, 0.3, 0.2, dampening=0.4, nesterov=True, decoupled=True
    ),
    "mirror": lambda eta: lg.MirrorDescent(eta, sp.cosh, 0.2, sp.asinh),
    "natural": lambda eta: lg.NaturalGradient(eta, sp.cosh, 0.2),
}
FINE = [0.008, 0.004, 0.002, 0.001]


@pytest.mark.parametrize("highest", range(3))
@pytest.mark.parametrize("name", MODIFIED)
def test_the_modified_flow(name, highest, discrete, first_order, start, order):
    """Between two states of one run, once its averages have forgotten its start.

    It starts so far behind that this is near one point at any learning rate.
    """
    warm, errors = 25, []
    for eta in FINE:
        rule = MODIFIED[name](eta)
        values, steps = rule.recursion_parameters(), round(0.2 / eta)
        (field,) = lg.modified_flow(rule, highest).velocity.values()
        behind = first_order(-field, start, eta * warm, values)
        begin, end = (discrete(rule.optax(), behind, warm + n) for n in (0, steps))
        reached = first_order(field, begin, eta * steps, values)
        errors.append(np.linalg.norm(end - reached))
    assert order(errors, FINE) == pytest.approx(highest + 1, abs=0.15)


@pytest.mark.parametrize("name", ["rmsprop", "adamw", "lion", "heavy ball"])
def test_a_run_from_rest_starts_beside(
    name, discrete, first_order, start, order, value
):
    """By nothing for averages without bias; with another rule's numbers, order one."""
    right, wrong = [], []
    for eta in FINE:
        rule = MODIFIED[name](eta)
        (field,) = lg.modified_flow(rule).velocity.values()
        (offset,) = rule.start_offset(lg.Loss("f", lg.blocks("w"))).values()
        values, steps = rule.recursion_parameters(), round(0.3 / eta)
        beside = value(offset, start, values | rule.parameters())
        end = discrete(rule.optax(), start, steps)
        reached = first_order(field, start + beside, eta * steps, values)
        right.append(np.linalg.norm(end - reached))
        other = values | {s: 0.9 * v for s, v in values.items() if s.name != "eta"}
        reached = first_order(field, start + beside, eta * steps, other)
        wrong.append(np.linalg.norm(end - reached))
    assert order(right, FINE) == pytest.approx(2, abs=0.2)
    assert order(wrong, FINE) < 1.5


def test_a_schedule_has_a_flow_for_each_of_its_rates():
    rule = lg.HeavyBall(lambda step: 0.1 / (1 + step), 0.5)
    assert lg.modified_flow(rule).order == 1
    with pytest.raises(lg.LagrangianError, match="learning-rate schedule"):
        rule.recursion_parameters()
    assert rule.recursion_parameters(rule.learning_rate(1)) == (
        lg.HeavyBall(0.05, 0.5).recursion_parameters()
    )
