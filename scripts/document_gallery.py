"""Write docs/gallery.md and an animation of every system of the library.

python scripts/document_gallery.py [NAME ...]

With names, only these are drawn anew; the page always is.
"""

import argparse
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from PIL import Image

from lagrangian.files import write_atomically
from lagrangian.studio.pictures import picture, rods
from lagrangian.studio.typed import Typed
from lagrangian.systems import System
from lagrangian.systems.mechanics import SYSTEMS

DOCS = Path(__file__).parents[1] / "docs"
PREAMBLE = """\
# The gallery

The systems of the library, each from its own start: `lg.systems.kepler()` in Python,
`lagrangian simulate kepler` in the shell. Behind each point is its way so far;
the displacements of a chain are drawn across it.
`python scripts/document_gallery.py` draws them; [systems](systems.md) says what each is
checked against.

| | | |
|---|---|---|
"""
#: Frames, pixels along an edge, colours, and milliseconds a frame.
FRAMES, PIXELS, COLOURS, PAUSE = 48, 220, 16, 70
#: Points of a path drawn between two frames.
FINE = 10
#: The time that is drawn, where that of a simulation is longer than what can be seen.
TIMES = {
    "double-pendulum": 5.0,
    "spherical-pendulum": 5.0,
    "elastic-pendulum": 12.0,
    "henon-heiles": 40.0,
    "van-der-pol": 20.0,
}
COLUMNS = 3


def picture_of(system: System) -> tuple[str, str]:
    """Its points and rods; displacements along a chain are drawn across it."""
    names = [q.name for q in system.lagrangian.coordinates]
    if system.name.endswith("-chain"):
        return "\n".join(f"{i}, {q}" for i, q in enumerate(names)), "neighbours"
    return picture({"name": system.name, "coordinates": names})


def places(system: System, t: float) -> np.ndarray:
    """Where the points of a picture are: shape (FRAMES * FINE, points, 2)."""
    path = system.integrate(t=np.linspace(0, t, FRAMES * FINE), tol=1e-9)
    found = Typed("", points=picture_of(system)[0]).places(system)
    ones = np.ones(len(path.t))
    return np.array(
        [[np.asarray(path.evaluate(x)) * ones for x in place] for place in found]
    ).transpose(2, 0, 1)


def draw(system: System, t: float) -> bytes:
    """An animation of the motion, as a GIF."""
    drawn = places(system, t)
    is_chain = system.name.endswith("-chain")
    corners = np.concatenate([drawn.reshape(-1, 2), np.zeros((1, 2))])
    middle, size = (corners.max(0) + corners.min(0)) / 2, np.ptp(corners, axis=0)
    half = 0.56 * (size if is_chain else np.full(2, size.max()))
    figure = pyplot.figure(figsize=(1, 1), dpi=PIXELS)
    frames = []
    for i in range(0, len(drawn), FINE):
        figure.clear()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(
            xlim=middle[0] + half[0] * np.array([-1, 1]),
            ylim=middle[1] + half[1] * np.array([-1, 1]),
        )
        axes.axis("off")
        for k in range(0 if is_chain else drawn.shape[1]):
            axes.plot(*drawn[: i + 1, k].T, lw=0.5, color="0.75")
        for a, b in rods(picture_of(system)[1], drawn.shape[1]):
            ends = np.array([drawn[i, a] if a >= 0 else (0, 0), drawn[i, b]])
            axes.plot(*ends.T, lw=0.8, color="0.2")
        axes.plot(*drawn[i].T, "o", ms=2 if is_chain else 3, color="#0072b2")
        figure.canvas.draw()
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
        frames.append(image.quantize(COLOURS))
    pyplot.close(figure)
    file = BytesIO()
    options = dict(duration=PAUSE, loop=0, optimize=True)
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def page() -> str:
    """A table of all systems."""
    cells = []
    for name, make in SYSTEMS.items():
        shown = f"![{name}](gallery/{name}.gif)<br>`{name}`<br>{make().description}"
        cells.append(shown)
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    return PREAMBLE + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SYSTEMS))
    (DOCS / "gallery").mkdir(exist_ok=True)
    for name in parser.parse_args().names:
        system = SYSTEMS[name]()
        gif = draw(system, TIMES.get(name, system.t))
        write_atomically(
            DOCS / "gallery" / f"{name}.gif", lambda file, gif=gif: file.write(gif)
        )
        print(f"{name}: {len(gif) / 1000:.0f} kB")
    write_atomically(DOCS / "gallery.md", lambda file: file.write(page().encode()))


if __name__ == "__main__":
    main()
