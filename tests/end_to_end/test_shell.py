"""The shell: for any text a sentence and an exit status, and nothing raw."""

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian import demo, files
from lagrangian.cli import derive, doctor, learn, simulate, verify
from lagrangian.cli import main as module
from lagrangian.cli.main import main
from lagrangian.cli.output import Output
from lagrangian.cli.shell import shell
from lagrangian.systems import derived
from lagrangian.theorems.catalogue import NAMES, theorem, title_and_source


@pytest.fixture
def nothing_computed(monkeypatch, tmp_path):
    """The commands up to where they would compute, in a folder of their own."""
    monkeypatch.chdir(tmp_path)

    def stopped(*_, **__):
        raise lg.IntegrationFailed("nothing is computed here")

    monkeypatch.setattr(simulate, "_integrate", stopped)
    monkeypatch.setattr(verify, "_verify_one", stopped)
    monkeypatch.setattr(derive, "_find", stopped)
    monkeypatch.setattr(derived, "derived", stopped)
    monkeypatch.setattr(learn, "load_subject", stopped)
    monkeypatch.setattr(doctor, "_doctor", stopped)
    monkeypatch.setattr(demo, "main", stopped)


WORDS = st.one_of(
    st.sampled_from(
        ["demo", "simulate", "list", "verify", "kepler", "n-pendulum", "toda-chain"]
        + ["derive", "symmetries", "discover", "train", "doctor", "completion", "words"]
        + ["--json", "--latex", "--rule", "adam", "--degree", "--batch-size", "bash"]
        + [
            *NAMES,
            "--all",
            "--list",
            "--help",
            "-h",
            "--version",
            "--",
            "-",
            "none.toml",
        ]
        + ["--out", "--save", "--data", "--model", "--seed", "--steps", "--set", "--t"]
        + ["--points", "--tol", "--atol", "--max-step", "--solver", "--device", "cpu"]
        + ["links=1e9", "masses=-1", "links=2.5", "g=nan", "g=1e400", "=", "a=1=2"]
        + ["999999999999", "-1", "nan", "1e-999", "/dev/null", "/proc/self/mem", "\\"]
        + ["digits", "a.npz", "os:system", "this:", ":", "a..b:c", "x.nc", "", "\udcff"]
    ),
    st.text(max_size=12),
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(WORDS, max_size=6))
@example(["simulate", "double-pendulum", "--points", "999999999999"])
@example(["verify", "equilibrium", "--seed", "-1"])
@example(["demo", "--seed", "99999999999999999999"])
@example(["simulate", "n-pendulum", "--set", "links=1e9"])
@example(["simulate", "toda-chain", "--set", "masses=0"])
@example(["verify", "discrete-noether", "--data", "/dev/zero"])
@example(["verify", "discrete-noether", "--data", "\0"])
@example(["simulate", "/dev/zero/.toml"])
@example(["train", "--rule", "os:system"])
@example(["train", "--rule", "adam", "--set", "learning_rate=-1"])
@example(["symmetries", "kepler", "--degree", "-1"])
@example(["completion", "words", "--", "--"])
def test_any_words_end_with_a_sentence_and_a_status(nothing_computed, words):
    try:
        status = main(words)
    except SystemExit as stop:  # argparse
        status = stop.code
    assert status in (0, 1, 2)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (lg.LagrangianError("wrong"), 2, "lagrangian: wrong\n"),
        (lg.IntegrationFailed("stopped"), 1, "lagrangian: stopped\n"),
        (lg.CannotSave("no room"), 1, "lagrangian: no room\n"),
        (OSError(errno.EIO, "I/O error", "a.png"), 1, "lagrangian: `a.png`: I/O"),
        (MemoryError(), 1, "not enough memory"),
        (RecursionError("deep"), 1, "nested too deeply"),
        (KeyError("x"), 1, "was not foreseen: KeyError: 'x'. Set LAGRANGIAN_TRACEBACK"),
        (ValueError("two\nlines"), 1, "ValueError: two lines."),
        (ModuleNotFoundError("m", name="sklearn"), 1, "needs sklearn. Install it"),
    ],
)
def test_every_error_has_a_sentence_and_a_status(
    error, status, said, monkeypatch, capsys
):
    def fails(options):
        raise error

    monkeypatch.setattr(verify, "_list", fails)
    assert main(["list"]) == status
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed
    monkeypatch.setenv("LAGRANGIAN_TRACEBACK", "1")
    main(["list"])
    assert "Traceback" in capsys.readouterr().err  # for those who look for the cause


def test_the_statuses_are_documented(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "1, a claim failed, or the run did" in capsys.readouterr().out


def test_warnings_and_logs_of_others_are_one_line_each(capsys):
    with shell():
        warnings.simplefilter("always")
        warnings.warn("two\n lines", DeprecationWarning, stacklevel=1)
        logging.getLogger("jax._src").warning("no %s\nhere", "TPU")
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "lagrangian: note: two lines",
        "lagrangian: note: no TPU here",
    ]


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lagrangian.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def test_an_environment_that_cannot_be_is_answered(tmp_path):
    words = ["simulate", "henon-heiles", "--t", "1", "--out", str(tmp_path)]
    done = run(*words, JAX_PLATFORMS="foo", MPLBACKEND="nonsense")
    assert done.returncode == 2
    assert "`JAX_PLATFORMS` is `foo`: unset it" in done.stderr
    done = run(*words, JAX_PLATFORMS="cpu", MPLBACKEND="nonsense")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "henon-heiles.png").exists()


def test_the_list_loads_neither_jax_nor_sympy():
    code = (
        "import sys; from lagrangian.cli.main import main; main(['list']); "
        "print([m for m in ('jax', 'flax', 'sympy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_list_says_what_the_theorems_say():
    for name in NAMES:
        found = theorem(name)
        assert title_and_source(name) == (found.title, found.source)


def test_without_matplotlib_no_result_is_lost(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    saved = tmp_path / "path.npz"
    words = ["simulate", "henon-heiles", "--t", "1", "--out", str(tmp_path)]
    assert main([*words, "--save", str(saved)]) == 0
    printed = capsys.readouterr().out
    assert f"Wrote {saved}." in printed
    assert "There is no figure, for which matplotlib is needed" in printed
    assert saved.exists() and not list(tmp_path.glob("*.png"))


def test_results_are_written_before_they_are_drawn(tmp_path, monkeypatch):
    """Of a report, too: whatever drawing ends in, the numbers are there."""

    class Found:
        theorem = theorem("equilibrium")
        holds = True

        def to_json(self):
            return "{}"

        def figure(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verify._write(Found(), tmp_path, Output(SimpleNamespace(json=False)))
    assert (tmp_path / "equilibrium.json").read_text() == "{}"


def test_a_full_disk_names_the_path_of_the_user(tmp_path, monkeypatch, capsys):
    real = files.opened
    tried = []

    def full(path, **options):
        tried.append(path)
        if len(tried) < 2:  # the place is tried first
            return real(path, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "opened", full)
    words = ["simulate", "henon-heiles", "--t", "1", "--out", str(tmp_path)]
    assert main(words) == 1
    picture = tmp_path / "henon-heiles.png"
    said = f"lagrangian: `{picture}` could not be written: No space left on device. "
    said += "Make room, or pass a place where you may write.\n"
    assert capsys.readouterr().err == said
    assert module._said(OSError(5, "x"))[1] == 1


LIST = f"{sys.executable} -m lagrangian.cli.main list"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (f"{LIST} > /dev/full", 1, "lagrangian: No space left on device.\n"),
        (f"{LIST} --help > /dev/full", 1, "lagrangian: No space left on device.\n"),
        (f"{LIST} >&-", 0, ""),
        (f"{LIST} 2>&- > /dev/null", 0, ""),
        (f"{LIST.replace(' list', ' simulate')} 2> /dev/full", 2, ""),
        (f"{LIST} | true", 0, ""),
        (f"{LIST} < /dev/null | head -n 1 > /dev/null", 0, ""),
    ],
)
def test_what_is_printed_has_nowhere_to_go(command, status, said):
    """Buffered as it is by default, so that Python finds out at its end."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (status, said)


def test_a_closed_stream_is_not_taken_by_a_file(tmp_path):
    """Or what XLA says of itself would be written into it."""
    code = (
        "import os, sys; from lagrangian.cli.shell import shell\n"
        "with shell(): print(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY) > 2)"
    )
    command = f'{sys.executable} -c "$0" {tmp_path / "a"} 2>&-'
    done = subprocess.run(["sh", "-c", command, code], capture_output=True, text=True)
    assert done.stdout == "True\n"
    without = code.replace("with shell():", "if True:")
    command = ["sh", "-c", f'{sys.executable} -c "$0" {tmp_path / "b"} 2>&-', without]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("variable", "value", "status", "said"),
    [
        ("JAX_ENABLE_X64", "maybe", 2, "JAX cannot be loaded.*'JAX_ENABLE_X64'.*Unset"),
        ("JAX_COMPILATION_CACHE_DIR", "/dev/null", 0, "note: .*/dev/null"),
        ("PYTHONWARNINGS", "error", 0, ""),
        ("COLUMNS", "-5", 0, ""),
    ],
)
def test_settings_of_other_libraries_that_cannot_be(
    variable, value, status, said, tmp_path
):
    words = ["simulate", "henon-heiles", "--t", "1", "--out", str(tmp_path)]
    done = run(*words, **{variable: value})
    assert done.returncode == status
    assert "Traceback" not in done.stderr and re.search(said, done.stderr)


SYSTEM = """
coordinates = ["x"]
T = "x.dot^2/2"
V = "{potential}"
[positions]
x = 0.1
[velocities]
x = 0.0
"""


def test_an_equation_that_would_fill_screens_is_not_printed(
    monkeypatch, tmp_path, capsys
):
    def stopped(*_):
        raise lg.IntegrationFailed("not integrated here", SimpleNamespace(t=[]))

    monkeypatch.setattr(simulate, "_path", stopped)
    monkeypatch.chdir(tmp_path)
    for factors, shown in [(3, "x.ddot"), (200, "operations) = 0")]:
        potential = "*".join(f"(x+{i})" for i in range(factors))
        (tmp_path / "a.toml").write_text(SYSTEM.format(potential=potential))
        assert main(["simulate", "a.toml"]) == 1
        printed = capsys.readouterr().out
        assert shown in printed and len(printed) < 1000


INTERRUPTED = """
import contextlib, ctypes, os, signal, subprocess, sys
from lagrangian.cli import main, simulate

# As at a terminal, also where the tests run behind one, as jobs that ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1] == "without":
    simulate.ended_at_once = contextlib.nullcontext

def compiling(*_):
    # As in XLA: until this returns Python runs nothing, no handler of signals either.
    kill = f"sleep 0.3; kill -INT {os.getpid()}"
    subprocess.Popen(["sh", "-c", kill], start_new_session=True)
    ctypes.CDLL(None).pause()  # until a signal has come, if the process lives on

simulate._path = compiling
raise SystemExit(main.main(["simulate", "henon-heiles", "--out", sys.argv[2]]))
"""


@pytest.mark.parametrize("handler", ["with", "without"])
def test_ctrl_c_ends_what_lets_python_hear_nothing(tmp_path, handler):
    """Without, it ends once the compiler has, which may be minutes later."""
    command = [sys.executable, "-c", INTERRUPTED, handler, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    heard = handler == "without"
    assert done.returncode == (130 if heard else -signal.SIGINT)
    assert ("interrupted" in done.stderr) == heard
