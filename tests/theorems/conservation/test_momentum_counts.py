"""Laws with momentum: counted by matrices, by the closure, and kept in motion."""

import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import momentum_counts as module
from lagrangian.theorems.conservation import phase_space_counts as counts
from lagrangian.theorems.conservation.mirror_counts import mirror_closure


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("momentum-counts", quick=True)
    assert found.holds, str(found)
    controls = [c.what for c in found.evidence.claims if c.is_control]
    for kind in ("symmetric", "any E", "gradient flow has", "swapped", "inertia"):
        assert any(kind in what for what in controls), kind
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("momentum-counts", seed=seed)
    assert found.holds, str(found)


@pytest.mark.parametrize("friction", [0.0, 0.7])
def test_the_table_of_widths(friction):
    """N = 3, as far as 9 units, and scalar input and output as far as 4."""
    wide = [counts.Counts((2, r, 1), friction, 0).counted for r in range(1, 10)]
    assert wide == [0, 1, 3, 6, 10, 15, 21, 27, 33]
    scalar = [counts.Counts((1, r, 1), friction, 0).counted for r in range(1, 5)]
    assert scalar == [0, 2, 6, 10]


def test_both_formulas_agree_where_they_meet():
    for n in range(3, 7):
        assert counts.momentum_laws(n - 1, 2 * n, 1) == n * (2 * n - 1)


def test_a_wrong_momentum_is_refuted(monkeypatch):
    """With another beta in the factor, no charge is constant in training."""
    monkeypatch.setattr(module, "RULE", lg.HeavyBall(0.1, 0.8))
    failed = [c for c in module.motion_claims(0, quick=True) if not c.is_as_expected]
    assert len(failed) == 2


def test_a_swap_by_a_symmetric_matrix_is_refuted(monkeypatch):
    """Of which the kinetic energy and the product are not left alone."""
    monkeypatch.setattr(module, "ODD", module.EVEN)
    failed = [c.what for c in module.exact_claims() if not c.is_as_expected]
    assert len([what for what in failed if "swapped" in what]) == 3


def test_the_mirror_flow_of_scalars_has_more_laws():
    found, size = mirror_closure((1, 2, 1), "factors", 0)
    assert (found.count.laws, size) == (3, 4)
    found, _ = mirror_closure((2, 2, 1), "factors", 0)
    assert found.count.laws == 2
