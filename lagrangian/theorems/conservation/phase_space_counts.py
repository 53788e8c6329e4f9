"""The laws of two linear layers in motion, and how many there are: by two counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.count_laws import count_laws, row_space, unit_rows
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Symmetry
from lagrangian.theorems.conservation.conserved import angular_momentum
from lagrangian.theorems.conservation.counted_networks import (
    INPUTS,
    forward,
    said,
    weights,
)
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.conservation.matrix_algebra import (
    generated,
    in_motion,
    orbit,
    products,
)
from lagrangian.theorems.testbeds.classifier import same
from lagrangian.theorems.testbeds.symmetric_networks import ODD
from lagrangian.theorems.theorem import Claim, below, equal

FIRST, SECOND = Block("layer0"), Block("layer1")


def turned(generator: Any) -> Symmetry:
    """GL(h) between two linear layers."""
    return GeneralLinear(FIRST, SECOND, generator)


def swapped(generator: Any) -> Symmetry:
    """(u, v) -> (A v, A u) at scalar input and output, which <u, v> allows for odd A.

    The first layer, of shape (1, r), is v^T, and the second, of shape (r, 1), is u.
    """
    moved = {
        FIRST: matmul(transpose(SECOND), transpose(generator)),
        SECOND: matmul(generator, transpose(FIRST)),
    }
    return Symmetry(moved, name="swap")


FAMILIES = {"turned": turned, "swapped": swapped}


def momentum_laws(inputs: int, width: int, outputs: int) -> int:
    """The number of laws in phase space of two linear layers."""
    n = inputs + outputs
    if n == 2:
        return 0 if width == 1 else 4 * width - 6
    if width <= 2 * n:
        return width * (width - 1) // 2
    return n * (2 * width - 2 * n - 1)


# ------------------------------------------------------------------ counts


@dataclass(frozen=True)
class Counts:
    """The laws of two linear layers in phase space, by matrices and by gradients."""

    sizes: tuple[int, int, int]
    friction: float
    seed: int

    @cached_property
    def x(self) -> np.ndarray:
        """(U; V; U'; V') at a random point; shape (2n, r)."""
        inputs, width, outputs = self.sizes
        chance = np.random.default_rng([self.seed, *self.sizes])
        return chance.normal(size=(2 * (inputs + outputs), width))

    @cached_property
    def reached(self) -> np.ndarray:
        return orbit(_algebra(self.sizes[::2], self.friction), self.x)

    @property
    def counted(self) -> int:
        return self.x.size + 1 - len(self.reached)

    @cached_property
    def gradients(self) -> np.ndarray:
        """Of the laws that are written down, e^(friction t) times each charge."""
        inputs, width, outputs = self.sizes
        odd = [angular_momentum(turned(ODD))]
        if inputs == outputs == 1:
            odd.append(angular_momentum(swapped(ODD)))

        def laws(x: Any) -> Any:
            u, v, u_dot, v_dot = jnp.split(
                x[:-1].reshape(self.x.shape),
                np.cumsum([outputs, inputs, outputs]),
            )
            known = {FIRST: v, SECOND: u.T, FIRST.dot: v_dot, SECOND.dot: u_dot.T}
            growth = jnp.exp(self.friction * x[-1])
            above = np.triu_indices(width, 1)
            return growth * jnp.concatenate([a[above] for a in evaluate(odd, known)])

        with jax.enable_x64(True):
            at = jnp.append(jnp.ravel(self.x), 0.0)
            return unit_rows(np.asarray(jax.jit(jax.jacobian(laws))(at)))

    @property
    def leak(self) -> float:
        cosines = self.gradients @ self.reached.T
        return float(np.linalg.norm(cosines, axis=1).max(initial=0.0))


@cache
def _algebra(ends: tuple[int, int], friction: float) -> np.ndarray:
    return generated(in_motion(products(*ends), friction))


#: (inputs, units, outputs) with N = 3, with N = 4, and at scalar input and output.
SIZES = (
    *((2, r, 1) for r in range(1, 10)),
    *((2, r, 2) for r in (7, 8)),
    *((1, r, 1) for r in range(1, 6)),
)
QUICK_SIZES = ((2, 2, 1), (2, 7, 1), (1, 2, 1))
FRICTIONS = (0.0, 0.7)
ORTHOGONAL = 1e-9


def count_claims(seed: int, quick: bool) -> list[Claim]:
    """Two counts for each size and friction."""
    claims, leaks = [], []
    for sizes in QUICK_SIZES if quick else SIZES:
        inputs, width, outputs = sizes
        predicted = momentum_laws(*sizes)
        for friction in FRICTIONS:
            found = Counts(sizes, friction, seed)
            name = f"{inputs}-{width}-{outputs}, friction {friction:g}"
            claims.append(equal(f"{name}: laws", predicted, found.counted))
            what = f"{name}: independent ones of the written laws"
            claims.append(equal(what, predicted, len(row_space(found.gradients))))
            leaks.append(found.leak)
    for name, activation, sizes, predicted in (
        ("linear", same, (2, 2, 1), momentum_laws(2, 2, 1)),
        ("linear", same, (1, 2, 1), momentum_laws(1, 2, 1)),
        ("ReLU", jax.nn.relu, (2, 2, 1), 0),
    )[2 if quick else 0 :]:
        w, batch = weights(sizes, seed), np.random.default_rng(seed)
        found = count_laws(
            w,
            lambda w, x, a=activation: forward(w, x, a),
            batch.normal(size=(INPUTS, sizes[0])),
            momentum=True,
        )
        what = f"{said(name, sizes)} in phase space, by nested derivatives: laws"
        claims.append(equal(what, predicted, found.laws))
    what = "the largest cosine between a law's gradient and what losses reach"
    claims.append(below(what, max(leaks), ORTHOGONAL))
    for ends in ((2, 1), (2, 2)):
        n = sum(ends)
        what = f"{ends[0]} inputs, {ends[1]} outputs: dimension of sp(2N) and time"
        algebra = len(_algebra(ends, FRICTIONS[-1]))
        claims.append(equal(what, n * (2 * n + 1) + 1, algebra))
    for sizes, what in (
        ((2, 2, 1), "as many as gradient flow has"),
        ((1, 2, 1), "turned laws alone"),
    ):
        width = sizes[1]
        wrong = linear_laws(*sizes) if sizes[0] > 1 else width * (width - 1) // 2
        name = f"{'-'.join(map(str, sizes))}: {what}"
        found = Counts(sizes, FRICTIONS[-1], seed)
        claims.append(equal(name, wrong, found.counted, control=True))
    return claims
