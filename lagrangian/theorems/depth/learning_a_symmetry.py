"""What a kernel, or a network near its start, learns of a symmetry in its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.theorems.depth.orbit_kernels import (
    circles,
    closed,
    cyclic,
    digits,
    dihedral,
    direct,
    gaussian,
    interleaved,
    labels,
    rolls,
    square,
    tangent,
    two_orbits,
)
from lagrangian.theorems.depth.orbit_networks import kernel, left_out_error, start
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
    order,
)

SIZES = np.array([0.03, 0.01, 0.003])
FILTERS, STEPS = 64, 5000


# ------------------------------------------------------------------ identities


def _identities() -> Iterator[Claim]:
    entries = sp.symbols("k0:6", real=True)
    gram = sp.Matrix(3, 3, lambda i, j: entries[i + j if min(i, j) == 0 else i + j + 1])
    y = sp.Matrix(sp.symbols("y0:3", real=True))
    rest = gram[1:, 1:]
    left = y[0] - (gram[0, 1:] * rest.inv() * y[1:, :])[0]
    inverse = gram.inv()
    short = (inverse * y)[0] / inverse[0, 0]
    yield identity("left out: y - yhat, less [K^-1 y]_i/[K^-1]_ii, 3 x 3", left - short)
    yield identity("the same without [K^-1]_ii", left - (inverse * y)[0], control=True)
    for points in (2, 3):
        yield from _circulant(points)
    yield from _two_orbits()


def _circulant(points: int) -> Iterator[Claim]:
    size = 2 * points
    entries = sp.symbols(f"k0:{points + 1}", real=True)
    gram = sp.Matrix(
        size, size, lambda i, j: entries[min((i - j) % size, (j - i) % size)]
    )
    inverse = gram.inv()
    y = sp.Matrix([(-1) ** i for i in range(size)])
    values = [
        sum(gram[0, j] * sp.cos(2 * sp.pi * j * k / size) for j in range(size))
        for k in range(size)
    ]
    mean = sp.Add(*(1 / value for value in values)) / size
    found = (inverse * y)[0] / inverse[0, 0]
    what = f"orbits of {points} in turns: error, less lambda_N^-1/<lambda^-1>"
    yield identity(what, sp.cancel(found - 1 / values[points] / mean))


def _two_orbits() -> Iterator[Claim]:
    """Of three elements: K times what is said to be K^-1 e_0 and K^-1 y."""
    a, b, c = (sp.symbols(f"{name}0:3", real=True) for name in "abc")
    a, b = (a[0], a[1], a[1]), (b[0], b[1], b[1])
    block = lambda row: sp.Matrix(3, 3, lambda i, j: row[(j - i) % 3])
    gram = block(a).row_join(block(c)).col_join(block(c).T.row_join(block(b)))
    a0, b0, c0 = sum(a), sum(b), sum(c)
    apart = a0 * b0 - c0**2
    flat = sp.Matrix([(b0 + c0) / apart] * 3 + [-(a0 + c0) / apart] * 3)
    y = sp.Matrix([1, 1, 1, -1, -1, -1])
    left = (gram * flat - y).applyfunc(sp.cancel)
    yield identity("two orbits of C3: K^-1 y by the row sums", sum(e**2 for e in left))
    # The inverse's own corner: 1/|G| the sum of b_k/(a_k b_k - |c_k|^2).
    a1, b1 = a[0] - a[1], b[0] - b[1]
    c1 = sum(x**2 for x in c) - c[0] * c[1] - c[1] * c[2] - c[0] * c[2]
    corner = (b0 / apart + 2 * b1 / (a1 * b1 - c1)) / 3
    minor = gram[1:, 1:].det(method="berkowitz")
    whole = apart * (a1 * b1 - c1) ** 2
    what = "two orbits of C3: [K^-1]_00, less mean of b_k/(a_k b_k - |c_k|^2)"
    yield identity(what, sp.expand(minor - sp.cancel(corner * whole)))


# ------------------------------------------------------------------ kernels


def _kernels(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    images, generator = digits(), np.random.default_rng(seed)
    groups: dict[str, tuple[Any, Any]] = {
        f"C{n}": (rolls(n), cyclic(n)) for n in (2, 4, 8)
    }
    groups["D4"] = square(), dihedral()
    count = 10 if quick else 40
    pairs = generator.permutation(len(images))[: 2 * count].reshape(-1, 2)
    told: dict[str, list[float]] = {name: [] for name in groups}
    found: dict[str, list[float]] = {name: [] for name in groups}
    paper: dict[str, list[float]] = {name: [] for name in groups}
    for name, (group, representations) in groups.items():
        worst, y = 0.0, labels(len(group))
        for i, j in pairs:
            gram = tangent(two_orbits(images[i], images[j], group.permutations))
            both, each = closed(gram, representations), direct(gram, y)
            worst = max(worst, np.abs(each - np.repeat(both, len(group))).max())
            told[name].append(both[0])
            found[name].append(each[0])
            paper[name].append(interleaved(gram))
        what = f"digits, {count} pairs, {name}: left out one after the other"
        yield below(f"{what}, less the closed form", worst, 1e-10)
    for name in ("C2", "C4", "C8"):
        ratio = np.array(paper[name]) / np.array(found[name]) - 1
        what = f"digits, {name}: the formula for turns, on the averaged kernel, rms"
        yield below(what, float(np.sqrt(np.mean(ratio**2))), 0.01, control=True)
    many, few = (float(np.mean(found[name])) for name in ("C8", "C4"))
    what = f"digits: mean error of C8, less than that of C4, {few:.3g}"
    yield Claim(what, "less", many, f"< {few:.3g}", many < few)
    yield from _broken(images, generator)
    yield from _circles()
    x = np.concatenate([told[name] for name in groups])
    at = np.concatenate([found[name] for name in groups])
    ends = np.array([x.min(), x.max()])
    spectral = np.concatenate([paper[name] for name in ("C2", "C4", "C8")])
    measured = np.concatenate([found[name] for name in ("C2", "C4", "C8")])
    curves = (
        Curve("left out", x, at, "points"),
        Curve("closed form", ends, ends, "predicted"),
        Curve(
            "averaged kernel",
            np.sort(spectral),
            measured[np.argsort(spectral)],
            "control",
        ),
    )
    title = "errors on orbits of digits: C2, C4, C8, D4"
    yield Panel(title, "predicted", "|y - yhat|", curves)


def _broken(images: np.ndarray, generator: np.random.Generator) -> Iterator[Claim]:
    shuffles = np.stack([np.arange(64), *(generator.permutation(64) for _ in range(7))])
    y = labels(8)
    mixed = y.copy()
    mixed[[1, 10]] *= -1
    right = tangent(two_orbits(images[0], images[1], rolls(8).permutations))
    cases = {
        "pixels shuffled at random": (
            tangent(two_orbits(images[0], images[1], shuffles)),
            y,
        ),
        "labels not constant on an orbit": (right, mixed),
    }
    for what, (gram, signs) in cases.items():
        gap = direct(gram, signs)[0] - closed(gram, cyclic(8))[0]
        yield below(f"digits, {what}: less the closed form", gap, 1e-3, control=True)


def _circles() -> Iterator[Claim | Panel]:
    """The paper's case: two circles, whose points come in turns."""
    sizes = np.array([4, 6, 8, 10, 12, 16])
    grams = [gaussian(circles(n), 1.4**2) for n in sizes]
    told = np.array([interleaved(gram) for gram in grams])
    found = np.array(
        [direct(g, labels(n))[0] for g, n in zip(grams, sizes, strict=True)]
    )
    what = "two circles in turns: left out, less lambda_N^-1/<lambda^-1>"
    yield below(what, np.abs(found - told).max(), 1e-10)
    what = "two circles, 8 points each: the error"
    yield close(what, 0.539970, found[2], 1e-5)
    curves = (
        Curve("left out", sizes, found, "points"),
        Curve("spectral", sizes, told, "predicted"),
    )
    yield Panel("two circles", "points on each", "|y - yhat|", curves, ylog=True)


# ------------------------------------------------------------------ networks


def _networks(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    images, group, y = digits(), rolls(8), labels(8)
    points = two_orbits(images[0], images[1], group.permutations)
    tied, free = (start(seed, group, FILTERS, tied=t) for t in (True, False))
    grams = kernel(tied, points), kernel(free, points)
    for gram, control in zip(grams, (False, True), strict=True):
        both = np.repeat(closed(gram, cyclic(8)), 8)
        what = "512 tanh units, tangent kernel: left out, less the closed form"
        what = "the same of units that are not in orbits" if control else what
        worst = np.abs(direct(gram, y) - both).max()
        yield below(what, worst, 1e-10, control=control)
    told = closed(grams[0], cyclic(8))[0]
    sizes = SIZES[1:] if quick else SIZES
    runs = [left_out_error(tied, points, y, float(s), STEPS) for s in sizes]
    what = "trained on all but one: largest residual, of the label's size"
    yield below(what, max(rest for _, rest in runs), 1e-4)
    found = np.array([error for error, _ in runs])
    yield close(
        f"the same: error for labels of size {sizes[-1]:g}", told, found[-1], 5e-3
    )
    gaps = np.abs(found - told)
    if not quick:
        yield order(
            "the same: less the closed form, in the size of labels", 1, sizes, gaps
        )
    curves = (
        Curve("trained", sizes, gaps, "points"),
        Curve("first order", sizes, gaps[-1] * sizes / sizes[-1], "predicted"),
    )
    title = "trained networks, less the closed form"
    yield Panel(title, "size of the labels", "", curves, xlog=True, ylog=True)


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Inverting kernels in symbols.")
    found: list[Claim | Panel] = list(_identities())
    setting.report("Leaving digits out.")
    found += _kernels(seed, quick)
    setting.report("Training networks.")
    found += _networks(seed, quick)
    return Evidence.of(_DERIVATION, found)


_DERIVATION = (
    r"y_i - \hat y_i = [K^{-1}y]_i / [K^{-1}]_{ii}",
    r"K^{-1}y = \left(\frac{b_0+c_0}{a_0b_0-c_0^2}\,\mathbf 1_A,\; "
    r"-\frac{a_0+c_0}{a_0b_0-c_0^2}\,\mathbf 1_B\right)",
)

THEOREM = Theorem(
    name="learning-a-symmetry",
    title="What a kernel learns of a symmetry: the error on an orbit, in closed form",
    statement=r"""Two orbits $A$, $B$ of a finite group $G$, on which it acts freely,
have labels $+1$ and $-1$, and all points but one are learned by a kernel that does not
change under $G$. Let $a_0$, $b_0$, $c_0$ be the row sums of $K_{AA}$, $K_{BB}$,
$K_{AB}$, and $\hat a_\rho$, $\hat b_\rho$, $\hat c_\rho$ the Fourier transforms of
their first rows over the irreducible representations $\rho$ of $G$. The point that is
left out is missed by
$$\epsilon_A = \frac{b_0+c_0}{a_0b_0-c_0^2}\Big/\frac1{|G|}\sum_\rho d_\rho\,
\mathrm{tr}\,(\hat a_\rho - \hat c_\rho^\dagger\hat b_\rho^{-1}\hat c_\rho)^{-1},$$
on $B$ with $A$ and $B$ exchanged; it has the right sign exactly if $\epsilon<1$.

- If both orbits together are one orbit of $C_{2N}$, their points in turns, this is the
  paper's $\lambda_N^{-1}/\langle\lambda^{-1}\rangle$. For other data the paper averages
  the kernel along its diagonals until it is circulant, which changes the error of
  pairs of digits by tens of per cent; no averaging is needed, and no cyclic group.
- A network whose units come in orbits, with the same bias and $|v|$, has an invariant
  tangent kernel at any width. Trained to convergence on labels of size $s$, it misses
  the point that is left out by $s\,(\epsilon + O(s))$.

The paper concludes that networks have no mechanism to learn a symmetry that is not
built in. That is so of kernels; labels of size one lead away from the kernel of the
start, and there this theorem says nothing.""",
    source="Perin & Deny, On the ability of deep networks to learn symmetries from "
    "data (2024), for orbits in turns; the form for two orbits of any finite group is "
    "derived here.",
    prove=_prove,
    has_quick=True,
)
