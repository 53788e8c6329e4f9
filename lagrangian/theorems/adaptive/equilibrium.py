"""Where weight decay and normalisation balance: the angle per step and the norm.

Measured in 20 dimensions: under white gradient noise on the sphere, and on a smooth
loss that turns ten pairs of coordinates for ever, each at the same pull.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import friction, mass
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Scale
from lagrangian.symbolic.laws.discrete import (
    Steps,
    gain,
    learning_rate,
    momentum,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.adaptive.rmsprop import (
    HYPERPARAMETERS,
    angles,
    equilibrium_angle,
)
from lagrangian.theorems.testbeds.oscillator import as_latex, oscillator_of
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    close,
    identity,
)

RULES = (
    HeavyBall(0.1, 0.9, 0.01),
    HeavyBall(0.1, 0.0, 0.01),
    HeavyBall(0.05, 0.5, 0.02),
)
DIMENSIONS, REPLICAS, STEPS = 20, 32, 4000

_SYMMETRY = Scale("w", unit_axis=-1)
_SCALE: Law = noether(RULES[0].lagrangian(_SYMMETRY.loss), _SYMMETRY)

_eta, _beta, _lambda = learning_rate, momentum, weight_decay


# ------------------------------------------------------------------ derivation


def stationary_angle() -> Any:
    """E|q' - q|^2 / E|q|^2 of a stationary run, from the exact discrete scale law.

    Stationary are C = E<p, q>, P = E|p|^2 and R = E|q|^2. As q = q' + eta p', that of R
    says 0 = -2 eta C - eta^2 P.
    """
    law = noether(Steps(_SYMMETRY.loss), _SYMMETRY)
    charge, speed, square = sp.symbols("C P R", real=True)
    (w,) = _SYMMETRY.blocks
    values = {law.charge: charge, Inner(w, w): square, law.kinetic: -_eta * speed}
    balance = law.rate.xreplace(values).subs(gain, 1)
    found = sp.solve([balance, 2 * _eta * charge + _eta**2 * speed], [charge, speed])
    return sp.factor(_eta**2 * found[speed] / square)


def smooth_fourth_power() -> Any:
    """r^4 for |g| = 1 where the oscillator rests and w moves at g/(mu r)."""
    oscillator, (w,) = oscillator_of(_SCALE), _SYMMETRY.blocks
    square = sp.Symbol("R", positive=True)
    speed = {Inner(w.dot, w.dot): 1 / (friction**2 * square)}
    balance = oscillator.stiffness * square - oscillator.source.xreplace(speed)
    found = sp.solve(balance.xreplace(HYPERPARAMETERS), square)[0]
    return sp.factor(found**2)


def fourth_power(memory: Any) -> Any:
    """r^4 for E|g|^2 = 1 and E|p|^2 = memory/r^2: by what the angle says of E|p|^2."""
    return sp.factor(_eta**2 * memory / stationary_angle())


def circle() -> tuple[Any, Any]:
    """The exact angle a step and a^2 of a pair with the loss atan2 that turns for ever.

    q = a exp(-i phi k) solves the heavy ball's recursion, with the gradient i q/a^2.
    """
    x = _eta * _lambda / (1 + _beta)
    return sp.acos(1 - x), _eta / ((1 - _beta) * sp.sqrt(x * (2 - x)))


def _derivation() -> tuple[str, ...]:
    angle, square = circle()
    return (
        as_latex(oscillator_of(_SCALE)),
        rf"E|q'-q|^2 = {sp.latex(stationary_angle())}\ E|q|^2",
        rf"\text{{smooth: }} r^4 = {sp.latex(smooth_fourth_power())}\,|\hat g|^2",
        rf"\text{{white: }} r^4 = {sp.latex(fourth_power(_WHITE))}\,E|\hat g|^2",
        rf"\text{{circle: }} \varphi = {sp.latex(angle)},\ a^2 = {sp.latex(square)}",
    )


#: E|p|^2/E|g|^2 of p' = beta p + g: for a g that stays, and for one without memory.
_SMOOTH, _WHITE = 1 / (1 - _beta) ** 2, 1 / (1 - _beta**2)


def _identities() -> list[Claim]:
    smooth, white = fourth_power(_SMOOTH), fourth_power(_WHITE)
    stated = _eta / (2 * _lambda * (1 - _beta))
    overestimate = (1 + _beta) / (1 - _beta)
    angle, square = circle()
    turn = sp.cos(angle) - sp.I * sp.sqrt(1 - sp.cos(angle) ** 2)
    pull = _lambda + sp.I / square
    step = turn - 1 - _beta * (1 - 1 / turn) + _eta * pull
    return [
        identity(
            "E|q'-q|^2/E|q|^2 - 2 eta lambda/(1+beta)",
            stationary_angle() - 2 * _eta * _lambda / (1 + _beta),
        ),
        identity("white r^4 - eta/(2 lambda (1-beta))", white - stated),
        identity(
            "smooth r^4/white r^4 - (1+beta)/(1-beta)", smooth / white - overestimate
        ),
        identity("smooth r^4: discrete - continuous", smooth - smooth_fourth_power()),
        identity("the exact circle in the recursion", step),
    ]


# ------------------------------------------------------------------ measurement


def directions(w: Mapping[str, Any]) -> Any:
    """The unit vectors of the replicas, a column each."""
    return w["w"] / jnp.linalg.norm(w["w"], axis=0)


def white_noise(w: Mapping[str, Any], batch: Any) -> Any:
    """A loss whose gradient on the sphere is the noise vector of the step."""
    return jnp.sum(batch[0] * directions(w))


def turning(w: Mapping[str, Any], batch: Any) -> Any:
    """The sum of the angles of ten pairs of coordinates: |g|^2 = 100 at equal radii."""
    del batch
    return jnp.sum(jnp.arctan2(w["w"][1::2], w["w"][::2]))


def quadratic(w: Mapping[str, Any], batch: Any) -> Any:
    """The control: the same noise, without normalisation, in a quadratic valley."""
    return jnp.sum(batch[0] * w["w"]) + jnp.sum(w["w"] ** 2) / 20


@dataclass(frozen=True)
class Equilibrium:
    """What a run shows in its second half, each of shape (replicas,).

    Attributes:
        angle: root mean square of the angle per step.
        ratio: sqrt(E|q' - q|^2/E|q|^2), which the angle is but for the radial part.
        fourth: mean r^4.
        raw: what the smooth formula makes of the gradient of each step.
        stationary: mean square angle in the last quarter over that in the one before.
    """

    run: Run
    angle: np.ndarray
    ratio: np.ndarray
    fourth: np.ndarray
    raw: np.ndarray
    stationary: np.ndarray


def settle(
    rule: HeavyBall,
    loss: Callable[[Any, Any], Any],
    seed: int,
    replicas: int = REPLICAS,
    steps: int = STEPS,
) -> Equilibrium:
    """Train replicas side by side, each with its own noise and start."""
    generator = np.random.default_rng(seed)
    start = {"w": generator.normal(size=(DIMENSIONS, replicas))}
    noise = generator.normal(size=(steps, DIMENSIONS, replicas))
    with jax.enable_x64(True):
        run = train(
            start,
            loss,
            noise,
            rule,
            steps,
            observe=[_SCALE],
            batch_size=1,
            seed=seed,
            progress=False,
        )
    record, half, quarter = run[_SCALE], steps // 2, steps // 4
    inertia = rule.parameters()[mass]
    moved = rule.rate(0) ** 2 * record.source[half:] / inertia
    square, turned = record.quantity[half:], angles(run, _SCALE) ** 2
    # Its mean is lambda r^4 at rest, were every gradient to stay.
    pushed = (record.raw_source[half:] * square).mean(axis=0)
    decay = rule.weight_decay
    return Equilibrium(
        run,
        angle=np.sqrt(turned[half:].mean(axis=0)),
        ratio=np.sqrt(moved.mean(axis=0) / square.mean(axis=0)),
        fourth=(square**2).mean(axis=0),
        raw=pushed / decay if decay else np.full_like(pushed, np.inf),
        stationary=turned[-quarter:].mean(axis=0)
        / turned[-2 * quarter : -quarter].mean(axis=0),
    )


def _at(rule: HeavyBall, formula: Any) -> float:
    eta, beta, decay = rule.rate(0), rule.momentum, rule.weight_decay
    return float(formula.subs({_eta: eta, _beta: beta, _lambda: decay}))


def _named(rule: HeavyBall) -> str:
    return f"({rule.rate(0):g}, {rule.momentum:g}, {rule.weight_decay:g})"


def _sampled(
    what: str,
    predicted: float,
    values: np.ndarray,
    tolerance: float,
    control: bool = False,
) -> Claim:
    """The mean over the replicas is the predicted number."""
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values)) / mean)
    said = f"{what} (standard error {error:.2%})"
    return close(said, predicted, mean, tolerance, control=control)


def _noise_claims(rule: HeavyBall, found: Equilibrium) -> Iterator[Claim]:
    angle, name = np.sqrt(_at(rule, stationary_angle())), f"{_named(rule)}, noise"
    # White noise of unit variance has one entry fewer on the sphere.
    power = DIMENSIONS - 1
    white = power * _at(rule, fourth_power(_WHITE))
    over = _at(rule, _SMOOTH / _WHITE)
    yield _sampled(f"{name}: sqrt(E|step|^2/E r^2)", angle, found.ratio, 0.002)
    yield _sampled(f"{name}: angle per step", angle, found.angle, 0.005)
    yield _sampled(f"{name}: r^4", white, found.fourth, 0.03)
    yield _sampled(f"{name}: no drift", 1.0, found.stationary, 0.02)
    if rule.momentum:
        what = f"{name}: r^4 from raw gradients/r^4"
        yield _sampled(what, over, found.raw / found.fourth.mean(), 0.03)
        what = f"{name}: r^4 as if the noise were smooth"
        smooth = power * _at(rule, fourth_power(_SMOOTH))
        yield _sampled(what, smooth, found.fourth, 0.03, control=True)


def _smooth_claims(rule: HeavyBall, found: Equilibrium) -> Iterator[Claim]:
    name, (exact, square) = f"{_named(rule)}, smooth", circle()
    with jax.enable_x64(True):
        u = directions(found.run.model)
        gradient = np.asarray(jax.grad(turning)({"w": u}, None)["w"])
    power = float((gradient**2).sum())
    leading = power * _at(rule, smooth_fourth_power())
    pairs = DIMENSIONS // 2
    angle, fourth = float(found.angle[0]), float(found.fourth[0])
    below_one = angle / _at(rule, exact) - 1
    yield below(f"{name}: angle/exact angle - 1", below_one, 1e-8)
    exactly = (pairs * _at(rule, square)) ** 2
    yield below(f"{name}: r^4/exact r^4 - 1", fourth / exactly - 1, 1e-8)
    yield close(f"{name}: angle per step", equilibrium_angle(rule), angle, 0.001)
    yield close(f"{name}: r^4", leading, fourth, 0.001)


def _controls(seed: int) -> Iterator[Claim]:
    """Without normalisation another angle, and without weight decay no equilibrium."""
    rule = RULES[-1]
    found = settle(rule, quadratic, seed)
    what = "without normalisation: angle per step"
    yield _sampled(what, equilibrium_angle(rule), found.angle, 0.005, control=True)
    free = settle(replace(rule, weight_decay=0.0), white_noise, seed)
    what = "without weight decay: no drift"
    yield _sampled(what, 1.0, free.stationary, 0.02, control=True)


def _panels(noisy: list[Equilibrium], smooth: list[Equilibrium]) -> tuple[Panel, ...]:
    panels = []
    for what, found in (("white noise", noisy), ("smooth loss", smooth)):
        curves = []
        for rule, one in zip(RULES, found, strict=True):
            turned = np.sqrt((angles(one.run, _SCALE) ** 2).mean(axis=1))
            step = np.arange(0, len(turned), 20)
            curves.append(Curve(_named(rule), step, turned[step]))
            level = np.full(len(step), equilibrium_angle(rule))
            label = f"predicted {level[0]:.5f}"
            curves.append(Curve(label, step, level, "predicted"))
        panels.append(
            Panel(f"angle per step, {what}", "step", "rad", tuple(curves), ylog=True)
        )
    return tuple(panels)


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving what is stationary.")
    claims, noisy, smooth = _identities(), [], []
    for rule in RULES:
        setting.report(f"Training by {rule}.")
        noisy.append(settle(rule, white_noise, setting.seed))
        smooth.append(settle(rule, turning, setting.seed, 1, 3 * STEPS))
        claims += _noise_claims(rule, noisy[-1])
        claims += _smooth_claims(rule, smooth[-1])
    setting.report("Training the controls.")
    claims += _controls(setting.seed)
    return Evidence(_derivation(), tuple(claims), _panels(noisy, smooth))


THEOREM = Theorem(
    name="equilibrium",
    title="Weight decay and normalisation balance at a known angle per step",
    statement=r"""Let the loss not change with the scale of a block $q = r u$, $|u|=1$,
and train it by the heavy ball with learning rate $\eta$, momentum $\beta$ and weight
decay $\lambda > 0$. In every stationary state $E|q'-q|^2 = 2\eta\lambda/(1+\beta)\,
E|q|^2$, exactly, so that a step turns the block by
$$\sqrt{2\eta\lambda/(1+\beta)}$$
whatever the gradients are. Where it settles depends on how long they last: with
$\hat g = \nabla f(u)$,
$$r^4 = \frac{\eta(1+\beta)}{2\lambda(1-\beta)^2}|\hat g|^2 \text{ (smooth)}, \qquad
r^4 = \frac{\eta}{2\lambda(1-\beta)}E|\hat g|^2 \text{ (white noise)},$$
up to terms of the next order in $\eta\lambda$: raw gradients in the smooth formula
overestimate $r^4$ under noise by $(1+\beta)/(1-\beta)$.""",
    source="Tanaka & Kunin, Noether's Learning Dynamics: Role of Symmetry Breaking in "
    "Neural Networks (2021), with the constants of the discrete heavy ball; for the "
    "angle, Wan, Zhu, Zhang & Sun, Spherical Motion Dynamics (2021).",
    prove=_prove,
)
