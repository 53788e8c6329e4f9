"""What is shipped: it is complete, and works where there is no checkout."""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lagrangian as lg

ROOT = Path(__file__).parent.parent

pytest.importorskip("hatchling", reason="comes with the extra `test`")


def run(*command, **keywords):
    done = subprocess.run(command, capture_output=True, text=True, **keywords)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sdist_in(folder, repository=""):
    """An sdist by somebody who publishes it there, or nowhere."""
    command = sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder
    place = {"LAGRANGIAN_REPOSITORY": repository}
    run(*command, cwd=ROOT, env={**os.environ, **place})
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return sdist_in(tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    return wheel_of(sdist, tmp_path_factory.mktemp("wheel"))


def wheel_of(sdist, folder):
    """Built from the sdist, which must hold all that this needs."""
    pip(
        "wheel",
        "--no-deps",
        # The build must not need a network.
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        sdist,
    )
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with nothing but the wheel in it."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def pip(*arguments):
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def package_files():
    """Modules, type information and data."""
    return {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "lagrangian").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_sdist_can_be_built_and_tested_from(sdist):
    with tarfile.open(sdist) as archive:
        top, *_ = archive.getnames()
        top = top.split("/")[0]
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}
    assert top == f"lagrangian-{lg.__version__}"
    assert package_files() <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert {"Makefile", "scripts/setup.sh", "constraints/py311.txt"} <= names
    assert {"tests/conftest.py", "tests/test_distribution.py"} <= names
    known = {path.name for path in ROOT.iterdir()} | {"PKG-INFO"}
    assert {name.split("/")[0] for name in names} <= known
    unwanted = re.compile(r"(^|/)(\.venv|results|dist|__pycache__|\.git|\.ci)(/|$)")
    assert not [name for name in names if unwanted.search(name)]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"lagrangian-{lg.__version__}.dist-info"
    assert {name for name in names if not name.startswith(about)} == package_files()
    assert {f"{about}/METADATA", f"{about}/entry_points.txt"} <= names
    assert f"{about}/licenses/LICENSE" in names


def addresses(wheel):
    """Those in its metadata, by name."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(archive.read(name))
    return dict(url.split(", ") for url in about.get_all("Project-URL"))


def test_a_checkout_knows_the_address_of_its_theory_alone(wheel):
    assert addresses(wheel) == {"Theory": "https://arxiv.org/abs/2105.02716"}


def test_what_is_published_has_the_addresses_of_its_place(tmp_path):
    """Said once, when the sdist is built."""
    here = "https://forge.example/people/lagrangian"
    (tmp_path / "sdist").mkdir()
    published = sdist_in(tmp_path / "sdist", f"{here}/")
    found = addresses(wheel_of(published, tmp_path / "wheel"))
    assert found["Theory"] == "https://arxiv.org/abs/2105.02716"
    assert found["Repository"] == here and found["Issues"] == f"{here}/issues"
    for page in "Documentation", "Changelog":
        place, _, file = found[page].partition("/blob/HEAD/")
        assert place == here and (ROOT / file).is_file()
    (tmp_path / "wrong").mkdir()
    with pytest.raises(AssertionError, match="from https:// on"):
        sdist_in(tmp_path / "wrong", "people/lagrangian")


@pytest.fixture
def outside(installed, tmp_path):
    """Runs Python in an empty folder, on the installed wheel.

    The packages that it depends on are those of the tests, without the files in which
    an editable installation names the checkout.
    """

    def python(*arguments):
        packages = [path for path in sys.path if path.endswith("site-packages")]
        paths = os.pathsep.join([str(installed), *packages])
        # -S: `site` would read these files; -P: the folder at work is not looked in.
        environment = {**os.environ, "PYTHONPATH": paths}
        return run(
            sys.executable, "-S", "-P", *arguments, cwd=tmp_path, env=environment
        )

    return python


def test_it_is_imported_from_where_it_was_installed(outside, installed):
    place = outside("-c", "import lagrangian; print(lagrangian.__file__)")
    assert Path(place.strip()).parent == installed / "lagrangian"


@pytest.mark.slow
def test_every_public_name_is_there(outside):
    outside("-c", "import lagrangian as lg; [getattr(lg, x) for x in lg.__all__]")


PAGES = [
    "start",
    *(f"tutorials/{x}" for x in ("derive", "simulate", "verify", "lectures")),
]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_by_copy_and_paste(outside, page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert outside("-c", "\n".join(blocks))


def test_its_command_runs(outside, installed):
    command = installed / "bin" / "lagrangian"
    assert outside(command, "--version").strip() == lg.__version__
    assert "double-pendulum" in outside(command, "simulate", "--list")


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(lg.__version__)}$", citation, re.MULTILINE)
