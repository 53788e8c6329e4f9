"""Decays by a mask, and groups with rates of their own: each block has its balance."""

from dataclasses import dataclass

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
