"""What `train` takes of a user's own loop: its batches, its losses, its layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.training.run import Record

RULE = lg.HeavyBall(0.05, 0.9, 1e-2)
SCALE = lg.Scale("dense.kernel", unit_axis=-1)
X = np.random.default_rng(0).normal(size=(60, 5))
Y = np.random.default_rng(1).integers(0, 3, size=60)


class Network(nnx.Module):
    def __init__(self, wrap=None):
        rngs = nnx.Rngs(0)
        self.dense = nnx.Linear(5, 6, rngs=rngs)
        if wrap is not None:
            self.dense = wrap(self.dense, rngs=rngs)
        self.norm = nnx.LayerNorm(6, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.dense(x))))


def loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def batches(size=16):
    """Epochs in order, the last batch of each smaller."""
    while True:
        for start in range(0, len(X), size):
            yield X[start : start + size].astype(np.float32), Y[start : start + size]


def leaves(model):
    return jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, nnx.Param)))


def flax_loop(model, rule, steps):
    optimizer = nnx.Optimizer(model, rule.optax(), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, batch):
        optimizer.update(model, nnx.grad(loss)(model, batch))

    for _, batch in zip(range(steps), batches(), strict=False):
        step(model, optimizer, jax.tree.map(jnp.asarray, batch))
    return model


def test_an_iterator_of_batches_is_trained_on_as_by_a_loop():
    symmetry = lg.Translation("out.bias")
    run = lg.train(Network(), loss, batches(), RULE, 23, observe=[symmetry])
    assert run.steps == 23 and run.batch_size == 16 and lg.check(run).holds
    for ours, theirs in zip(
        leaves(run.model), leaves(flax_loop(Network(), RULE, 23)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_iterator_that_ends_ends_the_run():
    three = [batch for batch, _ in zip(batches(), range(3), strict=False)]
    with pytest.warns(UserWarning, match="ended after 3 of the 10 `steps`"):
        run = lg.train(Network(), loss, iter(three), RULE, 10)
    assert run.steps == 3


@pytest.mark.slow
def test_a_checkpoint_goes_on_in_an_iterator(tmp_path):
    whole = lg.train(Network(), loss, batches(), RULE, 30, observe=[SCALE])
    for steps in (11, 30):
        run = lg.train(
            Network(),
            loss,
            batches(),
            RULE,
            steps,
            observe=[SCALE],
            checkpoint=tmp_path / "run",
        )
    np.testing.assert_array_equal(run.losses, whole.losses)
    np.testing.assert_array_equal(run[SCALE].quantity, whole[SCALE].quantity)


def test_a_loss_may_return_more_than_its_value():
    def with_logits(model, batch):
        return loss(model, batch), {"logits": model(batch[0])}

    data = X.astype(np.float32), Y
    runs = [lg.train(Network(), f, data, RULE, 5) for f in (loss, with_logits)]
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)


@pytest.mark.parametrize("wrap", [nnx.WeightNorm, nnx.SpectralNorm])
def test_layers_that_write_into_parameters_train_as_in_the_loop(wrap):
    """And a law of what they write is refused, one of another parameter holds."""
    name = "dense.layer_instance.kernel"
    bias = lg.Translation("out.bias")
    run = lg.train(Network(wrap), loss, batches(), RULE, 20, observe=[bias])
    assert lg.check(run).holds
    for ours, theirs in zip(
        leaves(run.model), leaves(flax_loop(Network(wrap), RULE, 20)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with pytest.raises(lg.LagrangianError, match=f"writes into its parameter `{name}`"):
        lg.train(Network(wrap), loss, batches(), RULE, 2, observe=[lg.Scale(name)])


# ------------------------------------------------------------------ starts in motion


def direction(q, batch):
    u = q["w"] / jnp.linalg.norm(q["w"])
    return jnp.sin(u @ jnp.asarray(X[:5]) @ u) + 0 * jnp.sum(batch)


@pytest.mark.parametrize(
    "rule",
    [
        lg.HeavyBall(2e-3, 0.95, 1e-2),
        lg.HeavyBall(2e-3, 0.95, nesterov=True),
        lg.HeavyBall(2e-3, 0.95, dampening=0.95, weight_decay=1e-2),
        lg.HeavyBall(2e-3, 0.95, 1e-2, decoupled=True),
    ],
    ids=["heavy ball", "nesterov", "dampened", "decoupled"],
)
def test_a_start_in_motion_is_predicted_from_its_trace(rule):
    """The one from rest is off by as far as the charge moves."""
    law = lg.noether(rule.lagrangian(lg.Scale("w").loss), lg.Scale("w"))
    with jax.enable_x64(True):
        start = {"w": jnp.asarray([1.0, 0.5, -0.3, 0.8, -1.0])}
        # A trace along w is of no gradient: a push, which the symmetry feels.
        state = jax.tree.map(
            lambda leaf: 20 * start["w"] if leaf.shape == (5,) else leaf,
            rule.optax().init(start),
        )
        run = lg.train(
            start, direction, X, rule, 400, observe=[law], batch_size=None, state=state
        )
    (row,) = lg.check(run, [law])
    assert row.holds, row
    record = run[law]
    terms = record._terms | {"start": record._terms["start"].xreplace(_at_rest(law))}
    still = Record(terms, record._products, record._parameters, record._shape)
    (wrong,) = lg.check(dataclasses.replace(run, records={law: still}), [law])
    assert wrong.verdict == "law fails" and wrong.continuous > 0.5


def _at_rest(law):
    from lagrangian.symbolic.laws.discrete import role

    (w,) = law.symmetry.xi
    return {lg.Inner(w, role(w, "trace")): 0}


def test_a_run_goes_on_from_the_state_of_another():
    rule = lg.HeavyBall(optax.cosine_decay_schedule(0.05, 20), 0.9)
    tx = lg.observed(rule, [lg.Scale("w")])
    with jax.enable_x64(True):
        q = {"w": jnp.asarray([1.0, 0.5, -0.3, 0.8, -1.0])}
        state, batch = tx.init(q), jnp.asarray(X)
        update = jax.jit(lambda q, s: tx.update(jax.grad(direction)(q, batch), s, q))
        for _ in range(8):
            updates, state = update(q, state)
            q = optax.apply_updates(q, updates)
        rest = lg.train(q, direction, X, rule, 12, batch_size=None, state=state)
        expected = [float(rule.rate(jnp.asarray(k))) for k in range(8, 20)]
    np.testing.assert_allclose(rest.learning_rates, expected)
