"""Which symmetries a kinetic energy breaks: the table, its verdict, what refutes it."""

import json
from dataclasses import replace

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.dynamics import kinetic_flows
from lagrangian.theorems.dynamics import kinetic_symmetry_breaking as module
from lagrangian.theorems.dynamics.killing import killing_claims
from lagrangian.theorems.dynamics.kinetic_energies import ENERGIES, ROWS, UNBROKEN

YES, NO = True, False

# Broken or not under: Euclidean, diagonal, Hess h, metric 1/q, metric 1/q^2,
# Bregman of any h, Bregman of a radial h.
BROKEN = {
    "translation": (NO, NO, YES, YES, YES, YES, YES),
    "rotation": (NO, YES, YES, YES, YES, YES, NO),
    "scale": (YES, YES, YES, YES, NO, YES, YES),
    "rescale": (YES, YES, YES, YES, NO, YES, YES),
    "GL symmetric": (YES, YES, YES, YES, YES, YES, YES),
    "GL antisymmetric": (NO, YES, YES, YES, YES, YES, NO),
    "attention symmetric": (YES, YES, YES, YES, YES, YES, YES),
    "attention antisymmetric": (NO, YES, YES, YES, YES, YES, NO),
    "root translation": (YES, YES, YES, NO, YES, YES, YES),
}


@pytest.fixture(scope="module")
def laws():
    return module.laws()


@pytest.fixture
def few(monkeypatch):
    """Two columns and three flows; all of them are `make slow`'s."""
    monkeypatch.setattr(module, "COLUMNS", ("Euclidean", "metric 1/q^2"))
    pairs = ("Euclidean", "rotation"), ("Euclidean", "scale"), ("metric 1/q^2", "scale")
    monkeypatch.setattr(kinetic_flows, "FLOWS", pairs)


@pytest.fixture
def fewer(monkeypatch):
    """Enough to be refuted."""
    monkeypatch.setattr(module, "COLUMNS", ("Euclidean",))
    monkeypatch.setattr(module, "killing_claims", list)
    pairs = ("Euclidean", "rotation"), ("Euclidean", "scale")
    monkeypatch.setattr(kinetic_flows, "FLOWS", pairs)


def test_the_table(laws):
    assert tuple(BROKEN) == tuple(ROWS)
    for row, broken in BROKEN.items():
        for energy, expected in zip(ENERGIES, broken, strict=True):
            assert (sp.expand(laws[energy, row].kinetic) != 0) == expected
            assert (row not in UNBROKEN[energy]) == expected


def test_the_loss_is_in_no_law(laws):
    for law in laws.values():
        assert law.potential == 0 and law.explicit_time == 0
        assert sp.expand(law.friction + law.lagrangian.friction_rate * law.charge) == 0


def test_identities_in_explicit_coordinates():
    claims = killing_claims()
    assert all(claim.is_as_expected for claim in claims)
    assert sum(claim.is_control for claim in claims) == 5
    named = {claim.what: claim for claim in claims}
    assert named["metric 1/y^2: kinetic term of (x^2 - y^2, 2 x y)"].holds
    # A translation is an isometry of Euclid, and not of h''.
    broken = named["metric h'': kinetic term of the translation of x"]
    assert broken.is_control and "Derivative(h(x), (x, 3))" in broken.measured


def test_it_is_verified(few, tmp_path):
    told = []
    verification = lg.verify("kinetic-symmetry-breaking", report=told.append)
    assert verification.verdict == "verified"
    claims = {claim.what: claim for claim in verification.evidence.claims}
    unbroken = claims["metric 1/q^2: unbroken, by the finite maps"]
    assert unbroken.measured == "scale, rescale"
    drift = claims["Euclidean, scale: drift of exp(mu t/m) charge"]
    assert drift.is_control and drift.measured > 0.1
    lacking = claims["metric 1/q^2, scale, loss without it: charge - its law's"]
    assert lacking.is_control and lacking.measured > 0.1
    assert "Integrating a flow: Euclidean, rotation." in told
    lines = verification.evidence.derivation
    assert (
        sum(line.startswith(tuple(rf"\text{{{r}}}" for r in ROWS)) for line in lines)
        == 9
    )
    assert any(r"\text{rotation}:\quad 0 \quad" in line for line in lines)
    report = json.loads(verification.to_json())
    assert report["verdict"] == "verified" and r"\mathcal L_\xi" in report["statement"]
    verification.figure().savefig(tmp_path / "figure.png")


def test_a_wrong_law_is_refuted(fewer, monkeypatch):
    """With the kinetic term counted twice: what is unbroken stays, all numbers fail."""

    def twice(lagrangian, symmetry):
        law = lg.noether(lagrangian, symmetry)
        return replace(law, changes={**law.changes, "kinetic": 2 * law.kinetic})

    monkeypatch.setattr(module, "noether", twice)
    verification = lg.verify("kinetic-symmetry-breaking")
    assert verification.verdict == "refuted"
    failed = {c.what for c in verification.evidence.claims if not c.is_as_expected}
    assert "Euclidean, scale: charge along a flow - its law's" in failed
    assert any(what.startswith("Euclidean: change of T") for what in failed)


def test_a_wrong_table_is_refuted(fewer, monkeypatch):
    """Who takes scale for a symmetry of Euclid's kinetic energy."""
    monkeypatch.setitem(UNBROKEN, "Euclidean", ("scale",))
    verification = lg.verify("kinetic-symmetry-breaking")
    assert verification.verdict == "refuted"
    failed = {c.what for c in verification.evidence.claims if not c.is_as_expected}
    assert "Euclidean: unbroken, by the finite maps" in failed
    assert "Euclidean, scale: drift of exp(mu t/m) charge" in failed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_every_energy_and_row(seed):
    assert lg.verify("kinetic-symmetry-breaking", seed=seed).holds
