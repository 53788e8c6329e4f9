"""A user's own data: arrays or images from files that may be anybody's.

Arrays are read without pickles, and images by the decoders of PNG and JPEG alone. What
a file says of its size is looked at before anything is read.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import open_regular
from lagrangian.networks.datasets import Dataset, from_arrays

#: The names that an array may have; the first one that is there counts.
INPUTS = ("inputs", "x", "images")
TARGETS = ("targets", "y", "labels")

_SUFFIXES = (".png", ".jpg", ".jpeg")
#: What the arrays or images of a data set may need, uncompressed, in bytes.
MAX_BYTES = 2**32
#: The image modes that are read: those as grey levels, and those as colours.
_MODES = dict.fromkeys(("1", "L", "LA"), "L") | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"), "RGB"
)
_SAVE = "np.savez('data.npz', inputs=inputs, targets=targets)"


def load_data(path: str | os.PathLike[str]) -> Dataset:
    """The data set in a file or folder of the user's.

    Read are

    - an `.npz` file, or a folder of `.npy` files, with arrays named `inputs` (or `x` or
      `images`) and `targets` (or `y` or `labels`);
    - a folder with one subfolder a class of `.png` and `.jpg` images of one size. They
      come as (height, width, 1), or (height, width, 3) in colour, scaled to [0, 1],
      class by class; classes and files are sorted by name.

    `from_arrays` says what the arrays may be. At most `MAX_BYTES` (4 GiB) are read,
    uncompressed; only regular files are.

    Raises:
        LagrangianError: says what is wrong, in which file and row, and what to write.
    """
    path = Path(path)
    if "\0" in str(path) or not path.exists():
        raise LagrangianError(
            f"`{path}` does not exist. Write the path of an .npz file, or of a folder "
            "of .npy files or images."
        )
    if path.is_dir() and not any(path.glob("*.npy")):
        return _from_images(path)
    if not path.is_dir() and path.suffix != ".npz":
        raise LagrangianError(
            f"`{path}` is neither an .npz file nor a folder. Write one by `{_SAVE}`."
        )
    arrays = _read_pair(path)
    called = [f"`{name}` in `{path}`" for name in arrays]
    return from_arrays(*arrays.values(), name=_title(path), called=called)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file by name, 4 GiB at most; pickles are never loaded.

    Raises:
        LagrangianError: no such file, a damaged one, or one with other things in it.
    """
    path = Path(path)
    with (
        _plain(path, open_regular, path) as file,
        _plain(path, zipfile.ZipFile, file) as archive,
    ):
        names = [m.removesuffix(".npy") for m in archive.namelist()]
        _check_size(path, [_plain(path, _member, archive, n, _size) for n in names])
        return {n: _plain(path, _member, archive, n, _array) for n in names}


def _title(path: Path) -> str:
    return path.absolute().name.removesuffix(".npz")


def _read_pair(path: Path) -> dict[str, np.ndarray]:
    """The inputs and then the targets, by the names that they have there."""
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.glob("*.npy"))}
        names = _names(files, path)
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(
                    _plain(files[name], open_regular, files[name])
                )
                for name in names
            }
            _check_size(path, [_plain(files[n], _size, f) for n, f in opened.items()])
            return {n: _plain(files[n], _array, f) for n, f in opened.items()}
    with _plain(path, open_regular, path) as file:
        if file.read(len(_NPY)) == _NPY:
            raise LagrangianError(
                f"`{path}` is one array alone. Write it by `{_SAVE}`."
            )
        with _plain(path, zipfile.ZipFile, file) as archive:
            members = [m for m in archive.namelist() if m.endswith(".npy")]
            names = _names([m.removesuffix(".npy") for m in members], path)
            sizes = [_plain(path, _member, archive, name, _size) for name in names]
            _check_size(path, sizes)
            return {n: _plain(path, _member, archive, n, _array) for n in names}


_NPY = b"\x93NUMPY"


def _member(archive: zipfile.ZipFile, name: str, read: Callable[..., Any]) -> Any:
    with archive.open(f"{name}.npy") as file:
        return read(file)


def _size(file: Any) -> int:
    """How many bytes an array will need, by its header; the file is rewound."""
    version = np.lib.format.read_magic(file)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = header(file)
    file.seek(0)
    return math.prod(shape) * max(dtype.itemsize, 1)


def _array(file: Any) -> np.ndarray:
    return np.lib.format.read_array(file, allow_pickle=False)


def _check_size(path: Path, sizes: Iterable[int]) -> None:
    if (total := sum(sizes)) > MAX_BYTES:
        raise LagrangianError(
            f"`{path}` has data of {total / 2**30:.3g} GiB, uncompressed; at most "
            f"{MAX_BYTES / 2**30:.3g} GiB are read. Write a part of it."
        )


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
    _check_size(path, [len(files) * first.nbytes])
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
        with open_regular(file) as opened:
            # Each of Pillow's other decoders is another way in; that of EPS runs
            # Ghostscript.
            with Image.open(opened, formats=("PNG", "JPEG")) as image:
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
