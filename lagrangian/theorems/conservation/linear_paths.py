"""The loss on the line between two ReLU networks, exactly, for every order of units."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import jax
import numpy as np

from lagrangian.learning.discover.discovery import discover
from lagrangian.learning.linear_path import linear_path
from lagrangian.learning.orbit import Orbit
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.training.train import train
from lagrangian.symbolic.algebra.symmetry import Scale
from lagrangian.theorems.conservation.line_identities import line_identities
from lagrangian.theorems.conservation.line_runs import (
    Halfway,
    accuracy,
    data,
    loss,
    outputs,
    predicted,
    trained,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
)

POINTS, EXACT = 21, 1e-14
PAIRS = {
    "cue, image": (("cue", 0), ("image", 0)),
    "image, image": (("image", 0), ("image", 1)),
    "cue, cue": (("cue", 0), ("cue", 1)),
}


def _pairs(seed: int, quick: bool) -> dict[str, list[np.ndarray]]:
    names = list(PAIRS)[: 2 if quick else 3]
    return {name: [trained(seed, *which) for which in PAIRS[name]] for name in names}


def _mechanisms(seed: int) -> Iterator[Claim]:
    """What each network reads: right where the other thing is shuffled, or not."""
    for keep, other in (("cue", "image"), ("image", "cue")):
        w = trained(seed, keep, 0)
        kept, gone = (accuracy(w, data(seed, name)) for name in (keep, other))
        what = f"digits, network of the {keep}: right with only that, less without it"
        yield Claim(what, "> 0.1", kept - gone, "above 0.1", kept - gone > 0.1)


def _exact(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    batch, curves, off = data(seed), [], []
    for name, (w, v) in _pairs(seed, quick).items():
        path = linear_path(w, v, loss, batch, points=POINTS)
        told = np.array([predicted(w, v, batch, t) for t in path.t])
        off.append(np.abs(told - path.losses).max())
        curves.append(Curve(name, path.t, path.losses, "points"))
        curves.append(Curve(f"{name}, predicted", path.t, told, "predicted"))
    what = f"digits, {len(off)} lines of {POINTS} points: loss, less predicted"
    yield below(what, max(off), EXACT)
    signs = np.where(np.arange(len(w)) % 2, 1.0, -1.0)

    def signed(w: Any, batch: Any) -> Any:
        return ((outputs(w, batch[0], signs) - batch[1]) ** 2).mean() / 2

    path = linear_path(w, v, signed, batch, points=POINTS)
    what = "the same formula where readouts have both signs"
    worst = np.abs(told - path.losses).max()
    yield below(what, worst, EXACT, control=True)
    yield Panel("the loss between two networks", "t", "loss", tuple(curves))
    yield from _same_patterns(seed, batch)


def _same_patterns(seed: int, batch: tuple) -> Iterator[Claim]:
    """Where no unit changes its activity, f is linear on the line."""
    w = trained(seed, "image", 0)
    chance = np.random.default_rng([seed, 3]).normal(size=w.shape)
    inputs = batch[0] @ w.T
    reach = np.abs(inputs).min() / np.abs(batch[0] @ chance.T).max() / 2
    ends = (w, w + reach * chance), (w, trained(seed, "image", 1))
    for (first, second), control in zip(ends, (False, True), strict=True):
        points = (first, (first + second) / 2, second)
        f = [np.maximum(batch[0] @ q.T, 0).mean(axis=1) for q in points]
        off = np.abs(f[1] - (f[0] + f[2]) / 2).max()
        what = "two networks of the same activities: f halfway, less the mean"
        what = "the same of other activities" if control else what
        yield below(what, off, EXACT, control=control)


# ------------------------------------------------------------------ every order


def _certificates(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    batch, rows = data(seed), []
    for name, (w, v) in _pairs(seed, quick).items():
        halfway = Halfway(w, v, batch)
        bound, found, order = halfway.certified()
        path = linear_path(w, v[order], loss, batch, points=3)
        what = f"{name}: the loss halfway after the best order found, less certified"
        gap = float(path.losses[1]) - bound
        yield Claim(what, ">= 0", gap, "not below 0", gap >= -1e-15)
        chance = np.random.default_rng([seed, 4])
        orders = [chance.permutation(len(w)) for _ in range(300)]
        least = min(halfway.value(o) for o in orders)
        what = f"{name}: of 300 random orders the least loss, less certified"
        yield Claim(what, ">= 0", least - bound, "not below 0", least >= bound)
        one = halfway.by_one_number()
        what = f"{name}: certified, less what one number for c certifies"
        yield Claim(what, ">= 0", bound - one, "not below 0", bound >= one - 1e-12)
        rows.append((bound, found, halfway.value(np.arange(len(w)))))
        what = f"{name}: the loss as the units are, as a bound for every order"
        holds = found >= rows[-1][2]
        yield Claim(what, ">= 0", found - rows[-1][2], "not below 0", holds, True)
    yield from _every_order(seed)
    labels = ("certified", "best order found", "as the units are")
    x = np.arange(len(rows), dtype=float)
    styles = ("predicted", "measured", "control")
    curves = tuple(
        Curve(label, x, np.array(column), style)
        for label, column, style in zip(
            labels, zip(*rows, strict=True), styles, strict=True
        )
    )
    title = "loss halfway: " + "; ".join(list(PAIRS)[: len(rows)])
    yield Panel(title, "pair", "loss", curves, ylog=True)


def _every_order(seed: int) -> Iterator[Claim]:
    """Six units of each network, in all 720 orders."""
    w, v = (trained(seed, *which)[:6] for which in PAIRS["image, image"])
    halfway = Halfway(w, v, data(seed))
    bound = halfway.certified()[0]
    values = [halfway.value(np.array(order)) for order in permutations(range(6))]
    what = "six units: the least loss of all 720 orders, less certified"
    gap = min(values) - bound
    yield Claim(what, ">= 0", gap, "not below 0", gap >= -1e-15)


# ------------------------------------------------------------------ orbits


def _two_layers(model: Any, batch: Any) -> Any:
    hidden = jax.nn.relu(batch[0] @ model["first"])
    return ((hidden @ model["second"] - batch[1]) ** 2).mean()


def _orbits(seed: int) -> Iterator[Claim | Panel]:
    """A trained network, and what a rescaling that was found makes of it."""
    inputs, targets = batch = data(seed)
    normal = np.random.default_rng([seed, 5]).normal
    start = {"first": normal(size=(66, 12)) / 4, "second": normal(size=12) / 4}
    run = train(start, _two_layers, batch, HeavyBall(0.2, 0.9), steps=300, seed=seed)
    model = {name: np.asarray(array, float) for name, array in run.model.items()}
    found = discover(model, _two_layers, batch, seed=seed)
    whole = Orbit(found[0], model)
    away = np.linspace(-1.5, 1.5, POINTS)
    with jax.enable_x64(True):
        value = float(_two_layers(model, batch))
        along = [abs(_two_layers(whole(s), batch) / value - 1) for s in away]
        scaled = Orbit(Scale("first"), model)
        off = abs(_two_layers(scaled(0.5), batch) / value - 1)
    what = "digits: change of the loss along the orbit of a rescaling"
    yield below(what, float(max(along)), 1e-13)
    what = "the same of a scale of one layer, which is no symmetry"
    yield below(what, float(off), 1e-13, control=True)
    path = linear_path(model, whole(1.5), _two_layers, batch, points=POINTS)
    terms = np.maximum(inputs @ model["first"], 0) @ model["second"]
    ratio = 2 * np.cosh(1.5) - 2
    told = np.array(
        [(((1 + t * (1 - t) * ratio) * terms - targets) ** 2).mean() for t in path.t]
    )
    what = "digits: the loss on the chord of the orbit, less predicted"
    yield below(what, np.abs(path.losses - told).max() / value, 1e-12)
    yield below("the same as if it were flat", path.barrier, 1e-12, control=True)
    flat = np.full(POINTS, value)
    curves = (
        Curve("chord", path.t, path.losses, "points"),
        Curve("predicted", path.t, told, "predicted"),
        Curve("orbit", path.t, flat),
    )
    yield Panel("one function, two points of its orbit", "t", "loss", curves)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving what a unit loses on a line.")
    found: list[Claim | Panel] = [*line_identities()]
    setting.report("Training networks that read a cue, or the digit.")
    found += [*_mechanisms(seed), *_exact(seed, quick)]
    setting.report("Certifying the loss halfway for every order of the units.")
    found += _certificates(seed, quick)
    setting.report("Following orbits, and their chords.")
    found += _orbits(seed)
    return Evidence.of(DERIVATION, found)


DERIVATION = (
    r"f_t=(1-t)f_0+tf_1-D_t,\qquad D_t=\frac1N\sum_{i:\,a_ib_i<0}"
    r"\min\left((1-t)|a_i|,\,t|b_i|\right)\ge0",
    r"L_\pi\left(\tfrac12\right)\ge\min_\pi\left\langle c\,(D_\pi-\bar e)"
    r"\right\rangle-\tfrac12\left\langle c^2\right\rangle\quad\text{for every }c(x)",
    r"\left(1-t+tA^{-1}\right)\left(1-t+tA\right)=1+t(1-t)\left(A+A^{-1}-2\right)",
)

THEOREM = Theorem(
    name="linear-paths",
    title="The loss between two ReLU networks, exactly, and under every permutation",
    statement=r"""For $f=\frac1N\sum_i\mathrm{relu}(w_i\cdot x)$ and two sets of
weights, $a_i=w_i\cdot x$, $b_i=w_i'\cdot x$, the outputs on the line between them are
$$f_t=(1-t)f_0+tf_1-D_t,\qquad D_t=\frac1N\sum_{a_ib_i<0}\min((1-t)|a_i|,t|b_i|)\ge0.$$

- The squared error on the line is $\frac12\langle((1-t)e_0+te_1-D_t)^2\rangle$, with
  the errors $e$ of the ends. Between ends without error it is zero if and only if no
  unit is on for an example at one end and off at the other (the paper's Lemma 2, both
  ways; to be on at one end and at the edge at the other does not matter).
- Halfway $D=\sum_id_{i\pi(i)}$ for an order $\pi$ of the second's units. For any
  function $c$ of the examples $\frac12z^2\ge cz-\frac12c^2$, and the least of the
  right-hand side, linear in the matrix of $\pi$, is an assignment: a bound from below
  for all $N!$ orders. With the same $c$ for all examples and ends without error it is
  $\frac12m^2$, $m=\min_\pi\langle D\rangle$; Frank and Wolfe's steps find a better $c$,
  and orders whose loss is hardly above the bound.
- Of one unit with free readouts that is active at both ends, $f_t$ misses the mix by
  $-t(1-t)(v-v')(a-b)$: equal activities alone do not make a line flat.
- Two points of the orbit of a rescaling are the same function, and the output of a unit
  on their chord is $v\,\mathrm{relu}(w\cdot x)\,[1+t(1-t)(c+1/c-2)]$: a barrier between
  networks with the same mechanism. Likewise $V[1+t(1-t)(A+A^{-1}-2)]W$ for $GL$.

The paper conjectures that minima without a linear path up to symmetry differ in
mechanism, and its experiments match permutations. Read so it is too strong, by the last
point: all symmetries have to be divided out. That networks which differ in mechanism
have barriers, its main finding on deep networks, is not tried here.""",
    source="Lubana, Bigelow, Dick, Krueger & Tanaka, Mechanistic mode connectivity "
    "(2023), for Lemma 2 and the conjecture; the loss on the line, the certificate and "
    "the chords are derived here.",
    prove=_prove,
    has_quick=True,
)
