"""`lagrangian doctor`: what is installed here, and whether it computes right."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output
from lagrangian.cli.shell import check_backend
from lagrangian.version import __version__

_PACKAGES = ("sympy", "jax", "jaxlib", "flax", "optax", "diffrax", "numpy", "scipy")
#: The setting of JAX that `lg.cache` makes; a name that its type stubs lack.
_CACHE = "jax_compilation_cache_dir"
_OPTIONAL = ("matplotlib", "scikit-learn", "xarray")


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    doctor = commands.add_parser(
        "doctor", help="versions, devices, precision, caches, and three small tests"
    )
    doctor.set_defaults(run=_doctor)
    add_output(doctor)


def _doctor(options: argparse.Namespace) -> int:
    output = Output(options)
    found: dict[str, Any] = {"lagrangian": __version__}
    found["python"] = f"{platform.python_version()} on {platform.platform()}"
    found |= {name: _version(name) for name in (*_PACKAGES, *_OPTIONAL)}
    check_backend()
    found |= {"devices": _devices(), "cache": _cache()}
    for name, value in found.items():
        output.line(f"{name:>16}: {value}")
    failed = {}
    for name, canary in _CANARIES.items():
        why = canary()
        failed[name] = why or None
        output.line(f"{name:>16}: {f'FAILS: {why}' if why else 'right'}")
    healthy = not any(failed.values())
    output.give(found | {"failed": failed, "healthy": healthy})
    return 0 if healthy else 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        extra = "xarray" if name == "xarray" else "demo"
        return f"not installed: `pip install 'lagrangian[{extra}]'`"


def _devices() -> str:
    import jax

    return ", ".join(f"{d.platform} ({d.device_kind})" for d in jax.devices())


def _cache() -> str:
    import jax

    folder = getattr(jax.config, _CACHE)
    if not folder:
        return "none; `lg.cache(folder)` keeps what is compiled"
    place = Path(folder)
    if not place.exists():
        return f"{folder}, which is not there yet"
    if not os.access(place, os.W_OK):
        return f"{folder}, which CANNOT be written to"
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return f"{folder} ({size / 2**20:.1f} MB)"


# Each returns what is wrong, or nothing. The numbers are known in closed form.


def _derivation() -> str:
    """The pendulum's equation."""
    import sympy as sp

    from lagrangian.systems.mechanics import make_system

    system = make_system("n-pendulum", {"links": 1}).lagrangian
    (q,), (equation,) = system.coordinates, system.equations
    m, l, g = sp.symbols("m l g", positive=True)
    expected = m * l**2 * q.ddot + m * g * l * sp.sin(q)
    differs = sp.expand(equation.lhs - expected) != 0
    return f"a pendulum moves by {equation}" if differs else ""


def _law() -> str:
    """An angular momentum is kept, and is not once the symmetry is broken."""
    from lagrangian.symbolic.algebra.coordinates import coordinates
    from lagrangian.symbolic.algebra.symmetry import Rotation
    from lagrangian.symbolic.laws.noether import noether
    from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

    x, y = coordinates("x y")
    kinetic = (x.dot**2 + y.dot**2) / 2
    round_, oval = (Lagrangian(kinetic, x**2 + n * y**2) for n in (1, 2))
    turn = Rotation(x, y)
    if not noether(round_, turn).is_conserved:
        return "a central force does not keep the angular momentum"
    if noether(oval, turn).is_conserved is not False:
        return "a force that is not central keeps the angular momentum"
    return ""


def _float64() -> str:
    """A sum that single precision gets wrong; and one that jax 0.10.2 does."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    with jax.enable_x64(True):
        small = jnp.asarray(1.0) + 1e-12 - 1.0
        if small.dtype != np.float64 or small == 0:
            return f"1 + 1e-12 - 1 is {small} in {small.dtype}"
        rows = np.zeros((16_385, 3))
        rows[:, 0] = np.arange(len(rows))
        matrix = np.eye(3)
        squares = jax.jit(jax.vmap(lambda row: ((matrix @ row) ** 2).sum()))(rows)
    wrong = not np.allclose(squares, (rows**2).sum(1))
    return "sums of squares over a large batch are wrong" if wrong else ""


def _flow() -> str:
    """A spring's motion is a cosine."""
    import numpy as np

    from lagrangian.flows.lower import lower
    from lagrangian.symbolic.algebra.coordinates import coordinates
    from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

    x = coordinates("x")
    flow = lower(Lagrangian(x.dot**2 / 2, x**2 / 2), {})
    path = flow.integrate({x: 1.0}, {x: 0.0}, (0, 10))
    error = float(np.abs(path[x] - np.cos(path.t)).max())
    return f"a spring is {error:.1e} from its cosine" if not error < 1e-9 else ""


_CANARIES: dict[str, Callable[[], str]] = {
    "a derivation": _derivation,
    "a law": _law,
    "float64": _float64,
    "a flow": _flow,
}
