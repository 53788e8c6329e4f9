"""Verdicts: what holds, what fails, and that a wrong theory is caught."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from flax import nnx

import lagrangian as lg
from lagrangian.learning.training.run import Record, step_rate
from lagrangian.networks.digits import cross_entropy

RULE = lg.HeavyBall(0.02, 0.9, 2e-2)


@pytest.fixture
def observed(network, small_data, laws_of, symmetries):
    laws = laws_of(RULE, *symmetries, lg.Scale("dense.kernel"))
    run = lg.train(
        network(), cross_entropy, small_data, RULE, 200, observe=laws, batch_size=32
    )
    return run, laws


def test_symmetric_blocks_hold_and_the_control_fails(observed):
    run, laws = observed
    report = lg.check(run, laws)
    assert [row.verdict for row in report] == ["holds"] * 4 + ["symmetry absent"]
    assert all(row.continuous < 0.01 for row in report[:4])
    assert report[4].continuous > 0.05
    assert not report.holds and lg.check(run, laws[:4]).holds


def test_the_report_prints_and_exports(observed):
    run, laws = observed
    report = lg.check(run, laws)
    text = str(report)
    assert "conv1.kernel" in text and "symmetry absent" in text
    assert report._repr_html_().count("<td") > 20
    rows = json.loads(report.to_json())
    assert rows[0]["block"] == "conv1.kernel" and rows[0]["units"] == 3


def test_another_rule_than_the_one_that_trained_is_caught(observed, laws_of):
    """A balance that even the measured <grad f, xi> does not close."""
    run, (law, *_) = observed
    record = run[law]
    balance = record.balance + 1e-3 * record.scale
    tampered = _with_record(run, law, balance=balance)
    (row,) = lg.check(tampered, [law])
    assert row.verdict == "law fails" and "was not made by" in row.reason


def test_a_wrong_continuous_law_is_caught(observed):
    """The same run judged by a weight decay that is ten times too small."""
    run, (law, *_) = observed
    wrong = dataclasses.replace(run, rule=dataclasses.replace(RULE, weight_decay=2e-3))
    assert lg.check(run, [law])[0].holds
    (row,) = lg.check(wrong, [law])
    assert row.verdict == "law fails" and "continuous prediction misses" in row.reason


@pytest.fixture(scope="module")
def three_rates():
    """Runs of a smooth loss of the direction of `w` alone, and their law."""
    target = np.random.default_rng(3).normal(size=(20, 20))
    start = np.random.default_rng(5).normal(size=20)
    symmetry = lg.Scale("w")
    law = lg.noether(lg.HeavyBall(0.1).lagrangian(symmetry.loss), symmetry)

    def loss(q, batch):
        u = q["w"] / jnp.sqrt(jnp.sum(q["w"] ** 2))
        return jnp.sin(2 * u @ jnp.asarray(target) @ u / 3) + jnp.cos(3 * u[0] * u[1])

    with jax.enable_x64(True):
        runs = [
            lg.train(
                {"w": jnp.asarray(start)},
                loss,
                np.zeros((4, 1)),
                lg.HeavyBall(eta, 0.5, 0.05),
                round(4 / eta),
                observe=[law],
                batch_size=None,
            )
            for eta in (0.04, 0.02, 0.01)
        ]
    return runs, law


def test_the_prediction_is_of_second_order_in_the_learning_rate(three_rates):
    """On a smooth full-batch loss, at times when the initial layer is over."""
    runs, law = three_rates
    report = lg.check(runs, [law])
    (row,) = report
    assert row.holds and row.order.value == pytest.approx(2, abs=0.1)
    assert row.order.uncertainty < 0.5
    assert "order" in str(report).splitlines()[0] and str(row.order) in row.reason
    assert json.loads(report.to_json())[0]["order"]["value"] == row.order.value
    # An independent measurement: halfway, by hand.
    errors = [
        abs(lg.predict(r, law)[r.steps // 2] - r[law].quantity[r.steps // 2])
        for r in runs
    ]
    rates = [r.rule.learning_rate for r in runs]
    assert np.polyfit(np.log(rates), np.log(errors), 1)[0] == pytest.approx(2, abs=0.1)
    # The other columns are those of the smallest rate, and of one run no order is told.
    (alone,) = lg.check(runs[2], [law])
    assert alone.order is None and alone.continuous == row.continuous
    assert "order" not in str(lg.check(runs[2], [law])).splitlines()[0]


def test_a_law_of_the_wrong_order_fails(three_rates):
    """Controls: the flow from rest as published, X'(0) = 0; and another decay."""
    runs, law = three_rates
    still = [_with_record(run, law, start=0 * run[law].start) for run in runs]
    (row,) = lg.check(still, [law])
    assert row.order.value == pytest.approx(1, abs=0.2)
    assert row.verdict == "law fails" and "to the power" in row.reason
    assert row.continuous < 0.05  # which alone would have passed
    other = [
        dataclasses.replace(run, rule=dataclasses.replace(run.rule, weight_decay=0.04))
        for run in runs
    ]
    (row,) = lg.check(other, [law], tolerance=0.5)
    assert row.order.value == pytest.approx(0, abs=0.2) and not row.holds


def test_an_exact_law_has_no_order(three_rates):
    """Without decay a translation's charge stays where it is at any learning rate."""
    symmetry = lg.Translation("b")
    law = lg.noether(lg.HeavyBall(0.1).lagrangian(symmetry.loss), symmetry)

    def loss(q, batch):
        return jnp.sum((q["b"] - q["b"].mean() - jnp.arange(3.0)) ** 2)

    with jax.enable_x64(True):
        runs = [
            lg.train(
                {"b": jnp.array([0.3, -1.0, 2.0])},
                loss,
                np.zeros((4, 1)),
                lg.HeavyBall(eta, 0.5),
                round(1 / eta),
                observe=[law],
                batch_size=None,
            )
            for eta in (0.04, 0.02, 0.01)
        ]
    (row,) = lg.check(runs, [law])
    assert row.holds and row.order is None


def test_runs_that_have_no_order(three_rates):
    runs, law = three_rates
    with pytest.raises(lg.LagrangianError, match="2 runs at 2 learning rates"):
        lg.check(runs[:2], [law])
    with pytest.raises(lg.LagrangianError, match="3 runs at 1 learning rates"):
        lg.check([runs[0]] * 3, [law])
    longer = dataclasses.replace(
        runs[0], learning_rates=np.tile(runs[0].learning_rates, 2)
    )
    with pytest.raises(lg.LagrangianError, match="end at the times 8, 4, 4"):
        lg.check([longer, *runs[1:]], [law])


def _with_record(run, law, **changed):
    """The run as if something else had been recorded."""
    record = run[law]
    symbols = {name: sp.Symbol(name) for name in record.names}
    arrays = {
        symbol: changed.get(name, getattr(record, name))
        for name, symbol in symbols.items()
    }
    rates = {step_rate: record.rates}
    other = Record(symbols, arrays, rates, record.quantity.shape)
    return dataclasses.replace(run, records={law: other})


def test_in_parts_as_in_one(observed, monkeypatch):
    """As of a run that is too long for memory."""
    run, laws = observed
    whole = lg.check(run, laws)
    monkeypatch.setattr("lagrangian.learning.training.run._ENTRIES", 100)
    assert len(list(run[laws[0]].parts())) == 7  # 33 steps of 3 charges each
    for row, same in zip(lg.check(run, laws), whole, strict=True):
        assert (row.verdict, row.units) == (same.verdict, same.units)
        for name in ("discrete", "balance", "defect", "continuous", "kinetic", "decay"):
            assert getattr(row, name) == pytest.approx(getattr(same, name), rel=1e-9)
        assert (row.raw, row.raw_factor) == pytest.approx((same.raw, same.raw_factor))


@pytest.mark.parametrize("pull", [0.0, 0.3])
def test_a_rotation_is_checked_by_its_first_order_law(small_data, pull):
    """A loss of |w| alone keeps the angular momentum of rest, one with a pull does not.

    No function of w has that charge as its rate, so no range is there to compare with.
    """

    class Weights(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.asarray([1.0, 2.0, -1.0]))

    def loss(model, batch):
        w = model.w[...]
        return jnp.sum(w**2) ** 2 / 40 + pull * w[0]

    A = lg.LinearMap("A", parity=-1)
    symmetry = lg.Rotation("w", A)
    law = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)
    matrix = np.array([[0, 1, 0], [-1, 0, 2], [0, -2, 0.0]])
    with jax.enable_x64(True):
        run = lg.train(
            Weights(),
            loss,
            small_data,
            RULE,
            50,
            observe=[law],
            maps={A: lambda x: jnp.asarray(matrix) @ x},
        )
    (row,) = lg.check(run, [law])
    if pull:
        assert row.verdict == "symmetry absent"
        assert row.discrete > 1e-2 < row.continuous
    else:
        assert row.verdict == "holds"
        assert row.discrete < 1e-12 > row.continuous


def test_a_relu_unit_rescales_with_its_bias_and_not_without():
    class Perceptron(nnx.Module):
        def __init__(self, rngs):
            self.into = nnx.Linear(5, 7, rngs=rngs)
            self.out = nnx.Linear(7, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.relu(self.into(x)))

    def loss(model, batch):
        x, y = batch
        return jnp.mean((model(x) - y) ** 2)

    generator = np.random.default_rng(0)
    data = generator.normal(size=(200, 5)), generator.normal(size=(200, 3))
    kernel, bias = lg.blocks("into.kernel into.bias", unit_axis=-1)
    out = lg.blocks("out.kernel", unit_axis=0)
    rule = lg.HeavyBall(0.05, 0.9, 1e-3)
    laws = [
        lg.noether(rule.lagrangian(s.loss), s)
        for s in (lg.Rescale([kernel, bias], out), lg.Rescale(kernel, out))
    ]
    model = Perceptron(nnx.Rngs(0))
    run = lg.train(model, loss, data, rule, 200, observe=laws, batch_size=32)
    whole, part = lg.check(run, laws)
    assert whole.holds and whole.units == 7
    assert part.verdict == "symmetry absent"
