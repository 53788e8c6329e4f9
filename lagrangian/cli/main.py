"""The entry point of the command line, and what its failures look like."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from lagrangian.cli import completion, derive, doctor, learn, simulate, studio, verify
from lagrangian.cli.arguments import positive_int, seed
from lagrangian.cli.output import Output
from lagrangian.cli.parser import Parser, add_output
from lagrangian.cli.shell import (
    TRACEBACK,
    abandon_output,
    check_backend,
    flush,
    say,
    shell,
    unforeseen,
)
from lagrangian.errors import (
    CannotSave,
    IntegrationFailed,
    LagrangianError,
    TrainingStopped,
    nearest,
)
from lagrangian.files import check_writable
from lagrangian.version import __version__

_STATUS = """\
exit status: 0, done, and every claim holds; 1, a claim failed, or the run did: a
computation stopped, a file could not be written, a library is missing; 2, the input
cannot be used: the command line, a file, or the environment; 130, interrupted"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: done. 1: a claim did not hold, or the run failed: a computation stopped, or a
    file could not be written. 2: the input cannot be used: the command line, a file, or
    the environment. 130: interrupted.
    """
    with shell():
        try:
            try:
                options = _parse(arguments)
                return options.run(options)
            finally:
                flush()
        except KeyboardInterrupt:
            say("interrupted: no report was written of what was not done.")
            return 130
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            return 1
        except Exception as error:
            if os.environ.get(TRACEBACK):
                traceback.print_exc()
            message, status = _said(error)
            say(message)
            return status
        finally:
            abandon_output()


def _said(error: Exception) -> tuple[str, int]:
    """What an error is called, and the exit status that it leads to."""
    if isinstance(error, LagrangianError):
        failed = isinstance(error, CannotSave | IntegrationFailed | TrainingStopped)
        return str(error), 1 if failed else 2
    if isinstance(error, OSError):
        place = f"`{error.filename}`: " if error.filename else ""
        return f"{place}{error.strerror or error}.", 1
    if isinstance(error, ModuleNotFoundError) and error.name in _OPTIONAL:
        return (
            f"this command needs {error.name}. Install it with "
            f"`pip install 'lagrangian[{_OPTIONAL[error.name]}]'`.",
            1,
        )
    return unforeseen(error), 1


#: Packages that some commands need, by the extra that brings them.
_OPTIONAL = {
    "sklearn": "demo",
    "matplotlib": "demo",
    "PIL": "demo",
    "panel": "studio",
    "bokeh": "studio",
    "param": "studio",
}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="lagrangian",
        description="Derive, simulate and certify Lagrangian systems and the laws of "
        "learning.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the laws of a network trained on digits")
    demo.set_defaults(run=_demo)
    demo.add_argument("--steps", type=positive_int, default=2000)
    demo.add_argument("--seed", type=seed, default=0)
    add_output(demo, out=Path("results"), what="report, records, figure (%(default)s)")
    for command in (derive, simulate, verify, learn, studio, doctor):
        command.add(commands)
    completion.add(commands, parser)

    words = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in words if not word.startswith("-")), None)
    if command is not None and command not in commands.choices:
        parser.error(f"no command `{command}`. {nearest(command, commands.choices)}")
    options = parser.parse_args(words)
    if words[:2] == ["completion", "words"]:
        options.words = words[2:]  # argparse takes a `--` away
    return options


def _demo(options: argparse.Namespace) -> int:
    check_writable(options.out / "first_light.json", "--out")
    check_backend()
    from lagrangian import demo

    output = Output(options)
    try:
        holds = demo.main(options.out, options.steps, options.seed, output.line)
        output.give(json.loads((options.out / "first_light.json").read_text()))
        return 0 if holds else 1
    except TrainingStopped as error:
        say(str(error))
        say(f"its records until then are in {options.out / 'first_light.npz'}.")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
