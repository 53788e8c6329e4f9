"""Figures: draws what it is given, computes nothing and imports no layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Okabe and Ito's colours, which the colour-blind tell apart ("Color universal design",
#: 2008), the darker ones first; yellow, which white hides, is left out.
PALETTE = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Theirs, too: of what must fail.
WRONG = "#D55E00"
MEASURED = {"color": "0.15", "linewidth": 2.4, "alpha": 0.45}
PREDICTED = {"linewidth": 1.0, "linestyle": "--"}
_STYLES = {
    "measured": MEASURED | {"marker": ".", "markersize": 4},
    "predicted": PREDICTED,
    "points": {"color": "0.15", "linestyle": "none", "marker": "o", "markersize": 3.5},
    "control": {"color": WRONG, "linewidth": 1.0, "linestyle": ":", "marker": "x"},
    "control points": {"color": WRONG, "linestyle": "none", "marker": "x"},
}


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False
    )
    # More lines than colours are told apart by their dashes.
    cycle = pyplot.cycler(linestyle=("-", "--", ":")) * pyplot.cycler(color=PALETTE)
    for panel in axes.ravel():
        panel.set_prop_cycle(cycle)
    # Closed for pyplot, so that a notebook shows it once: as the value returned.
    pyplot.close(figure)
    return figure, axes.ravel()


def _colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def plot_trajectory(trajectory: Any) -> Any:
    """Every coordinate against time (of a block its entries); the energy below."""
    figure, (above, below) = _figure(2, 1, (7, 5))
    coordinates = trajectory.flow.lagrangian.coordinates
    for coordinate in coordinates:
        entries = np.reshape(trajectory[coordinate], (len(trajectory.t), -1)).T
        for i, values in enumerate(entries):
            label = None if i else f"${_tex(coordinate)}$"
            above.plot(trajectory.t, values, label=label)
    above.set(xlabel="t", ylabel="coordinates")
    above.legend(ncols=-(-len(coordinates) // 8))
    energy = trajectory.energy
    below.plot(trajectory.t, energy - energy[0], color="0.3")
    below.set(xlabel="t", ylabel="E(t) - E(0)")
    return figure


def plot_fields(
    fields: Mapping[str, np.ndarray], grid: Sequence[np.ndarray], axes: Sequence[str]
) -> Any:
    """Each field as an image over two axes.

    Args:
        fields: by name, of shape (len(grid[0]), len(grid[1])).
        grid: the values along both axes.
        axes: their names.
    """
    figure, panels = _figure(1, len(fields), (5 * len(fields), 4))
    for panel, (name, values) in zip(panels, fields.items(), strict=True):
        drawn = panel.pcolormesh(*grid, values.T, shading="nearest", cmap="cividis")
        # A mesh of thousands of paths would make vector files of megabytes.
        drawn.set_rasterized(True)
        panel.set(xlabel=axes[0], ylabel=axes[1], title=name)
        figure.colorbar(drawn, ax=panel)
    return figure


def plot_losses(t: np.ndarray, losses: np.ndarray) -> Any:
    """The loss along a flow."""
    figure, (panel,) = _figure(1, 1, (7, 4))
    panel.plot(t, losses, color="0.15")
    panel.set(xlabel="t = learning rate x step", ylabel="loss")
    return figure


def plot_line(t: np.ndarray, losses: np.ndarray, barrier: float) -> Any:
    """The loss between two models, and the straight line between its ends."""
    figure, (panel,) = _figure(1, 1, (7, 4))
    panel.plot(t, losses, label=f"loss; barrier {barrier:.3g}")
    panel.plot(t[[0, -1]], losses[[0, -1]], label="between the ends", **PREDICTED)
    panel.set(xlabel="t, from the first model to the second", ylabel="loss")
    panel.legend()
    return figure


def plot_run(
    steps: np.ndarray, losses: np.ndarray, charges: Mapping[str, np.ndarray]
) -> Any:
    """The loss of each step; below, a few units of each charge, if there are any."""
    figure, (above, *below) = _figure(1 + bool(charges), 1, (7, 3 + 3 * bool(charges)))
    above.plot(steps, losses, color="0.15", linewidth=0.8)
    above.set(xlabel="step", ylabel="loss")
    for panel in below:
        for i, (law, values) in enumerate(charges.items()):
            values = values.reshape(len(values), -1)
            for k, unit in enumerate(np.argsort(-np.abs(values[0]))[:4]):
                label = None if k else law
                panel.plot(steps, values[:, unit], color=_colour(i), label=label)
        panel.set(xlabel="step", ylabel="charge")
        panel.legend()
    return figure


def plot_clouds(clouds: Mapping[Any, tuple[np.ndarray, np.ndarray]], t: float) -> Any:
    """Of each coordinate, the members of an ensemble in its phase plane at a time."""
    figure, panels = _figure(1, len(clouds), (4 * len(clouds), 4))
    for panel, (q, (positions, velocities)) in zip(panels, clouds.items(), strict=True):
        (drawn,) = panel.plot(positions, velocities, ".", markersize=2)
        drawn.set_rasterized(True)
        panel.set(xlabel=f"${_tex(q)}$", ylabel=f"${_tex(q.dot)}$", title=f"t = {t:g}")
    return figure


def plot_histograms(values: Mapping[str, np.ndarray]) -> Any:
    """How many members of an ensemble have which value, of each quantity."""
    figure, panels = _figure(1, len(values), (4 * len(values), 4))
    for panel, (name, found) in zip(panels, values.items(), strict=True):
        panel.hist(found[np.isfinite(found)], bins="auto", color=PALETTE[0])
        panel.set(xlabel=name, ylabel="members")
    return figure


def plot_charge(predicted: np.ndarray, measured: np.ndarray, title: str) -> Any:
    """Predicted against measured charge, a line a unit."""
    figure, (axes,) = _figure(1, 1, (7, 4))
    _charges(axes, {title: (predicted, measured)})
    return figure


def plot_first_light(
    charges: Mapping[str, tuple[np.ndarray, np.ndarray]],
    averages: Mapping[str, tuple[np.ndarray, np.ndarray]],
    angles: Mapping[str, np.ndarray],
    equilibrium: float,
    control: tuple[str, np.ndarray, np.ndarray],
) -> Any:
    """The four panels of the main job.

    Args:
        charges, averages: by block, (predicted, measured) of shape (steps, units).
        angles: by block, the angle of each step averaged over units, (steps - 1,).
        equilibrium: the predicted angle.
        control: the name of the block without the symmetry, predicted and measured.
    """
    figure, (first, second, third, fourth) = _figure(2, 2, (12, 8))
    _charges(first, charges)
    first.set_title("charges: predicted from the law, and measured")

    for i, (block, (predicted, measured)) in enumerate(averages.items()):
        second.plot(measured.mean(axis=1), **MEASURED)
        second.plot(
            predicted.mean(axis=1), label=f"{block}", color=_colour(i), **PREDICTED
        )
    second.set(
        title=r"$|w|^4$ (grey) is RMSProp's average of $|\nabla f|^2$ (dashed)",
        xlabel="step",
        ylabel="mean over units",
        yscale="log",
    )
    second.legend()

    for i, (block, values) in enumerate(angles.items()):
        third.plot(values, label=block, color=_colour(i), linewidth=0.6, alpha=0.8)
    third.axhline(
        equilibrium,
        color="k",
        linestyle="--",
        label=r"$\sqrt{2\eta\lambda/(1+\beta)}$",
    )
    third.set(
        title="angle per step (root mean square over units)",
        xlabel="step",
        ylabel="rad",
        yscale="log",
    )
    third.legend()

    block, predicted, measured = control
    fourth.plot(measured, label="measured", **MEASURED)
    fourth.plot(predicted, label="predicted", color=WRONG, **PREDICTED)
    fourth.set(
        title=f"control: {block}, which no normalisation follows",
        xlabel="step",
        ylabel="squared norm",
    )
    fourth.legend()
    return figure


def plot_panels(panels: Sequence[Any], title: str) -> Any:
    """The figure of a theorem: its `Panel`s side by side, two a row."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _figure(rows, columns, (6.5 * columns, 4 * rows))
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes, panels, strict=False):
        _panel(axis, panel)
        axis.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        axis.legend()
    figure.suptitle(title)
    figure.draw_without_rendering()  # now each legend has its place
    for axis in axes[: len(panels)]:
        if covers_curves(axis):
            axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return figure


def covers_curves(axis: Any) -> bool:
    """Whether the legend of a drawn panel lies on one of its curves."""
    box = axis.get_legend().get_window_extent()
    paths = (
        line.get_transform().transform_path(line.get_path()) for line in axis.lines
    )
    return any(path.intersects_bbox(box, filled=False) for path in paths)


def plot_thumbnail(panel: Any) -> Any:
    """A `Panel` without words, small enough for a list of theorems."""
    figure, (axis,) = _figure(1, 1, (2.4, 1.5))
    _panel(axis, panel)
    axis.tick_params(which="both", labelbottom=False, labelleft=False)
    return figure


def _panel(axis: Any, panel: Any) -> None:
    """The curves of a theorem's `Panel`."""
    predicted = 0
    for curve in panel.curves:
        style = dict(_STYLES[curve.style])
        if curve.style == "predicted":
            style["color"] = _colour(predicted)
            predicted += 1
        axis.plot(curve.x, curve.y, label=curve.label, **style)
    axis.set_xscale("log" if panel.xlog else "linear")
    axis.set_yscale("log" if panel.ylog else "linear")


def _charges(axes: Any, charges: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """A few units of each block, each drawn as a share of its initial charge."""
    for i, (block, (predicted, measured)) in enumerate(charges.items()):
        predicted = predicted.reshape(len(predicted), -1)
        measured = measured.reshape(len(measured), -1)
        strongest = np.argsort(-np.abs(measured[0]))[:4]
        for unit in strongest:
            start = measured[0, unit] or 1.0
            axes.plot(measured[:, unit] / start, **MEASURED)
            axes.plot(
                predicted[:, unit] / start,
                color=_colour(i),
                label=block if unit == strongest[0] else None,
                **PREDICTED,
            )
    axes.set(xlabel="step", ylabel="charge / initial charge")
    axes.legend(title="dashed: predicted; grey: measured")


def _tex(symbol: Any) -> str:
    from sympy import latex

    return latex(symbol)
