"""What the set-up script says when a machine is not fit, and that it repairs .venv."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3")

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="scripts/setup.sh needs a POSIX shell"
)


class Checkout:
    """A copy of what the script reads, and a PATH whose Pythons the test chooses."""

    def __init__(self, folder: Path):
        self.root = folder / "check out"  # a space, as in many home folders
        self.venv = self.root / ".venv"
        self.commands = folder / "bin"
        self.commands.mkdir(parents=True)
        for name in ("scripts", "constraints"):
            shutil.copytree(ROOT / name, self.root / name)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        for name in PYTHON_NAMES:
            self.command(name, "exit 127")

    def command(self, name, body):
        """Put a shell script of this name first on the PATH."""
        file = self.commands / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
        return file

    def real_python(self):
        self.command("python3", f'exec "{sys.executable}" "$@"')

    def fake_pip(self, body):
        """A .venv whose pip is the Python code `body`; it counts its calls."""
        venv.create(self.venv, with_pip=False, symlinks=True)
        (site,) = self.venv.glob("lib/python*/site-packages")
        (site / "pip").mkdir()
        (site / "pip" / "__init__.py").touch()
        (site / "pip" / "__main__.py").write_text(
            "import sys\n"
            f"with open({str(self.root / 'calls')!r}, 'a') as calls:\n"
            "    print(*sys.argv[1:], file=calls)\n" + body
        )

    @property
    def pip_calls(self):
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def setup(self, *extras, **environment):
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHON"}
        return subprocess.run(
            ["sh", "scripts/setup.sh", *(extras or ["test"])],
            cwd=self.root,
            env=inherited | {"PATH": path} | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def the_one_line(done):
    """The message of a set-up that failed as it should."""
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("setup: ")
    return line


def test_a_python_that_is_too_old_is_named(checkout):
    checkout.command("python3", "echo 3.10")
    old = checkout.command("old", "echo 2.7")
    line = the_one_line(checkout.setup(PYTHON=str(old)))
    assert "Python 3.11 or newer is needed" in line
    assert f"{old} is 2.7, python3 is 3.10" in line
    assert not checkout.venv.exists()


def test_no_python_at_all(checkout):
    assert "(found: none)" in the_one_line(checkout.setup())


def test_a_python_without_venv_says_what_to_install(checkout):
    checkout.command(
        "python3.12", 'case "$2" in *version*) echo 3.12;; *) exit 1;; esac'
    )
    assert "apt install python3.12-venv" in the_one_line(checkout.setup())


def test_too_little_disk_space_is_noticed_in_advance(checkout):
    checkout.real_python()
    line = the_one_line(checkout.setup(SETUP_NEEDS_MB="999999999"))
    assert "MB are free" in line and "Make room" in line
    assert not checkout.venv.exists()


@pytest.mark.parametrize(
    ("said_by_pip", "expected"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] "
            "No space left on device",
            "the disk is full. Make room",
        ),
        (
            "WARNING: Retrying after connection broken by NewConnectionError",
            "the package registry cannot be reached",
        ),
        (
            "ERROR: Cannot install lagrangian because of conflicting dependencies",
            "failed (ERROR: Cannot install lagrangian because of conflicting",
        ),
    ],
    ids=["disk full", "no network", "anything else"],
)
def test_a_failure_of_pip_becomes_one_line(checkout, said_by_pip, expected):
    checkout.fake_pip(f"print('noise')\nsys.exit({said_by_pip!r})\n")
    line = the_one_line(checkout.setup())
    assert expected in line
    assert line.endswith("Full log: .venv/setup.log")
    assert said_by_pip in (checkout.venv / "setup.log").read_text()


def test_nothing_is_installed_twice_until_something_changes(checkout):
    checkout.fake_pip("print('a warning')\n")
    first = checkout.setup("test")
    assert (first.returncode, first.stderr) == (0, "")
    assert "Installing lagrangian[test] into .venv" in first.stdout
    again = checkout.setup("test")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(checkout.pip_calls) == 1

    checkout.setup("demo", "test")
    assert checkout.pip_calls[1].endswith("--editable .[demo]")

    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.setup("test")
    assert checkout.pip_calls[2].endswith("--editable .[test]")


def test_the_constraints_are_those_of_the_python_in_use(checkout):
    checkout.fake_pip("")
    name = f"constraints/py{sys.version_info.major}{sys.version_info.minor}.txt"
    (checkout.root / name).write_text("numpy==2.4.0\n")
    checkout.setup()
    assert f"--constraint {name} " in checkout.pip_calls[0]

    (checkout.root / name).unlink()
    assert "No tested versions are recorded for Python" in checkout.setup().stdout
    assert "--constraint /dev/null " in checkout.pip_calls[1]


def test_two_set_ups_do_not_work_in_one_folder(checkout):
    checkout.fake_pip("")
    marker = checkout.venv / ".unfinished"
    with subprocess.Popen(
        ["sh", "-c", "read wait; : setup.sh"], stdin=subprocess.PIPE
    ) as other:
        marker.write_text(f"{other.pid}\n")
        line = the_one_line(checkout.setup())
        other.communicate(b"")
    assert f"another set-up (process {other.pid}) is at work" in line
    assert not checkout.pip_calls


def test_an_unknown_extra_is_refused(checkout):
    assert "no extra called tests" in the_one_line(checkout.setup("tests"))


@pytest.mark.slow
@pytest.mark.parametrize("left_over", ["nothing but folders", "an interrupted pip"])
def test_a_half_made_environment_is_repaired(checkout, left_over):
    """Down to a real pip, which then finds no package to install: it has no index."""
    checkout.real_python()
    if left_over == "an interrupted pip":
        checkout.fake_pip("")
        (checkout.venv / ".unfinished").write_text("")
    else:
        (checkout.venv / "bin").mkdir(parents=True)
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = checkout.setup(**offline)
    assert "Making .venv anew" in done.stdout
    assert "the package registry cannot be reached" in the_one_line(done)
    python = checkout.venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)

    # The environment was sound: only the installation is tried again.
    assert "Making" not in checkout.setup(**offline).stdout


def test_make_lists_its_targets():
    """The first thing that one types in an unknown folder is `make`."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in ("demo", "test", "slow", "check", "notebooks", "bench"):
        assert f"make {target} " in done.stdout
