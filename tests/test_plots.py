import io
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

import lagrangian as lg
from lagrangian import plots
from lagrangian.theorems.theorem import Curve, Panel


def test_the_charge_plot_draws_predicted_and_measured():
    measured = np.linspace(1, 2, 50)[:, None] * np.array([1.0, 2.0])
    figure = plots.plot_charge(1.01 * measured, measured, "scale of w")
    (axes,) = figure.axes
    assert len(axes.lines) == 4
    assert axes.get_legend().get_texts()[0].get_text() == "scale of w"


def test_the_trajectory_plot_has_one_line_a_coordinate(pendulum):
    system, parameters = pendulum
    a, b = system.coordinates
    path = lg.lower(system, parameters).integrate({a: 1, b: 0}, {a: 0, b: 0}, (0, 1))
    above, below = path.plot().axes
    assert len(above.lines) == 2 and len(below.lines) == 1
    np.testing.assert_array_equal(above.lines[0].get_ydata(), path[a])
    assert [line.get_color() for line in above.lines] == list(plots.PALETTE[:2])


x, y = lg.coordinates("x y")
w = lg.blocks("w")


def path():
    spring = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + 2 * y**2) / 2)
    return lg.lower(spring).integrate([1.0, 0.0], [0.0, 1.0], (0, 1), points=9)


def path_of_a_matrix():
    ball = lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, lg.Inner(w, w) / 2)
    start = {"w": np.arange(4.0).reshape(2, 2)}
    return lg.lower(ball).integrate(start, {"w": np.zeros((2, 2))}, (0, 1), points=9)


def path_of_a_field():
    phi = lg.fields("phi", over="t x")
    wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    flow = lg.lower(wave, interval=(0, 1), points=8)
    return flow.integrate({phi: 1.0}, {phi: 0.0}, t=(0, 1), points=3)


def path_of_a_network():
    flow = lg.network_flow(
        {"w": np.ones(3)},
        lambda p, x: ((x @ p["w"]) ** 2).mean(),
        np.eye(3),
        lg.HeavyBall(0.1),
    )
    return flow.integrate(t=(0, 0.1), points=3)


def ensemble(**options):
    spring = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + 2 * y**2) / 2)
    starts = np.linspace([1.0, 0.0], [2.0, 1.0], 5)
    return lg.lower(spring).ensemble(starts, [[0.0, 1.0]], (0.0, 1.0), **options)


def run(*observe):
    def loss(model, batch):
        return ((batch @ model["w"]) ** 2).mean() / (model["w"] ** 2).sum()

    rule, data = lg.HeavyBall(0.1, 0.9), np.diag([1.0, 2.0, 3.0])
    return lg.train(
        {"w": np.arange(1.0, 4.0)}, loss, data, rule, steps=9, observe=observe
    )


def test_an_ensemble_shows_where_its_members_are():
    many = ensemble()
    first, second = many.plot().axes
    np.testing.assert_array_equal(first.lines[0].get_xdata(), many[x][:, -1])
    np.testing.assert_array_equal(second.lines[0].get_ydata(), many[y.dot][:, -1])
    (counted,) = ensemble(record={"x": x, "top": (y, "max")}).plot().axes[:1]
    assert sum(bar.get_height() for bar in counted.patches) == 5


def test_a_run_shows_its_losses_and_the_charges_that_it_observed():
    seen = run(lg.Scale("w"))
    above, below = seen.plot().axes
    np.testing.assert_array_equal(above.lines[0].get_ydata(), seen.losses)
    charge = seen[lg.Scale("w")].quantity
    np.testing.assert_array_equal(below.lines[0].get_ydata(), charge)
    assert len(run().plot().axes) == 1


def test_a_line_between_models_shows_its_barrier():
    line = lg.LinearPath(np.array([0.0, 0.5, 1.0]), np.array([0.0, 2.0, 1.0]))
    (axes,) = line.plot().axes
    assert "barrier 1.5" in axes.get_legend().get_texts()[0].get_text()
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [0.0, 1.0])


RISING = np.linspace(1, 2, 9)
CURVES = tuple(
    Curve(style, RISING, i + RISING, style)
    for i, style in enumerate(("measured", "predicted", "points", "control"))
)
FIGURES = {
    "path": lambda: path().plot(),
    "of a matrix": lambda: path_of_a_matrix().plot(),
    "of a field": lambda: path_of_a_field().plot(),
    "of a network": lambda: path_of_a_network().plot(),
    "ensemble": lambda: ensemble().plot(),
    "records": lambda: ensemble(record={"x": x}).plot(),
    "run": lambda: run(lg.Scale("w")).plot(),
    "line": lambda: lg.LinearPath(RISING, RISING**2).plot(),
    "charge": lambda: plots.plot_charge(RISING[:, None], RISING[:, None], "w"),
    "theorem": lambda: plots.plot_panels([Panel("a", "x", "y", CURVES)], "title"),
    "main job": lambda: plots.plot_first_light(
        {"w": (RISING[:, None], RISING[:, None])},
        {"w": (RISING[:, None], RISING[:, None])},
        {"w": RISING},
        1.5,
        ("w", RISING, RISING),
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_labelled_and_coloured_for_all_and_can_be_exported(name):
    """In the colours that the colour-blind tell apart, and as vectors."""
    figure = FIGURES[name]()
    known = {colour.lower() for colour in (*plots.PALETTE, plots.WRONG)}
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert axes.get_xlabel() and axes.get_ylabel()
        for line in axes.lines:
            colour = to_hex(line.get_color())
            assert colour in known or len({colour[1:3], colour[3:5], colour[5:]}) == 1
    for kind, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        file = io.BytesIO()
        figure.savefig(file, format=kind)
        assert file.getvalue().startswith(start)


def test_a_legend_lies_on_no_curve():
    heights = np.linspace(0, 1, 40)
    full = [Curve(f"{h:.1f}", RISING, h + 0 * RISING, "measured") for h in heights[:4]]
    full += [Curve(f"{h:.1f}", RISING, h + 0 * RISING, "points") for h in heights[4:]]
    free = [Curve("a", RISING, RISING, "predicted")]
    figure = plots.plot_panels(
        [Panel("full", "x", "y", tuple(full[::4])), Panel("free", "x", "y", (*free,))],
        "",
    )
    figure.draw_without_rendering()
    first, second = figure.axes
    assert not plots.covers_curves(first) and not plots.covers_curves(second)
    inside = [axes.get_window_extent().x1 for axes in figure.axes]
    assert first.get_legend().get_window_extent().x0 > inside[0]
    assert second.get_legend().get_window_extent().x1 < inside[1]
    first.legend()  # the control: inside, one is covered
    figure.draw_without_rendering()
    assert plots.covers_curves(first)


def test_more_lines_than_colours_are_told_apart():
    many = lg.coordinates(" ".join(f"q{i}" for i in range(10)))
    shown = SimpleNamespace(
        flow=SimpleNamespace(lagrangian=SimpleNamespace(coordinates=many)),
        t=RISING,
        energy=RISING,
    )
    shown_of = type("Shown", (SimpleNamespace,), {"__getitem__": lambda s, q: RISING})
    above, _ = plots.plot_trajectory(shown_of(**vars(shown))).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in above.lines}
    assert len(looks) == 10
