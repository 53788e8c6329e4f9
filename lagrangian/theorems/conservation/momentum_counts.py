r"""Which conservation laws survive momentum, how many, and those of mirror flows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.matrices import transpose
from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.theorems.conservation.conserved import (
    angular_momentum,
    law_of,
    with_momentum,
)
from lagrangian.theorems.conservation.counted_networks import unit_law
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.conservation.mirror_counts import mirror_claims
from lagrangian.theorems.conservation.momentum_runs import (
    FACTORS,
    RATES,
    RULE,
    STEPS,
    Factors,
    Moving,
    at_states,
    entropy,
    farthest,
    follow,
    grown,
    sums,
)
from lagrangian.theorems.conservation.phase_space_counts import (
    FAMILIES,
    FIRST,
    FRICTIONS,
    SECOND,
    Counts,
    count_claims,
    momentum_laws,
)
from lagrangian.theorems.testbeds.symmetric_networks import EVEN, ODD
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    identity,
    order,
)

# ------------------------------------------------------------------ exact


def _potentials() -> Iterator[Claim]:
    """h1*(grad h1(a)) - h2*(grad h2(b)) along the mirror flow, for any potentials."""
    a, b = Block("a"), Block("b")
    conserved = sp.S.Zero
    curved = {}
    for q, sign, name in ((a, 1, "h1"), (b, -1, "h2")):
        dual = Gradient(Loss(name, q), q)
        conserved += sign * (Inner(q, dual) - Loss(name, q))
        curved[q] = total_derivative(dual)
    moved = sp.expand(total_derivative(conserved))
    for name, loss, control in (
        ("invariant E", Rescale(a, b).loss, False),
        ("any E", Loss("f", (a, b)), True),
    ):
        along = moved.xreplace({curved[q]: -loss.gradient(q) for q in (a, b)})
        what = f"h1*(grad h1 a) - h2*(grad h2 b), {name}: rate along the mirror flow"
        yield identity(what, sp.expand(along), control=control)
    x, p = sp.symbols("x p", positive=True)
    for name, h, value in (
        ("entropy", entropy(x), x),
        ("square", x**2 / 2, x**2 / 2),
        ("|x|^p/(p (p-1))", x**p / (p * (p - 1)), x**p / p),
    ):
        legendre = x * h.diff(x) - h
        yield identity(f"h*(grad h) of {name}", sp.simplify(legendre - value))


def exact_claims() -> Iterator[Claim]:
    """The generators and their charges, and the potentials."""
    product = Inner(FIRST, transpose(SECOND))
    for name, make in FAMILIES.items():
        odd, even = make(ODD), make(EVEN)
        if name == "swapped":
            what = "swapped, A {}: variation of <u, v>"
            left = sp.expand(variation(product, odd.xi))
            yield identity(what.format("antisymmetric"), left)
            left = sp.expand(variation(product, even.xi))
            yield identity(what.format("symmetric"), left, control=True)
        what = f"{name}, A {{}}: kinetic term of the law"
        yield identity(what.format("antisymmetric"), sp.expand(law_of(odd).kinetic))
        left = sp.expand(law_of(even).kinetic)
        yield identity(what.format("symmetric"), left, control=True)
        what = f"{name}, A antisymmetric: d/dt e^(mu t/m) c"
        yield identity(what, with_momentum(odd))
    yield from _potentials()


# ------------------------------------------------------------------ flows

KEPT, TRAINED = 1e-9, 1e-11
WIDTH = 3


def motion_claims(seed: int, quick: bool) -> Iterator[Claim]:
    """In training, and along the second-order flow, from a random velocity."""
    scalar, wide = (Moving((n, WIDTH, 1), seed) for n in (1, 2))
    faded = RULE.momentum ** np.arange(STEPS)[:, None]
    what = "{}: relative change of {} c {}"
    for moving, name in ((scalar, "turned"), (scalar, "swapped"), (wide, "swapped")):
        said = f"{moving.sizes[0]}-{WIDTH}-1, {name}"
        charge, control = angular_momentum(FAMILIES[name](ODD)), moving is wide
        # Of two inputs, between the first and the output.
        q, v = (_first_input(x) for x in moving.trained())
        changed = farthest(at_states(charge, q, v) / faded)
        yield below(
            what.format(said, "beta^-k", "in training"),
            changed,
            TRAINED,
            control=control,
        )
        if quick:
            continue
        path = follow(moving, "second")
        found = at_states(charge, _first_input(path.q), _first_input(path.v))
        changed = farthest(found * grown(path)[:, None])
        yield below(
            what.format(said, "e^(mu t/m)", "along the flow"),
            changed,
            KEPT,
            control=control,
        )


def _first_input(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "layer0": state["layer0"][:, :1]}


def unit_claims(seed: int) -> Iterator[Claim]:
    """ReLU units: their law with the bias, without it, and under momentum."""
    units = Moving((3, 4, 2), seed, jax.nn.relu, bias=True)
    flow, motion = follow(units, 0), follow(units, "second")
    whole, short = unit_law(0, bias=True), unit_law(0)
    what = "ReLU 3-4-2, |v|^2 + b^2 - |u|^2: relative change along the gradient flow"
    yield below(what, _change(whole, flow), KEPT)
    what = what.replace(" + b^2", "")
    yield below(what, _change(short, flow), KEPT, control=True)
    what = "ReLU 3-4-2, |v|^2 + b^2 - |u|^2: relative change with momentum"
    yield below(what, _change(whole, motion), KEPT, control=True)


def _change(law: Any, path: Any) -> float:
    with jax.enable_x64(True):
        return farthest(np.asarray(jax.vmap(law)(jax.tree.map(jnp.asarray, path.q))))


def factor_claims(
    found: Factors, runs: Mapping[float, Any], quick: bool
) -> Iterator[Claim]:
    """Column sums of a factorisation of digits, in the geometry of the entropy."""
    what = "digits as U V^T, sum u - sum v: relative change along"
    path = found.flow(MirrorDescent(1.0, entropy))
    yield below(f"{what} the mirror flow", farthest(sums(path.q)), KEPT)
    if not quick:
        path = found.flow(HeavyBall(1.0))
        change = farthest(sums(path.q))
        yield below(f"{what} the Euclidean flow", change, KEPT, control=True)
    what = "digits as U V^T, sum u - sum v: drift of"
    rates = list(runs)
    drifts = [_drift(ends[0]) for ends in runs.values()]
    yield order(f"{what} the exponentiated gradient, order", 1, rates, drifts)
    drifts = [_drift(ends[1]) for ends in runs.values()]
    yield order(f"{what} the mirror descent with inertia, order", 0, rates, drifts)
    yield order(
        f"{what} the mirror descent with inertia, order",
        1,
        rates,
        drifts,
        control=True,
    )


def _drift(ends: np.ndarray) -> float:
    """Between the two rows, over the norm of the first."""
    return float(np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(ends[0]))


# ------------------------------------------------------------------ figure


def _width_panel(seed: int, ends: tuple[int, int], quick: bool) -> Panel:
    """Laws against the width, with momentum and without."""
    n, limit = sum(ends), 10 if sum(ends) > 2 else 6
    widths = np.arange(1, limit, 3 if quick else 1)
    sizes = [(ends[0], int(r), ends[1]) for r in widths]
    counted = np.array([float(Counts(s, FRICTIONS[-1], seed).counted) for s in sizes])
    r = np.arange(1, limit)
    all_sizes = [(ends[0], int(width), ends[1]) for width in r]
    moving = np.array([float(momentum_laws(*s)) for s in all_sizes])
    flowing = np.array([float(linear_laws(*s)) for s in all_sizes])
    curves = (
        Curve("counted", widths, counted),
        Curve("with momentum: predicted", r, moving, "predicted"),
        Curve("gradient flow", r, flowing, "control"),
    )
    title = f"two linear layers, N = {n}"
    return Panel(title, "hidden units", "independent laws", curves)


def _drift_panel(runs: Mapping[float, Any]) -> Panel:
    rates = np.array([*runs])
    drifts = np.array([[_drift(x) for x in ends] for ends in runs.values()])
    line = drifts[-1, 0] * rates / rates[-1]
    curves = (
        Curve("exponentiated gradient", rates, drifts[:, 0]),
        Curve("order 1", rates, line, "predicted"),
        Curve("with inertia", rates, drifts[:, 1], "control"),
    )
    title = f"sum u - sum v of {FACTORS} factors of digits"
    return Panel(title, "learning rate", "relative drift", curves, True, True)


def _motion_panel(seed: int) -> Panel:
    path = follow(Moving((1, WIDTH, 1), seed), "second")
    curves = []
    for name, make in FAMILIES.items():
        values = at_states(angular_momentum(make(ODD)), path.q, path.v)
        size = np.linalg.norm(values, axis=1)
        label = "_nolegend_" if curves else "measured"
        line = size[0] / grown(path)
        curves += [
            Curve(label, path.t, size),
            Curve(f"{name}: e^(-mu t/m)", path.t, line, "predicted"),
        ]
    title = f"charges of 1-{WIDTH}-1 in motion"
    return Panel(title, "t", "|c|/m", tuple(curves), ylog=True)


# ------------------------------------------------------------------ evidence


def _derivation() -> tuple[str, ...]:
    lines = [
        rf"\text{{{name}}}:\quad e^{{\mu t/m}}\left("
        rf"{sp.latex(angular_momentum(make(ODD)))}\right)"
        for name, make in FAMILIES.items()
    ]
    return (
        *lines,
        r"\tfrac{d}{dt}\left[h_1^*(\nabla h_1(a))-h_2^*(\nabla h_2(b))"
        r"\right] = -\langle a, \nabla_a E\rangle + \langle b, \nabla_b E\rangle = 0",
    )


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the charges and the law of two potentials.")
    claims = [*exact_claims()]
    setting.report("Counting laws in phase space, and of mirror flows.")
    claims += [*count_claims(seed, quick), *mirror_claims(seed, quick)]
    setting.report("Training, and following flows, from a random velocity.")
    claims += motion_claims(seed, quick)
    if not quick:
        claims += unit_claims(seed)
    setting.report("Factorising digits.")
    factors = Factors(seed)
    runs = {
        rate: (factors.descended(rate), factors.with_inertia(rate)) for rate in RATES
    }
    claims += factor_claims(factors, runs, quick)
    panels = [_width_panel(seed, ends, quick) for ends in ((2, 1), (1, 1))]
    panels += [] if quick else [_motion_panel(seed)]
    panels.append(_drift_panel(runs))
    return Evidence(_derivation(), tuple(claims), tuple(panels))


THEOREM = Theorem(
    name="momentum-counts",
    title="With momentum the antisymmetric laws alone survive, and this many they are",
    statement=r"""Let two linear layers $UV^T$ with $N$ inputs and outputs together and
$r$ hidden units move by $\ddot\theta + \tau\dot\theta = -\nabla L$. What is conserved
for every loss, as a function of $\theta$, $\dot\theta$ and $t$, is
$$e^{\tau t}\left(\dot U^TU - U^T\dot U + \dot V^TV - V^T\dot V\right),$$
and at generic $(\theta, \dot\theta)$ the number of independent laws is
$$\frac{r(r-1)}2\ (r\le 2N), \qquad N(2r-2N-1)\ (r\ge 2N),$$
for every friction: the fields are linear, act on $(X;\dot X)$ from the left, and
generate $\mathfrak{sp}(2N)$ and time. From $r = N$ on they outnumber those of gradient
flow where $(r-N)^2 > r + N$. With scalar input and output $\langle u, v\rangle$ has
more symmetries that are isometries, $(u,v)\to(Sv,Su)$ with $S$ antisymmetric, so that
$e^{\tau t}(\dot u^TSv + \dot v^TSu)$ is conserved too: $4r-6$ laws for $r\ge2$, none
for $r = 1$. From rest all of these are zero. ReLU units have no law with momentum.

In a mirror flow, $\frac{d}{dt}\nabla h_1(a) = -\nabla_aE$ and
$\frac{d}{dt}\nabla h_2(b) = -\nabla_bE$ with $E$ invariant under
$(a,b)\to(\lambda a, b/\lambda)$, $h_1^*(\nabla h_1(a)) - h_2^*(\nabla h_2(b))$ is
conserved: for the entropy and a factorisation $UV^T$ the differences of column sums,
one a factor, and all there are unless $U$ and $V$ both have one row, where $r$ factors
have $2r - 1$ laws. A step of size $\eta$ moves them at order 1, inertia at order 0.

The experiments published with the counts draw the friction from the integers below 1,
which is always 0; here the counts hold at 0.7 as well. The difference of norms that is
followed there in a ReLU network with biases leaves out $b^2$, without which it is no
law of the flow either; what they show, that momentum moves it, stands.""",
    source="Marcotte, Gribonval & Peyre, Keep the Momentum: Conservation Laws beyond "
    "Euclidean Gradient Flows (2024); the closed forms of the numbers, the swapped "
    "laws and the law of two potentials derived here.",
    prove=_prove,
    has_quick=True,
)
