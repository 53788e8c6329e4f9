r"""The charge of the start decides the sharpness and the rate at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.algebra.coordinates import coordinates, time
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Rescale, Symmetry
from lagrangian.symbolic.laws.discrete import weight_decay
from lagrangian.symbolic.laws.noether import noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.theorems.conservation.conserved import conserved, rate_along_flow
from lagrangian.theorems.conservation.sharpness_panels import (
    decay_panel,
    rate_panel,
    sharpness_panel,
    training_panel,
)
from lagrangian.theorems.conservation.sharpness_runs import (
    CLASSES,
    FEATURES,
    Bottleneck,
    charge,
    end_of,
    factor_spectrum,
    flow_of,
    follow,
    growth,
    last_rate,
    product_of,
    random_charges,
    sharpness,
    spectrum_of,
    tanh_loss,
    trained_sharpness,
)
from lagrangian.theorems.testbeds.oscillator import oscillator_of
from lagrangian.theorems.theorem import (
    Claim,
    Evidence,
    Setting,
    Theorem,
    below,
    close,
    identity,
    order,
)

#: Q/(2 s) of the starts, and of those with one feature, where the sign matters. There
#: the slowest mode must be well apart from the next, at 2 sqrt(Q^2 + 4 s^2).
CHARGES, SIGNED = (0.0, 0.5, -1.0, 2.0), (0.0, 0.5, -0.5)
#: Of eigenvalues, of what a flow ends at, of a rate read off, of a step's factor.
EXACT, ENDS, FITTED, STEPPED = 1e-10, 1e-9, 5e-3, 1e-3
#: Rows of U, hidden units and rows of V of random starts.
STARTS = ((100, 100, 100), (100, 200, 100), (200, 100, 100))
DRAWS = 400

u, v = coordinates("u v")
y, Q = sp.symbols("y Q", real=True)


# ------------------------------------------------------------------ exact


def product_rate() -> tuple[Any, Any]:
    """Q by Noether's law of (y - u v)^2/2, and p' of p = u v, both without inertia."""
    kinetic = mass * (u.dot**2 + v.dot**2) / 2
    potential, damping = (y - u * v) ** 2 / 2, friction / mass * time
    lagrangian = Lagrangian(kinetic, potential, damping=damping)
    law = noether(lagrangian, Symmetry({u: u, v: -v}))
    massless = [sp.expand(e.lhs - e.rhs).subs(mass, 0) for e in lagrangian.equations]
    velocity = sp.solve(massless, [u.dot, v.dot], dict=True)[0]
    return oscillator_of(law).quantity, (u * v.dot + u.dot * v).subs(velocity)


def characteristic(rows: int, columns: int) -> tuple[Any, Any]:
    """The characteristic polynomial of the Hessian at u v^T = Y; the stated one."""
    left = sp.symbols(f"u:{rows}", real=True)
    right = sp.symbols(f"v:{columns}", real=True)
    target = sp.Matrix(rows, columns, sp.symbols(f"y:{rows * columns}", real=True))
    distance = target - sp.Matrix(left) * sp.Matrix(right).T
    hessian = sp.hessian(sum(x**2 for x in distance.flat()) / 2, (*left, *right))
    learned = [a * b for a in left for b in right]
    at_minimum = dict(zip(target.flat(), learned, strict=True))
    k = sp.Symbol("kappa")
    found = hessian.subs(at_minimum).charpoly(k).as_expr()
    a, b = (sum(x**2 for x in part) for part in (left, right))
    return found, k * (k - a - b) * (k - b) ** (rows - 1) * (k - a) ** (columns - 1)


def exact_claims() -> Iterator[Claim]:
    """Q is constant, p moves on its own, and the spectrum at a minimum."""
    symmetry = Rescale("u", "v")
    value = conserved(symmetry).value
    for free, said in ((False, "invariant f"), (True, "any f")):
        f = Loss("f", symmetry.blocks) if free else symmetry.loss
        left = sp.expand(rate_along_flow(value, f).subs(weight_decay, 0))
        yield identity(f"(|u|^2 - |v|^2)' along the flow, {said}", left, control=free)
    found, rate = product_rate()
    p, faster = u * v, friction * rate
    for kept, said in ((found, "Q^2 + 4 p^2"), (0, "4 p^2")):
        left = sp.expand(faster**2 - (y - p) ** 2 * (kept**2 + 4 * p**2))
        what = f"(mu p')^2 - (y - p)^2 ({said})"
        yield identity(what, left, control=kept == 0)
    for sizes in ((2, 2), (3, 2)):
        found, stated = characteristic(*sizes)
        what = "{} x {}, r = 1: characteristic polynomial of the Hessian at u v^T = Y"
        yield identity(what.format(*sizes), sp.expand(found - stated))


# ------------------------------------------------------------------ minima


def minimum_claims(net: Bottleneck, charges: tuple[float, ...]) -> Iterator[Claim]:
    """The whole Hessian, and what a step of gradient descent does beside a minimum."""
    s = net.strength
    for ratio in charges:
        charge, top = 2 * s * ratio, sharpness(2 * s * ratio, s)
        name = f"Q = {2 * ratio:g} s"
        left = net.spectrum(net.minimum(charge)) - spectrum_of(net, charge)
        what = f"digits, {name}: eigenvalues of the Hessian, farthest over sharpness"
        yield below(what, abs(left).max() / top, EXACT)
        for part in (0.95, 1.05):
            what = f"digits, {name}, eta = {part:g} * 2/sharpness: factor of a step"
            found = growth(net, charge, 2 * part / top)
            yield close(what, 2 * part - 1, found, STEPPED)
    charge = 2 * s * charges[-1]
    what = f"digits, Q = {2 * charges[-1]:g} s, eta = 0.95 * 1/s: factor of a step"
    found = growth(net, charge, 0.95 / s, steps=10)
    yield close(what, 0.9, found, STEPPED, control=True)


def factor_claims(seed: int) -> Iterator[Claim]:
    """More hidden units: the squared singular values, added in pairs."""
    chance = np.random.default_rng([seed, 3])
    for width in (1, 3, 8):
        U, V = (chance.normal(size=(n, width)) for n in (CLASSES, FEATURES))
        a, b = (np.zeros(n) for n in (CLASSES, FEATURES))
        for found, of in ((a, U), (b, V)):
            values = np.linalg.svd(of, compute_uv=False) ** 2
            found[: len(values)] = values
        stated = np.add.outer(a, b).ravel()
        # As many as parameters: there are more zeros, or these sums have too many.
        size = U.size + V.size
        stated = np.sort(np.append(stated, np.zeros(size)))[-size:]
        found = factor_spectrum(U, V)
        what = f"{width} hidden units: eigenvalues at a minimum"
        yield below(f"{what}, farthest", abs(found - stated).max() / stated[-1], EXACT)
        trace = FEATURES * (U**2).sum() + CLASSES * (V**2).sum()
        what = what.replace("eigenvalues", "trace of the Hessian")
        yield close(what, trace, found.sum(), EXACT * trace, relative=False)


# ------------------------------------------------------------------ flows


def flow_claims(net: Bottleneck, charges: tuple[float, ...]) -> Iterator[Claim]:
    """From one network, at several charges: where it ends, and how fast."""
    s = net.strength
    for ratio in charges:
        top, name = sharpness(2 * s * ratio, s), f"digits, Q = {2 * ratio:g} s"
        path, rate = flow_of(net, ratio)
        what = f"{name}: sharpness at the end of the flow, over s"
        yield close(what, top / s, end_of(net, path) / s, ENDS, relative=False)
        moved = abs(charge(path.q) - 2 * s * ratio).max() / s
        yield below(f"{name}: change of Q along the flow, over s", moved, ENDS)
        what = f"{name}: last rate of the loss, over s"
        found = last_rate(net, path) / s
        yield close(what, rate / s, found, FITTED)
    path, rate = flow_of(net, charges[-1])
    found = last_rate(net, path) / s
    what = f"{name}: last rate of the loss, over s, as of an aligned start"
    yield close(what, 2 * top / s, found, FITTED, control=True)
    what = f"{name}: sharpness at the end of the flow, over s, as of Q = 0"
    found = end_of(net, path) / s
    yield close(what, 2.0, found, ENDS, relative=False, control=True)


def aligned_claims(net: Bottleneck, charges: tuple[float, ...]) -> Iterator[Claim]:
    """Started in the direction of Y, and p(t) by its own equation."""
    s = net.strength
    for ratio in charges:
        name = f"digits, aligned, Q = {2 * ratio:g} s"
        path, rate = flow_of(net, ratio, aligned=True)
        found = last_rate(net, path) / s
        yield close(f"{name}: last rate of the loss, over s", rate / s, found, FITTED)
        p = np.linalg.norm(path.q["u"], axis=1) * np.linalg.norm(path.q["v"], axis=1)
        left = p - product_of(path.t, p[0], 2 * s * ratio, s)
        what = f"{name}: p(t) less that of its equation"
        yield below(what, abs(left).max() / s, ENDS)
    what = f"{name}: last rate of the loss, over s, as of a generic start"
    generic = rate / 2 / s - 2 * abs(ratio)
    yield close(what, generic, found, FITTED, control=True)


def signed_claims(seed: int) -> Iterator[Claim]:
    """One feature: only the modes of u are left, and the sign of Q counts."""
    net = Bottleneck(seed, features=1)
    for ratio in SIGNED:
        path, rate = flow_of(net, ratio)
        name = f"digits, one feature, Q = {2 * ratio:g} s"
        what = f"{name}: last rate of the loss, over s"
        found = last_rate(net, path) / net.strength
        yield close(what, rate / net.strength, found, FITTED)


def tanh_claim(net: Bottleneck) -> Claim:
    """A unit that is not linear keeps no such charge."""
    s, ratio = net.strength, -1.0
    top = sharpness(2 * s * ratio, s)
    path = follow(net, 2 * s * ratio, top - 2 * s, of=tanh_loss)
    end = {n: x[-1] for n, x in path.q.items()}
    found = float(net.spectrum(end, of=tanh_loss)[-1])
    what = f"digits, tanh, Q = {2 * ratio:g} s: sharpness at the end, over s"
    return close(what, top / s, found / s, FITTED, control=True)


def training_claims(net: Bottleneck) -> Iterator[Claim]:
    """Gradient descent moves Q, and so the sharpness, at order 1."""
    rates, found, top = trained_sharpness(net)
    what = "digits, Q = 2 s, gradient descent: sharpness, error of the flow's, order"
    yield order(what, 1, rates, abs(found - top))
    what = "digits, Q = 2 s, gradient descent: sharpness, error of that of Q = 0, order"
    yield order(what, 1, rates, abs(found - 2 * net.strength), control=True)


def start_claims(seed: int) -> Iterator[Claim]:
    """Mean and variance of the charge of usual starts, in standard errors."""
    for m, h, n in STARTS:
        found = random_charges((m, h, n), DRAWS, seed)
        mean, variance = m - h, 2 * m / h + 2 * h / n
        name = f"random starts, (m, h, n) = {m, h, n}"
        error = np.sqrt(variance / DRAWS)
        what = f"{name}: mean of Q, less m - h, in standard errors"
        yield below(what, (found.mean() - mean) / error, 4.0)
        error = variance * np.sqrt(2 / DRAWS)
        what = f"{name}: variance of Q, less 2m/h + 2h/n, in standard errors"
        yield below(what, (found.var(ddof=1) - variance) / error, 4.0)
    found = random_charges((100, 200, 100), DRAWS, seed)
    what = "random starts, (m, h, n) = (100, 200, 100): mean of Q, in standard errors"
    yield below(what, found.mean() / np.sqrt(5 / DRAWS), 4.0, control=True)


# ------------------------------------------------------------------ evidence


def _derivation() -> tuple[str, ...]:
    found, rate = product_rate()
    return (
        rf"Q = {sp.latex(found)},\qquad \mu\,\dot p = "
        rf"{sp.latex(sp.factor(friction * rate))} = (y-p)\sqrt{{Q^2+4p^2}}",
        r"\det(\kappa - \nabla^2 L)\big|_{uv^T=Y} = "
        r"\kappa\,(\kappa-|u|^2-|v|^2)\,(\kappa-|v|^2)^{n-1}(\kappa-|u|^2)^{m-1}",
    )


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the charge, the motion of the product, and the spectrum.")
    claims = [*exact_claims()]
    net = Bottleneck(seed)
    charges = (0.0, 2.0) if quick else CHARGES
    few = charges[1:] if quick else charges
    setting.report("Minima on digits: their Hessians, and steps beside them.")
    claims += minimum_claims(net, few)
    setting.report("Following flows on digits from several charges.")
    claims += [*flow_claims(net, charges), *aligned_claims(net, few)]
    if not quick:
        claims += [*factor_claims(seed), *signed_claims(seed), tanh_claim(net)]
        claims += start_claims(seed)
    setting.report("Training at several learning rates.")
    claims += training_claims(net)
    panels = (
        sharpness_panel(net, charges),
        rate_panel(net, charges, few),
        decay_panel(net, charges),
        training_panel(net),
    )
    return Evidence(_derivation(), tuple(claims), panels)


THEOREM = Theorem(
    name="charge-sets-sharpness",
    title="The charge of the start sets the sharpness of the minimum and the last rate",
    statement=r"""Let $L = \frac12|Y - UV^T|^2$ with $U$ of $n$ and $V$ of $m$ rows.
Where $UV^T = Y$ the eigenvalues of the Hessian are the sums
$\sigma_i(U)^2 + \sigma_j(V)^2$, $i\le n$, $j\le m$, with zeros for singular values that
are missing, and zeros. For one hidden unit and $Y = s\,ab^T$ the charge
$Q = |u|^2 - |v|^2$, which gradient flow keeps, alone decides which minimum is reached:
$$\text{sharpness} = \sqrt{Q^2+4s^2}.$$
The balanced minimum is the flattest, and gradient descent stays at a minimum only for
$\eta < 2/\sqrt{Q^2+4s^2}$. The loss decays at last at the rate
$$2\sqrt{Q^2+4s^2}\ \ (u\parallel a,\ v\parallel b\ \text{at the start}),\qquad
\sqrt{Q^2+4s^2}-|Q|\ \ (\text{any other start},\ n,m>1),$$
and $\sqrt{Q^2+4s^2}-Q$ if $m=1$. Along the first, $p$ of $uv^T = p\,ab^T$ moves by
$\dot p = (s-p)\sqrt{Q^2+4p^2}$.

So the sign of what imbalance does depends on the mode: it speeds the one along $Y$ up,
and slows down those across it, $|u|^2$ and $|v|^2$, of which one becomes small. That
the rate grows with the charge was read off runs that vary the scale of the start, by
which $|u|^2+|v|^2$ changes as well. Here one network is put at several charges by a
rescale, so that nothing but $Q$ differs; the published sign is right for aligned
starts and is reversed for generic ones. At a finite learning rate the sharpness is off
by order 1, as $Q$ drifts.

Measured on digits: whitened components, one linear unit, and the labels projected on
the direction that they tell most about, whose mean squared error is $L$ and a
constant. Usual random starts, $U\sim N(0,1/h)$ of $m\times h$ and $V\sim N(0,1/n)$ of
$n\times h$, have $Q = |U|^2-|V|^2$ with mean $m-h$ and variance $2m/h+2h/n$. A tanh
unit has no such charge, and ends elsewhere.""",
    source="Zhao, Ganev, Walters, Yu & Dehmamy, Symmetries, flat minima, and the "
    "conserved quantities of gradient flow (2022); the spectrum and the rates "
    "derived here.",
    prove=_prove,
    has_quick=True,
)
