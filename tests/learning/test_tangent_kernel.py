"""The tangent kernel, against explicit Jacobians and where it is known by formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.networks.networks import Perceptron

normal = np.random.default_rng(0).normal
X, Y = normal(size=(7, 3)), normal(size=(4, 3))


def tanh_outputs(w, x):
    return jnp.tanh(x @ w["first"]) @ w["second"] + w["bias"]


def tanh_model():
    return {
        "first": normal(size=(3, 5)),
        "second": normal(size=(5, 2)),
        "bias": normal(size=2),
    }


def by_jacobian(outputs, w, x, y):
    """The definition: the Jacobian, parameter by parameter."""
    with jax.enable_x64(True):
        w = jax.tree.map(jnp.asarray, w)
        left, right = (jax.jacfwd(lambda w, x=x: outputs(w, x))(w) for x in (x, y))
        count = outputs(w, x).ndim, outputs(w, y).ndim
        total = 0.0
        for name in w:
            rows, columns = (
                np.asarray(j[name]).reshape(*j[name].shape[:n], -1)
                for j, n in zip((left, right), count, strict=True)
            )
            total = total + np.tensordot(rows, columns, (-1, -1))
    return total


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_it_is_the_product_of_the_jacobians(chunk):
    w = tanh_model()
    kernel = lg.tangent_kernel(w, tanh_outputs, X, Y, chunk=chunk)
    assert kernel.shape == (7, 2, 4, 2) and kernel.dtype == np.float64
    stated = by_jacobian(tanh_outputs, w, X, Y)
    np.testing.assert_allclose(kernel, stated, rtol=0, atol=1e-13)
    # Another model has another kernel.
    other = lg.tangent_kernel(tanh_model(), tanh_outputs, X, Y)
    assert np.abs(other - stated).max() > 0.1


def test_a_batch_with_itself_is_symmetric_and_positive():
    kernel = lg.tangent_kernel(tanh_model(), tanh_outputs, X).reshape(14, 14)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-13)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12


def test_a_deep_linear_network_by_its_formula():
    """f = V U x: K(x, x')_ab = (V V^T)_ab x.x' + delta_ab (U x).(U x')."""
    w = {"first": normal(size=(3, 4)), "second": normal(size=(4, 2))}
    kernel = lg.tangent_kernel(w, lambda w, x: x @ w["first"] @ w["second"], X, Y)
    hidden = (X @ w["first"]) @ (Y @ w["first"]).T
    stated = np.einsum("ij,ab->iajb", X @ Y.T, w["second"].T @ w["second"])
    stated += np.einsum("ij,ab->iajb", hidden, np.eye(2))
    np.testing.assert_allclose(kernel, stated, rtol=0, atol=1e-13)


def test_a_wide_relu_network_has_the_kernel_of_arc_cosines():
    """Jacot and others' limit: what Cho and Saul's integrals say, as 1/sqrt(width)."""
    width = 40_000
    w = {"first": normal(size=(3, width)), "second": normal(size=width)}
    outputs = lambda w, x: jax.nn.relu(x @ w["first"]) @ w["second"] / width**0.5
    kernel = lg.tangent_kernel(w, outputs, X)
    sizes = np.linalg.norm(X, axis=1)
    product = np.outer(sizes, sizes)
    angle = np.arccos(np.clip(X @ X.T / product, -1, 1))
    stated = product * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    stated = (stated + X @ X.T * (np.pi - angle)) / (2 * np.pi)
    np.testing.assert_allclose(kernel, stated, atol=0.05 * stated.max())


def test_gradient_flow_moves_the_outputs_by_it():
    w, targets, step = tanh_model(), normal(size=(4, 2)), 1e-6
    with jax.enable_x64(True):
        loss = lambda w: ((tanh_outputs(w, Y) - targets) ** 2).sum() / 2
        slope = jax.grad(loss)(w)
        after, before = (
            jax.tree.map(lambda q, g, s=s: q - s * g, w, slope) for s in (step, -step)
        )
        moved = tanh_outputs(after, X) - tanh_outputs(before, X)
        pull = np.asarray(tanh_outputs(w, Y) - targets)
    kernel = lg.tangent_kernel(w, tanh_outputs, X, Y)
    predicted = -np.tensordot(kernel, pull, 2)
    np.testing.assert_allclose(np.asarray(moved) / (2 * step), predicted, atol=1e-7)


def test_a_flax_module_in_single_precision_is_taken_in_double():
    model = Perceptron((3, 5, 2), nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(model))
    kernel = lg.tangent_kernel(model, lambda m, x: m(x), X.astype("float32"))
    assert jax.tree.all(jax.tree.map(np.array_equal, before, nnx.state(model)))
    w = {
        f"{kind}{i}": np.asarray(getattr(layer, kind)[...], float)
        for i, layer in enumerate(model.layers)
        for kind in ("kernel", "bias")
    }

    def outputs(w, x):
        hidden = jax.nn.relu(x @ w["kernel0"] + w["bias0"])
        return hidden @ w["kernel1"] + w["bias1"]

    x = X.astype("float32").astype(float)
    stated = by_jacobian(outputs, w, x, x)
    np.testing.assert_allclose(kernel, stated, rtol=0, atol=1e-12)


def test_linen_and_a_batch_of_any_kind():
    module = linen.Dense(2)
    parameters = module.init(jax.random.key(0), X)["params"]

    def outputs(w, batch):
        return module.apply({"params": w}, batch["inputs"])

    kernel = lg.tangent_kernel(parameters, outputs, {"inputs": X}, {"inputs": Y})
    stated = np.einsum("ij,ab->iajb", X @ Y.T + 1, np.eye(2))
    np.testing.assert_allclose(kernel, stated, atol=1e-12)


def test_special_shapes_and_points():
    w = {"w": np.zeros(3)}
    one = lambda w, x: (x @ w["w"]).sum()
    assert lg.tangent_kernel(w, one, X).shape == ()
    assert lg.tangent_kernel(w, one, X) == pytest.approx((X.sum(0) ** 2).sum())
    outputs = lambda w, x: x @ w["w"]
    assert lg.tangent_kernel(w, outputs, X, X[:0]).shape == (7, 0)
    for size in (1e-150, 1e150):
        small = lg.tangent_kernel(w, outputs, size * X)
        np.testing.assert_allclose(small, size**2 * X @ X.T, rtol=1e-12)
    # A parameter that no output reads adds nothing.
    more = lg.tangent_kernel(w | {"idle": np.ones(2)}, outputs, X)
    np.testing.assert_array_equal(more, lg.tangent_kernel(w, outputs, X))


def test_what_it_refuses():
    w = {"w": np.ones(3)}
    outputs = lambda w, x: x @ w["w"]
    with pytest.raises(LagrangianError, match="`chunk` is 0"):
        lg.tangent_kernel(w, outputs, X, chunk=0)
    with pytest.raises(LagrangianError, match="rounds inside"):
        lg.tangent_kernel(w, lambda w, x: outputs(w, x).astype("float32"), X)
    with pytest.raises(LagrangianError, match="not finite"):
        lg.tangent_kernel(w, outputs, X * np.nan)
    with pytest.raises(LagrangianError, match="cannot differentiate"):
        lg.tangent_kernel(w, lambda w, x: np.asarray(outputs(w, x)), X)
