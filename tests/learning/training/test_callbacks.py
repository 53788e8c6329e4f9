"""Callbacks of `train`, and Linen's statistics and random keys, which are carried."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.nnx import bridge

import lagrangian as lg

SCALE = lg.Scale("w")
RULE = lg.HeavyBall(0.05, 0.9, 1e-2)
X = np.random.default_rng(0).normal(size=(48, 5))


def loss(q, batch):
    u = q["w"] / jnp.linalg.norm(q["w"])
    return jnp.mean(jnp.sin(batch @ u)) + jnp.sum((q["b"] - 1) ** 2)


def start():
    return {"w": jnp.asarray([1.0, 0.5, -0.3, 0.8, -1.0]), "b": jnp.zeros(3)}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def trained(steps=40, **keywords):
    return lg.train(
        start(), loss, X, RULE, steps, observe=[SCALE], batch_size=8, **keywords
    )


def test_a_callback_is_given_the_run_until_then():
    """For validation and logging; it changes nothing of the training."""
    seen = []

    def log(run):
        seen.append((run.steps, run.losses[-1], run.model["w"], lg.check(run).holds))

    run = trained(callback=log, every=7)
    assert [steps for steps, *_ in seen] == [7, 14, 21, 28, 35]
    alone = trained()
    np.testing.assert_array_equal(run.losses, alone.losses)
    np.testing.assert_array_equal(run[SCALE].quantity, alone[SCALE].quantity)
    for steps, last, w, _ in seen[:2]:
        short = trained(steps)
        np.testing.assert_array_equal(w, short.model["w"])
        assert last == short.losses[-1]


def test_averages_of_the_parameters():
    """The exponential average of every step, as a loop would make it."""
    average = [start()]

    def update(run):
        average[0] = optax.incremental_update(run.model, average[0], 0.1)

    trained(5, callback=update, every=1)
    expected = start()["w"]
    for steps in range(1, 6):
        expected = 0.9 * expected + 0.1 * trained(steps).model["w"]
    np.testing.assert_allclose(average[0]["w"], expected, rtol=1e-12)


def test_an_early_stop_ends_the_run(tmp_path):
    def is_enough(run):
        return run.steps >= 20

    keywords = {"checkpoint": tmp_path / "run", "every": 10}
    run = trained(callback=is_enough, **keywords)
    assert run.steps == 20 and lg.check(run).holds
    assert len(run.losses) == len(run[SCALE].quantity) == 20
    # The same call without it goes on as if nothing had been.
    whole = trained(checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(whole.losses, trained().losses)


def test_what_a_callback_raises_is_raised_and_the_records_are_kept(tmp_path):
    def broken(run):
        raise RuntimeError("no room for the log")

    with pytest.raises(RuntimeError, match="no room"):
        trained(callback=broken, every=10, save=tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz") as arrays:
        assert len(arrays["losses"]) == 10


def test_every_is_a_whole_number():
    with pytest.raises(lg.LagrangianError, match="`every` is 0; pass a whole number"):
        trained(callback=print, every=0)


class Dense(linen.Module):
    """A Linen module with statistics of its batches, and random numbers."""

    @linen.compact
    def __call__(self, x):
        x = linen.Dense(6, use_bias=False)(x)
        x = linen.BatchNorm(
            use_running_average=False,
            epsilon=1e-20,
            use_fast_variance=False,
        )(x)
        x = linen.Dropout(0.3, deterministic=False)(linen.relu(x))
        return linen.Dense(3)(x)


def test_statistics_and_random_keys_of_linen_are_carried():
    def cross_entropy(model, batch):
        x, y = batch
        logits = model(x, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    data = X, (X[:, 0] > 0).astype(np.int32)
    with jax.enable_x64(False):
        wrapped = bridge.ToNNX(Dense(), nnx.Rngs(0, dropout=1))
        model = bridge.lazy_init(wrapped, jnp.asarray(X[:2]))
    symmetry = lg.Scale("Dense_0.kernel", unit_axis=-1)
    run = lg.train(model, cross_entropy, data, RULE, 25, observe=symmetry)
    assert lg.check(run).holds

    def statistics(model):
        return np.asarray(model.BatchNorm_0["mean"][...])

    assert np.abs(statistics(run.model) - statistics(model)).max() > 1e-3
    # At rest, and on all of the data, the losses differ by what is drawn.
    still = lg.train(
        model, cross_entropy, data, lg.HeavyBall(1e-12), 5, batch_size=None
    )
    assert np.all(np.abs(np.diff(still.losses)) > 1e-3)
