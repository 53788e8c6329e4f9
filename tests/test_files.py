import errno
import os
import stat
import threading

import pytest

from lagrangian import files
from lagrangian.errors import CannotSave, LagrangianError
from lagrangian.files import check_writable, one_writer, write_atomically


def whole(file):
    file.write(b"whole")


def test_a_file_appears_whole(tmp_path):
    path = write_atomically(tmp_path / "new" / "a.txt", whole)
    assert path.read_bytes() == b"whole"


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        path = write_atomically(tmp_path / "a.txt", whole)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append("sync") or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda *a: done.append("name") or replace(*a))
    write_atomically(tmp_path / "a.txt", whole)
    assert done == ["sync", "name", "sync"]  # the file, and then the folder


def test_an_error_names_the_path_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(CannotSave) as raised:
        write_atomically(path, whole)
    assert str(raised.value).startswith(f"`{path}` could not be written: ")
    assert f"{tmp_path / 'file'} is no folder" in str(raised.value)
    assert raised.value.errno == errno.ENOTDIR or raised.value.errno == errno.EEXIST

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.txt"
    with pytest.raises(CannotSave) as raised:
        write_atomically(path, full)
    assert str(raised.value) == (
        f"`{path}` could not be written: No space left on device. Make room, or pass a "
        "place where you may write."
    )


def test_what_dead_writers_left_is_removed_and_what_others_write_is_not(tmp_path):
    names = [f".a.txt.1234{files.UNFINISHED}", f".b.txt.1234{files.UNFINISHED}"]
    old, other = (tmp_path / name for name in names)
    fresh = tmp_path / f".a.txt.5678{files.UNFINISHED}"
    for path in (old, other, fresh):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1, 1))
    write_atomically(tmp_path / "a.txt", whole)
    assert not old.exists() and other.exists() and fresh.exists()
    files.remove_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_is_tried_and_left_as_it_was(tmp_path):
    check_writable(tmp_path / "new" / "a.txt", "save")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(LagrangianError, match="`save`: .* is a folder"):
        check_writable(tmp_path, "save")


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with one_writer(tmp_path, "save"):
        found = []

        def another():
            try:
                with one_writer(tmp_path, "save"):
                    found.append("in")
            except LagrangianError as error:
                found.append(str(error))

        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        assert "another run writes to" in found[0]
    with one_writer(tmp_path, "save"):
        pass
    with pytest.raises(LagrangianError, match="no lock can be had"):
        with one_writer(write_atomically(tmp_path / "file", whole), "save"):
            pass
