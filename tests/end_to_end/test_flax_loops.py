"""A ResNet and a small GPT in the loop of the Flax documentation, observed."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.networks.networks import Transformer

STEPS = 24


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.conv1 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.norm1 = _norm(width, rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = _norm(width, rngs)

    def __call__(self, x):
        y = self.norm2(self.conv2(nnx.relu(self.norm1(self.conv1(x)))))
        return nnx.relu(x + y)


def _norm(width, rngs):
    return nnx.BatchNorm(width, epsilon=1e-20, use_fast_variance=False, rngs=rngs)


class ResNet(nnx.Module):
    def __init__(self, rngs, width=4, blocks=2):
        self.stem = nnx.Conv(1, width, (3, 3), use_bias=False, rngs=rngs)
        self.norm = _norm(width, rngs)
        self.blocks = nnx.List([Block(width, rngs) for _ in range(blocks)])
        self.head = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


def resnet():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(STEPS, 16, 6, 6, 1)).astype(np.float32)
    labels = (images.mean(axis=(2, 3, 4)) > 0).astype(np.int32)
    kept = [
        lg.Scale("stem.kernel", unit_axis=-1),
        lg.Scale("blocks.1.conv2.kernel", unit_axis=-1),
        lg.Translation("head.bias"),
    ]
    return ResNet, (images, labels), kept, lg.Scale("head.kernel")


def gpt():
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 7, size=(STEPS, 16, 7))
    kept = [lg.Translation("head.bias")]
    for i in range(2):
        wide = lg.blocks(f"first.{i}.kernel first.{i}.bias", unit_axis=-1)
        kept.append(lg.Rescale(wide, lg.blocks(f"second.{i}.kernel", unit_axis=0)))
    data = tokens[..., :-1], tokens[..., 1:]
    return lambda rngs: Transformer(rngs, blocks=2), data, kept, lg.Scale("head.kernel")


MODELS = {"resnet": resnet, "gpt": gpt}


def kernels(tree):
    return jax.tree.map(lambda x: jnp.ndim(x) > 1, tree)


CHAINS = {
    "linear": lambda beta: optax.chain(
        optax.add_decayed_weights(1e-3, mask=kernels), optax.sgd(0.02, momentum=beta)
    ),
    "metric": lambda beta: optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            optax.warmup_cosine_decay_schedule(1e-4, 1e-2, 8, STEPS),
            b1=beta,
            mask=kernels,
        ),
    ),
    "convex": lambda beta: optax.lion(1e-3, b2=beta),
    "opaque": lambda beta: optax.contrib.muon(1e-2, beta=beta),
}


def loss_fn(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, batch):
    loss, grads = nnx.value_and_grad(loss_fn)(model, batch)
    optimizer.update(model, grads, value=loss)
    return loss


def trained(make, data, tx, symmetries=None):
    """Three lines of it are ours."""
    model = make(nnx.Rngs(0))
    if symmetries is not None:
        tx = lg.observed(tx, symmetries, capacity=STEPS)
    optimizer = nnx.Optimizer(model, optax.with_extra_args_support(tx), wrt=nnx.Param)
    losses = [
        train_step(
            model, optimizer, jax.tree.map(lambda a, k=k: jnp.asarray(a[k]), data)
        )
        for k in range(STEPS)
    ]
    if symmetries is None:
        return model, losses, None
    return model, losses, lg.recorded(optimizer, model)


def assert_certified(name, chain):
    make, data, kept, broken = MODELS[name]()
    plain, losses, _ = trained(make, data, CHAINS[chain](0.9))
    model, told, run = trained(make, data, CHAINS[chain](0.9), [*kept, broken])
    # XLA fuses Muon's products with what reads them, and rounds in another way then.
    units = 64 if chain == "opaque" else 0
    pairs = [map(jax.tree.leaves, map(nnx.state, (model, plain))), (told, losses)]
    for ours, theirs in [*zip(*pairs[0], strict=True), pairs[1]]:
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        gap = np.abs(ours - theirs).max()
        assert gap <= units * np.finfo(np.float32).eps * np.abs(theirs).max()
    np.testing.assert_array_equal(run.losses, told)
    *rows, control = lg.check(run)
    for row in rows:
        assert row.discrete <= row.rounding and row.defect < 1e-4, row
        assert "discrete law alone" not in row.reason  # the rule was read
    assert control.verdict == "symmetry absent", control


def assert_refuted(name, chain):
    """A rule that was read from one chain, and is run with another."""
    make, data, kept, _ = MODELS[name]()
    read = lg.rule(CONTROLS[chain](0.9), make(nnx.Rngs(0)))
    pretending = replace(read, transformation=CONTROLS[chain](0.7))
    *_, run = trained(make, data, pretending, kept[1:2])
    (row,) = lg.check(run)
    assert row.verdict == "law fails" and "the run was not made by" in row.reason, row


#: What of each the discrete law depends on; that of clipped gradients is in no average,
#: so that the law is that of any update.
CONTROLS = {
    "linear": CHAINS["linear"],
    "metric": lambda beta: optax.adamw(1e-2, b1=beta, mask=kernels),
    "convex": CHAINS["convex"],
}

CASES = [(name, chain) for name in MODELS for chain in CHAINS]
QUICK = {("gpt", "metric"), ("resnet", "linear")}


def _marked(cases):
    return [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in cases
    ]


@pytest.mark.parametrize("name, chain", _marked(CASES))
def test_it_is_certified_and_equal_to_the_loop_without(name, chain):
    assert_certified(name, chain)


@pytest.mark.parametrize("name, chain", _marked(c for c in CASES if c[1] in CONTROLS))
def test_a_rule_of_another_chain_is_refuted(name, chain):
    assert_refuted(name, chain)
