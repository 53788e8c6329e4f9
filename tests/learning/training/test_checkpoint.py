"""Long runs: streamed records, and a killed run that goes on bit for bit."""

import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.model import split
from lagrangian.learning.training import checkpoint as module
from lagrangian.learning.training import run as run_module
from lagrangian.learning.training import train as train_module
from lagrangian.learning.training.signals import ending_in_order
from lagrangian.networks.digits import cross_entropy

RULE = lg.HeavyBall(0.1, 0.9, 5e-3)


@pytest.fixture
def trained(network, small_data, laws_of, monkeypatch):
    """Train the small network, with checkpoints every five steps."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(train_module, "_chunk_length", lambda steps: 5)
    (law,) = laws_of(RULE, lg.Scale("conv1.kernel", unit_axis=-1))

    def run(steps=30, rule=RULE, **keywords):
        keywords = {"observe": [law], "batch_size": 16} | keywords
        return lg.train(network(), cross_entropy, small_data, rule, steps, **keywords)

    return law, run


def small_run(steps=30, **keywords):
    """The same with three weights, which compile at once: a law, and the run."""
    symmetry = lg.Scale("w")
    law = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)

    def loss(parameters, batch):
        return ((batch @ parameters["w"] - 1) ** 2).mean()

    data = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    keywords = {"observe": [law], "batch_size": 4} | keywords
    parameters = {"w": np.ones(3, np.float32)}
    return law, lg.train(parameters, loss, data, RULE, steps, **keywords)


@pytest.fixture
def small(monkeypatch):
    """`small_run`, with checkpoints every five steps."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(train_module, "_chunk_length", lambda steps: 5)
    law, _ = small_run(5)
    return law, lambda *steps, **keywords: small_run(*steps, **keywords)[1]


def same(one, other, law):
    np.testing.assert_array_equal(one.losses, other.losses)
    for name in one[law].names:
        np.testing.assert_array_equal(
            getattr(one[law], name), getattr(other[law], name)
        )
    with jax.enable_x64(True):
        leaves = [jax.tree.leaves(split(run.model).parameters) for run in (one, other)]
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_array_equal(a, b)


def interrupt_after(steps, monkeypatch):
    extend = train_module.Recorder.extend

    def interrupted(self, *records):
        if self.steps >= steps:
            raise KeyboardInterrupt
        return extend(self, *records)

    monkeypatch.setattr(train_module.Recorder, "extend", interrupted)
    return lambda: monkeypatch.setattr(train_module.Recorder, "extend", extend)


def test_streaming_changes_nothing(trained, tmp_path):
    law, run = trained
    same(run(), run(checkpoint=tmp_path / "run"), law)
    kept = np.load(tmp_path / "run" / "losses.npy", mmap_mode="r")
    assert kept.shape == (30,)


def test_an_interrupted_run_goes_on_bit_for_bit(trained, tmp_path, monkeypatch):
    law, run = trained
    whole = run()
    heal = interrupt_after(15, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path)
    heal()
    done = []
    extend = train_module.Recorder.extend
    monkeypatch.setattr(
        train_module.Recorder,
        "extend",
        lambda self, *records: done.append(1) or extend(self, *records),
    )
    same(run(checkpoint=tmp_path), whole, law)
    assert len(done) == 3  # of the six chunks, those that were missing
    # A run that has ended is read back, and can be made longer.
    same(run(checkpoint=tmp_path), whole, law)
    assert len(done) == 3
    same(run(40, checkpoint=tmp_path), run(40), law)


def test_random_streams_go_on_too(small_data, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(train_module, "_chunk_length", lambda steps: 5)

    class Dropped(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.linear = nnx.Linear(64, 2, rngs=rngs)

        def __call__(self, x):
            return self.linear(self.dropout(x.reshape(len(x), -1)))

    images, labels = small_data
    data = images.astype(np.float32), labels

    def run(**keywords):
        return lg.train(Dropped(), cross_entropy, data, RULE, 20, **keywords).losses

    whole = run()
    heal = interrupt_after(10, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path)
    heal()
    np.testing.assert_array_equal(run(checkpoint=tmp_path), whole)


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 8}, {"seed": 1}, {"observe": []}, {"rule": lg.HeavyBall(0.1)}],
    ids=lambda change: next(iter(change)),
)
def test_another_run_is_refused(trained, tmp_path, change):
    _, run = trained
    run(5, checkpoint=tmp_path)
    name = {"batch_size": "batch size", "observe": "laws"}
    name = name.get(next(iter(change)), next(iter(change)))
    with pytest.raises(lg.LagrangianError, match=f"another run: its {name} is"):
        run(5, checkpoint=tmp_path, **change)


def test_fewer_steps_than_were_done(trained, tmp_path):
    _, run = trained
    run(10, checkpoint=tmp_path)
    with pytest.raises(lg.LagrangianError, match="has done 10 already"):
        run(5, checkpoint=tmp_path)


def test_a_folder_with_other_files_is_refused(trained, tmp_path):
    _, run = trained
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(lg.LagrangianError, match="files in it, but no run"):
        run(5, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_real_run_skips_a_damaged_state_and_refuses_a_cut_record(small, tmp_path):
    law, run = small
    whole = run()
    run(20, checkpoint=tmp_path)
    newest = max((tmp_path / "states").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is skipped: it is damaged"):
        same(run(checkpoint=tmp_path), whole, law)
    products = tmp_path / "products.npy"
    products.write_bytes(products.read_bytes()[:300])
    with pytest.raises(lg.LagrangianError, match=f"{products} is cut off"):
        run(checkpoint=tmp_path)


def test_a_run_that_stopped_is_asked_for_fewer_steps(small, tmp_path, monkeypatch):
    law, run = small
    heal = interrupt_after(10, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(30, checkpoint=tmp_path)
    heal()
    same(run(20, checkpoint=tmp_path), run(20), law)


def test_where_records_are_saved_is_tried_before_anything_is_computed(
    small, tmp_path, monkeypatch
):
    _, run = small
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(train_module, "TrainingStep", None)  # would be called
    for save, said in [("file/run.npz", "file is no folder"), (".", "is a folder")]:
        with pytest.raises(lg.LagrangianError, match=f"`save`.*{said}"):
            run(save=tmp_path / save)


def test_without_trying_the_place_all_is_computed_first(small, tmp_path, monkeypatch):
    """The control of the above."""
    _, run = small
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(train_module, "check_writable", lambda *_: None)
    with pytest.raises(lg.CannotSave) as raised:
        run(10, save=tmp_path / "file" / "run.npz")
    assert raised.value.run.steps == 10


def test_records_that_find_no_room_at_the_end_are_in_the_error(
    small, tmp_path, monkeypatch
):
    law, run = small

    def full(path, write):
        raise lg.CannotSave(f"`{path}` could not be written: no room.", 28)

    monkeypatch.setattr(run_module, "write_atomically", full)
    with pytest.raises(lg.CannotSave, match="run.npz.*is in this error's `run`") as e:
        run(save=tmp_path / "run.npz")
    monkeypatch.undo()
    same(e.value.run, run(), law)


SCRIPT = """
import contextlib, itertools, os, signal, sys
from lagrangian.learning.training import checkpoint, train
from lagrangian.learning.training.train import Recorder
from test_checkpoint import small_run

name, folder, interval, *without = sys.argv[1:]
if name != "SIGKILL":
    # As for a program in a terminal, also where the tests run under `nohup`.
    signal.signal(getattr(signal, name), signal.SIG_DFL)
checkpoint.INTERVAL = float(interval)
if without:
    train.ending_in_order = contextlib.nullcontext
extend, chunks = Recorder.extend, itertools.count()

def extend_and_end(self, *records):
    if next(chunks) == 3:
        os.kill(os.getpid(), getattr(signal, name))
    return extend(self, *records)

Recorder.extend = extend_and_end
small_run(400, checkpoint=folder)
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_ended_goes_on_bit_for_bit(tmp_path, name):
    """Killed it has its last state; asked to end it saves where it is."""
    killed = name == "SIGKILL"
    interval = "0" if killed else "1e9"
    number = getattr(signal, name)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, str(tmp_path), interval],
        cwd=Path(__file__).parent,
    )
    assert done.returncode == (-number if killed else 128 + number)
    saved = max(int(state.name) for state in (tmp_path / "states").iterdir())
    assert 100 <= saved < 400
    law, whole = small_run(400)
    same(small_run(400, checkpoint=tmp_path)[1], whole, law)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_without_the_handlers_a_signal_saves_nothing(tmp_path, name):
    """The control of the above."""
    command = [sys.executable, "-c", SCRIPT, name, str(tmp_path), "1e9", "without"]
    done = subprocess.run(command, cwd=Path(__file__).parent)
    assert done.returncode == -getattr(signal, name)
    assert list((tmp_path / "states").iterdir()) == []


KILLS = """
import hashlib, os, random, shutil, signal, sys, time
from pathlib import Path
from lagrangian.learning.training import checkpoint, train
from test_checkpoint import small_run

checkpoint.INTERVAL = 0.0
train._chunk_length = lambda steps: 10
random.seed(0)
root = Path(sys.argv[1])

def start(folder):
    child = os.fork()  # JAX has started no thread here
    if not child:
        law, run = small_run(600, checkpoint=folder, progress=False)
        parts = run.losses.tobytes(), run[law].quantity.tobytes()
        digest = hashlib.sha256(b"".join(parts)).hexdigest()
        (root / f"{folder.name}.digest").write_text(digest)
        os._exit(0)
    return child

began = time.monotonic()
os.waitpid(start(root / "whole"), 0)
longest, number, kills = time.monotonic() - began, 0, 0
while kills < int(sys.argv[2]):
    child = start(root / str(number))
    end = time.monotonic() + random.uniform(0, 1.2 * longest)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            break
        time.sleep(0.002)
    else:
        number += 1
assert not os.waitpid(start(root / str(number)), 0)[1]
"""


def survive(kills, tmp_path):
    """Runs that are killed at random until so many kills are done, and then end."""
    subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), str(kills)],
        cwd=Path(__file__).parent,
        check=True,
    )
    digests = {f.stem: f.read_text() for f in tmp_path.glob("*.digest")}
    assert set(digests.values()) == {digests.pop("whole")} and digests


@pytest.mark.slow
def test_200_kills_at_random_lose_nothing(tmp_path):
    survive(200, tmp_path)


def test_a_handler_of_the_users_and_nohup_stay():
    with ending_in_order():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_in_order():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
