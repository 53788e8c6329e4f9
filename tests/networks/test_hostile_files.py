"""Files from outside: what they say of themselves is looked at before they are read."""

import io
import os
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image, features

import lagrangian as lg
from lagrangian.networks import user_data
from lagrangian.networks.user import load_model
from lagrangian.networks.user_data import load_data

LABELS = np.array([0, 1, 0, 1])


def header_of(shape, dtype="<f8"):
    """A `.npy` file that promises such an array, and has nothing of it."""
    file = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            file.writestr(f"{name}.npy", content)
    return path


@pytest.fixture
def reads_nothing(monkeypatch):
    def read(file):
        raise AssertionError("the data were read")

    monkeypatch.setattr(user_data, "_array", read)


def test_the_size_is_known_before_anything_is_read(tmp_path, reads_nothing):
    large = header_of((2**30, 2))
    path = archive(tmp_path / "a.npz", inputs=large, targets=LABELS)
    with pytest.raises(lg.LagrangianError, match="a.npz` has data of 16 GiB, uncom"):
        load_data(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inputs.npy").write_bytes(large)
    np.save(folder / "targets.npy", LABELS)
    with pytest.raises(lg.LagrangianError, match="has data of 16 GiB"):
        load_data(folder)


def test_without_the_limit_the_data_would_be_read(tmp_path, reads_nothing, monkeypatch):
    """The control of the above."""
    monkeypatch.setattr(user_data, "_check_size", lambda path, sizes: list(sizes))
    large = header_of((2**30, 2))
    path = archive(tmp_path / "a.npz", inputs=large, targets=LABELS)
    with pytest.raises(lg.LagrangianError) as raised:
        load_data(path)
    assert str(raised.value.__cause__) == "the data were read"


@pytest.mark.parametrize("dtype", ["<f8", "|u1", "|S1000"])
def test_what_is_within_the_limit_is_read_and_what_is_not_is_not(
    tmp_path, dtype, monkeypatch
):
    """A few bytes that become millions; the limit counts the latter."""
    zeros = np.zeros((4, 1000), dtype)
    path = archive(tmp_path / "a.npz", inputs=zeros, targets=LABELS)
    total = zeros.nbytes + LABELS.nbytes
    assert path.stat().st_size < total / 10
    monkeypatch.setattr(user_data, "MAX_BYTES", total - 1)
    with pytest.raises(lg.LagrangianError, match="at most"):
        load_data(path)
    monkeypatch.setattr(user_data, "MAX_BYTES", total)
    if dtype == "|S1000":
        with pytest.raises(lg.LagrangianError, match="Write numbers"):
            load_data(path)
    else:
        assert load_data(path).inputs.shape == (4, 1000)


@pytest.mark.parametrize("content", [b"", header_of((4, 2))[:40], header_of((4, 2))])
def test_a_header_that_promises_more_than_there_is(tmp_path, content):
    path = archive(tmp_path / "a.npz", inputs=content, targets=LABELS)
    with pytest.raises(lg.LagrangianError, match="a.npz` cannot be read"):
        load_data(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(lg.LagrangianError, match="it is no regular file"):
        load_data(tmp_path / "a.npz")
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        os.mkfifo(tmp_path / "images" / name / "0.png")
    with pytest.raises(lg.LagrangianError, match="0.png` cannot be read.*no regular"):
        load_data(tmp_path / "images")
    os.mkfifo(tmp_path / "a.toml")
    from lagrangian.systems.spec import load_spec

    with pytest.raises(lg.LagrangianError, match="it is no regular file"):
        load_spec(tmp_path / "a.toml")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 4\n%%EndComments\n(x) run\n"


@pytest.mark.parametrize("kind", ["EPS", "GIF", "BMP", "TIFF", "PPM"])
def test_only_png_and_jpeg_are_decoded_whatever_the_name(tmp_path, kind, monkeypatch):
    from PIL import EpsImagePlugin

    def ghostscript(*_, **__):
        raise AssertionError("Ghostscript was looked for")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    assert features.check("zlib")
    for name in "ab":
        (tmp_path / name).mkdir()
        file = tmp_path / name / "0.png"
        if kind == "EPS":
            file.write_bytes(EPS)
        else:
            Image.fromarray(np.zeros((4, 3), np.uint8)).save(file, format=kind)
    with pytest.raises(lg.LagrangianError, match="0.png` cannot be read as an image"):
        load_data(tmp_path)
    # The control: Pillow itself would have it.
    with Image.open(tmp_path / "a" / "0.png") as image:
        assert image.format == kind


def test_many_images_are_counted_before_they_are_read(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            image = Image.fromarray(np.zeros((4, 3), np.uint8))
            image.save(tmp_path / name / f"{i}.png")
    assert load_data(tmp_path).inputs.shape == (6, 4, 3, 1)
    monkeypatch.setattr(user_data, "MAX_BYTES", 6 * 12 * 4 - 1)
    with pytest.raises(lg.LagrangianError, match="at most"):
        load_data(tmp_path)


def test_the_folder_of_a_model_is_on_the_path_for_its_import_only(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_helper.py").write_text("width = 3")
    (tmp_path / "my_network.py").write_text(
        "import sys, os, my_helper\n"
        "on_the_path = sys.path[0] == os.getcwd()\n"
        "def Network(rngs): return my_helper.width\n"
    )
    before = list(sys.path)
    assert load_model("my_network:Network")(None) == 3
    assert sys.modules["my_network"].on_the_path
    assert sys.path == before
    (tmp_path / "my_broken.py").write_text("1/0")
    with pytest.raises(lg.LagrangianError, match="ZeroDivisionError"):
        load_model("my_broken:Network")
    assert sys.path == before


def test_the_help_says_that_code_runs(capsys):
    from lagrangian.cli.main import main

    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    assert "whose code runs" in " ".join(capsys.readouterr().out.split())
