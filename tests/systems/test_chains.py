"""The integrals of Toda's chain, and the recurrence of Fermi, Pasta, Ulam, Tsingou."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.systems.mechanics import make_system


def flaschka(q, v):
    """The eigenvalues of Lax's matrix in Flaschka's variables, sorted; (n,)."""
    size = len(q)
    matrix = np.diag(v / 2)
    for i in range(size):
        j = (i + 1) % size
        matrix[i, j] = matrix[j, i] = np.exp(-(q[j] - q[i]) / 2) / 2
    return np.linalg.eigvalsh(matrix)


@pytest.mark.parametrize("masses", [3, 6])
def test_the_integrals_of_todas_chain_are_constant(follow, masses):
    values = {"masses": masses, "q2": 0.4, "q3.dot": -0.7}
    path, _ = follow("toda-chain", 20.0, values, tol=1e-13)
    spectra = np.array([flaschka(*state) for state in zip(path.q, path.v, strict=True)])
    np.testing.assert_allclose(spectra, np.tile(spectra[0], (201, 1)), atol=1e-10)
    assert np.ptp(path.v, axis=0).min() > 0.5


def test_a_truncated_exponential_does_not_keep_them():
    """The springs to third order, which makes them those of an FPUT ring."""
    system = make_system("toda-chain")
    q = system.lagrangian.coordinates
    small = sp.Symbol("small")
    springs = system.lagrangian.V.replace(
        sp.exp, lambda x: sp.series(sp.exp(small), small, 0, 4).removeO().subs(small, x)
    )
    flow = lg.lower(lg.Lagrangian(system.lagrangian.T, springs), system.parameters)
    path = flow.integrate(system.positions, system.velocities, (0, 20), tol=1e-12)
    spectra = np.array([flaschka(*state) for state in zip(path.q, path.v, strict=True)])
    assert len(q) == 4 and np.ptp(spectra, axis=0).max() > 0.01


def mode_energies(path, count):
    """The harmonic energies of the first modes of a chain; shape (times, count)."""
    size = path.q.shape[1]
    modes = np.arange(1, count + 1)
    places = np.arange(1, size + 1)
    shapes = np.sin(np.pi * np.outer(places, modes) / (size + 1))
    shapes *= np.sqrt(2 / (size + 1))
    frequencies = 2 * np.sin(np.pi * modes / (2 * (size + 1)))
    return ((path.v @ shapes) ** 2 + (frequencies * (path.q @ shapes)) ** 2) / 2


def leapfrog(end, step, masses=32, alpha=0.25):
    """The share of the first mode's energy after each step, by an independent loop."""
    springs = masses + 1
    shape = np.sin(np.pi * np.arange(springs + 1) / springs)
    shape[-1] = 0.0
    frequency = 2 * np.sin(np.pi / (2 * springs))

    def force(q):
        stretches = np.diff(q)
        return np.diff(stretches + alpha * stretches**2)

    q, v, energies = shape.copy(), np.zeros(springs + 1), []
    for _ in range(round(end / step)):
        energies.append((shape @ v) ** 2 + (frequency * (shape @ q)) ** 2)
        v[1:-1] += step / 2 * force(q)
        q += step * v
        v[1:-1] += step / 2 * force(q)
    return np.array(energies) / energies[0]


def test_a_linear_chain_keeps_the_energy_of_its_mode(follow):
    path, _ = follow("fput-chain", 200.0, {"alpha": 0.0})
    energies = mode_energies(path, 5)
    np.testing.assert_allclose(energies[:, 0], energies[0, 0], rtol=1e-9)
    assert energies[0, 0] == pytest.approx(16.5 * 2 * np.sin(np.pi / 66) ** 2)


def test_the_energy_of_the_first_mode_comes_back(follow):
    """FPUT's figure 1: away from mode 1 almost wholly, and back before 29,000 steps.

    Their step was 8^(-1/2); a leapfrog with a quarter of it agrees to its own error.
    """
    step = 8**-0.5
    times = np.arange(0, 29_500, 10) * step
    path, _ = follow("fput-chain", times, tol=1e-10)
    share = mode_energies(path, 4) / mode_energies(path, 1)[0]
    first = share[:, 0]
    middle = (times > 4000) & (times < 6000)
    assert first[middle].max() < 0.2
    assert share[:, 1].max() > 0.5 and share[:, 2].max() > 0.5
    back = np.argmax(first * (times > 7000))
    assert 0.975 < first[back] < 0.985
    assert times[back] == pytest.approx(10_130, abs=30)
    oracle = leapfrog(times[-1] + step, step / 4)[::40]
    back_there = np.argmax(oracle * (times > 7000))
    assert oracle[back_there] == pytest.approx(first[back], abs=0.002)
    assert times[back_there] == pytest.approx(times[back], rel=0.005)


@pytest.mark.parametrize(("name", "least"), [("toda-chain", 3), ("fput-chain", 1)])
def test_a_chain_has_enough_masses(name, least):
    with pytest.raises(
        LagrangianError, match=f"write {least} or more|whole number from {least} "
    ):
        make_system(name, {"masses": least - 1})
