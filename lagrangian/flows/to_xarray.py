"""Trajectories as labelled arrays, in memory and in files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import write_atomically
from lagrangian.flows.trajectory import Trajectory
from lagrangian.version import __version__


def to_xarray(
    trajectory: Trajectory, attributes: Mapping[str, Any] | None = None
) -> Any:
    """An `xarray.Dataset` of a trajectory, in float64.

    Its one coordinate is `t`. Its variables are every position (`a`), every velocity
    (`a.dot`) and the `energy`; blocks have dimensions `w_0`, `w_1`, ... behind `t`. Its
    attributes are those of `description`, and `attributes`.

    Raises:
        LagrangianError: xarray is not installed.
    """
    xarray = _xarray()
    variables = {}
    for name, values in _variables(trajectory).items():
        block = name.removesuffix(".dot")
        axes = [f"{block}_{i}" for i in range(values.ndim - 1)]
        variables[name] = (["t", *axes], values)
    return xarray.Dataset(
        variables,
        coords={"t": trajectory.t},
        attrs=description(trajectory) | dict(attributes or {}),
    )


def description(trajectory: Trajectory) -> dict[str, Any]:
    """What a file must say to be read without its program; plain text and numbers.

    `parameters` is JSON, as netCDF has no nested attributes, and holds those that are
    single numbers.
    """
    flow = trajectory.flow
    parameters = {
        str(symbol): float(value)
        for symbol, value in flow.given.items()
        if not callable(value) and np.ndim(value) == 0
    }
    return {
        "lagrangian": str(flow.lagrangian),
        "parameters": json.dumps(parameters),
        "steps": trajectory.steps,
        "version": __version__,
    }


def saver(path: str | os.PathLike[str]) -> Callable[..., Path]:
    """The function that saves a trajectory at `path`, in the format of its extension.

    Made before a computation, it finds out in time that a format cannot be written. It
    takes a trajectory and attributes to go with it, and returns the path. `.npz` holds
    `t`, the variables of `to_xarray`, and the attributes as JSON in the array
    `attributes`; `.nc` is netCDF.

    Raises:
        LagrangianError: another extension, or `.nc` without xarray installed.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise LagrangianError(
            f"cannot save to `{path}`: the format is told by the extension. "
            f"Use {' or '.join(_WRITERS)}."
        )
    if path.suffix == ".nc":
        _xarray()
    write = _WRITERS[path.suffix]

    def save(
        trajectory: Trajectory, attributes: Mapping[str, Any] | None = None
    ) -> Path:
        return write_atomically(
            path, lambda file: write(file, trajectory, attributes or {})
        )

    return save


def _write_npz(
    file: BinaryIO, trajectory: Trajectory, attributes: Mapping[str, Any]
) -> None:
    arrays = {
        "t": trajectory.t,
        **_variables(trajectory),
        "attributes": np.array(json.dumps(description(trajectory) | dict(attributes))),
    }
    np.savez(file, **arrays)  # ty: ignore[invalid-argument-type]


def _write_netcdf(
    file: BinaryIO, trajectory: Trajectory, attributes: Mapping[str, Any]
) -> None:
    # SciPy writes netCDF 3; JAX needs SciPy, so that no other backend is asked for.
    dataset = to_xarray(trajectory, attributes)
    file.write(dataset.to_netcdf(engine="scipy", format="NETCDF3_64BIT"))


_WRITERS = {".npz": _write_npz, ".nc": _write_netcdf}


def _variables(trajectory: Trajectory) -> dict[str, np.ndarray]:
    coordinates = trajectory.flow.lagrangian.coordinates
    symbols = [*coordinates, *(q.dot for q in coordinates)]
    variables = {str(symbol): trajectory[symbol] for symbol in symbols}
    return variables | {"energy": trajectory.energy}


def _xarray() -> Any:
    try:
        return import_module("xarray")
    except ModuleNotFoundError:
        raise LagrangianError(
            "labelled arrays and netCDF files need xarray. Install it with "
            "`pip install 'lagrangian[xarray]'`."
        ) from None
