"""The exact laws of training, as a theorem: its verdict, and what would refute it."""

import json

import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.networks.networks import Perceptron, mean_square
from lagrangian.symbolic.laws.discrete import Steps, momentum, step
from lagrangian.theorems.dynamics import discrete_noether as module


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two networks and four rules; all of them are `make slow`'s."""
    cases = ("linear network", "BatchNorm convolution")
    rules = ("heavy ball", "schedule", "Adam", "mirror descent")
    monkeypatch.setattr(module, "CASES", {n: module.CASES[n] for n in cases})
    monkeypatch.setattr(module, "RULES", {n: module.RULES[n] for n in rules})


def test_it_is_verified(tmp_path):
    told = []
    verification = lg.verify("discrete-noether", report=told.append)
    assert verification.holds and verification.verdict == "verified"
    claims = verification.evidence.claims[:8]
    assert [claim.is_control for claim in claims] == [False, True] * 4
    torque = verification.evidence.claims[8:]
    assert [claim.is_control for claim in torque] == [False, False, False, True]
    assert all(c.measured < 1e-14 for c in claims[::4])  # float64
    assert all(1e-9 < c.measured < 1e-6 for c in claims[2::4])  # float32
    assert all(c.measured > 1e-2 for c in claims[1::2])
    assert "linear network, float32: Adam" in told
    report = json.loads(verification.to_json())
    assert report["verdict"] == "verified" and len(report["claims"]) == 12
    assert "beta" in report["derivation"][0] and report["versions"]["jax"]
    text = str(verification)
    assert text.count("fails, as it must") == 5 and "general linear" in text
    verification.figure().savefig(tmp_path / "figure.png")
    assert "control" in verification.to_markdown()


def test_a_wrong_law_is_refuted(monkeypatch):
    """With the momentum forgotten in the balance."""
    right = Steps.variation

    def wrong(self, symmetry):
        charge = self.pairing(symmetry)[step]
        return right(self, symmetry) | {"friction": (momentum**2 - 1) * charge}

    monkeypatch.setattr(Steps, "variation", wrong)
    monkeypatch.setattr(module, "RULES", {"heavy ball": module.HEAVY_BALL})
    monkeypatch.setattr(
        module, "CASES", {"linear network": module.CASES["linear network"]}
    )
    verification = lg.verify("discrete-noether")
    assert verification.verdict == "refuted"
    assert "FAILS" in str(verification)


def test_a_network_of_your_own():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 5)).astype(np.float32)
    data = inputs, np.sin(inputs[:, :2])
    model = Perceptron((5, 6, 2), nnx.Rngs(0))
    verification = lg.verify("discrete-noether", subject=(model, mean_square, data))
    assert verification.holds
    whats = [claim.what for claim in verification.evidence.claims]
    assert any("Adam, rescale of layers.0.bias" in what for what in whats)
    assert sum(claim.is_control for claim in verification.evidence.claims) == 1


def test_a_loss_without_symmetries_is_said_to_have_none():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 5)).astype(np.float32)
    model = Perceptron((5, 6, 2), nnx.Rngs(0), activation=nnx.tanh)
    subject = model, mean_square, (inputs, np.sin(inputs[:, :2]))
    with pytest.raises(lg.LagrangianError, match="finds no exact symmetry"):
        lg.verify("discrete-noether", subject=subject)


def test_a_theorem_that_takes_no_network():
    with pytest.raises(lg.LagrangianError, match="takes no `subject`"):
        lg.verify("equilibrium", subject=(None, None, None))


def test_an_unknown_theorem_lists_the_nearest():
    with pytest.raises(lg.LagrangianError, match="Nearest: `discrete-noether`"):
        lg.verify("discret-noether")


@pytest.mark.slow
def test_every_network_and_rule(monkeypatch):
    monkeypatch.undo()
    assert lg.verify("discrete-noether", seed=1).holds
