r"""An embedding, an elementwise activation and a linear layer keep a charge a unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.rule import mass
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import ones
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.theorems.conservation.conserved import law_of, rate_along_flow
from lagrangian.theorems.conservation.counted_networks import Counted
from lagrangian.theorems.conservation.embedding_runs import (
    ACTIVATIONS,
    EMBEDDING,
    READOUT,
    UNITS,
    Embedded,
    elementwise,
    values,
)
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    equal,
    identity,
    order,
)

#: Along a flow; the cosine of a law's gradient; and of the accuracy on held-out digits.
KEPT, ORTHOGONAL, LEARNT = 1e-9, 1e-9, 0.7
#: Outputs, hidden units and tokens of the networks that are counted.
SIZES = (2, 3, 2)


@cache
def charge(kind: str) -> Any:
    """Q = |u|^2/2 - sum S(v) of each unit."""
    potential = elementwise(ACTIVATIONS[kind].potential)
    return Inner(READOUT, READOUT) / 2 - Inner(ones, potential)


#: What holds without an activation.
PLAIN = Inner(READOUT, READOUT) / 2 - Inner(EMBEDDING, EMBEDDING) / 2


# ------------------------------------------------------------------ exact


def exact_claims() -> Iterator[Claim]:
    """Q is the primitive of Noether's charge, and constant along the gradient flow."""
    for kind, activation in ACTIVATIONS.items():
        law = law_of(activation.symmetry)
        left = law.charge + mass * total_derivative(charge(kind))
        yield identity(f"{kind}: c + m Q' of Noether's law", sp.expand(left))
        free = Loss("f", activation.symmetry.blocks)
        what = f"{kind}: Q' along the gradient flow"
        for loss, control in ((activation.symmetry.loss, False), (free, True)):
            rate = rate_along_flow(charge(kind), loss).subs(weight_decay, 0)
            said = f"{what}, f not invariant" if control else what
            yield identity(said, sp.expand(rate), control=control)
    invariant = ACTIVATIONS["tanh"].symmetry.loss
    rate = rate_along_flow(PLAIN, invariant).subs(weight_decay, 0)
    what = "tanh: (|u|^2 - |v|^2)' along the gradient flow"
    yield identity(what, sp.expand(rate), control=True)


# ------------------------------------------------------------------ counts


def counted(kind: str, seed: int, whitened: bool = False) -> Counted:
    """A small network on one-hot inputs, or on whitened ones that are no tokens."""
    outputs, width, size = SIZES
    chance = np.random.default_rng([seed, 7])
    w = {
        "embedding": chance.normal(size=(size, width)),
        "readout": chance.normal(size=(width, outputs)),
    }
    inputs = np.eye(size)
    if whitened:
        inputs = np.linalg.qr(chance.normal(size=(2 * size, size)))[0]
    activation = ACTIVATIONS[kind].run

    def seen(w: Any) -> Any:
        return jnp.ravel(activation(inputs @ w["embedding"]) @ w["readout"])

    def law(w: Any) -> Any:
        known = {EMBEDDING: w["embedding"], READOUT: w["readout"][None]}
        return evaluate([charge(kind)], known)[0]

    predicted = linear_laws(size, width, outputs) if kind == "linear" else width
    name = f"{kind}, {size} tokens, {width} units, {outputs} outputs"
    complete = kind != "linear"
    return Counted(name, w, seen, predicted, (law,), complete)


def count_claims(seed: int, quick: bool) -> Iterator[Claim]:
    """As many laws as units, but for linear ones; and what inputs must be."""
    for kind in ("tanh",) if quick else ACTIVATIONS:
        case = counted(kind, seed)
        yield equal(f"{case.name}: laws", case.predicted, case.unreached)
        if case.complete:
            what = f"{case.name}: independent ones among Q"
            yield equal(what, case.predicted, case.written)
        what = f"{case.name}: largest cosine of Q with what losses reach"
        yield below(what, case.leak, ORTHOGONAL)
    for kind in ("tanh",) if quick else ("tanh", "sigmoid"):
        case = counted(kind, seed, whitened=True)
        what = f"{kind}, whitened inputs: cosine of Q with what losses reach"
        yield below(what, case.leak, ORTHOGONAL, control=True)


# ------------------------------------------------------------------ digits


def flow_claims(found: Embedded) -> Iterator[Claim]:
    """Along the gradient flow of the cross entropy."""
    for value, said, control in (
        (charge(found.kind), "Q", False),
        (PLAIN, "|u|^2/2 - |v|^2/2", True),
    ):
        moved = _moved(values(value, found.path.q)).max()
        what = f"digits, {found.kind}: relative change of {said} along the flow"
        yield below(what, moved, KEPT, control=control)


def training_claims(found: Embedded, runs: Mapping[float, Any]) -> Iterator[Claim]:
    """Gradient descent moves Q at order 1, and its halves at order 0."""
    rates, name = list(runs), f"digits, {found.kind}"
    for value, said, expected, control in (
        (charge(found.kind), "Q", 1, False),
        (Inner(READOUT, READOUT) / 2, "its half |u|^2/2", 0, False),
        (PLAIN, "|u|^2/2 - |v|^2/2", 1, True),
    ):
        moved = [_moved(values(value, q))[-1] for q in runs.values()]
        what = f"{name}: drift of {said}, order in eta"
        yield order(what, expected, rates, moved, control=control)


def learnt_claim(found: Embedded, runs: Mapping[float, Any]) -> Claim:
    """That these are networks which learn, and no toys."""
    last = {n: array[-1] for n, array in next(iter(runs.values())).items()}
    reached = found.accuracy(last)
    what = f"digits, {found.kind}: accuracy on held-out digits"
    return Claim(what, "learnt", reached, f"at least {LEARNT}", reached >= LEARNT)


def _moved(x: np.ndarray) -> np.ndarray:
    """The distance from the start at each time, over the norm there."""
    return np.linalg.norm(x - x[0], axis=1) / np.linalg.norm(x[0])


# ------------------------------------------------------------------ figure


def _halves_panel(found: Embedded, runs: Mapping[float, Any]) -> Panel:
    """What a unit's half of the charge gains, the other gains as well."""
    rate, q = next(iter(runs.items()))
    u = values(Inner(READOUT, READOUT) / 2, q)[:, 0]
    v = u - values(charge(found.kind), q)[:, 0]
    t = rate * np.arange(len(u))
    plain = u - values(PLAIN, q)[:, 0]
    curves = (
        Curve("|u|^2/2", t, u - u[0]),
        Curve("sum S(v)", t, v - v[0], "predicted"),
        Curve("|v|^2/2", t[::10], (plain - plain[0])[::10], "control"),
    )
    title = f"a unit of the {found.kind} network in training"
    return Panel(title, "t", "change since the start", curves)


def _order_panel(found: Embedded, runs: Mapping[float, Any]) -> Panel:
    rates = np.array([*runs])
    drift, wrong = (
        np.array([_moved(values(value, q))[-1] for q in runs.values()])
        for value in (charge(found.kind), PLAIN)
    )
    curves = (
        Curve("Q", rates, drift),
        Curve("order 1", rates, drift[-1] * rates / rates[-1], "predicted"),
        Curve("|u|^2/2 - |v|^2/2", rates, wrong, "control"),
    )
    title = f"drift of {UNITS} charges, {found.kind}"
    return Panel(title, "learning rate", "relative drift", curves, True, True)


def _flow_panel(flows: list[Embedded]) -> Panel:
    curves = []
    for found in flows:
        moved = np.maximum(_moved(values(charge(found.kind), found.path.q)), 1e-17)
        curves.append(Curve(f"Q, {found.kind}", found.path.t[1:], moved[1:]))
    t = flows[0].path.t
    curves.append(Curve("bound", t[[1, -1]], np.full(2, KEPT), "predicted"))
    moved = _moved(values(PLAIN, flows[0].path.q))
    curves.append(Curve("|u|^2/2 - |v|^2/2", t[1:], moved[1:], "control"))
    return Panel("gradient flow", "t", "relative change", tuple(curves), ylog=True)


# ------------------------------------------------------------------ evidence


def _derivation() -> tuple[str, ...]:
    return tuple(
        rf"\text{{{kind}}}:\quad \xi = {sp.latex(found.slope)},\quad "
        rf"Q = {sp.latex(charge(kind))}"
        for kind, found in ACTIVATIONS.items()
    )


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the charges.")
    claims = [*exact_claims()]
    setting.report("Counting laws on one-hot inputs.")
    claims += count_claims(seed, quick)
    setting.report("Training on digits, and following the flow.")
    flows = [Embedded(kind, seed) for kind in ("tanh", "sigmoid")[: 1 if quick else 2]]
    all_runs = [
        {rate: one.trained(rate) for rate in one.activation.rates} for one in flows
    ]
    for one, runs in zip(flows, all_runs, strict=True):
        claims += [*flow_claims(one), *training_claims(one, runs)]
    first, runs = flows[0], all_runs[0]
    claims.append(learnt_claim(first, runs))
    panels = (
        _halves_panel(first, runs),
        _order_panel(first, runs),
        _flow_panel(flows),
    )
    return Evidence(_derivation(), tuple(claims), panels)


THEOREM = Theorem(
    name="embedding-charges",
    title="Embedding, activation, linear layer: a charge a unit, for tanh as well",
    statement=r"""Let tokens be embedded by the rows of $V$, an activation $\sigma$ act
on every entry, and a linear layer $U$ read them. Where $\sigma'\ne0$ the generator
$$\dot V = \sigma(V)/\sigma'(V), \qquad \dot U = -U,$$
which is nonlinear in the weights, leaves every such network alone, one for each hidden
unit $i$: it multiplies $\sigma(V)$ by $e^s$ and $U$ by $e^{-s}$. So gradient flow
conserves
$$Q_i = \tfrac12\lvert u_i\rvert^2 - \sum_j S(V_{ji}), \qquad S' = \sigma/\sigma',$$
with $S = \tfrac14\cosh 2v$ for tanh and $v + e^v$ for the sigmoid, for any loss, any
frequencies of the tokens, every minibatch, and where the outputs of several positions
are summed. There are no other laws, but for linear ones. Gradient descent moves $Q$ at
order 1 in a fixed time, while both of its halves move at order 0.

The sum of these charges over units was published for one-hot inputs, and for whitened
ones. Whitening is enough where there are as many inputs as dimensions, each then is a
token up to a rotation; with more inputs than dimensions it is not, which is the
control.""",
    source="Zhao, Ganev, Walters, Yu & Dehmamy, Symmetries, Flat Minima, and the "
    "Conserved Quantities of Gradient Flow (2022), for the sum over units; the charge "
    "of a unit, tokens and their number derived here.",
    prove=_prove,
    has_quick=True,
)
