"""The exact discrete law of every learning rule, on a network, and what breaks it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import lagrangian as lg

RULES = {
    "nesterov": lg.HeavyBall(0.02, 0.9, weight_decay=1e-3, nesterov=True),
    "decoupled": lg.HeavyBall(0.02, 0.9, weight_decay=1e-2, decoupled=True),
    "dampened": lg.HeavyBall(0.05, 0.9, weight_decay=1e-3, dampening=0.5),
    "warm-up": lg.HeavyBall(optax.linear_schedule(0.0, 0.05, 20), 0.9, 1e-3),
    "rmsprop": lg.RMSProp(1e-3, weight_decay=1e-3),
    "adam": lg.Adam(1e-3),
    "adamw": lg.Adam(1e-3, weight_decay=0.1),
    "adamw per block": lg.Adam(1e-3, weight_decay=0.1, per_block=True),
    "lion": lg.Lion(1e-3, weight_decay=0.1),
    "sign descent": lg.Lion(1e-3, b1=0.0, b2=0.0),
    "mirror": lg.MirrorDescent(
        0.02, lambda x: x * sp.asinh(x) - sp.sqrt(x**2 + 1), weight_decay=1e-3
    ),
    "natural": lg.NaturalGradient(0.02, lambda x: sp.cosh(x)),
}
EUCLIDEAN = ("nesterov", "decoupled", "dampened", "warm-up")


def cross_entropy(model, batch):
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@pytest.mark.parametrize("name", RULES)
def test_the_discrete_law_is_exact(name, network, small_data, laws_of, symmetries):
    rule = RULES[name]
    laws = laws_of(rule, *symmetries)
    run = lg.train(
        network(), cross_entropy, small_data, rule, 100, observe=laws, batch_size=16
    )
    for row in lg.check(run, laws):
        assert row.discrete < 1e-12 and row.defect < 1e-12, row
        if name in EUCLIDEAN:
            assert row.metric == 0 and row.continuous is not None
        else:
            assert row.continuous is None and row.holds and "metric" in row.reason


@pytest.mark.parametrize("name", ["nesterov", "adamw", "lion", "mirror"])
def test_it_fails_without_the_symmetry(name, network, small_data, laws_of):
    rule = RULES[name]
    laws = laws_of(rule, lg.Scale("dense.kernel"))
    run = lg.train(
        network(), cross_entropy, small_data, rule, 50, observe=laws, batch_size=16
    )
    (row,) = lg.check(run, laws)
    assert row.verdict == "symmetry absent" and row.discrete > 1e-3


@pytest.mark.parametrize("name", ["nesterov", "decoupled", "dampened"])
def test_the_continuous_law_of_the_variants(name, network, small_data, laws_of):
    """Without noise, predicted from the start alone; another rule's numbers fail."""
    rule = RULES[name]
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
    run = lg.train(
        network(), cross_entropy, small_data, rule, 300, observe=laws, batch_size=None
    )
    (row,) = lg.check(run, laws)
    assert row.holds, row
    run.rule = lg.HeavyBall(0.02, 0.9, weight_decay=0.1)
    wrong = lg.check(run, laws)[0]
    assert wrong.verdict == "law fails" and wrong.continuous > 3 * row.continuous


def test_a_metric_of_one_number_breaks_no_scale(laws_of):
    """What only an anisotropic metric does is what the column shows."""
    rule = lg.Adam(1e-2, b1=0.0, b2=0.9)
    w = np.random.default_rng(0).normal(size=(6,))

    def run_of(loss, start, steps):
        with jax.enable_x64(True):
            laws = laws_of(rule, lg.Scale("w"))
            run = lg.train(
                {"w": jnp.asarray(start)},
                loss,
                np.zeros((4, 1)),
                rule,
                steps,
                observe=laws,
                batch_size=None,
            )
            return lg.check(run, laws)[0]

    def angle(q, batch):
        u = q["w"] / jnp.linalg.norm(q["w"])
        return jnp.sum(jnp.arange(1.0, 7.0) * u**2) + 0 * batch.sum()

    def plane(q, batch):
        x, y = q["w"]
        return (x**2 - y**2) / (x**2 + y**2) + 0 * batch.sum()

    broken = run_of(angle, w, 30)
    assert broken.metric > 0.05 and broken.discrete < 1e-12
    # On the diagonal both entries have the same squared gradient: the metric is one
    # number, until the first step has left it.
    equal = [run_of(plane, np.array([0.6, 0.6]), steps).metric for steps in (1, 30)]
    assert equal[0] < 1e-6 and equal[1] > 1e-3


def test_raw_gradients_overestimate_the_source(network, laws_of):
    """By (1 + beta)/(1 - beta) where the gradients are white noise."""
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(4096, 20)), np.zeros(4096)

    def loss(q, batch):
        # A random direction a step: <g, w> = 0, and nothing else to learn.
        direction = batch[0].mean(axis=0)
        return direction @ (q["w"] / jnp.linalg.norm(q["w"]))

    rule = lg.HeavyBall(0.01, 0.9, weight_decay=0.01)
    laws = laws_of(rule, lg.Scale("w"))
    with jax.enable_x64(True):
        start = {"w": jnp.asarray(generator.normal(size=20))}
        run = lg.train(start, loss, noise, rule, 2000, observe=laws, batch_size=4)
        report = lg.check(run, laws)
    (row,) = report
    assert row.raw_factor == pytest.approx(1.9 / 0.1, rel=0.1)
    assert row.holds and row.continuous < 0.02 and row.raw > 0.5
    assert "fed raw gradients" in str(report) and "times the measured" in str(report)


def test_what_drives_the_charge_is_shared_out(network, small_data, laws_of):
    shares = {}
    for decay in (0.0, 0.1):
        rule = lg.HeavyBall(0.02, 0.9, weight_decay=decay)
        laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
        run = lg.train(network(), cross_entropy, small_data, rule, 50, observe=laws)
        (row,) = lg.check(run, laws)
        assert row.kinetic + row.decay == pytest.approx(1, abs=1e-9)
        shares[decay] = row.decay
    assert shares[0.0] == 0 and shares[0.1] > 0.1
