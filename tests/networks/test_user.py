"""A user's data and networks, and what is said about those that are wrong."""

import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen, nnx
from PIL import Image

from lagrangian.errors import LagrangianError
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.networks.datasets import (
    characters,
    digits,
    gaussian_mixture,
    make_dataset,
    teacher_student,
)
from lagrangian.networks.digits import cross_entropy
from lagrangian.networks.networks import mean_square
from lagrangian.networks.user import load_model, make_model
from lagrangian.networks.user_data import load_data

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def refused(*words):
    """Expects an error whose message has all these words, in this order."""
    return pytest.raises(
        LagrangianError, match="(?s)" + ".*".join(map(re.escape, words))
    )


# ------------------------------------------------------------------ arrays


@pytest.mark.parametrize(
    "names", [("inputs", "targets"), ("x", "y"), ("images", "labels")]
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_is_read_by_its_names(tmp_path, names, save):
    save(tmp_path / "my.set.npz", **dict(zip(names, (X, LABELS), strict=True)), more=X)
    dataset = load_data(tmp_path / "my.set.npz")
    assert (dataset.name, dataset.classes, dataset.names) == ("my.set", 3, ())
    np.testing.assert_array_equal(dataset.inputs, X.astype(np.float32))
    np.testing.assert_array_equal(dataset.targets, LABELS)


def test_a_folder_of_arrays_is_read(tmp_path, monkeypatch):
    folder = tmp_path / "measured.v2"
    folder.mkdir()
    np.save(folder / "inputs.npy", X)
    np.save(folder / "targets.npy", X[:, 0])
    monkeypatch.chdir(folder)
    for path in (str(folder), "."):
        dataset = load_data(path)
        assert (dataset.name, dataset.classes) == ("measured.v2", None)
        np.testing.assert_array_equal(dataset.inputs, X)
        np.testing.assert_array_equal(dataset.targets, X[:, :1])


def test_a_saved_set_comes_back(tmp_path):
    for name in ("teacher-student", "gaussian-mixture", "characters"):
        made = make_dataset(name)
        np.savez(tmp_path / "a.npz", inputs=made.inputs, targets=made.targets)
        again = load_data(tmp_path / "a.npz")
        assert again.classes == made.classes
        np.testing.assert_array_equal(again.inputs, made.inputs)
        np.testing.assert_array_equal(again.targets, made.targets)


def test_a_path_that_holds_no_data_is_refused(tmp_path):
    with refused("none.npz` does not exist. Write the path of an .npz file"):
        load_data(tmp_path / "none.npz")
    (tmp_path / "a.csv").write_text("1,2\n")
    with refused("a.csv` is neither an .npz file nor a folder", "np.savez("):
        load_data(tmp_path / "a.csv")
    with refused("holds no .npy files, and 0 subfolders. Write `inputs.npy`"):
        load_data(tmp_path)


def test_a_missing_array_is_told_with_those_that_are_there(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, features=X, classes=LABELS)
    with refused(
        "a.npz` has no `inputs` (nor `x` or `images`); it has `features`, `cl"
    ):
        load_data(path)
    np.savez(path, x=X, classes=LABELS)
    with refused("has no `targets` (nor `y` or `labels`); it has `x`, `classes`"):
        load_data(path)
    np.savez(path)
    with refused("it has nothing"):
        load_data(path)
    np.save(tmp_path / "targets.npy", LABELS)
    with refused("has no `inputs`", "it has `targets`"):
        load_data(tmp_path)


def test_what_is_wrong_with_an_array_is_told_with_its_name_and_file(tmp_path):
    path = tmp_path / "a.npz"
    holed = X.copy()
    holed[4] = np.nan
    np.savez(path, x=holed, y=LABELS)
    with refused(f"`x` in `{path}` is NaN or infinite in 1 of 6 rows, first in row 4"):
        load_data(path)
    np.savez(path, x=X, y=LABELS[:5])
    with refused(f"`x` in `{path}` has shape (6, 2), but `y` in `{path}` has (5,)"):
        load_data(path)


class Bomb:
    """Would call `exit` if it were unpickled."""

    def __reduce__(self):
        return exit, ("unpickled",)


def test_pickles_are_never_loaded(tmp_path):
    objects = np.array([Bomb(), Bomb()], object)
    path = tmp_path / "a.npz"
    np.savez(path, x=objects, y=LABELS[:2])
    with refused(
        "a.npz` cannot be read: ", "(pickles), which are never loaded", "savez"
    ):
        load_data(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "inputs.npy", objects)
    np.save(folder / "targets.npy", LABELS[:2])
    with refused("inputs.npy` cannot be read: ", "(pickles), which are never loaded"):
        load_data(folder)
    objects.dump(path)  # a bare pickle
    with refused("a.npz` cannot be read: ", "(pickles), which are never loaded"):
        load_data(path)


def test_files_that_are_no_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, X)
    with refused("a.npz` is one array alone. Write it by `np.savez("):
        load_data(path)
    folder = tmp_path / "folder"
    (folder / "inputs.npy").mkdir(parents=True)
    np.save(folder / "targets.npy", LABELS)
    with refused("inputs.npy` cannot be read: Is a directory. Write"):
        load_data(folder)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_refused_or_read_but_never_ends_in_another_error(
    tmp_path, save
):
    path = tmp_path / "a.npz"
    save(path, inputs=X, targets=LABELS)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refusals = 0
    for trial in range(300):
        damaged = bytearray(whole)
        if trial % 2:
            del damaged[random.integers(len(damaged)) :]
        else:
            places = random.integers(len(damaged), size=3)
            for place, byte in zip(places, random.bytes(3), strict=True):
                damaged[place] = byte
        path.write_bytes(damaged)
        try:
            load_data(path)
        except LagrangianError:
            refusals += 1
    assert refusals > 200


# ------------------------------------------------------------------ images


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey images, 4 by 3, each of one level; hidden files beside."""
    for name, levels in {"rose": [0, 51], "daisy": [255]}.items():
        (tmp_path / name).mkdir()
        for i, level in enumerate(levels):
            write(tmp_path / name / f"{i}.png", np.full((4, 3), level))
        (tmp_path / name / ".thumbnails").write_text("")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.txt").write_text("about these images")
    return tmp_path


def write(path, pixels, mode=None):
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path)


def test_an_image_folder_is_read_class_by_class(folder):
    dataset = load_data(folder)
    assert (dataset.classes, dataset.names) == (2, ("daisy", "rose"))
    assert dataset.inputs.shape == (3, 4, 3, 1)
    assert dataset.inputs.dtype == np.float32 and dataset.targets.dtype == np.int32
    np.testing.assert_array_equal(dataset.targets, [0, 1, 1])
    np.testing.assert_allclose(dataset.inputs[:, 0, 0, 0], [1.0, 0.0, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        ("1", "png", 1),
        ("L", "png", 1),
        ("LA", "png", 1),
        ("P", "png", 3),
        ("RGB", "png", 3),
        ("RGBA", "png", 3),
        ("L", "JPG", 1),
        ("RGB", "jpeg", 3),
        ("CMYK", "jpg", 3),
    ],
)
def test_pixels_keep_their_place_and_level_in_every_mode(
    tmp_path, mode, suffix, channels
):
    pixels = np.zeros((16, 8, 3))
    pixels[8:] = 255  # black above white, which every mode can hold
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"1.{suffix}", pixels, mode)
    dataset = load_data(tmp_path)
    assert dataset.inputs.shape == (2, 16, 8, channels)
    expected = np.broadcast_to(pixels[..., :channels] / 255, dataset.inputs.shape)
    np.testing.assert_allclose(dataset.inputs, expected, atol=0.02)


def test_a_transparent_palette_is_read_without_its_transparency(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image = Image.new("P", (2, 2), 1)
        image.putpalette([0, 0, 0, 255, 0, 51])
        image.save(tmp_path / name / "1.png", transparency=bytes([0, 128]))
    expected = np.broadcast_to([1, 0, 0.2], (2, 2, 2, 3))
    np.testing.assert_allclose(load_data(tmp_path).inputs, expected, rtol=1e-6)


def test_images_that_differ_are_refused_by_name(folder):
    write(folder / "rose" / "7.png", np.zeros((4, 5)))
    with refused(
        "7.png` has shape (4, 5, 1), while", "0.png` has (4, 3, 1)", "one size"
    ):
        load_data(folder)
    write(folder / "rose" / "7.png", np.zeros((4, 3, 3)))
    with refused("7.png` has shape (4, 3, 3)", "all in grey or all in colour"):
        load_data(folder)


def test_a_class_folder_must_hold_images_and_nothing_else(folder):
    (folder / "tulip").mkdir()
    with refused("class folder", "tulip` is empty. Put its images in, or remove it"):
        load_data(folder)
    (folder / "tulip" / "1.gif").write_bytes(b"GIF89a")
    with refused("1.gif` is no .png or .jpg image. Convert it, or move it"):
        load_data(folder)


def test_one_class_is_too_few(folder):
    for file in (*(folder / "rose").iterdir(), folder / "rose"):
        file.rmdir() if file.is_dir() else file.unlink()
    with refused("holds no .npy files, and 1 subfolders", "each of two classes"):
        load_data(folder)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_image_is_refused_by_name(folder, suffix):
    path = folder / "rose" / f"7.{suffix}"
    write(path, np.random.default_rng(0).integers(0, 256, (4, 3)))
    whole = path.read_bytes()
    for end in range(0, len(whole) - 20, 7):
        path.write_bytes(whole[:end])
        with refused(f"7.{suffix}` cannot be read as an image: ", "or remove it"):
            load_data(folder)


def test_sixteen_bits_a_channel_are_refused(folder):
    Image.fromarray(np.zeros((4, 3), np.uint16)).save(folder / "rose" / "7.png")
    with refused("7.png` has pixels of mode `I;16`. Save it with 8 bits a channel"):
        load_data(folder)


def test_without_pillow_images_are_refused_and_arrays_are_not(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused("read by Pillow. Install it with `pip install 'lagrangian[demo]'`"):
        load_data(folder)
    np.savez(folder / "a.npz", inputs=X, targets=LABELS)
    assert load_data(folder / "a.npz").classes == 3


# ------------------------------------------------------------------ networks


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of that text to the current directory; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = []

    def module(text, name="mymodel"):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sys.modules.pop(name, None)
        written.append(name)
        return name

    yield module
    for name in written:
        sys.modules.pop(name, None)
        sys.modules.pop(name.partition(".")[0], None)


def test_the_class_is_found_in_the_current_directory(module):
    module("class Network:\n    pass\n\ndef make(rngs):\n    return 1\n")
    assert load_model("mymodel:Network").__qualname__ == "Network"
    assert load_model("mymodel:make")(rngs=None) == 1
    module("class Network:\n    size = 3\n", "package_of_mine.models")
    assert load_model("package_of_mine.models:Network").size == 3
    assert (
        load_model("lagrangian.networks.networks:Perceptron").__name__ == "Perceptron"
    )


@pytest.mark.parametrize(
    "name",
    ["mymodel", "mymodel:", ":Network", "mymodel.py:Network", "a/b:C", "a:b:c", ""]
    + [".mymodel:Network", "mymodel:Network()", "__import__('os'):system"],
)
def test_a_name_of_another_form_is_refused(name, module):
    module("raise SystemExit('imported')")
    with refused(
        f"`{name}` names no network or rule. Write `module:Class`, as in `mymodel:N"
    ):
        load_model(name)


def test_a_missing_module_is_told_with_the_directory(module, tmp_path):
    with refused(
        f"no module `notthere`, neither in `{tmp_path}` nor installed. Change"
    ):
        load_model("notthere:Network")
    module("", "package_of_mine.models")
    with refused("there is no module `package_of_mine.others`"):
        load_model("package_of_mine.others:Network")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import notthere_either\n", "named 'notthere_either' (mymodel.py, line 1)."),
        ("x = 1\ny = = 2\n", "SyntaxError: invalid syntax (mymodel.py, line 2)."),
        ("\n\nx = {}['k']\n", "KeyError: 'k' (mymodel.py, line 3)."),
        ("import json\njson.loads('?')\n", "(mymodel.py, line 2)."),
    ],
)
def test_a_module_that_fails_is_told_with_the_users_line(module, text, message):
    module(text)
    with refused("`mymodel` cannot be imported: ", message):
        load_model("mymodel:Network")


def test_a_missing_class_is_told_the_nearest(module):
    module("WIDTH = 3\nclass Network:\n    pass\nclass _Hidden:\n    pass\n")
    with refused("module `mymodel` has no `Netwrk`. Nearest: `Network`."):
        load_model("mymodel:Netwrk")
    with refused("`mymodel:WIDTH` is a `int`. Name the class of a network"):
        load_model("mymodel:WIDTH")


def test_a_finished_network_is_refused_for_its_class(module):
    module("from flax import nnx\nnetwork = nnx.Linear(2, 3, rngs=nnx.Rngs(0))\n")
    with refused("`mymodel:network` is a `Linear`. Name the class"):
        load_model("mymodel:network")


class Linear(nnx.Module):
    """One layer on flattened examples."""

    def __init__(self, rngs, inputs, features, classes):
        self.inputs, self.sizes = inputs, (features, classes)
        self.layer = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, x):
        return self.layer(x.reshape(x.shape[0], -1))


class Language(nnx.Module):
    """An embedding and a layer, token by token."""

    def __init__(self, classes, *, rngs):
        self.embedding = nnx.Embed(classes, 4, rngs=rngs)
        self.layer = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, tokens):
        return self.layer(self.embedding(tokens))


@pytest.mark.parametrize(
    ("dataset", "factory", "inputs", "sizes"),
    [
        (digits(), Linear, (8, 8, 1), (64, 10)),
        (gaussian_mixture(classes=3), Linear, (8,), (8, 3)),
        (teacher_student(outputs=2), Linear, (16,), (16, 2)),
    ],
)
def test_a_factory_gets_what_its_signature_names(dataset, factory, inputs, sizes):
    model = make_model(factory, dataset, seed=0)
    assert (model.inputs, model.sizes) == (inputs, sizes)
    loss = mean_square if dataset.classes is None else cross_entropy
    assert np.isfinite(loss(model, (dataset.inputs, dataset.targets)))


def test_tokens_have_logits_each():
    dataset = characters(examples=4, length=6)
    model = make_model(Language, dataset)
    assert model(dataset.inputs).shape == (4, 6, 16)
    assert np.isfinite(cross_entropy(model, (dataset.inputs, dataset.targets)))


def test_the_seed_decides_the_parameters():
    dataset = gaussian_mixture()
    first, again, other = (make_model(Linear, dataset, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.layer.kernel, again.layer.kernel)
    assert not np.array_equal(first.layer.kernel, other.layer.kernel)


def test_the_trial_leaves_statistics_and_random_streams_alone():
    class Stateful(nnx.Module):
        def __init__(self, rngs, features, classes):
            self.norm = nnx.BatchNorm(features, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.layer = nnx.Linear(features, classes, rngs=rngs)

        def __call__(self, x):
            return self.layer(self.dropout(self.norm(x)))

    dataset = gaussian_mixture()
    tried = make_model(Stateful, dataset, seed=0)
    untried = Stateful(nnx.Rngs(0), features=8, classes=4)

    def numbers(model):
        state = nnx.state(model, nnx.Not(nnx.RngKey))
        return jax.tree.map(np.asarray, jax.tree.leaves(state))

    for one, other in zip(numbers(tried), numbers(untried), strict=True):
        np.testing.assert_array_equal(one, other)
    untried(dataset.inputs[:2])
    changed = zip(numbers(tried), numbers(untried), strict=True)
    assert not all(np.array_equal(one, other) for one, other in changed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "    def __init__(self, rngs, width): pass",
            ["`Network(rngs=nnx.Rngs(0))` failed: TypeError: ", "'width'. Write `def"],
        ),
        (
            "    def __init__(self, features): pass",
            [
                "`Network(rngs=nnx.Rngs(0), features=8)` failed: ",
                "'rngs'",
                "Write `def",
            ],
        ),
        (
            "    def __init__(self, rngs, inputs):\n"
            "        self.layer = nnx.Linear(inputs, 3, rngs=rngs)",
            ["inputs=(8,))` failed: TypeError", "(mymodel.py, line 4)", "is a tuple"],
        ),
        (
            "    def __init__(self, rngs):\n        raise ValueError('no luck.')",
            ["failed: ValueError: no luck (mymodel.py, line 4)."],
        ),
        (
            "    def __init__(self, rngs): pass",
            ["`Network` cannot be called on inputs of shape (2, 8), float32: "],
        ),
        (
            "    def __init__(self, rngs):\n"
            "        self.layer = nnx.Linear(7, 4, rngs=rngs)\n"
            "    def __call__(self, x):\n"
            "        return self.layer(x)",
            ["cannot be called on inputs of shape (2, 8)", "(mymodel.py, line 6)."],
        ),
        (
            "    def __init__(self, rngs): pass\n    def __call__(self, x): return x",
            ["gave shape (2, 8) for inputs", "one array of shape (2, 4) (logits)."],
        ),
        (
            "    def __init__(self, rngs): pass\n    def __call__(s, x): return x, x",
            ["`Network` gave a `tuple` for inputs of shape (2, 8), float32."],
        ),
    ],
)
def test_a_network_that_does_not_fit_is_told_how_to_write_it(module, text, words):
    module(f"from flax import nnx\nclass Network(nnx.Module):\n{text}\n")
    with refused(*words):
        make_model(load_model("mymodel:Network"), gaussian_mixture())


def test_another_thing_than_a_network_is_refused(module):
    module("class Network:\n    def __init__(self, rngs): pass\n")
    with refused(
        "`Network` gave a `Network`. Write a class that inherits from `flax.nn"
    ):
        make_model(load_model("mymodel:Network"), gaussian_mixture())
    with refused("TypeError", "Write `def __init__(self, rngs, inputs"):
        make_model(load_model("math:hypot"), gaussian_mixture())


def test_a_linen_class_is_made_a_module():
    class Network(linen.Module):
        classes: int

        @linen.compact
        def __call__(self, x):
            return linen.Dense(self.classes)(linen.relu(linen.Dense(5)(x)))

    dataset = gaussian_mixture()
    model = make_model(Network, dataset, seed=0)
    assert model(dataset.inputs).shape == (len(dataset.inputs), 4)
    parameters = nnx.state(model, nnx.Param)
    assert set(named_leaves(parameters)) == {
        f"Dense_{i}.{name}" for i in (0, 1) for name in ("kernel", "bias")
    }
    assert np.isfinite(cross_entropy(model, (dataset.inputs, dataset.targets)))
    other = make_model(Network, dataset, seed=1)
    assert not np.array_equal(model.Dense_0["kernel"], other.Dense_0["kernel"])


def test_a_linen_class_that_fails_is_told(module):
    module("from flax import linen\nclass Network(linen.Module):\n    width: int\n")
    with refused("`Network()` failed: TypeError: ", "width"):
        make_model(load_model("mymodel:Network"), gaussian_mixture())
    module("from flax import linen\nclass Network(linen.Module):\n    pass\n")
    with refused("`Network` cannot be called on inputs of shape (2, 8), float32: "):
        make_model(load_model("mymodel:Network"), gaussian_mixture())


def test_in_regression_the_output_has_the_shape_of_the_targets():
    def one_output(rngs, features):
        return nnx.Linear(features, 1, rngs=rngs)

    with refused(
        "gave shape (2, 1)", "shape (2, 3) (like the targets; labels are whole"
    ):
        make_model(one_output, teacher_student(outputs=3))
    assert isinstance(make_model(one_output, teacher_student()), nnx.Linear)


# ------------------------------------------------------------------ the page for users


def test_the_model_of_the_docs_fits_every_set_but_tokens(module):
    (text,) = re.findall(r"```python\n(from flax.*?)```", DOCS, re.DOTALL)
    module(text)
    network = load_model("mymodel:Network")
    for name in ("digits", "teacher-student"):
        make_model(network, make_dataset(name))
    with refused("gave shape (2, 16)", "shape (2, 32, 16) (logits)"):
        make_model(network, make_dataset("characters"))
    # As the page says: every column has a scale symmetry.
    dataset = make_dataset("gaussian-mixture")
    model = make_model(network, dataset)
    data = dataset.inputs, dataset.targets
    before = float(cross_entropy(model, data))
    factors = np.linspace(0.5, 2, 32, dtype=np.float32)
    model.first.kernel[...] = model.first.kernel[...] * factors
    assert float(cross_entropy(model, data)) == pytest.approx(before, rel=1e-5)
    model.second.kernel[...] = model.second.kernel[...] * 2
    assert abs(float(cross_entropy(model, data)) - before) > 0.01


def test_the_docs_list_every_set_with_its_shape():
    for name in ("digits", "teacher-student", "gaussian-mixture", "characters"):
        shape = make_dataset(name).inputs.shape
        assert re.search(rf"`{name}` \| {re.escape(str(shape))}", DOCS), name
