"""Decays by a mask, and groups with rates of their own: each block has its balance."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

DATA = np.random.default_rng(0).normal(size=(64, 4))


def loss(q, batch):
    """A ReLU layer, whose units rescale, with a bias and a softmax's shift."""
    hidden = jax.nn.relu(batch @ q["kernel"] + q["bias"])
    logits = hidden @ q["out"] + q["shift"]
    return -jax.nn.log_softmax(logits)[:, 0].mean() + jnp.mean(
        logits[:, 0] - logits[:, 1]
    )


def parameters():
    shapes = {"kernel": (4, 5), "bias": (5,), "out": (5, 3), "shift": (3,)}
    generator = np.random.default_rng(1)
    return {k: jnp.asarray(generator.normal(size=s)) for k, s in shapes.items()}


@dataclass(frozen=True)
class Masked(lg.HeavyBall):
    """A decay of kernels only, and a learning rate of its own for `out`."""

    share: float = 1.0

    def optax(self):
        decay = optax.add_decayed_weights(
            self.weight_decay, {k: k in ("kernel", "out") for k in parameters()}
        )
        coupled = optax.identity() if self.decoupled else decay
        other = {k: self.share if k == "out" else 1.0 for k in parameters()}
        return optax.chain(
            coupled,
            optax.trace(self.momentum, self.nesterov),
            decay if self.decoupled else optax.identity(),
            optax.scale_by_learning_rate(self.learning_rate),
            optax.stateless(lambda u, _: jax.tree.map(lambda a, s: a * s, u, other)),
        )


KERNEL, BIAS = lg.blocks("kernel bias", unit_axis=-1)
OUT = lg.blocks("out", unit_axis=0)
RESCALE = lg.Rescale([KERNEL, BIAS], OUT)
SHIFT, OUT_SHIFT = lg.Translation("shift"), lg.Translation("out", unit_axis=0)


def report(rule, symmetries, steps=150):
    with jax.enable_x64(True):
        run = lg.train(
            parameters(),
            loss,
            DATA,
            rule,
            steps,
            observe=symmetries,
            batch_size=None,
        )
        return lg.check(run)


@settings(max_examples=4, deadline=None)
@given(
    share=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    nesterov=st.booleans(),
    decoupled=st.booleans(),
)
def test_each_block_has_its_own_balance(share, nesterov, decoupled):
    rule = Masked(0.01, 0.8, 0.1, nesterov=nesterov, decoupled=decoupled, share=share)
    rescale, shift, out = report(rule, [RESCALE, SHIFT, OUT_SHIFT])
    assert rescale.holds and rescale.continuous is None
    assert "decay and the rate of each block" in rescale.reason
    # One block each: the continuous law with its own decay and in its own time.
    assert shift.holds and out.holds, (shift, out)
    assert out.continuous < 0.02


@dataclass(frozen=True)
class Pretending(Masked):
    """A move beside that of the rule, and no multiple of the parameters."""

    def optax(self):
        usual = super().optax()

        def update(g, state, params):
            moved, state = usual.update(g, state, params)
            return jax.tree.map(
                lambda u, q: u - 0.01 * jnp.sin(3 * q), moved, params
            ), state

        return optax.GradientTransformation(usual.init, update)


def test_what_is_no_group_is_still_caught():
    rescale, shift = report(Pretending(0.01, 0.8, 0.1), [RESCALE, OUT_SHIFT])
    assert rescale.verdict == shift.verdict == "law fails"
    assert "was not made by" in rescale.reason
    # The covector of a shift is right whatever the move is; its motion is not.
    assert "the continuous prediction misses" in shift.reason


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_subclass_without_groups_is_the_rule_itself(decay):
    class Same(lg.HeavyBall):
        def optax(self):
            return super().optax()

    ours, theirs = (
        report(kind(0.01, 0.8, decay), [RESCALE], 60)[0]
        for kind in (Same, lg.HeavyBall)
    )
    assert ours.continuous == theirs.continuous is not None


# ------------------------------------------------------------------ optax chains


def is_kernel(tree):
    return {name: name in ("kernel", "out") for name in tree}


def labels(tree):
    return {name: name if name == "out" else "others" for name in tree}


WARM = optax.linear_schedule(0.0, 0.02, 30)
#: Each with blocks of a law in several groups.
CHAINS = {
    "decay of kernels": lambda decay=0.1: optax.chain(
        optax.add_decayed_weights(decay, is_kernel), optax.sgd(0.01, momentum=0.8)
    ),
    "decoupled decay of kernels": lambda decay=0.1: optax.chain(
        optax.trace(0.8),
        optax.add_decayed_weights(decay, is_kernel),
        optax.scale(-0.01),
    ),
    "rates, momenta and decays": lambda decay=0.1: optax.multi_transform(
        {
            "out": optax.chain(
                optax.add_decayed_weights(decay), optax.sgd(0.03, momentum=0.5)
            ),
            "others": optax.sgd(0.01, momentum=0.8, nesterov=True),
        },
        labels,
    ),
    "gains and schedules": lambda decay=0.1: optax.multi_transform(
        {
            "out": optax.chain(
                optax.add_decayed_weights(decay),
                optax.ema(0.9, debias=False),
                optax.scale_by_learning_rate(WARM),
            ),
            "others": optax.sgd(optax.cosine_decay_schedule(0.01, 200), momentum=0.8),
        },
        labels,
    ),
    "a metric beside a ball": lambda decay=0.1: optax.multi_transform(
        {
            "out": optax.adamw(1e-3, weight_decay=decay),
            "others": optax.sgd(0.01, momentum=0.8),
        },
        labels,
    ),
}


def assert_each_has_its_own_balance(name):
    rescale, shift, out = report(CHAINS[name](), [RESCALE, SHIFT, OUT_SHIFT])
    assert rescale.holds and rescale.discrete < 1e-13, rescale
    assert rescale.continuous is None and rescale.kinetic > 1e-3
    # One group each: the continuous law of the rule that the block has.
    assert shift.holds and shift.continuous < 0.02, shift
    assert out.holds and (out.continuous is None or out.continuous < 0.02), out


QUICK = "rates, momenta and decays"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == QUICK else pytest.mark.slow) for n in CHAINS],
)
def test_a_chain_has_the_balance_of_each_block(name):
    assert_each_has_its_own_balance(name)


@pytest.mark.parametrize("name", ["decay of kernels", "rates, momenta and decays"])
def test_another_decay_of_one_group_is_refuted(name):
    """What was read of one chain, run with another."""
    with jax.enable_x64(True):
        read = lg.rule(CHAINS[name](), parameters())
    pretending = replace(read, transformation=CHAINS[name](0.3))
    (rescale,) = report(pretending, [RESCALE], 40)
    assert rescale.verdict == "law fails" and "was not made by" in rescale.reason


@pytest.mark.parametrize("make", [optax.adamw, optax.lion, optax.sgd])
def test_a_warm_up_from_zero(make):
    """In whose first step nothing moves, clipped or not."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.01, 10, 40)
    for tx in (
        make(schedule),
        optax.chain(optax.clip_by_global_norm(1.0), make(schedule)),
    ):
        rescale, shift = report(tx, [RESCALE, OUT_SHIFT], 40)
        assert rescale.discrete < 1e-13 and shift.discrete < 1e-13
        assert rescale.defect < 1e-12 and rescale.kinetic > 1e-9
