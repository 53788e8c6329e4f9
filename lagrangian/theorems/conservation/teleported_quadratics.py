"""Quadratic losses, moved along their level sets to where the gradient is largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.network_path import NetworkPath
from lagrangian.learning.orbit import Orbit
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock, LinearMap
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.theorems.theorem import Claim, Curve, Panel, below, close

W, CENTRE = Block("w"), ConstantBlock("w0")
TURN = LinearMap("A")
#: A rotation of sqrt(H) (w - w0), which leaves (w - w0)^T H (w - w0) alone.
ROTATION = Symmetry({W: TURN(W - CENTRE)}, name="rotation of the level set")

#: Of Booth's function: rate, start, steps before the move and after it.
RATE, START, BEFORE, AFTER = 0.08, (5.0, -5.0), 4, 5

#: The first angles that are tried are so many, over half a turn.
_ANGLES = 8
#: The weight of |w|^2 in the regression.
_RIDGE = 1e-2


@dataclass(frozen=True)
class Quadratic:
    """f(w) = floor + (w - w0)^T H (w - w0)/2, as it is written and by its parts.

    Attributes:
        written: f, a JAX function of w.
        hessian, centre, floor: H, w0 and f(w0).
    """

    written: Any
    hessian: np.ndarray
    centre: np.ndarray
    floor: float

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """The eigenvalues of H, increasing, and its eigenvectors as columns."""
        values, vectors = np.linalg.eigh(self.hessian)
        return values, vectors

    @cached_property
    def root(self) -> np.ndarray:
        values, vectors = self.modes
        return (vectors * np.sqrt(values)) @ vectors.T

    def height(self, w: np.ndarray) -> float:
        """f(w) - f(w0)."""
        away = w - self.centre
        return float(away @ self.hessian @ away / 2)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(jax.grad(self.written)(jnp.asarray(w)))

    def descend(self, w: np.ndarray, rate: float, steps: int) -> np.ndarray:
        """Gradient descent on what is written: w before each step, and at the end."""
        found = [w]
        for _ in range(steps):
            found.append(found[-1] - rate * self.gradient(found[-1]))
        return np.array(found)

    def predicted(self, w: np.ndarray, rate: float, steps: int) -> np.ndarray:
        """f - f(w0) along gradient descent, mode by mode; shape (steps + 1,)."""
        values, vectors = self.modes
        share = values * (vectors.T @ (w - self.centre)) ** 2 / 2
        k = np.arange(steps + 1)[:, None]
        return ((1 - rate * values) ** (2 * k) * share).sum(axis=1)

    def newton_gap(self, w: np.ndarray) -> float:
        """1 - cos of the angle between the gradient and Newton's direction."""
        slope = self.hessian @ (w - self.centre)
        cosine = slope @ (w - self.centre)
        lengths = np.linalg.norm(slope) * np.linalg.norm(w - self.centre)
        return float(1 - cosine / lengths)

    def teleported(self, w: np.ndarray) -> np.ndarray:
        """The point of the level set with the largest gradient, by the orbit's root.

        In the plane of sqrt(H) (w - w0) and the stiffest direction, |grad f|^2 is
        largest where its derivative along the orbit becomes negative.
        """
        with jax.enable_x64(True):
            turn = jnp.asarray(self._turn(w))
            maps = {TURN: lambda v: turn @ v, CENTRE: jnp.asarray(self.centre)}
            orbit = Orbit(ROTATION, {"w": w}, maps)

            def square(q: Any) -> Any:
                return jnp.sum(jax.grad(self.written)(q) ** 2)

            def growth(model: Any) -> Any:
                q = model["w"]
                return jax.jvp(square, (q,), (turn @ (q - maps[CENTRE]),))[1]

            h = np.pi / _ANGLES
            angles = h * np.arange(_ANGLES)
            best = angles[np.argmax([float(square(orbit(s)["w"])) for s in angles])]
            s = orbit.root(growth, between=(best - h, best + h))
            return np.asarray(orbit(s)["w"])

    def _turn(self, w: np.ndarray) -> np.ndarray:
        """The generator: sqrt(H)^-1 (p u^T - u p^T) sqrt(H), of orthonormal u and p."""
        start, stiffest = self.root @ (w - self.centre), self.modes[1][:, -1]
        u = start / np.linalg.norm(start)
        p = stiffest - (stiffest @ u) * u
        p /= np.linalg.norm(p)
        plane = np.outer(p, u) - np.outer(u, p)
        return np.linalg.solve(self.root, plane @ self.root)


def booth() -> Quadratic:
    """(x + 2y - 7)^2 + (2x + y - 5)^2."""

    def written(w: Any) -> Any:
        x, y = w
        return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2

    return Quadratic(
        written, np.array([[10.0, 8.0], [8.0, 10.0]]), np.array([1.0, 3.0]), 0.0
    )


@dataclass(frozen=True)
class Regression:
    """Ridge regression of odd and even digits on 64 pixels."""

    seed: int

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        (images, labels), _ = load_digits(self.seed)
        return images.reshape(len(images), -1).astype(float), 2.0 * (labels % 2) - 1

    @staticmethod
    def loss(model: Any, batch: Any) -> Any:
        inputs, targets = batch
        w = model["w"]
        missed = jnp.mean((inputs @ w - targets) ** 2)
        return missed / 2 + _RIDGE / 2 * jnp.sum(w**2)

    @cached_property
    def quadratic(self) -> Quadratic:
        inputs, targets = self.data
        hessian = inputs.T @ inputs / len(inputs) + _RIDGE * np.eye(inputs.shape[1])
        centre = np.linalg.solve(hessian, inputs.T @ targets / len(inputs))
        missed = inputs @ centre - targets
        floor = (missed @ missed / len(inputs) + _RIDGE * centre @ centre) / 2
        written = lambda w: self.loss({"w": w}, self.data)
        return Quadratic(written, hessian, centre, float(floor))

    def start(self) -> np.ndarray:
        chance = np.random.default_rng([self.seed, 5])
        return self.quadratic.centre + chance.normal(size=len(self.quadratic.centre))

    def flow(self, w: np.ndarray) -> NetworkPath:
        """The gradient flow from w, for as long as the loss falls by e^-6."""
        fastest = self.quadratic.modes[0][-1]
        flow = network_flow({"w": w}, self.loss, self.data, HeavyBall(1.0), 0)
        return flow.integrate((0.0, 3 / fastest), tol=1e-12, points=31)


# ------------------------------------------------------------------ claims


def booth_claims() -> Iterator[Claim | Panel]:
    """Booth's function, moved once."""
    problem = booth()
    first = problem.descend(np.array(START), RATE, BEFORE)
    moved = problem.teleported(first[-1])
    second = problem.descend(moved, RATE, AFTER)
    without = problem.descend(first[-1], RATE, AFTER)
    stiffest = problem.modes[0][-1]
    heights = [
        np.array([problem.height(w) for w in run]) for run in (first, second, without)
    ]
    said = (
        problem.predicted(first[0], RATE, BEFORE),
        heights[0][-1] * (1 - RATE * stiffest) ** (2 * np.arange(AFTER + 1)),
    )
    for what, predicted, measured in (
        ("before the move", said[0], heights[0]),
        ("after it, (1 - eta l_max)^2 a step", said[1], heights[1]),
    ):
        worst = np.abs(measured / predicted - 1).max()
        yield below(f"Booth: relative error of the loss {what}", worst, 1e-12)
    yield from _gain_claims("Booth", problem, first[-1], moved)
    worst = np.abs(heights[2] / said[1] - 1).max()
    what = "Booth: the same, without the move"
    yield below(what, worst, 1e-12, control=True)
    steps = np.arange(BEFORE, BEFORE + AFTER + 1)
    curves = (
        Curve("predicted, mode by mode", np.arange(BEFORE + 1), said[0], "predicted"),
        Curve("predicted, l_max alone", steps, said[1], "predicted"),
        Curve("descent", np.arange(BEFORE + 1), heights[0], "points"),
        Curve("after the move", steps, heights[1], "points"),
        Curve("without it", steps, heights[2], "control"),
    )
    yield Panel("Booth's function, moved at step 4", "step", "loss", curves, ylog=True)


def _gain_claims(
    name: str, problem: Quadratic, start: np.ndarray, moved: np.ndarray
) -> Iterator[Claim]:
    height, stiffest = problem.height(start), problem.modes[0][-1]
    change = problem.height(moved) / height - 1
    yield below(f"{name}: change of the loss by the move", change, 1e-12)
    square = float(np.sum(problem.gradient(moved) ** 2))
    what = f"{name}: |grad f|^2 there, and 2 f l_max"
    yield close(what, 2 * height * stiffest, square, 1e-12)
    square = float(np.sum(problem.gradient(start) ** 2))
    yield close(
        f"{what}, not moved", 2 * height * stiffest, square, 1e-12, control=True
    )
    gap = problem.newton_gap(moved)
    what = f"{name}: 1 - cos(gradient, Newton's direction)"
    yield below(what, gap, 1e-12)
    yield below(f"{what}, not moved", problem.newton_gap(start), 1e-12, control=True)


def regression_claims(seed: int) -> Iterator[Claim | Panel]:
    """The flow of a ridge regression on digits, from both points of the level set."""
    regression = Regression(seed)
    problem, start = regression.quadratic, regression.start()
    moved, name = problem.teleported(start), "digits, ridge regression"
    yield from _gain_claims(name, problem, start, moved)
    curves, stiffest = [], problem.modes[0][-1]
    for w, said, style in ((moved, "", "measured"), (start, ", not moved", "control")):
        path = regression.flow(w)
        heights = path.losses - problem.floor
        predicted = problem.height(w) * np.exp(-2 * stiffest * path.t)
        worst = np.abs(heights / predicted - 1).max()
        what = f"{name}: f(t) over f(0) e^(-2 l_max t), less 1{said}"
        yield below(what, worst, 1e-8, control=bool(said))
        if not said:
            gap = max(problem.newton_gap(q) for q in path.q["w"])
            what = f"{name}: the same along the whole flow"
            yield below(what, gap, 1e-12)
            curves.append(Curve("e^(-2 l_max t)", path.t, predicted, "predicted"))
        curves.append(Curve(f"flow{said or ', moved'}", path.t, heights, style))
    title = "gradient flow of a regression on digits"
    yield Panel(title, "t", "loss above the least", tuple(curves), ylog=True)
