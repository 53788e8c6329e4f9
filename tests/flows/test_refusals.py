"""Arguments that cannot be: each is refused by its name, and at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from scipy.optimize import fsolve

import lagrangian as lg

x, y, th, ph = lg.coordinates("x y th ph")
g, k, n = sp.symbols("g k n", positive=True)
POWER = lg.Lagrangian(x.dot**2 / 2, k * x**n / n)
BALL = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, g * y), {g: 9.81})
REST = {x: 0.0, y: 0.0}
w = lg.blocks("w")
BLOCK = lg.lower(lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, lg.Inner(w, w) / 2))


# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    "value",
    [
        *(np.nan, np.inf, None, "9.81", 1j, np.complex128(1), sp.Symbol("q"), sp.I),
        *([9.81], np.ones(2), jnp.ones(3), lambda x: x, 10**400),
    ],
)
def test_a_parameter_that_is_no_number_is_named(value):
    message = r"`parameters` has .* for `g`. Pass a finite real number, such as"
    with pytest.raises(lg.CannotLower, match=message):
        lg.lower(BALL.lagrangian, {g: value})
    with pytest.raises(lg.CannotLower, match=message):
        BALL.with_parameters({g: value})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"g": 9.81}, "has the key 'g', which is no symbol"),
        ({g: 9.81, x: 1.0}, "a value for `x`, which is a coordinate"),
        ({g: 9.81, lg.time: 1.0}, "a value for `t`, which is time"),
        ([9.81], "pass a mapping from symbols to numbers"),
        ({g: 9.81, lg.LinearMap("A"): 2.0}, "for the linear map `A`. Pass a function"),
    ],
)
def test_parameters_are_numbers_by_symbol(parameters, message):
    with pytest.raises(lg.CannotLower, match=message):
        lg.lower(BALL.lagrangian, parameters)


def test_exact_and_long_numbers_are_numbers():
    given = lg.lower(POWER, {k: sp.Rational(1, 4), n: 10**30}).given
    assert given == {k: 0.25, n: 1e30}


def test_traced_parameters_stay_allowed():
    def end(value):
        moved = BALL.with_parameters({g: value})
        return moved.acceleration(jnp.zeros(2), jnp.zeros(2))[1]

    with jax.enable_x64(True):
        assert jax.grad(end)(9.81) == -1.0
        assert jax.jit(end)(2.0) == -2.0


# ------------------------------------------------------------------ exponents


def test_an_exponent_is_an_exact_number():
    flow = lg.lower(POWER, {k: 1.0, n: 4.0})
    literal = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**4 / 4))
    assert flow.lagrangian.V == k * x**4 / 4 and flow.given == {k: 1.0, n: 4.0}
    assert lg.lower(POWER, {k: 1.0, n: 2.5}).lagrangian.V == 2 * k * x ** (
        sp.Rational(5, 2)
    ) / sp.S(5)
    path = flow.integrate({x: 1.0}, {x: 0.0}, (0, 1))
    assert path[x][-1] == pytest.approx(0.5959766, abs=1e-7)
    # From x = 0, where x**n/x is 0/0.
    start = {x: 0.0}, {x: 1.0}, (0, 1)
    flow.integrate(*start, laws=[lg.noether(POWER, lg.Translation(x))])
    path, expected = flow.integrate(*start), literal.integrate(*start)
    np.testing.assert_allclose(path[x], expected[x], atol=1e-14)
    assert path.steps == expected.steps
    np.testing.assert_allclose(path[x.ddot], -(path[x] ** 3), atol=1e-15)
    # Laws and expressions in n, and what was integrated by quadrature.
    np.testing.assert_allclose(path.evaluate(x**n / x), path[x] ** 3, atol=1e-15)
    energy = lg.noether(POWER, lg.TimeTranslation())
    np.testing.assert_allclose(path.charge(energy), 0.5, rtol=1e-9)
    terms = lg.lower(lg.noether(POWER, lg.Translation(x)), {k: 1.0, n: 4.0})
    assert terms({x: 0.0}, {x: 1.0})["potential"] == 0.0


def test_other_exponents_are_lowered_anew():
    flow = lg.lower(POWER, {k: 1.0, n: 4.0})
    square = flow.with_parameters({n: 2.0})
    path = square.integrate({x: 1.0}, {x: 0.0}, (0, 1))
    assert path[x][-1] == pytest.approx(np.cos(1.0), abs=1e-9)
    both = square.with_parameters({k: 4.0})
    assert both.given == {k: 4.0, n: 2.0} and both.parameters == {k: 4.0}
    path = both.integrate({x: 1.0}, {x: 0.0}, (0, 1))
    assert path[x][-1] == pytest.approx(np.cos(2.0), abs=1e-9)

    def push(exponent):
        moved = flow.with_parameters({n: exponent})
        return moved.acceleration(jnp.array([2.0]), jnp.zeros(1))[0]

    with jax.enable_x64(True):
        assert jax.grad(push)(4.0) == pytest.approx(-8 * np.log(2), rel=1e-14)


def test_float_exponents_are_exact_too():
    flow = lg.lower(lg.Lagrangian(x.dot**2.0 / 2, x**2.0 / 2))
    assert flow.lagrangian == lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    path = flow.integrate({x: 0.0}, {x: 1.0}, (0, 1))
    assert path[x][-1] == pytest.approx(np.sin(1.0), abs=1e-9)


def test_an_exponent_that_makes_the_potential_infinite_is_named():
    with pytest.raises(lg.CannotLower, match="is not finite for `n` = 0"):
        lg.lower(POWER, {k: 1.0, n: 0.0})


# ------------------------------------------------------------------ states


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({x: 0.0, y: np.nan}, "has nan for `y`"),
        ({x: 0.0, y: -np.inf}, "has -inf for `y`"),
        ({x: 0.0, y: 1j}, "has 1j for `y`"),
        ({x: None, y: 0.0}, "has None for `x`"),
        ({x: 0.0, y: "1"}, "has '1' for `y`"),
        ({x: 0.0}, "has no value for `y`"),
        ({x: 0.0, "y": 0.0}, "has the text 'y' as a key.*without quotes"),
        (
            {**REST, th: 0.0},
            "has the key `th`, which is no coordinate.*Known: `x`, `y`",
        ),
        ({x: 0.0, y.dot: 0.0}, r"has the key `y.dot`.*write `y`"),
        ({sp.Symbol("x"): 0.0, y: 0.0}, "has the key `x`, which is another symbol"),
        (None, "is None; expected a mapping"),
        ("rest", "is 'rest'; expected a mapping"),
    ],
)
def test_a_state_that_is_none_is_named(state, message):
    for what, arguments in (("q0", (state, REST)), ("v0", (REST, state))):
        with pytest.raises(lg.LagrangianError, match=f"`{what}` {message}"):
            BALL.integrate(*arguments, (0, 1))
    if state is not None and not isinstance(state, str):
        with pytest.raises(lg.LagrangianError, match=f"`q0` {message}"):
            BALL.ensemble(state, REST, (0, 1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([0.0, np.inf], "`q0` has inf for `y`"),
        ([0.0, 1j], r"`q0` is \[0.0, 1j\]; expected"),
        ([0.0], r"`q0` has shape \(1,\); expected"),
    ],
)
def test_a_list_is_one_number_for_each_coordinate(state, message):
    with pytest.raises(lg.LagrangianError, match=message):
        BALL.integrate(state, REST, (0, 1))


def test_members_are_as_many_for_each_coordinate():
    with pytest.raises(lg.LagrangianError, match="has 2 for `x`, 3 for `y`: pass as"):
        BALL.ensemble({x: [1.0, 2.0], y: [1.0, 2.0, 3.0]}, REST, (0, 1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"v": np.ones(2), "w": np.ones(2)}, "the key `v`, which is no block"),
        ({}, "has no array for `w`"),
        ({"w": [np.nan, 0.0]}, "something else than finite real numbers for `w`"),
        ({"w": "1"}, "something else than finite real numbers for `w`"),
        ([1.0], "is of type list; expected a mapping from blocks"),
        ({"w": np.ones(3)}, r"`v0` has shape \(2,\) for `w`, and `q0` has \(3,\)"),
    ],
)
def test_states_of_blocks_are_named_too(state, message):
    with pytest.raises(lg.LagrangianError, match=message):
        BLOCK.integrate(state, {"w": np.ones(2)}, (0, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t": "now"}, "`t` must be increasing times"),
        ({"t": (0, 1j)}, "`t` must be increasing times"),
        ({"t": 1.0}, "`t` must be increasing times"),
        ({"points": np.nan}, "`points` is nan"),
        ({"points": "many"}, "`points` is 'many'"),
        ({"points": 10**15}, "do not fit into memory"),
        ({"tol": "a"}, "`tol` is 'a'"),
        ({"tol": None}, "`tol` is None"),
        ({"max_steps": -1}, "`max_steps` is -1; write a whole number from 1 on"),
        ({"max_steps": 1.5}, "`max_steps` is 1.5"),
        ({"max_steps": None}, "`max_steps` is None"),
        ({"max_step": "a"}, "`max_step` is 'a'"),
        ({"atol": "a"}, "`atol` is 'a'"),
        ({"laws": 1}, "`laws` is 1; pass a list of laws"),
    ],
)
def test_what_is_asked_is_checked(arguments, message):
    given = {"q0": REST, "v0": REST, "t": (0, 1)} | arguments
    with pytest.raises(lg.LagrangianError, match=message):
        BALL.integrate(**given)


@pytest.mark.parametrize(
    ("surface", "others", "message"),
    [
        ([x, y], {}, "`surface` is a list. Pass one expression"),
        ("x", {}, "`surface` is the text 'x'"),
        (th, {}, "no value for `th`, which the surface contains"),
        (x, {"direction": "up"}, "`direction` is 'up'"),
        (x, {"count": 0}, "`count` is 0; write a whole number from 1 on"),
        (x, {"count": "a"}, "`count` is 'a'"),
    ],
)
def test_a_surface_is_one_expression(surface, others, message):
    with pytest.raises(lg.LagrangianError, match=message):
        BALL.section(REST, REST, surface, (0, 1), **others)


# ------------------------------------------------------------------ paths


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("x", "got the text 'x'. Nearest: `x`"),
        (th, "got `th`. Known: `x`, `y`"),
        (x + y, r"Write `path.evaluate\(x \+ y\)`"),
        (x.ddot.dot, "above the acceleration `x.ddot`"),
        (0, "got an object of type int"),
    ],
)
def test_a_path_is_asked_by_symbols(key, message):
    path = BALL.integrate(REST, REST, (0, 1), points=2)
    np.testing.assert_allclose(path[y.ddot], [-9.81, -9.81], rtol=1e-15)
    with pytest.raises(lg.LagrangianError, match=message):
        path[key]


def test_a_path_of_blocks_has_accelerations_and_no_series():
    path = BLOCK.integrate({"w": np.ones(3)}, {"w": np.zeros(3)}, (0, 1), points=3)
    np.testing.assert_allclose(path[w.ddot], -path[w], rtol=1e-14)
    with pytest.raises(lg.LagrangianError, match="`at` follows Taylor series"):
        path.at(0.5)
    with pytest.raises(lg.LagrangianError, match="`t` is 'now'; write a time"):
        BALL.integrate(REST, REST, (0, 1), points=2).at("now")


# ------------------------------------------------------------------ starts


def test_a_singular_start_names_its_coordinate():
    flow = lg.lower(
        lg.Lagrangian(
            th.dot**2 / 2 + sp.sin(th) ** 2 * ph.dot**2 / 2, -9.81 * sp.cos(th)
        )
    )
    pole, moving = {th: 0.0, ph: 0.0}, {th: 1.0, ph: 0.0}
    message = "mass matrix is singular at the start .* no acceleration.*`ph.dot`"
    with pytest.raises(lg.IntegrationFailed, match=message) as caught:
        flow.integrate(pole, moving, (0, 1))
    assert len(caught.value.trajectory.t) <= 1
    with pytest.raises(lg.IntegrationFailed, match=message):
        flow.section(pole, moving, th - 1, (0, 1))


def test_a_force_that_is_infinite_at_the_start_is_named():
    flow = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y - 1 / x))
    with pytest.raises(lg.IntegrationFailed, match="equation for `x.ddot` is not fin"):
        flow.integrate(REST, REST, (0, 1))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e3])
def test_constraints_are_judged_in_no_units(size):
    """A four-bar linkage, of nanometres, metres and kilometres."""
    a, b, c = lg.coordinates("a b c")
    l, m = sp.symbols("l m", positive=True)
    held = [
        l * (sp.cos(a) + 2 * sp.cos(b) - 2 * sp.cos(c)) - 5 * l / 2,
        l * (sp.sin(a) + 2 * sp.sin(b) - 2 * sp.sin(c)),
    ]
    inertia = m * l**2 * (a.dot**2 + 4 * b.dot**2 + 4 * c.dot**2) / 2
    flow = lg.lower(lg.Lagrangian(inertia, constraints=held), {l: size, m: 1e-3})
    angles = [1.0, *fsolve(lambda bc: _gaps(1.0, *bc), [0.3, 1.5], xtol=1e-14)]
    rest = np.zeros(3)
    with jax.enable_x64(True):
        flow._check_start(np.array(angles), rest, 0.0)
        flow._check_start(np.array(angles) + [0, 0, 1e-10], rest, 0.0)
        for moved, what in ((1e-6, "`q0`"), (0.0, "`v0`")):
            state = np.array(angles) + [0, 0, moved], rest + [0, 0, 1e-6]
            with pytest.raises(lg.LagrangianError, match=f"{what} v.*project=True"):
                flow._check_start(*state, 0.0)


def _gaps(a, b, c):
    return (
        np.cos(a) + 2 * np.cos(b) - 2 * np.cos(c) - 2.5,
        np.sin(a) + 2 * np.sin(b) - 2 * np.sin(c),
    )


def test_rounding_is_no_violation():
    flow = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, x**2, constraints=[y]))
    with jax.enable_x64(True):
        flow._check_start(np.array([1.0, 1.2e-16]), np.array([1.0, 6e-17]), 0.0)
        flow._check_start(np.array([1.0, 0.0]), np.array([0.0, 1e-17]), 0.0)
        with pytest.raises(lg.LagrangianError, match="`q0` violates"):
            flow._check_start(np.array([1.0, 1e-7]), np.zeros(2), 0.0)
