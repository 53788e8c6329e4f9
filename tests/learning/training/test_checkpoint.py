"""Long runs: streamed records, and a killed run that goes on bit for bit."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.training import checkpoint as module
from lagrangian.learning.training import train as train_module
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


def same(one, other, law):
    np.testing.assert_array_equal(one.losses, other.losses)
    for name in one[law].names:
        np.testing.assert_array_equal(
            getattr(one[law], name), getattr(other[law], name)
        )
    with jax.enable_x64(True):
        leaves = [jax.tree.leaves(nnx.state(run.model)) for run in (one, other)]
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


SCRIPT = """
    import sys
    import numpy as np
    from flax import nnx
    import lagrangian as lg
    from lagrangian.learning.training import checkpoint
    from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy

    checkpoint.INTERVAL = 0.0
    generator = np.random.default_rng(0)
    data = generator.normal(size=(64, 8, 8, 1)).astype(np.float32), np.arange(64) % 10
    model = ConvolutionalNetwork(nnx.Rngs(0), channels=(3, 4))
    rule = lg.HeavyBall(0.05, 0.9, 1e-3)
    symmetry = lg.Scale("conv1.kernel", unit_axis=-1)
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    run = lg.train(
        model, cross_entropy, data, rule, 1500, observe=[law], batch_size=16,
        checkpoint=folder,
    )
    print(run.losses.tobytes().hex()[-64:], run[law].quantity.tobytes().hex()[-64:])
"""


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    folder = tmp_path / "run"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((folder / "states").glob("[0-9]*"))) > 1:
                break
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = subprocess.run(command[:-1], capture_output=True, text=True, check=True)
    assert resumed.stdout == whole.stdout and len(whole.stdout) > 100
