import pytest
import sympy as sp

import lagrangian as lg

x, y = lg.coordinates("x y")
m, k = sp.symbols("m k", positive=True)


def test_equations_agree_with_sympy_mechanics(pendulum):
    from sympy.physics.mechanics import LagrangesMethod, dynamicsymbols

    system, _ = pendulum
    a, b = dynamicsymbols("a b")
    time = dynamicsymbols._t
    as_functions = {}
    for coordinate, function in zip(system.coordinates, (a, b), strict=True):
        as_functions |= {
            coordinate.ddot: function.diff(time, 2),
            coordinate.dot: function.diff(time),
            coordinate: function,
        }
    oracle = LagrangesMethod(system.undamped.subs(as_functions), [a, b])
    expected = oracle.form_lagranges_equations()
    for equation, other in zip(system.equations, expected, strict=True):
        assert sp.simplify(equation.lhs.subs(as_functions) - other) == 0


def test_mass_matrix_and_forcing_are_the_equations(pendulum):
    system, _ = pendulum
    acceleration = sp.Matrix([q.ddot for q in system.coordinates])
    residual = system.mass_matrix * acceleration - system.forcing
    for row, equation in zip(residual, system.equations, strict=True):
        assert sp.simplify(row - equation.lhs) == 0


def test_momenta_and_energy():
    system = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2)
    assert system.momenta == {x: m * x.dot}
    assert sp.expand(system.energy - (m * x.dot**2 + k * x**2) / 2) == 0


def test_damping_gives_friction():
    mu = sp.Symbol("mu", positive=True)
    system = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2, damping=mu / m * lg.time)
    (equation,) = system.equations
    assert sp.expand(equation.lhs - (m * x.ddot + mu * x.dot + k * x)) == 0


def test_a_velocity_dependent_potential_gives_the_lorentz_force():
    B = sp.Symbol("B")
    system = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2, -B / 2 * (x * y.dot - y * x.dot)
    )
    forces = [sp.expand(e.lhs) for e in system.equations]
    assert forces == [m * x.ddot - B * y.dot, m * y.ddot + B * x.dot]


def test_the_learning_rule_of_an_opaque_loss(learning_symbols):
    mass, mu, decay = learning_symbols
    w = lg.blocks("w")
    f = lg.Loss("f", w)
    (equation,) = lg.HeavyBall(0.1, 0.9, 0.01).lagrangian(f).equations
    expected = mass * w.ddot + mu * w.dot + f.gradient(w) + decay * w
    assert sp.expand(equation.lhs - expected) == 0


def test_an_explicit_order_of_coordinates_is_kept():
    T = x.dot**2 + y.dot**2
    assert lg.Lagrangian(T).coordinates == (x, y)
    assert lg.Lagrangian(T, coordinates=[y, x]).coordinates == (y, x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: lg.Lagrangian(x.dot**2, y), r"no inertia in `y`.*contain `y.dot`"),
        (lambda: lg.Lagrangian(sp.Integer(0), x), r"no inertia in `x`"),
        (lambda: lg.Lagrangian(m, k), r"contain no coordinates"),
        (lambda: lg.Lagrangian(x.dot**2 + x.ddot), r"contains `x.ddot`"),
        (lambda: lg.Lagrangian(x.dot**2, damping=x), r"`damping` is x"),
        (
            lambda: lg.Lagrangian(x.dot**2 + y.dot**2, coordinates=[x]),
            r"leaves out `y`",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, sp.Symbol("x") ** 2),
            r"`V` contains x, which is not the coordinate `x` and would count",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, sp.Function("x")(lg.time)),
            r"`V` contains x\(t\), which is not the coordinate `x`",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x * sp.Symbol("t")),
            r"`V` contains t, which is not `lg.time`.*Use `lg.time`",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, damping=k * sp.Symbol("t")),
            r"`damping` contains t, which is not `lg.time`",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2 + x * sp.Derivative(x, lg.time)),
            r"`T` contains Derivative\(x, t\).*Write `x.dot`",
        ),
        (
            lambda: lg.Lagrangian(
                x.dot**2 + lg.coordinates("x", positive=True).dot ** 2
            ),
            r"two different coordinates are called `x`",
        ),
        (
            lambda: lg.Lagrangian(sp.Function("q")(lg.time).diff(lg.time) ** 2),
            r"contain no coordinates.*which are symbols, not functions of time",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, y, coordinates=[x]),
            r"leaves out `y`, which `T` or `V` contains",
        ),
        (lambda: lg.Lagrangian("x.dot**2"), r"`T` is the text 'x.dot\*\*2', which"),
        (lambda: lg.Lagrangian(x.dot**2, [x]), r"`V` is of type list; expected"),
        (
            lambda: lg.Lagrangian(x.dot**2, x, constraints=["x"]),
            r"`constraints` is the text 'x'",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x, constraints=x - 1),
            r"`constraints` is x - 1; expected a list",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x, coordinates=x),
            r"`coordinates` is x; expected a list",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x, coordinates=[x, x]),
            r"`coordinates` names one twice: `x`, `x`",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x, coordinates=[x, k]),
            r"`coordinates` has `k`, which is no coordinate",
        ),
        (
            lambda: lg.Lagrangian(x.dot**2, x, forces=[x]),
            r"`forces` is of type list; expected a mapping",
        ),
        (
            lambda: lg.Lagrangian(sp.Matrix([x.dot**2])),
            r"`T` is of type MutableDenseMatrix; expected",
        ),
    ],
)
def test_errors_name_what_is_wrong(build, message):
    with pytest.raises(lg.InvalidLagrangian, match=message):
        build()


def test_functions_of_time_and_their_derivatives_may_drive_a_system():
    pivot = sp.Function("pivot")(lg.time)
    driven = lg.Lagrangian(m * (x.dot + pivot.diff(lg.time)) ** 2 / 2, k * x**2)
    (equation,) = driven.equations
    assert equation.lhs.has(pivot.diff(lg.time, 2))


def test_blocks_have_no_mass_matrix():
    w = lg.blocks("w")
    with pytest.raises(lg.InvalidLagrangian, match="Read `equations` instead"):
        lg.Lagrangian(lg.Inner(w.dot, w.dot)).mass_matrix  # noqa: B018
