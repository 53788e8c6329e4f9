"""Symmetries found from determining equations, and boundary terms."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import lagrangian as lg
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.exact.boundary import boundary_term
from lagrangian.symbolic.exact.function_ring import vanishes
from lagrangian.symbolic.laws.find import find_symmetries

x, y, z = lg.coordinates("x y z")
theta, phi = lg.coordinates("theta phi")
q = lg.coordinates("q1:4")
m, k, a, g, e, B, omega, gamma = sp.symbols("m k a g e B omega gamma", positive=True)
k1, k2 = sp.symbols("k1 k2", positive=True)
t = lg.time
T = m * (x.dot**2 + y.dot**2) / 2
T_space = m * (x.dot**2 + y.dot**2 + z.dot**2) / 2
T_chain = m * sum(c.dot**2 for c in q) / 2
r = sp.sqrt(x**2 + y**2)
r_space = sp.sqrt(x**2 + y**2 + z**2)
ring = [(q[i], q[(i + 1) % 3]) for i in range(3)]

SYSTEMS = {
    "line": lg.Lagrangian(m * x.dot**2 / 2),
    "free": lg.Lagrangian(T),
    "free in space": lg.Lagrangian(T_space),
    "kepler": lg.Lagrangian(T, -k / r),
    "kepler in space": lg.Lagrangian(T_space, -k / r_space),
    "isotropic": lg.Lagrangian(T, k * (x**2 + y**2) / 2),
    "anisotropic": lg.Lagrangian(T, (k1 * x**2 + k2 * y**2) / 2),
    "henon-heiles": lg.Lagrangian(T, k * (x**2 + y**2) / 2 + a * (x**2 * y - y**3 / 3)),
    "magnetic": lg.Lagrangian(T, -e * B / 2 * (x * y.dot - y * x.dot)),
    "spherical pendulum": lg.Lagrangian(
        m * (theta.dot**2 + sp.sin(theta) ** 2 * phi.dot**2) / 2,
        m * g * sp.cos(theta),
    ),
    "double pendulum": lg.Lagrangian(
        m * a**2 * (x.dot**2 + y.dot**2 / 2 + x.dot * y.dot * sp.cos(x - y)),
        -m * g * a * (2 * sp.cos(x) + sp.cos(y)),
    ),
    "toda": lg.Lagrangian(T_chain, k * sum(sp.exp(a * (b - c)) for b, c in ring)),
    "calogero": lg.Lagrangian(T_chain, sum(k / (b - c) ** 2 for b, c in ring)),
    "damped": lg.Lagrangian(m * x.dot**2 / 2, damping=gamma * t),
    "damped oscillator": lg.Lagrangian(
        m * x.dot**2 / 2, k * x**2 / 2, damping=gamma * t
    ),
    "driven": lg.Lagrangian(m * x.dot**2 / 2, -a * x * sp.cos(omega * t)),
    "relativistic": lg.Lagrangian(
        -m * k**2 * sp.sqrt(1 - (x.dot**2 + y.dot**2) / k**2)
    ),
    "none": lg.Lagrangian(T * (1 + x**2 + t**2), x**3 * y + sp.cos(t) * x * y**2 + x),
}

# System, degree, whether linear in velocities: how many symmetries L, T, V and the
# kinetic breaking have.
DIMENSIONS = {
    ("line", 2, False): (5, 1, 3, 2),
    ("free", 1, False): (7, 3, 6, 3),
    ("free", 2, False): (8, 3, 12, 9),
    ("free in space", 2, False): (12, 6, 30, 24),
    ("kepler", 1, False): (2, 3, 1, 0),
    ("kepler", 2, False): (2, 3, 3, 2),
    ("kepler", 1, True): (4, 3, 1, 0),
    ("kepler", 2, True): (5, 3, 3, 2),
    ("kepler in space", 1, False): (4, 6, 3, 0),
    ("kepler in space", 1, True): (7, 6, 3, 0),
    ("isotropic", 2, False): (2, 3, 3, 2),
    ("isotropic", 0, True): (3, 2, 0, 0),
    ("isotropic", 1, True): (4, 3, 1, 0),
    ("anisotropic", 2, False): (1, 3, 3, 3),
    ("anisotropic", 0, True): (2, 2, 0, 0),
    ("henon-heiles", 2, False): (1, 3, 1, 1),
    ("henon-heiles", 1, True): (1, 3, 0, 0),
    ("magnetic", 2, False): (4, 3, 3, 2),
    ("spherical pendulum", 1, False): (2, 1, 3, 2),
    ("double pendulum", 2, False): (1, 1, 0, 0),
    ("double pendulum", 1, True): (1, 1, 0, 0),
    ("toda", 1, False): (3, 6, 4, 3),
    ("toda", 2, False): (3, 6, 10, 9),
    # The products of energy, momentum and boost that stay quadratic; not the cubic one.
    ("toda", 1, True): (5, 6, 4, 3),
    ("calogero", 2, False): (5, 6, 10, 9),
    ("damped", 2, False): (2, 1, 3, 2),
    ("damped oscillator", 2, False): (1, 1, 0, 0),
    ("driven", 2, False): (2, 1, 0, 0),
    ("relativistic", 2, False): (6, 3, 12, 9),
    ("none", 2, False): (0, 1, 0, 0),
    ("none", 1, True): (0, 1, 0, 0),
}
_found = {}


def found_in(name, degree=1, velocities=False):
    key = name, degree, velocities
    if key not in _found:
        _found[key] = find_symmetries(SYSTEMS[name], degree, velocities=velocities)
    return _found[key]


def on_shell(system, expression):
    accelerations = system.mass_matrix.LUsolve(system.forcing)
    return expression.xreplace(
        {c.ddot: s for c, s in zip(system.coordinates, accelerations, strict=True)}
    )


def jets_of(system):
    return [*system.coordinates, *(c.dot for c in system.coordinates), t]


def characteristic(system, symmetry):
    """xi - tau qdot, which says what the generator does to paths."""
    return [symmetry.xi.get(c, 0) - symmetry.tau * c.dot for c in system.coordinates]


def rank(system, symmetries):
    """How many of the generators are independent, at random rational constants."""
    rows = []
    for symmetry in symmetries:
        row = {}
        for i, component in enumerate(characteristic(system, symmetry)):
            polynomial = sp.Poly(component, *jets_of(system))
            row |= {(i, powers): c for powers, c in polynomial.terms()}
        rows.append(row)
    columns = sorted({c for row in rows for c in row})
    return sp.Matrix([[row.get(c, 0) for c in columns] for row in rows]).rank()


# ------------------------------------------------------------------ what is found


@pytest.mark.parametrize("case", DIMENSIONS, ids=str)
def test_dimensions(case):
    found = found_in(*case)
    lists = (
        found.of_lagrangian,
        found.of_kinetic,
        found.of_potential,
        found.broken_by_kinetic,
    )
    assert tuple(map(len, lists)) == DIMENSIONS[case]
    assert found.complete and not found.unverified
    for generators in lists[:3]:
        if generators:
            assert rank(SYSTEMS[case[0]], generators) == len(generators)


def constant(law):
    """The charge for the whole L, with its damping factor."""
    return sp.exp(law.lagrangian.damping) * law.charge


def bare(symmetry):
    return symmetry.xi, symmetry.tau, symmetry.boundary


@pytest.mark.parametrize("case", DIMENSIONS, ids=str)
def test_every_charge_is_conserved_on_shell(case):
    system = SYSTEMS[case[0]]
    for item in found_in(*case).found:
        change = on_shell(system, total_derivative(constant(item)))
        assert vanishes(change, jets_of(system))


def test_the_charges_of_kepler_are_conserved_by_another_simplifier():
    for item in found_in("kepler", 1, True).found:
        change = on_shell(SYSTEMS["kepler"], total_derivative(constant(item)))
        assert sp.simplify(change) == 0


KNOWN = {
    ("free", 2, False): [
        lg.TimeTranslation(),
        lg.Translation(x),
        lg.Translation(y),
        lg.Rotation(x, y),
        lg.Symmetry({x: t}),
        lg.Symmetry({y: t}),
        lg.Symmetry({x: x, y: y}, tau=2 * t),
        lg.Symmetry({x: t * x, y: t * y}, tau=t**2),
    ],
    ("kepler", 1, True): [
        lg.TimeTranslation(),
        lg.Rotation(x, y),
        # The Runge-Lenz vector p L - m k q/r, over m^2: Q = d/dv of it.
        lg.Symmetry({x: -y * y.dot, y: 2 * x * y.dot - y * x.dot}),
        lg.Symmetry({x: 2 * y * x.dot - x * y.dot, y: -x * x.dot}),
    ],
    ("isotropic", 1, True): [
        lg.TimeTranslation(),
        lg.Rotation(x, y),
        lg.Symmetry({x: x.dot}),
        lg.Symmetry({x: y.dot, y: x.dot}),
    ],
    ("anisotropic", 0, True): [lg.Symmetry({x: x.dot}), lg.Symmetry({y: y.dot})],
    ("magnetic", 1, False): [
        lg.TimeTranslation(),
        lg.Translation(x),
        lg.Translation(y),
        lg.Rotation(x, y),
    ],
    ("spherical pendulum", 1, False): [lg.TimeTranslation(), lg.Translation(phi)],
    ("toda", 1, False): [
        lg.TimeTranslation(),
        lg.Symmetry(dict.fromkeys(q, 1)),
        lg.Symmetry(dict.fromkeys(q, t)),
    ],
    ("calogero", 2, False): [
        lg.Symmetry({c: c for c in q}, tau=2 * t),
        lg.Symmetry({c: t * c for c in q}, tau=t**2),
    ],
    ("damped oscillator", 1, False): [lg.Symmetry({x: -gamma * x / 2}, tau=1)],
    ("relativistic", 1, False): [
        lg.Symmetry({x: k**2 * t}, tau=x),
        lg.Symmetry({y: k**2 * t}, tau=y),
    ],
}


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_known_generators_lie_in_the_span(case):
    system, found = SYSTEMS[case[0]], found_in(*case).of_lagrangian
    assert rank(system, [*found, *KNOWN[case]]) == len(found)
    assert rank(system, KNOWN[case]) == len(KNOWN[case])
    # Control: what is no symmetry does not.
    stranger = lg.Symmetry({system.coordinates[0]: system.coordinates[0]})
    assert rank(system, [*found, stranger]) == len(found) + 1


def test_the_boundary_term_gives_delta_L():
    for name in ("magnetic", "kepler", "damped oscillator", "driven"):
        system = SYSTEMS[name]
        for item in found_in(name, 1, velocities=name == "kepler").found:
            xi, tau = item.symmetry.xi, item.symmetry.tau
            motion = {**xi, t: tau}
            for c in system.coordinates:
                slope = total_derivative(xi.get(c, 0))
                motion[c.dot] = slope - c.dot * total_derivative(tau)
            L = system.expression
            change = variation(L, motion) + L * total_derivative(tau)
            variables = [*jets_of(system), *(c.ddot for c in system.coordinates)]
            difference = change - total_derivative(item.symmetry.boundary)
            assert vanishes(difference, variables)


def test_boundary_terms_and_charges_of_a_magnetic_field():
    by_name = {item.symmetry.name: item for item in found_in("magnetic", 1).found[1:3]}
    item = by_name["translation"]
    assert item.symmetry.xi == {y: 1}
    assert sp.expand(item.symmetry.boundary + e * B * x / 2) == 0
    assert sp.expand(item.charge - m * y.dot - e * B * x) == 0


def test_the_charge_is_that_of_noether_less_the_boundary_term():
    for name in ("magnetic", "kepler", "damped oscillator"):
        system = SYSTEMS[name]
        for item in found_in(name, 1, velocities=name == "kepler").found:
            assert item == lg.noether(system, item.symmetry)
            xi, tau, boundary = bare(item.symmetry)
            charge = lg.noether(system, lg.Symmetry(xi, tau)).charge
            difference = charge * sp.exp(system.damping) - boundary - constant(item)
            assert vanishes(difference, jets_of(system))
            rate = total_derivative(item.conserved)
            assert vanishes(on_shell(system, rate), jets_of(system))


def test_kinetic_breaking_holds_what_T_breaks():
    found = found_in("kepler", 2)
    for symmetry in found.broken_by_kinetic:
        law = lg.noether(SYSTEMS["kepler"], symmetry)
        assert sp.simplify(law.potential) == 0
        assert sp.simplify(law.kinetic) != 0
    for symmetry in found.of_kinetic:
        assert sp.simplify(lg.noether(SYSTEMS["kepler"], symmetry).kinetic) == 0


def test_two_layers_break_their_scales_by_their_kinetic_energy():
    """V depends on the product of two weights only: rescaling, broken by T."""
    system = lg.Lagrangian(T, (x * y - 1) ** 2, damping=gamma * t)
    (broken,) = find_symmetries(system, 1).broken_by_kinetic
    assert broken.name == "rescale" and broken.xi == {x: x, y: -y}


# ------------------------------------------------------------------ completeness


def directly(system, degree):
    """The number of symmetries by a plain ansatz with a polynomial B, as an oracle.

    For polynomial Lagrangians with numbers for constants.
    """
    coordinates, L = system.coordinates, system.expression
    top = degree + sp.Poly(L, *jets_of(system)).total_degree()

    def ansatz(degree):
        powers = sp.itermonomials([*coordinates, t], degree)
        return sum(sp.Dummy() * monomial for monomial in powers)

    xi = {c: ansatz(degree) for c in coordinates}
    tau, boundary = ansatz(degree), ansatz(top)
    constants = sp.Tuple(tau, *xi.values(), boundary).atoms(sp.Dummy)
    moving = sp.Tuple(tau, *xi.values()).atoms(sp.Dummy)
    total = L.diff(t) * tau + L * total_derivative(tau) - total_derivative(boundary)
    for c in coordinates:
        speed = total_derivative(xi[c]) - c.dot * total_derivative(tau)
        total += L.diff(c) * xi[c] + L.diff(c.dot) * speed
    rows = sp.Poly(total, *jets_of(system)).coeffs()
    constants = sorted(constants, key=lambda d: (d in moving, d.dummy_index))
    matrix, _ = sp.linear_eq_to_matrix(rows, constants)
    # The constant in B is free.
    return len(constants) - matrix.rank() - 1


POLYNOMIAL = {
    "free": (T.subs(m, 1), 0),
    "constant force": (T.subs(m, 1), 3 * x),
    "isotropic": (T.subs(m, 1), x**2 + y**2),
    "rotated": (T.subs(m, 1), x * y),
    "magnetic": (T.subs(m, 1), x * y.dot - y * x.dot),
    "quartic": (T.subs(m, 1), (x**2 + y**2) ** 2),
    "valley": (T.subs(m, 1), (x - 2 * y) ** 3),
    "curved": (x.dot**2 / 2 * (1 + y**2) + y.dot**2 / 2, 0),
    "in time": (T.subs(m, 1), t * x),
}


@pytest.mark.parametrize("name", POLYNOMIAL)
@pytest.mark.parametrize("degree", [1, 2])
def test_as_many_as_a_plain_ansatz_finds(name, degree):
    system = lg.Lagrangian(*POLYNOMIAL[name], coordinates=(x, y))
    found = find_symmetries(system, degree)
    assert len(found.found) == directly(system, degree)


def test_the_oracle_agrees_on_random_polynomials():
    chance = np.random.default_rng(0)
    for _ in range(6):
        numbers = chance.integers(-1, 2, 6)
        terms = (x, y**2, x * y, x.dot * y, x**2 * y, x.dot * y.dot / 3)
        V = sum(
            sp.Integer(int(n)) * term for n, term in zip(numbers, terms, strict=True)
        )
        system = lg.Lagrangian(T.subs(m, 1), V, coordinates=(x, y))
        assert len(find_symmetries(system, 1).found) == directly(system, 1), V


def test_linear_coordinates_do_not_matter():
    """The number of symmetries is the same in coordinates u = A q."""
    slanted = {x: 2 * x + y, y: x - 3 * y, x.dot: 2 * x.dot + y.dot}
    slanted[y.dot] = x.dot - 3 * y.dot
    for name, velocities in (("kepler", True), ("magnetic", False)):
        old = SYSTEMS[name]
        new = lg.Lagrangian(old.T.xreplace(slanted), old.V.xreplace(slanted))
        found = find_symmetries(new, 1, velocities=velocities)
        before = found_in(name, 1, velocities)
        assert len(found.found) == len(before.found)
        assert len(found.of_kinetic) == len(before.of_kinetic)


SAME = {
    "double angle": (sp.cos(2 * x), 1 - 2 * sp.sin(x) ** 2),
    "half angle": (sp.sin(x), 2 * sp.sin(x / 2) * sp.cos(x / 2)),
    "pythagoras": (sp.S.Zero, sp.sin(x * y) ** 2 + sp.cos(x * y) ** 2),
    "addition": (sp.cos(x - y), sp.cos(x) * sp.cos(y) + sp.sin(x) * sp.sin(y)),
    "tangent": (sp.sin(x), sp.tan(x) * sp.cos(x)),
    "hyperbolic": (sp.S.Zero, sp.cosh(x) ** 2 - sp.sinh(x) ** 2),
    "exponents": (sp.exp(x - y), sp.exp(2 * x) * sp.exp(-x - y)),
    "root": (x**2 + y**2, sp.sqrt((x + y) ** 2 - 2 * x * y) ** 2),
    "quotient": (1 / r, r / (x**2 + y**2)),
    "power": (r ** (2 * a), (x**2 + y**2) ** (a + 1) / (x**2 + y**2)),
    "logarithms": (sp.S.Zero, sp.log(x * y) - sp.log(x) - sp.log(y)),
    "constants": (sp.log(6) * x, (sp.log(2) + sp.log(3)) * x),
    "Euler's number": (sp.exp(x + 1), sp.E * sp.exp(x)),
    "decay": (sp.exp(-x) * sp.cos(x), sp.exp(-x) * (2 * sp.cos(x / 2) ** 2 - 1)),
    "absolute value": (sp.S.Zero, sp.Abs(x) ** 2 - x**2),
}


@pytest.mark.parametrize("name", SAME)
def test_the_form_of_a_function_does_not_matter(name):
    """A relation overlooked would lose symmetries."""
    found = [find_symmetries(lg.Lagrangian(T, V), 1) for V in SAME[name]]
    assert all(f.complete and not f.unverified for f in found)
    plain, other = ([s.symmetry.name for s in f.found] for f in found)
    assert plain == other


def test_three_phases_cancel():
    phases = sum(sp.cos(x + 2 * sp.pi * i / 3) for i in range(3))
    found = find_symmetries(lg.Lagrangian(T, phases * y), 2)
    assert len(found.found) == len(found_in("free", 2).found)
    two = find_symmetries(lg.Lagrangian(T, phases * y - sp.cos(x) * y), 2)
    assert len(two.found) == 1


@pytest.mark.parametrize(
    "potential",
    [
        sp.besselj(0, r),
        sp.sqrt(x) * sp.sqrt(y) * sp.sqrt(x * y),
        sp.log(sp.sin(x)) - sp.log(1 - sp.cos(x)) / 2 - sp.log(1 + sp.cos(x)) / 2,
        sp.Abs(x * y) - sp.Abs(x) * sp.Abs(y),
        4**x - 2 ** (2 * x),
        sp.cos(sp.pi / 7) * x**2 + y**2,
        sp.exp(sp.sin(x) ** 2) + sp.exp(sp.cos(x) ** 2),
        sp.exp(a * x / (x + 1)) + sp.exp(-a / (x + 1)),
        sp.Function("f")(x) + sp.Function("f")(y),
    ],
    ids=str,
)
def test_it_says_where_more_may_be(potential):
    found = find_symmetries(lg.Lagrangian(T, potential), 1)
    assert not found.complete
    assert "There may be more" in str(found)
    for item in found.found:
        change = on_shell(found.lagrangian, total_derivative(constant(item)))
        point = {s: sp.Rational(3 + i, 8) for i, s in enumerate(change.free_symbols)}
        f = sp.Function("f")
        number = change.subs(f, sp.cosh).doit().xreplace(point).evalf(50)
        assert abs(number) < 1e-40


def test_an_algebraic_constant_hides_nothing():
    """V is a square of a length, and turns in it: over sqrt(2)."""
    found = find_symmetries(lg.Lagrangian(T, sp.sqrt(2) * x**2 + 2 * y**2), 1)
    (turn,) = found.of_potential
    assert found.complete
    assert sp.expand(turn.xi[x] / turn.xi[y] + sp.sqrt(2) * y / x) == 0


@pytest.mark.parametrize(
    "potential",
    [
        sp.Function("f")(r),
        -k * sp.exp(-a * r) / r,
        k * r**a,
        sp.log(r),
        sp.sqrt(1 + r),
    ],
    ids=str,
)
def test_central_potentials_keep_energy_and_angular_momentum(potential):
    found = find_symmetries(lg.Lagrangian(T, potential), 1)
    assert [s.name for s in found.of_lagrangian] == ["time translation", "rotation"]
    assert found.complete


def test_parameters_are_generic():
    """Two spring constants that may differ allow no rotation; one does."""
    assert len(found_in("anisotropic", 2).found) == 1
    equal = lg.Lagrangian(T, SYSTEMS["anisotropic"].V.subs(k2, k1))
    assert [s.name for s in find_symmetries(equal).of_lagrangian][1] == "rotation"
    # And parameters enter the generators exactly.
    valley = lg.Lagrangian(T, (sp.sqrt(k1) * x + k2 * y) ** 2)
    found = find_symmetries(valley).of_lagrangian[1]
    assert sp.simplify(found.xi[x] * sp.sqrt(k1) + found.xi[y] * k2) == 0


# ------------------------------------------------------------------ along paths

VALUES = {m: 1.3, k: 0.9, a: 0.4, g: 2.0, e: 1.1, B: 0.7, gamma: 0.3, omega: 1.7}
VALUES |= {k1: 1.2, k2: 0.5}


def drift(system, charges, end=6.0):
    """The largest change of each charge along one numerical path, relative to 1."""
    n = len(system.coordinates)
    arguments = [*system.coordinates, *(c.dot for c in system.coordinates), t]
    accelerations = system.mass_matrix.LUsolve(system.forcing).subs(VALUES)
    force = sp.lambdify(arguments, list(accelerations))
    start = [0.8, 0.3, -0.7][:n] + [0.2, 0.6, -0.4][:n]
    path = solve_ivp(
        lambda now, s: [*s[n:], *force(*s, now)],
        (0, end),
        start,
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
        dense_output=True,
    )
    times = np.linspace(0, end, 60)
    states = path.sol(times)
    result = []
    for charge in charges:
        value = sp.lambdify(arguments, charge.subs(VALUES))
        series = np.broadcast_to(value(*states, times), times.shape)
        result.append(np.ptp(series))
    return result


PATHS = [
    ("kepler", 1, True),
    ("isotropic", 1, True),
    ("henon-heiles", 1, False),
    ("magnetic", 1, False),
    ("spherical pendulum", 1, False),
    ("double pendulum", 1, False),
    ("toda", 1, True),
    ("calogero", 2, False),
    ("damped", 2, False),
    ("damped oscillator", 1, False),
    ("driven", 2, False),
    ("relativistic", 2, False),
    ("free in space", 2, False),
    ("kepler in space", 1, True),
    ("anisotropic", 0, True),
]


@pytest.mark.parametrize("case", PATHS, ids=str)
def test_charges_stay_constant_along_a_path_and_others_drift(case):
    system = SYSTEMS[case[0]]
    end = 2.0 if case[0] == "calogero" else 6.0
    assert max(drift(system, [constant(i) for i in found_in(*case).found], end)) < 1e-8
    first = system.coordinates[0]
    stranger = lg.noether(system, lg.Symmetry({first: 1 + first}))
    assert min(drift(system, [stranger.charge], end)) > 1e-2


def test_the_charge_without_its_boundary_term_drifts():
    item = found_in("magnetic", 1).found[1]
    system = SYSTEMS["magnetic"]
    xi, tau, boundary = bare(item.symmetry)
    alone = lg.noether(system, lg.Symmetry(xi, tau)).charge
    assert boundary != 0
    assert drift(system, [alone])[0] > 1e-2 > 1e-8 > drift(system, [item.charge])[0]


# ------------------------------------------------------------------ presentation


def test_names():
    names = [s.name for s in found_in("free", 2).of_lagrangian]
    assert sorted(names) == [
        "Galilean boost",
        "Galilean boost",
        "dilation",
        "expansion",
        "rotation",
        "time translation",
        "translation",
        "translation",
    ]
    energy, rotation = found_in("kepler").found
    assert sp.simplify(energy.charge - SYSTEMS["kepler"].energy) == 0
    assert sp.expand(rotation.charge - m * (x * y.dot - y * x.dot)) == 0


def test_it_prints_one_generator_a_line():
    text = str(found_in("kepler"))
    assert "  rotation: xi_x = -y, xi_y = x; charge m*x*y.dot - m*x.dot*y" in text
    assert "of V, broken by T: none" in text
    assert repr(found_in("kepler")).startswith(text + "\n  next: ")
    latex = found_in("kepler")._repr_latex_()
    assert r"\text{rotation} && \xi_{x} = - y, \xi_{y} = x && m x \dot{y}" in latex
    assert "and 5 more" in str(found_in("free in space", 2))
    assert r"\vdots" in found_in("free in space", 2)._repr_latex_()


def test_blocks_are_refused():
    w = lg.blocks("w")
    system = lg.HeavyBall(0.1).lagrangian(lg.Loss("f", w))
    with pytest.raises(lg.InvalidSymmetry, match="needs scalar coordinates"):
        find_symmetries(system)


@pytest.mark.parametrize(
    "extra",
    [{"forces": {x: y}}, {"dissipation": x.dot**2}, {"constraints": [x - y]}],
    ids=str,
)
def test_forces_are_refused(extra):
    with pytest.raises(lg.InvalidSymmetry, match="Leave them out"):
        find_symmetries(lg.Lagrangian(T, x * y, **extra))


def test_too_large_an_ansatz_names_the_degree_that_fits():
    ten = lg.coordinates("s1:11")
    system = lg.Lagrangian(sum(s.dot**2 for s in ten))
    with pytest.raises(lg.InvalidSymmetry, match="15015 unknowns.*`degree=2`"):
        find_symmetries(system, 4)
    many = lg.Lagrangian(sum(s.dot**2 for s in lg.coordinates("s1:81")))
    with pytest.raises(lg.InvalidSymmetry, match="No degree fits"):
        find_symmetries(many, 1, velocities=True)
    with pytest.raises(lg.InvalidSymmetry, match="`degree` is 1.5"):
        lg.find_symmetries(lg.Lagrangian(x.dot**2), degree=1.5)
    with pytest.raises(lg.InvalidLagrangian, match="takes a `Lagrangian`, and got str"):
        lg.find_symmetries("x.dot**2")
    with pytest.raises(lg.InvalidSymmetry, match="`degree` is -1"):
        find_symmetries(system, -1)


def test_what_has_no_closed_form_is_not_claimed():
    """A field whose boundary term is an integral that SymPy does not know."""
    f = sp.Function("f")
    found = find_symmetries(lg.Lagrangian(T, f(x) * y.dot), 0)
    assert [s.xi for s in found.unverified] == []
    found = find_symmetries(lg.Lagrangian(T, f(x) * x.dot * y), 0)
    (translation,) = found.unverified
    assert translation.xi == {y: 1}
    assert "without a boundary term in closed form: 1" in str(found)
    # Over time alone, an integral is as good as any function.
    driven = find_symmetries(lg.Lagrangian(m * x.dot**2 / 2, -x * f(t)), 0)
    assert driven.found[0].charge == m * x.dot - sp.Integral(f(t), t)


def test_three_bodies_in_the_plane():
    xs, ys = lg.coordinates("x1:4"), lg.coordinates("y1:4")
    masses = sp.symbols("m1:4", positive=True)
    kinetic = sum(
        w * (b.dot**2 + c.dot**2) / 2 for w, b, c in zip(masses, xs, ys, strict=True)
    )
    potential = -sum(
        g * masses[i] * masses[j] / sp.sqrt((xs[i] - xs[j]) ** 2 + (ys[i] - ys[j]) ** 2)
        for i, j in [(0, 1), (0, 2), (1, 2)]
    )
    found = find_symmetries(lg.Lagrangian(kinetic, potential), 1)
    # Energy, momentum, angular momentum and the centre of mass.
    assert len(found.found) == 7 and found.complete


# ------------------------------------------------------------------ boundary terms

BOUNDARIES = [
    x * t,
    x**2 * y * t,
    x.dot**2 * y / m + x * t,
    k * x / r,
    k * r,
    x * sp.cos(omega * t),
    x.dot * sp.sin(x - y),
    sp.exp(gamma * t) * x * y.dot,
    sp.exp(sp.sin(t)) * x,
    sp.log(x**2 + y**2),
    sp.atan(x),
    sp.Function("f")(x) * y,
    x**a * y,
    sp.exp(-a * r) / r,
    x.ddot * y + sp.cos(x.dot),
    sp.tan(x),
    y * sp.tanh(x),
    1 / (1 + sp.cos(x)),
    sp.sqrt(k / m) * x,
    x.dot * y.dot / r,
    sp.sqrt(1 - x.dot**2),
    sp.Abs(x),
    t * sp.cos(t),
    1 + x - x,
]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_the_total_derivative_is_inverted(boundary):
    found = boundary_term(total_derivative(boundary))
    assert found is not None
    difference = total_derivative(found - boundary)
    variables = [s._at(i) for s in (x, y) for i in range(4)] + [t]
    assert vanishes(difference, variables)


@pytest.mark.parametrize(
    ("expression", "boundary"),
    [
        (sp.S.Zero, sp.S.Zero),
        (x.dot / (1 + x**2), sp.atan(x)),
        (x.dot / x + t**2, sp.log(x) + t**3 / 3),
        (sp.Function("f")(t), sp.Integral(sp.Function("f")(t), t)),
        (x.dot * sp.exp(-(x**2)), sp.sqrt(sp.pi) * sp.erf(x) / 2),
    ],
    ids=str,
)
def test_functions_of_one_coordinate_are_integrated(expression, boundary):
    assert sp.simplify(boundary_term(expression) - boundary) == 0


@pytest.mark.parametrize(
    "expression",
    [
        x,
        x.dot**2,
        x * y.dot,
        x.dot * t,
        x.dot * x.ddot * y,
        x.dot / r,
        sp.cos(x),
        x.ddot**2,
        sp.exp(x.dot),
    ],
    ids=str,
)
def test_what_is_no_total_derivative_has_none(expression):
    assert boundary_term(expression) is None


def test_blocks_have_no_boundary_term():
    w = lg.blocks("w")
    assert boundary_term(lg.Inner(w, w.dot)) is None
