r"""Where on the orbit of a symmetry the noise of the gradients is least.

Along theta_l = exp(l A) theta gradients turn by exp(-l A), so that with A = +1 and -1

    J(l) = dC/dt = -4 gamma (n_+ e^2l - n_- e^-2l) + T (S_+ e^-2l - S_- e^2l),

n the squared norms of both parts and S the traces of their gradients' covariance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction

from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Rescale, Scale, Symmetry
from lagrangian.theorems.noise.growth import growth, stated
from lagrangian.theorems.testbeds.symmetric_networks import EVEN, MATRIX_SYMMETRIES
from lagrangian.theorems.theorem import Claim, identity

shift = sp.Symbol("l", real=True)
temperature, decay = sp.symbols("T gamma", positive=True)
n_plus, n_minus = sp.symbols("n_+ n_-", positive=True)
s_plus, s_minus = sp.symbols("S_+ S_-", positive=True)


def symmetries() -> dict[str, Symmetry]:
    return {
        "rescale": Rescale("inward", "outward"),
        "scale": Scale("w"),
    } | {name: make(EVEN) for name, make in MATRIX_SYMMETRIES.items()}


def push() -> Any:
    """J(l)."""
    up, down = sp.exp(2 * shift), sp.exp(-2 * shift)
    pull = 4 * decay * (n_plus * up - n_minus * down)
    return temperature * (s_plus * down - s_minus * up) - pull


def noise_and_decay() -> Any:
    """Phi(l): half of T times the trace of the noise, and the weight decay."""
    up, down = sp.exp(2 * shift), sp.exp(-2 * shift)
    noise = temperature / 2 * (s_plus * down + s_minus * up)
    return noise + 2 * decay * (n_plus * up + n_minus * down)


def equilibrium() -> Any:
    """e^(4 l) where J is zero."""
    power = sp.Symbol("x", positive=True)
    balance = sp.expand(push() * sp.exp(2 * shift)).subs(sp.exp(4 * shift), power)
    (found,) = sp.solve(balance, power)
    return found


def derivation() -> tuple[str, ...]:
    """What the engine finds, in LaTeX."""
    moved = growth(symmetries()["rescale"])
    return (
        rf"\langle q',Aq'\rangle - \langle q,Aq\rangle = {sp.latex(moved)}",
        rf"J(l) = {sp.latex(push())}",
        rf"e^{{4l^*}} = {sp.latex(equilibrium())}",
    )


def identities() -> Iterator[Claim]:
    """The step of the charge, the orbit, and deep linear networks at rest."""
    for name, symmetry in symmetries().items():
        what = f"{name}: C' - (1-2 eta gamma)^2 C - eta^2 <g,Ag>"
        yield identity(what, sp.expand(growth(symmetry) - stated(symmetry)))
    symmetry = symmetries()["rescale"]
    free = growth(symmetry, Loss("f", symmetry.blocks)) - stated(symmetry)
    yield identity("the same without the symmetry", sp.expand(free), control=True)
    yield from _orbit()
    for layers in (2, 3, 4):
        yield from _deep(layers)
    r, square = sp.symbols("r g", positive=True)
    eta = sp.Symbol("eta", positive=True)
    # |q'|^2 = |q|^2 + eta^2 |g|^2, and g is the gradient at unit norm over r.
    after = (r**2 + eta**2 * square / r**2) ** 2
    said = r**4 + 2 * eta**2 * square + eta**4 * square**2 / r**4
    yield identity("scale: r'^4", after - said)


def _orbit() -> Iterator[Claim]:
    u, w = sp.symbols("u w", real=True)
    loss: Any = UndefinedFunction("f")
    moved = {u: sp.exp(shift) * u, w: sp.exp(-shift) * w}
    for variable, sign in ((u, -1), (w, 1)):
        there = loss(u * w).diff(variable).subs(moved, simultaneous=True).doit()
        turned = there - sp.exp(sign * shift) * loss(u * w).diff(variable)
        yield identity(f"gradient on the orbit, {variable}", turned.doit())
    square = n_plus * sp.exp(2 * shift) + n_minus * sp.exp(-2 * shift)
    noise = s_plus * sp.exp(-2 * shift) + s_minus * sp.exp(2 * shift)
    slope = push().diff(shift) + 8 * decay * square + 2 * temperature * noise
    yield identity("dJ/dl + 8 gamma |A q|^2 + 2 T tr A^2 Sigma", slope)
    yield identity("dPhi/dl + J", noise_and_decay().diff(shift) + push())
    said = (temperature * s_plus + 4 * decay * n_minus) / (
        temperature * s_minus + 4 * decay * n_plus
    )
    yield identity("e^(4 l*) of the equilibrium", equilibrium() - said)
    ratio = equilibrium().subs(decay, 0) - n_minus / n_plus
    yield identity("gamma = 0: equal norms are the equilibrium", ratio, control=True)


def _deep(layers: int) -> Iterator[Claim]:
    """tr(B_(i+1)) H_i = tr(H_(i-1)) B_i for the stated singular values."""
    tx, te = sp.symbols("t_x t_e", positive=True)
    modes = sp.symbols("k_1:4", positive=True)
    tk = sum(modes)
    if layers == 2:
        a = (tx / te) ** sp.Rational(1, 4)
        b, c = 1 / a, sp.S.One
    else:
        c = (tk / sp.sqrt(tx * te)) ** sp.Rational(1, layers)
        a, b = c * sp.sqrt(tx / tk), c * sp.sqrt(te / tk)
    # In units of K: H_i = a^2 c^(2(i-1)) K, B_i = b^2 c^(2(layers-1-i)) K.
    h = [a**2 * c ** (2 * (i - 1)) for i in range(1, layers)]
    g = [b**2 * c ** (2 * (layers - 1 - i)) for i in range(1, layers)]
    before = [tx, *(value * tk for value in h)]
    after = [*(value * tk for value in g[1:]), te]
    for i in range(layers - 1):
        residual = sp.simplify(after[i] * h[i] - before[i] * g[i])
        yield identity(
            f"{layers} layers: alignment between {i + 1} and {i + 2}", residual
        )
    product = sp.simplify(a * b * c ** (layers - 2) - 1)
    yield identity(f"{layers} layers: the product is V", product)
