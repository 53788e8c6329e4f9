"""What is saved: films that move, notebooks that run, arrays that are the motion."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.flows.solvers.names import SOLVERS
from lagrangian.studio import exports
from lagrangian.studio.motion import cloud, motion, section
from lagrangian.studio.pictures import picture, rods
from lagrangian.studio.typed import Mistyped, Typed
from lagrangian.systems.mechanics import make_system
from lagrangian.systems.spec_text import spec

OSCILLATOR = Typed("m*x.dot^2/2", "k*x^2/2", points="x, 0", name="spring")


@pytest.fixture(scope="module")
def found():
    return next(motion(OSCILLATOR, 3.0, 1e-12, None, 61))


def cells(text):
    content = json.loads(text)
    assert content["nbformat"] == 4
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def execute(text):
    names = {}
    for source in cells(text):
        exec(compile(source, "cell", "exec"), names)
    return names


def test_arrays_are_the_motion(found):
    with np.load(exports.arrays(found)) as kept:
        np.testing.assert_allclose(kept["x"], np.cos(kept["t"]), atol=1e-11)
        np.testing.assert_array_equal(kept["energy"], found.energy.measured)


def test_a_film_moves(found):
    image = pytest.importorskip("PIL.Image").open(exports.film(found, [(-1, 0)]))
    assert image.format == "GIF" and image.size == (exports.SIZE, exports.SIZE)
    assert image.n_frames > 10
    first = np.asarray(image.convert("RGB")).copy()
    image.seek(image.n_frames // 2)
    assert (np.asarray(image.convert("RGB")) != first).any()


def test_figures_are_drawn(found):
    image = pytest.importorskip("PIL.Image").open(exports.picture(found))
    assert image.format == "PNG"
    assert np.ptp(np.asarray(image.convert("L"))) > 100


def test_a_film_by_ffmpeg(found, monkeypatch, tmp_path):
    """By a program in its place: it gets the pictures, and its error is told."""
    program = tmp_path / "ffmpeg"
    monkeypatch.setattr(exports.shutil, "which", lambda name: None)
    assert not exports.has_ffmpeg()
    with pytest.raises(lg.LagrangianError, match="ffmpeg, which is not installed"):
        exports.mp4(found, [])
    for said in ("open(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())",
                 "sys.exit('no such codec')"):  # fmt: skip
        program.write_text(f"#!{sys.executable}\nimport sys\n{said}\n")
        program.chmod(0o755)
        monkeypatch.setattr(exports.shutil, "which", lambda name: str(program))
        if "exit" in said:
            with pytest.raises(lg.LagrangianError, match="film: no such codec"):
                exports.mp4(found, [])
        else:
            size = len(exports.mp4(found, []).getvalue())
            assert size and size % (3 * exports.SIZE**2) == 0


@pytest.mark.skipif(not exports.has_ffmpeg(), reason="there is no ffmpeg")
def test_a_real_film_by_ffmpeg(found):
    assert exports.mp4(found, []).getvalue()[4:8] == b"ftyp"


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_notebook_reproduces_the_motion(solver, found):
    text = exports.notebook(OSCILLATOR, 3.0, 1e-12, solver, 61)
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(text, 4))
    path = execute(text)["path"]
    assert path.q.shape == found.q.shape
    np.testing.assert_allclose(path.q, found.q, atol=1e-9)


def test_a_notebook_has_what_was_typed():
    typed = replace(
        Typed("(x.dot^2 + y.dot^2)/2", "g*y", dissipation="c*x.dot^2/2"),
        constraints="x^2 + y^2 - 1", symmetries="x: -y, y: x",
        values=(("x", 1.0), ("y", 0.0)),
    )  # fmt: skip
    names = execute(exports.notebook(typed, 1.0, 1e-9, "taylor", 21))
    expected = next(motion(typed, 1.0, 1e-9, "taylor", 21))
    np.testing.assert_allclose(names["path"].q, expected.q, atol=1e-12)
    charge = names["path"].charge(names["law"])
    np.testing.assert_allclose(charge, expected.charges[0].measured)
    text = exports.notebook(OSCILLATOR, 7.0, 1e-9, "taylor", 21, "x")
    assert len(execute(text)["crossings"].t) == 1


# ------------------------------------------------------------------ laws along a path


def test_a_kept_charge_is_kept_and_another_moves_as_its_law_says():
    typed = Typed(
        "(x.dot^2 + y.dot^2)/2", "(x^2 + y^2)/2 + x/5", dissipation="x.dot^2/10",
        symmetries="x: -y, y: x\ny: 1", values=(("y.dot", 1.0),),
    )  # fmt: skip
    found = next(motion(typed, 8.0, 1e-12, None, 601))
    assert not found.energy.is_conserved and found.energy.error < 1e-8
    turn, shift = found.charges[:2]
    for charge in (turn, shift):
        assert not charge.is_conserved and charge.error < 1e-8
        assert np.ptp(charge.measured) > 0.1
    # The control: without its rate, a law misses.
    still = replace(turn, predicted=np.full_like(turn.measured, turn.measured[0]))
    assert still.error > 0.1
    kept = next(motion(replace(typed, V="(x^2+y^2)^2", dissipation=""), 8.0, 1e-12,
                       None, 601)).charges[0]  # fmt: skip
    assert kept.is_conserved and kept.error < 1e-10


def test_symmetries_that_are_found_are_followed():
    kepler = Typed.of(spec(make_system("kepler")))
    names = [c.name for c in next(motion(kepler, 1.0, 1e-9, None, 21)).charges]
    assert names == ["rotation"]


# ------------------------------------------------------------------ sections and clouds


def test_a_section_is_where_the_surface_is_crossed():
    found = next(section(OSCILLATOR, "x", 5.0, 1e-12, 6))
    assert len(found.t) == 6
    # Upwards, so at 3/4 of each period.
    turns = np.pi * (1.5 + 2 * np.arange(6))
    np.testing.assert_allclose(found.t, turns, rtol=1e-10)
    np.testing.assert_allclose(found.v[:, 0], 1.0, rtol=1e-9)
    assert len(next(section(OSCILLATOR, "x - 2", 1.0, 1e-9, 6)).t) == 0


@pytest.mark.parametrize("surface", ["", "x +", "q", "__import__('os')"])
def test_a_surface_that_is_none_is_refused(surface):
    with pytest.raises(Mistyped) as raised:
        next(section(OSCILLATOR, surface, 1.0, 1e-9, 3))
    assert raised.value.field == "surface"


def test_a_cloud_turns_as_each_of_its_members():
    found = next(cloud(OSCILLATOR, np.pi, 1e-12, 20, 0.1, 11))
    assert found.q.shape == (20, 11, 1) and found.places.shape == (20, 11, 2)
    assert found.failed == 0 and np.ptp(found.q[:, 0]) > 0.1
    np.testing.assert_allclose(found.q[:, -1], -found.q[:, 0], atol=1e-9)
    np.testing.assert_allclose(found.places[..., 0], found.q[..., 0])
    again = next(cloud(OSCILLATOR, np.pi, 1e-12, 20, 0.1, 11))
    np.testing.assert_array_equal(found.q, again.q)


def test_a_cloud_leaves_no_constraint():
    held = replace(OSCILLATOR, T="(x.dot^2+y.dot^2)/2", constraints="x^2 + y^2 - 1")
    with pytest.raises(lg.LagrangianError, match="would leave the constraints"):
        next(cloud(replace(held, points=""), 1.0, 1e-9, 5, 0.1, 3))


def test_a_cloud_without_a_picture_has_its_states():
    found = next(cloud(replace(OSCILLATOR, points=""), 1.0, 1e-9, 3, 0.1, 3))
    assert found.places.shape == (3, 3, 0) and np.isfinite(found.v).all()


def test_a_chain_is_filmed_with_its_rods():
    content = spec(make_system("double-pendulum"))
    points, kind = picture(content)
    typed = replace(Typed.of(content), points=points)
    found = next(motion(typed, 1.0, 1e-6, None, 31))
    assert isinstance(exports.film(found, rods(kind, 2)), io.BytesIO)
