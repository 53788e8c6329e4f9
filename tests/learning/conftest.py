"""Small networks and data for training tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.networks.digits import ConvolutionalNetwork


@pytest.fixture
def small_data():
    """64 random images with labels that depend on them."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(64, 8, 8, 1))
    labels = (images.mean(axis=(1, 2, 3)) > 0).astype(np.int32)
    return images, labels


@pytest.fixture
def network():
    """Makes the demo's network, small; float64 unless told otherwise."""

    def make(dtype=jnp.float64, **keywords):
        with jax.enable_x64(dtype == jnp.float64):
            return ConvolutionalNetwork(
                nnx.Rngs(1), channels=(3, 4), param_dtype=dtype, **keywords
            )

    return make


@pytest.fixture
def laws_of():
    """The laws of a rule for symmetries of the network."""

    def derive(rule, *symmetries):
        return [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]

    return derive


@pytest.fixture
def symmetries():
    return [
        lg.Scale("conv1.kernel", unit_axis=-1),
        lg.Scale("conv2.kernel", unit_axis=-1),
        lg.Translation("dense.kernel", unit_axis=0),
        lg.Translation("dense.bias"),
    ]
