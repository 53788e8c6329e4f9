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


def test_fields_have_their_grid_and_save_and_draw(tmp_path):
    phi = lg.fields("phi", over="t x y")
    theory = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2 - phi.d("y") ** 2) / 2)
    flow = lg.lower(theory, interval=[(0, 1), (0, 2)], points=(4, 6))
    path = flow.integrate({phi: lambda x, y: x + 0 * y}, {phi: 0}, (0, 0.1), points=3)
    data = path.to_xarray()
    assert data["phi"].dims == ("t", "x", "y") and data["phi"].shape == (3, 4, 6)
    np.testing.assert_allclose(data["x"], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(data["phi"].sel(t=0.0, y=0.0), data["x"])
    with np.load(path.save(tmp_path / "wave.npz")) as saved:
        np.testing.assert_array_equal(saved["phi.d(t)"], path[phi.d("t")])
    assert path.plot().axes
    with pytest.raises(lg.LagrangianError, match="`at` follows Taylor series"):
        path.at([0.05])


def test_a_networks_path_answers_the_same_questions(tmp_path):
    parameters = {"w": np.ones(2, np.float32)}
    flow = lg.network_flow(
        parameters, lambda p, _: (p["w"] ** 2).sum(), None, lg.HeavyBall(0.1, 0.5)
    )
    path = flow.integrate((0, 1), points=4)
    w = lg.blocks("w")
    np.testing.assert_array_equal(path["w"], path[w])
    np.testing.assert_array_equal(path[w.dot], path.v["w"])
    data = path.to_xarray()
    assert data["w"].dims == ("t", "w_0") and "HeavyBall" in data.attrs["rule"]
    np.testing.assert_allclose(data["loss"], (path["w"] ** 2).sum(1))
    assert path.save(tmp_path / "path.nc").exists() and path.plot().axes
    with pytest.raises(lg.LagrangianError, match="Known: `w`"):
        path["v"]
    with pytest.raises(lg.LagrangianError, match="a NetworkPath has not"):
        path.at([0.5])
