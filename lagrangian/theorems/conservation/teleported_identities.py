"""What gradients do along an orbit, exactly, and what a step does to a charge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.calculus import gradient, variation
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import GeneralLinear, Rescale, Symmetry
from lagrangian.symbolic.laws.discrete import learning_rate, linear_part
from lagrangian.theorems.testbeds.symmetric_networks import EVEN, ODD
from lagrangian.theorems.theorem import Claim, identity


def slopes(symmetry: Symmetry) -> dict[Any, Any]:
    """d/ds |g|^2/2 of the gradient of each block along the orbit of an invariant f.

    Where f is invariant, <grad f, xi> is zero for all parameters, and so is its
    gradient, which is left out here.
    """
    loss = Loss("f", symmetry.blocks)
    g = {q: loss.gradient(q) for q in symmetry.blocks}
    zero = sp.Add(*(Inner(v, symmetry.xi[q]) for q, v in g.items()))
    return {
        q: sp.expand(
            variation(Inner(v, v) / 2, symmetry.xi) - Inner(v, gradient(zero, q))
        )
        for q, v in g.items()
    }


def form(symmetry: Symmetry, at: dict[Any, Any]) -> Any:
    """<v, A v>."""
    turned = linear_part(symmetry, at)
    return sp.Add(*(Inner(v, turned[q]) for q, v in at.items()))


def step_of_charge(symmetry: Symmetry, loss: Loss) -> Any:
    """By how much a step of descent moves <q, A q>, less eta^2 <g, A g>."""
    g = {q: loss.gradient(q) for q in symmetry.blocks}
    after = form(symmetry, {q: q - learning_rate * v for q, v in g.items()})
    before = form(symmetry, {q: q for q in g})
    return sp.expand(after - before - learning_rate**2 * form(symmetry, g))


def orbit_claims() -> Iterator[Claim]:
    """What gradients do along an orbit, and what a step does to it."""
    rescale = Rescale("a", "b")
    for name, symmetry in (
        ("rescale", rescale),
        ("GL(h)", GeneralLinear("a", "b", EVEN)),
    ):
        free = Loss("f", symmetry.blocks)
        g = {q: free.gradient(q) for q in symmetry.blocks}
        total = sp.Add(*slopes(symmetry).values()) + form(symmetry, g)
        what = f"{name}: d/ds |grad f|^2/2 + <g, A g> along the orbit"
        yield identity(what, sp.expand(total))
    for matrix, control in ((ODD, False), (EVEN, True)):
        symmetry = GeneralLinear("a", "b", matrix)
        g = {q: symmetry.loss.gradient(q) for q in symmetry.blocks}
        kind = "symmetric" if control else "antisymmetric"
        what = f"GL(h), A {kind}: <g, A g>"
        yield identity(what, sp.expand(form(symmetry, g)), control=control)
    for loss, said in ((rescale.loss, ""), (Loss("f", rescale.blocks), ", f any")):
        what = f"rescale: step of <q, A q> - eta^2 <g, A g>{said}"
        yield identity(what, step_of_charge(rescale, loss), control=bool(said))
    yield from least_claims(rescale)


def least_claims(rescale: Symmetry) -> Iterator[Claim]:
    """|grad f|^2 on the orbit of a rescaling, from its slopes at every point."""
    free = Loss("f", rescale.blocks)
    rates = []
    for q, slope in slopes(rescale).items():
        g = free.gradient(q)
        rates.append(slope.coeff(Inner(g, g)))
        what = f"rescale: d/ds |g_{q}|^2/2, a multiple of |g_{q}|^2"
        yield identity(what, sp.expand(slope - rates[-1] * Inner(g, g)))
    s = sp.Symbol("s", real=True)
    starts = sp.symbols("P R", positive=True)
    square = sp.Add(
        *(p * sp.exp(2 * r * s) for p, r in zip(starts, rates, strict=True))
    )
    convex = square.diff(s, 2) - 4 * square
    yield identity("y = |grad f|^2: y'' - 4 y, so that it has no maximum", convex)
    there = sp.log(starts[0] / starts[1]) / 4
    yield identity("y' at e^(4 s) = |g_a|^2/|g_b|^2", square.diff(s).subs(s, there))
    least = square.subs(s, there) - 2 * sp.sqrt(starts[0] * starts[1])
    yield identity("its minimum - 2 |g_a| |g_b|", least)


def quadratic_claims() -> Iterator[Claim]:
    """f = (h x^2 + k y^2)/2 with k the larger, along its level set."""
    x, y = sp.symbols("x y", real=True)
    h, k, eta = sp.symbols("h k eta", positive=True)
    f = (h * x**2 + k * y**2) / 2
    square = f.diff(x) ** 2 + f.diff(y) ** 2
    around = {x: -sp.sqrt(k / h) * y, y: sp.sqrt(h / k) * x}
    yield identity("quadratic: f along its rotation", variation(f, around))
    turning = variation(square, around) - 2 * (k - h) * sp.sqrt(h * k) * x * y
    yield identity("|grad f|^2 along it - 2 (k-h) sqrt(hk) x y", turning)
    lost = 2 * k * f - square - h * (k - h) * x**2
    yield identity("2 k f - |grad f|^2 - h (k-h) x^2", lost)
    falling = variation(f, {x: -f.diff(x), y: -f.diff(y)}) + 2 * k * f
    yield identity("f' + 2 k f along the flow, where x = 0", falling.subs(x, 0))
    yield identity("f' + 2 k f along the flow, anywhere", falling, control=True)
    step = f.subs({x: (1 - eta * h) * x, y: (1 - eta * k) * y}, simultaneous=True)
    after = (step - (1 - eta * k) ** 2 * f).subs(x, 0)
    yield identity("a step of descent - (1 - eta k)^2 f, where x = 0", after)
