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
    assert rescale.discrete < 1e-13 and rescale.continuous < 0.1
    weight = f"1 of `bias`, {1 / share:.4g} of `out`"
    assert share == 1 or weight in rescale.reason
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


#: Those whose blocks have no continuous law together, and why.
APART = {
    "gains and schedules": "the rates of `kernel` and `out` have no fixed ratio",
    "a metric beside a ball": "its metric moves where it updates `out`",
}


def assert_each_has_its_own_balance(name):
    rescale, shift, out = report(CHAINS[name](), [RESCALE, SHIFT, OUT_SHIFT])
    assert rescale.discrete < 1e-13 and rescale.kinetic > 1e-3, rescale
    if name in APART:
        assert rescale.holds and rescale.continuous is None, rescale
        assert APART[name] in rescale.reason
    else:
        assert rescale.continuous < 0.1, rescale
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


# ------------------------------------------------------------------ one law for several


def grouped(eta, ratio=3.0, momenta=(0.8, 0.8), decay=0.0, nesterov=False):
    """`out` has a rate, a momentum and a decay of its own."""
    return optax.multi_transform(
        {
            "out": optax.chain(
                optax.add_decayed_weights(decay),
                optax.sgd(scaled(eta, ratio), momentum=momenta[0]),
            ),
            "others": optax.sgd(eta, momentum=momenta[1], nesterov=nesterov),
        },
        labels,
    )


def scaled(eta, ratio):
    return (lambda k: ratio * eta(k)) if callable(eta) else ratio * eta


def order(make, time=1.2):
    with jax.enable_x64(True):
        runs = [
            lg.train(
                *(parameters(), loss, DATA, make(eta), round(time / eta)),
                observe=[RESCALE],
                batch_size=None,
            )
            for eta in (0.008, 0.004, 0.002)
        ]
        (row,) = lg.check(runs)
    return row


def test_the_law_across_groups_is_of_second_order():
    """Rates, momenta and decays of their own, and Nesterov's rule beside a ball."""
    row = order(lambda eta: grouped(eta, 3.0, (0.5, 0.8), 0.1, True))
    assert row.holds and 1.9 < row.order.value < 2.2, row
    assert "the source has what they differ by" in row.reason


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    ratio=st.sampled_from([0.2, 0.5, 3.0]),
    momenta=st.sampled_from([(0.8, 0.8), (0.0, 0.8), (0.9, 0.5)]),
    decay=st.sampled_from([0.0, 0.1]),
    nesterov=st.booleans(),
)
def test_the_law_across_any_groups_is_of_second_order(ratio, momenta, decay, nesterov):
    row = order(lambda eta: grouped(eta, ratio, momenta, decay, nesterov))
    assert row.discrete < 1e-13 and row.continuous < 0.1, row
    assert row.order.value + row.order.uncertainty > 1.9, row


def norms(q):
    """|kernel|^2 + |bias|^2 and |out|^2 of each unit."""
    q = {name: np.asarray(array) for name, array in q.items()}
    return np.sum(q["kernel"] ** 2, 0) + q["bias"] ** 2, np.sum(q["out"] ** 2, 1)


def test_rates_of_their_own_weigh_the_blocks():
    """Without momentum and decay x = sum |q|^2/eta stays, but for the first order."""
    with jax.enable_x64(True):
        tx = grouped(1e-3, 4.0, (0.0, 0.0))
        run = lg.train(
            parameters(), loss, DATA, tx, 1000, observe=[RESCALE], batch_size=None
        )
        (first, second), (a, b) = norms(parameters()), norms(run.model)
    x = run[RESCALE].quantity
    np.testing.assert_allclose(x[0], first - second / 4, rtol=1e-12)
    np.testing.assert_allclose(x[-1], a - b / 4, rtol=1e-3)
    # The control: a weight of one for each block is a quantity of no law.
    moved = np.abs((a - b) - (first - second))
    assert np.all(np.ptp(x, axis=0) < 0.01 * moved.max()) and moved.max() > 0.1
    predicted = lg.predict(run, RESCALE)
    assert np.abs(predicted - x).max() < 0.02 * np.ptp(x, axis=0).max()
    assert "frictions or decays" not in lg.check(run)[0].reason


@pytest.mark.parametrize("ratio", [2.0, None])
def test_schedules_in_a_fixed_ratio_have_a_law(ratio):
    """A warm-up from zero for both; and one that the other does not follow."""
    other = scaled(WARM, 2.0) if ratio else optax.exponential_decay(0.02, 20, 0.5)
    tx = optax.multi_transform(
        {"out": optax.sgd(other, momentum=0.5), "others": optax.sgd(WARM, 0.5)}, labels
    )
    (row,) = report(tx, [RESCALE], 100)
    assert row.discrete < 1e-13
    if ratio:
        assert row.holds and row.continuous < 0.05, row
    else:
        assert row.continuous is None and "no fixed ratio" in row.reason
        with pytest.raises(lg.LagrangianError, match="no fixed ratio"):
            with jax.enable_x64(True):
                run = lg.train(parameters(), loss, DATA, tx, 2, observe=[RESCALE])
            lg.predict(run, RESCALE)


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
