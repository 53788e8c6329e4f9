"""`lagrangian simulate`: a mechanical system by name, or from a TOML file."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lagrangian.cli.arguments import (
    assignment,
    not_negative,
    out_folder,
    positive,
    positive_int,
    several,
)
from lagrangian.cli.shell import check_backend, ended_at_once, say
from lagrangian.errors import IntegrationFailed, LagrangianError, nearest
from lagrangian.files import check_writable, write_figure
from lagrangian.flows.solvers.names import SOLVERS, solver_of_name

if TYPE_CHECKING:
    from lagrangian.systems.system import System

#: Symbols and operations of an equation that is printed.
_MOST_PARTS = 2000


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    simulate = commands.add_parser("simulate", help="integrate a mechanical system")
    simulate.set_defaults(run=_simulate)
    simulate.add_argument(
        "system",
        nargs="?",
        help="its name, such as double-pendulum, or a TOML file that describes it",
    )
    simulate.add_argument(
        "--list", action="store_true", help="list the systems and their parameters"
    )
    simulate.add_argument("--t", type=positive, help="end time; the system's own")
    simulate.add_argument("--tol", type=positive, help="per step; the system's own")
    simulate.add_argument(
        "--atol",
        type=not_negative,
        help="an error that a step may make in any case, in units of the coordinates",
    )
    simulate.add_argument(
        "--max-step",
        type=positive,
        help="the longest step, where something shorter could be stepped over",
    )
    simulate.add_argument(
        "--max-steps",
        type=positive_int,
        default=1_000_000,
        help="how many steps to give up after (%(default)s)",
    )
    simulate.add_argument(
        "--project",
        action="store_true",
        help="move a start that violates the constraints onto them",
    )
    simulate.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a parameter (g=1.62), a position (a=0.5) or a velocity (a.dot=1)",
    )
    simulate.add_argument("--solver", choices=SOLVERS, help="the library's choice")
    simulate.add_argument(
        "--points", type=several, default=201, help="how many times are kept"
    )
    simulate.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="where to save the path: .npz, or .nc for netCDF",
    )
    simulate.add_argument(
        "--device", choices=("cpu", "gpu", "tpu"), help="JAX's choice"
    )
    out_folder(simulate)


def _simulate(options: argparse.Namespace) -> int:
    if options.list:
        return _list_systems()
    system = _system(options.system, dict(options.set))
    picture = options.out / f"{system.name}.png"
    # Whatever cannot work is found out before anything is computed.
    check_writable(picture, "--out")
    if options.save:
        check_writable(options.save, "--save")
    check_backend()

    from lagrangian.flows.to_xarray import saver

    save = saver(options.save) if options.save else None
    with _device(options.device):
        path, failed = _integrate(system, options)
        if failed:
            say(str(failed))
            if not len(path.t):
                return 1
            print(f"What follows is the path until t = {path.t[-1]:g}.")
        _print_end(path)
        print(f"{path.steps} steps; {_energy_change(system, path)}")
        if save:
            attributes = {"system": system.name, "description": system.description}
            print(f"Wrote {save(path, attributes)}.")
        print(write_figure(picture, path.plot))
    return 1 if failed else 0


def _system(name: str | None, values: dict[str, float]) -> System:
    """The system by its name or file.

    Raises:
        LagrangianError: there is none.
    """
    from lagrangian.systems.mechanics import SYSTEMS, make_system

    if name is None:
        raise LagrangianError(
            "`simulate` needs the name of a system (`--list` lists them), or a TOML "
            "file."
        )
    if name in SYSTEMS:
        return make_system(name, values)
    if name.endswith(".toml"):
        from lagrangian.systems.spec import load_spec

        with _stage(f"reading {name}, and deriving its equations"):
            return load_spec(name).with_values(values)
    raise LagrangianError(
        f"no system `{name}`. {nearest(name, SYSTEMS)} A spec file ends in .toml."
    )


def _list_systems() -> int:
    from lagrangian.systems.mechanics import SYSTEMS, make_system, sizes

    for name in SYSTEMS:
        system = make_system(name)
        values = {s.name: f"{v:g}" for s, v in system.parameters.items()}
        values |= {size: f"{n} (whole)" for size, n in sizes(name).items()}
        print(f"{name}: {system.description}")
        print("  " + ", ".join(f"{key}={value}" for key, value in values.items()))
    return 0


def _integrate(
    system: System, options: argparse.Namespace
) -> tuple[Any, IntegrationFailed | None]:
    """The path of a system as far as it goes, and why it goes no further, if so.

    Prints the equations before.
    """
    print(f"{system.name}: {system.description}")
    count = len(system.lagrangian.coordinates)
    with _stage(f"deriving the equations of {count} coordinates"):
        equations = system.lagrangian.equations
    for coordinate, equation in zip(
        system.lagrangian.coordinates, equations, strict=True
    ):
        print(f"  {_readable(equation.lhs, coordinate)} = 0")
    try:
        with _stage("compiling and integrating"), ended_at_once():
            return _path(system, options), None
    except IntegrationFailed as error:
        return error.trajectory, error


def _readable(side: Any, coordinate: Any) -> str:
    """One side of an equation, unless it would fill screens."""
    from sympy import preorder_traversal

    parts = sum(1 for _ in islice(preorder_traversal(side), _MOST_PARTS + 1))
    if parts <= _MOST_PARTS:
        return str(side)
    return f"(the equation of {coordinate}, of more than {_MOST_PARTS:,} parts)"


def _stage(what: str) -> Any:
    """Says on a terminal what takes its time; hundreds of coordinates take minutes."""
    shape = {"bar_format": "{desc} (Ctrl-C ends it)", "desc": what}
    return tqdm(**shape, disable=None, leave=False)


def _path(system: System, options: argparse.Namespace) -> Any:
    from lagrangian.flows.lower import lower

    return lower(system.lagrangian, system.parameters).integrate(
        system.positions,
        system.velocities,
        (0.0, options.t or system.t),
        tol=options.tol or system.tol,
        atol=options.atol,
        max_step=options.max_step,
        max_steps=options.max_steps,
        points=options.points,
        solver=solver_of_name(options.solver),
        project=options.project,
    )


def _print_end(path: Any) -> None:
    for coordinate in path.flow.lagrangian.coordinates:
        print(f"  {coordinate}({path.t[-1]:g}) = {path[coordinate][-1]:.10g}")


def _device(platform: str | None) -> Any:
    """A context in which JAX computes there; JAX's own choice for None."""
    if platform is None:
        return nullcontext()
    import jax

    try:
        return jax.default_device(jax.devices(platform)[0])
    except RuntimeError:
        raise LagrangianError(
            f"JAX finds no {platform} here, only `{jax.default_backend()}`. Leave out "
            "`--device`, or install JAX for that device."
        ) from None


def _energy_change(system: System, path: Any) -> str:
    if system.is_conservative:
        return f"relative energy drift {path.energy_drift:.2e}"
    first, last = path.energy[[0, -1]]
    return f"energy from {first:.6g} to {last:.6g} (this system does not keep it)"
