import numpy as np

from lagrangian import plots


def test_the_charge_plot_draws_predicted_and_measured():
    measured = np.linspace(1, 2, 50)[:, None] * np.array([1.0, 2.0])
    figure = plots.plot_charge(1.01 * measured, measured, "scale of w")
    (axes,) = figure.axes
    assert len(axes.lines) == 4
    assert axes.get_legend().get_texts()[0].get_text() == "scale of w"


def test_the_trajectory_plot_has_one_line_a_coordinate(pendulum):
    import lagrangian as lg

    system, parameters = pendulum
    a, b = system.coordinates
    path = lg.lower(system, parameters).integrate({a: 1, b: 0}, {a: 0, b: 0}, (0, 1))
    above, below = path.plot().axes
    assert len(above.lines) == 2 and len(below.lines) == 1
    np.testing.assert_array_equal(above.lines[0].get_ydata(), path[a])
    assert [line.get_color() for line in above.lines] == list(plots.PALETTE[:2])
