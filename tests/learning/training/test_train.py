"""Training under observation: the exact law, and everything that can go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import lagrangian as lg
from lagrangian.learning.training import train as module
from lagrangian.networks.digits import cross_entropy

RULES = {
    "momentum and decay": lg.HeavyBall(0.1, 0.9, 5e-3),
    "plain gradient descent": lg.HeavyBall(0.1),
    "schedule": lg.HeavyBall(optax.cosine_decay_schedule(0.1, 60), 0.5, 1e-2),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_the_discrete_law_is_exact(network, small_data, laws_of, symmetries, rule):
    laws = laws_of(rule, *symmetries)
    run = lg.train(
        network(), cross_entropy, small_data, rule, 60, observe=laws, batch_size=16
    )
    assert run.dtype == np.float64
    for row in lg.check(run, laws):
        assert row.discrete < 1e-12 and row.defect < 1e-12, row
    # The charges did move: the law was not satisfied by standing still.
    assert all(np.ptp(run[law].quantity) > 1e-4 for law in laws[:2])


def test_the_discrete_law_fails_without_the_symmetry(network, small_data, laws_of):
    rule = RULES["momentum and decay"]
    laws = laws_of(rule, lg.Scale("dense.kernel"), lg.Scale("norm1.scale"))
    run = lg.train(network(), cross_entropy, small_data, rule, 60, observe=laws)
    for row in lg.check(run, laws):
        assert row.verdict == "symmetry absent" and row.discrete > 1e-3
        assert row.balance < 1e-12  # the optimiser itself kept its rule


def test_the_law_is_exact_with_dropout_and_augmentation(
    network, small_data, laws_of, symmetries
):
    """Every step has a loss of its own, and each of them has the symmetries."""

    class Augmented(nnx.Module):
        def __init__(self, network):
            self.rngs = nnx.Rngs(augment=3)
            self.dropout = nnx.Dropout(0.3, rngs=nnx.Rngs(4))
            for name in ("conv1", "norm1", "conv2", "norm2", "dense"):
                setattr(self, name, getattr(network, name))

        def __call__(self, x):
            flip = jax.random.bernoulli(self.rngs.augment(), 0.5, (len(x), 1, 1, 1))
            x = jnp.where(flip, x[:, :, ::-1], x)
            x = self.dropout(nnx.relu(self.norm1(self.conv1(x))))
            x = self.dropout(nnx.relu(self.norm2(self.conv2(x))))
            return self.dense(x.reshape(len(x), -1))

    rule = RULES["schedule"]
    laws = laws_of(rule, *symmetries, lg.Scale("dense.kernel"))
    with jax.enable_x64(True):
        model = Augmented(network())
    run = lg.train(
        model, cross_entropy, small_data, rule, 60, observe=laws, batch_size=16
    )
    *rows, control = lg.check(run, laws)
    for row in rows:
        assert row.discrete < 1e-12 and row.defect < 1e-12, row
    assert control.verdict == "symmetry absent" and control.discrete > 1e-3
    # All of the data, at rest, have another loss in every step: the draws differ.
    still = lg.train(model, cross_entropy, small_data, lg.HeavyBall(1e-12), 5)
    assert np.all(np.abs(np.diff(still.losses)) > 1e-3)


def test_the_epsilon_of_a_normalisation_is_noticed(network, small_data, laws_of):
    rule = RULES["momentum and decay"]
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
    model = network(epsilon=1e-5)
    run = lg.train(model, cross_entropy, small_data, rule, 60, observe=laws)
    (row,) = lg.check(run, laws)
    assert row.verdict == "approximate symmetry" and "epsilon" in row.reason
    assert 1e-9 < row.defect < 1e-2


def test_the_scan_is_the_loop_that_anyone_would_write(network, small_data, laws_of):
    rule = RULES["momentum and decay"]
    model = network()
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
    run = lg.train(
        model, cross_entropy, small_data, rule, 7, observe=laws, batch_size=None
    )
    norms = []
    with jax.enable_x64(True):
        copy = nnx.clone(model)
        optimizer = nnx.Optimizer(copy, rule.optax(), wrt=nnx.Param)
        batch = jax.tree.map(jnp.asarray, small_data)
        for _ in range(7):
            norms.append(np.sum(np.asarray(copy.conv1.kernel[...]) ** 2, (0, 1, 2)))
            optimizer.update(copy, nnx.grad(cross_entropy)(copy, batch))
        np.testing.assert_allclose(run[laws[0]].quantity, norms, rtol=1e-10)
        np.testing.assert_allclose(
            run.model.conv1.kernel[...], copy.conv1.kernel[...], rtol=1e-9
        )
        np.testing.assert_allclose(
            run.model.norm1.mean[...], copy.norm1.mean[...], rtol=1e-9
        )


def test_the_given_model_is_not_changed(network, small_data):
    model = network()
    before = np.asarray(model.conv1.kernel[...]).copy()
    run = lg.train(model, cross_entropy, small_data, RULES["schedule"], 3)
    np.testing.assert_array_equal(model.conv1.kernel[...], before)
    assert np.abs(np.asarray(run.model.conv1.kernel[...]) - before).max() > 0


def test_a_run_is_reproducible_and_does_not_depend_on_the_chunks(
    network, small_data, laws_of, monkeypatch
):
    rule = RULES["momentum and decay"]
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))

    def quantity(**keywords):
        run = lg.train(
            network(),
            cross_entropy,
            small_data,
            rule,
            23,
            observe=laws,
            batch_size=16,
            **keywords,
        )
        return run[laws[0]].quantity

    first = quantity(seed=4)
    monkeypatch.setattr(module, "_chunk_length", lambda steps: 5)
    np.testing.assert_array_equal(quantity(seed=4), first)
    assert np.abs(quantity(seed=5) - first).max() > 0


def test_chunks_divide_the_steps_where_they_can():
    assert module._chunk_length(2000) == 50
    assert module._chunk_length(7) == 7
    assert 1999 % module._chunk_length(1999) != 0  # a prime: one shorter last chunk


# ------------------------------------------------------------------ what can go wrong


def test_an_unknown_block_lists_the_nearest(network, small_data, laws_of):
    rule = RULES["schedule"]
    laws = laws_of(rule, lg.Scale("conv1.kernle"))
    with pytest.raises(
        lg.UnknownBlock,
        match="ConvolutionalNetwork has no block `conv1.kernle`. Nearest: `conv1.ker",
    ):
        lg.train(network(), cross_entropy, small_data, rule, 3, observe=laws)


def test_a_loss_must_be_a_scalar(network, small_data):
    def losses(model, batch):
        images, labels = batch
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels)

    with pytest.raises(lg.LagrangianError, match="`loss` must return a scalar"):
        lg.train(network(), losses, small_data, RULES["schedule"], 3)


def test_the_data_need_one_leading_axis(network, small_data):
    images, labels = small_data
    with pytest.raises(lg.LagrangianError, match="one common leading axis"):
        lg.train(network(), cross_entropy, (images, labels[:5]), RULES["schedule"], 3)


def test_the_model_must_have_parameters(small_data):
    with pytest.raises(lg.LagrangianError, match="`model`, a function, has no param"):
        lg.train(lambda x: x, cross_entropy, small_data, RULES["schedule"], 3)


def test_a_model_without_parameters_is_refused(small_data):
    class Nothing(nnx.Module):
        pass

    with pytest.raises(lg.LagrangianError, match="a Nothing, has no parameters"):
        lg.train(Nothing(), lambda m, b: 0.0, small_data, RULES["schedule"], 3)


def test_half_precision_is_too_coarse_for_a_verdict(small_data):
    class Direction(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(8, jnp.bfloat16))

    def loss(model, batch):
        w = model.w[...]
        return jnp.sum(jnp.arange(8, dtype=w.dtype) * w) / jnp.sqrt(jnp.sum(w**2))

    rule = lg.HeavyBall(0.01, 0.5)
    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    run = lg.train(Direction(), loss, small_data, rule, 20, observe=[law])
    (row,) = lg.check(run, [law])
    assert row.verdict == "undecided" and "bfloat16" in row.reason


def test_a_loss_that_is_not_finite_stops_with_the_charges(
    network, small_data, laws_of, tmp_path
):
    rule = lg.HeavyBall(lambda step: jnp.where(step < 12, 0.01, jnp.nan), 0.9)
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
    saved = tmp_path / "run.npz"
    with pytest.raises(lg.TrainingStopped, match="stopped at step 1[23]") as stop:
        lg.train(
            network(),
            cross_entropy,
            small_data,
            rule,
            30,
            observe=laws,
            batch_size=16,
            save=saved,
        )
    run = stop.value.run
    assert run.steps == stop.value.step
    assert np.isfinite(run[laws[0]].quantity).all()
    assert np.isfinite(np.asarray(run.model.conv1.kernel[...])).all()
    with np.load(saved) as arrays:
        kept = arrays["scale(conv1.kernel)/quantity"]
        np.testing.assert_array_equal(kept, run[laws[0]].quantity)


def test_an_interrupt_saves_what_was_recorded(
    network, small_data, laws_of, tmp_path, monkeypatch
):
    rule = RULES["momentum and decay"]
    laws = laws_of(rule, lg.Scale("conv1.kernel", unit_axis=-1))
    extend = module.Recorder.extend

    def interrupted(self, *records):
        if self.steps:
            raise KeyboardInterrupt
        return extend(self, *records)

    monkeypatch.setattr(module.Recorder, "extend", interrupted)
    saved = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        lg.train(
            network(), cross_entropy, small_data, rule, 100, observe=laws, save=saved
        )
    with np.load(saved) as arrays:
        assert len(arrays["losses"]) == module._chunk_length(100) < 100
    assert list(tmp_path.iterdir()) == [saved]


def test_mixed_dtypes_are_pointed_out(small_data):
    class Mixed(nnx.Module):
        def __init__(self):
            self.a = nnx.Param(jnp.ones(3, jnp.float16))
            self.b = nnx.Param(jnp.ones(3, jnp.float32))

    def loss(model, batch):
        return jnp.sum(model.a[...]) + jnp.sum(model.b[...] ** 2)

    with pytest.warns(UserWarning, match="mix dtypes"):
        lg.train(Mixed(), loss, small_data, lg.HeavyBall(0.01), 2)


def test_a_law_that_was_not_observed_is_named(network, small_data, laws_of):
    rule = RULES["schedule"]
    observed, other = laws_of(rule, lg.Scale("conv1.kernel"), lg.Scale("conv2.kernel"))
    run = lg.train(network(), cross_entropy, small_data, rule, 3, observe=[observed])
    with pytest.raises(
        lg.LagrangianError, match=r"did not observe.*Observed: scale\(conv1.kernel\)"
    ):
        run[other]


# ------------------------------------------------------------------ pytrees of Linen


def test_linen_is_trained_by_its_parameters(small_data, laws_of):
    images, labels = small_data
    model = linen.Sequential([linen.Dense(8), linen.LayerNorm(1e-20), linen.Dense(10)])
    flat = images.reshape(len(images), -1).astype(np.float32)
    parameters = model.init(jax.random.key(0), flat)["params"]

    def loss(parameters, batch):
        x, y = batch
        logits = model.apply({"params": parameters}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    rule = RULES["momentum and decay"]
    laws = laws_of(rule, lg.Translation("layers_2.bias"), lg.Scale("layers_2.kernel"))
    run = lg.train(parameters, loss, (flat, labels), rule, 50, observe=laws)
    holds, broken = lg.check(run, laws)
    assert holds.holds and broken.verdict == "symmetry absent"
    assert set(run.model) == set(parameters)
    # By hand, with optax alone.
    ours, state = parameters, rule.optax().init(parameters)
    for _ in range(50):
        gradient = jax.grad(loss)(ours, (flat, labels))
        updates, state = rule.optax().update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
    np.testing.assert_allclose(
        run.model["layers_2"]["kernel"], ours["layers_2"]["kernel"], rtol=2e-3
    )


@pytest.mark.parametrize("steps", [0, -3])
def test_a_run_has_at_least_one_step(network, small_data, steps):
    with pytest.raises(lg.LagrangianError, match=f"`steps` is {steps}; pass a whole"):
        lg.train(network(), cross_entropy, small_data, RULES["schedule"], steps)


def test_integers_are_not_trained(small_data):
    model = {"w": np.ones(3, np.float32), "count": np.zeros(2, np.int32)}
    with pytest.raises(lg.LagrangianError, match="`count` is int32. Supported are"):
        lg.train(model, lambda q, b: 0.0, small_data, RULES["schedule"], 3)
