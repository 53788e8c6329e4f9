"""Both sides of the dictionary trained: the heavy ball, and RMSProp on the sphere.

And what adapting is good for: a normalised network trained freely, against the same
with its norms held fixed, over the hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.theorems.adaptive.rmsprop import Dictionary
from lagrangian.theorems.theorem import Claim, Curve, Panel, below

# ------------------------------------------------------------------ directions

#: Slow against 1/(1 - beta) steps, and steps for 15 to 40 rad.
RULES = (
    HeavyBall(0.1, 0.0, 0.01),
    HeavyBall(0.1, 0.5, 0.0025),
    HeavyBall(0.02, 0.9, 0.0005),
)
STEPS = 1500
#: Of the distance travelled, for the angle between the two, and of r^4.
TOLERANCE, NORM_TOLERANCE = 0.01, 0.2


def pulls(w: Mapping[str, Any], batch: Any = None) -> Any:
    """A scale-invariant loss in 6 dimensions that goes down for ever.

    The angles of three pairs of coordinates, and waves that couple them, so that the
    squared gradient on the sphere keeps changing.
    """
    del batch
    angle = jnp.arctan2(w["w"][1::2], w["w"][::2])
    return jnp.sum(angle + 0.15 * jnp.sin(2 * angle + jnp.roll(angle, 1)))


@dataclass(frozen=True)
class RmsProp:
    """RMSProp of one average, on the unit sphere, with momentum on g/sqrt(G).

    The average is fed what the momentum makes of g; without momentum, |g|^2.

    Attributes:
        keep: what a step keeps of the average G.
        step: the learning rate.
        momentum: of the trace of g/sqrt(G), dampened.
    """

    keep: float
    step: float
    momentum: float = 0.0

    def train(self, u: Any, average: float, steps: int) -> tuple[np.ndarray, ...]:
        """The unit vectors and averages before each step."""

        def move(carry: Any, _: Any) -> Any:
            u, average, trace = carry
            gradient = jax.grad(pulls)({"w": u})["w"]
            pushed = (1 - self.momentum) * gradient / jnp.sqrt(average)
            trace_after = self.momentum * trace + pushed
            squared = average * jnp.sum(trace_after**2)
            after = u - self.step * trace_after
            return (
                after / jnp.linalg.norm(after),
                self.keep * average + (1 - self.keep) * squared,
                trace_after,
            ), (u, average)

        with jax.enable_x64(True):
            start = jnp.asarray(u), jnp.asarray(average), jnp.zeros(len(u))
            return jax.device_get(jax.lax.scan(move, start, length=steps)[1])


def heavy_ball(rule: HeavyBall, ratio: float, seed: int) -> np.ndarray:
    """The weights before each step, from a tenth of the r^4 of a gradient of 3."""
    w = np.random.default_rng(seed).normal(size=6)
    w *= (ratio * 9 / 10) ** 0.25 / np.linalg.norm(w)
    gradient = jax.grad(pulls)
    transformation = rule.optax()

    def move(carry: Any, _: Any) -> Any:
        w, state = carry
        updates, state = transformation.update(gradient(w), state, w)
        return (optax.apply_updates(w, updates), state), w["w"]

    with jax.enable_x64(True):
        start = {"w": jnp.asarray(w)}
        carry = start, transformation.init(start)
        return np.asarray(jax.lax.scan(move, carry, length=STEPS)[1])


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angles in rad between unit vectors, from their chord."""
    chord = np.linalg.norm(a - b, axis=-1)
    return 2 * np.arcsin(np.clip(chord / 2, 0, 1))


class Comparison:
    """A run of the heavy ball, against RMSProp from the same start.

    Attributes:
        name: the hyperparameters.
        directions, fourth: u and r^4 before each step.
        travelled: rad.
        keep, ratio, step: of the dictionary.
    """

    def __init__(self, rule: HeavyBall, found: Dictionary, seed: int):
        self.name = f"({rule.rate(0):g}, {rule.momentum:g}, {rule.weight_decay:g})"
        self.momentum = rule.momentum
        self.keep, self.ratio, self.step = found.at(rule)
        w = heavy_ball(rule, self.ratio, seed)
        radius = np.linalg.norm(w, axis=1, keepdims=True)
        self.directions, self.fourth = w / radius, radius[:, 0] ** 4
        turned = between(self.directions[1:], self.directions[:-1])
        self.travelled = float(turned.sum())

    def rmsprop(self, keep: float, momentum: float) -> tuple[np.ndarray, np.ndarray]:
        """The angle to it as a share of the distance travelled, and its r^4."""
        start = float(self.fourth[0] / self.ratio)
        other = RmsProp(keep, self.step, momentum)
        u, average = other.train(self.directions[0], start, STEPS)
        return between(self.directions, u) / self.travelled, self.ratio * average

    def others(self) -> dict[str, np.ndarray]:
        """The angles to what RMSProp is not, for the controls."""
        wrong = {
            "1 - rho four times as large": (1 - 4 * (1 - self.keep), self.momentum),
            "no adaptation, rho = 1": (1.0, self.momentum),
        }
        if self.momentum:
            wrong["RMSProp without the momentum"] = (self.keep, 0.0)
        return {what: self.rmsprop(*how)[0] for what, how in wrong.items()}


def against_rmsprop(
    seed: int, found: Dictionary
) -> tuple[list[Claim], tuple[Panel, ...]]:
    """Directions and norms of the heavy ball, and RMSProp's by the dictionary."""
    claims, norms, apart = [], [], []
    shown = np.arange(15, STEPS, 15)
    for rule in RULES:
        ball = Comparison(rule, found, seed)
        angle, fourth = ball.rmsprop(ball.keep, ball.momentum)
        what = f"{ball.name}: angle to RMSProp, of {ball.travelled:.0f} rad"
        gap = float(np.abs(fourth / ball.fourth - 1).max())
        claims += [
            below(what, angle.max(), TOLERANCE),
            below(f"{ball.name}: its average/r^4 - 1", gap, NORM_TOLERANCE),
        ]
        for what, wrong in ball.others().items():
            said = f"{ball.name}: angle, {what}"
            claims.append(below(said, wrong.max(), TOLERANCE, control=True))
            if rule is RULES[-1]:
                apart.append(Curve(what, shown, wrong[shown], "control"))
        norms += [
            Curve(ball.name, shown, ball.fourth[shown]),
            Curve("RMSProp's average", shown, fourth[shown], "predicted"),
        ]
        apart.insert(0, Curve(ball.name, shown, angle[shown]))
    return claims, (
        Panel("the norm is RMSProp's average", "step", "r^4", tuple(norms), ylog=True),
        Panel(
            "angle to RMSProp", "step", "of the distance", tuple(apart[::-1]), ylog=True
        ),
    )


# ------------------------------------------------------------------ robustness

GRID = np.array(list(product((0.003, 0.03, 0.3, 3.0), (0.0, 0.9), (1e-4, 1e-3, 1e-2))))
CLASSES, EXAMPLES, BATCH, UPDATES = 4, 512, 32, 1200


def logits(w: Mapping[str, Any], x: Any, normalised: bool = True) -> Any:
    """A ReLU network of three layers, whose columns may be divided by their norms."""
    for name, kernel in sorted(w.items()):
        if normalised:
            kernel = kernel / jnp.linalg.norm(kernel, axis=0)
        x = x @ kernel
        x = 3 * x if name == "c" else jnp.sqrt(2.0) * jax.nn.relu(x)
    return x


@dataclass(frozen=True)
class Task:
    """Inputs labelled by a teacher, a student's start, and the batches."""

    inputs: Any
    labels: Any
    start: dict[str, Any]
    batches: Any


def teacher_student(seed: int) -> Task:
    """Four classes of about the same size, in 10 dimensions."""
    generator = np.random.default_rng([seed, 2])
    shapes = {"a": (10, 16), "b": (16, 16), "c": (16, CLASSES)}
    inputs = generator.normal(size=(EXAMPLES, 10))
    teacher = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    scores = np.asarray(logits(teacher, inputs))
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    start = {
        name: generator.normal(size=shape) / np.sqrt(shape[0])
        for name, shape in shapes.items()
    }
    batches = generator.integers(0, EXAMPLES, size=(UPDATES, BATCH))
    return Task(inputs, scores.argmax(axis=1), start, batches)


def final_losses(task: Task, fixed: bool, normalised: bool = True) -> np.ndarray:
    """The loss on all examples after training at each point of `GRID`.

    Args:
        task: what is learned.
        fixed: whether every column is brought back to its initial norm each step.
        normalised: whether the network divides its columns by their norms.

    Returns:
        float64 of shape (points,), at most that of guessing, log 4, also where the
        training diverged.
    """

    def loss(w: Any, rows: Any) -> Any:
        scores = jax.nn.log_softmax(logits(w, inputs[rows], normalised))
        return -jnp.take_along_axis(scores, labels[rows][:, None], 1).mean()

    def kept(w: Any, first: Any) -> Any:
        norm = jnp.linalg.norm
        return w * norm(first, axis=0) / norm(w, axis=0) if fixed else w

    def trained(eta: Any, beta: Any, decay: Any) -> Any:
        rule = optax.chain(
            optax.add_decayed_weights(decay), optax.trace(beta), optax.scale(-eta)
        )

        def step(carry: Any, rows: Any) -> Any:
            w, state = carry
            updates, state = rule.update(jax.grad(loss)(w, rows), state, w)
            w = jax.tree.map(kept, optax.apply_updates(w, updates), start)
            return (w, state), None

        (w, _), _ = jax.lax.scan(step, (start, rule.init(start)), task.batches)
        return loss(w, jnp.arange(EXAMPLES))

    with jax.enable_x64(True):
        inputs, labels, start = jax.tree.map(
            jnp.asarray, (task.inputs, task.labels, task.start)
        )
        found = np.asarray(jax.jit(jax.vmap(trained))(*GRID.T))
    return np.fmin(found, np.log(CLASSES))


def geometric_mean(losses: np.ndarray) -> float:
    return float(np.exp(np.log(losses).mean()))


def _gain(task: Task, normalised: bool) -> tuple[np.ndarray, np.ndarray, Claim]:
    """Final losses of free and of constrained training, and the claim about them."""
    free, fixed = (final_losses(task, held, normalised) for held in (False, True))
    ratio = geometric_mean(free) / geometric_mean(fixed)
    what = "normalised" if normalised else "not normalised"
    what = f"{what}: geometric mean of final losses, free/fixed norms"
    criterion, control = "below 0.8", not normalised
    return free, fixed, Claim(what, "less", ratio, criterion, ratio < 0.8, control)


def robustness(seed: int) -> tuple[list[Claim], tuple[Panel, ...]]:
    """Free training against fixed norms at all points of the grid."""
    task = teacher_student(seed)
    free, fixed, gain = _gain(task, normalised=True)
    lost = int((free > 1.1 * fixed).sum())
    good = [int((losses < 2 * free.min()).sum()) for losses in (free, fixed)]
    points = len(GRID)
    claims = [
        gain,
        Claim(
            f"of {points} settings, free training ends more than 10% above fixed norms",
            "few",
            lost,
            f"at most {points // 6}",
            lost <= points // 6,
        ),
        Claim(
            f"of {points} settings within twice the best loss: free, fixed norms",
            "more free",
            f"{good[0]}, {good[1]}",
            "free > fixed",
            good[0] > good[1],
        ),
        _gain(task, normalised=False)[2],
    ]
    order = np.argsort(fixed)
    at = np.arange(points)
    curves = (
        Curve("free", at, free[order]),
        Curve("fixed norms", at, fixed[order], "control"),
    )
    panel = Panel(
        "final loss over eta, beta, lambda", "setting", "loss", curves, ylog=True
    )
    return claims, (panel,)
