"""Every optimiser of the installed optax, trained by `lg.train` as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import lagrangian as lg

from ..rules.read.conftest import document

#: optax warns of its own deprecated functions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TARGET = np.random.default_rng(3).normal(size=(3, 3))
DATA = np.random.default_rng(4).normal(size=(24, 3))
SCALE = lg.Scale("kernel")
BROKEN = lg.Scale("bias")


def loss(q, batch):
    """Of the direction of the kernel, on noisy batches, and of the bias."""
    u = q["kernel"] / jnp.linalg.norm(q["kernel"])
    bent = jnp.sum(jnp.sin(u @ jnp.asarray(TARGET))) + jnp.mean(jnp.sum(batch @ u, 1))
    return 4.0 + bent + jnp.sum((q["bias"] - 1) ** 2) + jnp.sum(u[0] * q["bias"])


def start():
    generator = np.random.default_rng(5)
    shapes = {"bias": (3,), "kernel": (3, 3)}
    return {k: jnp.asarray(generator.normal(size=s)) for k, s in shapes.items()}


#: What is trained in another way than the page of the docs makes it, and why.
OTHERWISE = {
    # optax accumulates in float32 where it is not told.
    "MultiSteps": lambda: optax.MultiSteps(
        optax.sgd(0.01, momentum=0.9), 4, accumulator_dtype=jnp.float64
    ),
}

#: What makes no updates, or takes something else than the gradient of a loss.
NO_TRAINING = {
    "measure_with_ema": "it measures updates, and returns none",
    "differentially_private_aggregate": "it takes the gradient of every example",
    "dpsgd": "it takes the gradient of every example",
    "scale_by_muon": "it takes matrices alone",
    "lookahead": "its parameters are a pair: below",
}

#: One of each way to be called.
QUICK = (
    "sophia lbfgs scale_by_backtracking_linesearch polyak_sgd adam schedule_free muon"
).split()


def trained(tx, steps=12, **keywords):
    with jax.enable_x64(True):
        run = lg.train(
            start(),
            loss,
            DATA,
            tx,
            steps,
            observe=[SCALE, BROKEN],
            batch_size=8,
            **keywords,
        )
        return run, lg.check(run)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[] if name.removeprefix("contrib.") in QUICK else pytest.mark.slow,
        )
        for name, _ in document.names()
        if name.removeprefix("contrib.") not in NO_TRAINING
    ],
)
def test_its_discrete_law_is_exact(name):
    short = name.removeprefix("contrib.")
    make = OTHERWISE.get(short)
    tx = make() if make else document.transformation(name, dict(document.names())[name])
    run, (kept, broken) = trained(tx)
    assert kept.balance < 1e-13 and kept.discrete < 1e-13, (kept, run.rule)
    assert broken.discrete > 1e-6 or broken.verdict == "symmetry absent"


def test_the_names_above_are_those_of_optax():
    known = {name.removeprefix("contrib.") for name, _ in document.names()}
    assert known >= {*OTHERWISE, *NO_TRAINING, *QUICK}


def test_the_pair_of_parameters_of_lookahead():
    """Its gradient is that of the fast half; as in a loop of one's own."""
    tx = optax.lookahead(optax.sgd(0.05, momentum=0.9), 5, 0.5)

    def fast_loss(pair, batch):
        return loss(pair.fast, batch)

    with jax.enable_x64(True):
        pair = optax.LookaheadParams.init_synced(start())
        laws = [lg.Scale("fast.kernel"), lg.Scale("fast.bias")]
        run = lg.train(
            pair, fast_loss, DATA, tx, 12, observe=laws, batch_size=None, seed=0
        )
        kept, broken = lg.check(run)
        state = tx.init(pair)
        for _ in range(12):
            gradient = jax.grad(loss)(pair.fast, jnp.asarray(DATA))
            updates, state = tx.update(gradient, state, pair)
            pair = optax.apply_updates(pair, updates)
    for ours, theirs in zip(
        jax.tree.leaves(run.model), jax.tree.leaves(pair), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)
    assert kept.holds and kept.discrete < 1e-13 and kept.metric > 1e-6
    assert "its rule could not be read" in kept.reason
    assert broken.verdict == "symmetry absent"


def test_the_gradient_elsewhere_that_sam_asks_for():
    """`grad_fn`, for the gradient at the parameters that are worst nearby."""
    tx = contrib.sam(
        optax.sgd(0.01),
        optax.chain(contrib.normalize(), optax.sgd(0.05)),
        opaque_mode=True,
    )
    _, (kept, _) = trained(tx)
    assert kept.holds and kept.discrete < 1e-13
