"""Completion in bash, zsh and fish: the scripts run by the shells themselves."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lagrangian.cli.completion import SCRIPTS
from lagrangian.cli.main import main

#: Lines, and what Tab makes of their last word; of the last, a folder.
LINES = {
    "derive dou": ["double-pendulum"],
    "si": ["simulate"],
    "derive kepler --js": ["--json"],
    "simulate --solver t": ["taylor", "tsit5"],
    "derive kepler --out fold": ["folder/"],
}
#: What a line may have in it, beside any text.
WORDS = [
    *("derive", "simulate", "train", "completion", "words", "--json", "--solver"),
    *("--", "-", "", "$(touch x)", "`touch x`", ";", "\udcff", "\0"),
]
#: Several shells start Python for a word, beside other tests (s).
PATIENCE = 60


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"there is no {shell}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the command on the path, a folder, and nothing of the user's."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "lagrangian"
    run = f'exec {sys.executable} -m lagrangian.cli.main "$@"'
    command.write_text(f"#!/bin/sh\n{run}\n")
    command.chmod(0o755)
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_printed_that_the_shell_can_read(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "lagrangian completion words" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@needs("bash")
@pytest.mark.parametrize("line", [line for line in LINES if "--out" not in line])
def test_bash_completes(place, line):
    """With the words that Tab would hand over."""
    words = ["lagrangian", *line.split()]
    script = SCRIPTS["bash"] + (
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _lagrangian\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash"], input=script, text=True, capture_output=True)
    assert done.stdout.split() == LINES[line], done.stderr


@needs("fish")
@pytest.mark.parametrize("line", LINES)
def test_fish_completes(place, line):
    script = SCRIPTS["fish"] + f"complete -C 'lagrangian {line}'\n"
    done = subprocess.run(["fish"], input=script, text=True, capture_output=True)
    assert done.stdout.split() == LINES[line], done.stderr


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    "text", ["$(touch hacked)", "`touch hacked`", "a;touch hacked"]
)
def test_what_is_typed_is_not_run(place, shell, text):
    """By the script that is asked for its completion."""
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    quoted = f"'{text}'"
    lines = {
        "bash": f"COMP_WORDS=(lagrangian derive {quoted}); COMP_CWORD=2; _lagrangian\n",
        "zsh": f"words=(lagrangian derive {quoted}); CURRENT=3; _lagrangian\n",
        "fish": "function commandline; echo lagrangian; echo derive; "
        f"echo {quoted}; end\n__lagrangian\n",
    }
    # Outside of completion zsh has none of its commands.
    before = "compdef() { :; }; compadd() { :; }; _files() { :; }\n"
    script = (before if shell == "zsh" else "") + SCRIPTS[shell] + lines[shell]
    done = subprocess.run([shell], input=script, text=True, capture_output=True)
    assert "command not found" not in done.stderr
    assert not (place / "hacked").exists()


@needs("fish")
def test_fish_offers_no_files_for_a_command(place):
    script = SCRIPTS["fish"] + "complete -C 'lagrangian '\n"
    done = subprocess.run(["fish"], input=script, text=True, capture_output=True)
    assert "derive" in done.stdout.split() and "folder/" not in done.stdout.split()


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.text(max_size=8) | st.sampled_from(WORDS), max_size=5))
@example(["--"])
def test_any_words_are_completed_or_left(capsys, words):
    """What is offered begins with what stands there, whatever that is."""
    assert main(["completion", "words", *words]) == 0
    begun = words[-1] if words else ""
    offered = capsys.readouterr().out.splitlines()
    assert all(word.startswith(begun) for word in offered)
    assert len(offered) == len(set(offered))


class Terminal:
    """An interactive zsh, whose keys are pressed and whose screen is read."""

    def __init__(self):
        self._keys, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["zsh", "-f", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm", "PS1": "> "},
        )
        os.close(theirs)
        os.set_blocking(self._keys, False)

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._keys)

    def press(self, keys):
        os.write(self._keys, keys.encode())

    def screen(self, *expected):
        """What appears, until all of it is there."""
        shown, end = "", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                shown += os.read(self._keys, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)
            plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
            if all(word in plain for word in expected):
                return plain
        raise AssertionError(f"no {expected} on the screen: {shown!r}")


@needs("zsh")
def test_zsh_completes(place):
    (place / "script.zsh").write_text(SCRIPTS["zsh"])
    terminal = Terminal()
    try:
        terminal.press("autoload -Uz compinit; compinit -D -u\n")
        terminal.press("source script.zsh; print -r re''ady\n")
        terminal.screen("ready")
        for line, expected in LINES.items():
            *before, begun = line.split()
            # Control-U takes away what stands there.
            terminal.press(f"\x15lagrangian {line}\t")
            if len(expected) == 1:
                terminal.screen(" ".join(["lagrangian", *before, expected[0]]))
            else:
                terminal.press("\t")
                terminal.screen(*expected)
    finally:
        terminal.close()
