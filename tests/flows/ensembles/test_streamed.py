"""Results that are larger than the memory that they may take."""

import subprocess
import sys

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.flows.ensembles import ensemble as module

x = lg.coordinates("x")
FLOW = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2))
TIMES = np.linspace(0, 2, 20)
#: For chunks of 64 members on so many threads.
FEW = 6 * 64 * 20 * 2 * 8


@pytest.fixture
def started(monkeypatch):
    monkeypatch.setattr(module, "_workers", lambda devices: 1)
    q0 = np.linspace(0.1, 3, 300)[:, None]
    return q0, np.zeros((300, 1))


def test_what_is_streamed_is_what_would_be_held(started, tmp_path):
    held = FLOW.ensemble(*started, TIMES)
    streamed = FLOW.ensemble(*started, TIMES, save=tmp_path, memory=FEW)
    assert len(list(tmp_path.glob("*/*.npz"))) == 5
    for name in ("q", "v", "status", "t_end", "steps"):
        found = getattr(streamed, name)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, getattr(held, name))
    np.testing.assert_array_equal(streamed[x][-1], held[x][-1])
    assert not streamed.failures and len(streamed) == 300
    (file,) = tmp_path.glob("*/q.npy")
    np.testing.assert_array_equal(np.load(file), held.q)


def test_records_are_streamed_under_any_name(started, tmp_path):
    kept = {"a/b": x, "largest": (x, "max")}
    held = FLOW.ensemble(*started, TIMES, record=kept)
    streamed = FLOW.ensemble(*started, TIMES, record=kept, save=tmp_path, memory=FEW)
    assert streamed.q is None and streamed.records.keys() == kept.keys()
    for name, values in held.records.items():
        np.testing.assert_array_equal(streamed.records[name], values)


def test_it_goes_on_and_mends_what_was_changed(started, tmp_path, monkeypatch):
    whole = FLOW.ensemble(*started, TIMES, save=tmp_path, memory=FEW)
    expected = np.array(whole.q)
    calls, real = [], module._worker

    def worker(*arguments):
        work = real(*arguments)
        return lambda *a: calls.append(len(a[0])) or work(*a)

    monkeypatch.setattr(module, "_worker", worker)

    def again():
        calls.clear()
        found = FLOW.ensemble(*started, TIMES, save=tmp_path, memory=FEW)
        np.testing.assert_array_equal(found.q, expected)
        return sorted(calls)

    assert again() == []
    (file,) = tmp_path.glob("*/q.npy")
    with open(file, "r+b") as changed:  # the last number of the last chunk
        changed.seek(-8, 2)
        changed.write(np.float64(7).tobytes())
    assert again() == [44]
    (second,) = tmp_path.glob("*/000001.npz")
    second.unlink()
    assert again() == [64]
    file.write_bytes(b"")
    assert again() == [44, 64, 64, 64, 64]


def test_a_full_disk_is_named(started, tmp_path, monkeypatch):
    from lagrangian.flows.ensembles import streamed

    def sync(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streamed, "sync", sync)
    with pytest.raises(lg.CannotSave, match="npy.*No space left"):
        FLOW.ensemble(*started, TIMES, save=tmp_path, memory=FEW)


def test_what_cannot_be_streamed_is_named(started, tmp_path):
    with pytest.raises(lg.LagrangianError, match="`memory` was given without `save`"):
        FLOW.ensemble(*started, TIMES, memory=FEW)
    with pytest.raises(lg.LagrangianError, match=f"{FEW - 1:,} bytes.*{FEW:,}"):
        FLOW.ensemble(*started, TIMES, save=tmp_path, memory=FEW - 1)
    with pytest.raises(lg.LagrangianError, match="`memory` is 0"):
        FLOW.ensemble(*started, TIMES, save=tmp_path, memory=0)


PEAK = """
import resource, sys
import numpy as np
import lagrangian as lg

x = lg.coordinates("x")
flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2), {})
times = np.linspace(0, 1, 400)

def ensemble(members, **options):
    return flow.ensemble(np.ones((members, 1)), [[0.0]], times, **options)

bound = int(sys.argv[1])
options = {"save": sys.argv[2], "memory": bound} if bound else {}
ensemble(200, **options)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
many = ensemble(30_000, **options)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere in other units")
def test_the_bound_is_kept(tmp_path):
    """192 MB of results within 48 MB; without the bound they take more than 192."""

    def taken(bound):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(bound), str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert taken(48_000_000) < 48_000_000
    assert taken(0) > 192_000_000
