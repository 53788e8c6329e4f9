r"""Normalisation layers act like RMSProp.

The dictionary is `parts.rmsprop`; `parts.adaptive_training` trains both sides of it.
"""

from __future__ import annotations

import sympy as sp

from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.theorems.adaptive.adaptive_training import against_rmsprop, robustness
from lagrangian.theorems.adaptive.rmsprop import (
    EXACT,
    HYPERPARAMETERS,
    Dictionary,
    dictionary,
    scale_law,
)
from lagrangian.theorems.testbeds.oscillator import as_latex, oscillator_of
from lagrangian.theorems.theorem import Claim, Evidence, Setting, Theorem, identity


def _identities(found: Dictionary) -> list[Claim]:
    eta, beta, decay = learning_rate, momentum, weight_decay
    keep, ratio, step = (
        sp.simplify(e.xreplace(HYPERPARAMETERS))
        for e in (found.keep, found.ratio, found.step)
    )
    values = {eta: EXACT.learning_rate, beta: EXACT.momentum}
    exact = EXACT.parameters()
    return [
        identity("decay of r^4 - 4 lambda/mu", found.decay - 4 * decay / friction),
        identity("drive of r^4 - 4 m/mu^3", found.drive - 4 * mass / friction**3),
        *(
            identity(
                f"{symbol} of the rule - {value}", exact[symbol] - value.subs(values)
            )
            for symbol, value in HYPERPARAMETERS.items()
        ),
        identity(
            "rho - (1 - 4 eta lambda/(1-beta))", keep - 1 + 4 * eta * decay / (1 - beta)
        ),
        identity(
            "r^4/G - eta (1+beta)/(2 lambda (1-beta)^2)",
            ratio - eta * (1 + beta) / (2 * decay * (1 - beta) ** 2),
        ),
        identity(
            "step^2 - 2 eta lambda/(1+beta)", step**2 - 2 * eta * decay / (1 + beta)
        ),
    ]


def _derivation(found: Dictionary) -> tuple[str, ...]:
    decay, drive, keep, ratio, step = map(
        sp.latex, (found.decay, found.drive, found.keep, found.ratio, found.step)
    )
    return (
        as_latex(oscillator_of(scale_law())),
        rf"\frac{{d}}{{dt}} r^4 = -{decay}\, r^4 + {drive}\, |\hat g|^2",
        rf"\rho = {keep}, \qquad r^4 = {ratio}\, G, \qquad \alpha = {step}",
    )


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving the dictionary.")
    found = dictionary()
    claims = _identities(found)
    setting.report("Training by the heavy ball, and by RMSProp on the sphere.")
    more, directions = against_rmsprop(setting.seed, found)
    setting.report("Training free and with fixed norms, over the hyperparameters.")
    final, losses = robustness(setting.seed)
    panels = (*directions, *losses)
    return Evidence(_derivation(found), (*claims, *more, *final), panels)


THEOREM = Theorem(
    name="implicit-adaptive-optimization",
    title="Normalisation makes gradient descent an adaptive optimiser, RMSProp",
    statement=r"""Let the loss not change with the scale of a block $q = r u$, $|u|=1$,
and train it by the heavy ball with learning rate $\eta$, momentum $\beta$ and weight
decay $\lambda$. With $m = \eta(1+\beta)/2$, $\mu = 1-\beta$ and
$\hat g = \nabla f(u)$, where the norm changes slowly
$$\frac{d}{dt} r^4 = -\frac{4\lambda}{\mu} r^4 + \frac{4m}{\mu^3}|\hat g|^2, \qquad
\dot u = -\frac{\hat g}{\mu r^2}:$$
with $r^4 = \frac{\eta(1+\beta)}{2\lambda(1-\beta)^2} G$ this is RMSProp on the sphere,
$G \leftarrow \rho G + (1-\rho)|\hat g|^2$, $u \leftarrow u - \alpha \hat g/\sqrt G$,
with $\rho = 1 - 4\eta\lambda/(1-\beta)$ and
$\alpha = \sqrt{2\eta\lambda/(1+\beta)}$. For $\beta > 0$ it has the same momentum, on
$\hat g/\sqrt G$, and averages the square of what that leaves of $\hat g$. A network
that is trained freely so adapts: it depends less on learning rate, momentum and weight
decay than one whose norms are held fixed.""",
    source="Tanaka & Kunin, Noether's Learning Dynamics: Role of Symmetry Breaking in "
    "Neural Networks (2021), with the constants of the discrete heavy ball.",
    prove=_prove,
)
