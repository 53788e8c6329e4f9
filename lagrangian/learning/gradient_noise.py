"""How far the noise of minibatches pushes a charge: moments of the gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import PyTree

from lagrangian.elapsed import elapsed
from lagrangian.errors import LagrangianError
from lagrangian.learning.model import split, traced_loss
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.calculus import pairing
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.discrete import linear_part


@dataclass(frozen=True, repr=False)
class GradientNoise(AtPrompt):
    """Moments of the gradients of single examples along the generator A of a symmetry.

    Attributes:
        square: the mean of <g, A g> over the examples, g the gradient of each; a
            scalar, or of shape (units,) if the blocks of the symmetry have units.
        drift: <grad f, A grad f>, of the mean gradient; of the same shape.
        examples: how many.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.eye(4, 3)
    >>> def loss(model, batch):
    ...     return ((batch @ model["w"] - 1) ** 2).mean()
    >>> model = {"w": np.zeros(3)}
    >>> noise = lg.gradient_noise(model, loss, data, lg.Scale("w"))
    >>> bool(noise.trace > 0), noise.examples
    (True, 4)
    """

    square: np.ndarray
    drift: np.ndarray
    examples: int

    _next = "`.trace`, `.drift`, `.batch(size)`"

    def __str__(self) -> str:
        units = max(1, np.size(self.square))
        return (
            f"GradientNoise({self.examples} examples, {units} units; largest "
            f"tr(A Sigma) {np.abs(self.trace).max():.3g})"
        )

    @property
    def trace(self) -> np.ndarray:
        """tr(A Sigma), Sigma the covariance of the examples' gradients."""
        return self.square - self.drift

    def batch(self, size: int, *, replacement: bool = True) -> np.ndarray:
        """The expected <g, A g> of a batch: eta^2 times it moves <q, A q> in a step.

        Args:
            size: examples a batch.
            replacement: whether they are drawn with replacement, or each only once.

        Returns:
            Of the shape of `square`.
        """
        share = 1 / size
        if not replacement:
            share *= (self.examples - size) / max(self.examples - 1, 1)
        return share * self.trace + self.drift


def gradient_noise(
    model: PyTree,
    loss: Callable[[Any, Any], Any],
    data: PyTree,
    symmetry: Symmetry,
    *,
    maps: Mapping[Any, Any] | None = None,
    chunk: int = 256,
) -> GradientNoise:
    """The moments of the gradient noise along a symmetry, at a model.

    Where a step of gradient descent without weight decay moves the charge
    C = <q, A q> of an invariant loss by eta^2 <g, A g> exactly, minibatches move it by
    eta^2 (tr(A Sigma)/S + <grad f, A grad f>) on average: Ziyin, Wang, Li and Wu,
    Parameter symmetry and noise equilibrium of stochastic gradient descent (2024).

    Args:
        model, loss: as `train` takes them; a loss that is the mean over its examples.
        data: arrays with one leading axis, of the examples.
        symmetry: of blocks that are named by the paths of the parameters.
        maps: as for `train`.
        chunk: examples whose gradients are held at a time.

    Returns:
        `GradientNoise`, in the precision of the model.

    Raises:
        UnknownBlock: the symmetry names a block that the model does not have.
        LagrangianError: data without examples, or a `chunk` below one.
        CannotLower: a linear map or constant block of the symmetry without a value.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> def loss(w, batch):
    ...     return ((w["u"] * w["w"] * batch[0] - batch[1]) ** 2).mean()
    >>> weights = {"u": np.array([2.0]), "w": np.array([1.0])}
    >>> data = np.array([[1.0], [1.0]]), np.array([[1.0], [3.0]])
    >>> noise = lg.gradient_noise(weights, loss, data, lg.Rescale("u", "w"))
    >>> float(noise.trace), float(noise.drift)
    (-12.0, 0.0)
    """
    if chunk < 1:
        raise LagrangianError(f"`chunk` is {chunk}; pass 1 or more.")
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or not all(size and size[0] > 0 for size in sizes):
        raise LagrangianError(
            "`data` must be arrays with one common leading axis, that of the "
            f"examples; theirs are {sorted(sizes)}. Pass as many of each."
        )
    ((examples,),) = sizes
    parts = split(model)
    bound = parts.bind(loss)
    slope = {q: q for q in symmetry.xi}
    form = quadratic_form(symmetry, slope)
    values = dict(getattr(symmetry, "maps", {})) | dict(maps or {})
    check_lowerable({"quadratic form of the generator": form}, [*slope, *values])
    names = {q: q.name for q in symmetry.blocks}
    leaves = named_leaves(parts.parameters)
    pick(leaves, names.values(), parts.name)

    def of_one(example: Any) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[None], example)

        def value(parameters: Any) -> Any:
            return bound(parameters, parts.rest, batch)[0]

        return jax.grad(value)(parts.parameters)

    def along(gradient: Any) -> Any:
        found = named_leaves(gradient)
        (result,) = evaluate(
            [form], values | {q: found[name] for q, name in names.items()}
        )
        return result

    @jax.jit
    def sums(part: Any) -> Any:
        gradients = jax.vmap(of_one)(part)
        total = jax.tree.map(lambda leaf: leaf.sum(axis=0), gradients)
        return total, jax.vmap(along)(gradients).sum(axis=0)

    wide = any(leaf.dtype == np.float64 for leaf in leaves.values())
    with jax.enable_x64(wide), elapsed("measuring gradients"):
        gradient, square = None, np.zeros(())
        for start in range(0, examples, chunk):
            part = jax.tree.map(lambda a, s=start: jnp.asarray(a[s : s + chunk]), data)
            with traced_loss():
                total, squares = sums(part)
            square = square + np.asarray(squares)
            gradient = (
                total if gradient is None else jax.tree.map(jnp.add, gradient, total)
            )
        mean = jax.tree.map(lambda leaf: leaf / examples, gradient)
        drift = np.asarray(along(mean))
    return GradientNoise(square / examples, drift, examples)


def quadratic_form(symmetry: Symmetry, at: Mapping[Any, Any]) -> Any:
    """<v, A v> of a vector v given for each of its blocks, A the linear part."""
    turned = linear_part(symmetry, at)
    return sp.Add(*(pairing(v, turned[q]) for q, v in at.items()))
