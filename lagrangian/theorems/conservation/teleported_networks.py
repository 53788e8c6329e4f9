"""Two layers on digits, moved along the orbits of their rescalings and of GL(h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse.linalg import LinearOperator, eigsh

from lagrangian.learning.orbit import Orbit
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Rescale
from lagrangian.theorems.testbeds.symmetric_networks import squared_error

#: Pixels, hidden units and classes; images that are trained on.
SIZES, IMAGES = (64, 16, 10), 300
#: Each hidden unit by itself: what comes in with its bias, and what goes out.
INWARD = (Block("first", unit_axis=-1), Block("bias", unit_axis=-1))
OUTWARD = Block("second", unit_axis=0)
UNITS = Rescale([*INWARD], OUTWARD)
MATRIX = ConstantBlock("A")
LAYERS = GeneralLinear("first", "second", MATRIX)

ACTIVATIONS = {"ReLU": jax.nn.relu, "tanh": jnp.tanh, "linear": lambda x: x}

Weights = Mapping[str, Any]


@dataclass(frozen=True)
class Teleported:
    """A network with one activation at its random start, or after training."""

    kind: str
    seed: int
    trained: int = 0

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        (images, labels), _ = load_digits(self.seed)
        inputs = images[:IMAGES].reshape(IMAGES, -1).astype(float)
        return inputs, np.eye(SIZES[-1])[labels[:IMAGES]]

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        normal = np.random.default_rng([self.seed, 6]).normal
        w = {
            "first": normal(size=SIZES[:2]) / np.sqrt(SIZES[0] / 4),
            "second": normal(size=SIZES[1:]) / np.sqrt(SIZES[1]),
        }
        if self.kind != "linear":
            # Every unit answers to many digits.
            w["bias"] = 0.5 + normal(size=SIZES[1]) / 4
        if not self.trained:
            return w
        with jax.enable_x64(True):
            return jax.device_get(self.descend(w, 0.2, self.trained))

    def loss(self, w: Weights) -> Any:
        inputs, targets = self.data
        hidden = ACTIVATIONS[self.kind](inputs @ w["first"] + w.get("bias", 0.0))
        return squared_error(hidden @ w["second"], targets)

    def slope(self, w: Weights) -> Any:
        with jax.enable_x64(True):
            return jax.device_get(_slope(self.loss, dict(w)))

    def value(self, w: Weights) -> float:
        with jax.enable_x64(True):
            return float(self.loss(w))

    def square(self, w: Weights) -> float:
        """|grad f|^2."""
        return float(sum((g**2).sum() for g in self.slope(w).values()))

    def descend(self, w: Weights, rate: float, steps: int) -> dict[str, Any]:
        """Where gradient descent leads."""
        with jax.enable_x64(True):
            found = _descend(self.loss, steps, rate, jax.tree.map(jnp.asarray, dict(w)))
            return jax.device_get(found)

    # -------------------------------------------------------------- orbits

    @cached_property
    def orbit(self) -> Orbit:
        """One s for each hidden unit, or one for all."""
        return Orbit(UNITS, self.start)

    def at(self, s: Any) -> dict[str, np.ndarray]:
        return jax.device_get(self.orbit(s))

    def mixed(self, matrix: np.ndarray, s: float) -> dict[str, np.ndarray]:
        """Where exp(s A) of GL(h) takes two linear layers."""
        return jax.device_get(Orbit(LAYERS, self.start, {MATRIX: matrix})(s))

    # -------------------------------------------------------------- curvature

    def stiffest(self, w: Weights) -> tuple[float, dict[str, np.ndarray]]:
        """The largest eigenvalue of the Hessian and its direction, by Lanczos."""
        with jax.enable_x64(True):
            w = jax.tree.map(jnp.asarray, dict(w))
            vector, unravel = ravel_pytree(w)

            def times(v: np.ndarray) -> np.ndarray:
                turned = _hessian_times(self.loss, w, unravel(jnp.asarray(v.ravel())))
                return np.asarray(ravel_pytree(turned)[0])

            hessian = LinearOperator(
                (vector.size, vector.size),
                times,
                dtype=float,  # ty: ignore[parameter-already-assigned]
            )
            start = np.random.default_rng(self.seed).normal(size=vector.size)
            values, vectors = eigsh(hessian, 1, which="LA", v0=start)
            return float(values[0]), jax.device_get(unravel(vectors[:, 0]))

    def growth(
        self, w: Weights, direction: Weights, rate: float, steps: int = 3
    ) -> float:
        """By what a step of descent multiplies a small displacement, on average."""
        size = 1e-8
        moved = {name: array + size * direction[name] for name, array in w.items()}
        ends = (self.descend(start, rate, steps) for start in (moved, w))
        gap = jax.tree.map(np.subtract, *ends)
        length = np.sqrt(sum((array**2).sum() for array in gap.values()))
        return float((length / size) ** (1 / steps))


@partial(jax.jit, static_argnums=0)
def _slope(loss: Any, w: Any) -> Any:
    return jax.grad(loss)(w)


@partial(jax.jit, static_argnums=0)
def _hessian_times(loss: Any, w: Any, direction: Any) -> Any:
    return jax.jvp(jax.grad(loss), (w,), (direction,))[1]


@partial(jax.jit, static_argnums=(0, 1))
def _descend(loss: Any, steps: int, rate: Any, w: Any) -> Any:
    def step(_: Any, w: Any) -> Any:
        return jax.tree.map(lambda a, g: a - rate * g, w, jax.grad(loss)(w))

    return jax.lax.fori_loop(0, steps, step, w)
