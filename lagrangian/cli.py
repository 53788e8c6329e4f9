"""The command line: `lagrangian demo` and `lagrangian simulate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lagrangian.errors import LagrangianError, TrainingStopped, nearest
from lagrangian.version import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: done. 1: the main job's claims did not all hold, or a computation stopped.
    2: the command line was wrong. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("\nInterrupted: no report was written.", file=sys.stderr)
        return 130
    except TrainingStopped as error:
        print(
            f"lagrangian: {error}\nIts records until then are in "
            f"{options.out / 'first_light.npz'}.",
            file=sys.stderr,
        )
        return 1
    except LagrangianError as error:
        print(f"lagrangian: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ("sklearn", "matplotlib"):
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
    demo.add_argument("--steps", type=_positive_int, default=2000)
    demo.add_argument("--seed", type=int, default=0)

    simulate = commands.add_parser("simulate", help="integrate a mechanical system")
    simulate.set_defaults(run=_simulate)
    simulate.add_argument("system", help="its name, such as double-pendulum")
    simulate.add_argument("--t", type=_positive, default=10.0, help="end time in s")
    simulate.add_argument("--tol", type=_positive, default=1e-12, help="per step")
    simulate.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a parameter (g=1.62), a position (a=0.5) or a velocity (a.dot=1)",
    )
    for command in (demo, simulate):
        command.add_argument(
            "--out", type=Path, default=Path("results"), help="folder to write to"
        )
    return parser


def _demo(options: argparse.Namespace) -> int:
    from lagrangian import demo

    return 0 if demo.main(options.out, options.steps, options.seed) else 1


def _simulate(options: argparse.Namespace) -> int:
    from lagrangian.systems.mechanics import SYSTEMS

    if options.system not in SYSTEMS:
        print(
            f"lagrangian: no system `{options.system}`. "
            f"{nearest(options.system, SYSTEMS)}",
            file=sys.stderr,
        )
        return 2

    from lagrangian.files import write_atomically
    from lagrangian.flows.lower import lower

    system = SYSTEMS[options.system]()
    _assign(system, options.set)
    print(f"{system.name}: {system.description}")
    for equation in system.lagrangian.equations:
        print(f"  {equation.lhs} = 0")
    flow = lower(system.lagrangian, system.parameters)
    path = flow.integrate(
        system.positions, system.velocities, (0.0, options.t), tol=options.tol
    )
    for coordinate in system.lagrangian.coordinates:
        print(f"  {coordinate}({options.t:g}) = {path[coordinate][-1]:.10f}")
    print(f"{path.steps} steps; relative energy drift {path.energy_drift:.2e}")
    figure = path.plot()
    written = write_atomically(
        options.out / f"{system.name}.png",
        lambda file: figure.savefig(file, format="png", dpi=110),
    )
    print(f"Wrote {written}.")
    return 0


def _assign(system: Any, assignments: list[tuple[str, float]]) -> None:
    """Put numbers from the command line in place of the system's own."""
    places: dict[str, tuple[dict[Any, float], Any]] = {}
    for values, dots in (
        (system.parameters, ""),
        (system.positions, ""),
        (system.velocities, ".dot"),
    ):
        places |= {f"{symbol.name}{dots}": (values, symbol) for symbol in values}
    for name, number in assignments:
        if name not in places:
            raise LagrangianError(
                f"`{system.name}` has nothing called `{name}` to set. "
                f"{nearest(name, places)}"
            )
        values, symbol = places[name]
        values[symbol] = number


def _assignment(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no NAME=NUMBER, such as g=9.81"
        ) from None


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is no positive number")
    return number


def _positive_int(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"`{text}` is no positive whole number")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
