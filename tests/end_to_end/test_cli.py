"""The commands as a user runs them."""

import json
import subprocess
import sys

import jax
import matplotlib.image
import numpy as np
import pytest

from lagrangian import demo
from lagrangian.cli.main import main
from lagrangian.cli.simulate import SOLVERS
from lagrangian.systems.mechanics import SYSTEMS
from lagrangian.theorems.catalogue import NAMES
from lagrangian.theorems.dynamics import discrete_noether


def test_simulate_prints_the_drift_and_saves_a_figure(tmp_path, capsys):
    arguments = ["simulate", "double-pendulum", "--t", "2", "--out", str(tmp_path)]
    assert main([*arguments, "--set", "g=1.62", "--set", "a.dot=0.5"]) == 0
    printed = capsys.readouterr().out
    drift = float(printed.split("energy drift ")[1].split()[0])
    assert drift < 1e-11
    picture = matplotlib.image.imread(tmp_path / "double-pendulum.png")
    assert np.ptp(picture) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "double-pendulm"], "Nearest: `double-pendulum`"),
        (["simulate", "double-pendulum", "--set", "gg=1"], "nothing called `gg`"),
        (["simulate", "fput-chain", "--set", "mases=3"], "nothing called `mases`"),
        (["simulate"], "`--list` lists them"),
        (["simulate", "none.toml"], "`none.toml` cannot be read"),
        (["simulate", "kepler", "--save", "a.csv"], "Use .npz or .nc"),
    ],
)
def test_wrong_names_are_answered_with_what_to_write(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_list_names_every_system_and_its_parameters(capsys):
    assert main(["simulate", "--list"]) == 0
    printed = capsys.readouterr().out
    for name in SYSTEMS:
        assert f"\n{name}: " in "\n" + printed
    assert "m=1, l=1, g=9.81, links=3 (whole)" in printed


def test_what_is_saved_names_its_system_and_its_parameters(tmp_path, capsys):
    saved = tmp_path / "path.npz"
    arguments = ["simulate", "toda-chain", "--set", "masses=3", "--set", "a=0.5"]
    arguments += ["--t", "2", "--points", "5", "--out", str(tmp_path)]
    assert main([*arguments, "--save", str(saved)]) == 0
    assert f"Wrote {saved}." in capsys.readouterr().out
    with np.load(saved) as arrays:
        assert arrays["t"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
        assert arrays["q3.dot"].shape == (5,)
        attributes = json.loads(str(arrays["attributes"]))
    assert attributes["system"] == "toda-chain"
    assert json.loads(attributes["parameters"]) == {"m": 1.0, "a": 0.5, "b": 1.0}
    assert (tmp_path / "toda-chain.png").exists()


def test_netcdf_is_saved_where_xarray_is_installed(tmp_path):
    xarray = pytest.importorskip("xarray")
    saved = tmp_path / "path.nc"
    arguments = ["simulate", "kepler", "--t", "1", "--out", str(tmp_path)]
    assert main([*arguments, "--save", str(saved)]) == 0
    with xarray.open_dataset(saved) as data:
        assert data.attrs["system"] == "kepler"
        assert float(data["x"][0]) == 0.4 and data["x"].shape == (201,)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_follows_the_oscillator(solver, tmp_path, capsys):
    spec = tmp_path / "spring.toml"
    spec.write_text(
        """
        coordinates = ["x"]
        T = "m*x.dot^2/2"
        V = "k*x^2/2"
        t = 3.0
        [parameters]
        m = 1.0
        k = "1/4"
        [positions]
        x = 1.0
        [velocities]
        x = 0.0
        """
    )
    arguments = ["simulate", str(spec), "--set", "k=1", "--tol", "1e-6"]
    arguments += ["--solver", solver, "--device", "cpu", "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "spring: from spring.toml" in printed
    end = float(printed.split("x(3) = ")[1].split()[0])
    assert end == pytest.approx(np.cos(3.0), abs=1e-4)
    assert (tmp_path / "spring.png").exists()


def test_friction_is_not_called_a_drift(tmp_path, capsys):
    assert main(["simulate", "van-der-pol", "--t", "1", "--out", str(tmp_path)]) == 0
    assert "energy from 0.005 to 0.0" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_named(capsys):
    if any(device.platform == "tpu" for device in jax.devices()):
        pytest.skip("there is a TPU")
    assert main(["simulate", "kepler", "--device", "tpu"]) == 2
    assert "JAX finds no tpu here" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--save"])
def test_a_place_that_cannot_be_written_is_named(option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "path.npz"
    assert main(["simulate", "kepler", "--t", "1", option, str(place)]) == 2
    printed = capsys.readouterr()
    assert f"lagrangian: `{option}`: `{place}" in printed.err
    assert f"{tmp_path}/file is no folder" in printed.err
    assert "steps" not in printed.out  # found out before anything was computed


def test_what_was_computed_until_a_stop_is_saved_and_drawn(tmp_path, capsys):
    saved = tmp_path / "path.npz"
    arguments = ["simulate", "kepler", "--max-steps", "30", "--t", "100"]
    assert main([*arguments, "--out", str(tmp_path), "--save", str(saved)]) == 1
    printed = capsys.readouterr()
    assert "`max_steps` are used up" in printed.err
    assert "the path until t = " in printed.out and f"Wrote {saved}." in printed.out
    with np.load(saved) as arrays:
        assert 1 < len(arrays["t"]) < 201 and np.isfinite(arrays["x"]).all()
        end = arrays["t"][-1]
    assert f"  x({end:g}) = " in printed.out
    assert (tmp_path / "kepler.png").exists()


def test_options_of_the_steps_and_significant_digits(tmp_path, capsys):
    spec = tmp_path / "bead.toml"
    spec.write_text(
        """
        coordinates = ["x", "y"]
        T = "(x.dot^2 + y.dot^2)/2"
        V = "5e13*(x^2 + y^2)"
        constraints = ["y - 2*x"]
        t = 1e-7
        [positions]
        x = 1e-9
        y = 2.1e-9
        [velocities]
        x = 0.0
        y = 0.0
        """
    )
    arguments = ["simulate", str(spec), "--points", "2", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "project=True" in capsys.readouterr().err
    arguments += ["--project", "--atol", "1e-20", "--max-step", "1e-9"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert int(printed.split(" steps;")[0].split()[-1]) >= 100
    shown = printed.split("x(1e-07) = ")[1].split()[0]
    assert "e-10" in shown and len(shown) > 10
    assert float(shown) == pytest.approx(1.04e-9 * np.cos(1.0), rel=1e-8)


@pytest.mark.parametrize(
    "option",
    [
        *("--t=1e999", "--tol=0", "--set=g=nan", "--set=g=-inf", "--max-step=0"),
        *("--max-steps=-1", "--max-steps=1e3", "--max-steps=\u00b2", "--atol=-1"),
        "--points=999999999999",
    ],
)
def test_options_that_cannot_be_end_with_2(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "double-pendulum", option])
    assert stop.value.code == 2
    name, _, value = option.partition("=")
    assert f"argument {name}: `{value}` is " in capsys.readouterr().err


@pytest.mark.parametrize("points", ["0", "1", "2.5", "-3"])
def test_points_are_at_least_two(points, capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "kepler", f"--points={points}"])
    assert f"`{points}` is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ['g=__import__("os").abort()', "g=1+1", "g", "=1e", "g=sqrt(2)"]
)
def test_text_is_never_evaluated(value, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "double-pendulum", "--set", value])
    assert stop.value.code == 2
    assert "is no NAME=NUMBER" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["0", "-1", "nan", "inf", "x"])
def test_times_are_positive(end, capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "double-pendulum", f"--t={end}"])
    assert "is no positive number" in capsys.readouterr().err


@pytest.fixture(scope="module")
def short_demo(tmp_path_factory):
    """The main job with half of its steps, run once."""
    folder = tmp_path_factory.mktemp("results")
    return demo.main(folder, steps=1000), folder


def test_the_demo_certifies_its_laws_and_refutes_the_control(short_demo):
    claims_hold, folder = short_demo
    assert claims_hold
    report = json.loads((folder / "first_light.json").read_text())
    assert report["accuracy_held_out"] > 0.95
    assert [row["verdict"] for row in report["laws"]] == ["holds"] * 4
    (control,) = report["control"]
    assert control["verdict"] == "symmetry absent" and control["defect"] > 0.01
    assert report["seed"] == 0 and "jax" in report["versions"]
    for found in report["adaptation"].values():
        assert found["average_deviation"] < 0.15


def test_the_demo_draws_four_panels(short_demo):
    _, folder = short_demo
    assert sorted(path.name for path in folder.iterdir()) == [
        "first_light.json",
        "first_light.npz",
        "first_light.png",
    ]
    picture = matplotlib.image.imread(folder / "first_light.png")
    assert picture.shape[0] > 600 and np.ptp(picture) > 0.5


def test_an_interrupted_demo_leaves_no_report(tmp_path, capsys, monkeypatch):
    def interrupted(result):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "as_json", lambda *_: interrupted(None))
    monkeypatch.setattr(demo, "figure", interrupted)
    assert main(["demo", "--steps", "20", "--out", str(tmp_path)]) == 130
    assert "interrupted: no report" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob("*.png"))
    assert not list(tmp_path.glob("tmp*"))


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m lagrangian.cli.main simulate --list | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("double-pendulum")
    assert done.stderr == ""


# -------------------------------------------------------------------------- theorems


def test_the_theorems_are_listed(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in NAMES:
        assert f"\n{name}: " in "\n" + printed
    assert printed.count("(20") >= len(NAMES)  # each with its source and year


@pytest.fixture
def quick(monkeypatch):
    """A theorem about one network and one rule."""
    for name, kept in (("CASES", "linear network"), ("RULES", "heavy ball")):
        monkeypatch.setattr(
            discrete_noether, name, {kept: getattr(discrete_noether, name)[kept]}
        )


def test_verify_prints_the_table_and_writes_figure_and_report(quick, tmp_path, capsys):
    assert main(["verify", "discrete-noether", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "discrete-noether: verified (seed 0)" in printed
    report = json.loads((tmp_path / "discrete-noether.json").read_text())
    assert report["verdict"] == "verified"
    picture = matplotlib.image.imread(tmp_path / "discrete-noether.png")
    assert np.ptp(picture) > 0.5


def test_a_refuted_theorem_ends_with_1(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(discrete_noether, "_rounding", lambda dtype: 1e-30)
    assert main(["verify", "discrete-noether", "--out", str(tmp_path)]) == 1
    assert "refuted" in capsys.readouterr().out


def test_verify_your_own_network_and_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 6)).astype(np.float32)
    np.savez("mine.npz", inputs=inputs, targets=(inputs[:, 0] > 0).astype(int))
    (tmp_path / "mynetwork.py").write_text(
        "from flax import nnx\n"
        "from lagrangian.networks.networks import Perceptron\n"
        "def Network(rngs, features, classes):\n"
        "    return Perceptron((features, 7, classes), rngs)\n"
    )
    arguments = ["verify", "discrete-noether", "--data", "mine.npz"]
    assert main([*arguments, "--model", "mynetwork:Network"]) == 0
    printed = capsys.readouterr().out
    assert "heavy ball, rescale of layers.0.bias" in printed
    # Without a network of one's own, one that fits the data.
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["verify"], 2, "needs a theorem: write its name"),
        (["verify", "equilibrium", "--all"], 2, "needs a theorem: write its name"),
        (["verify", "equilibrum"], 2, "Nearest: `equilibrium`"),
        (["verify", "--all", "--data", "digits"], 2, "go with one theorem"),
        (["verify", "equilibrium", "--data", "digits"], 2, "systems of its own"),
        (["verify", "discrete-noether", "--data", "none.npz"], 2, "none.npz"),
        (["verify", "discrete-noether", "--model", "Network"], 2, "module:Class"),
    ],
)
def test_what_verify_cannot_do_is_said(
    arguments, status, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    assert message in capsys.readouterr().err
