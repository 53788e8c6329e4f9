"""The digits of scikit-learn, and a small convolutional network for them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


def load_digits(seed: int = 0, held_out: float = 0.2) -> tuple[Any, Any]:
    """1,797 scanned digits as ((images, labels) to train on, the same to test on).

    Images have shape (n, 8, 8, 1), are scaled to [0, 1] and then centred; labels are
    int32. The split is by a permutation drawn from `seed`.
    """
    from sklearn import datasets

    raw = datasets.load_digits()
    images = (raw.images[..., None] / 16.0).astype(np.float32)
    labels = raw.target.astype(np.int32)
    rows = np.random.default_rng(seed).permutation(len(labels))
    cut = int(len(rows) * (1 - held_out))
    images = images - images[rows[:cut]].mean()
    train, test = rows[:cut], rows[cut:]
    return (images[train], labels[train]), (images[test], labels[test])


class ConvolutionalNetwork(nnx.Module):
    """Two normalised convolutions and a linear layer, on images (n, 8, 8, 1).

    The convolutions have no bias and BatchNorm follows each, so that the kernel of
    every output channel is scale-symmetric. BatchNorm's `epsilon` is what breaks that
    symmetry; at the default here it does so below any rounding.

    Args:
        rngs: streams for the initial parameters.
        epsilon: of both BatchNorms.
        channels: of the two convolutions.
        param_dtype: of all parameters and of the computation.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        epsilon: float = 1e-20,
        channels: tuple[int, int] = (16, 32),
        param_dtype: Any = jnp.float32,
    ):
        kinds: dict[str, Any] = {
            "param_dtype": param_dtype,
            "dtype": param_dtype,
            "rngs": rngs,
        }
        first, second = channels

        def normalise(features: int) -> nnx.BatchNorm:
            # The two-pass variance: the one-pass formula cancels digits.
            layer = nnx.BatchNorm(
                features, epsilon=epsilon, use_fast_variance=False, **kinds
            )
            # Flax makes the running statistics float32 whatever `param_dtype` is.
            for statistic in (layer.mean, layer.var):
                statistic.set_value(statistic.get_value().astype(param_dtype))
            return layer

        self.conv1 = nnx.Conv(1, first, (3, 3), use_bias=False, **kinds)
        self.norm1 = normalise(first)
        self.conv2 = nnx.Conv(first, second, (3, 3), strides=2, use_bias=False, **kinds)
        self.norm2 = normalise(second)
        self.dense = nnx.Linear(16 * second, 10, **kinds)

    def __call__(self, images: Any) -> Any:
        """Logits of shape (n, 10)."""
        x = nnx.relu(self.norm1(self.conv1(images)))
        x = nnx.relu(self.norm2(self.conv2(x)))
        return self.dense(x.reshape(x.shape[0], -1))


def cross_entropy(model: Any, batch: Any) -> Any:
    """Mean softmax cross-entropy of a batch (images, labels): a scalar."""
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


def accuracy(model: nnx.Module, data: Any) -> float:
    """The share of `data` that the model classifies correctly, in evaluation mode."""
    images, labels = data
    model.eval()
    logits = model(jnp.asarray(images))
    model.train()
    return float(jnp.mean(jnp.argmax(logits, axis=-1) == jnp.asarray(labels)))
