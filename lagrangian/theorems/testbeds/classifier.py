"""A small smooth classifier with a translation, a scale and a rescale symmetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train
from lagrangian.symbolic.algebra.symmetry import Rescale, Scale, Symmetry, Translation
from lagrangian.symbolic.laws.noether import Law

SYMMETRIES: dict[str, Symmetry] = {
    "translation": Translation("bias"),
    "scale": Scale("kernel", unit_axis=-1),
    "rescale": Rescale("inward", "outward"),
}


def same(x: Any) -> Any:
    """The activation of a linear unit."""
    return x


def logits(
    w: Mapping[str, Any],
    inputs: Any,
    normalised: bool = True,
    activation: Callable[[Any], Any] = same,
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


def without_normalisation(w: Mapping[str, Any], batch: Any) -> Any:
    """For controls: the scale of the kernel is no symmetry."""
    return cross_entropy(w, batch, normalised=False)


def one_against_rest(w: Mapping[str, Any], batch: Any) -> Any:
    """For controls, no symmetry: no normalisation, a tanh unit, and no softmax."""
    inputs, labels = batch
    found = logits(w, inputs, normalised=False, activation=jnp.tanh)
    signs = 2 * jax.nn.one_hot(labels, found.shape[-1]) - 1
    return jax.nn.softplus(-signs * found).mean()


def problem(seed: int) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Parameters, and 24 random inputs of 5 numbers with 3 classes that depend on them.

    Returns:
        Arrays in float64, and (inputs, labels).
    """
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(24, 5))
    labels = np.argmax(inputs[:, :3] + generator.normal(size=(24, 3)), axis=1)
    parameters = {
        "kernel": generator.normal(size=(5, 3)),
        "inward": generator.normal(size=5),
        "outward": generator.normal(size=3),
        "bias": 1 + generator.normal(size=3),
    }
    return parameters, (inputs, labels)


def observed(
    rule: Rule,
    steps: int,
    seed: int,
    laws: Sequence[Law],
    loss: Callable[[Any, Any], Any] = cross_entropy,
    batch_size: int | None = None,
) -> Run:
    """Train it in float64; by default on all of its data in every step."""
    parameters, data = problem(seed)
    with jax.enable_x64(True):
        return train(
            parameters,
            loss,
            data,
            rule,
            steps,
            observe=laws,
            batch_size=batch_size,
            progress=False,
        )
