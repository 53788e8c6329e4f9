"""Charges that are nonlinear in the embedding: derived, counted, kept on digits."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.conservation import embedding_charges as module
from lagrangian.theorems.conservation import embedding_runs as runs


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("embedding-charges", quick=True)
    assert found.holds, str(found)
    controls = [c.what for c in found.evidence.claims if c.is_control]
    for kind in ("not invariant", "whitened", "order", "along the flow"):
        assert any(kind in what for what in controls), kind
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("embedding-charges", seed=seed)
    assert found.holds, str(found)


@pytest.mark.parametrize(
    ("kind", "potential"),
    [
        ("tanh", sp.sinh(runs.z) ** 2 / 2),
        ("sigmoid", runs.z + sp.exp(runs.z)),
        ("linear", runs.z**2 / 2),
    ],
)
def test_the_potential_of_an_activation(kind, potential):
    """Up to a constant."""
    left = (runs.ACTIVATIONS[kind].potential - potential).diff(runs.z)
    assert sp.simplify(left.rewrite(sp.exp)) == 0


def test_a_wrong_potential_is_refuted(monkeypatch):
    """That of the linear layer in a tanh network."""
    right = runs.ACTIVATIONS["tanh"]
    wrong = replace(right, written=lambda x: x)
    case = module.counted("tanh", 0)
    assert case.leak < 1e-10
    module.charge.cache_clear()
    monkeypatch.setitem(runs.ACTIVATIONS, "tanh", replace(wrong, run=right.run))
    assert module.counted("tanh", 0).leak > 1e-2
    module.charge.cache_clear()


def test_the_tokens_are_the_grey_levels():
    levels, labels = runs.tokens(0, 50)
    assert levels.shape == (50, 64) and labels.shape == (50,)
    assert levels.min() == 0 and levels.max() == 16
    assert len(np.unique(levels)) > 10
