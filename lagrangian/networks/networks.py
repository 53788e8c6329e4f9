"""Small Flax networks whose symmetries are known: for tests, examples and theorems.

Every one takes `param_dtype` for its parameters and computes in the type of its
parameters and inputs; names of parameters are dotted paths such as `layers.0.kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from lagrangian.networks.datasets import Dataset


class WeightNormalisedLinear(nnx.Module):
    """A linear layer whose kernel columns are divided by their norms.

    Weight normalisation (Salimans & Kingma, 2016) without epsilon: the scale of every
    column of `kernel` is a symmetry, and the column's norm is the parameter `scale`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
    ):
        initial = nnx.initializers.lecun_normal()
        kernel = initial(rngs.params(), (inputs, outputs), param_dtype)
        self.kernel = nnx.Param(kernel)
        self.scale = nnx.Param(jnp.ones(outputs, param_dtype))
        self.bias = nnx.Param(jnp.zeros(outputs, param_dtype))

    def __call__(self, x: Any) -> Any:
        kernel = self.kernel[...]
        direction = kernel / jnp.linalg.norm(kernel, axis=0)
        return x @ direction * self.scale[...] + self.bias[...]


class DynamicTanh(nnx.Module):
    """tanh(alpha x) with a scale and a bias (Zhu et al., "Transformers without
    Normalization", 2025): in the place of a normalisation, but with no scale symmetry
    of what comes in except against `alpha`.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs, param_dtype: Any):
        self.alpha = nnx.Param(jnp.full((), 0.5, param_dtype))
        self.scale = nnx.Param(jnp.ones(features, param_dtype))
        self.bias = nnx.Param(jnp.zeros(features, param_dtype))

    def __call__(self, x: Any) -> Any:
        return jnp.tanh(self.alpha[...] * x) * self.scale[...] + self.bias[...]


class Perceptron(nnx.Module):
    """Fully connected layers, `activation` between them.

    Args:
        sizes: of the input, the hidden layers and the output.
        rngs: streams for the initial parameters.
        activation: between the layers; None for a linear network.
        normalisation: None, "batch" (after each hidden layer) or "weight".
        use_bias: of the linear layers without weight normalisation.
        epsilon: of BatchNorm.
        param_dtype: of all parameters.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Any], Any] | None = nnx.relu,
        normalisation: str | None = None,
        use_bias: bool = True,
        epsilon: float = 1e-5,
        param_dtype: Any = jnp.float32,
    ):
        kinds: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        if normalisation == "weight":
            layers = [WeightNormalisedLinear(*pair, **kinds) for pair in pairs]
        else:
            layers = [nnx.Linear(*pair, use_bias=use_bias, **kinds) for pair in pairs]
        self.layers = nnx.List(layers)
        hidden = sizes[1:-1] if normalisation == "batch" else ()
        self.norms = nnx.List([_batch_norm(n, epsilon, kinds) for n in hidden])
        self.activation = activation

    def __call__(self, x: Any) -> Any:
        x = x.reshape(x.shape[0], -1)
        *hidden, last = self.layers
        for i, layer in enumerate(hidden):
            x = layer(x)
            if self.norms:
                x = self.norms[i](x)
            if self.activation is not None:
                x = self.activation(x)
        return last(x)


class ConvolutionalClassifier(nnx.Module):
    """Two convolutions with a normalisation each, the mean over the image, logits.

    Args:
        rngs: streams for the initial parameters.
        normalisation: "batch", "group" or "layer".
        channels: of both convolutions.
        classes: of the output.
        groups: of the group normalisation.
        colours: of the images.
        epsilon: of the normalisations.
        param_dtype: of all parameters.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        normalisation: str = "batch",
        channels: int = 8,
        classes: int = 3,
        groups: int = 2,
        colours: int = 1,
        epsilon: float = 1e-5,
        param_dtype: Any = jnp.float32,
    ):
        kinds: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}

        def normalise() -> Any:
            if normalisation == "batch":
                return _batch_norm(channels, epsilon, kinds)
            more: dict[str, Any] = {
                "epsilon": epsilon,
                "use_fast_variance": False,
                **kinds,
            }
            if normalisation == "group":
                return nnx.GroupNorm(channels, num_groups=groups, **more)
            return nnx.LayerNorm(channels, **more)

        self.conv1 = nnx.Conv(colours, channels, (3, 3), **kinds)
        self.norm1 = normalise()
        self.conv2 = nnx.Conv(channels, channels, (3, 3), strides=2, **kinds)
        self.norm2 = normalise()
        self.dense = nnx.Linear(channels, classes, **kinds)

    def __call__(self, images: Any) -> Any:
        """Logits of images (n, height, width, colours)."""
        x = nnx.relu(self.norm1(self.conv1(images)))
        x = nnx.relu(self.norm2(self.conv2(x)))
        return self.dense(x.mean(axis=(1, 2)))


class ResidualNetwork(nnx.Module):
    """x <- relu(x + second(relu(first(x)))): one stream that every block adds to.

    The skip connections tie the scales of what writes to a channel of the stream to
    those of what reads it.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        inputs: int = 6,
        width: int = 5,
        hidden: int = 7,
        blocks: int = 2,
        classes: int = 3,
        param_dtype: Any = jnp.float32,
    ):
        kinds: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}
        self.embed = nnx.Linear(inputs, width, **kinds)
        self.first = nnx.List(
            [nnx.Linear(width, hidden, **kinds) for _ in range(blocks)]
        )
        self.second = nnx.List(
            [nnx.Linear(hidden, width, **kinds) for _ in range(blocks)]
        )
        self.head = nnx.Linear(width, classes, **kinds)

    def __call__(self, x: Any) -> Any:
        x = self.embed(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = nnx.relu(x + second(nnx.relu(first(x))))
        return self.head(x)


class Transformer(nnx.Module):
    """Token and position embeddings, blocks of attention and ReLU layers, logits.

    Args:
        rngs: streams for the initial parameters.
        normalisation: "layer", "rms" or "tanh" (`DynamicTanh`).
        order: "pre" (each branch normalises what it reads) or "post" (the stream is
            normalised after each addition).
        vocabulary, length: of tokens and of positions.
        width, heads, hidden, blocks: of the stream, the attention, the ReLU layers.
        epsilon: of the normalisations.
        param_dtype: of all parameters.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        normalisation: str = "layer",
        order: str = "pre",
        vocabulary: int = 7,
        length: int = 6,
        width: int = 8,
        heads: int = 2,
        hidden: int = 12,
        blocks: int = 1,
        epsilon: float = 1e-6,
        param_dtype: Any = jnp.float32,
    ):
        kinds: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}

        def normalise() -> Any:
            if normalisation == "tanh":
                return DynamicTanh(width, **kinds)
            layer = nnx.LayerNorm if normalisation == "layer" else nnx.RMSNorm
            return layer(width, epsilon=epsilon, use_fast_variance=False, **kinds)

        self.order = order
        # Plain arrays: `nnx.Embed` computes in the type that it was made with.
        initial = nnx.initializers.normal(1.0)
        tokens = initial(rngs.params(), (vocabulary, width), param_dtype)
        positions = initial(rngs.params(), (length, width), param_dtype)
        self.tokens, self.positions = nnx.Param(tokens), nnx.Param(positions)
        self.attention = nnx.List(
            [
                nnx.MultiHeadAttention(
                    heads, width, decode=False, attention_fn=_attend, **kinds
                )
                for _ in range(blocks)
            ]
        )
        self.first = nnx.List(
            [nnx.Linear(width, hidden, **kinds) for _ in range(blocks)]
        )
        self.second = nnx.List(
            [nnx.Linear(hidden, width, **kinds) for _ in range(blocks)]
        )
        self.norms = nnx.List([normalise() for _ in range(2 * blocks)])
        self.last_norm = normalise()
        self.head = nnx.Linear(width, vocabulary, **kinds)

    def __call__(self, tokens: Any) -> Any:
        """Logits (n, length, vocabulary) of tokens (n, length), causal."""
        mask = nnx.make_causal_mask(tokens)
        x = self.tokens[...][tokens] + self.positions[...][: tokens.shape[1]]
        for i, attention in enumerate(self.attention):
            first, second = self.first[i], self.second[i]
            x = self._add(x, 2 * i, lambda y, f=attention: f(y, mask=mask))
            x = self._add(x, 2 * i + 1, lambda y, f=first, g=second: g(nnx.relu(f(y))))
        return self.head(self.last_norm(x))

    def _add(self, x: Any, index: int, branch: Callable[[Any], Any]) -> Any:
        norm = self.norms[index]
        if self.order == "pre":
            return x + branch(norm(x))
        return norm(x + branch(x))


class TiedAutoencoder(nnx.Module):
    """relu(x W + b) W^T: the decoder is the encoder's kernel, transposed."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        inputs: int = 6,
        hidden: int = 4,
        param_dtype: Any = jnp.float32,
    ):
        self.encoder = nnx.Linear(inputs, hidden, rngs=rngs, param_dtype=param_dtype)

    def __call__(self, x: Any) -> Any:
        return nnx.relu(self.encoder(x)) @ self.encoder.kernel[...].T


def default_network(dataset: Dataset) -> Callable[[nnx.Rngs], nnx.Module]:
    """A maker of a small network for a data set of any kind.

    A transformer for tokens, convolutions for images, a ReLU perceptron for the rest.
    """
    shape = dataset.inputs.shape[1:]
    classes = dataset.classes or dataset.targets.shape[-1]
    if dataset.inputs.dtype.kind == "i":
        return lambda rngs: Transformer(rngs, vocabulary=classes, length=shape[0])
    if len(shape) == 3:
        # An epsilon that breaks the scale symmetry below any rounding.
        return lambda rngs: ConvolutionalClassifier(
            rngs, classes=classes, colours=shape[-1], epsilon=1e-20
        )
    return lambda rngs: Perceptron((math.prod(shape), 16, 16, classes), rngs)


def mean_square(model: Any, batch: Any) -> Any:
    """Mean squared error of a batch (inputs, targets): a scalar."""
    inputs, targets = batch
    return jnp.mean((model(inputs) - targets) ** 2)


def _attend(query: Any, key: Any, value: Any, mask: Any = None, **_: Any) -> Any:
    """Attention in the type of its inputs; Flax's own takes the softmax in float32."""
    scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / query.shape[-1] ** 0.5
    weights = nnx.softmax(jnp.where(mask, scores, -jnp.inf))
    return jnp.einsum("nhqk,nkhd->nqhd", weights, value)


def _batch_norm(features: int, epsilon: float, kinds: dict[str, Any]) -> nnx.BatchNorm:
    # The two-pass variance: the one-pass formula cancels digits.
    layer = nnx.BatchNorm(features, epsilon=epsilon, use_fast_variance=False, **kinds)
    # Flax makes the running statistics float32 whatever `param_dtype` is.
    for statistic in (layer.mean, layer.var):
        statistic.set_value(statistic.get_value().astype(kinds["param_dtype"]))
    return layer
