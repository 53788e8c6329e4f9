"""Whatever happens to the folder of a run: it goes on bit for bit, or says why not.

The runs are simulated (simulated.py); `test_checkpoint.py` has real ones.
"""

import errno
import io
import itertools
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian import files
from lagrangian.learning.training import checkpoint, recorder, rows

from .simulated import CHUNK, IDENTITY, STEPS, drive

HALF = STEPS // 2
#: Where the rows of a small `.npy` file begin.
_DATA = 128


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return drive(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def half(tmp_path):
    """The folder of a run that was half done, with two states."""
    drive(tmp_path / "run", HALF)
    return tmp_path / "run"


def outcome(folder, whole):
    """Of going on: the same bits, or an error of ours; whatever else fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            assert drive(folder) == whole
        except lg.LagrangianError as error:
            return str(error)
    return None


def kept_files(folder):
    """What a run keeps, the lock aside."""
    found = [f for f in folder.rglob("*") if f.is_file() and f.name != files.LOCK]
    return sorted(found)


def test_it_goes_on_bit_for_bit(half, whole):
    assert drive(half) == whole


@pytest.mark.parametrize("name", ["losses.npy", "learning_rates.npy", "products.npy"])
def test_a_record_that_is_missing_cut_altered_or_foreign_is_named(half, whole, name):
    record = half / name
    content = record.read_bytes()
    for changed, said in [
        (None, "is missing"),
        (b"", "is cut off"),
        (b"x" * len(content), "was altered"),
        (content[: _DATA + 10], "is cut off"),
        (content[: _DATA + 2] + b"\x07" + content[_DATA + 3 :], "was altered"),
        (npy(np.zeros((HALF + 1, 7), np.int8)), "is foreign"),
    ]:
        record.unlink()
        if changed is not None:
            record.write_bytes(changed)
        assert f"{record} {said}" in outcome(half, whole)
        record.write_bytes(content)
    assert outcome(half, whole) is None


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_state_is_skipped_for_the_one_before(half, whole, damage):
    older, newest = sorted((half / "states").iterdir())
    if damage is None:
        newest.write_bytes(older.read_bytes())  # a whole one, of another step
    else:
        newest.write_bytes(damage)
    with pytest.warns(UserWarning, match=f"the state {newest} is skipped"):
        assert drive(half) == whole


def test_without_a_whole_state_nothing_is_begun_anew(half, whole):
    for state in (half / "states").iterdir():
        state.write_bytes(b"")
    assert "none of the states" in outcome(half, whole)


def test_a_state_of_another_run_is_not_taken(half, whole, tmp_path):
    other = tmp_path / "other"
    drive(other, HALF, checkpoint.Identity({"rule": "another", "step": "0"}, {}))
    for state in (half / "states").iterdir():
        shutil.copy(other / "states" / state.name, state)
    assert "none of the states" in outcome(half, whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("name", ["run.json", "losses.npy", "state"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(half, whole, name):
    file = max((half / "states").iterdir()) if name == "state" else half / name
    file.unlink()
    os.mkfifo(file)
    said = outcome(half, whole)
    assert (said is None) if name == "state" else str(file) in said


def test_fewer_steps_than_first_asked_for(tmp_path, whole):
    # As if stopped early: the records would have had room for more.
    drive(tmp_path, CHUNK)
    drive(tmp_path, HALF)
    assert drive(tmp_path) == whole


# ------------------------------------------------------------------ every byte


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine") / "run"
    drive(folder, HALF)
    return folder


def damaged(pristine, folder, file, change):
    """A copy with one file changed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder)
    path = folder / file.relative_to(pristine)
    path.write_bytes(change(path.read_bytes()))


def cut_points(pristine):
    return [
        (file, size)
        for file in kept_files(pristine)
        for size in range(file.stat().st_size)
    ]


def test_any_cut_and_any_flipped_bit_goes_on_or_is_refused(pristine, whole, tmp_path):
    points = cut_points(pristine)

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.integers(0, len(points) - 1), st.booleans(), st.integers(0, 7))
    def once(index, cut, bit):
        file, at = points[index]

        def change(content):
            flipped = bytes([content[at] ^ 1 << bit])
            return content[:at] + (b"" if cut else flipped + content[at + 1 :])

        damaged(pristine, tmp_path / "run", file, change)
        outcome(tmp_path / "run", whole)

    once()


@pytest.mark.slow
def test_every_cut_goes_on_or_is_refused(pristine, whole, tmp_path):
    for file, at in cut_points(pristine):
        damaged(pristine, tmp_path / "run", file, lambda content, at=at: content[:at])
        outcome(tmp_path / "run", whole)


# ------------------------------------------------------------------ a full disk


class FullDisk:
    """A file of which, from the n-th write of all on, only half is written."""

    def __init__(self, file, counter, fails):
        self._file, self._counter, self._fails = file, counter, fails

    def write(self, data):
        if self._fails(next(self._counter)):
            self._file.write(bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


def fill_disk(monkeypatch, fails):
    """Let writes fail for which `fails(number)` is true; returns their counter."""
    real, counter = files.opened, itertools.count()

    def opened(path, **options):
        return FullDisk(real(path, **options), counter, fails)

    for module in (files, rows):
        monkeypatch.setattr(module, "opened", opened)
    return counter


def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        counter = fill_disk(patch, lambda number: False)
        drive(tmp_path / "counted")
        writes = next(counter)
    assert writes > 30
    for full_from in range(writes):
        folder = tmp_path / str(full_from)
        with monkeypatch.context() as patch:
            fill_disk(patch, lambda number, n=full_from: number >= n)
            with pytest.raises(lg.CannotSave) as raised:
                drive(folder)
        message = str(raised.value)
        assert str(folder) in message and "No space left on device" in message
        assert files.UNFINISHED not in message
        assert raised.value.errno == errno.ENOSPC
        assert not list(folder.rglob(f"*{files.UNFINISHED}"))
        # There is room again.
        assert drive(folder) == whole


def test_the_error_of_a_full_disk_says_what_is_saved(tmp_path, monkeypatch):
    fill_disk(monkeypatch, lambda number: number > 40)
    with pytest.raises(lg.CannotSave, match=r"the run until step [369]: make room"):
        drive(tmp_path)


# ------------------------------------------------------------------ killed


KILLER = """
import itertools, os, signal, sys
sys.path.insert(0, sys.argv[2])
from lagrangian import files
from lagrangian.learning.training import rows
from simulated import STEPS, drive

HALF = STEPS // 2

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def watched(path, **options):
    file = real_opened(path, **options)
    class File:
        def write(self, data):
            if next(points) == last: die()
            file.write(bytes(data)[: len(data) // 2])
            file.flush()
            if next(points) == last: die()
            return file.write(bytes(data)[len(data) // 2 :])
        def __getattr__(self, name): return getattr(file, name)
        def __enter__(self): return self
        def __exit__(self, *error): file.close()
    return File()

def replace(*paths):
    if next(points) == last: die()
    real_replace(*paths)
    if next(points) == last: die()

real_opened, real_replace = files.opened, os.replace
files.opened = rows.opened = watched
os.replace = replace
for last in itertools.count():
    child = os.fork()  # JAX has started no thread yet
    if not child:
        points = itertools.count()
        drive(os.path.join(sys.argv[1], str(last)), HALF)
        os._exit(0)
    if not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        print(last)
        break
"""


def test_a_kill_at_every_write_and_every_replace_loses_nothing(tmp_path, whole):
    """Before and after each of them, and in the middle of each write."""
    command = [sys.executable, "-c", KILLER, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kills = int(done.stdout)
    assert kills > 40
    littered = 0
    for folder in map(str, range(kills)):
        littered += bool(list((tmp_path / folder).rglob(f"*{files.UNFINISHED}")))
        assert drive(tmp_path / folder) == whole
        assert not list((tmp_path / folder).rglob(f"*{files.UNFINISHED}"))
    assert littered > 10  # a kill does leave something to be removed


def test_rows_are_on_the_disk_before_the_state_that_counts_them(tmp_path, monkeypatch):
    done = []
    flush, save = recorder.Recorder.flush, checkpoint.write_atomically
    monkeypatch.setattr(
        recorder.Recorder, "flush", lambda self: done.append("rows") or flush(self)
    )
    monkeypatch.setattr(
        checkpoint,
        "write_atomically",
        lambda path, write: done.append(path.name) or save(path, write),
    )
    drive(tmp_path)
    states = [i for i, name in enumerate(done) if name.isdecimal()]
    assert len(states) == 4 and all(done[i - 1] == "rows" for i in states)


# ------------------------------------------------------------------ two at once


def test_a_second_writer_is_refused_and_the_first_one_goes_on(tmp_path, whole):
    with checkpoint.Checkpoint(tmp_path, IDENTITY):
        with pytest.raises(lg.LagrangianError, match="another run writes to"):
            drive(tmp_path)
    assert drive(tmp_path) == whole


def test_other_versions_warn_and_go_on(half, whole):
    other = checkpoint.Identity(IDENTITY.about | {"step": "1"}, {"python": "older"})
    with pytest.raises(lg.LagrangianError, match="what a step computes is another"):
        drive(half, identity=checkpoint.Identity({**other.about}, IDENTITY.versions))
    with pytest.warns(UserWarning, match="begun with python any, now older"):
        assert drive(half, identity=other) == whole
