import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lagrangian.networks.digits import (
    ConvolutionalNetwork,
    cross_entropy,
    load_digits,
)


def test_the_split_is_disjoint_and_depends_on_the_seed_alone():
    (train, train_labels), (test, test_labels) = load_digits(seed=1)
    assert len(train) + len(test) == 1797 and train.shape[1:] == (8, 8, 1)
    again = load_digits(seed=1)
    np.testing.assert_array_equal(again[0][0], train)
    assert not np.array_equal(load_digits(seed=2)[0][1], train_labels)
    assert set(np.unique(test_labels)) == set(range(10))


def test_the_network_is_unchanged_by_finite_symmetry_transformations():
    """Scaled kernels, shifted logits: the same loss. A scaled last layer: not so."""
    batch = tuple(jnp.asarray(a[:32]) for a in load_digits()[0])
    with jax.enable_x64(True):
        model = ConvolutionalNetwork(
            nnx.Rngs(0), channels=(3, 4), param_dtype=jnp.float64
        )
        before = float(cross_entropy(model, batch))
        factors = jnp.asarray([0.5, 2.0, 3.0])
        model.conv1.kernel[...] = model.conv1.kernel[...] * factors
        model.dense.kernel[...] = model.dense.kernel[...] + 0.7
        model.dense.bias[...] = model.dense.bias[...] - 0.3
        assert float(cross_entropy(model, batch)) == pytest.approx(before, rel=1e-12)
        model.dense.kernel[...] = model.dense.kernel[...] * 1.1
        assert abs(float(cross_entropy(model, batch)) - before) > 1e-3
