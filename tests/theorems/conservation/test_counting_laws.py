"""How many laws there are: by matrices, by the closure, by what is written down."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import counting_laws as module
from lagrangian.theorems.conservation import counts_table as table
from lagrangian.theorems.conservation import matrix_algebra
from lagrangian.theorems.conservation.counted_networks import only
from lagrangian.theorems.conservation.independent_laws import linear_laws


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("counting-laws", quick=True)
    assert found.holds, str(found)
    controls = [c.what for c in found.evidence.claims if c.is_control]
    for kind in ("hidden unit", "one bracket", "quadratic", "|v|^2 - |u|^2"):
        assert any(kind in what for what in controls), kind
    assert json.loads(found.to_json())["quick"]
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("counting-laws", seed=seed)
    assert found.holds, str(found)


def test_wrong_formulas_are_refuted(monkeypatch):
    """A number too many, and laws of units for a network that is linear."""
    right = table.linear((2, 2, 1), 0)
    more = replace(right, predicted=right.predicted + 1)
    unit = replace(right, laws=(only(right.laws[0], np.eye(2) > 0),))
    for wrong in (more, unit):
        assert not all(c.is_as_expected for c in module.count_claims([wrong]))
    assert all(c.is_as_expected for c in module.count_claims([right]))


def test_matrices_and_the_closure_agree():
    for sizes in ((2, 2, 1), (1, 3, 1)):
        inputs, width, outputs = sizes
        x = np.random.default_rng(0).integers(-9, 10, (inputs + outputs, width))
        fields = matrix_algebra.products(inputs, outputs)
        left = x.size - matrix_algebra.exact_orbit(fields, x)
        assert left == table.linear(sizes, 0).unreached == linear_laws(*sizes)


def test_the_algebra_of_rotations():
    """Two rotations of space generate the third; one does not."""
    x, y = np.zeros((2, 3, 3))
    x[1, 2], x[2, 1], y[0, 2], y[2, 0] = -1, 1, 1, -1
    assert len(matrix_algebra.generated(np.stack([x, y]))) == 3
    assert len(matrix_algebra.generated(x[None])) == 1


def test_a_reciprocal_is_homogeneous_of_degree_minus_one():
    """The sum of squares is kept, and the difference is not."""
    case = table.reciprocal((2, 2, 1), 0)
    squares = lambda w: jnp.sum(w["layer0"] ** 2, 0) + jnp.sum(w["layer1"] ** 2, 1)
    same = replace(case, laws=(squares,))
    assert case.leak < 1e-10 and same.leak < 1e-10
    difference = lambda w: jnp.sum(w["layer0"] ** 2, 0) - jnp.sum(w["layer1"] ** 2, 1)
    assert replace(case, laws=(difference,)).leak > 0.1
