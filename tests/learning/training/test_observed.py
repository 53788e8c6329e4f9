"""Laws observed in a training loop of one's own: any transformation, any loop."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.learning.training.observed import watching
from lagrangian.learning.training.recorder import Rows

SCALE = lg.Scale("w", unit_axis=-1)
SHIFT = lg.Translation("b")
BROKEN = lg.Scale("v")
RULE = lg.HeavyBall(0.05, 0.9, 1e-2)
X = np.random.default_rng(0).normal(size=(40, 30, 5))
Y = np.random.default_rng(1).integers(0, 3, size=(40, 30))


def loss(q, batch):
    """Units of `w` that are divided by their norm, and a softmax behind them."""
    x, y = batch
    hidden = jnp.tanh(x @ (q["w"] / jnp.linalg.norm(q["w"], axis=0)))
    logits = hidden @ q["v"] + q["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def parameters(dtype=jnp.float64):
    generator = np.random.default_rng(2)
    shapes = {"w": (5, 4), "v": (4, 3), "b": (3,)}
    return {k: jnp.asarray(generator.normal(size=s), dtype) for k, s in shapes.items()}


def scanned(tx, steps=40):
    """The loop that users write: parameters and state at the end, in 64 bits."""
    tx = optax.with_extra_args_support(tx)

    def step(carry, batch):
        q, state = carry
        value, gradient = jax.value_and_grad(loss)(q, batch)
        updates, state = tx.update(gradient, state, q, value=value)
        return (optax.apply_updates(q, updates), state), value

    start = parameters()
    batches = jnp.asarray(X[:steps]), jnp.asarray(Y[:steps])
    return jax.jit(lambda c: jax.lax.scan(step, c, batches))((start, tx.init(start)))


def kernels(q):
    return {name: name != "b" for name in q}


CHAINS = {
    "clipped adamw": lambda: optax.chain(
        optax.clip_by_global_norm(0.5), optax.adamw(1e-2, weight_decay=0.1)
    ),
    "decay of kernels only": lambda: optax.adamw(1e-2, weight_decay=0.1, mask=kernels),
    "two groups": lambda: optax.multi_transform(
        {"fast": optax.sgd(0.1, 0.9), "slow": optax.adam(1e-3)},
        {"w": "fast", "v": "slow", "b": "slow"},
    ),
    "nesterov": lambda: optax.sgd(0.05, 0.9, nesterov=True),
    "adafactor": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=2),
    "lamb": lambda: optax.lamb(1e-2),
    "lion": lambda: optax.lion(1e-3),
    "muon": lambda: optax.contrib.muon(1e-2),
    "prodigy": lambda: optax.contrib.prodigy(1.0),
    "noisy": lambda: optax.noisy_sgd(0.05, key=0),
    "every third": lambda: optax.MultiSteps(optax.sgd(0.1), 3),
    "injected": lambda: optax.inject_hyperparams(optax.rmsprop)(
        optax.cosine_decay_schedule(1e-2, 40)
    ),
    "polyak": lambda: optax.polyak_sgd(0.1),
}


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(sorted(CHAINS)))
def test_any_transformation_has_the_discrete_law(name):
    """And makes the very updates that it makes unobserved."""
    assert_observed(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_every_transformation_has_the_discrete_law(name):
    assert_observed(name)


def assert_observed(name):
    with jax.enable_x64(True):
        tx = lg.observed(CHAINS[name](), [SCALE, SHIFT, BROKEN])
        (q, state), values = scanned(tx)
        (plain, _), _ = scanned(CHAINS[name]())
        run = lg.recorded(state, q)
    for key in q:
        # XLA may round the last digit in another way where another reads a result.
        np.testing.assert_allclose(q[key], plain[key], rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(run.losses, values)
    *kept, broken = lg.check(run)
    for row in kept:
        assert row.holds and row.discrete < 1e-13, (name, row)
        assert "discrete law alone" not in row.reason, (name, row)  # it was read
    assert broken.verdict == "symmetry absent"
    assert max(kept[0].kinetic, kept[0].metric) > 1e-6  # it did move


@pytest.mark.parametrize("rule", [RULE, lg.Adam(1e-2, weight_decay=0.1)], ids=repr)
def test_the_records_are_those_of_train_bit_for_bit(rule):
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in (SCALE, SHIFT, BROKEN)]
    batches = ((x, y) for x, y in zip(X, Y, strict=True))
    with jax.enable_x64(True):
        trained = lg.train(parameters(), loss, batches, rule, 40, observe=laws)
        (q, state), _ = scanned(lg.observed(rule, laws))
        run = lg.recorded(state, q)
    for key in q:
        np.testing.assert_array_equal(trained.model[key], q[key])
    np.testing.assert_array_equal(trained.losses, run.losses)
    np.testing.assert_array_equal(trained.learning_rates, run.learning_rates)
    for law in laws:
        for name in trained[law].names:
            ours, theirs = getattr(run[law], name), getattr(trained[law], name)
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert str(lg.check(run, [SCALE])) == str(lg.check(trained, laws[:1]))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(5, 6, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(6, epsilon=1e-20, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.dense(x))))


def network_loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, batch):
    value, gradient = nnx.value_and_grad(network_loss)(model, batch)
    optimizer.update(model, gradient, value=value)


def test_the_loop_of_the_flax_documentation():
    """Inside of a chain, and taken out as the buffer fills."""
    symmetries = [
        lg.Scale("dense.kernel", unit_axis=-1),
        lg.Translation("out.bias"),
        lg.Scale("out.kernel"),
    ]
    rule = lg.HeavyBall(0.05, 0.9)
    model = Network(nnx.Rngs(0))
    tx = optax.chain(lg.observed(rule, symmetries, capacity=8), optax.identity())
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    run = None
    for k, (x, y) in enumerate(zip(X, Y, strict=True)):
        train_step(model, optimizer, (jnp.asarray(x, jnp.float32), jnp.asarray(y)))
        if k % 7 == 6:
            run = lg.recorded(optimizer, after=run)
            assert run.steps == k  # what the last one leads to is not known yet
    run = lg.recorded(optimizer, model, after=run)
    assert run.steps == 40 and run.start == 0 and np.isfinite(run.losses).all()
    scale, shift, broken = lg.check(run)
    assert scale.holds and shift.holds and scale.continuous < 0.02
    assert broken.verdict == "symmetry absent"
    assert run.model is model
    # The last eight alone: from a trace that is not at rest.
    late = lg.recorded(optimizer, model)
    assert late.steps == 8 and late.start == 32 and "from step 32 on" in repr(late)
    np.testing.assert_array_equal(
        late[symmetries[0]].quantity, run[symmetries[0]].quantity[32:]
    )


def test_a_train_state_and_accumulated_gradients():
    with jax.enable_x64(True):
        # optax accumulates in float32 where it is not told, which is no symmetry's.
        tx = optax.MultiSteps(
            lg.observed(RULE, [SCALE]), 4, accumulator_dtype=jnp.float64
        )
        state = TrainState.create(apply_fn=None, params=parameters(), tx=tx)
        step = jax.jit(
            lambda s, b: s.apply_gradients(grads=jax.grad(loss)(s.params, b))
        )
        for batch in zip(X, Y, strict=True):
            state = step(state, batch)
        run = lg.recorded(state)
        # As it comes back from a checkpoint: its arrays, in the form of a new state.
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        fresh = TrainState.create(apply_fn=None, params=parameters(), tx=tx)
        again = jax.tree.unflatten(jax.tree.structure(fresh), leaves)
        same = lg.recorded(again)
    assert run.steps == 10  # of forty batches
    assert lg.check(run).holds and np.isnan(run.losses).all()
    np.testing.assert_array_equal(same[SCALE].quantity, run[SCALE].quantity)


def test_a_state_has_one_array_more():
    """Each costs a loop of Flax 1 to 3 % of a small network's step, in Python."""
    tx = lg.observed(RULE, [SCALE, SHIFT], capacity=8)
    state = tx.init(parameters(jnp.float32))
    assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(state.inner_state)) + 1
    assert state.rows.shape == (8, state.layout.width)


@pytest.mark.parametrize(
    ("steps", "after"),
    [(0, 1), (2**20 - 1, 2**20), (2**24, 2**24 + 1), (2**31 - 1, 2**31 - 1)],
)
def test_steps_are_counted_further_than_a_float_counts(steps, after):
    """And as optax counts, to the largest int32."""
    watch = watching(RULE, [SCALE], None, 5)
    q = parameters(jnp.float32)
    state = watch._start(q, watch.inner.init(q), steps)
    assert state.record.dtype == np.float32 and int(state.steps) == steps
    row = jnp.arange(state.layout.width)
    state = jax.jit(lambda s: s.after(s.inner_state, row))(state)
    assert state.steps.dtype == np.int32 and int(state.steps) == after
    np.testing.assert_array_equal(state.rows[steps % 5], row)
    assert (np.count_nonzero(state.rows, axis=1) > 0).sum() == 1


@settings(max_examples=5, deadline=None)
@given(st.data())
def test_a_run_taken_out_in_pieces_is_the_run(data):
    """However they are cut, with and without the model; and none is changed later."""
    tx = lg.observed(RULE, [SCALE, SHIFT], capacity=40)
    ends = sorted(data.draw(st.sets(st.integers(2, 39), max_size=4)) | {40})
    run, taken = None, []
    with jax.enable_x64(True):
        for end in ends:
            (q, state), _ = scanned(tx, end)
            told = end == 40 or data.draw(st.booleans())
            run = lg.recorded(state, q if told else None, after=run)
            assert run.steps == (end if told else end - 1)
            taken.append((run, run[SCALE].quantity))
        whole = lg.recorded(state, q)
    for name in whole[SCALE].names:
        for law in (SCALE, SHIFT):
            ours, theirs = getattr(run[law], name), getattr(whole[law], name)
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    np.testing.assert_array_equal(run.losses, whole.losses)
    np.testing.assert_array_equal(run.learning_rates, whole.learning_rates)
    for part, quantity in taken:
        fresh = pickle.loads(pickle.dumps(part.records))
        assert list(fresh) == list(part.records) and len(quantity) == part.steps
        np.testing.assert_array_equal(quantity, whole[SCALE].quantity[: part.steps])


def test_taking_out_more_copies_little_of_what_there_is():
    rng = np.random.default_rng(0)
    rows = Rows.split(0, rng.normal(size=(1000, 5)))
    before, copied = rows, 0
    for k in range(1000, 1256, 8):
        more = Rows.split(k, rng.normal(size=(8, 5)))
        longer = rows.followed_by(more)
        known = {id(part) for part in rows.parts}
        copied += sum(len(part) for part in longer.parts if id(part) not in known)
        rows = longer
    assert rows.count == 1256 and len(rows.parts) <= 8
    assert np.shares_memory(rows.parts[0], before.parts[0]) and copied < 256 * 8
    some = rows.some(990, 1010)
    assert some.start == 990 and some.count == 20
    expected = rows.records["products"][990:1010]
    np.testing.assert_array_equal(some.records["products"], expected)


# ------------------------------------------------------------------ what can go wrong


def test_parameters_that_are_changed_between_steps_are_noticed():
    tx = lg.observed(RULE, [SCALE])
    with jax.enable_x64(True):
        q = parameters()
        state = tx.init(q)
        update = jax.jit(lambda q, s, batch: tx.update(jax.grad(loss)(q, batch), s, q))
        for batch in zip(X[:20], Y[:20], strict=True):
            updates, state = update(q, state, batch)
            q = optax.apply_updates(q, updates)
            q["w"] = jnp.clip(q["w"], -0.5, 0.5)
        (row,) = lg.check(lg.recorded(state, q))
    assert row.verdict == "law fails" and "changed between its steps" in row.reason


class Pretending(lg.HeavyBall):
    def optax(self):
        return RULE.optax()


def test_a_rule_that_did_not_make_the_run_is_noticed():
    with jax.enable_x64(True):
        (q, state), _ = scanned(lg.observed(Pretending(0.05, 0.5, 1e-2), [SCALE]))
        (row,) = lg.check(lg.recorded(state, q))
    assert row.verdict == "law fails" and "was not made by Pretending" in row.reason


def test_steps_that_were_overwritten_are_missed():
    tx = lg.observed(RULE, [SCALE], capacity=8)
    with jax.enable_x64(True):
        (q, state), _ = scanned(tx, 5)
        early = lg.recorded(state, q)
        (q, late), _ = scanned(tx)
        with pytest.raises(lg.LagrangianError, match="the steps 5 to 31 were overwr"):
            lg.recorded(late, q, after=early)
        with pytest.raises(lg.LagrangianError, match="40 steps, and the state 5"):
            lg.recorded(state, q, after=lg.recorded(late, q))


def test_a_step_that_is_not_finite_stops_the_reading():
    rule = lg.HeavyBall(lambda step: jnp.where(step < 12, 0.01, jnp.nan), 0.9)
    with jax.enable_x64(True):
        (q, state), _ = scanned(lg.observed(rule, [SCALE]))
        with pytest.raises(lg.TrainingStopped, match="from step 12 on") as stop:
            lg.recorded(state, q)
    run = stop.value.run
    assert run.steps == stop.value.step == 12
    assert np.isfinite(run[SCALE].quantity).all() and lg.check(run).holds


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lg.observed(0.1, [SCALE]), "`tx` is a float. Pass an optax transf"),
        (lambda: lg.observed(RULE, [1.0]), "a float. Pass laws.*or symmetries"),
        (lambda: lg.observed(RULE, SCALE, capacity=0), "`capacity` is 0"),
        (lambda: lg.observed(RULE, [lg.Scale("u")]).init(parameters()), "block `u`"),
        (lambda: lg.recorded(optax.adam(1e-3).init(parameters())), "is no state of an"),
        (
            lambda: lg.recorded(lg.observed(RULE, SCALE).init(parameters())),
            "no step was recorded yet",
        ),
        (
            lambda: lg.observed(RULE, SCALE).update(
                parameters(), lg.observed(RULE, SCALE).init(parameters())
            ),
            "needs the parameters",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with jax.enable_x64(True), pytest.raises(lg.LagrangianError, match=message):
        call()
