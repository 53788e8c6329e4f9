"""Derive, symmetries, discover, train, doctor and completion, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from lagrangian.cli import doctor
from lagrangian.cli.main import main
from lagrangian.cli.output import as_json
from lagrangian.systems.mechanics import SYSTEMS
from lagrangian.systems.names import FILES
from lagrangian.theorems.catalogue import NAMES

SPRING = """
coordinates = ["x"]
T = "m*x.dot^2/2"
V = "k*x^2/2"
{more}
[parameters]
m = 1.0
k = 4.0
[positions]
x = 1.0
[velocities]
x = 0.0
"""


def answer(capsys, *words):
    """What a command prints with `--json`, and its status."""
    status = main([*words, "--json"])
    return json.loads(capsys.readouterr().out), status


# ------------------------------------------------------------------ formulas


def test_derive_says_what_follows_from_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spring.toml").write_text(SPRING.format(more=""))
    assert main(["derive", "spring.toml", "--out", "papers"]) == 0
    printed = capsys.readouterr().out
    assert "  k*x + m*x.ddot = 0\n" in printed
    assert "  p_x = m*x.dot\n" in printed
    assert "\n  time translation = " in printed
    assert "Wrote papers/spring.tex." in printed
    written = json.loads((tmp_path / "papers" / "spring.json").read_text())
    assert written["equations"] == {"x": "k*x + m*x.ddot"}
    k, x, p, m = sp.symbols("k x p_x m")
    energy = sp.sympify(written["hamiltonian"]["H"])
    assert sp.expand(energy - k * x**2 / 2 - p**2 / m / 2) == 0
    assert r"m \ddot{x}" in (tmp_path / "papers" / "spring.tex").read_text()


def test_what_a_system_has_not_is_said_with_the_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = 'dissipation = "x.dot^2/20"'
    (tmp_path / "spring.toml").write_text(SPRING.format(more=more))
    found, status = answer(capsys, "derive", "spring.toml")
    assert status == 0 and found["conserved"] is None
    assert "dissipation" in found["no_conserved"]
    found, _ = answer(capsys, "derive", "n-pendulum", "--set", "links=12")
    assert "lagrangian symmetries n-pendulum" in found["no_conserved"]
    assert len(found["equations"]) == 12


def test_symmetries_are_those_of_the_problem_of_kepler(capsys):
    found, status = answer(capsys, "symmetries", "kepler")
    assert status == 0 and found["complete"]
    assert [s["name"] for s in found["of_lagrangian"]] == [
        "time translation",
        "rotation",
    ]
    x, y, vx, vy, m = sp.symbols("x y vx vy m")
    charge = found["of_lagrangian"][1]["charge"]
    charge = sp.sympify(charge.replace("x.dot", "vx").replace("y.dot", "vy"))
    assert sp.expand(charge - m * (x * vy - y * vx)) == 0
    words = ["symmetries", "kepler", "--degree", "2", "--velocities"]
    more, _ = answer(capsys, *words)
    assert len(more["of_lagrangian"]) > 2  # Runge and Lenz's


PLANE = """
coordinates = ["x", "y"]
T = "(x.dot^2 + y.dot^2)/2"
V = "{potential}"
[positions]
x = 1.0
y = 0.0
[velocities]
x = 0.0
y = 0.0
"""


def test_the_algebra_of_symmetries_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plane.toml").write_text(PLANE.format(potential="x"))
    found, _ = answer(capsys, "symmetries", "plane.toml")
    names = [symmetry["name"] for symmetry in found["of_lagrangian"]]
    brackets = {(b["i"], b["j"]): b["c"] for b in found["algebra"]}
    assert brackets and all(i < j < len(names) for i, j in brackets)
    derived, _ = answer(capsys, "derive", "plane.toml")
    assert set(derived["algebra"]) == {f"[X_{i + 1}, X_{j + 1}]" for i, j in brackets}
    assert main(["derive", "plane.toml"]) == 0
    assert "algebra of these symmetries:\n  [X_1, X_" in capsys.readouterr().out
    # With velocities there is none, and why.
    found, _ = answer(capsys, "symmetries", "kepler", "--degree", "1", "--velocities")
    assert found["algebra"] is None and "velocities" in found["no_algebra"]


def test_what_the_kinetic_energy_breaks_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    oval = PLANE.format(potential="(x^2 + y^2)^2").replace("y.dot^2", "3*y.dot^2")
    (tmp_path / "oval.toml").write_text(oval)
    found, status = answer(capsys, "derive", "oval.toml")
    assert status == 0
    (broken,) = found["broken"].values()
    assert "x.dot*y.dot" in broken
    (tmp_path / "round.toml").write_text(PLANE.format(potential="(x^2 + y^2)^2"))
    assert "broken" not in answer(capsys, "derive", "round.toml")[0]


def test_latex_is_printed_alone(capsys):
    assert main(["derive", "kepler", "--latex"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.startswith(r"\begin{aligned}")
    assert printed.endswith(r"\end{aligned}")
    assert printed.count("{") == printed.count("}")
    assert main(["symmetries", "kepler", "--latex"]) == 0
    assert capsys.readouterr().out.startswith(r"\displaystyle \begin{aligned}")


def test_deriving_loads_neither_jax_nor_scipy():
    code = (
        "import sys; from lagrangian.cli.main import main; main(['derive', 'kepler']); "
        "print([m for m in ('jax', 'flax', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# ------------------------------------------------------------------ JSON


def test_json_is_printed_alone_and_is_strict(tmp_path, capsys):
    listed, _ = answer(capsys, "list")
    assert [theorem["name"] for theorem in listed] == list(NAMES)
    systems, _ = answer(capsys, "simulate", "--list")
    assert [system["name"] for system in systems] == list(SYSTEMS) == list(FILES)
    words = ["simulate", "henon-heiles", "--t", "1", "--points", "3"]
    path, status = answer(capsys, *words, "--out", str(tmp_path))
    assert status == 0 and path["t"] == [0, 0.5, 1] and len(path["path"]["x"]) == 3
    assert as_json({"a": float("nan"), "b": np.float64("inf")}).count("null") == 2


def test_a_path_that_stops_says_so_in_json(tmp_path, capsys):
    words = ["simulate", "kepler", "--max-steps", "30", "--t", "100"]
    path, status = answer(capsys, *words, "--out", str(tmp_path))
    assert status == 1 and "`max_steps`" in path["stopped"] and path["t"][-1] < 100


# ------------------------------------------------------------------ networks


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A network, data and rules of the user's, in the current folder."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(
        "import optax\n"
        "from lagrangian.networks.networks import Perceptron\n"
        "def Network(rngs, features, classes):\n"
        "    return Perceptron((features, 4, classes), rngs)\n"
        "tx = optax.sgd(0.1, momentum=0.9)\n"
        "number = 3\n"
    )
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(80, 3)).astype(np.float32)
    np.savez("mine.npz", inputs=inputs, targets=(inputs[:, 0] > 0).astype(int))
    return name


def test_discover_finds_the_symmetries_of_a_users_network(mine, capsys):
    words = ["discover", f"{mine}:Network", "--data", "mine.npz", "--out", "found"]
    found, status = answer(capsys, *words)
    assert status == 0
    kinds = {(row["family"], row["generators"], row["kind"]) for row in found["rows"]}
    assert ("rescale", 4, "exact") in kinds  # of ReLU, one a hidden unit
    assert json.loads(Path("found/discover.json").read_text()) == found


def test_train_checks_the_laws_and_its_status_says_whether_they_hold(mine, capsys):
    words = ["train", f"{mine}:Network", "--data", "mine.npz", "--steps", "60"]
    found, status = answer(capsys, *words, "--rule", f"{mine}:tx")
    assert status == 0 and found["holds"] and len(found["laws"]) >= 2
    assert "eta = 1/10" in found["rule"]
    with np.load("results/train.npz") as saved:
        assert saved["losses"].shape == (60,)
    # The control: a step so large that the continuous law misses the run.
    found, status = answer(capsys, *words, "--set", "learning_rate=5")
    assert status == 1 and not found["holds"]
    assert any(law["verdict"] != "holds" for law in found["laws"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rule", "adm"], "Nearest: `adam`"),
        (["--rule", "adam"], "Write `--set learning_rate=0.05`"),
        (["--set", "lerning_rate=1"], "Nearest: `learning_rate`"),
        (["--rule", "{}:number"], "is a `int`. Name an optax transformation"),
        (["--rule", "{}:txx"], "has no `txx`. Nearest: `tx`"),
        (["--rule", "{}:tx", "--set", "learning_rate=1"], "numbers of its own"),
        (["--rule", "optax.adam(1e-3)"], "no rule `optax.adam(1e-3)`"),
    ],
)
def test_what_train_cannot_take_is_said(words, message, mine, capsys):
    words = [word.format(mine) for word in words]
    assert main(["train", f"{mine}:Network", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path("results").glob("*"))


# ------------------------------------------------------------------ doctor


def test_the_doctor_finds_this_installation_well(capsys):
    found, status = answer(capsys, "doctor")
    assert status == 0 and found["healthy"] and "cpu" in found["devices"]
    assert set(found["failed"].values()) == {None}


def test_the_doctor_says_what_is_ill(monkeypatch, capsys):
    sick = {"a flow": lambda: "a spring is 1.0e+00 from its cosine"}
    monkeypatch.setattr(doctor, "_CANARIES", sick)
    assert main(["doctor"]) == 1
    assert "a flow: FAILS: a spring is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "broken", "canary"),
    [
        ("lagrangian.systems.mechanics.make_system", "double-pendulum", "a derivation"),
        ("lagrangian.symbolic.laws.noether.noether", None, "a law"),
        ("jax.enable_x64", None, "float64"),
        ("lagrangian.flows.lower.lower", None, "a flow"),
    ],
)
def test_a_canary_notices(place, broken, canary, monkeypatch):
    """Each in a library that computes wrong."""
    from contextlib import nullcontext
    from types import SimpleNamespace

    from lagrangian.systems.pendulums import n_pendulum

    times = np.linspace(0, 10, 5)
    path = type("Path", (dict,), {"t": times, "__missing__": lambda *_: np.sin(times)})
    wrong = {
        "a derivation": lambda *_: SimpleNamespace(
            lagrangian=type(n_pendulum(1).lagrangian)(n_pendulum(1).lagrangian.T)
        ),
        "a law": lambda *_: SimpleNamespace(is_conserved=True),
        "float64": lambda *_: nullcontext(),
        "a flow": lambda *_: SimpleNamespace(integrate=lambda *_: path()),
    }
    assert doctor._CANARIES[canary]() == ""
    monkeypatch.setattr(place, wrong[canary])
    assert doctor._CANARIES[canary]() != ""


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["simulat", "kepler"], "no command `simulat`. Nearest: `simulate`"),
        (["derive", "kepler", "--jsn"], "no option `--jsn`. Nearest: `--json`"),
        (["simulate", "kepler", "--solver", "tailor"], "Nearest: `taylor`"),
        (["simulate", "kepler", "--device", "gpuu"], "Nearest: `gpu`"),
        (["completion", "bsh"], "Nearest: `bash`"),
        (["derive", "kepler", "--json", "--latex"], "not allowed with"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def completed(capsys, *words):
    assert main(["completion", "words", *words]) == 0
    return capsys.readouterr().out.split()


def test_words_are_completed(capsys):
    assert completed(capsys, "si") == ["simulate"]
    assert completed(capsys, "derive", "ke") == ["kepler"]
    assert completed(capsys, "simulate", "kepler", "--so") == ["--solver"]
    assert completed(capsys, "simulate", "--solver", "t") == ["taylor", "tsit5"]
    assert completed(capsys, "verify", "equi") == ["equilibrium"]
    assert completed(capsys, "train", "--data", "gauss") == ["gaussian-mixture"]
    assert completed(capsys, "train", "--rule", "") == ["adam", "heavy-ball"] + [
        "lion",
        "rmsprop",
    ]
    assert completed(capsys, "derive", "kepler", "--out", "") == []  # files
    assert completed(capsys, "nothing", "x") == []
    assert completed(capsys, "list", "--js") == ["--json"]
