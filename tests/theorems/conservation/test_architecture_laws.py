"""Laws of architectures: counted twice, and kept by SGD as Noether's law says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import architecture_runs as runs
from lagrangian.theorems.conservation import architectures


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("architecture-laws", quick=True)
    assert found.holds, str(found)
    controls = [c.what for c in found.evidence.claims if c.is_control]
    for kind in (
        "not invariant",
        "constant filter",
        "1 + uv < 0",
        "BatchNorm",
        "bound",
    ):
        assert any(kind in what for what in controls), kind
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("architecture-laws", seed=seed)
    assert found.holds, str(found)


def test_the_circular_convolution_is_that_of_numpy():
    x, kernel = np.random.default_rng(0).normal(size=(2, 5))
    found = architectures.circular(x[:, None], kernel[:, None, None])[:, 0]
    turned = np.fft.fft(x) * np.conj(np.fft.fft(kernel))
    np.testing.assert_allclose(found, np.fft.ifft(turned).real, atol=1e-6)


def test_the_growth_of_a_channel_is_that_of_its_gradients():
    """eta^2 (|g_v|^2 - |g_u|^2), from the gradients themselves."""
    run = runs.Trained(0, 0.1)
    _, slopes = run.states
    q, _ = run.states
    v, u = (slopes[n].astype(float) for n in ("conv1", "conv2"))
    grown = 0.01 * ((v**2).sum(axis=(1, 2, 3)) - (u**2).sum(axis=(1, 2, 4)))
    x = (q["conv1"] ** 2).sum(axis=(1, 2, 3)) - (q["conv2"] ** 2).sum(axis=(1, 2, 4))
    _, predicted = run.law(runs.PLAIN)
    expected = np.cumsum(grown, axis=0) - grown
    np.testing.assert_allclose(predicted, expected / np.linalg.norm(x[0]), atol=1e-14)


def test_batch_norm_does_not_see_the_size_of_a_filter():
    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, runs.parameters(0))
        batch = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1))), None
        batch = batch[0], jnp.arange(4)
        larger = w | {"conv1": 3 * w["conv1"]}
        for normalised, same in ((True, True), (False, False)):
            losses = [runs.cross_entropy(x, batch, normalised) for x in (w, larger)]
            assert (abs(losses[0] - losses[1]) < 1e-12) == same


def test_a_wrong_mass_is_refuted(monkeypatch):
    """Twice the growth: what is claimed of each step fails."""
    right = runs.at_states

    def wrong(expression, q, v, values=None):
        return (2 if values else 1) * right(expression, q, v, values)

    monkeypatch.setattr(runs, "at_states", wrong)
    assert runs.Trained(0, 0.1).excess(runs.PLAIN) > 1e-3
