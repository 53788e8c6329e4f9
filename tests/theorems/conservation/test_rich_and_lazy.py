"""The minimal model of rich and lazy learning, against solvers and by its parts."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lagrangian as lg
from lagrangian.theorems.conservation import minimal_model, rich_runs
from lagrangian.theorems.conservation import rich_and_lazy as module
from lagrangian.theorems.conservation.minimal_model import Minimal, kernel_distance


def solved(neuron, horizon, times=None):
    """By an integrator that knows nothing of the solution."""
    eta_a, eta_w = neuron.rates

    def field(t, x):
        a, w = x[0], x[1:]
        error = a * w - neuron.wanted
        return -np.concatenate([[eta_a * w @ error], eta_w * a * error])

    first = np.concatenate([[neuron.a], neuron.w])
    return solve_ivp(
        field, (0, horizon), first, "DOP853", times, rtol=1e-11, atol=1e-12
    ).y


def random_neuron(generator, k):
    """Of any dimension, imbalance and sign; every seventh from a = 0."""
    size = generator.integers(1, 5)
    w, wanted = generator.normal(size=(2, size))
    a = generator.normal() * generator.uniform(0.1, 3) if k % 7 else 0.0
    wanted *= generator.uniform(0.3, 2)
    return Minimal(a, generator.choice([0.1, 1, 2]) * w, wanted, (0.6, 1.7))


def test_random_neurons_follow_the_solution():
    generator, times = np.random.default_rng(0), np.linspace(0, 6, 9)
    crossed = 0
    for k in range(60):
        neuron = random_neuron(generator, k)
        found = solved(neuron, 6.0, times)
        a, w = neuron.at(times)
        np.testing.assert_allclose(a, found[0], rtol=0, atol=1e-8)
        np.testing.assert_allclose(w.T, found[1:], rtol=0, atol=1e-8)
        assert np.sign(solved(neuron, 100.0)[0, -1]) == neuron.sign
        crossed += neuron.a * neuron.sign < 0
    assert crossed > 5


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("a", [-1.0, 0.0, 1.0])
def test_at_any_scale_it_starts_where_it_starts_and_fits_at_the_end(a, size):
    """w alone is scaled, so that delta goes from 1 to -1e12."""
    neuron = Minimal(a, size * np.array([0.6, -0.8]), np.array([1.0, 0.0]))
    times = np.array([0.0, 1e3, 1e16])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found, w = neuron.at(times)
    np.testing.assert_allclose(found[0], a, atol=1e-9)
    np.testing.assert_allclose(w[0], neuron.w, rtol=1e-9)
    np.testing.assert_allclose(found[-1] * w[-1], neuron.wanted, atol=1e-9)


def test_between_the_basins_it_ends_at_zero():
    """What grows is zero there: a goes to 0, and w to what keeps the imbalance."""
    w = np.array([2.0])
    # w.beta* + a (delta + Delta)/2 = 0, at a = -w for delta = 0.
    neuron = Minimal(-2.0, w, np.array([1.0]))
    assert neuron.delta == 0 and neuron.sign == 0
    a, w = neuron.at(np.array([0.0, 5.0]))
    assert abs(a[1]) < 0.02 and abs(w[1, 0]) < 0.02


def test_the_opposite_has_the_same_map():
    neuron = Minimal(-1.3, np.array([0.4, 2.0]), np.array([1.0, 0.0]), (0.5, 2.0))
    other = neuron.opposite()
    assert other.delta == pytest.approx(-neuron.delta)
    np.testing.assert_allclose(other.a * other.w, neuron.a * neuron.w)


def test_the_distance_of_kernels_is_that_of_the_matrices():
    generator = np.random.default_rng(1)
    inputs = np.linalg.qr(generator.normal(size=(9, 4)))[0]
    first, second = ((generator.normal(), generator.normal(size=4)) for _ in range(2))
    kernels = [
        inputs @ (2.0 * a**2 * np.eye(4) + 0.5 * np.outer(w, w)) @ inputs.T
        for a, w in (first, second)
    ]
    stated = kernel_distance(first, second, (0.5, 2.0))
    assert stated == pytest.approx(rich_runs.measured_distance(*kernels), abs=1e-14)
    measured = [
        rich_runs.measured_kernel(n, (0.5, 2.0), inputs) for n in (first, second)
    ]
    np.testing.assert_allclose(measured, kernels, atol=1e-13)
    published = kernel_distance(first, second, (0.5, 2.0), as_published=True)
    assert abs(published - stated) > 0.01


def test_it_is_verified_quickly():
    assert lg.verify("rich-and-lazy", quick=True).holds


def _refuted(claims):
    kept = [c for c in claims if isinstance(c, module.Claim)]
    return not all(claim.is_as_expected for claim in kept)


def test_another_rate_of_growth_is_refuted(monkeypatch):
    right = Minimal.coefficients

    def wrong(self):
        up, *rest = right(self)
        return (1.01 * up, *rest)

    monkeypatch.setattr(minimal_model.Minimal, "coefficients", wrong)
    assert _refuted(module._solved(0, True))


def test_another_time_is_refuted(monkeypatch):
    wrong = lambda cosine, numbers: numbers.log(cosine) - numbers.log(1 - cosine**2)
    monkeypatch.setattr(module, "delayed_time", wrong)
    assert _refuted(module._regimes(0, True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("rich-and-lazy", seed=seed).holds
