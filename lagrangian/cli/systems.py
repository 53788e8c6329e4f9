"""The argument that names a mechanical system, and the list of those with a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lagrangian.cli.arguments import assignment
from lagrangian.cli.output import Output
from lagrangian.cli.parser import Parser
from lagrangian.errors import LagrangianError, nearest
from lagrangian.systems.names import FILES

if TYPE_CHECKING:
    from lagrangian.systems.system import System


def add_system(command: Parser) -> None:
    """Add the argument, `--list` and `--set`."""
    command.add_argument(
        "system",
        nargs="?",
        help="its name, such as double-pendulum, or a TOML file that describes it",
        completes=FILES,
    )
    command.add_argument(
        "--list", action="store_true", help="list the systems and their parameters"
    )
    command.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a parameter (g=1.62), a position (a=0.5) or a velocity (a.dot=1)",
    )


def load_system(command: str, name: str | None, values: dict[str, float]) -> System:
    """The system by its name or file.

    Raises:
        LagrangianError: there is none.
    """
    if name is None:
        raise LagrangianError(
            f"`{command}` needs a system: write its name (`--list` lists them), or "
            "that of a TOML file."
        )
    if name in FILES:
        from lagrangian.systems.mechanics import make_system

        return make_system(name, values)
    if name.endswith(".toml"):
        from lagrangian.systems.spec import load_spec

        with stage(f"reading {name}, and deriving its equations"):
            return load_spec(name).with_values(values)
    raise LagrangianError(
        f"no system `{name}`. {nearest(name, FILES)} A spec file ends in .toml."
    )


def list_systems(output: Output) -> int:
    from lagrangian.systems.mechanics import SYSTEMS, make_system, sizes

    listed = []
    for name in SYSTEMS:
        system = make_system(name)
        values = {s.name: f"{v:g}" for s, v in system.parameters.items()}
        values |= {size: f"{n} (whole)" for size, n in sizes(name).items()}
        output.line(f"{name}: {system.description}")
        output.line("  " + ", ".join(f"{key}={value}" for key, value in values.items()))
        listed.append(
            {
                "name": name,
                "description": system.description,
                "parameters": system.parameters,
                "sizes": sizes(name),
            }
        )
    output.give(listed)
    return 0


def stage(what: str) -> Any:
    """Says on a terminal what takes its time; hundreds of coordinates take minutes."""
    shape = {"bar_format": "{desc} (Ctrl-C ends it)", "desc": what}
    return tqdm(**shape, disable=None, leave=False)
