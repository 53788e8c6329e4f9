"""What was computed, as files: arrays, pictures, films and notebooks."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.plots import PALETTE
from lagrangian.studio.motion import Motion
from lagrangian.studio.typed import Typed
from lagrangian.systems.script import Script

#: Of a film: its size (pixels), how many pictures it has at most, and a second.
SIZE, MOST_PICTURES, PER_SECOND = 400, 150, 25
#: The classes of `SOLVERS` in a script, with what has them.
_SOLVERS = {"taylor": "", "dopri8": "diffrax.Dopri8()", "tsit5": "diffrax.Tsit5()",
            "kvaerno5": "diffrax.Kvaerno5()"}  # fmt: skip


def arrays(found: Motion) -> io.BytesIO:
    """An .npz file: `t`, `energy`, each coordinate and each velocity."""
    file = io.BytesIO()
    kept: dict[str, Any] = {"t": found.t, "energy": found.energy.measured}
    for i, name in enumerate(found.names):
        kept |= {name: found.q[:, i], f"{name}.dot": found.v[:, i]}
    np.savez(file, **kept)
    file.seek(0)
    return file


def picture(found: Motion) -> io.BytesIO:
    """A PNG file: coordinates, phase portraits, and the error of the energy."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 6), layout="constrained")
    panels = drawn.subplot_mosaic([["motion", "portrait"], ["energy", "charges"]])
    for i, name in enumerate(found.names):
        colour = PALETTE[i % len(PALETTE)]
        panels["motion"].plot(found.t, found.q[:, i], color=colour, label=name)
        panels["portrait"].plot(found.q[:, i], found.v[:, i], color=colour, lw=0.8)
    panels["motion"].set(xlabel="t", ylabel="coordinates")
    panels["motion"].legend(loc="upper right", fontsize="small")
    panels["portrait"].set(xlabel="coordinate", ylabel="velocity")
    error = np.maximum(drift(found), 1e-17)
    panels["energy"].semilogy(found.t, error, color=PALETTE[0])
    panels["energy"].set(xlabel="t", ylabel="error of the energy's law / |E(0)|")
    for i, charge in enumerate(found.charges):
        colour = PALETTE[i % len(PALETTE)]
        panels["charges"].plot(found.t, charge.measured, color=colour, lw=3, alpha=0.4)
        panels["charges"].plot(
            found.t, charge.predicted, "--", color=colour, label=charge.name
        )
    panels["charges"].set(xlabel="t", ylabel="charges, and their laws (dashed)")
    if found.charges:
        panels["charges"].legend(fontsize="small")
    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=150)
    file.seek(0)
    return file


def drift(found: Motion) -> np.ndarray:
    """How far the energy is from what its law says, relative to its start."""
    energy = found.energy
    scale = abs(energy.measured[0]) or 1.0
    return np.abs(energy.measured - energy.predicted) / scale


def film(found: Motion, rods: Sequence[tuple[int, int]]) -> io.BytesIO:
    """A GIF file of the picture, in real time; long motions are quickened."""
    pictures = _pictures(found, rods)
    seconds = float(found.t[-1]) if len(pictures) < MOST_PICTURES else 0.0
    each = 1000 * seconds / len(pictures) if seconds else 1000 / PER_SECOND
    file = io.BytesIO()
    # A GIF counts in hundredths of a second.
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:],
        duration=max(round(each / 10) * 10, 20), loop=0,
    )  # fmt: skip
    file.seek(0)
    return file


def has_ffmpeg() -> bool:
    """Whether this machine can write an mp4."""
    return shutil.which("ffmpeg") is not None


def mp4(found: Motion, rods: Sequence[tuple[int, int]]) -> io.BytesIO:
    """The film as an MP4 file, written by ffmpeg.

    Raises:
        LagrangianError: there is no ffmpeg here, or it could not.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise LagrangianError(
            "an mp4 is written by ffmpeg, which is not installed here. Install it, or "
            "save a GIF."
        )
    raw = b"".join(p.convert("RGB").tobytes() for p in _pictures(found, rods))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "motion.mp4"
        command = [
            program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{SIZE}x{SIZE}", "-r", str(PER_SECOND), "-i", "-",
            "-pix_fmt", "yuv420p", "-y", str(place),
        ]  # fmt: skip
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode or not place.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"it ended with {done.returncode}"
            raise LagrangianError(
                f"ffmpeg could not write the film: {why}. Save a GIF."
            )
        return io.BytesIO(place.read_bytes())


def _pictures(found: Motion, rods: Sequence[tuple[int, int]]) -> list[Any]:
    from PIL import Image, ImageDraw

    wanted = min(MOST_PICTURES, max(int(PER_SECOND * found.t[-1]), 2), len(found.t))
    shown = np.linspace(0, len(found.t) - 1, wanted).astype(int)
    reach = 1.1 * (float(np.abs(found.places).max(initial=0.0)) or 1.0)
    scale = SIZE / 2 / reach
    at = found.places * [scale, -scale] + SIZE / 2
    origin = (SIZE / 2, SIZE / 2)
    pictures = []
    for k in shown:
        image = Image.new("RGB", (SIZE, SIZE), "white")
        pen = ImageDraw.Draw(image)
        points = [tuple(p) for p in at[k]]
        for i in range(len(points)):
            trail = [tuple(p) for p in at[max(0, k - 60) : k + 1, i]]
            if len(trail) > 1:
                pen.line(trail, fill="#b8cfe0")
        for i, j in rods:
            ends = [origin if n < 0 else points[n] for n in (i, j)]
            pen.line(ends, fill="#555555", width=3)
        for i, (x, y) in enumerate(points):
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=PALETTE[i % len(PALETTE)])
        pictures.append(image)
    return pictures


def notebook(
    typed: Typed, end: float, tol: float, solver: str, points: int, surface: str = ""
) -> str:
    """A notebook that derives the system, moves it as here, and draws it.

    Raises:
        LagrangianError: no system follows from what is typed.
    """
    system = typed.system
    script = Script(system)
    chosen = _SOLVERS[solver]
    options = [f"(0.0, {end!r})", f"tol={tol!r}", f"points={points}"]
    options += ["max_steps=200_000"]
    options += [f"solver={chosen}"] if chosen else []
    options += ["project=True"] if system.lagrangian.constraints.expressions else []
    imports = ["import sympy as sp", "", "import lagrangian as lg"]
    imports = ["import diffrax", *imports] if chosen else imports
    cells = [
        ("markdown", f"# {system.name}\n\nDerived, and moved, by `lagrangian`."),
        ("code", "\n".join([*imports, "", *script.system_lines, "L"])),
        ("code", "L.equations"),
        ("code", "lg.find_symmetries(L)" if _has_symmetries(system) else "L.energy"),
        ("code", "\n".join(script.motion_lines)),
        (
            "code",
            f"path = flow.integrate(start, velocity, {', '.join(options)})\npath",
        ),
        ("code", "path.plot()"),
    ]
    for generator in typed.generators(system):
        line = f"law = lg.noether(L, {script.generator(generator)})"
        cells.append(("code", f"{line}\nlaw.charge, path.charge(law)"))
    if surface.strip():
        level = script.written(typed.expression("surface", surface, system))
        line = f"crossings = flow.section(start, velocity, {level}, (0.0, {end!r}))"
        cells.append(("code", f"{line}\ncrossings"))
    return _notebook(cells)


def _has_symmetries(system: Any) -> bool:
    L = system.lagrangian
    return not (L.forces or L.dissipation != 0 or L.constraints.expressions)


def _notebook(cells: Sequence[tuple[str, str]]) -> str:
    """The text of a notebook, in version 4.5 of its format."""
    written = []
    for i, (kind, source) in enumerate(cells):
        one: dict[str, Any] = {"cell_type": kind, "id": f"cell-{i}", "metadata": {}}
        if kind == "code":
            one |= {"execution_count": None, "outputs": []}
        written.append(one | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": written,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
