"""The entry point of the command line, and what its failures look like."""

from __future__ import annotations

import argparse
import os
import sys

from lagrangian.cli import simulate, verify
from lagrangian.cli.arguments import out_folder, positive_int
from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.version import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: done. 1: a claim did not hold, or a computation stopped.
    2: the command line was wrong. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print(
            "\nInterrupted: no report was written of what was not done.",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except TrainingStopped as error:
        print(f"lagrangian: {error}", file=sys.stderr)
        if options.run is _demo:
            kept = options.out / "first_light.npz"
            print(f"Its records until then are in {kept}.", file=sys.stderr)
        return 1
    except LagrangianError as error:
        print(f"lagrangian: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place = f"`{error.filename}`: " if error.filename else ""
        print(f"lagrangian: {place}{error.strerror or error}.", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ("sklearn", "matplotlib", "PIL"):
            raise
        print(
            f"lagrangian: this command needs {error.name}. "
            "Install it with `pip install 'lagrangian[demo]'`.",
            file=sys.stderr,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lagrangian",
        description="Derive, simulate and certify Lagrangian systems and the laws of "
        "learning.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="the laws of a network trained on digits")
    demo.set_defaults(run=_demo)
    demo.add_argument("--steps", type=positive_int, default=2000)
    demo.add_argument("--seed", type=int, default=0)

    out_folder(demo)
    simulate.add(commands)
    verify.add(commands)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from lagrangian import demo

    return 0 if demo.main(options.out, options.steps, options.seed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
