"""No charge of a random Lagrangian is claimed in vain: random states, 30 digits."""

import random

import mpmath as mp
import pytest
import sympy as sp

import lagrangian as lg

x, y = lg.coordinates("x y")
a, b = sp.symbols("a b", positive=True)
t = lg.time
STATE = [x, x.dot, y, y.dot, t, a, b]


def random_potential(chance):
    """A sum of functions of linear forms and of the radius, many with a symmetry."""
    squares = x**2 + y**2
    form = chance.choice([x, y, x - y, x + 2 * y, y + a * x, x - t, y - a * t])
    pieces = [
        *(form**2, form**3, x * y, squares, squares**a, sp.sqrt(squares)),
        *(1 / sp.sqrt(squares), 1 / form**2, sp.log(squares), sp.exp(-squares)),
        *(sp.sin(form), sp.cos(2 * form), sp.exp(form), sp.cosh(form), sp.tanh(form)),
        *(sp.sqrt(1 + form**2), sp.atan(x), x**b, sp.sin(t) * form, sp.exp(t) * form),
        *(sp.erf(y), x * y.dot - y * x.dot, x**2 * y.dot, sp.Abs(x)),
    ]
    return sp.Add(*(chance.choice([1, a, -b]) * p for p in chance.sample(pieces, 2)))


def random_lagrangian(chance):
    plain = x.dot**2 + y.dot**2
    kinetic = chance.choice(
        [
            *(plain / 2, plain / 2, plain / 2, x.dot**2 / 2 + y.dot**2),
            *(x.dot * y.dot, sp.exp(x) * plain, (x.dot**2 + sp.sin(x) ** 2 * y.dot**2)),
            *(-a * sp.sqrt(1 - plain), (1 + x**2) * plain, sp.exp(t) * plain),
        ]
    )
    potential = random_potential(chance) if chance.random() < 0.9 else 0
    damping = chance.choice([0, 0, 0, a * t, 2 * sp.log(t)])
    return lg.Lagrangian(kinetic, potential, damping=damping, coordinates=[x, y])


def drifts(system, charge, chance):
    """Whether dC/dt, with the accelerations solved for in numbers, is not zero."""
    rate = lg.total_derivative(charge)
    unknown = [x.ddot, y.ddot]
    functions = [
        sp.lambdify([*STATE, *unknown], rate, "mpmath"),
        sp.lambdify(STATE, system.mass_matrix, "mpmath"),
        sp.lambdify(STATE, system.forcing, "mpmath"),
    ]
    with mp.workdps(30):
        for _ in range(2):
            state = [mp.mpf(chance.randint(100, 600)) / 1009 for _ in STATE]
            rated, matrix, forcing = functions
            acceleration = mp.lu_solve(matrix(*state), forcing(*state))
            if abs(rated(*state, *acceleration)) > mp.mpf("1e-20"):
                return True
    return False


def constant(law):
    return sp.exp(law.lagrangian.damping) * law.charge


@pytest.mark.parametrize("seed", range(24))
def test_no_charge_is_claimed_in_vain(seed):
    chance = random.Random(seed)
    system = random_lagrangian(chance)
    found = lg.find_symmetries(system, velocities=chance.random() < 0.3)
    assert not any(drifts(system, constant(item), chance) for item in found.found)
    # Control: what is conserved here is not where another force acts.
    pushed = lg.Lagrangian(
        system.T,
        system.V + x**3 * y**2 * (1 + t**3),
        damping=system.damping,
        coordinates=[x, y],
    )
    assert all(drifts(pushed, constant(item), chance) for item in found.found)


def test_the_random_lagrangians_have_charges():
    systems = [random_lagrangian(random.Random(seed)) for seed in range(24)]
    charges = [len(lg.find_symmetries(system).found) for system in systems]
    assert sum(n > 0 for n in charges) > 6
