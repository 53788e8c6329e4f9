"""Softmax regression whose weight decay changes slowly, and the loss that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from lagrangian.networks.digits import load_digits

#: Images, principal components of them, and classes.
IMAGES, SIZES = 500, (10, 10)
#: The weight decay at both ends.
DECAYS = 0.05, 0.5
#: Places between them at which the minimum is found.
PLACES = 17

#: From the first weight decay to the last; and in too few for that to be slow.
STEPS, FEW = (400, 800, 1600, 3200), 4

#: A schedule: ln of the weight decay at the times s from 0 to 1.
Schedule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ball:
    """The heavy ball that trains, its friction 1 - beta in the time eta k."""

    eta: float
    beta: float = 0.0

    @property
    def friction(self) -> float:
        return 1 - self.beta


@dataclass(frozen=True, eq=False)
class Minima:
    """Where the loss with weight decay is least, as a curve of the weight decay.

    Attributes:
        inputs, targets: of the images, shapes (images, components) and one-hot.
        logs: ln of the weight decay at some places.
        weights, values: the minimum there and the loss at it.
        tangents: its derivative by ln of the weight decay.
        hessians: of the loss with weight decay.
    """

    inputs: np.ndarray
    targets: np.ndarray
    logs: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    tangents: np.ndarray
    hessians: np.ndarray

    def metric(self, ball: Ball) -> np.ndarray:
        """<q', (mu - eta H/2) q'> at the places, q' the tangent."""
        curved = np.einsum("pi,pij,pj->p", self.tangents, self.hessians, self.tangents)
        squares = np.einsum("pi,pi->p", self.tangents, self.tangents)
        return ball.friction * squares - ball.eta / 2 * curved

    def length(self, ball: Ball) -> float:
        return float(self._arc(ball)[-1])

    def _arc(self, ball: Ball) -> np.ndarray:
        speed = CubicSpline(self.logs, np.sqrt(self.metric(ball)))
        return speed.antiderivative()(self.logs)

    def steady(self, ball: Ball) -> CubicSpline:
        """ln of the weight decay by the share of the length behind it."""
        arc = self._arc(ball)
        return CubicSpline(arc / arc[-1], self.logs)

    def cost(self, schedule: Schedule, ball: Ball) -> float:
        """The integral of the metric along a schedule, over s from 0 to 1."""
        nodes, weights = np.polynomial.legendre.leggauss(80)
        s, nearby = (nodes + 1) / 2, 1e-5
        speed = (schedule(s + nearby) - schedule(s - nearby)) / (2 * nearby)
        metric = CubicSpline(self.logs, self.metric(ball))(schedule(s))
        return float(weights / 2 @ (metric * speed**2))


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of unit variance on average, and classes as unit vectors."""
    (images, labels), _ = load_digits(seed)
    x = images[:IMAGES].reshape(IMAGES, -1).astype(float)
    x -= x.mean(axis=0)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    kept, classes = SIZES
    scale = np.sqrt(IMAGES * kept) / np.linalg.norm(values[:kept])
    return left[:, :kept] * values[:kept] * scale, np.eye(classes)[labels[:IMAGES]]


def shape_of(q: np.ndarray, decay: float, x: np.ndarray, y: np.ndarray) -> Any:
    """The cross entropy with weight decay, its gradient and its Hessian, flat."""
    (kept, classes), logits = SIZES, x @ q.reshape(SIZES)
    top = logits.max(axis=1, keepdims=True)
    whole = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
    p, n = np.exp(logits - whole), len(x)
    value = (whole[:, 0] - (logits * y).sum(axis=1)).mean() + decay / 2 * q @ q
    slope = (x.T @ (p - y)).ravel() / n + decay * q
    mixed = (x[:, :, None] * p[:, None, :]).reshape(n, -1)
    hessian = -mixed.T @ mixed / n + decay * np.eye(q.size)
    pairs = (x[:, :, None] * x[:, None, :]).reshape(n, -1)
    own = (p.T @ pairs).reshape(classes, kept, kept) / n
    blocks = hessian.reshape(*SIZES, *SIZES)
    for a in range(classes):
        blocks[:, a, :, a] += own[a]
    return value, slope, hessian


def minimum(q: np.ndarray, decay: float, x: np.ndarray, y: np.ndarray) -> Any:
    """By Newton's method from q: where the loss is least, its value and Hessian."""
    for _ in range(30):
        value, slope, hessian = shape_of(q, decay, x, y)
        step = np.linalg.solve(hessian, slope)
        if np.abs(step).max() < 1e-10:
            break
        q = q - step
    return q, value, hessian


def minima(seed: int) -> Minima:
    x, y = digits(seed)
    logs = np.linspace(*np.log(DECAYS), PLACES)
    q, rows = np.zeros(SIZES[0] * SIZES[1]), []
    for place in logs:
        decay = np.exp(place)
        q, value, hessian = minimum(q, decay, x, y)
        tangent = -decay * np.linalg.solve(hessian, q)
        rows.append((q, value, tangent, hessian))
        q = q + tangent * (logs[1] - logs[0])
    weights, values, tangents, hessians = map(np.array, zip(*rows, strict=True))
    return Minima(x, y, logs, weights, values, tangents, hessians)


# ------------------------------------------------------------------ schedules


def geometric(s: np.ndarray) -> np.ndarray:
    first, last = np.log(DECAYS)
    return first + (last - first) * s


def linear(s: np.ndarray) -> np.ndarray:
    first, last = DECAYS
    return np.log(first + (last - first) * s)


def uneven(steady: Schedule, waves: Sequence[float]) -> Schedule:
    """At an uneven pace: 1 + sum_j waves[j] cos(pi (j + 1) s) times the steady one."""

    def schedule(s: np.ndarray) -> np.ndarray:
        parts = (
            a * np.sin(np.pi * j * s) / (np.pi * j) for j, a in enumerate(waves, 1)
        )
        return steady(s + sum(parts))

    return schedule


# ------------------------------------------------------------------ descent


class Slow(NamedTuple):
    """Of runs side by side, each of shape (runs,).

    Attributes:
        dissipated: what the loss lost at weight decays that stood still, and what it
            still has above the minimum at the end.
        work: what it gained as the weight decay changed.
        gained: the change of the loss with weight decay, the steps added up.
        spread: the difference of the loss at both ends.
    """

    dissipated: np.ndarray
    work: np.ndarray
    gained: np.ndarray
    spread: np.ndarray


@jax.jit
def _descend(
    starts: Any, decays: Any, steps: Any, eta: Any, beta: Any, data: Any
) -> Any:
    x, y = data

    def cross_entropy(q: Any) -> Any:
        logits = x @ q.reshape(SIZES)
        return (jax.nn.logsumexp(logits, axis=1) - (logits * y).sum(axis=1)).mean()

    slopes = jax.vmap(jax.value_and_grad(cross_entropy))
    squares = lambda q: (q * q).sum(axis=1)

    def step(k: Any, state: Any) -> Any:
        q, before, heat, work, value, slope = state
        decay = decays[k]
        later = q + beta * (q - before) - eta * (slope + decay[:, None] * q)
        after, slope = slopes(later)
        lost = value - after + decay / 2 * (squares(q) - squares(later))
        moved = (decays[k + 1] - decay) / 2 * squares(later)
        return later, q, heat + lost, work + moved, after, slope

    value, slope = slopes(starts)
    zero = jnp.zeros(len(starts))
    state = starts, starts, zero, zero, value, slope
    last, _, heat, work, after, _ = jax.lax.fori_loop(0, steps, step, state)
    first = value + decays[0] / 2 * squares(starts)
    return heat, work, first, after + decays[steps] / 2 * squares(last)


def descend(
    curve: Minima,
    ball: Ball,
    schedules: Sequence[Schedule],
    steps: int,
    most: int,
    displaced: np.ndarray,
) -> Slow:
    """Train along schedules, each once; then as the second with two things broken.

    Of the last two runs one starts `displaced` from the minimum, and one has the whole
    change of the weight decay in the first step. `most` is of the longest run, so that
    all are one program.
    """
    s = np.arange(steps + 1) / steps
    logs = [schedule(s) for schedule in (*schedules, schedules[1])]
    logs.append(np.where(s > 0, *np.log(DECAYS)[::-1]))
    decays = np.zeros((most + 1, len(logs)))
    decays[: steps + 1] = np.exp(logs).T
    starts = np.tile(curve.weights[0], (len(logs), 1))
    starts[-2] += displaced
    data = curve.inputs, curve.targets
    with jax.enable_x64(True):
        rest = jnp.asarray(decays), steps, ball.eta, ball.beta, data
        heat, work, first, last = map(np.asarray, _descend(jnp.asarray(starts), *rest))
    above = last - curve.values[-1]
    return Slow(heat + above, work, work - heat, last - first)


class Runs(NamedTuple):
    """Of one rule: schedules side by side, in several numbers of steps.

    Attributes:
        epsilons: of shape (lengths,).
        costs: what each schedule is to dissipate over epsilon, (schedules,): at
            constant speed, geometric, linear, and at uneven paces.
        found: a `Slow` for each number of steps, in which two runs follow: from a
            start beside the minimum, and with a jump.
    """

    epsilons: np.ndarray
    costs: np.ndarray
    found: Sequence[Slow]

    @property
    def lost(self) -> np.ndarray:
        """The loss that was dissipated, of shape (lengths, schedules + 2)."""
        return np.array([run.dissipated for run in self.found])

    @property
    def paid(self) -> np.ndarray:
        """The same over epsilon."""
        return self.lost / self.epsilons[:, None]


def schedules_side_by_side(
    seed: int, curve: Minima, ball: Ball, steps: Sequence[int]
) -> Runs:
    chance = np.random.default_rng([seed, 16])
    steady, least = curve.steady(ball), curve.length(ball) ** 2
    waves = chance.uniform(-0.45, 0.45, (4, 2))
    beside = chance.normal(size=curve.weights.shape[1]) / 10
    schedules = (steady, geometric, linear, *(uneven(steady, a) for a in waves))
    costs = [least, *(curve.cost(schedule, ball) for schedule in schedules[1:3])]
    costs += [least * (1 + a @ a / 2) for a in waves]
    most = max(STEPS)
    found = [descend(curve, ball, schedules, n, most, beside) for n in steps]
    return Runs(1 / (ball.eta * np.array(steps)), np.array(costs), found)
