"""A user's own data and network: arrays or images from files, a class by its name.

Arrays are read without pickles. The module of a network is imported, as `python -m`
would; nothing else is run.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen, nnx
from flax.nnx import bridge

from lagrangian.errors import LagrangianError, nearest
from lagrangian.networks.datasets import Dataset, from_arrays

#: The names that an array may have; the first one that is there counts.
INPUTS = ("inputs", "x", "images")
TARGETS = ("targets", "y", "labels")

_SUFFIXES = (".png", ".jpg", ".jpeg")
#: The image modes that are read: those as grey levels, and those as colours.
_MODES = dict.fromkeys(("1", "L", "LA"), "L") | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"), "RGB"
)
_SIGNATURE = (
    "Write `def __init__(self, rngs, inputs, features, classes)`: all but `rngs` may "
    "be left out, `inputs` is a tuple, and any others need a default."
)
_PACKAGE = str(Path(__file__).parents[1])
_SAVE = "np.savez('data.npz', inputs=inputs, targets=targets)"


# ------------------------------------------------------------------ data


def load_data(path: str | os.PathLike[str]) -> Dataset:
    """The data set in a file or folder of the user's.

    Read are

    - an `.npz` file, or a folder of `.npy` files, with arrays named `inputs` (or `x` or
      `images`) and `targets` (or `y` or `labels`);
    - a folder with one subfolder a class of `.png` and `.jpg` images of one size. They
      come as (height, width, 1), or (height, width, 3) in colour, scaled to [0, 1],
      class by class; classes and files are sorted by name.

    `from_arrays` says what the arrays may be.

    Raises:
        LagrangianError: says what is wrong, in which file and row, and what to write.
    """
    path = Path(path)
    if path.is_dir() and not any(path.glob("*.npy")):
        return _from_images(path)
    if not path.exists():
        raise LagrangianError(
            f"`{path}` does not exist. Write the path of an .npz file, or of a folder "
            "of .npy files or images."
        )
    if not path.is_dir() and path.suffix != ".npz":
        raise LagrangianError(
            f"`{path}` is neither an .npz file nor a folder. Write one by `{_SAVE}`."
        )
    arrays = _read_pair(path)
    called = [f"`{name}` in `{path}`" for name in arrays]
    return from_arrays(*arrays.values(), name=_title(path), called=called)


def _title(path: Path) -> str:
    return path.absolute().name.removesuffix(".npz")


def _read_pair(path: Path) -> dict[str, np.ndarray]:
    """The inputs and then the targets, by the names that they have there."""
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.glob("*.npy"))}
        names = _names(files, path)
        return {name: _plain(files[name], _read_npy, files[name]) for name in names}
    # NumPy leaves a file open that it opened and found damaged.
    with _plain(path, path.open, "rb") as file:
        archive = _plain(path, np.load, file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise LagrangianError(
                f"`{path}` is one array alone. Write it by `{_SAVE}`."
            )
        names = _names(archive.files, path)
        return {name: _plain(path, archive.__getitem__, name) for name in names}


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _names(found: Iterable[str], path: Path) -> list[str]:
    """What the inputs and the targets are called here."""
    found = list(found)
    chosen = []
    for known in (INPUTS, TARGETS):
        present = [name for name in known if name in found]
        if not present:
            listed = ", ".join(f"`{name}`" for name in found) or "nothing"
            raise LagrangianError(
                f"`{path}` has no `{known[0]}` (nor `{known[1]}` or `{known[2]}`); it "
                f"has {listed}. Write it by `{_SAVE}`."
            )
        chosen.append(present[0])
    return chosen


def _plain(path: Path, read: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What `read` makes of a file."""
    try:
        return read(*args, **options)
    # A damaged file ends NumPy and zipfile in any of a dozen exceptions.
    except Exception as error:
        why = getattr(error, "strerror", None) or (
            "it is damaged, or no file of NumPy, or holds Python objects (pickles), "
            "which are never loaded"
        )
        raise LagrangianError(
            f"`{path}` cannot be read: {why}. Write it by `{_SAVE}`, with arrays of "
            "numbers."
        ) from error


# ------------------------------------------------------------------ images


def _from_images(path: Path) -> Dataset:
    classes = [folder for folder in _listed(path) if folder.is_dir()]
    if len(classes) < 2:
        raise LagrangianError(
            f"`{path}` holds no .npy files, and {len(classes)} subfolders. Write "
            "`inputs.npy` and `targets.npy`, or a subfolder of images for each of two "
            "classes or more."
        )
    files = [(file, i) for i, folder in enumerate(classes) for file in _images(folder)]
    first = _image(files[0][0])
    inputs = np.empty((len(files), *first.shape), np.float32)
    for row, (file, _) in enumerate(files):
        image = _image(file)
        if image.shape != first.shape:
            raise LagrangianError(
                f"`{file}` has shape {image.shape}, while `{files[0][0]}` has "
                f"{first.shape} (height, width, channels). Write all images in one "
                "size, and all in grey or all in colour."
            )
        inputs[row] = image
    labels = np.array([label for _, label in files], np.int32)
    names = tuple(folder.name for folder in classes)
    return Dataset(_title(path), inputs, labels, len(classes), names)


def _listed(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if not f.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    files = _listed(folder)
    if not files:
        raise LagrangianError(
            f"the class folder `{folder}` is empty. Put its images in, or remove it."
        )
    for file in files:
        if file.suffix.lower() not in _SUFFIXES:
            raise LagrangianError(
                f"`{file}` is no .png or .jpg image. Convert it, or move it elsewhere."
            )
    return files


def _image(file: Path) -> np.ndarray:
    """One image in [0, 1]: float32 of shape (height, width, 1 or 3)."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise LagrangianError(
            "images are read by Pillow. Install it with "
            "`pip install 'lagrangian[demo]'`."
        ) from None
    try:
        with Image.open(file) as image:
            image.load()
    # A damaged file ends Pillow in OSError, SyntaxError, ValueError and others.
    except Exception as error:
        raise LagrangianError(
            f"`{file}` cannot be read as an image: {error}. Save it anew as .png, or "
            "remove it."
        ) from error
    if image.mode not in _MODES:
        raise LagrangianError(
            f"`{file}` has pixels of mode `{image.mode}`. Save it with 8 bits a "
            "channel, in grey or in colour."
        )
    if image.mode == "P":  # Pillow warns if transparency is lost straight to RGB
        image = image.convert("RGBA")
    pixels = np.asarray(image.convert(_MODES[image.mode]), np.float32)
    return pixels.reshape(*pixels.shape[:2], -1) / 255


# ------------------------------------------------------------------ networks


def load_model(name: str) -> Callable[..., Any]:
    """The class, or function that makes a network, of that name.

    Args:
        name: "module:Class". The module is imported, from the current directory first.

    Raises:
        LagrangianError: the name has another form, or there is no such module or class;
            or the module fails as it is imported.
    """
    module, _, attribute = name.partition(":")
    parts = (*module.split("."), attribute)
    if module.endswith(".py") or not all(part.isidentifier() for part in parts):
        raise LagrangianError(
            f"`{name}` names no network. Write `module:Class`, as in "
            "`mymodel:Network` for the class `Network` of mymodel.py."
        )
    value = _attribute(_module(module), module, attribute)
    if not callable(value) or isinstance(value, nnx.Module):
        raise LagrangianError(
            f"`{name}` is a `{type(value).__name__}`. Name the class of a network, or "
            "a function that makes one."
        )
    return value


def _module(name: str) -> Any:
    here = os.getcwd()
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise LagrangianError(
                f"there is no module `{error.name}`, neither in `{here}` nor "
                "installed. Change to the directory of the file, or correct its name."
            ) from None
        raise _failed(f"`{name}` cannot be imported", error) from error
    except Exception as error:  # the user's own code may raise anything
        raise _failed(f"`{name}` cannot be imported", error) from error


def _attribute(module: Any, name: str, attribute: str) -> Any:
    if hasattr(module, attribute):
        return getattr(module, attribute)
    known = [n for n, v in vars(module).items() if callable(v) and n[0] != "_"]
    raise LagrangianError(
        f"module `{name}` has no `{attribute}`. {nearest(attribute, known)}"
    )


def make_model(
    factory: Callable[..., Any], dataset: Dataset, seed: int = 0
) -> nnx.Module:
    """The network of a factory for a data set, tried on two of its examples.

    Args:
        factory: called with `rngs` and those of `inputs`, `features` and `classes` that
            its signature names: the shape of an example, how many numbers that are,
            and the size of the output's last axis (in regression, that of the targets).
            A Linen class is called without `rngs`, and made an NNX module.
        dataset: that the network shall learn.
        seed: of the initial parameters.

    Raises:
        LagrangianError: the factory fails or gives no Flax module, or the module
            fails on a batch or gives another shape than that of the targets, followed
            by (classes,) except in regression.
    """
    name = getattr(factory, "__qualname__", str(factory))
    arguments = _arguments(factory, dataset)
    is_linen = isinstance(factory, type) and issubclass(factory, linen.Module)
    random = {} if is_linen else {"rngs": nnx.Rngs(seed)}
    try:
        model = factory(**random, **arguments)
    except Exception as error:  # the user's own code may raise anything
        given = {key: f"nnx.Rngs({seed})" for key in random} | arguments
        called = f"{name}({', '.join(f'{k}={v}' for k, v in given.items())})"
        advice = _SIGNATURE if isinstance(error, TypeError) else ""
        raise _failed(f"`{called}` failed", error, advice) from error
    if isinstance(model, linen.Module):
        model = _from_linen(name, model, dataset, seed)
    if not isinstance(model, nnx.Module):
        raise LagrangianError(
            f"`{name}` gave a `{type(model).__name__}`. Write a class that inherits "
            "from `flax.nnx.Module`, or a function that returns one."
        )
    _check_output(name, model, dataset)
    return model


def _from_linen(
    name: str, model: linen.Module, dataset: Dataset, seed: int
) -> nnx.Module:
    wrapped, batch = bridge.ToNNX(model, nnx.Rngs(seed)), dataset.inputs[:2]
    try:
        return bridge.lazy_init(wrapped, batch)
    except Exception as error:  # the user's own code may raise anything
        raise _uncallable(name, batch, error) from error


def _arguments(factory: Callable[..., Any], dataset: Dataset) -> dict[str, Any]:
    # The signature of an NNX class itself is that of its metaclass.
    target = factory.__init__ if isinstance(factory, type) else factory
    shape = dataset.inputs.shape[1:]
    known = {
        "inputs": shape,
        "features": math.prod(shape),
        "classes": dataset.classes or dataset.targets.shape[-1],
    }
    try:
        named = inspect.signature(target).parameters
    except ValueError:  # a function of C without a signature
        named = {}
    return {key: value for key, value in known.items() if key in named}


def _check_output(name: str, model: nnx.Module, dataset: Dataset) -> None:
    batch, targets = dataset.inputs[:2], dataset.targets[:2]
    graph, state = nnx.split(model)
    try:
        # Abstract, and on a copy: batch statistics and random streams stay as they are.
        output = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, batch)
    except Exception as error:  # the user's own code may raise anything
        raise _uncallable(name, batch, error) from error
    classes = () if dataset.classes is None else (dataset.classes,)
    expected = (*targets.shape, *classes)
    shape = getattr(output, "shape", None)
    if shape != expected:
        got = f"a `{type(output).__name__}`" if shape is None else f"shape {shape}"
        what = "logits" if classes else "like the targets; labels are whole numbers"
        raise LagrangianError(
            f"`{name}` gave {got} for {_inputs(batch)}. Return one array of shape "
            f"{expected} ({what})."
        )


def _inputs(batch: Any) -> str:
    return f"inputs of shape {batch.shape}, {batch.dtype}"


def _uncallable(name: str, batch: Any, error: Exception) -> LagrangianError:
    return _failed(f"`{name}` cannot be called on {_inputs(batch)}", error)


def _failed(what: str, error: Exception, advice: str = "") -> LagrangianError:
    """What failed and why, with the user's last line on the way there."""
    reason = f"{what}: {type(error).__name__}: {error}".rstrip(".")
    folders = (*map(sysconfig.get_path, ("stdlib", "purelib")), _PACKAGE)
    others = (*(f"{folder}{os.sep}" for folder in folders), "<")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(others):
            reason += f" ({Path(frame.filename).name}, line {frame.lineno})"
            break
    return LagrangianError(f"{reason}. {advice}".rstrip())
