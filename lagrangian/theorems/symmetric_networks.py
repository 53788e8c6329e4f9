"""Small smooth networks whose symmetries are known, as functions of plain arrays.

A classifier that has a translation, a scale and a rescale symmetry at once; two linear
layers; one head of attention. Side by side they are one network with all six.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.symbolic.blocks import Block, ConstantBlock
from lagrangian.symbolic.matrices import matmul, transpose
from lagrangian.symbolic.symmetry import (
    GeneralLinear,
    Rescale,
    Scale,
    Symmetry,
    Translation,
)

#: A generator of GL(h) is the sum of one of each.
EVEN, ODD = (ConstantBlock("A", parity=parity) for parity in (1, -1))

Activation = Callable[[Any], Any]


def _same(x: Any) -> Any:
    return x


# ------------------------------------------------------------------ classifier

CLASSIFIER_SYMMETRIES: dict[str, Symmetry] = {
    "translation": Translation("bias"),
    "scale": Scale("kernel", unit_axis=-1),
    "rescale": Rescale("inward", "outward"),
}


def classifier_start(seed: int) -> tuple[dict[str, np.ndarray], Any]:
    """24 random inputs of 5 numbers, of 3 classes that depend on them."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(24, 5))
    labels = np.argmax(inputs[:, :3] + generator.normal(size=(24, 3)), axis=1)
    return {
        "kernel": generator.normal(size=(5, 3)),
        "inward": generator.normal(size=5),
        "outward": generator.normal(size=3),
        "bias": 1 + generator.normal(size=3),
    }, (inputs, labels)


def logits(
    w: Mapping[str, Any],
    inputs: Any,
    normalised: bool = True,
    activation: Activation = _same,
) -> Any:
    """tanh of a weight-normalised layer, a unit beside it, and a bias."""
    kernel = w["kernel"]
    if normalised:
        kernel = kernel / jnp.linalg.norm(kernel, axis=0)
    unit = jnp.outer(activation(inputs @ w["inward"]), w["outward"])
    return jnp.tanh(inputs @ kernel) + unit + w["bias"]


def cross_entropy(w: Mapping[str, Any], batch: Any, normalised: bool = True) -> Any:
    """The softmax cross entropy of `logits` with a linear unit."""
    inputs, labels = batch
    found = jax.nn.log_softmax(logits(w, inputs, normalised))
    return -found[jnp.arange(len(labels)), labels].mean()


def one_against_rest(w: Mapping[str, Any], batch: Any) -> Any:
    """No symmetry at all: no normalisation, a tanh unit, and no softmax."""
    inputs, labels = batch
    found = logits(w, inputs, normalised=False, activation=jnp.tanh)
    signs = 2 * jax.nn.one_hot(labels, found.shape[-1]) - 1
    return jax.nn.softplus(-signs * found).mean()


# ------------------------------------------------------------------ matrices


def layers(generator: ConstantBlock) -> Symmetry:
    """GL(h) between two linear layers."""
    return GeneralLinear("first", "second", generator)


def values(generator: ConstantBlock) -> Symmetry:
    """GL(d) between the values and the output of a head of attention."""
    return GeneralLinear("value", "output", generator)


def queries(generator: ConstantBlock) -> Symmetry:
    """GL(d) between its queries and keys: `query @ key.T` does not change."""
    query, key = Block("query"), Block("key")
    xi = {query: matmul(query, generator), key: -matmul(key, transpose(generator))}
    return Symmetry(xi, name="general linear")


MATRIX_SYMMETRIES = {"linear": layers, "query-key": queries, "value-output": values}


def two_layers(
    w: Mapping[str, Any], inputs: Any, activation: Activation = _same
) -> Any:
    """`first` and `second`, linear if `activation` is the identity."""
    return activation(inputs @ w["first"]) @ w["second"]


def attention(w: Mapping[str, Any], inputs: Any, activation: Activation = _same) -> Any:
    """One head on sequences of vectors; an `activation` of its own takes its symmetry.

    It acts on queries, keys and values.
    """
    query, key, value = (activation(inputs @ w[n]) for n in ("query", "key", "value"))
    weights = jax.nn.softmax(query @ jnp.swapaxes(key, -1, -2))
    return weights @ value @ w["output"]


def squared_error(found: Any, targets: Any) -> Any:
    """Half the squared distance, on average."""
    return ((found - targets) ** 2).sum(axis=-1).mean() / 2


# ------------------------------------------------------------------ side by side


def all_symmetric(w: Mapping[str, Any], batch: Any) -> Any:
    """The sum of three losses, whose arrays have nothing to do with each other."""
    return _sum_of_losses(w, batch, cross_entropy, _same)


def none_symmetric(w: Mapping[str, Any], batch: Any) -> Any:
    """The same with tanh, without softmax and normalisation: no symmetry is left."""
    return _sum_of_losses(w, batch, one_against_rest, jnp.tanh)


def _sum_of_losses(
    w: Mapping[str, Any], batch: Any, classify: Any, activation: Activation
) -> Any:
    classified, (inputs, targets), (sequences, wanted) = batch
    pair = squared_error(two_layers(w, inputs, activation), targets)
    head = squared_error(attention(w, sequences, activation), wanted)
    return classify(w, classified) + pair + head


def outputs_of_all(w: Mapping[str, Any], batch: Any) -> Any:
    """Log-probabilities and outputs of the three symmetric networks, as a vector."""
    (inputs, _), (vectors, _), (sequences, _) = batch
    found = (
        jax.nn.log_softmax(logits(w, inputs)),
        two_layers(w, vectors),
        attention(w, sequences),
    )
    return jnp.concatenate([jnp.ravel(part) for part in found])


def start_of_all(seed: int) -> tuple[dict[str, np.ndarray], Any]:
    """The parameters and the batch of the three, float64."""
    weights, classified = classifier_start(seed)
    generator = np.random.default_rng([seed, 1])
    inputs = generator.normal(size=(24, 4))
    targets = np.tanh(inputs[:, :3] + generator.normal(size=(24, 3)))
    sequences, noise = generator.normal(size=(2, 24, 5, 4))
    shapes = {
        "first": (4, 3),
        "second": (3, 3),
        "query": (4, 2),
        "key": (4, 2),
        "value": (4, 2),
        "output": (2, 4),
    }
    weights |= {n: generator.normal(size=s) / 2 for n, s in shapes.items()}
    return weights, (classified, (inputs, targets), (sequences, sequences + noise))
