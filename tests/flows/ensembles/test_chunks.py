"""The folder of an ensemble: whatever lies in it, only its own chunks are taken."""

import contextlib
import errno
import io
import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian import files
from lagrangian.flows.ensembles import chunks, memory
from lagrangian.flows.ensembles import ensemble as module
from lagrangian.flows.ensembles.chunks import save_chunk, saved_chunk

STATES = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
PARTS = {"q": np.arange(12.0).reshape(3, 2, 2), "status": np.zeros(3, np.int32)}


def same(one, other):
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and (one[k] == other[k]).all() for k in one
    )


def test_a_chunk_comes_back(tmp_path):
    save_chunk(tmp_path, 3, STATES, PARTS)
    assert same(saved_chunk(tmp_path, 3, STATES), PARTS)


def test_a_chunk_of_other_members_is_computed_anew(tmp_path):
    """Copied over another one, or the same number of another ensemble."""
    save_chunk(tmp_path, 0, STATES, PARTS)
    (tmp_path / "000001.npz").write_bytes((tmp_path / "000000.npz").read_bytes())
    assert saved_chunk(tmp_path, 1, STATES) is None
    assert saved_chunk(tmp_path, 0, (STATES[0] + 1e-15, STATES[1])) is None
    assert saved_chunk(tmp_path, 0, STATES) is not None


def test_without_what_it_says_of_itself_it_would_be_taken(tmp_path, monkeypatch):
    """The control of the above."""
    monkeypatch.setattr(chunks, "_about", lambda *_: "any")
    save_chunk(tmp_path, 0, STATES, PARTS)
    (tmp_path / "000001.npz").write_bytes((tmp_path / "000000.npz").read_bytes())
    assert saved_chunk(tmp_path, 1, STATES) is not None


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '((((",
        b"PK\x03\x04 and no more",
        archive(),
        archive(q=PARTS["q"]),
        archive(chunk=np.array("0"), **PARTS),
        archive(chunk=np.array(None, object), **PARTS),
    ],
)
def test_an_odd_file_is_computed_anew(tmp_path, content):
    (tmp_path / "000000.npz").write_bytes(content)
    assert saved_chunk(tmp_path, 0, STATES) is None


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.integers(0, 10**6), cut=st.booleans(), bit=st.integers(0, 7))
def test_a_changed_file_gives_the_same_numbers_or_none(tmp_path, at, cut, bit):
    save_chunk(tmp_path, 0, STATES, PARTS)
    file = tmp_path / "000000.npz"
    content = bytearray(file.read_bytes())
    at %= len(content)
    content[at] ^= 1 << bit
    file.write_bytes(bytes(content[:at] if cut else content))
    found = saved_chunk(tmp_path, 0, STATES)
    assert found is None or same(found, PARTS)


def test_a_full_disk_is_named_and_loses_no_chunk(tmp_path, monkeypatch):
    save_chunk(tmp_path, 0, STATES, PARTS)
    writes = itertools.count()
    real = files.opened

    def opened(path, **options):
        file = real(path, **options)

        def write(data):
            if next(writes) >= 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return type(file).write(file, data)

        class Full(io.BufferedIOBase):
            def __getattr__(self, name):
                return getattr(file, name)

            def close(self):
                file.close()

        Full.write = lambda self, data: write(data)
        return Full()

    monkeypatch.setattr(files, "opened", opened)
    with pytest.raises(lg.CannotSave, match="000001.npz.*No space left.*are kept in"):
        save_chunk(tmp_path, 1, STATES, PARTS)
    assert [f.name for f in tmp_path.iterdir()] == ["000000.npz"]
    assert same(saved_chunk(tmp_path, 0, STATES), PARTS)


@pytest.fixture(scope="module")
def oscillator():
    x = lg.coordinates("x")
    return lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2), {})


def test_the_same_ensemble_elsewhere_is_waited_for_and_used(
    oscillator, tmp_path, monkeypatch
):
    """Two at once in one folder: the second one computes nothing."""
    q0, v0 = np.ones((3, 1)), np.zeros((3, 1))
    first = oscillator.ensemble(q0, v0, (0, 1), save=tmp_path)
    (folder,) = tmp_path.iterdir()
    monkeypatch.setattr(module, "_worker", lambda *_: None)  # computes nothing at all
    with files.one_writer(folder, "save", name=f"{files.LOCK}-0"):
        found = []

        def second():
            with pytest.warns(UserWarning, match="waits until it has ended"):
                found.append(oscillator.ensemble(q0, v0, (0, 1), save=tmp_path))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not found
    thread.join()
    np.testing.assert_array_equal(found[0].q, first.q)


def test_without_the_lock_it_is_computed_twice(oscillator, tmp_path, monkeypatch):
    """The control of the above."""
    q0, v0 = np.ones((3, 1)), np.zeros((3, 1))
    first = oscillator.ensemble(q0, v0, (0, 1), save=tmp_path)
    (folder,) = tmp_path.iterdir()
    real, made = module._worker, []
    monkeypatch.setattr(module, "_worker", lambda *a: made.append(1) or real(*a))
    monkeypatch.setattr(module, "one_writer", lambda *_, **__: contextlib.nullcontext())
    for file in folder.glob("*.npz"):  # another process is computing them
        file.unlink()
    with files.one_writer(folder, "save", name=f"{files.LOCK}-0"):
        second = oscillator.ensemble(q0, v0, (0, 1), save=tmp_path)
    assert made and list(folder.glob("*.npz"))
    np.testing.assert_array_equal(second.q, first.q)


def test_an_ensemble_that_will_not_fit_is_refused_with_an_estimate(
    oscillator, monkeypatch
):
    q0, v0 = np.ones((2, 1)), np.zeros((2, 1))
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * (2 * 2 * 2 * 8) - 1)
    with pytest.raises(lg.LagrangianError, match="2 members at 2 times.*record="):
        oscillator.ensemble(q0, v0, (0, 1))
    x = oscillator.lagrangian.coordinates[0]
    kept = oscillator.ensemble(q0, v0, (0, 1), record={"x": (x, "max")})
    assert kept.records["x"].shape == (2,)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert oscillator.ensemble(q0, v0, (0, 1)).q.shape == (2, 2, 1)


def test_the_free_memory_is_a_number_that_can_be():
    assert 2**20 < memory.free_memory() < 2**50


ROOM = """
import resource, sys
import numpy as np
import lagrangian as lg
from lagrangian.flows.ensembles import ensemble

x = lg.coordinates("x")
flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2), {})
q0, v0 = np.ones((64, 1)), np.zeros((64, 1))
flow.ensemble(q0, v0, np.linspace(0, 1, 3))
if sys.argv[1] == "without":
    ensemble.check_memory = lambda *_: None
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, most))
try:
    flow.ensemble(q0, v0, np.linspace(0, 1, 10**6))
except lg.LagrangianError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("check", ["with", "without"])
def test_without_the_estimate_the_memory_runs_out(check):
    """0.95 GiB of results where `ulimit -v` leaves a quarter."""
    done = subprocess.run(
        [sys.executable, "-c", ROOM, check], capture_output=True, text=True
    )
    if check == "with":
        assert done.returncode == 0
        assert "64 members at 1000000 times has results of 0.954 GiB" in done.stdout
    else:
        assert done.returncode != 0 and not done.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_the_place_of_a_chunk_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "000000.npz")
    assert saved_chunk(tmp_path, 0, STATES) is None
    save_chunk(tmp_path, 0, STATES, PARTS)
    assert same(saved_chunk(tmp_path, 0, STATES), PARTS)
