import pytest

from lagrangian.files import write_atomically


def test_a_file_appears_whole(tmp_path):
    path = write_atomically(tmp_path / "new" / "a.txt", lambda f: f.write(b"whole"))
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
