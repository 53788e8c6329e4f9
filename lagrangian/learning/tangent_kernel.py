"""The empirical neural tangent kernel: how training one output moves another.

A column at a time, as a gradient and the derivative of the outputs along it: the
Jacobian, of the size of the outputs times the parameters, is never held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian.elapsed import elapsed
from lagrangian.errors import LagrangianError
from lagrangian.learning.model import (
    check_outputs,
    in_double,
    split_in_double,
    traced_loss,
)
from lagrangian.lowering.platform import float64


def tangent_kernel(
    model: PyTree,
    outputs: Callable[[Any, Any], Any],
    batch: PyTree,
    other: PyTree | None = None,
    *,
    chunk: int = 256,
) -> np.ndarray:
    """The kernel <grad f(x), grad f(x')>, by the gradients in all parameters.

    Gradient flow of any loss of the outputs on `other` moves those on `batch` by
    -K dL/df: Jacot, Gabriel & Hongler, "Neural Tangent Kernel: Convergence and
    Generalization in Neural Networks" (2018). What is symmetric and positive
    semidefinite is the kernel of a batch with itself.

    Args:
        model: a Flax NNX module, or a pytree of arrays such as Linen's
            `variables["params"]`. It is not changed; everything is in float64.
        outputs: `outputs(model, batch)`, a real array of any shape, such as (examples,)
            or (examples, classes).
        batch: what `outputs` gets, in any pytree; it needs no targets.
        other: another batch, of any number of examples; `batch` itself if left out.
        chunk: columns, which are outputs on `other`, that are worked on at a time:
            the memory is that of so many gradients.

    Returns:
        float64, of the shape of the outputs on `batch` followed by that of those on
        `other`: (n, m), or (n, classes, m, classes). Reshape the latter to a square
        matrix by `kernel.reshape(n * classes, -1)`.

    Raises:
        LagrangianError: outputs that are not finite or not float64, or a `chunk` below
            one.

    Example:
        >>> import numpy as np
        >>> import lagrangian as lg
        >>> neuron = {"a": np.array(2.0), "w": np.array([1.0, 0.0])}
        >>> outputs = lambda p, x: p["a"] * (x @ p["w"])
        >>> x = np.array([[1.0, 0.0], [1.0, 1.0]])
        >>> lg.tangent_kernel(neuron, outputs, x)    # a^2 x.x' + (w.x)(w.x')
        array([[5., 5.],
               [5., 9.]])
    """
    if chunk < 1:
        raise LagrangianError(f"`chunk` is {chunk}; pass 1 or more.")
    with float64(), elapsed("differentiating outputs"):
        parts = split_in_double(model)
        bound = parts.bind(outputs)
        batch, others = (
            jax.tree.map(in_double, x)
            for x in (batch, batch if other is None else other)
        )

        def on(x: Any) -> Callable[[Any], Any]:
            return lambda parameters: bound(parameters, parts.rest, x)[0]

        # Handed in, so that the compiled program has no large constants in it.
        @jax.jit
        def columns(parameters: Any, rows: Any, others: Any, along: Any) -> Any:
            pull = jax.vjp(on(others), parameters)[1]
            push = jax.linearize(on(rows), parameters)[1]
            return jax.vmap(lambda direction: push(*pull(direction)))(along)

        with traced_loss("outputs"):
            values = jax.jit(lambda q: (on(batch)(q), on(others)(q)))(parts.parameters)
            left, right = (np.asarray(check_outputs(value)) for value in values)
            found = [np.zeros((0, *left.shape))]
            for start in range(0, right.size, chunk):
                stop = min(start + chunk, right.size)
                along = np.eye(stop - start, right.size, start)
                along = along.reshape(-1, *right.shape)
                part = columns(parts.parameters, batch, others, jnp.asarray(along))
                found.append(np.asarray(part))
    kernel = np.moveaxis(np.concatenate(found), 0, -1)
    return kernel.reshape(left.shape + right.shape)
