"""The hidden units of a ReLU network on digits, each moved along its own orbit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lagrangian.theorems.conservation.teleported_networks import SIZES, Teleported
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Panel,
    below,
    close,
    equal,
    order,
)


def squares(found: Teleported, w: Any) -> tuple[np.ndarray, np.ndarray]:
    """|g_a|^2 and |g_b|^2 of each hidden unit."""
    g = found.slope(w)
    inward = (g["first"] ** 2).sum(axis=0) + g["bias"] ** 2
    return inward, (g["second"] ** 2).sum(axis=1)


def charges(w: Any) -> np.ndarray:
    """|a|^2 - |b|^2 of each hidden unit."""
    inward = (w["first"] ** 2).sum(axis=0) + w["bias"] ** 2
    return inward - (w["second"] ** 2).sum(axis=1)


def rescale_claims(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """A ReLU network on digits, each unit moved by itself."""
    found, name = Teleported("ReLU", seed), "digits, ReLU"
    inward, outward = squares(found, found.start)
    s = np.random.default_rng([seed, 4]).normal(size=SIZES[1])
    moved = found.at(s)
    for kind in ("ReLU", "tanh"):
        other = Teleported(kind, seed)
        change = other.value(other.at(s)) / other.value(other.start) - 1
        what = f"digits, {kind}: change of the loss along the orbit"
        yield below(what, change, 1e-13, control=kind == "tanh")
    predicted = np.exp(-2 * s) * inward + np.exp(2 * s) * outward
    measured = np.add(*squares(found, moved))
    turned = np.exp(2 * s) * inward + np.exp(-2 * s) * outward
    for right, said in ((predicted, ""), (turned, ", with -s")):
        worst = np.abs(measured / right - 1).max()
        what = f"{name}: relative error of |grad f|^2 of each unit{said}"
        yield below(what, worst, 1e-12, control=bool(said))
    a = (found.start["first"] ** 2).sum(axis=0) + found.start["bias"] ** 2
    b = a - charges(found.start)
    worst = np.abs(charges(moved) - np.exp(2 * s) * a + np.exp(-2 * s) * b).max()
    yield below(f"{name}: error of the charge of each unit", worst / a.max(), 1e-12)
    far = found.square(found.at(6.0)) / (np.exp(12) * outward.sum())
    yield close(f"{name}: |grad f|^2 at s = 6 over e^12 |g_b|^2", 1.0, far, 1e-2)
    yield from _least_claims(found, name)
    if not quick:
        yield from _step_claims(found, name)
    yield _orbit_panel(found)


def _least_claims(found: Teleported, name: str) -> Iterator[Claim]:
    """Where |grad f|^2 is least, by the root of its derivative."""

    def rising(model: Any) -> Any:
        g = jax.grad(found.loss)(model)
        inward = (g["first"] ** 2).sum(axis=0) + g["bias"] ** 2
        return (g["second"] ** 2).sum(axis=1) - inward

    inward, outward = squares(found, found.start)
    s = found.orbit.root(rising, between=(-20, 20))
    worst = np.abs(s - np.log(inward / outward) / 4).max()
    yield below(f"{name}: s of the least |grad f|^2, - ln(P/R)/4", worst, 1e-12)
    least = np.add(*squares(found, found.at(s)))
    worst = np.abs(least / (2 * np.sqrt(inward * outward)) - 1).max()
    yield below(f"{name}: least |grad f|^2 over 2 |g_a| |g_b|, less 1", worst, 1e-12)


def _step_claims(found: Teleported, name: str) -> Iterator[Claim]:
    """One step of descent: what it gains, and that it goes back along the orbit."""
    inward, outward = squares(found, found.start)
    up = 0.5 * np.sign(outward - inward)
    higher = found.at(up)
    gain, sharpness = found.square(higher), found.stiffest(higher)[0]
    rates, missed = np.array([0.04, 0.02, 0.01]) / sharpness, []
    for rate in rates:
        lost = found.value(higher) - found.value(found.descend(higher, rate, 1))
        missed.append(abs(1 - lost / (rate * gain)))
    what = f"{name}: 1 - what a step gains over eta |grad f|^2"
    yield order(what, 1, rates, missed)
    rate = float(rates[0])
    ends = [
        found.value(found.descend(w, rate, 1)) for w in (higher, found.start)
    ]  # fmt: skip
    what = f"{name}: loss after a step, moved uphill and not"
    yield Claim(what, "moved < not", ends[0] - ends[1], "below 0", ends[0] < ends[1])
    after = charges(found.descend(higher, rate, 1)) - charges(higher)
    p, r = squares(found, higher)
    worst = np.abs(after - rate**2 * (p - r)).max() / np.abs(rate**2 * (p - r)).max()
    yield below(f"{name}: that step of the charges - eta^2 <g, A g>", worst, 1e-6)
    back = int((np.sign(after) == -np.sign(up)).sum())
    what = f"{name}: units whose charge the step takes back"
    yield equal(what, SIZES[1], back)


def _orbit_panel(found: Teleported) -> Panel:
    inward, outward = squares(found, found.start)
    line, points = np.linspace(-2, 2, 101), np.linspace(-2, 2, 17)
    curves = []
    measured = [np.add(*squares(found, found.at(s))) for s in points]
    for unit in np.argsort(inward / outward)[[0, SIZES[1] // 2, -1]]:
        y = np.exp(-2 * line) * inward[unit] + np.exp(2 * line) * outward[unit]
        curves.append(Curve("predicted", line, y, "predicted"))
        seen = np.array([m[unit] for m in measured])
        curves.append(Curve(f"unit {unit}", points, seen, "points"))
    title = "the gradient of three units along the orbit"
    return Panel(title, "s", "|grad f|^2", tuple(curves), ylog=True)
