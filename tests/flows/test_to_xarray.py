"""Labelled arrays and files of trajectories, read back by other libraries."""

import json
import sys

import numpy as np
import pytest
import scipy.io
import sympy as sp

import lagrangian as lg
from lagrangian.flows.to_xarray import saver, to_xarray

xarray = pytest.importorskip("xarray")


@pytest.fixture
def path(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    start = {a: 1.0, b: 0.5}, {a: 0.0, b: 0.25}
    return lg.lower(system, parameters).integrate(*start, (0.0, 1.0), points=11)


def test_a_dataset_has_every_coordinate_velocity_and_the_energy(path):
    data = to_xarray(path, {"system": "double-pendulum"})
    a, b = path.flow.lagrangian.coordinates
    assert list(data.data_vars) == ["a", "b", "a.dot", "b.dot", "energy"]
    np.testing.assert_array_equal(data["a"], path[a])
    np.testing.assert_array_equal(data["b.dot"], path[b.dot])
    np.testing.assert_array_equal(data["energy"], path.energy)
    assert data["a"].dtype == np.float64 and data["a"].dims == ("t",)
    assert float(data["b.dot"].sel(t=0.0)) == 0.25
    assert data.attrs["system"] == "double-pendulum"
    assert json.loads(data.attrs["parameters"]) == {"m": 1.0, "l": 1.0, "g": 9.81}
    assert data.attrs["steps"] == path.steps


def test_blocks_have_dimensions_of_their_own():
    w = lg.blocks("w")
    mass = sp.Symbol("mass")
    system = lg.Lagrangian(mass * lg.Inner(w.dot, w.dot) / 2, lg.Inner(w, w) / 2)
    path = lg.lower(system, {mass: 1.0}).integrate(
        {w: np.ones((2, 3))}, {w: np.zeros((2, 3))}, (0.0, 1.0), points=5
    )
    data = to_xarray(path)
    assert data["w"].dims == ("t", "w_0", "w_1") and data["w"].shape == (5, 2, 3)
    assert data["w.dot"].dims == data["w"].dims
    np.testing.assert_allclose(data["w"][-1], np.cos(1.0), atol=1e-7)


def test_npz_is_read_back_without_pickle(path, tmp_path):
    file = saver(tmp_path / "path.npz")(path, {"system": "double-pendulum"})
    with np.load(file, allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["t"], path.t)
        np.testing.assert_array_equal(saved["a.dot"], path.v[:, 0])
        np.testing.assert_array_equal(saved["energy"], path.energy)
        attributes = json.loads(str(saved["attributes"]))
    assert attributes["system"] == "double-pendulum"
    assert json.loads(attributes["parameters"])["g"] == 9.81
    assert "cos(a - b)" in attributes["lagrangian"]


def test_netcdf_is_read_back_by_xarray_and_by_scipy(path, tmp_path):
    file = saver(tmp_path / "path.nc")(path, {"system": "double-pendulum", "tol": 1e-9})
    with xarray.open_dataset(file) as saved:
        xarray.testing.assert_identical(
            saved.load(), to_xarray(path, {"system": "double-pendulum", "tol": 1e-9})
        )
    with scipy.io.netcdf_file(file, mmap=False) as saved:
        np.testing.assert_array_equal(saved.variables["b"][:], path.q[:, 1])
        assert saved.system == b"double-pendulum"
    assert [p.name for p in tmp_path.iterdir()] == ["path.nc"]


@pytest.mark.parametrize("name", ["path.csv", "path", "path.NPZ"])
def test_another_extension_is_refused_before_anything_is_computed(name):
    with pytest.raises(lg.LagrangianError, match=r"Use \.npz or \.nc"):
        saver(name)


def test_without_xarray_the_extra_is_named(path, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xarray", None)
    for attempt in (lambda: to_xarray(path), lambda: saver(tmp_path / "path.nc")):
        with pytest.raises(lg.LagrangianError, match=r"pip install 'lagrangian\[xarr"):
            attempt()
    assert saver(tmp_path / "path.npz")(path).exists()
