"""DyT: the symmetries of streams, their counts, and the charge of alpha."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import dynamic_tanh as module
from lagrangian.theorems.conservation import normed_fields as fields
from lagrangian.theorems.conservation import normed_streams as streams
from lagrangian.theorems.theorem import Claim


@pytest.mark.parametrize("name", fields.FIELDS)
def test_a_field_leaves_the_loss_alone_along_its_whole_flow(name):
    """By the finite flow, in steps of fourth order; of a norm that lacks it, not."""
    field, affine, norms = fields.FIELDS[name]
    batch = streams.digits(0, 16)

    def moved(norm):
        w = streams.start(norm, 0, 1, affine)
        loss, size = streams.loss_of(norm), 0.1
        before = float(loss(jax.tree.map(jnp.asarray, w), batch))

        def velocity(w):
            # The same field at each point: its coefficients are drawn anew.
            zero = {n: np.zeros_like(a) for n, a in w.items()}
            return zero | field(np.random.default_rng(1), w)

        for _ in range(4):
            k = [velocity(w)]
            for share in (0.5, 0.5, 1.0):
                k.append(velocity({n: w[n] + share * size / 4 * k[-1][n] for n in w}))
            step = {n: k[0][n] + 2 * k[1][n] + 2 * k[2][n] + k[3][n] for n in w}
            w = {n: w[n] + size / 24 * step[n] for n in w}
        return abs(float(loss(jax.tree.map(jnp.asarray, w), batch)) - before)

    with jax.enable_x64(True):
        assert max(moved(norm) for norm in norms) < 1e-6
        lacks = set(streams.NORMS) - set(norms)
        if name == "writers against alphas":
            lacks = set()  # it is the scale there
        assert all(moved(norm) > 1e-5 for norm in lacks)


def test_the_scale_of_a_stream_by_hand():
    """A network of writers times three, and of alphas by three, is the same."""
    w, batch = streams.start("DyT", 3, 2, True), streams.digits(3, 8)
    other = w | {n: 3 * w[n] for n in streams.writers(w)}
    other |= {n: w[n] / 3 for n in streams.alphas(w)}
    with jax.enable_x64(True):
        loss = streams.loss_of("DyT")
        first, second = (loss(jax.tree.map(jnp.asarray, a), batch) for a in (w, other))
    assert float(first) == pytest.approx(float(second), rel=1e-13)


@pytest.mark.filterwarnings("error")
def test_it_is_verified_quickly():
    assert lg.verify("dynamic-tanh", quick=True).holds


def test_another_count_is_refuted(monkeypatch):
    right = fields.count
    wrong = lambda *given: tuple(n + 1 for n in right(*given))
    monkeypatch.setattr(fields, "count", wrong)
    assert not all(claim.is_as_expected for claim in fields.counts(0, True))


def test_another_constant_is_refuted(monkeypatch):
    right = module.fourth_root
    monkeypatch.setattr(module, "fourth_root", lambda times: 1.05 * right(times))
    claims = [c for c in module._toy() if isinstance(c, Claim)]
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("dynamic-tanh", seed=seed).holds
