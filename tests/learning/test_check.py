"""Verdicts: what holds, what fails, and that a wrong theory is caught."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.systems.digits import cross_entropy

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
    assert report._repr_markdown_().count("|") > 20
    rows = json.loads(report.to_json())
    assert rows[0]["block"] == "conv1.kernel" and rows[0]["units"] == 3


def test_another_rule_than_the_one_that_trained_is_caught(observed, laws_of):
    """A balance that even the measured <grad f, xi> does not close."""
    run, (law, *_) = observed
    record = run[law]
    terms = {name: getattr(record, name) for name in record.names}
    claimed = SimpleNamespace(**terms)
    claimed.balance = record.balance + 1e-3 * record.scale
    tampered = dataclasses.replace(run, records={law: claimed})
    (row,) = lg.check(tampered, [law])
    assert row.verdict == "law fails" and "was not made by" in row.reason


def test_a_wrong_continuous_law_is_caught(observed):
    """The same run judged by a weight decay that is ten times too small."""
    run, (law, *_) = observed
    wrong = dataclasses.replace(run, rule=dataclasses.replace(RULE, weight_decay=2e-3))
    assert lg.check(run, [law])[0].holds
    (row,) = lg.check(wrong, [law])
    assert row.verdict == "law fails" and "continuous prediction misses" in row.reason


def test_the_prediction_is_of_second_order_in_the_learning_rate(small_data):
    """On a smooth full-batch loss, at a time when the initial layer is over."""
    target = np.random.default_rng(3).normal(size=(20, 20))

    class Direction(nnx.Module):
        def __init__(self):
            start = np.random.default_rng(5).normal(size=20)
            self.w = nnx.Param(jnp.asarray(start))

    def loss(model, batch):
        u = model.w[...] / jnp.sqrt(jnp.sum(model.w[...] ** 2))
        return jnp.sin(2 * u @ jnp.asarray(target) @ u / 3) + jnp.cos(3 * u[0] * u[1])

    rates, errors = [0.04, 0.02, 0.01], []
    for eta in rates:
        rule = lg.HeavyBall(eta, 0.5, 0.05)
        symmetry = lg.Scale("w")
        law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
        with jax.enable_x64(True):
            run = lg.train(
                Direction(),
                loss,
                small_data,
                rule,
                round(4 / eta),
                observe=[law],
                batch_size=None,
            )
        halfway = run.steps // 2
        errors.append(abs(lg.predict(run, law)[halfway] - run[law].quantity[halfway]))
    order = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert order == pytest.approx(2, abs=0.1)


def test_a_rotation_is_checked_by_its_first_order_law(small_data):
    """A loss of |w| alone: angular momentum decays like exp(-mu t/m)."""

    class Weights(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.asarray([1.0, 2.0, -1.0]))

    def loss(model, batch):
        return jnp.sum(model.w[...] ** 2) ** 2 / 40

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
    assert row.discrete < 1e-12 and row.verdict == "holds"


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
