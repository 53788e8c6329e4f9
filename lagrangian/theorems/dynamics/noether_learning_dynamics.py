r"""Noether's Learning Dynamics: what moves a charge of learning, term by term.

Along flows of four kinetic energies, and along training by the heavy ball and by mirror
descent, on a small smooth classifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock, LinearMap, ones
from lagrangian.symbolic.algebra.calculus import pairing, total_derivative
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.symmetry import Scale, Symmetry, Translation
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.bregman import bregman_lagrangian
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.dynamics.balances import (
    Balance,
    Motion,
    dynamic_asymmetry,
    metric_term,
)
from lagrangian.theorems.dynamics.training_balances import (
    MirrorDrift,
    heavy_ball_claims,
    hypentropy,
)
from lagrangian.theorems.testbeds.classifier import (
    SYMMETRIES,
    cross_entropy,
    one_against_rest,
    problem,
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
    identity,
)


def _accelerated(h: Any = None) -> Any:
    """Nesterov's choice of alpha, beta and gamma in the Bregman Lagrangian."""
    alpha, beta, gamma = sp.log(2 / time), sp.log(time**2 / 4), 2 * sp.log(time)
    return lambda loss: bregman_lagrangian(loss, alpha, beta, gamma, h)


_BALL = HeavyBall(0.4, 0.5, 0.1)
_MIRROR = MirrorDescent(0.5, hypentropy, weight_decay=0.1)
MOTIONS = {
    "heavy ball": Motion(_BALL.lagrangian, _BALL.parameters(), (0.0, 2.0)),
    "Nesterov": Motion(_accelerated(), {}, (1.0, 3.0)),
    "mirror descent": Motion(_MIRROR.lagrangian, _MIRROR.parameters(), (0.0, 2.0)),
    "accelerated mirror": Motion(
        _accelerated(lambda x: Inner(ones, hypentropy(x))), {}, (1.0, 3.0)
    ),
}
#: Of the solver, and what it leaves in a balance.
TOLERANCE, RESIDUAL = 1e-12, 1e-10


# ------------------------------------------------------------------ derivation

_alpha: Any = UndefinedFunction("alpha")(time)
_gamma: Any = UndefinedFunction("gamma")(time)


def _generators() -> dict[str, Symmetry]:
    w = Block("w")
    return {
        "translation": Translation(w, ConstantBlock("a")),
        "scale": Scale(w),
        "linear map": Symmetry({w: LinearMap("A")(w)}, name="linear"),
    }


def bregman_law(symmetry: Symmetry, h: Any) -> Law:
    """With alpha and gamma any functions of time; without weight decay."""
    return noether(bregman_lagrangian(symmetry.loss, _alpha, 0, _gamma, h), symmetry)


def _opaque(x: Any) -> Any:
    return Loss("h", x)


def stated(symmetry: Symmetry) -> tuple[Any, Any, Any]:
    """Charge, asymmetry and metric term as the statement has them, for an opaque h."""
    ((q, xi),) = symmetry.xi.items()
    ahead = q + sp.exp(-_alpha) * q.dot
    D = Gradient(_opaque(ahead), ahead) - Gradient(_opaque(q), q)
    curved = Gradient(_opaque(q), q, (q, q.dot))
    metric = sp.exp(_alpha) * pairing(D, xi) - pairing(curved, xi)
    return pairing(D, xi), pairing(D, total_derivative(xi)), metric


def _identities() -> Iterator[Claim]:
    """The law that the engine derives is the stated one."""
    for name, symmetry in _generators().items():
        law = bregman_law(symmetry, _opaque)
        charge, asymmetry, metric = stated(symmetry)
        parts = {
            "c - <D, xi>": law.charge - charge,
            "asymmetry - <D, xi'>": dynamic_asymmetry(law) - asymmetry,
            "metric - e^a <D - e^-a Hess h q', xi>": metric_term(law) - metric,
            "rate - (asymmetry + metric - gamma' c)": law.rate
            - (asymmetry + metric - _gamma.diff(time) * charge),
        }
        for what, difference in parts.items():
            yield identity(f"Bregman, {name}: {what}", sp.expand(difference))
        flat = metric_term(bregman_law(symmetry, None))
        yield identity(f"Euclidean, {name}: metric term", sp.expand(flat))
        bent = metric_term(law)
        what = f"Bregman, {name}: metric term"
        yield identity(what, sp.expand(bent), control=True)


def mirror_drift() -> Any:
    """rate - charge' of one element under a scale, through eta^1, for any h.

    That is zero along every path. With alpha = log(2/eta) and gamma = 2 t/eta.
    """
    q, eta = Coordinate("q"), sp.Symbol("eta", positive=True)
    # By its derivatives at q = 0, as far as they matter to this order.
    h = sum(sp.Symbol(f"h_{n}") * q**n / sp.factorial(n) for n in range(2, 6))
    ahead = h.xreplace({q: q + eta / 2 * q.dot})
    divergence = sp.expand(ahead - h - h.diff(q) * eta / 2 * q.dot)
    system = Lagrangian(
        sp.expand(2 / eta * divergence), 0, damping=2 * time / eta, coordinates=[q]
    )
    law = noether(system, Scale(q))
    balance = sp.expand(law.rate - total_derivative(law.charge))
    conjugate = q * h.diff(q) - h
    speed = eta / 2 * h.diff(q, 2) * q.dot**2
    # The last part is small of order eta^2, since <q, Hess h q'> is of order eta.
    left = -total_derivative(conjugate) + speed
    left -= eta / 2 * total_derivative(q * h.diff(q, 2) * q.dot)
    gap = sp.expand(balance - left)
    return sp.Add(*(gap.coeff(eta, n) * eta**n for n in (-1, 0, 1)))


def _derivation() -> tuple[str, ...]:
    general = (
        r"\frac{dc}{dt} = -\sigma' c + \langle \partial_{\dot q} T, \dot\xi\rangle"
    )
    lines = [general + r" + \langle \partial_q T, \xi\rangle"]
    for name, symmetry in _generators().items():
        law = bregman_law(symmetry, _opaque)
        terms = map(sp.latex, (law.charge, dynamic_asymmetry(law), metric_term(law)))
        c, asymmetry, metric = terms
        lines.append(
            rf"\text{{{name}: }} c = {c},\quad \text{{asymmetry }} {asymmetry},"
            rf"\quad \text{{metric }} {metric}"
        )
    return tuple(lines)


# ------------------------------------------------------------------ along flows

Balances = dict[tuple[str, str], Balance]

#: For controls: a term without which the balance of a motion and symmetry fails.
LEFT_OUT = {
    ("heavy ball", "scale"): "asymmetry",
    ("Nesterov", "rescale"): "asymmetry",
    ("mirror descent", "translation"): "metric",
    ("accelerated mirror", "scale"): "metric",
}
#: For controls: a loss without the symmetry.
BROKEN = {
    ("heavy ball", "translation"): one_against_rest,
    ("Nesterov", "scale"): without_normalisation,
    ("mirror descent", "rescale"): one_against_rest,
    ("accelerated mirror", "scale"): without_normalisation,
}


def _balances(seed: int) -> tuple[Balances, Balances]:
    """Of every motion and symmetry, and of those that the loss breaks."""
    start, batch = problem(seed)
    balances, broken = {}, {}
    for motion, found in MOTIONS.items():
        for name, symmetry in SYMMETRIES.items():
            key = motion, name
            balances[key] = found.follow(
                symmetry, cross_entropy, start, batch, TOLERANCE
            )
            if key in BROKEN:
                broken[key] = found.follow(
                    symmetry, BROKEN[key], start, batch, TOLERANCE
                )
    return balances, broken


def _flow_claims(balances: Balances, broken: Balances) -> Iterator[Claim]:
    for (motion, name), balance in balances.items():
        what = f"{motion}, {name}: balance along the flow"
        yield below(what, balance.residual(), RESIDUAL)
        if left_out := LEFT_OUT.get((motion, name)):
            what = f"{motion}, {name}: without the {left_out} term"
            yield below(what, balance.residual(left_out), RESIDUAL, control=True)
    for (motion, name), balance in broken.items():
        what = f"{motion}, {name}: a loss without the symmetry"
        yield below(what, balance.residual(), RESIDUAL, control=True)


# ------------------------------------------------------------------ evidence


def _budget(title: str, balance: Balance, left_out: str) -> Panel:
    """What each term has moved the charge of the first unit, and all together."""
    t, change = balance.path.t, (balance.charge - balance.charge[0])[:, 0]
    moved = {name: term[:, 0] for name, term in balance.moved.items()}
    total = np.sum(list(moved.values()), axis=0)
    curves = [Curve("charge, its change", t, change)]
    curves.append(Curve("all terms", t, total, "predicted"))
    curves += [Curve(n, t, m, "predicted") for n, m in moved.items() if m.any()]
    wrong = total - moved[left_out]
    curves.append(Curve(f"all but the {left_out}", t[::8], wrong[::8], "control"))
    return Panel(title, "t", "moved since the start", tuple(curves))


def _gaps(balances: Balances, broken: Balances) -> Panel:
    """The largest gap of all flows over time, and those of the controls."""
    some = next(iter(balances.values())).path
    t = (some.t - some.t[0])[1:]
    worst = np.max([balance.gap[1:] for balance in balances.values()], axis=0)
    curves = [Curve(f"the worst of {len(balances)} flows", t, worst)]
    for (motion, name), balance in broken.items():
        label = f"{motion}, {name}, broken"
        curves.append(Curve(label, t[::8], balance.gap[1::8], "control"))
    title = "charge minus all terms"
    return Panel(title, "t since the start", "relative", tuple(curves), ylog=True)


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving the laws.")
    claims = [*_identities()]
    claims.append(identity("scale, mirror descent: slow drift", mirror_drift()))
    setting.report("Following the flows.")
    balances, broken = _balances(setting.seed)
    claims += _flow_claims(balances, broken)
    setting.report("Training by the heavy ball.")
    claims += heavy_ball_claims(setting.seed)
    setting.report("Training by mirror descent.")
    drift = MirrorDrift(setting.seed)
    claims += drift.claims()
    panels = [
        _budget(f"{motion}, {name}", balances[motion, name], LEFT_OUT[motion, name])
        for motion, name in (("heavy ball", "scale"), ("accelerated mirror", "scale"))
    ]
    panels += [_gaps(balances, broken), drift.panel()]
    return Evidence(_derivation(), tuple(claims), tuple(panels))


THEOREM = Theorem(
    name="noether-learning-dynamics",
    title="A charge of learning moves by dissipation, asymmetry and metric",
    statement=r"""Let a learning rule have the Lagrangian $e^{\sigma(t)}(T - f)$, and
let its loss $f$ not change along a generator $\xi(q)$. Then its charge
$c = \langle \partial_{\dot q} T, \xi\rangle$ obeys Noether's Learning Dynamics,
$$\dot c = -\dot\sigma c + \langle \partial_{\dot q} T, \dot\xi\rangle +
\langle \partial_q T, \xi\rangle:$$
dissipation, the dynamic asymmetry of the kinetic energy, and its metric. For the heavy
ball $\sigma = \mu t/m$ and the metric term is zero. For the Bregman kinetic energy of a
potential $h$, $\sigma = \gamma$ and $c = \langle D, \xi\rangle$ with
$D = \nabla h(q + e^{-\alpha}\dot q) - \nabla h(q)$, and the metric term is
$e^\alpha \langle D - e^{-\alpha} \nabla^2 h(q)\, \dot q, \xi\rangle$, zero for
$h = |q|^2/2$.

In training by the heavy ball the law holds with central differences for derivatives,
at every step and for every minibatch. Mirror descent keeps
$\langle \nabla h(q), a\rangle$ exactly under a translation by $a$; under a scale, its
flow keeps $h^*(\nabla h(q))$, and each step adds
$\eta^2/2\, \langle g, (\nabla^2 h)^{-1} g\rangle$ to it, to leading order.""",
    source="Tanaka & Kunin, Noether's Learning Dynamics: Role of Symmetry Breaking in "
    "Neural Networks (2021); the Bregman Lagrangian of Wibisono, Wilson & Jordan, A "
    "variational perspective on accelerated methods in optimization (2016).",
    prove=_prove,
)
