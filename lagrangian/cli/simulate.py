"""`lagrangian simulate`: a mechanical system by name, or from a TOML file."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagrangian.cli.arguments import not_negative, positive, positive_int, several
from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output, one_of
from lagrangian.cli.shell import check_backend, ended_at_once, say
from lagrangian.cli.systems import add_system, list_systems, load_system, stage
from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.files import check_writable, write_figure
from lagrangian.flows.solvers.names import SOLVERS, solver_of_name

if TYPE_CHECKING:
    from lagrangian.systems.system import System

_DEVICES = ("cpu", "gpu", "tpu")


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    simulate = commands.add_parser("simulate", help="integrate a mechanical system")
    simulate.set_defaults(run=_simulate)
    add_system(simulate)
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
        "--solver",
        type=one_of("solver", SOLVERS),
        completes=SOLVERS,
        help=f"{', '.join(SOLVERS)}; the library's choice",
    )
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
        "--device",
        type=one_of("device", _DEVICES),
        completes=_DEVICES,
        help="cpu, gpu or tpu; JAX's choice",
    )
    add_output(simulate, out=Path("results"), what="the figure (%(default)s)")


def _simulate(options: argparse.Namespace) -> int:
    output = Output(options)
    if options.list:
        return list_systems(output)
    system = load_system("simulate", options.system, dict(options.set))
    picture = options.out / f"{system.name}.png"
    # Whatever cannot work is found out before anything is computed.
    check_writable(picture, "--out")
    if options.save:
        check_writable(options.save, "--save")
    check_backend()

    from lagrangian.flows.to_xarray import saver

    save = saver(options.save) if options.save else None
    with _device(options.device):
        path, failed = _integrate(system, options, output)
        if failed:
            say(str(failed))
            if not len(path.t):
                return 1
            output.line(f"What follows is the path until t = {path.t[-1]:g}.")
        _print_end(path, output)
        output.line(f"{path.steps} steps; {_energy_change(system, path)}")
        if save:
            attributes = {"system": system.name, "description": system.description}
            output.line(f"Wrote {save(path, attributes)}.")
        output.line(write_figure(picture, path.plot))
        output.give(_data(system, path, failed))
    return 1 if failed else 0


def _data(system: System, path: Any, failed: IntegrationFailed | None) -> Any:
    symbols = [s for q in path.flow.lagrangian.coordinates for s in (q, q.dot)]
    return {
        "system": system.name,
        "description": system.description,
        "parameters": system.parameters,
        "steps": path.steps,
        "stopped": None if failed is None else str(failed),
        "energy_drift": path.energy_drift,
        "is_conservative": system.is_conservative,
        "t": path.t,
        "path": {symbol: path[symbol] for symbol in symbols},
    }


def _integrate(
    system: System, options: argparse.Namespace, output: Output
) -> tuple[Any, IntegrationFailed | None]:
    """The path of a system as far as it goes, and why it goes no further, if so.

    Prints the equations before.
    """
    from lagrangian.symbolic.algebra.shown import shown

    output.line(f"{system.name}: {system.description}")
    count = len(system.lagrangian.coordinates)
    with stage(f"deriving the equations of {count} coordinates"):
        equations = system.lagrangian.equations
    for equation in equations:
        output.line(f"  {shown(equation.lhs)} = 0")
    try:
        with stage("compiling and integrating"), ended_at_once():
            return _path(system, options), None
    except IntegrationFailed as error:
        return error.trajectory, error


def _path(system: System, options: argparse.Namespace) -> Any:
    return system.integrate(
        t=(0.0, options.t or system.t),
        tol=options.tol or system.tol,
        atol=options.atol,
        max_step=options.max_step,
        max_steps=options.max_steps,
        points=options.points,
        solver=solver_of_name(options.solver),
        project=options.project,
    )


def _print_end(path: Any, output: Output) -> None:
    for coordinate in path.flow.lagrangian.coordinates:
        output.line(f"  {coordinate}({path.t[-1]:g}) = {path[coordinate][-1]:.10g}")


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
