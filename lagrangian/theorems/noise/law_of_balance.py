"""What the noise of minibatches does to f = u w x, and when it kills it.

`one_sample_diffusion` has the stochastic calculus, `growth` the exact step, and
`one_sample_runs` what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.symbolic.laws.discrete import learning_rate, role, weight_decay
from lagrangian.theorems.noise.growth import growth, stated
from lagrangian.theorems.noise.one_sample_diffusion import (
    gamma_limit,
    identities,
    moments,
    product_motion,
    threshold,
)
from lagrangian.theorems.noise.one_sample_runs import (
    Signs,
    descend,
    parity_of_digits,
    two_points,
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
    identity,
)

#: From here on v counts as dead.
DEAD = 1e-20


# ------------------------------------------------------------------ derivation


def step_of_the_difference() -> Any:
    """|u'|^2 - |w'|^2 of f = <u, w> x, where the batch has g_u = r w and g_w = r u."""
    symmetry = Rescale("u", "w")
    u, w = symmetry.blocks
    r = sp.Symbol("r", real=True)
    g_u, g_w = role(u, "gradient"), role(w, "gradient")
    squares = {Inner(g_u, g_u): r**2 * Inner(w, w), Inner(g_w, g_w): r**2 * Inner(u, u)}
    before = Inner(u, u) - Inner(w, w)
    after = before + growth(symmetry).xreplace(squares)
    kept = (1 - learning_rate * weight_decay) ** 2 - learning_rate**2 * r**2
    return sp.expand(after - kept * before)


def two_point_threshold() -> Any:
    """eta_c for x = +-1 and xy = k+s or k-s, each in half of the samples."""
    eta, k, s = sp.symbols("eta k s", positive=True)
    # E ln|1 + 2 eta xy| = 0 with both factors positive.
    product = sp.expand((1 + 2 * eta * (k + s)) * (1 + 2 * eta * (k - s)))
    (found,) = [root for root in sp.solve(product - 1, eta) if root != 0]
    return sp.simplify(found - k / (s**2 - k**2))


def largest_product() -> Any:
    """The most of v (A - 2 eta v)^2 on 0 < v < A/(2 eta), less 2 A^3/(27 eta)."""
    eta, top, v = sp.symbols("eta A v", positive=True)
    after = v * (top - 2 * eta * v) ** 2
    reached = max(
        (after.subs(v, root) for root in sp.solve(after.diff(v), v)),
        key=lambda value: value.subs({top: 1, eta: 1}),
    )
    return sp.simplify(reached - 2 * top**3 / (27 * eta))


def _derived() -> Iterator[Claim]:
    symmetry = Rescale("u", "w")
    exact = growth(symmetry) - stated(symmetry)
    yield identity("a step of <q,A q>, by the discrete law", sp.expand(exact))
    what = "|u'|^2-|w'|^2 - ((1-2 eta gamma)^2 - eta^2 r^2)(|u|^2-|w|^2)"
    yield identity(what, step_of_the_difference())
    yield from identities()
    yield identity("two points: eta_c - k/(s^2-k^2)", two_point_threshold())
    yield identity("largest v in a step - 2 A^3/(27 eta)", largest_product())


# ------------------------------------------------------------------ claims


def _exact_step(seed: int, quick: bool) -> Iterator[Claim]:
    """From an unbalanced start, 200 steps of 20 replicas."""
    data, eta, gamma = two_points(0.3), 0.05, 0.05
    kinds = ("sgd", "isotropic", "independent")
    for kind in kinds[: 2 if quick else 3]:
        us, ws = descend(data, eta, 200, 20, seed, u=1.1, w=0.4, gamma=gamma, kind=kind)
        before, after = (us[:-1], ws[:-1]), (us[1:], ws[1:])
        # What the step of u was made of, r w, says r.
        kept = 1 - 2 * eta * gamma
        r = (kept * before[0] - after[0]) / (eta * before[1])
        said = (kept**2 - eta**2 * r**2) * (before[0] ** 2 - before[1] ** 2)
        found = after[0] ** 2 - after[1] ** 2
        size = (after[0] ** 2 + after[1] ** 2).max()
        worst = float(np.abs(found - said).max() / size)
        name = {"sgd": "SGD", "isotropic": "isotropic noise of the same trace"}
        what = f"{name.get(kind, 'a sample each for u and w')}: step of u^2-w^2"
        yield below(what, worst, 1e-13, control=kind != "sgd")


def _gamma_law(
    name: str, data: Signs, share: float, seed: int, decay: float
) -> tuple[list[Claim], tuple[float, float, float]]:
    """Mean and variance of v at rest, at a share of T_c.

    Returns:
        the claims, and T, E v and Var v as measured.
    """
    signal, variance = data.mean * (1 - decay), data.variance
    eta = share * signal / variance
    relaxation = 1 / (4 * eta * (signal - eta * variance))
    # The wider the distribution, the more of it has to be seen.
    burn, steps = int(20 * relaxation), int(600 * share * relaxation)
    every = max(int(relaxation / 4), 1)
    total = (burn + steps) // every * every
    start = float(np.sqrt(signal - eta * variance))
    us, ws = descend(
        data, eta, total, 2000, seed, u=start, w=start,
        gamma=decay * data.mean, every=every,
    )  # fmt: skip
    found = (us * ws)[burn // every :]
    mean = signal - eta * variance
    spread = 2 * eta * variance * mean
    decayed = f", gamma = {decay:g} E xy" if decay else ""
    what = f"{name}, T = {share:g} T_c{decayed}"
    claims = [
        close(f"{what}: E v", mean, float(found.mean()), 0.01),
        close(f"{what}: Var v", spread, float(found.var()), 0.03),
    ]
    return claims, (eta, float(found.mean()), float(found.var()))


def _moments(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    data, shares = two_points(0.1), (0.25,) if quick else (0.1, 0.25, 0.5)
    measured = []
    for share in shares:
        claims, point = _gamma_law("two points", data, share, seed, 0.0)
        measured.append(point)
        yield from claims
    if not quick:
        yield from _gamma_law("two points", data, 0.5, seed, 0.2)[0]
        digits = parity_of_digits(seed, 0.1)
        for share in (0.1, 0.25):
            yield from _gamma_law("digits", digits, share, seed, 0.0)[0]
    eta, mean, _ = measured[-1]
    what = f"two points, T = {shares[-1]:g} T_c: E v without noise"
    yield close(what, data.mean, mean, 0.01, control=True)
    yield _moment_panel(data, np.array(measured))


def _moment_panel(data: Signs, measured: np.ndarray) -> Panel:
    T = np.linspace(0, data.mean / data.variance, 100)
    mean = data.mean - T * data.variance
    variance = 2 * T * data.variance * mean
    curves = (
        Curve("E v / 10, predicted", T, mean / 10, "predicted"),
        Curve("Var v, predicted", T, variance, "predicted"),
        Curve("measured", np.tile(measured[:, 0], 2),
              np.concatenate([measured[:, 1] / 10, measured[:, 2]]), "points"),
    )  # fmt: skip
    return Panel("at rest, a weak signal", "temperature", "", curves)


def slope(data: Signs, eta: float, seed: int) -> tuple[float, float]:
    """Rate of ln v a step from a tiny balanced start, and its standard error."""
    steps, replicas = 60, 4000
    us, ws = descend(data, eta, steps, replicas, seed, u=1e-8, w=1e-8, every=steps)
    found = np.log(np.abs(us[-1] * ws[-1]) / 1e-16).mean() / steps
    return float(found), float(2 * data.spread(eta) / np.sqrt(steps * replicas))


def _within(
    what: str, predicted: float, found: tuple[float, float], control: bool = False
) -> Claim:
    """Within three standard errors."""
    value, error = found
    said = f"{what} (standard error {error:.1g})"
    return close(said, predicted, value, 3 * error, relative=False, control=control)


def _onset(name: str, data: Signs, seed: int, quick: bool) -> Iterator[Claim | Panel]:
    critical = data.threshold()
    shares = (0.8, 1.2) if quick else (0.5, 0.8, 1.2)
    measured = []
    for share in shares:
        eta = share * critical
        found = slope(data, eta, seed)
        measured.append((eta, found[0]))
        what = f"{name}, {share:g} eta_c: rate of ln v"
        yield _within(what, 2 * data.exponent(eta), found)
    for share, learns in ((0.75, True), (1.15, False)):
        alive = alive_share(data, share * critical, seed, 4000 if quick else 16_000)
        what = f"{name}, {share:g} eta_c: share that is still learned"
        yield close(what, float(learns), alive, 0.05, relative=False)
    if name == "digits":
        return
    eta_c = data.mean / (1 - data.mean**2)
    yield close(f"{name}: eta_c - k/(1-k^2)", eta_c, critical, 1e-12)
    second = data.mean / (data.variance + data.mean**2)
    for label, wrong in (
        ("T_c = b2/a3", data.mean / data.variance),
        ("T_c = b2/(a3+b2^2)", second),
    ):
        what = f"{name}: no rate of ln v at the published {label}"
        yield _within(what, 0.0, slope(data, wrong, seed), control=True)
    etas = np.linspace(0.2, 1.3, 200) * critical
    rates = [2 * data.exponent(eta) for eta in etas]
    points = np.array(measured).T
    curves = (
        Curve(f"predicted, zero at {critical:.4f}", etas, np.array(rates), "predicted"),
        Curve("measured", *points, "points"),
        Curve("published T_c", np.array([data.mean, second]), np.zeros(2), "control"),
    )
    yield Panel("near zero", "learning rate", "rate of ln v a step", curves)


def alive_share(
    data: Signs, eta: float, seed: int, steps: int, kind: str = "sgd"
) -> float:
    """How many of 1000 replicas are not dead after so many steps."""
    us, ws = descend(
        data,
        eta,
        steps,
        1000,
        seed,
        u=0.5,
        w=0.5 if kind == "sgd" else 1.0,
        kind=kind,
        every=steps,
    )
    return float((np.abs(us[-1] * ws[-1]) > DEAD).mean())


def _bounded(seed: int) -> Iterator[Claim]:
    """v never leaves [0, v_max] where eta (v_max + s - k) <= 1."""
    k, s, eta = 0.3, 1.0, 0.4
    most = 2 * (1 + 2 * eta * (k + s)) ** 3 / (27 * eta)
    us, ws = descend(two_points(k, s), eta, 20_000, 200, seed, u=1.0, w=1.0)
    found = us * ws
    outside = max(float(found.max()) - most, -float(found.min()), 0.0)
    what = f"eta = {eta}: v outside of [0, {most:.3f}] in 20,000 steps"
    yield below(what, outside, 0.0)


def _without_depth(seed: int) -> Iterator[Claim]:
    """f = v x: noise never stops it from learning."""
    data = two_points(0.3)
    eta = 1.2 * data.threshold()
    alive = alive_share(data, eta, seed, 4000, kind="depth 0")
    what = "no hidden layer, 1.2 eta_c: share that is still learned"
    yield close(what, 0.0, alive, 0.05, relative=False, control=True)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving steps, densities and thresholds.")
    found: list[Claim | Panel] = [*_derived(), moments()]
    setting.report("Training to rest at a weak signal.")
    found += _moments(seed, quick)
    setting.report("Training where learning begins.")
    found += _onset("two points", two_points(0.3), seed, quick)
    if not quick:
        found += _onset("digits", parity_of_digits(seed, 0.3), seed, quick)
        found += _bounded(seed)
    setting.report("Measuring steps, and the controls.")
    found += _exact_step(seed, quick)
    if not quick:
        found += _without_depth(seed)
    return Evidence.of(_derivation(), found)


def _derivation() -> tuple[str, ...]:
    drift, noise = (sp.latex(sp.factor(part)) for part in product_motion(1))
    mean, variance = map(sp.latex, gamma_limit())
    return (
        rf"|u'|^2-|w'|^2-|u|^2+|w|^2 = {sp.latex(growth(Rescale('u', 'w')))}",
        rf"D = 1: \quad dv = \left[{drift}\right] dt + \left[{noise}\right] dW",
        rf"T_c = {sp.latex(threshold())}, \quad E v = {mean}, \quad "
        rf"\mathrm{{Var}}\,v = {variance}",
    )


THEOREM = Theorem(
    name="law-of-balance",
    title="Minibatch noise balances layers exactly, and stops learning at a known rate",
    statement=r"""Train $f = uwx$ on $(f-y)^2+\gamma(u^2+w^2)$ by SGD. With
$r$ the mean of $2x(vx-y)$ over the batch, $v = uw$, every step obeys
$$u'^2-w'^2 = \left((1-2\eta\gamma)^2-\eta^2r^2\right)(u^2-w^2),$$
so that noise balances layers, and a balanced start has
$v' = v(1-2\eta\gamma-2\eta(m_2v-m_1))^2$, $m_1$ and $m_2$ the means of $xy$ and $x^2$
over the batch. Hence $v\to0$ exactly if $E\ln|1-2\eta\gamma+2\eta m_1|<0$: for $x=\pm1$
and $xy=k\pm s$ one sample at a time, above $\eta_c=k/(s^2-k^2)$.

In continuous time, $T=\eta/S$, $b_1=Ex^2$, $b_2=Exy$, $g=a_1v^2-2a_2v+a_3$ a quarter of
the variance of $2x(vx-y)$, the density of $D$ hidden layers is
$p\propto v^{-3D/(D+1)}g^{-1}\exp(-\frac1T\int\frac{b_1v-b_2}{(D+1)v^{2D/(D+1)}g}dv)$;
at $D=1$ it ends at $T_c=(b_2-\gamma)/a_3$. Where the signal is weak, the only regime in
which the steps are small at $T_c$, $v$ is Gamma distributed with
$$E v=\frac{b_2-\gamma-Ta_3}{b_1},\qquad \mathrm{Var}\,v=\frac{2Ta_3}{b_1}E v:$$
noise acts as weight decay $Ta_3$.

Ziyin, Li and Ueda give $T_c=b_2/a_3$ and $b_2/(a_3+b_2^2)$ as a further order, from the
stochastic differential equation, for which their arguments are right. Steps of finite
size have the threshold above; at $k=.3$, $s=1$ it is .330, for .300 and .275. In their
equation (90), for two units of opposite signs, a factor of 4 is lost: the rate is
$8Tg$.""",
    source="Ziyin, Li & Ueda, Law of balance and stationary distribution of stochastic "
    "gradient descent (2023); steps of finite size and the Gamma law are derived here.",
    prove=_prove,
    has_quick=True,
)
