"""Networks whose laws are counted: their outputs, and the laws written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lagrangian.learning.count_laws import (
    Closure,
    gradients,
    lie_closure,
    row_space,
    unit_rows,
)
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Rescale, Symmetry
from lagrangian.theorems.conservation.conserved import conserved
from lagrangian.theorems.testbeds.classifier import same
from lagrangian.theorems.testbeds.symmetric_networks import EVEN

Weights = Mapping[str, Any]

#: Inputs at which outputs are looked at: more than there are parameters.
INPUTS = 60


@dataclass(frozen=True)
class Counted:
    """A network at one point, and what is claimed of its laws.

    Attributes:
        name: in tables.
        w: the parameters, arrays by name.
        outputs: of the parameters alone; shape (outputs,).
        predicted: the number of independent laws.
        laws: the laws that are written down, as functions of the parameters.
        complete: whether there are no others.
    """

    name: str
    w: Weights
    outputs: Callable[[Any], Any]
    predicted: int
    laws: Sequence[Callable[[Any], Any]] = ()
    complete: bool = True

    @cached_property
    def closure(self) -> Closure:
        """Where all losses together, with the brackets of their gradients, can go."""
        flat, unravel = self._flat
        with jax.enable_x64(True):
            field = gradients(lambda x: self.outputs(unravel(x)))
            count = jax.eval_shape(lambda: self.outputs(unravel(flat))).size
            return lie_closure(field, count, flat, seed=len(flat))

    @property
    def unreached(self) -> int:
        """How many dimensions no loss reaches: the number of laws."""
        return self.closure.count.laws

    @cached_property
    def law_gradients(self) -> np.ndarray:
        """Those of the laws that are written down; shape (entries, parameters)."""
        flat, unravel = self._flat

        def entries(x: Any) -> Any:
            return jnp.concatenate([jnp.ravel(law(unravel(x))) for law in self.laws])

        with jax.enable_x64(True):
            return unit_rows(np.asarray(jax.jit(jax.jacobian(entries))(flat)))

    @property
    def written(self) -> int:
        """How many of them are independent."""
        return len(row_space(self.law_gradients))

    @property
    def leak(self) -> float:
        """The largest cosine between the gradient of a law and what losses reach."""
        cosines = self.law_gradients @ self.closure.reached.T
        return float(np.linalg.norm(cosines, axis=1).max())

    @property
    def _flat(self) -> tuple[Any, Callable[[Any], Any]]:
        with jax.enable_x64(True):
            return ravel_pytree(jax.tree.map(jnp.asarray, dict(self.w)))


# ------------------------------------------------------------------ laws


def law(symmetry: Symmetry) -> Callable[[Weights], Any]:
    """What Noether's law of a symmetry conserves along gradient flow."""
    value = conserved(symmetry).value
    blocks = value.atoms(Block)
    return lambda w: evaluate([value], {block: w[block.name] for block in blocks})[0]


def linear_law(layer: int) -> Callable[[Weights], Any]:
    """The matrix between a layer and the next, with nothing between them."""
    return law(GeneralLinear(f"layer{layer}", f"layer{layer + 1}", EVEN))


def unit_law(layer: int, degree: int = 1, bias: bool = False) -> Callable[..., Any]:
    """A number for each unit with a homogeneous activation of this degree."""
    return law(unit_symmetry(layer, degree, bias))


def unit_symmetry(layer: int, degree: Any = 1, bias: bool = False) -> Symmetry:
    """What comes in by (1 + s), what goes out by (1 - degree s)."""
    coming = [Block(f"layer{layer}", unit_axis=-1)]
    coming += [Block(f"bias{layer}", unit_axis=-1)] if bias else []
    going = Block(f"layer{layer + 1}", unit_axis=0)
    if degree == 1:
        return Rescale(coming, going)
    return Symmetry({q: q for q in coming} | {going: -degree * going}, name="rescale")


def only(whole: Callable[[Any], Any], mask: np.ndarray) -> Callable[[Any], Any]:
    """Those entries of a matrix of laws."""
    where = np.nonzero(mask)
    return lambda w: whole(w)[where]


def parameter(name: str, column: int, axis: int) -> Callable[[Any], Any]:
    """Parameters that the outputs do not see: each is a law."""
    return lambda w: jnp.take(w[name], column, axis=axis)


# ------------------------------------------------------------------ networks


def weights(sizes: Sequence[int], seed: int, bias: bool = False) -> dict[str, Any]:
    """Normal ones of a network with these widths."""
    chance = np.random.default_rng([seed, *sizes])
    w = {}
    for i, shape in enumerate(zip(sizes, sizes[1:], strict=False)):
        w[f"layer{i}"] = chance.normal(size=shape)
        if bias and i < len(sizes) - 2:
            # So small that no unit is on for all inputs, or off.
            lengths = np.linalg.norm(w[f"layer{i}"], axis=0)
            w[f"bias{i}"] = chance.uniform(-0.5, 0.5, shape[1]) * lengths
    return w


def forward(w: Weights, inputs: Any, activation: Any = same) -> Any:
    """Layers with an activation after each but the last."""
    depth = sum(name.startswith("layer") for name in w)
    for i in range(depth):
        inputs = inputs @ w[f"layer{i}"] + w.get(f"bias{i}", 0.0)
        inputs = activation(inputs) if i < depth - 1 else inputs
    return inputs


def seen(w: Weights, activation: Any, seed: int) -> Callable[[Any], Any]:
    """The outputs at random inputs, as a function of the parameters."""
    chance = np.random.default_rng([seed, 1])
    inputs = chance.normal(size=(INPUTS, len(w["layer0"])))
    return lambda w: jnp.ravel(forward(w, inputs, activation))


def said(kind: str, sizes: Sequence[int]) -> str:
    return f"{kind} {'-'.join(map(str, sizes))}"
