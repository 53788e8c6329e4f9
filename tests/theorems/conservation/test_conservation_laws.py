"""What gradient flow conserves, how much of it, and what a learning rate breaks."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.theorems.conservation import conservation_laws as module
from lagrangian.theorems.conservation import conservation_runs as runs
from lagrangian.theorems.conservation import conserved as derivation
from lagrangian.theorems.conservation import independent_laws as counts
from lagrangian.theorems.conservation.conserved import SYMMETRIES, conserved
from lagrangian.theorems.testbeds.symmetric_networks import (
    all_symmetric,
    none_symmetric,
    start_of_all,
)
from lagrangian.theorems.theorem import Evidence, Verification


def verdict(claims):
    """Of a part of the evidence."""
    return Verification(module.THEOREM, Evidence((), tuple(claims), ()), 0, 0.0).verdict


# ------------------------------------------------------------------ derivation


def test_what_is_conserved_and_how_it_grows():
    """The table of the theorem, for kernels of shape (inputs, outputs)."""
    k = lg.blocks("kernel", unit_axis=-1)
    a, b, first, second = lg.blocks("inward outward first second")
    expected = {
        "translation": (Inner(lg.ones, lg.blocks("bias")), 0),
        "scale": (Inner(k, k), Inner(k.dot, k.dot)),
        "rescale": (
            Inner(a, a) - Inner(b, b),
            Inner(a.dot, a.dot) - Inner(b.dot, b.dot),
        ),
        "linear": (
            lg.matmul(lg.transpose(first), first)
            - lg.matmul(second, lg.transpose(second)),
            lg.matmul(lg.transpose(first.dot), first.dot)
            - lg.matmul(second.dot, lg.transpose(second.dot)),
        ),
    }
    for name, (value, squares) in expected.items():
        found = conserved(SYMMETRIES[name])
        assert sp.expand(found.value - value) == 0
        assert sp.expand(found.growth - 2 * mass / friction * squares) == 0


def test_every_identity_holds_and_every_control_fails():
    claims = list(derivation.derived_claims())
    assert verdict(claims) == "verified"
    assert sum(claim.is_control for claim in claims) == 6 + 1 + 3


def test_a_wrong_discrete_law_is_refuted(monkeypatch):
    """With the sign of what the step adds."""
    right = derivation.noether

    def wrong(theory, symmetry):
        law = right(theory, symmetry)
        if not isinstance(theory, lg.Steps):
            return law
        return replace(law, changes={**law.changes, "kinetic": -law.kinetic})

    monkeypatch.setattr(derivation, "noether", wrong)
    claims = list(derivation.derived_claims())
    assert verdict(claims) == "refuted"
    failed = {claim.what for claim in claims if not claim.is_as_expected}
    # A translation has no such step.
    assert failed == {
        f"{name}: growth of Y in a step, less the law's" for name in module.MOVING
    }


# ------------------------------------------------------------------ counts


@pytest.mark.parametrize(
    ("sizes", "laws"),
    [
        ((4, 3, 3), 6),
        ((2, 5, 4), 15),
        ((1, 4, 2), 9),
        ((1, 3, 1), 5),
        ((9, 1, 9), 1),
        ((1, 1, 1), 1),
    ],
)
def test_the_closed_form_of_two_linear_layers(sizes, laws):
    """h(h+1)/2 where h <= inputs + outputs, and the rank of what is left."""
    assert counts.linear_laws(*sizes) == laws
    w, _, outputs = counts._layers(sizes, lambda x: x, 1)
    gradients = counts.law_gradients([conserved(SYMMETRIES["linear"]).value], w)
    assert np.linalg.matrix_rank(gradients) == laws
    at_once, reached = counts.directions(outputs, w, 1)
    assert gradients.shape[1] - len(reached) == laws
    assert np.abs(gradients @ reached.T).max() < 1e-12
    # The gradients alone leave out the antisymmetric generators as well.
    free = sum(a.size for a in w.values()) - len(at_once)
    assert (
        free == sizes[1] ** 2 if sizes[1] <= min(sizes[0], sizes[2]) else free >= laws
    )


def test_two_layers_that_lost_rank_have_fewer_laws():
    """A unit without weights: k = 2 of h = 3, so k(2h+1-k)/2 = 5."""
    w, _, outputs = counts._layers((4, 3, 3), lambda x: x, 0)
    w["first"][:, 2], w["second"][2] = 0.0, 0.0
    gradients = counts.law_gradients([conserved(SYMMETRIES["linear"]).value], w)
    assert np.linalg.matrix_rank(gradients) == 5
    # There the flow cannot go anywhere in (n - k)(h - k) = 5 directions more.
    _, reached = counts.directions(outputs, w, 0)
    assert gradients.shape[1] - len(reached) == 5 + 5


@pytest.mark.parametrize("hidden", [2, 5])
def test_a_relu_layer_has_a_law_a_unit(hidden):
    w, _, outputs = counts._layers((4, hidden, 3), jax.nn.relu, 2)
    gradients = counts.law_gradients([conserved(counts.UNITS).value], w)
    assert np.linalg.matrix_rank(gradients) == hidden
    _, reached = counts.directions(outputs, w, 2)
    assert gradients.shape[1] - len(reached) == hidden
    assert np.abs(gradients @ reached.T).max() < 1e-12


def test_discover_finds_the_generators():
    claims = list(counts.discovered_claims(0))
    assert verdict(claims) == "verified"
    # 1 sum of biases and 1 of outgoing weights, 3 norms, 1 difference, P of 3 x 3 and
    # two of 2 x 2; 3 + 1 + 1 rotations beside them; and five ReLU units.
    numbers = [claim.measured for claim in claims]
    assert numbers[:3] == ["23", "18", "18"] and numbers[-1] == "5"


# ------------------------------------------------------------------ flow and training


@pytest.fixture(scope="module")
def flow():
    return runs.gradient_flows(all_symmetric, 0, (1e-11,))[0]


@pytest.fixture(scope="module")
def descent():
    return runs.train_at(all_symmetric, 0, 0.0)


def test_the_drift_of_gradient_descent_is_predicted(flow, descent):
    claims = list(module._training_claims(flow, descent))
    assert all(claim.holds for claim in claims)
    orders = [c.measured for c in claims if c.what.endswith("drift, order")]
    assert len(orders) == 5 and np.allclose(orders, 1, atol=0.02)


def test_every_step_adds_the_square_of_its_gradient(descent):
    """|q|^2 grows by eta^2 |g|^2: from the gradients themselves, without the engine."""
    w, batch = start_of_all(0)
    with jax.enable_x64(True):
        slopes = jax.jit(jax.grad(all_symmetric))
        for step in range(3):
            now = {n: jnp.asarray(x[1, step]) for n, x in descent.q.items()}
            g = np.asarray(slopes(now, batch)["kernel"])
            before, after = (descent.q["kernel"][1, k] for k in (step, step + 1))
            grown = (after**2).sum(axis=0) - (before**2).sum(axis=0)
            expected = descent.rates[1] ** 2 * (g**2).sum(axis=0)
            np.testing.assert_allclose(grown, expected, atol=1e-14)
            assert expected.min() > 1e-9


def test_a_wrong_mass_is_refuted(flow, descent, monkeypatch):
    """Twice the mass of the rule: the drift comes out as half of what is claimed."""
    right = HeavyBall.parameters

    def wrong(rule, learning_rate=None):
        values = right(rule, learning_rate)
        return values | {mass: 2 * values[mass]}

    monkeypatch.setattr(HeavyBall, "parameters", wrong)
    again = runs.Training(descent.rates, 0.0, descent.q, descent.v)
    claims = list(module._training_claims(flow, again))
    assert verdict(claims) == "refuted"
    failed = {claim.what for claim in claims if not claim.is_as_expected}
    assert "beta = 0: exact law of each step, all X" in failed
    assert "beta = 0, scale: drift/eta for eta -> 0, over K, less 1" in failed
    # How large it is does not change its order, and nothing moves a translation.
    assert not any("translation" in what or "drift, order" in what for what in failed)


def test_without_symmetries_the_order_is_zero():
    broken = runs.train_at(none_symmetric, 0, 0.0)
    claims = list(module._broken_training_claims(broken))
    assert verdict(claims) == "verified"
    zeros = [c.measured for c in claims if c.predicted == 0.0 and "order" in c.what]
    assert len(zeros) == 6 and np.allclose(zeros, 0, atol=0.02)
    assert sum(claim.is_control for claim in claims) == 12


def test_tanh_between_two_layers_leaves_no_law():
    w, _, outputs = counts._layers((4, 3, 3), jnp.tanh, 0)
    assert len(counts.directions(outputs, w, 0)[1]) == 21  # of 21 parameters


@pytest.mark.slow
def test_the_coefficient_with_momentum_is_that_of_its_own_flow(flow):
    rule = HeavyBall(1.0, 0.9)
    w, batch = start_of_all(0)
    own = lg.network_flow(w, all_symmetric, batch, rule, order=0)
    path = own.integrate(list(flow.path.t * 0.1), tol=1e-10)
    for name in module.MOVING:
        growth = path.evaluate(conserved(SYMMETRIES[name]).growth)
        expected = 0.1 * np.tensordot(flow.weights, growth, 1)
        found = flow.coefficient(name, 0.9).reshape(np.shape(expected))
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_verified(seed, tmp_path):
    told = []
    verification = lg.verify("conservation-laws", seed=seed, report=told.append)
    assert verification.holds, str(verification)
    assert len(told) == 5
    report = json.loads(verification.to_json())
    assert report["verdict"] == "verified" and len(report["derivation"]) == 15
    verification.figure().savefig(tmp_path / "figure.png")
