"""The loss on the line between two models, point by point and by its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.networks.networks import Perceptron

normal = np.random.default_rng(0).normal
X = normal(size=(9, 3))


def loss(w, x):
    return (jnp.tanh(x @ w["first"]) @ w["second"]).mean() ** 2


def model():
    return {"first": normal(size=(3, 4)), "second": normal(size=4)}


def test_every_point_is_the_loss_of_the_mixed_model():
    one, other = model(), model()
    path = lg.linear_path(one, other, loss, X, points=5)
    with jax.enable_x64(True):
        for t, value in zip(path.t, path.losses, strict=True):
            mixed = {q: (1 - t) * one[q] + t * other[q] for q in one}
            assert value == pytest.approx(float(loss(mixed, X)), rel=1e-13)
    back = lg.linear_path(other, one, loss, X, points=5)
    np.testing.assert_allclose(back.losses, path.losses[::-1], rtol=1e-13)


def test_the_barrier_of_a_double_well_and_of_a_bowl():
    w = lambda value: {"w": np.array([float(value)])}
    well = lambda w, x: ((w["w"] ** 2 - 1) ** 2).sum()
    path = lg.linear_path(w(-1), w(1), well, X, points=21)
    assert path.barrier == pytest.approx(1.0)
    assert path.t[path.excess.argmax()] == pytest.approx(0.5)
    bowl = lambda w, x: (w["w"] ** 2).sum()
    path = lg.linear_path(w(-1), w(2), bowl, X)
    assert path.barrier == pytest.approx(0.0, abs=1e-15) and path.excess.min() < -1
    assert lg.linear_path(w(3), w(3), bowl, X).barrier == pytest.approx(0, abs=1e-14)


def test_modules_go_along_with_their_running_means():
    one, other = (
        Perceptron((3, 4, 1), nnx.Rngs(seed), normalisation="batch") for seed in (0, 1)
    )
    other(X)
    for module in (one, other):
        module.eval()
    square = lambda module, x: (module(x) ** 2).mean()
    path = lg.linear_path(one, other, square, X, points=3)
    ends = [float(square(module, jnp.asarray(X))) for module in (one, other)]
    np.testing.assert_allclose(path.losses[[0, -1]], ends, rtol=1e-4)


def test_what_it_refuses():
    with pytest.raises(LagrangianError, match="`points` is 1"):
        lg.linear_path(model(), model(), loss, X, points=1)
    with pytest.raises(LagrangianError, match=r"`second` is of shape \(4,\) in one"):
        lg.linear_path(model(), model() | {"second": np.ones(5)}, loss, X)
    with pytest.raises(LagrangianError, match="`third` is missing in one"):
        lg.linear_path(model(), model() | {"third": np.ones(5)}, loss, X)
    with pytest.raises(LagrangianError, match=r"array of shape \(9,\)"):
        lg.linear_path(model(), model(), lambda w, x: x @ w["first"] @ w["second"], X)
