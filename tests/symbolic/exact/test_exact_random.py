"""No exact answer is claimed in vain: random expressions, independent 50 digits."""

import random

import mpmath as mp
import pytest
import sympy as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lagrangian as lg

x, y = lg.coordinates("x y")
t = lg.time
p, q, w, g = sp.symbols("p q w g", positive=True)
a = sp.Symbol("a", real=True)
JETS = [x, y, x.dot, y.dot, x.ddot, y.ddot, x._at(3), y._at(3), x._at(4), y._at(4)]
SYMBOLS = [*JETS, t, p, q, w, g, a]

CONSTANTS = [
    *(sp.S.One, sp.S(-2), sp.Rational(1, 3), p, a, q / p, sp.pi, 1 / (1 + p)),
    *(sp.sqrt(2), sp.sqrt(6), sp.cbrt(2), 1 / (1 + sp.sqrt(3)), sp.GoldenRatio),
    *(sp.sqrt(p**2 + q**2), sp.sqrt(w**2 - g**2 / 4), sp.sqrt(p + q), sp.sqrt(p)),
    *(sp.sqrt(p) * sp.sqrt(p + q), sp.sqrt(p**2 + p * q), sp.Abs(a), sp.sign(a)),
    *(sp.sqrt(3 + 2 * sp.sqrt(2)), sp.sqrt(1 + sp.sqrt(p)), sp.cos(sp.pi / 7)),
    *(sp.exp(-p), p**q, sp.sqrt(1 / (1 + p)), sp.log(6), sp.sin(1)),
]
RATES = [
    *(p, q, p + q, p - q, sp.sqrt(p**2 + q**2), sp.sqrt(w**2 - g**2 / 4), sp.S.One),
    *(sp.sqrt(2), sp.sqrt(2) + 1, p / 2, sp.sqrt(p * q), g / 2, -g / 2, sp.pi),
]
FORMS = [x, y, x - y, x + 2 * y, x - p * t, x * y, x**2 + y**2]


def pieces(form):
    return sp.Piecewise((form**2, form < sp.Rational(1, 5)), (form, True))


SMOOTH = [lambda f: f, lambda f: f**2, sp.sin, sp.cos, sp.exp]
FUNCTIONS = [
    *(*SMOOTH, lambda f: sp.exp(-f), lambda f: sp.sqrt(1 + f**2), sp.tanh, sp.atan),
    *(sp.Abs, sp.sign, pieces, lambda f: sp.log(1 + f**2), sp.cosh, lambda f: f**p),
    *(lambda f: 1 / (2 + sp.cos(f)), lambda f: 1 / (1 + f**2), lambda f: 1 / f),
    *(lambda f: sp.Max(f, 0), lambda f: sp.sqrt(f**2 + sp.sqrt(2))),
    *(lambda f: sp.Abs(f) ** 3, sp.sqrt),
]
POWERS = [sp.S.One, t, t**2, x, x * y, x.dot, y.dot, x.dot**2]


def random_function(chance, functions):
    rate = chance.choice(RATES)
    argument = chance.choice([chance.choice(FORMS), rate * t, rate * x])
    return chance.choice(functions)(argument)


def random_sum(chance, functions, powers=POWERS, most=3):
    """Of products of a constant, functions and powers, with a clock now and then."""
    terms = []
    for _ in range(chance.randint(1, most)):
        other = chance.choice(
            [chance.choice(powers), random_function(chance, functions)]
        )
        factors = [random_function(chance, functions), other, chance.choice(powers)]
        terms.append(chance.choice(CONSTANTS) * sp.Mul(*factors))
    return sp.Add(*terms)


def compiled(expressions):
    spikes = {"DiracDelta": lambda *_: 0}  # the derivatives of jumps, elsewhere
    function = sp.lambdify(SYMBOLS, list(expressions), [spikes, "mpmath"], cse=True)

    def at(point):
        """The values in fifty digits, or None where one is not finite or not real."""
        try:
            found = [mp.mpmathify(v) for v in function(*point)]
        except (ArithmeticError, ValueError, NameError, TypeError):
            return None
        fine = all(mp.isfinite(v) and not mp.im(v) for v in found)
        return [mp.re(v) for v in found] if fine else None

    return at


def random_point(chance):
    signs = [1 if s in (p, q, w, g) else chance.choice([1, -1]) for s in SYMBOLS]
    return [sign * mp.mpf(chance.randint(100, 1900)) / 1009 for sign in signs]


def is_zero(expression, chance):
    """Whether it is, at random points, to the digits that its terms have."""
    at = compiled(sp.Add.make_args(expression))
    with mp.workdps(50):
        found = filter(None, (at(random_point(chance)) for _ in range(4)))
        return all(
            abs(sum(v)) < mp.mpf("1e-30") * (1 + max(map(abs, v))) for v in found
        )


def is_derivative(boundary, rate, chance):
    return is_zero(lg.total_derivative(boundary) - rate, chance)


def euler(rate, coordinate):
    """The Euler operator, written out."""
    terms = []
    for k in range(3):
        term = sp.diff(rate, coordinate._at(k))
        for _ in range(k):
            term = -lg.total_derivative(term)
        terms.append(term)
    return sp.Add(*terms)


def derivative_case(chance, functions):
    """Whether a boundary term was found; what is found is one."""
    rate = lg.total_derivative(random_sum(chance, functions))
    if rate.has(sp.Derivative):
        return None  # of a sign that SymPy does not differentiate
    found = lg.boundary_term(rate)
    assert found is None or is_derivative(found, rate, chance)
    return found is not None


def any_case(chance):
    """Whether a random rate is a derivative; what is none has no boundary term."""
    rate = random_sum(chance, FUNCTIONS)
    found = lg.boundary_term(rate)
    if found is not None:
        assert is_derivative(found, rate, chance)
        euler_expressions = [euler(rate, q) for q in (x, y)]
        assert all(is_zero(e, chance) for e in euler_expressions)
    return found is not None


def random_law(chance):
    """Of a Lagrangian and a generator, which half the time belong together."""
    rate, f = chance.choice(RATES), chance.choice(FUNCTIONS)
    mass = chance.choice([1, p, sp.sqrt(p**2 + q**2), sp.exp(-p)])
    plain = mass * (x.dot**2 + y.dot**2)
    oscillation = chance.choice([sp.sin, sp.cos])(rate * t)
    drag = sp.sqrt(rate**2 - g**2 / 4)
    fitting = [
        (plain, f(x - y), 0, lg.Symmetry({x: 1, y: 1})),
        (plain, f(x**2 + y**2), g * t, lg.Rotation(x, y)),
        (plain, f(x - p * t), 0, lg.Symmetry({x: p}, tau=1)),
        (plain, f(x) + rate * y**2, 0, lg.TimeTranslation()),
        (plain, mass * rate**2 * x**2, 0, lg.Symmetry({x: oscillation})),
        (plain, rate * x + f(y), 0, lg.Symmetry({x: t})),
        (
            plain,
            mass * rate**2 * x**2,
            g * t,
            lg.Symmetry({x: sp.exp(-g * t / 2) * sp.cos(drag * t)}),
        ),
    ]
    other = [
        (
            chance.choice([plain, plain + x.dot * y.dot, plain + y.dot**2]),
            chance.choice([random_sum(chance, FUNCTIONS, [1, x], 2), f(x), rate * x]),
            chance.choice([0, 0, g * t, sp.sqrt(2) * t, 2 * sp.log(t)]),
            chance.choice(fitting)[3],
        ),
        (
            *chance.choice(fitting)[:3],
            lg.Symmetry({x: random_function(chance, SMOOTH)}),
        ),
        (*chance.choice(fitting)[:3], lg.Symmetry({x: x, y: y}, tau=2 * t)),
        (*chance.choice(fitting)[:3], lg.Symmetry({x: x.dot, y: y.dot})),
    ]
    T, V, damping, symmetry = chance.choice(chance.choice([fitting, other]))
    system = lg.Lagrangian(T, V, damping=damping, coordinates=[x, y])
    return lg.noether(system, symmetry)


def is_constant(system, charge, chance):
    """Whether dC/dt is zero with the accelerations that the equations give."""
    rate = compiled(sp.Add.make_args(lg.total_derivative(charge)))
    motion = compiled([*system.mass_matrix, *system.forcing])
    places = [SYMBOLS.index(x.ddot), SYMBOLS.index(y.ddot)]
    with mp.workdps(50):
        for _ in range(4):
            point = random_point(chance)
            numbers = motion(point)
            if numbers is None:
                continue
            matrix = mp.matrix([numbers[:2], numbers[2:4]])
            solved = mp.lu_solve(matrix, mp.matrix(numbers[4:]))
            for place, number in zip(places, solved, strict=True):
                point[place] = number
            terms = rate(point)
            if terms and abs(sum(terms)) > mp.mpf("1e-30") * (1 + max(map(abs, terms))):
                return False
    return True


def law_case(chance):
    """Whether a constant was found; what is found is one, and a verdict is right."""
    law = random_law(chance)
    found, verdict = law.conserved, law.is_conserved
    assert found is None or is_constant(law.lagrangian, found, chance)
    if verdict:
        assert is_constant(law.lagrangian, law.charge, chance)
        assert found is not None
    return found is not None


def examples(count):
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck)
    )


chances = st.randoms(use_true_random=False)


@examples(12)
@given(chances)
def test_what_is_found_differentiates_to_the_rate(chance):
    derivative_case(chance, FUNCTIONS)


@examples(12)
@given(chances)
def test_what_is_no_total_derivative_has_no_boundary_term(chance):
    any_case(chance)


@examples(12)
@given(chances)
def test_what_is_called_conserved_is(chance):
    law_case(chance)


@pytest.mark.slow
@examples(300)
@given(chances)
def test_what_is_found_differentiates_to_the_rate_at_length(chance):
    derivative_case(chance, FUNCTIONS)


@pytest.mark.slow
@examples(300)
@given(chances)
def test_what_is_no_total_derivative_has_no_boundary_term_at_length(chance):
    any_case(chance)


@pytest.mark.slow
@examples(300)
@given(chances)
def test_what_is_called_conserved_is_at_length(chance):
    law_case(chance)


def test_what_can_be_found_is_found():
    """Nothing returned is nothing claimed: of smooth functions most are found."""
    cases = [derivative_case(random.Random(seed), SMOOTH) for seed in range(12)]
    assert sum(map(bool, cases)) >= 11
    laws = [law_case(random.Random(seed)) for seed in range(24)]
    assert sum(laws) >= 8
