"""The ring in the state, drained to a folder; checkpoints of a user's own; devices."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import lagrangian as lg

SCALE = lg.Scale("w")
TX = optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05, momentum=0.9))
X = np.random.default_rng(0).normal(size=(200, 6, 5))
CAPACITY = 16


def loss(q, batch):
    u = q["w"] / jnp.linalg.norm(q["w"])
    return jnp.sum(jnp.sin(batch @ u)) + jnp.sum((q["b"] - 1) ** 2)


def start():
    generator = np.random.default_rng(1)
    return {"w": jnp.asarray(generator.normal(size=5)), "b": jnp.zeros(3)}


def observed(tx=TX, capacity=CAPACITY, laws=SCALE):
    tx = lg.observed(tx, laws, capacity=capacity)

    @jax.jit
    def step(q, state, batch):
        value, gradient = jax.value_and_grad(loss)(q, batch)
        updates, state = tx.update(gradient, state, q, value=value)
        return optax.apply_updates(q, updates), state

    return tx, step


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def trained(steps, folder=None, every=10, carry=None, first=0, made=None):
    """A loop that drains its state; the parameters, the state, and the run."""
    tx, step = made or observed()
    q, state = carry or (start(), tx.init(start()))
    run = None
    for k in range(first, steps):
        q, state = step(q, state, jnp.asarray(X[k]))
        if k % every == every - 1:
            if folder is None:
                run = lg.recorded(state, q, after=run)
            else:
                run = lg.recorded(state, q, folder=folder)
    return q, state, run


def assert_same(run, other):
    np.testing.assert_array_equal(run.losses, other.losses)
    np.testing.assert_array_equal(run.learning_rates, other.learning_rates)
    for name in run[SCALE].names:
        ours, theirs = getattr(run[SCALE], name), getattr(other[SCALE], name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_what_is_streamed_is_what_is_taken_into_memory(tmp_path):
    folder = tmp_path / "records"
    *_, streamed = trained(80, folder)
    *_, kept = trained(80)
    assert streamed.steps == 80 > 4 * CAPACITY
    assert_same(streamed, kept)
    assert lg.check(streamed).holds and str(lg.check(streamed)) == str(lg.check(kept))
    assert isinstance(streamed.losses, np.memmap)  # and in no memory
    files = {file.name for file in folder.iterdir()} - {".lock"}
    names = "losses.npy learning_rates.npy products.npy records.json"
    assert files == set(names.split())
    np.testing.assert_array_equal(np.load(folder / "losses.npy"), kept.losses)


def test_without_the_model_the_last_step_waits_for_the_next_call(tmp_path):
    q, state, _ = trained(10, every=99)
    early = lg.recorded(state, folder=tmp_path)
    assert early.steps == 9
    whole = lg.recorded(state, q, folder=tmp_path)
    assert whole.steps == 10
    assert_same(whole, lg.recorded(state, q))
    assert lg.recorded(state, folder=tmp_path).steps == 9


def test_a_loop_that_was_killed_goes_on_bit_for_bit(tmp_path):
    """From a checkpoint of the user's own, by orbax, that is older than the records."""
    folder, saved = tmp_path / "records", tmp_path / "orbax"
    q, state, _ = trained(30, folder)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(saved, {"q": q, "state": state})
    trained(50, folder, carry=(q, state), first=30)  # and here it is killed
    made = observed()
    fresh = {"q": start(), "state": made[0].init(start())}
    with ocp.StandardCheckpointer() as checkpointer:
        back = checkpointer.restore(saved, jax.tree.map(np.zeros_like, fresh))
    assert type(back["state"]) is type(state)
    carry = back["q"], back["state"]
    q, state, run = trained(80, folder, carry=carry, first=30, made=made)
    whole_q, _, whole = trained(80)
    np.testing.assert_array_equal(q["w"], whole_q["w"])
    assert_same(run, whole)
    assert lg.check(run).holds


@pytest.mark.parametrize("name", ["losses.npy", "products.npy"])
def test_files_that_are_missing_or_cut_are_named(tmp_path, name):
    q, state, _ = trained(10, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-9])
    with pytest.raises(lg.LagrangianError, match=f"{name} is cut off"):
        lg.recorded(state, q, folder=tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(lg.LagrangianError, match=f"{name} is missing"):
        lg.recorded(state, q, folder=tmp_path)


def test_another_run_is_refused(tmp_path):
    trained(10, tmp_path)
    tx, step = observed()
    other = {"w": start()["w"] * 2, "b": start()["b"]}
    carry = trained(12, None, 99, (other, tx.init(other)), made=(tx, step))[:2]
    with pytest.raises(lg.LagrangianError, match="the records of another run"):
        lg.recorded(carry[1], carry[0], folder=tmp_path)
    made = observed(laws=[lg.Scale("b")])
    q, state, _ = trained(10, None, 99, made=made)
    with pytest.raises(lg.LagrangianError, match="the records of other laws"):
        lg.recorded(state, q, folder=tmp_path)


def test_mistakes_are_named(tmp_path):
    q, state, run = trained(10)
    with pytest.raises(lg.LagrangianError, match="`folder` and `after` are two ways"):
        lg.recorded(state, q, after=run, folder=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(lg.LagrangianError, match="files in it that are no records"):
        lg.recorded(state, q, folder=tmp_path)
    with pytest.raises(lg.LagrangianError, match="is a file. Pass a folder"):
        lg.recorded(state, q, folder=tmp_path / "notes.txt")
    folder = tmp_path / "records"
    streamed = lg.recorded(state, q, folder=folder)
    with pytest.raises(lg.LagrangianError, match="no run that .* into memory"):
        lg.recorded(state, q, after=streamed)
    q, state, _ = trained(40, every=99, carry=(q, state), first=10)
    with pytest.raises(lg.LagrangianError, match="the steps 10 to 23 were overwritten"):
        lg.recorded(state, q, folder=folder)
    (folder / "records.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(lg.LagrangianError, match="damaged, or of another version"):
        lg.recorded(state, q, folder=folder)


DEVICES = """
    import jax, numpy as np, optax, warnings
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    import lagrangian as lg

    scale, broken = lg.Scale("w"), lg.Scale("b")
    tx = lg.observed(optax.sgd(0.05, momentum=0.9), [scale, broken])
    X = np.random.default_rng(0).normal(size=(20, 8, 8))

    def loss(q, batch):
        u = q["w"] / jnp.linalg.norm(q["w"])
        return jnp.mean(jnp.sin(batch @ u)) + jnp.sum((q["b"] - 1) ** 2)

    def step(q, state, batch, axis=None):
        value, gradient = jax.value_and_grad(loss)(q, batch)
        if axis:
            value, gradient = jax.lax.pmean((value, gradient), axis)
        updates, state = tx.update(gradient, state, q, value=value)
        return optax.apply_updates(q, updates), state

    def trained(q, state, step, batches):
        for batch in batches:
            q, state = step(q, state, batch)
        return q, state

    with jax.enable_x64(True):
        assert jax.device_count() == 4
        w = np.random.default_rng(1).normal(size=8)
        q = {"w": jnp.asarray(w), "b": jnp.zeros(4)}
        q_alone, state = trained(q, tx.init(q), jax.jit(step), jnp.asarray(X))
        alone = lg.recorded(state, q_alone)

        # Shards of each batch, and parameters that are on every device.
        mesh = Mesh(np.array(jax.devices()), "data")
        everywhere, shared = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
        runs = []
        for place in (everywhere, shared):  # and parameters that are cut as well
            at = jax.device_put(q, place)
            data = jax.device_put(X, NamedSharding(mesh, P(None, "data")))
            cut, state = trained(at, jax.jit(tx.init)(at), jax.jit(step), data)
            assert len(cut["w"].sharding.device_set) == 4
            runs.append(lg.recorded(state, cut))

        # One copy on each device.
        parallel = jax.pmap(lambda *a: step(*a, axis="data"), axis_name="data")
        four = lambda tree: jax.tree.map(lambda a: jnp.stack([a] * 4), tree)
        q_four, state = trained(
            four(q), four(tx.init(q)), parallel, X.reshape(20, 4, 2, 8)
        )
        first = lambda tree: jax.tree.map(lambda a: a[0], tree)
        runs.append(lg.recorded(first(state), first(q_four)))

    for run in runs:
        holds, absent = lg.check(run)
        assert holds.discrete < 1e-13 and absent.verdict == "symmetry absent", holds
        np.testing.assert_allclose(run.losses, alone.losses, rtol=1e-12)
        np.testing.assert_allclose(
            run[scale].quantity, alone[scale].quantity, rtol=1e-12
        )
    print("held")
"""


def test_the_same_on_several_devices(tmp_path):
    """Data parallel and with parameters cut, by `jit`; and by `pmap`."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(DEVICES))
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.stdout.strip() == "held", done.stderr
