"""Small smooth networks whose symmetries are known, as functions of plain arrays.

Two linear layers and one head of attention; side by side with the `classifier` they are
one network with all of their symmetries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Symmetry
from lagrangian.theorems.testbeds.classifier import (
    cross_entropy,
    logits,
    one_against_rest,
    problem,
    same,
)

#: A generator of GL(h) is the sum of one of each.
EVEN, ODD = (ConstantBlock("A", parity=parity) for parity in (1, -1))

Activation = Callable[[Any], Any]


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


def two_layers(w: Mapping[str, Any], inputs: Any, activation: Activation = same) -> Any:
    """`first` and `second`, linear if `activation` is the identity."""
    return activation(inputs @ w["first"]) @ w["second"]


def attention(w: Mapping[str, Any], inputs: Any, activation: Activation = same) -> Any:
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
    return _sum_of_losses(w, batch, cross_entropy, same)


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
    weights, classified = problem(seed)
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
