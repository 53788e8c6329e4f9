"""A run is known by its content: what changes the bits, and nothing else, tells it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.model import split
from lagrangian.learning.training.batches import batches_of
from lagrangian.learning.training.identity import identity, program
from lagrangian.learning.training.observed import watching
from lagrangian.learning.training.step import TrainingStep

DATA = np.linspace(-1, 1, 48, dtype=np.float32).reshape(8, 6), np.arange(8) % 2


class Network(nnx.Module):
    """With whatever a user may change and forget."""

    def __init__(self, activation=nnx.relu, epsilon=1e-5, rate=0.1, factor=None):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(6, 4, rngs=rngs)
        self.norm = nnx.LayerNorm(4, epsilon=epsilon, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.last = nnx.Linear(4, 2, rngs=rngs)
        self.activation, self.factor = activation, factor

    def __call__(self, x):
        x = self.activation(self.norm(self.first(x)))
        x = self.last(self.dropout(x))
        return x if self.factor is None else x * self.factor()


def cross_entropy(model, batch):
    logits = model(batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def smoothed(model, batch):
    return 0.999 * cross_entropy(model, batch)


def of(model=None, loss=cross_entropy, rule=None, observe=(), maps=None, data=DATA):
    """What `train` writes down of such a run."""
    rule = rule or lg.HeavyBall(0.1, 0.9)
    watch = watching(rule, observe, maps, 1)
    step = TrainingStep(split(model or Network()), loss, watch)
    return identity(step, batches_of(data, 4, 0), 0, 1)


def law(symmetry, rule=None):
    rule = rule or lg.HeavyBall(0.1, 0.9)
    return lg.noether(rule.lagrangian(symmetry.loss), symmetry)


def constant(at):
    """An array that the loss closes over, of which a printed jaxpr shows a part."""
    array = np.zeros((4, 2000), np.float32)
    array[2, at] = 1.0
    return lambda: jnp.asarray(array).sum(axis=1)[2] * array[2, 700]


def boundaries(at):
    return optax.piecewise_constant_schedule(0.1, {at: 0.5})


def linear(array):
    x = lg.LinearMap("A")
    w = lg.blocks("first.kernel")
    symmetry = lg.Symmetry({w: x(w)}, name="linear")
    return {"observe": [law(symmetry)], "maps": {x: lambda w: array * w}}


CHANGES = {
    "loss": ({}, {"loss": smoothed}),
    "activation": ({}, {"model": lambda: Network(nnx.gelu)}),
    "epsilon": ({}, {"model": lambda: Network(epsilon=2e-5)}),
    "dropout rate": ({}, {"model": lambda: Network(rate=0.2)}),
    "a large constant": (
        {"model": lambda: Network(factor=constant(700))},
        {"model": lambda: Network(factor=constant(701))},
    ),
    "maps": (linear(2.0), linear(3.0)),
    "unit axis": (
        {"observe": [law(lg.Scale("first.kernel", unit_axis=0))]},
        {"observe": [law(lg.Scale("first.kernel", unit_axis=1))]},
    ),
    "a schedule at one step": (
        {"rule": lg.HeavyBall(boundaries(77), 0.9)},
        {"rule": lg.HeavyBall(boundaries(78), 0.9)},
    ),
    "a potential": (
        {"rule": lg.MirrorDescent(0.1, lambda x: x**2 / 2)},
        {"rule": lg.MirrorDescent(0.1, lambda x: x**2)},
    ),
    "data": ({}, {"data": (DATA[0] + 1e-7, DATA[1])}),
    "labels": ({}, {"data": (DATA[0], DATA[1][::-1])}),
}


def made(keywords):
    model = keywords.get("model")
    return of(**keywords | ({"model": model()} if model else {}))


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_bits_is_another_run(change):
    one, other = CHANGES[change]
    first, again, second = made(one).about, made(one).about, made(other).about
    assert first == again
    assert first != second


def test_a_program_is_its_content():
    """Literals, arrays and programs within, and no address."""

    def scaled(factor, rows=2000):
        array = np.full(rows, factor, np.float32)
        return lambda x: jax.lax.cond(x[0] > 0, lambda y: y * array, lambda y: y, x)

    x = jnp.ones(2000)
    assert program(scaled(2.0), x) == program(scaled(2.0), x)
    assert program(scaled(2.0), x) != program(scaled(2.5), x)
    assert program(jnp.sin, x) != program(jnp.cos, x)
    assert program(jax.jit(jnp.sin), x) != program(jax.jit(jnp.cos), x)
    assert program(lambda x: x + 1.0, x) != program(lambda x: x + 2.0, x)


SCRIPT = """
import optax
import lagrangian as lg
from test_identity import boundaries, law, of

for rule in (
    lg.HeavyBall(boundaries(9), 0.9),
    lg.Adam(optax.cosine_decay_schedule(0.1, 100)),
    lg.MirrorDescent(0.1, lambda x: x**2 / 2, inverse=lambda z: z),
    lg.rule(optax.adamw(1e-3)),
):
    symmetry = lg.Scale("first.kernel", unit_axis=0)
    print(sorted(of(rule=rule, observe=[law(symmetry, rule)]).about.items()))
"""


def test_another_process_writes_down_the_same():
    """Whatever the addresses of functions and the order of sets are there."""
    printed = []
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parent,
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert printed[0].count("MirrorDescent") == 1 and "0x" not in printed[0]


def test_a_rule_is_named_in_words():
    about = of(rule=lg.HeavyBall(boundaries(9), 0.9)).about
    assert "learning_rate=piecewise_constant_schedule" in about["rule"]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.uint32])
def test_labels_that_jax_would_wrap_are_refused(dtype):
    labels = np.array([0, 1, np.iinfo(np.int32).max + 6, 3], dtype)
    wraps = np.dtype(dtype).itemsize == 8 and dtype is np.int64

    def train(labels):
        parameters = {"w": np.ones(3, np.float32)}
        loss = lambda p, batch: (p["w"] ** 2).sum() + 0 * batch.sum()
        lg.train(parameters, loss, labels, lg.HeavyBall(0.1), 2)

    if wraps:
        with pytest.raises(
            lg.LagrangianError, match="from 0 to 2147483653.*int32 goes"
        ):
            train(labels)
        with pytest.raises(lg.LagrangianError, match="from -2147483654 to"):
            train(-labels - 1)
    elif dtype is np.uint64:
        with pytest.raises(
            lg.LagrangianError, match="uint32 goes from 0 to 4294967295"
        ):
            train(labels + 2**32)
    else:
        train(labels)
    train(np.arange(4, dtype=dtype))
