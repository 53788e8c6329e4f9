"""A run that stops being finite says where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg


class Chain(nnx.Module):
    """Three linear layers; `poison` turns what comes out of one of them into NaN."""

    def __init__(self, poison=None):
        rngs = nnx.Rngs(0)
        self.first, self.second = (
            nnx.Linear(4, 8, rngs=rngs),
            nnx.Linear(8, 8, rngs=rngs),
        )
        self.third = nnx.Linear(8, 1, rngs=rngs)
        self.poison = poison

    def __call__(self, x):
        for name in ("first", "second", "third"):
            x = getattr(self, name)(x)
            if name == self.poison:
                x = jnp.log(-jnp.abs(x))
            x = jax.nn.relu(x) if name != "third" else x
        return x


def square(model, batch):
    x, y = batch
    return ((model(x)[:, 0] - y) ** 2).mean()


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(32, 4)).astype(np.float32)
    return x, x.sum(axis=1)


def stopped(model, loss, data, rule, laws=()):
    with pytest.raises(lg.TrainingStopped) as stop:
        lg.train(model, loss, data, rule, 200, observe=laws, batch_size=8)
    return stop.value


@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_the_layer_of_the_forward_pass(layer, data):
    error = stopped(Chain(layer), square, data, lg.HeavyBall(0.01))
    assert error.step == 0
    assert f"not finite from `{layer}.bias` on" in str(error)


def test_a_loss_that_diverges(data, laws_of):
    rule = lg.HeavyBall(3.0, 0.9)
    laws = laws_of(rule, lg.Scale("second.kernel"))
    error = stopped(Chain(), square, data, rule, laws)
    assert error.step > 1 and "The last finite charges: scale(second.kernel)" in str(
        error
    )
    run = error.run
    assert run.steps == error.step and np.isfinite(run[laws[0]].quantity).all()
    # The model is the one of the step, not of the chunk before it.
    norm = np.sum(np.asarray(run.model.second.kernel[...], np.float64) ** 2)
    assert norm > run[laws[0]].quantity[-1]


def test_bad_data_are_said_to_be_bad(data):
    x, y = data
    x = x.copy()
    x[3, 1] = np.nan
    error = stopped(Chain(), square, (x, y), lg.HeavyBall(0.01))
    assert "not finite from `first.kernel` on" in str(error) or "the data" in str(error)


def test_a_gradient_that_is_not_finite(data):
    def loss(model, batch):
        return square(model, batch) + jnp.sqrt(jnp.sum(0.0 * model.third.bias[...]))

    error = stopped(Chain(), loss, data, lg.HeavyBall(0.01))
    assert "the gradient of `third.bias` is not finite" in str(error)


def test_an_update_that_is_not_finite(data):
    rule = lg.HeavyBall(lambda step: jnp.where(step < 12, 0.01, jnp.nan))
    symmetry = lg.Scale("second.kernel")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    error = stopped(Chain(), square, data, rule, [law])
    assert error.step == 12 and "the update of `first.bias`" in str(error)


def test_a_stopped_run_stops_again_at_the_same_step(data, tmp_path):
    """Its checkpoint goes on from a state that belongs to its step."""

    def run():
        with pytest.raises(lg.TrainingStopped) as stop:
            lg.train(
                Chain(),
                square,
                data,
                lg.HeavyBall(3.0, 0.9),
                200,
                batch_size=8,
                checkpoint=tmp_path / "run",
            )
        return stop.value

    first, again = run(), run()
    assert first.step == again.step > 0 and str(first) == str(again)
    np.testing.assert_array_equal(first.run.losses, again.run.losses)
