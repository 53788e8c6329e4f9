r"""The stochastic differential equation of v = u_0 u_1 ... u_D, and where it rests.

A sample (x, y) moves every factor by the same noise,
du_k = -(xi v/u_k + 2 gamma u_k) dt with xi = 2x(vx - y), whose mean is 2(b1 v - b2) and
whose variance 4 g(v),

    g(v) = a1 v^2 - 2 a2 v + a3,

and T = eta/S is the temperature of batches of S.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp
from scipy.integrate import quad

from lagrangian.theorems.theorem import Claim, close, identity

v, temperature = sp.symbols("v T", positive=True)
a1, a2, a3, b1, b2, decay = sp.symbols("a_1 a_2 a_3 b_1 b_2 gamma", positive=True)

#: Mean and variance of xi = 2x(vx - y).
PULL, VARIANCE = 2 * (b1 * v - b2), 4 * (a1 * v**2 - 2 * a2 * v + a3)
SPREAD = VARIANCE / 4


def ito(function: Any, drift: dict[Any, Any], noise: dict[Any, Any]) -> tuple[Any, Any]:
    """Drift and noise of a function of variables that one Wiener process moves."""
    moved = sum((function.diff(u) * drift[u] for u in drift), sp.S.Zero)
    curved = sum(
        (function.diff(u, w) * noise[u] * noise[w] / 2 for u in drift for w in drift),
        sp.S.Zero,
    )
    swung = sum((function.diff(u) * noise[u] for u in drift), sp.S.Zero)
    return moved + curved, swung


def product_motion(depth: int) -> tuple[Any, Any]:
    """Drift and noise of v where all D+1 factors are equal, as they come to be."""
    factors = sp.symbols(f"u_0:{depth + 1}", positive=True)
    product = sp.Mul(*factors)
    drift = {u: -PULL * product / u - 2 * decay * u for u in factors}
    swing = sp.sqrt(temperature * VARIANCE)
    noise = {u: -swing * product / u for u in factors}
    equal = {u: v ** sp.Rational(1, depth + 1) for u in factors}
    found = ito(product, drift, noise)
    return tuple(sp.powsimp(sp.expand(part.subs(equal)), force=True) for part in found)


def current(depth: int, slope: Any, *, with_decay: bool = False) -> Any:
    """The probability current of a density with (ln p)' = slope, over that density."""
    drift, noise = product_motion(depth)
    if not with_decay:
        drift = drift.subs(decay, 0)
    square = noise**2
    return drift - (square.diff(v) + square * slope) / 2


def stated_slope(depth: int) -> Any:
    """(ln p)' of the density of Ziyin, Li & Ueda, for one v > 0."""
    n = depth + 1
    pull = (b1 * v - b2) / (n * v ** sp.Rational(2 * depth, n) * SPREAD)
    return -sp.Rational(3 * depth, n) / v - SPREAD.diff(v) / SPREAD - pull / temperature


def log_density(signal: Any = b2) -> Any:
    """ln p of one hidden layer in their closed form, up to a constant.

    With weight decay, `signal` is b2 - gamma.
    """
    root = sp.sqrt(a1 * a3 - a2**2)
    angle = sp.atan((a1 * v - a2) / root)
    turn = (a3 * b1 - a2 * signal) / (2 * temperature * a3 * root) * angle
    rise = signal / (2 * temperature * a3)
    powers = (rise - sp.Rational(3, 2)) * sp.log(v) - (1 + rise / 2) * sp.log(SPREAD)
    return powers - turn


def threshold() -> Any:
    """The temperature from which the density cannot be normalised at v = 0."""
    power = sp.expand(log_density(b2 - decay).diff(v) * v).subs(v, 0)
    return sp.solve(power + 1, temperature)[0]


def mean_identity() -> Any:
    """E of the drift of ln v at D = 1, which is zero at rest, over -4."""
    drift, noise = product_motion(1)
    return sp.expand(sp.simplify((drift / v - noise**2 / (2 * v**2)) / -4))


def gamma_limit() -> tuple[Any, Any]:
    """Mean and variance of v at a weak signal, where g = a3: a Gamma law."""
    # (ln p)' = (shape - 1)/v - 1/scale, from the drift and the noise at a1 = a2 = 0.
    drift, noise = (part.subs({a1: 0, a2: 0}) for part in product_motion(1))
    square = noise**2
    rate = sp.expand(sp.simplify((2 * drift - square.diff(v)) / square))
    scale = -1 / rate.coeff(v, 0)
    shape = rate.coeff(v, -1) + 1
    return sp.factor(shape * scale), sp.factor(shape * scale**2)


def _two_units() -> Any:
    """The drift of ln v_i + ln |v_j|, of two balanced units of opposite signs."""
    u, w, p, q = sp.symbols("u w p q", real=True)
    # One noise moves all: the gradient by u is xi w.
    swing = sp.sqrt(temperature * VARIANCE)
    partner = {u: w, w: u, p: q, q: p}
    drift = {s: -PULL * o for s, o in partner.items()}
    noise = {s: -swing * o for s, o in partner.items()}
    total = sp.log(u * w) + sp.log(-p * q)
    found, _ = ito(total, drift, noise)
    return sp.simplify(found.subs({w: u, q: -p}))


def _deep_units(depth: int) -> Any:
    """The drift of z_i - z_j, z = v^(2/(D+1) - 1), of two balanced units."""
    z = []
    power = sp.Rational(2, depth + 1) - 1
    others = sp.symbols("v_i v_j", positive=True)
    for one in others:
        # The same xi for both, which depends on the sum of all units: v in PULL.
        total = sp.Dummy("total", positive=True)
        factor = one ** sp.Rational(depth, depth + 1)
        n = depth + 1
        move = -n * factor**2 * PULL.subs(v, total)
        curve = n * (n - 1) * one ** (sp.S.One - sp.Rational(2, n)) * factor**2
        move += curve * temperature * VARIANCE.subs(v, total) / 2
        square = n**2 * factor**4 * temperature * VARIANCE.subs(v, total)
        found = power * one ** (power - 1) * move
        found += power * (power - 1) * one ** (power - 2) * square / 2
        z.append(sp.powsimp(sp.expand(found.subs(total, v)), force=True))
    left = sp.expand(z[0] - z[1])
    zs = [one**power for one in others]
    d = depth
    right = -2 * d * (d - 1) * temperature * SPREAD * (zs[0] - zs[1]) / (zs[0] * zs[1])
    return sp.powsimp(sp.expand(left - sp.expand(right)), force=True)


def identities() -> Iterator[Claim]:
    """What the stochastic calculus says, less what is claimed."""
    for depth in (1, 2, 3, 4):
        what = f"D = {depth}: current of the stationary density"
        yield identity(what, current(depth, stated_slope(depth)))
    yield identity(
        "D = 2: current of the density of D = 1",
        current(2, stated_slope(1)),
        control=True,
    )
    closed = log_density(b2 - decay).diff(v)
    what = "D = 1: current of the closed form, with decay"
    yield identity(what, current(1, closed, with_decay=True))
    yield identity("T_c - (b2-gamma)/a3", threshold() - (b2 - decay) / a3)
    drift = b1 * v - b2 + decay + temperature * SPREAD
    yield identity("E d ln v: (b1 v-b2+gamma) + T g", mean_identity() - drift)
    mode = -7 * temperature * a1 * v**2 + (10 * temperature * a2 - b1) * v
    mode += b2 - 3 * temperature * a3
    slope = 2 * temperature * v * SPREAD * stated_slope(1)
    yield identity("D = 1: equation of the mode", sp.expand(sp.simplify(slope)) - mode)
    mean, variance = gamma_limit()
    left = (b2 - decay - temperature * a3) / b1
    yield identity("weak signal: E v - (b2-gamma-T a3)/b1", mean - left)
    yield identity(
        "weak signal: Var v - 2 T a3 E v/b1",
        variance - 2 * temperature * a3 * left / b1,
    )
    yield identity(
        "opposite signs: d ln|v_i v_j|/dt + 8 T g",
        _two_units() + 8 * temperature * SPREAD,
    )
    yield identity(
        "opposite signs: d ln|v_i v_j|/dt + 2 T g",
        _two_units() + 2 * temperature * SPREAD,
        control=True,
    )
    for depth in (2, 3):
        yield identity(f"D = {depth}: drift of z_i - z_j", _deep_units(depth))


def moments() -> Claim:
    """E d ln v = 0 in numbers, for Gaussian x and y = kx + noise, by quadrature."""
    k, s, T = 0.7, 0.5, 0.1
    values = {a1: 2, a2: 2 * k, a3: 2 * k**2 + s**2, b1: 1, b2: k, temperature: T}
    density = sp.lambdify(v, sp.exp(log_density().subs(values)), "numpy")

    def moment(power: int) -> float:
        return quad(lambda x: x**power * density(x), 0, np.inf, epsabs=0, limit=400)[0]

    total = moment(0)
    left = (1 - 4 * k * T) * moment(1) + 2 * T * moment(2)
    right = k - T * (2 * k**2 + s**2)
    what = "E v (b1-2 a2 T) + a1 T E v^2 = b2 - a3 T, by quadrature"
    return close(what, right, left / total, 1e-6)
