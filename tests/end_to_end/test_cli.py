"""The commands as a user runs them."""

import json

import matplotlib.image
import numpy as np
import pytest

from lagrangian import demo
from lagrangian.cli import main


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
    ],
)
def test_wrong_names_are_answered_with_the_nearest(arguments, message, capsys):
    assert main(arguments) != 0
    assert message in capsys.readouterr().err


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
    assert "no report was written" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob("*.png"))
    assert not list(tmp_path.glob("tmp*"))
