"""The controls of the faults: with a check taken out, the fault it finds goes through.

So every test in `test_folder_faults.py` fails without the check that it is about.
"""

import contextlib
import errno
import hashlib
import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import lagrangian as lg
from lagrangian import files
from lagrangian.learning.training import batches, checkpoint, rows
from lagrangian.learning.training.identity import Identity

from .simulated import CHUNK, IDENTITY, STEPS, drive


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


OTHER = Identity({"rule": "another", "step": "0"}, {})


def copied_over(folder, other):
    """States and records of another run, of other numbers, in the place of a run's."""
    drive(folder, STEPS // 2)
    drive(other, STEPS // 2, OTHER, start=0.25)
    for file in ("losses.npy", "learning_rates.npy", "products.npy"):
        shutil.copy(other / file, folder / file)
    for state in (folder / "states").iterdir():
        shutil.copy(other / "states" / state.name, state)


@pytest.mark.parametrize("checked", [True, False])
def test_without_the_name_of_its_run_the_numbers_of_another_are_taken(
    tmp_path, whole, monkeypatch, checked
):
    folder, other = tmp_path / "run", tmp_path / "other"
    if not checked:
        monkeypatch.setattr(Identity, "name", "any")
    copied_over(folder, other)
    if checked:
        with pytest.warns(UserWarning, match="belongs to another run"):
            with pytest.raises(lg.LagrangianError, match="none of the states"):
                drive(folder)
    else:
        assert drive(folder) == drive(other, identity=OTHER, start=0.25) != whole


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


def test_without_a_temporary_file_what_is_cut_short_is_no_state(tmp_path, monkeypatch):
    """Written in place, the first state is lost, and with it the run."""

    def in_place(path, write):
        with open(path, "wb") as file:
            write(file)

    cut_short(tmp_path / "run", monkeypatch)
    assert drive(tmp_path / "run")
    monkeypatch.setattr(checkpoint, "write_atomically", in_place)
    cut_short(tmp_path / "other", monkeypatch)
    with pytest.warns(UserWarning, match="is skipped"):
        with pytest.raises(lg.LagrangianError, match="none of the states"):
            drive(tmp_path / "other")


def cut_short(folder, monkeypatch):
    """A run that dies while it writes its first state."""
    real = checkpoint.Checkpoint.save

    class Died(BaseException):
        pass

    def save(self, mark, carry):
        def dies(path, write):
            def half(file):
                write(kept := io.BytesIO())
                file.write(kept.getvalue()[: len(kept.getvalue()) // 2])
                raise Died

            return writer(path, half)

        writer = checkpoint.write_atomically
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "write_atomically", dies)
            real(self, mark, carry)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(checkpoint.Checkpoint, "save", save)
        drive(folder, STEPS // 2)


def test_without_naming_a_full_disk_ends_raw(tmp_path, monkeypatch):
    for module in (files, checkpoint, rows):
        monkeypatch.setattr(module, "naming", lambda path: contextlib.nullcontext())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows, "opened", full)
    with pytest.raises(OSError, match="^.Errno") as raised:
        drive(tmp_path)
    assert not isinstance(raised.value, lg.CannotSave)


def test_without_refusing_a_run_of_damaged_states_is_begun_anew(
    half, whole, monkeypatch
):
    """And what was recorded is written over."""
    for state in (half / "states").iterdir():
        state.write_bytes(b"")
    restore = checkpoint.Checkpoint.restore

    def resigned(self, carry):
        with contextlib.suppress(lg.LagrangianError):
            return restore(self, carry)
        return None, carry

    monkeypatch.setattr(checkpoint.Checkpoint, "restore", resigned)
    with pytest.warns(UserWarning, match="is skipped"):
        drive(half, CHUNK)
    assert len(np.load(half / "losses.npy")) == CHUNK < STEPS // 2


def test_without_the_range_labels_wrap(monkeypatch):
    labels = np.array([2**32 + 1, 0])
    monkeypatch.setattr(batches, "check_range", lambda array: None)
    assert batches.Drawn(labels, 2, 0).constant.tolist() == [1, 0]
