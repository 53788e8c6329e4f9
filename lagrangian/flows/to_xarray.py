"""Paths as labelled arrays, in memory and in files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path as File
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import write_atomically
from lagrangian.version import __version__

#: The dimensions of a quantity behind `t`, and its values with the times first.
Labelled: TypeAlias = tuple[tuple[str, ...], np.ndarray]


@runtime_checkable
class Savable(Protocol):
    """What a file or a dataset is made of; see `Path`."""

    t: Any
    steps: Any

    def labelled(self) -> dict[str, Labelled]: ...

    def grid(self) -> dict[str, np.ndarray]: ...

    def described(self) -> dict[str, Any]: ...


def to_xarray(trajectory: Savable, attributes: Mapping[str, Any] | None = None) -> Any:
    """An `xarray.Dataset` of a path, in float64.

    Its coordinates are `t` and, of fields, those of the grid. Its variables are those
    of `labelled`: positions (`a`), velocities (`a.dot`), the `energy`; blocks have
    dimensions `w_0`, `w_1`, ... behind `t`. Its attributes are those of `described`,
    and `attributes`.

    Raises:
        LagrangianError: xarray is not installed.
    """
    xarray = _xarray()
    labelled = trajectory.labelled().items()
    return xarray.Dataset(
        {name: (["t", *axes], values) for name, (axes, values) in labelled},
        coords={"t": trajectory.t, **trajectory.grid()},
        attrs=description(trajectory) | dict(attributes or {}),
    )


def description(trajectory: Savable) -> dict[str, Any]:
    """What the path says of itself, its number of steps, and our version."""
    own = trajectory.described()
    return own | {"steps": trajectory.steps, "version": __version__}


def saver(path: str | os.PathLike[str]) -> Callable[..., File]:
    """The function that saves a path at `path`, in the format of its extension.

    Made before a computation, it finds out in time that a format cannot be written. It
    takes a path and attributes to go with it, and returns the path. `.npz` holds
    `t`, the variables of `to_xarray`, and the attributes as JSON in the array
    `attributes`; `.nc` is netCDF.

    Raises:
        LagrangianError: another extension, or `.nc` without xarray installed.
    """
    path = File(path)
    if path.suffix not in _WRITERS:
        raise LagrangianError(
            f"cannot save to `{path}`: the format is told by the extension. "
            f"Use {' or '.join(_WRITERS)}."
        )
    if path.suffix == ".nc":
        _xarray()
    write = _WRITERS[path.suffix]

    def save(trajectory: Savable, attributes: Mapping[str, Any] | None = None) -> File:
        return write_atomically(
            path, lambda file: write(file, trajectory, attributes or {})
        )

    return save


def _write_npz(
    file: BinaryIO, trajectory: Savable, attributes: Mapping[str, Any]
) -> None:
    arrays = {
        "t": trajectory.t,
        **trajectory.grid(),
        **{name: values for name, (_, values) in trajectory.labelled().items()},
        "attributes": np.array(json.dumps(description(trajectory) | dict(attributes))),
    }
    np.savez(file, **arrays)  # ty: ignore[invalid-argument-type]


def _write_netcdf(
    file: BinaryIO, trajectory: Savable, attributes: Mapping[str, Any]
) -> None:
    # SciPy writes netCDF 3; JAX needs SciPy, so that no other backend is asked for.
    dataset = to_xarray(trajectory, attributes)
    file.write(dataset.to_netcdf(engine="scipy", format="NETCDF3_64BIT"))


_WRITERS = {".npz": _write_npz, ".nc": _write_netcdf}


def _xarray() -> Any:
    try:
        return import_module("xarray")
    except ModuleNotFoundError:
        raise LagrangianError(
            "labelled arrays and netCDF files need xarray. Install it with "
            "`pip install 'lagrangian[xarray]'`."
        ) from None
