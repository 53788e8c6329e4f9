r"""Which conservation laws survive momentum, how many, and those of mirror flows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.count_laws import Closure, lie_closure, row_space, unit_rows
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Rescale, Symmetry
from lagrangian.theorems.conservation.conserved import (
    angular_momentum,
    law_of,
    with_momentum,
)
from lagrangian.theorems.conservation.counted_networks import unit_law
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.conservation.matrix_algebra import (
    generated,
    in_motion,
    orbit,
    products,
)
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
from lagrangian.theorems.testbeds.symmetric_networks import EVEN, ODD
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

_FIRST, _SECOND = Block("layer0"), Block("layer1")


def turned(generator: Any) -> Symmetry:
    """GL(h) between two linear layers."""
    return GeneralLinear(_FIRST, _SECOND, generator)


def swapped(generator: Any) -> Symmetry:
    """(u, v) -> (A v, A u) at scalar input and output, which <u, v> allows for odd A.

    The first layer, of shape (1, r), is v^T, and the second, of shape (r, 1), is u.
    """
    moved = {
        _FIRST: matmul(transpose(_SECOND), transpose(generator)),
        _SECOND: matmul(generator, transpose(_FIRST)),
    }
    return Symmetry(moved, name="swap")


FAMILIES = {"turned": turned, "swapped": swapped}


def momentum_laws(inputs: int, width: int, outputs: int) -> int:
    """The number of laws in phase space of two linear layers."""
    n = inputs + outputs
    if n == 2:
        return 0 if width == 1 else 4 * width - 6
    if width <= 2 * n:
        return width * (width - 1) // 2
    return n * (2 * width - 2 * n - 1)


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
    product = Inner(_FIRST, transpose(_SECOND))
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


# ------------------------------------------------------------------ counts


@dataclass(frozen=True)
class Counts:
    """The laws of two linear layers in phase space, by matrices and by gradients."""

    sizes: tuple[int, int, int]
    friction: float
    seed: int

    @cached_property
    def x(self) -> np.ndarray:
        """(U; V; U'; V') at a random point; shape (2n, r)."""
        inputs, width, outputs = self.sizes
        chance = np.random.default_rng([self.seed, *self.sizes])
        return chance.normal(size=(2 * (inputs + outputs), width))

    @cached_property
    def reached(self) -> np.ndarray:
        return orbit(_algebra(self.sizes[::2], self.friction), self.x)

    @property
    def counted(self) -> int:
        return self.x.size + 1 - len(self.reached)

    @cached_property
    def gradients(self) -> np.ndarray:
        """Of the laws that are written down, e^(friction t) times each charge."""
        inputs, width, outputs = self.sizes
        odd = [angular_momentum(turned(ODD))]
        if inputs == outputs == 1:
            odd.append(angular_momentum(swapped(ODD)))

        def laws(x: Any) -> Any:
            u, v, u_dot, v_dot = jnp.split(
                x[:-1].reshape(self.x.shape),
                np.cumsum([outputs, inputs, outputs]),
            )
            known = {_FIRST: v, _SECOND: u.T, _FIRST.dot: v_dot, _SECOND.dot: u_dot.T}
            growth = jnp.exp(self.friction * x[-1])
            above = np.triu_indices(width, 1)
            return growth * jnp.concatenate([a[above] for a in evaluate(odd, known)])

        with jax.enable_x64(True):
            at = jnp.append(jnp.ravel(self.x), 0.0)
            return unit_rows(np.asarray(jax.jit(jax.jacobian(laws))(at)))

    @property
    def leak(self) -> float:
        cosines = self.gradients @ self.reached.T
        return float(np.linalg.norm(cosines, axis=1).max(initial=0.0))


@cache
def _algebra(ends: tuple[int, int], friction: float) -> np.ndarray:
    return generated(in_motion(products(*ends), friction))


#: (inputs, units, outputs) with N = 3, with N = 4, and at scalar input and output.
SIZES = (
    *((2, r, 1) for r in range(1, 10)),
    *((2, r, 2) for r in (7, 8)),
    *((1, r, 1) for r in range(1, 6)),
)
QUICK_SIZES = ((2, 2, 1), (2, 7, 1), (1, 2, 1))
FRICTIONS = (0.0, 0.7)
ORTHOGONAL = 1e-9


def count_claims(seed: int, quick: bool) -> list[Claim]:
    """Two counts for each size and friction."""
    claims, leaks = [], []
    for sizes in QUICK_SIZES if quick else SIZES:
        inputs, width, outputs = sizes
        predicted = momentum_laws(*sizes)
        for friction in FRICTIONS:
            found = Counts(sizes, friction, seed)
            name = f"{inputs}-{width}-{outputs}, friction {friction:g}"
            claims.append(equal(f"{name}: laws", predicted, found.counted))
            what = f"{name}: independent ones of the written laws"
            claims.append(equal(what, predicted, len(row_space(found.gradients))))
            leaks.append(found.leak)
    what = "the largest cosine between a law's gradient and what losses reach"
    claims.append(below(what, max(leaks), ORTHOGONAL))
    for ends in ((2, 1), (2, 2)):
        n = sum(ends)
        what = f"{ends[0]} inputs, {ends[1]} outputs: dimension of sp(2N) and time"
        algebra = len(_algebra(ends, FRICTIONS[-1]))
        claims.append(equal(what, n * (2 * n + 1) + 1, algebra))
    for sizes, what in (
        ((2, 2, 1), "as many as gradient flow has"),
        ((1, 2, 1), "turned laws alone"),
    ):
        width = sizes[1]
        wrong = linear_laws(*sizes) if sizes[0] > 1 else width * (width - 1) // 2
        name = f"{'-'.join(map(str, sizes))}: {what}"
        found = Counts(sizes, FRICTIONS[-1], seed)
        claims.append(equal(name, wrong, found.counted, control=True))
    return claims


# ------------------------------------------------------------------ mirror counts


@cache
def mirror_closure(
    sizes: tuple[int, int, int], kind: str, seed: int
) -> tuple[Closure, int]:
    """Where mirror flows of two layers go, and D.

    "factors": entropy on both factors of U V^T. "convex": a ReLU network with entropy
    on the weights that go out, and squares elsewhere.
    """
    inputs, width, outputs = sizes
    chance = np.random.default_rng([seed, *sizes])
    x = chance.normal(size=(40, inputs))
    cuts = np.cumsum([outputs * width, inputs * width])

    def seen(w: Any) -> Any:
        u, v, b = jnp.split(w, cuts)
        u, v = u.reshape(outputs, width), v.reshape(inputs, width)
        if kind == "factors":
            return jnp.ravel(u @ v.T)
        return jnp.ravel(jax.nn.relu(x @ v + b) @ u.T)

    size = cuts[-1] + (width if kind == "convex" else 0)
    start = 0.5 + chance.random(size)
    if kind == "convex":
        start[cuts[0] :] = chance.normal(size=size - cuts[0])
    count = inputs * outputs if kind == "factors" else 40 * outputs
    bent = np.arange(size) < (size if kind == "factors" else cuts[0])

    def field(combination: Any, w: Any) -> Any:
        slope = jax.grad(lambda w: combination @ seen(w))(w)
        return jnp.where(bent, w, 1.0) * slope

    return lie_closure(field, count, start, seed), size


#: Directions reached by the factorisation 2-3-1.
MIRROR_LEVELS = (2, 3, 5, 6, 6)


def mirror_claims(seed: int, quick: bool) -> Iterator[Claim]:
    """One law a factor; more for scalars; one a unit of an input-convex network."""
    cases = [((2, r, 1), "factors", r) for r in (1, 2, 3)]
    cases += [((1, r, 1), "factors", 2 * r - 1) for r in (1, 2, 3)]
    cases += [((2, r, 1), "convex", r) for r in (1, 2)]
    for sizes, kind, predicted in cases[1:5:3] if quick else cases:
        found, _ = mirror_closure(sizes, kind, seed)
        name = "mirror flow, {} {}".format(kind, "-".join(map(str, sizes)))
        yield equal(f"{name}: laws", predicted, found.count.laws)
    found, _ = mirror_closure((1, 2, 1), "factors", seed)
    what = "mirror flow, factors 1-2-1: one law a factor"
    yield equal(what, 2, found.count.laws, control=True)
    if not quick:
        found, _ = mirror_closure((2, 3, 1), "factors", seed)
        what = "mirror flow, factors 2-3-1: directions with 0, 1, 2, 3, 4 brackets"
        yield equal(what, MIRROR_LEVELS, found.levels)


# ------------------------------------------------------------------ flows

KEPT, TRAINED = 1e-9, 1e-11
WIDTH = 3


def motion_claims(seed: int) -> Iterator[Claim]:
    """Along the second-order flow and in training, from a random velocity."""
    scalar, wide = (Moving((n, WIDTH, 1), seed) for n in (1, 2))
    path, other = follow(scalar, "second"), follow(wide, "second")
    q, v = scalar.trained()
    faded = RULE.momentum ** np.arange(STEPS)[:, None]
    for name, make in FAMILIES.items():
        charge = angular_momentum(make(ODD))
        values = at_states(charge, path.q, path.v) * grown(path)[:, None]
        what = f"1-{WIDTH}-1, {name}: relative change of e^(mu t/m) c along the flow"
        yield below(what, farthest(values), KEPT)
        what = f"1-{WIDTH}-1, {name}: relative change of beta^-k c in training"
        yield below(what, farthest(at_states(charge, q, v) / faded), TRAINED)
    # Between the first input and the output.
    cut = [{**x, "layer0": x["layer0"][:, :1]} for x in (other.q, other.v)]
    values = at_states(angular_momentum(swapped(ODD)), *cut) * grown(other)[:, None]
    what = f"2-{WIDTH}-1, swapped: relative change of e^(mu t/m) c along the flow"
    yield below(what, farthest(values), KEPT, control=True)


def unit_claims(seed: int) -> Iterator[Claim]:
    """ReLU units: their law with the bias, without it, and under momentum."""
    units = Moving((3, 4, 2), seed, jax.nn.relu, bias=True)
    flow, motion = follow(units, "gradient"), follow(units, "second")
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


def factor_claims(found: Factors, runs: Mapping[float, Any]) -> Iterator[Claim]:
    """Column sums of a factorisation of digits, in the geometry of the entropy."""
    what = "digits as U V^T, sum u - sum v: relative change along"
    path = found.flow(MirrorDescent(1.0, entropy))
    yield below(f"{what} the mirror flow", farthest(sums(path.q)), KEPT)
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
    setting.report("Following flows from a random velocity.")
    claims += motion_claims(seed)
    if not quick:
        claims += unit_claims(seed)
    setting.report("Factorising digits.")
    factors = Factors(seed)
    runs = {
        rate: (factors.descended(rate), factors.with_inertia(rate)) for rate in RATES
    }
    claims += factor_claims(factors, runs)
    panels = (
        _width_panel(seed, (2, 1), quick),
        _width_panel(seed, (1, 1), quick),
        _motion_panel(seed),
        _drift_panel(runs),
    )
    return Evidence(_derivation(), tuple(claims), panels)


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
