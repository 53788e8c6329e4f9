"""Networks on digits whose laws are counted, and kept by the gradient flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.networks.digits import load_digits
from lagrangian.theorems.conservation.counted_networks import (
    Counted,
    forward,
    linear_law,
    said,
    unit_law,
    weights,
)
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.testbeds.classifier import same
from lagrangian.theorems.testbeds.symmetric_networks import squared_error

#: Principal components, hidden units, and digits to tell apart.
SIZES = (6, 4, 3)
#: How many images the laws are counted on, and how many the flow takes, for how long
#: and at which tolerance. With more of them, or later, the kink of a ReLU for one image
#: may hold the flow fast, which then takes no end of steps.
IMAGES, FEW, HORIZON, TOLERANCE = 100, 24, 1.0, 1e-11

LAWS: dict[str, tuple[Any, Any, int]] = {
    "linear": (same, linear_law(0), linear_laws(*SIZES)),
    "ReLU": (jax.nn.relu, unit_law(0), SIZES[1]),
    "square": (jnp.square, unit_law(0, 2), SIZES[1]),
    "tanh": (jnp.tanh, unit_law(0), 0),
}


@cache
def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of images of 0, 1 and 2, and their classes as units."""
    (images, labels), _ = load_digits(seed)
    chosen = np.flatnonzero(labels < SIZES[-1])[:IMAGES]
    x = images[chosen].reshape(len(chosen), -1).astype(float)
    x -= x.mean(axis=0)
    _, values, axes = np.linalg.svd(x, full_matrices=False)
    features = x @ axes[: SIZES[0]].T / values[0] * np.sqrt(len(x))
    return features, np.eye(SIZES[-1])[labels[chosen]]


@dataclass(frozen=True)
class Digits:
    """One of `LAWS` on the digits."""

    kind: str
    seed: int

    @cached_property
    def counted(self) -> Counted:
        activation, law, predicted = LAWS[self.kind]
        inputs, _ = digits(self.seed)
        outputs = lambda w: jnp.ravel(forward(w, inputs, activation))
        w, laws = weights(SIZES, self.seed), (law,) if predicted else ()
        w = {name: array / 2 for name, array in w.items()}
        return Counted(said(f"digits, {self.kind}", SIZES), w, outputs, predicted, laws)

    @cached_property
    def path(self) -> NetworkPath:
        activation = LAWS[self.kind][0]

        def loss(w: Any, batch: Any) -> Any:
            return squared_error(forward(w, batch[0], activation), batch[1])

        rule, batch = HeavyBall(1.0), tuple(x[:FEW] for x in digits(self.seed))
        flow = network_flow(self.counted.w, loss, batch, rule, order=0)
        return flow.integrate((0.0, HORIZON), tol=TOLERANCE, points=41)

    def moved(self, law: Any = None) -> np.ndarray:
        """How far a law has moved at each time, by default its own, over its norm."""
        law = law or LAWS[self.kind][1]
        with jax.enable_x64(True):
            x = np.asarray(jax.vmap(law)(jax.tree.map(jnp.asarray, self.path.q)))
        x = x.reshape(len(x), -1)
        return np.linalg.norm(x - x[0], axis=1) / np.linalg.norm(x[0])
