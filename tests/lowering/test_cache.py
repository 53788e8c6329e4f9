"""What is compiled once is found by the next process, and nothing else is."""

import os
import subprocess
import sys

import pytest

import lagrangian as lg
from lagrangian.lowering.cache import cache

SCRIPT = """
import sys
import lagrangian as lg
from lagrangian.lowering.cache import cache

if sys.argv[1]:
    cache(sys.argv[1])
import diffrax
import jax
import sympy as sp

missed = []
jax.monitoring.register_event_listener(
    lambda event, **_: missed.append(1) if event.endswith("/cache_misses") else None
)
x = lg.coordinates("x")
k = sp.Symbol("k")
system = lg.Lagrangian(x.dot**2 / 2, k * x ** int(sys.argv[2]))
flow = lg.lower(system, {k: float(sys.argv[3])})
solver = getattr(diffrax, sys.argv[4])() if sys.argv[4] else None
path = flow.integrate({x: 1.0}, {x: 0.0}, t=(0, 1), solver=solver)
print(path.q[-1, 0].hex(), len(missed))
"""


def final_position(folder, power, stiffness=0.7, solver="Dopri8"):
    """In a fresh process: a number to the last bit, and how much was compiled."""
    arguments = [str(folder), str(power), str(stiffness), solver]
    # JAX, where it is loaded, sets one of these for its child processes, too.
    ours = ("EQX_ON_ERROR", "TF_CPP_MIN_LOG_LEVEL")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stderr == ""
    position, missed = done.stdout.split()
    return position, int(missed)


def compiled_solves(folder):
    return sorted((folder / "compiled").glob("jit__solve-*-cache"))


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    first, missed = final_position(tmp_path, 2)
    assert missed > 0 and len(compiled_solves(tmp_path)) == 1
    assert final_position(tmp_path, 2) == (first, 0)


@pytest.mark.slow
def test_so_does_the_solver_of_this_library(tmp_path):
    first, missed = final_position(tmp_path, 2, solver="")
    assert missed > 0
    assert final_position(tmp_path, 2, solver="") == (first, 0)


@pytest.mark.slow
def test_another_system_is_compiled_and_other_parameters_are_not(tmp_path):
    final_position(tmp_path, 2)
    for power, stiffness, solves in ((4, 0.7, 2), (2, 0.8, 2)):
        position, missed = final_position(tmp_path, power, stiffness)
        assert (missed > 0) == (power == 4)
        assert len(compiled_solves(tmp_path)) == solves
        assert position == final_position("", power, stiffness)[0]


@pytest.mark.slow
def test_files_that_were_changed_or_swapped_are_compiled_anew(tmp_path):
    expected = [final_position(tmp_path, power)[0] for power in (2, 4)]
    one, two = compiled_solves(tmp_path)
    contents = one.read_bytes(), two.read_bytes()

    one.write_bytes(contents[1]), two.write_bytes(contents[0])
    assert [final_position(tmp_path, power) for power in (2, 4)] == [
        (position, 1) for position in expected
    ]
    # JAX names what it compiles alike each time, so the same two stand there again.
    assert compiled_solves(tmp_path) == [one, two]

    one.write_bytes(contents[0][: len(contents[0]) // 2]), two.write_bytes(b"")
    assert [final_position(tmp_path, power) for power in (2, 4)] == [
        (position, 1) for position in expected
    ]


def test_a_call_that_comes_too_late_says_so(tmp_path, monkeypatch):
    import equinox  # noqa: F401

    monkeypatch.delenv("EQX_ON_ERROR", raising=False)
    with pytest.raises(lg.LagrangianError, match="came too late.*right after `import"):
        cache(tmp_path)
    assert not (tmp_path / "compiled").exists()


@pytest.fixture
def in_time(monkeypatch):
    """As if Equinox was not loaded yet; nothing else of the process is changed."""
    from lagrangian.lowering import cache as module

    monkeypatch.setenv("EQX_ON_ERROR", "nan")
    monkeypatch.setattr(module, "_equinox_raises", lambda: False)
    return module


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are of another kind")
@pytest.mark.parametrize(
    ("folder", "compiled", "wrong"),
    [(0o755, 0o775, "compiled is open"), (0o755, 0o757, "compiled is open")]
    + [(0o777, 0o700, "is open for others to write")],
)
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path, in_time, folder, compiled, wrong
):
    entries = tmp_path / "cache" / "compiled"
    entries.mkdir(parents=True)
    entries.chmod(compiled)
    entries.parent.chmod(folder)
    with pytest.raises(lg.LagrangianError, match=f"{wrong}.*chmod go-w"):
        cache(entries.parent)


PLANTED = """
import sys
from pathlib import Path
from lagrangian.lowering import cache as module

if sys.argv[2] == "without":
    module._check_private = lambda entries: None
entries = Path(sys.argv[1])
# As anybody may who can write there: a file, and the digest that goes with it.
planted = entries / "jit_f-0-cache"
planted.write_bytes(b"machine code of somebody else's")
module._signed(planted).write_text(module._signature(planted))
module.cache(entries.parent)
import jax
print(jax.config.jax_compilation_cache_dir == str(entries) and planted.exists())
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are of another kind")
@pytest.mark.parametrize("check", ["with", "without"])
def test_without_the_permissions_code_that_others_wrote_is_run(tmp_path, check):
    """The control: its digest is right, and so it is kept."""
    entries = tmp_path / "cache" / "compiled"
    entries.mkdir(parents=True)
    entries.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, str(entries), check],
        capture_output=True,
        text=True,
        env=os.environ | {"EQX_ON_ERROR": "nan"},
    )
    if check == "without":
        assert done.stdout == "True\n", done.stderr
    else:
        assert not done.stdout and "is open for others to write" in done.stderr


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are of another kind")
def test_a_folder_of_another_user_is_refused_and_one_of_ones_own_is_private(
    tmp_path, in_time, monkeypatch
):
    entries = tmp_path / "compiled"
    entries.mkdir(mode=0o700)
    in_time._check_private(entries)
    monkeypatch.setattr(os, "getuid", lambda: entries.stat().st_uid + 1)
    with pytest.raises(lg.LagrangianError, match="belongs to another user"):
        in_time._check_private(entries)


def test_the_page_says_what_signatures_cannot_do():
    assert "do not find" in cache.__doc__ and "forged" in cache.__doc__
