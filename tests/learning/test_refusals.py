"""What training and discovering do not support is refused in words."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.nnx import bridge
from flax.training.train_state import TrainState

import lagrangian as lg
from lagrangian.networks.digits import cross_entropy


class Network(nnx.Module):
    def __init__(self):
        self.dense = nnx.Linear(5, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.dense(x)


class Remembering(Network):
    """Keeps what it saw in a variable that is not there before the first call."""

    def __call__(self, x):
        self.seen = nnx.Variable(x)
        return self.dense(x)


class Growing(Network):
    """Keeps all that it has seen, which is more with every call."""

    def __init__(self):
        super().__init__()
        self.seen = nnx.Cache(jnp.zeros((0, 5)))

    def __call__(self, x):
        self.seen.set_value(jnp.concatenate([self.seen[...], x]))
        return self.dense(x)


class Normalised(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.Dense(4, use_bias=False, param_dtype=jnp.float64)(x)
        x = flax.linen.BatchNorm(
            use_running_average=False,
            epsilon=1e-20,
            use_fast_variance=False,
            param_dtype=jnp.float64,
        )(x)
        return flax.linen.Dense(3, param_dtype=jnp.float64)(flax.linen.relu(x))


def linen_in_double():
    """Parameters in float64; Linen's statistics are in float32 all the same."""
    with jax.enable_x64(True):
        wrapped = bridge.ToNNX(Normalised(), nnx.Rngs(0))
        return bridge.lazy_init(wrapped, jnp.ones((2, 5)))


def calling_linen(model, batch):
    logits = model(batch[0], mutable=["batch_stats"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def examples(count=32):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(count, 5)).astype(np.float32)
    return inputs, generator.integers(0, 3, count)


RULE = lg.HeavyBall(0.05, 0.9)
BIAS = lg.Translation("dense.bias")
WRONG_AXIS = lg.Scale("dense.kernel", unit_axis=5)


def law_of(symmetry):
    return lg.noether(RULE.lagrangian(symmetry.loss), symmetry)


def by_numpy(model, batch):
    return float(np.mean(np.asarray(model(batch[0]))))


def by_if(model, batch):
    value = cross_entropy(model, batch)
    return value if value > 0 else 0.0


def mistakes(model, batch):
    return (model(batch[0]).argmax(-1) != batch[1]).sum()


KEYS = nnx.Rngs(0)


def drawing(model, batch):
    return cross_entropy(model, batch) + 0 * KEYS.noise.normal()


class Communicating(Network):
    def __init__(self):
        super().__init__()
        self.norm = nnx.BatchNorm(3, axis_name="devices", rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(self.dense(x))


STATE = TrainState.create(apply_fn=None, params={"w": jnp.ones(3)}, tx=optax.identity())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": examples(0)}, "has no examples"),
        ({"data": (examples()[0], np.array(["a"] * 32))}, "dtype <U1. Pass numbers"),
        ({"batch_size": 0}, "`batch_size` is 0; pass a whole number above 0"),
        ({"batch_size": -3}, "`batch_size` is -3"),
        ({"steps": 2.5}, "`steps` is 2.5"),
        ({"rule": 0.1}, "`rule` is a float. Pass an optax transformation"),
        ({"observe": [3.0]}, "`observe` has .* Pass laws"),
        ({"observe": [law_of(WRONG_AXIS)]}, r"`unit_axis` is 5 .* from -2 to 1"),
        ({"loss": by_numpy}, "a function of NumPy"),
        ({"loss": by_if}, "a Python `if` on a value"),
        ({"loss": mistakes}, "returns whole numbers"),
        ({"loss": drawing}, "changes an `nnx.Variable` that is not the model's"),
        ({"model": Communicating()}, "along the axis 'devices'.*Leave `axis_name` out"),
        ({"model": STATE}, "a TrainState, is the state of a training.*state.params"),
        ({"data": (*examples(), 7)}, "`data` at `2` is 7, one int.*close over it"),
        ({"data": iter(())}, "an iterator that yields nothing"),
        ({"state": optax.adam(0.1).init(jnp.ones(3))}, "`state` is no state of Heavy"),
        ({"model": Remembering()}, "state changes in its call: seen"),
        (
            {"model": Growing()},
            r"state `seen` in float32\[0, 5\], and a call .* float32\[32, 5\]",
        ),
        (
            {"model": linen_in_double(), "loss": calling_linen},
            r"`BatchNorm_0.mean` in float32\[4\].*makes float64\[4\].*nnx.BatchStat",
        ),
        ({"model": flax.linen.Dense(3)}, "is a Linen module"),
        (
            {"model": {"params": {"w": jnp.ones(3)}, "batch_stats": jnp.ones(3)}},
            "has batch statistics beside",
        ),
    ],
)
def test_what_cannot_be_trained(changed, message):
    known = {
        "model": Network(),
        "loss": cross_entropy,
        "data": examples(),
        "rule": RULE,
        "steps": 2,
    }
    with pytest.raises(lg.LagrangianError, match=message):
        lg.train(**(known | changed))


def test_statistics_of_linen_that_are_cast_are_carried():
    """What the refusal says to write; the law then holds to the digits of float64."""
    model = linen_in_double()
    with jax.enable_x64(True):
        statistics = nnx.state(model, nnx.BatchStat)
        nnx.update(model, jax.tree.map(lambda a: a.astype(jnp.float64), statistics))
    scale = lg.Scale("Dense_0.kernel", unit_axis=-1)
    run = lg.train(model, calling_linen, examples(), RULE, 20, observe=scale)
    assert run.model.BatchNorm_0["mean"][...].dtype == jnp.float64
    (row,) = lg.check(run)
    assert row.holds and row.discrete < 1e-12


def error_rate(model, batch):
    return (model(batch[0]).argmax(-1) != batch[1]).astype(jnp.float32).mean()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_loss_without_a_gradient(decay):
    rule = lg.HeavyBall(0.05, 0.9, decay)
    with pytest.raises(lg.LagrangianError, match="`loss` has no gradient"):
        lg.train(Network(), error_rate, examples(), rule, 5)


def test_weights_that_keep_their_direction_have_a_gradient():
    """Along the gradient of |w|^2 every weight shrinks alike."""
    start = {"w": jnp.asarray([3.0, 4.0])}
    run = lg.train(start, lambda w, batch: jnp.sum(w["w"] ** 2), examples(), RULE, 5)
    w = run.model["w"]
    assert float(w[1] / w[0]) == pytest.approx(4 / 3, rel=1e-4) and float(w[0]) < 3


def test_one_law_needs_no_list():
    law = law_of(BIAS)
    run = lg.train(Network(), cross_entropy, examples(), RULE, 2, observe=law)
    assert run[law].quantity.shape == (2,)


@pytest.mark.parametrize("loss", [by_numpy, by_if, mistakes])
def test_losses_without_symmetries_or_flows(loss):
    with pytest.raises(lg.LagrangianError, match="`loss`"):
        lg.discover(Network(), loss, examples())
    if loss is by_numpy:
        with pytest.raises(lg.LagrangianError, match="a function of NumPy"):
            lg.network_flow(Network(), loss, examples(), RULE)


def test_an_empty_batch_has_no_symmetries():
    with pytest.raises(lg.LagrangianError, match="has no examples"):
        lg.discover(Network(), cross_entropy, examples(0))


def test_a_checkpoint_is_a_folder_of_one_schedule(tmp_path):
    def run(peak, folder):
        rule = lg.HeavyBall(optax.cosine_decay_schedule(peak, 20))
        lg.train(Network(), cross_entropy, examples(), rule, 4, checkpoint=folder)

    (tmp_path / "file").write_text("")
    with pytest.raises(lg.LagrangianError, match="is a file"):
        run(0.1, tmp_path / "file")
    run(0.1, tmp_path / "run")
    with pytest.raises(
        lg.LagrangianError, match="holds another run: (its rule|what a step)"
    ):
        run(0.2, tmp_path / "run")
    run(0.1, tmp_path / "run")
