"""The flow behind the steps of training, and how far they are from it.

`counter_terms` has the identities, `motion_runs` the steps and flows on the digits,
`decaying_charges` what becomes of translations and scales.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import sympy as sp
from jax.flatten_util import ravel_pytree

from lagrangian.learning.network_flow import network_flow
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.laws.backward_error import modified_flow
from lagrangian.symbolic.laws.discrete import learning_rate
from lagrangian.theorems.dynamics import motion_runs
from lagrangian.theorems.dynamics.counter_terms import (
    decay_identities,
    fields,
    quadratic_identities,
    term_identities,
)
from lagrangian.theorems.dynamics.decaying_charges import (
    DECAY,
    at_rest,
    decays,
    equilibria,
    told,
)
from lagrangian.theorems.dynamics.motion_runs import Digits
from lagrangian.theorems.testbeds.classifier import (
    cross_entropy,
    one_against_rest,
    without_normalisation,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    close,
    order,
)

RATES, TIME = (0.2, 0.1, 0.05, 0.025), 6.0
#: With momentum the flow is 1/(1 - beta) times as fast, and its terms are larger.
BETA, HEAVY_RATES, HEAVY_TIME = 0.9, (0.001, 0.0005, 0.00025), 0.4


# ------------------------------------------------------------------ errors


def _errors(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """The orders, and the coefficient in front, on the digits."""
    digits, highest = Digits(seed), 0 if quick else 2
    rates = np.array(RATES)
    ends = np.array([digits.steps(eta, TIME) for eta in RATES])
    flows, leading = digits.flows(RATES, TIME, digits.terms(highest + 1))
    sizes = np.linalg.norm(leading, axis=1)
    points, lines = [], []
    for p in range(highest + 1):
        errors = flows[:, p] - ends
        distances = np.linalg.norm(errors, axis=1)
        what = f"digits, flow through eta^{p}: order of its distance from the steps"
        yield order(what, p + 1, rates, distances, 0.1)
        scaled = errors / rates[:, None] ** (p + 1) - leading[p]
        rest = np.linalg.norm(scaled, axis=1) / sizes[p]
        what = f"eta = {RATES[-1]:g}: error/eta^{p + 1} - E, over |E|"
        yield below(what, rest[-1], 0.02)
        yield order(f"the same, in eta, p = {p}", 1, rates, rest, 0.15)
        label = f"steps, p = {p}"
        points.append(Curve(label, rates, distances, "points"))
        line = "eta^(p+1) |E|" if p == 0 else "_"
        lines.append(Curve(line, rates, sizes[p] * rates ** (p + 1), "predicted"))
    off = digits.bare_sum(RATES[-1], TIME) - leading[0]
    what = "sum of eta Hess F grad F/2 over the steps, not carried along: - E over |E|"
    yield below(what, float(np.linalg.norm(off)) / sizes[0], 0.02, control=True)
    curves, claims = _minibatches(digits, flows, 0 if quick else 1)
    yield from claims
    title = "distance of the flow through eta^p from the steps, digits"
    yield Panel(title, "eta", "", (*lines, *points, *curves), True, True)
    if not quick:
        yield from _wrong(digits, ends)
        yield from _library(digits, ends[1], flows[1, 1], RATES[1])


def _minibatches(
    digits: Digits, flows: np.ndarray, p: int
) -> tuple[list[Curve], list[Claim]]:
    """What minibatches leave of the order of the flow through eta^p."""
    off = digits.minibatches(RATES, TIME) - flows[:, None, p]
    distances = np.sqrt((off**2).sum(axis=2).mean(axis=1))
    size, runs = motion_runs.BATCH, motion_runs.REPLICAS
    what = f"minibatches of {size}, {runs} runs, p = {p}: order of the r.m.s. distance"
    usual = what.replace("order of", "order, as of full batches, of")
    return [Curve("minibatches", np.array(RATES), distances, "control")], [
        order(what, 0.5, RATES, distances, 0.1),
        order(usual, p + 1, RATES, distances, 0.1, control=True),
    ]


def _wrong(digits: Digits, ends: np.ndarray) -> Iterator[Claim]:
    terms = digits.terms(2, tensor=sp.Rational(1, 4))
    off = digits.one_flow(RATES, TIME, terms) - ends
    what = "f_2 with T[g, g]/4: order of the flow through eta^2"
    yield order(what, 3, RATES, np.linalg.norm(off, axis=1), 0.1, control=True)


def _library(
    digits: Digits, end: np.ndarray, flow: np.ndarray, eta: float
) -> Iterator[Claim]:
    """`network_flow` of the same network, and what it says of its own error."""
    rule = HeavyBall(eta, weight_decay=motion_runs.DECAY)
    start = digits.unravel(digits.start)
    made = network_flow(start, digits.cross_entropy, digits.data, rule, order=1)
    path = made.integrate((0, TIME), tol=1e-10, points=2)
    yield below(
        f"network_flow(order=1), eta = {eta:g}: distance from the flow above",
        path.distance(digits.unravel(flow)),
        1e-8,
    )
    told = made.leading_error((0, TIME), tol=1e-8, points=2)
    reached = {name: path.q[name][-1] - told[name][-1] for name in start}
    off, _ = ravel_pytree(reached)
    whole = float(np.linalg.norm(flow - end))
    what = f"its leading_error, beside its distance from the steps, {whole:.2g}"
    yield below(what, float(np.linalg.norm(off - end)) / whole, 0.1)


def _momentum(seed: int) -> Iterator[Claim]:
    digits = Digits(seed)
    found = digits.momentum_errors(HEAVY_RATES, HEAVY_TIME, BETA)
    for p, distances in enumerate(found):
        what = f"momentum {BETA:g} from the slow manifold, through eta^{p}: order"
        yield order(what, p + 1, HEAVY_RATES, distances, 0.1)


# ------------------------------------------------------------------ where it fails


def _series(highest: int) -> list[float]:
    """f_n/(h^(n+1) q) for h q as the gradient: minus 1/(n+1)."""
    x = coordinates("x")
    terms = modified_flow({x: x - learning_rate * x}, highest).terms
    return [float(term[x] / x) for term in terms]


def _stiff() -> Iterator[Claim | Panel]:
    """A quadratic loss at eta h = 1.5, where the steps change sign."""
    coefficients = _series(4)

    def factor(step: float | np.ndarray, highest: int) -> np.ndarray:
        powers = (
            c * step ** (n + 1) for n, c in enumerate(coefficients[: highest + 1])
        )
        return np.exp(sum(powers))

    for highest in (0, 4):
        what = f"eta h = 0.5: factor of a step, flow through eta^{highest}"
        control = highest == 0
        yield close(what, 0.5, float(factor(0.5, highest)), 0.01, control=control)
    for highest in (0, 4):
        what = f"eta h = 1.5, through eta^{highest}: factor of a step + 0.5"
        yield below(what, float(factor(1.5, highest)) + 0.5, 0.5, control=True)
    x = np.linspace(0, 1.9, 60)
    curves = [Curve("steps, 1 - eta h", x, 1 - x, "measured")]
    for p in (0, 1, 4):
        curves.append(Curve(f"flow, p = {p}", x, factor(x, p), "predicted"))
    title = "quadratic loss: no flow changes sign"
    yield Panel(title, "eta h", "factor of a step", tuple(curves))


# ------------------------------------------------------------------ charges


def _decays(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Translation and scale with weight decay, in a classifier."""
    rates = np.array([0.2, 0.1, 0.05] if quick else [0.4, 0.2, 0.1, 0.05])
    found = [decays(cross_entropy, eta, 40, seed) for eta in rates]
    what = "translation, 40 steps: charge over (1 - eta lambda)^k of it, - 1"
    yield below(what, max(f.translation for f in found), 1e-12)
    what = "scale, 40 steps: (|q'|^2 - eta^2 |g|^2)/|q|^2 over (1 - eta lambda)^2, - 1"
    yield below(what, max(f.scale for f in found), 1e-12)
    what = "one against the rest, no symmetry: translation"
    broken = decays(one_against_rest, 0.1, 40, seed)
    yield below(what, broken.translation, 1e-12, control=True)
    what = "without normalisation, no symmetry: scale"
    broken = decays(without_normalisation, 0.1, 40, seed)
    yield below(what, broken.scale, 1e-12, control=True)
    measured = np.array([f.rates for f in found]).T
    for said, factor, row in zip(
        ("translation", "scale"), (1, 2), measured, strict=True
    ):
        for p in range(3):
            off = np.abs(row - factor * told(rates, p))
            what = f"{said}: rate of decay less that of the flow through eta^{p}, order"
            yield order(what, p + 1, rates, off, 0.15 if p < 2 else 0.2)
    x = np.linspace(0, rates.max(), 40)
    curves = [
        Curve(
            "-ln(1 - eta lambda)/eta",
            x[1:],
            -np.log(1 - x[1:] * DECAY) / x[1:],
            "predicted",
        ),
        Curve("translation", rates, measured[0], "points"),
        Curve("scale, halved", rates, measured[1] / 2, "points"),
    ]
    curves += [Curve(f"p = {p}", x, told(x, p) + 0 * x, "control") for p in range(2)]
    yield Panel("rate of decay of a charge", "eta", "", tuple(curves))


def _rest() -> Iterator[Claim]:
    """Where the norm of a scale-invariant weight rests: not a matter for the series."""
    for eta, decay in ((0.1, 0.05), (0.1, 0.5), (0.2, 1.0)):
        found = at_rest(eta, decay, 100.0)
        steps, _, flow = equilibria(eta, decay, 100.0)
        where = f"scale at rest, (eta, lambda) = ({eta:g}, {decay:g}): |q|^4"
        yield close(where, steps, found, 1e-9)
        what = f"{where} by the flow through eta"
        yield close(what, flow, found, 1e-3, control=True)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the flow behind the steps, order by order.")
    found: list[Claim | Panel] = [
        *term_identities(quick),
        *quadratic_identities(),
        *decay_identities(quick),
    ]
    with jax.enable_x64(True):
        setting.report("Following gradient descent on the digits.")
        found += _errors(seed, quick)
        if not quick:
            setting.report("Following the heavy ball.")
            found += _momentum(seed)
        setting.report("Letting charges decay.")
        found += [*_decays(seed, quick), *_stiff(), *_rest()]
    derived = [
        rf"f_{n} = {sp.latex(term)}" for n, term in enumerate(fields(3, sp.S.Zero))
    ]
    return Evidence.of(derived, found)


THEOREM = Theorem(
    name="equation-of-motion",
    title="The flow behind the steps of training, and how far it is from them",
    statement=r"""Gradient descent $q\leftarrow q-\eta g$, $g=\nabla F$, follows in the
time $t=\eta k$ the equation of motion $\dot q=f_0+\eta f_1+\eta^2f_2+\dots$ With
$H=\nabla^2F$ and $T=\nabla^3F$,
$$f_0=-g,\quad f_1=-\tfrac12Hg,\quad f_2=-\tfrac13HHg-\tfrac1{12}T[g,g],\quad
f_3=-\tfrac14HHHg-\tfrac1{12}HT[g,g]-\tfrac1{12}T[g,Hg].$$
The counter term $f_1=-\frac14\nabla|g|^2$ is implicit gradient regularisation. With
momentum $\beta$ the terms grow like $(1-\beta)^{-2n-1}$, and $f_3$ has a fourth
derivative of $F$, too.

- The flow through $\eta^p$ is $\eta^{p+1}E(t)+O(\eta^{p+2})$ away from the run, where
  $$\dot E=-HE-f_{p+1},\qquad E(0)=0,$$
  along gradient flow: what is left out at each time, carried along by the flow. To
  leading order, gradient flow is within $\epsilon$ of the run while
  $\eta|E|<\epsilon$. The sum of $\frac\eta2Hg$ over the steps, not carried along, is
  that for a few steps only.
- For a quadratic loss of curvature $h$ the series is $\frac1\eta\ln(1-\eta h)\,q$. It
  converges for $\eta|h|<1$. For $1<\eta h<2$ gradient descent converges with a sign
  that alternates, which no flow on a line does; more terms only make the flow decay
  faster.
- Under weight decay $\lambda$ the charge $\langle 1,q\rangle$ of a translation decays
  at the rate $-\frac1\eta\ln(1-\eta\lambda)=\lambda+\frac12\eta\lambda^2+\dots$, and
  $|q|^2$ of a scale, but for what the gradient adds, at twice that; in gradient flow at
  $\lambda$ and $2\lambda$, without that addition, so that $|q|^2$ would go to zero.
- The norm at which scale-invariant weights rest is no matter for the truncated series:
  with $|g|^2=G/|q|^2$ the steps rest at $|q|^4=\eta G/(2\lambda-\eta\lambda^2)$, the
  flow through $\eta$ at $\eta G/(2\lambda+\eta\lambda^2)$, further off than
  $\eta G/2\lambda$. There $\eta|g|^2=2\lambda|q|^2$ to leading order, so that terms
  like $\eta^3|g|^4/|q|^2$ are as large as $\eta\lambda^2|q|^2$.

All of this is for full batches. The noise of minibatches leaves order 1/2, whatever the
number of terms.

The paper introduces the counter term for gradient descent, its leading error and the
decay rates of both symmetries. Momentum, the terms through $\eta^3$ with their tangent
equation, and where the series must not be used are worked out here.""",
    source="Miyagawa, Toward equation of motion for deep neural networks (2022); "
    "Barrett & Dherin, Implicit gradient regularization (2021), for the first term.",
    prove=_prove,
    has_quick=True,
)
