"""Weights in PyTorch's names and order, in a Flax model that computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import lagrangian as lg
from lagrangian.networks.user_data import load_arrays
from lagrangian.networks.weights import load_weights

GENERATOR = np.random.default_rng(0)


def drawn(*shape):
    return GENERATOR.normal(size=shape)


#: As `state_dict` of a PyTorch `Sequential` names and orders them.
ARRAYS = {
    "layers.0.weight": drawn(4, 2, 3, 3),
    "layers.0.bias": drawn(4),
    "layers.1.weight": drawn(4),
    "layers.1.bias": drawn(4),
    "layers.1.running_mean": drawn(4),
    "layers.1.running_var": drawn(4) ** 2 + 0.1,
    "layers.4.weight": drawn(3, 4 * 5 * 5),
    "layers.4.bias": drawn(3),
}
MAPPING = {
    "conv.kernel": "layers.0.weight",
    "conv.bias": "layers.0.bias",
    "norm.scale": "layers.1.weight",
    "norm.bias": "layers.1.bias",
    "norm.mean": "layers.1.running_mean",
    "norm.var": "layers.1.running_var",
    # PyTorch flattens channels first.
    "out.kernel": (
        "layers.4.weight",
        lambda a: a.reshape(3, 4, 5, 5).transpose(2, 3, 1, 0).reshape(100, 3),
    ),
    "out.bias": "layers.4.bias",
}


class Network(nnx.Module):
    def __init__(self, rngs, dtype=jnp.float64):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs, param_dtype=dtype)
        self.norm = nnx.BatchNorm(
            4, epsilon=1e-5, use_running_average=True, rngs=rngs, param_dtype=dtype
        )
        self.out = nnx.Linear(100, 3, rngs=rngs, param_dtype=dtype)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.out(x.reshape(len(x), -1))


def by_the_book(x):
    """The same network on images of PyTorch's order (n, channels, 5, 5), in NumPy."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    hidden = np.zeros((len(x), 4, 5, 5))
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + 5, j : j + 5]
            kernel = ARRAYS["layers.0.weight"][:, :, i, j]
            hidden += np.einsum("oc,ncyx->noyx", kernel, window)
    along = (None, slice(None), None, None)
    hidden += ARRAYS["layers.0.bias"][along]
    mean, var = (ARRAYS[f"layers.1.running_{n}"][along] for n in ("mean", "var"))
    hidden = (hidden - mean) / np.sqrt(var + 1e-5)
    hidden = hidden * ARRAYS["layers.1.weight"][along]
    hidden = np.maximum(hidden + ARRAYS["layers.1.bias"][along], 0).reshape(len(x), -1)
    return hidden @ ARRAYS["layers.4.weight"].T + ARRAYS["layers.4.bias"]


def test_a_model_with_the_weights_computes_the_same(tmp_path):
    x = drawn(6, 2, 5, 5)
    np.savez(tmp_path / "weights.npz", **ARRAYS)
    arrays = load_arrays(tmp_path / "weights.npz")
    with jax.enable_x64(True):
        model = Network(nnx.Rngs(0))
        before = np.asarray(model.conv.kernel[...])
        loaded = load_weights(model, arrays, MAPPING)
        found = loaded(jnp.asarray(x.transpose(0, 2, 3, 1)))
        np.testing.assert_array_equal(model.conv.kernel[...], before)
        # Flax keeps running statistics in float32.
        np.testing.assert_allclose(found, by_the_book(x), rtol=1e-5, atol=1e-5)
        assert np.abs(found - model(jnp.asarray(x.transpose(0, 2, 3, 1)))).max() > 0.1
    assert loaded.conv.kernel[...].dtype == np.float64


def test_state_that_is_not_named_stays_as_it_is():
    parameters = {k: v for k, v in MAPPING.items() if k[5:] not in ("mean", "var")}
    arrays = {k: v for k, v in ARRAYS.items() if "running" not in k}
    loaded = load_weights(Network(nnx.Rngs(0), jnp.float32), arrays, parameters)
    np.testing.assert_array_equal(loaded.norm.mean[...], np.zeros(4))
    assert loaded.conv.kernel[...].dtype == np.float32


def test_the_variables_of_linen():
    model = linen.Dense(3)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 2)))
    arrays = {"fc.weight": drawn(3, 2), "fc.bias": drawn(3)}
    mapping = {"params.kernel": "fc.weight", "params.bias": "fc.bias"}
    loaded = load_weights(variables, arrays, mapping)
    x = drawn(4, 2)
    expected = x @ arrays["fc.weight"].T + arrays["fc.bias"]
    np.testing.assert_allclose(model.apply(loaded, x), expected, rtol=1e-5, atol=1e-6)


def changed(**changes):
    return {k: v for k, v in {**MAPPING, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    "arrays, mapping, message",
    [
        (ARRAYS, changed(**{"out.bias": None}), "nothing of the model's `out.bi"),
        (
            ARRAYS,
            changed(**{"out.bais": "x"}),
            "`out.bais`, which the model has",
        ),
        (
            ARRAYS,
            changed(**{"out.bias": "layers.4.bais"}),
            "has no `layers.4.bais`",
        ),
        (ARRAYS | {"fc.weight": np.ones(2)}, MAPPING, "made of the array `fc.weight`"),
        (
            ARRAYS | {"layers.4.bias": np.ones(4)},
            MAPPING,
            "`layers.4.bias`, of sh",
        ),
        (ARRAYS | {"layers.4.bias": np.full(3, np.nan)}, MAPPING, "no finite number"),
    ],
)
def test_mistakes_are_named(arrays, mapping, message):
    with pytest.raises(lg.LagrangianError, match=message):
        load_weights(Network(nnx.Rngs(0), jnp.float32), arrays, mapping)


def test_files_that_are_no_arrays_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.array([{"code": 1}], dtype=object))
    with pytest.raises(lg.LagrangianError, match="never loaded"):
        load_arrays(path)
    with pytest.raises(lg.LagrangianError, match="cannot be read"):
        load_arrays(tmp_path / "none.npz")
