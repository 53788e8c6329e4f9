"""The line between two networks, and the certificate for every order of units."""

from itertools import permutations

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import line_runs
from lagrangian.theorems.conservation import linear_paths as module

normal = np.random.default_rng(0).normal


def pair(units=5, examples=40, inputs=6):
    batch = normal(size=(examples, inputs)), normal(size=examples)
    return normal(size=(units, inputs)), normal(size=(units, inputs)), batch


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_the_loss_on_the_line_by_its_definition(t):
    w, v, (inputs, targets) = pair()
    mixed = np.maximum(inputs @ ((1 - t) * w + t * v).T, 0).mean(axis=1)
    stated = ((mixed - targets) ** 2).mean() / 2
    found = line_runs.predicted(w, v, (inputs, targets), t)
    assert found == pytest.approx(stated, abs=1e-14)


def test_the_certificate_is_below_every_order_and_close():
    for _ in range(5):
        w, v, batch = pair()
        halfway = line_runs.Halfway(w, v, batch)
        bound, best, order = halfway.certified()
        values = [halfway.value(np.array(o)) for o in permutations(range(5))]
        assert bound <= min(values) + 1e-14 <= best + 2e-14
        assert halfway.value(order) == best
        assert halfway.by_one_number() <= min(values)
        # The orders differ by far more than the certificate misses.
        assert min(values) - bound < 0.7 * (max(values) - min(values))


def test_an_order_of_the_same_network_has_no_barrier():
    w, _, (inputs, _) = pair(units=8)
    # Without error at the ends, so that whatever is lost makes one.
    batch = inputs, np.maximum(inputs @ w.T, 0).mean(axis=1)
    order = np.random.default_rng(1).permutation(8)
    halfway = line_runs.Halfway(w, w[order], batch)
    bound, best, found = halfway.certified()
    np.testing.assert_array_equal(w[order][found], w)
    assert bound == pytest.approx(best, abs=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("linear-paths", quick=True).holds


def _refuted(claims):
    kept = [c for c in claims if isinstance(c, module.Claim)]
    return not all(claim.is_as_expected for claim in kept)


def test_another_loss_is_refuted(monkeypatch):
    right = line_runs.lost
    monkeypatch.setattr(line_runs, "lost", lambda a, b, t: 1.001 * right(a, b, t))
    assert _refuted(module._exact(0, True))


def test_a_bound_that_is_too_high_is_refuted(monkeypatch):
    right = line_runs.Halfway.certified

    def wrong(self):
        bound, *rest = right(self)
        return (1.1 * bound, *rest)

    monkeypatch.setattr(line_runs.Halfway, "certified", wrong)
    assert _refuted(module._certificates(0, True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("linear-paths", seed=seed).holds
