"""The controls of the faults: with a check taken out, the fault it finds goes through.

So every test in `test_folder_faults.py` fails without the check that it is about.
"""

import contextlib
import hashlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.learning.training import batches, checkpoint, recorder, rows
from lagrangian.learning.training.identity import Identity

from .simulated import IDENTITY, STEPS, drive


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return drive(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def half(tmp_path):
    drive(tmp_path / "run", STEPS // 2)
    return tmp_path / "run"


def same_digest(*_):
    return SimpleNamespace(
        update=lambda data: None, hexdigest=lambda: "0", copy=lambda: same_digest()
    )


def test_without_digests_of_records_altered_ones_are_taken(
    tmp_path, whole, monkeypatch
):
    monkeypatch.setattr(rows, "hashlib", SimpleNamespace(sha256=same_digest))
    drive(tmp_path, STEPS // 2)
    losses = tmp_path / "losses.npy"
    content = losses.read_bytes()
    losses.write_bytes(content[:130] + b"\x07" + content[131:])
    assert drive(tmp_path) != whole


def test_without_counting_what_is_read_a_cut_record_is_taken(half, whole, monkeypatch):
    """As it was: a row that is not there became zeros."""
    real = rows.FileRows.resume

    def resume(self, count, digest):
        try:
            real(self, count, digest)
        except lg.LagrangianError:
            self._digest = hashlib.sha256()

    monkeypatch.setattr(rows.FileRows, "resume", resume)
    record = half / "products.npy"
    record.write_bytes(record.read_bytes()[:140])
    assert drive(half) != whole


def test_without_digests_of_states_a_flipped_bit_is_taken(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(checkpoint, "hashlib", SimpleNamespace(sha256=same_digest))
    drive(tmp_path, STEPS // 2)
    newest = max((tmp_path / "states").iterdir())
    content = newest.read_bytes()
    place = content.index(b"\n", content.index(b"\n") + 1) + 3  # of the first array
    newest.write_bytes(
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    )
    assert drive(tmp_path) != whole


def test_without_the_name_of_its_run_a_foreign_state_is_taken(
    half, whole, tmp_path, monkeypatch
):
    other = Identity({"rule": "another", "step": "0"}, {})
    drive(tmp_path / "other", STEPS // 2, other)
    monkeypatch.setattr(Identity, "name", "any")
    for folder, identity in ((half, IDENTITY), (tmp_path / "other", other)):
        shutil.rmtree(folder)
        drive(folder, STEPS // 2, identity)
    for state in (half / "states").iterdir():
        shutil.copy(tmp_path / "other" / "states" / state.name, state)
    assert drive(half) == whole  # of this simulation both have the same numbers


def test_without_comparing_another_run_goes_on(half, whole, monkeypatch):
    other = Identity({"rule": "another", "step": "0"}, IDENTITY.versions)
    with pytest.raises(lg.LagrangianError, match="another run"):
        drive(half, identity=other)
    monkeypatch.setattr(Identity, "check", lambda *_: None)
    monkeypatch.setattr(Identity, "name", IDENTITY.name)
    assert drive(half, identity=other) == whole


def test_without_a_lock_two_write_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checkpoint, "one_writer", lambda *_, **__: contextlib.nullcontext()
    )
    with checkpoint.Checkpoint(tmp_path, IDENTITY):
        drive(tmp_path)


def test_without_falling_back_a_damaged_state_ends_it(half, monkeypatch):
    newest = max((half / "states").iterdir())
    newest.write_bytes(b"")
    monkeypatch.setattr(
        checkpoint.Checkpoint,
        "_saved",
        lambda self: [newest],  # the newest alone
    )
    with pytest.warns(UserWarning), pytest.raises(lg.LagrangianError, match="none of"):
        drive(half)


def test_without_the_order_of_writing_a_kill_could_lose_rows(tmp_path, monkeypatch):
    """The rows are on the disk before the state that has their digests is."""
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


def test_without_the_range_labels_wrap(monkeypatch):
    labels = np.array([2**32 + 1, 0])
    monkeypatch.setattr(batches, "check_range", lambda array: None)
    assert batches.Drawn(labels, 2, 0).constant.tolist() == [1, 0]
