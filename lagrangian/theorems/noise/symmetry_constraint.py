"""Mirrors of a network: planes that training never leaves, and what keeps them.

`mirrors` has the identities; `lg.Reflection` and `lg.Permutation` the symmetries.
Networks are trained on the digits by minibatches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.learning.rules.adaptive import Adam, Lion, RMSProp
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.unit_symmetry import Permutation, Reflection, UnitSymmetry
from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.theorems.noise.mirrors import identities
from lagrangian.theorems.noise.sampled import drawn, trained
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    close,
    equal,
    order,
)

Weights = Mapping[str, Any]

UNITS, BATCH = 8, 64
#: What a hidden unit has: what comes in, its bias, what goes out.
HIDDEN = (
    Block("first", unit_axis=-1),
    Block("bias", unit_axis=-1),
    Block("second", unit_axis=0),
)
PAIRS = Permutation([1, 0, 3, 2, 5, 4, 7, 6], *HIDDEN)
FIRST_UNIT = Reflection(np.eye(UNITS)[0], *HIDDEN)

RULES: dict[str, Rule] = {
    "gradient descent": HeavyBall(0.2),
    "heavy ball": HeavyBall(0.05, 0.9, 1e-4),
    "Adam": Adam(1e-3),
    "AdamW": Adam(1e-3, weight_decay=0.1),
    "Lion": Lion(1e-4, weight_decay=0.1),
}
ADAPTIVE: dict[str, Rule] = {
    "Adam": Adam(1e-2),
    "RMSProp": RMSProp(1e-2),
    "Lion": Lion(1e-2),
}


def cross_entropy(says: Any, labels: Any) -> Any:
    found = jax.nn.log_softmax(says)
    return -jnp.take_along_axis(found, labels[:, None], axis=1).mean()


def tanh_loss(w: Weights, batch: Any) -> Any:
    """One hidden layer of tanh units."""
    images, labels = batch
    hidden = jnp.tanh(images @ w["first"] + w["bias"])
    return cross_entropy(hidden @ w["second"] + w["last"], labels)


def uneven_loss(w: Weights, batch: Any) -> Any:
    """For controls: a little square on the first unit alone."""
    images, labels = batch
    before = images @ w["first"] + w["bias"]
    hidden = jnp.tanh(before).at[:, 0].add(0.01 * before[:, 0] ** 2)
    return cross_entropy(hidden @ w["second"] + w["last"], labels)


def linear_loss(w: Weights, batch: Any) -> Any:
    """Two linear layers."""
    images, labels = batch
    return cross_entropy(images @ w["first"] @ w["second"], labels)


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    (images, labels), _ = load_digits(seed)
    return images.reshape(len(images), -1).astype(float), np.asarray(labels)


def start(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "first": generator.normal(size=(64, UNITS)) / 8,
        "bias": 0.1 * generator.normal(size=UNITS),
        "second": generator.normal(size=(UNITS, 10)) / 3,
        "last": np.zeros(10),
    }


def _run(
    weights: Weights,
    rule: Rule,
    seed: int,
    steps: int,
    symmetry: UnitSymmetry,
    loss: Any = tanh_loss,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The end, and the distance from the plane after every step."""
    data = digits(seed)
    rows = drawn(len(data[0]), BATCH, steps, seed)
    return trained(weights, loss, data, rule.optax(), rows, watch=symmetry.distance)


def fixed(symmetry: UnitSymmetry, weights: Weights) -> dict[str, np.ndarray]:
    """The nearest network on the plane, in float64."""
    with jax.enable_x64(True):
        return {k: np.asarray(v) for k, v in symmetry.fixed(dict(weights)).items()}


# ------------------------------------------------------------------ planes


def _planes(seed: int, quick: bool) -> Iterator[Claim]:
    """Equal pairs and dead units stay so, exactly, by every rule."""
    steps = 200 if quick else 1000
    names = ("Adam",) if quick else tuple(RULES)
    planes = {"equal pairs": PAIRS, "a dead unit": FIRST_UNIT}
    for called, symmetry in list(planes.items())[: 1 if quick else 2]:
        began = fixed(symmetry, start(seed))
        for name in names:
            _, distance = _run(began, RULES[name], seed, steps, symmetry)
            what = f"{called}, {name}, {steps} steps: distance from the plane"
            yield below(what, distance.max(), 0.0)
            commutes = symmetry.commutes_with(RULES[name], began)
            yield equal(f"{called}: {name} commutes", 1, int(commutes))
    rule = RULES["gradient descent"]
    began = fixed(PAIRS, start(seed))
    _, distance = _run(began, rule, seed, steps, PAIRS, uneven_loss)
    what = "equal pairs, a little square on one unit: distance"
    yield below(what, distance.max(), 1e-12, control=True)
    if quick:
        return
    apart = began | {"bias": began["bias"] + 1e-3 * np.eye(UNITS)[0]}
    _, distance = _run(apart, rule, seed, steps, PAIRS)
    yield below("pairs that differ by 1e-3: distance", distance[-1], 1e-6, control=True)
    shift = {k: 0.01 * v for k, v in start(seed + 100).items()}

    def moved_loss(w: Weights, batch: Any) -> Any:
        return tanh_loss({k: w[k] + shift[k] for k in w}, batch)

    _, distance = _run(began, rule, seed, 10, PAIRS, moved_loss)
    what = "equal pairs, loss at weights + random shift: distance after 10 steps"
    yield below(what, distance[-1], 1e-12, control=True)


def _rotations(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Mirrors of a linear layer: which rules keep the plane."""
    generator = np.random.default_rng(seed)
    units, steps = 4, 300
    blocks = Block("first", unit_axis=-1), Block("second", unit_axis=0)
    mirrors = {
        "any mirror": Reflection(generator.normal(size=units), *blocks),
        "axis mirror": Reflection(np.eye(units)[0], *blocks),
    }
    weights = {
        "first": generator.normal(size=(64, units)) / 8,
        "second": generator.normal(size=(units, 10)) / 2,
    }
    rules = {"gradient descent": HeavyBall(0.1), **ADAPTIVE}
    if quick:
        rules = {name: rules[name] for name in ("gradient descent", "Adam")}
        del mirrors["axis mirror"]
    curves = []
    for called, mirror in mirrors.items():
        began = fixed(mirror, weights)
        for name, rule in rules.items():
            _, distance = _run(began, rule, seed, steps, mirror, linear_loss)
            breaks = called == "any mirror" and name != "gradient descent"
            commutes = mirror.commutes_with(rule, began)
            what = f"two linear layers, {called}, {name}"
            yield equal(f"{what}: commutes", 1, int(commutes), control=breaks)
            yield below(f"{what}: distance", distance.max(), 1e-11, control=breaks)
            if called == "any mirror":
                style = "control" if breaks else "measured"
                k = np.arange(0, steps, 10)
                curves.append(Curve(name, k, distance[k] + 1e-18, style))
    title = "distance from the plane of any mirror"
    yield Panel(title, "step", "", tuple(curves), ylog=True)


# ------------------------------------------------------------------ Hessian


def _hessian(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """On the plane the Hessian does not mix; its odd block says when decay wins."""
    data = digits(seed)
    began = fixed(PAIRS, start(seed))
    weights, _ = _run(began, RULES["gradient descent"], seed, 300, PAIRS)
    block = PAIRS.odd_block(weights, tanh_loss, data)
    kept = 4 * 64 + 4 + 4 * 10 + 10
    yield equal(
        "parameters of what equal pairs leave", kept, PAIRS.fixed_dimension(weights)
    )
    yield below(
        "defect of the symmetry", PAIRS.defect(start(seed), tanh_loss, data), 1e-14
    )
    yield below("Hessian on the plane: mixing", block.mixing(seed), 1e-12)
    off = PAIRS.odd_block(start(seed), tanh_loss, data)
    yield below("Hessian off the plane: mixing", off.mixing(seed), 1e-12, control=True)
    (lowest,), (direction,) = block.lowest()
    sizes = np.array([0.2, 0.1, 0.05])
    with jax.enable_x64(True):
        here = float(block.network.loss(block.network.start))
        there = [float(tanh_loss(block.model(direction, size), data)) for size in sizes]
    bounds = (here - np.array(there)) / sizes**2
    what = "gamma_0(z) + lambda_min/2 on the way to the plane"
    yield order(what, 2, sizes, np.abs(bounds + lowest / 2))
    yield close(f"{what}, z = .01", -lowest / 2, _bound(block, direction, data), 1e-3)
    if not quick:
        yield from _collapse(seed, block.model(direction, 1e-2), -lowest / 2)


def _bound(block: Any, direction: np.ndarray, data: Any) -> float:
    with jax.enable_x64(True):
        here, there = (
            float(tanh_loss(block.model(direction, size), data)) for size in (0.0, 0.01)
        )
    return (here - there) / 0.01**2


def _collapse(seed: int, near: Weights, bound: float) -> Iterator[Claim]:
    """Weight decay above the bound makes pairs equal; without it they part."""
    data = digits(seed)
    rows = np.tile(np.arange(len(data[0])), (3000, 1))
    for share, control in ((3.0, False), (0.0, True)):
        rule = HeavyBall(0.2, 0.0, 2 * share * bound)
        _, distance = trained(
            near, tanh_loss, data, rule.optax(), rows, watch=PAIRS.distance
        )
        what = f"gamma = {share:g} gamma_0: distance of pairs after 3000 steps"
        yield below(what, distance[-1], 1e-5, control=control)


# ------------------------------------------------------------------ growth


def _growth(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """A split of 1e-8 grows by the product of 1 - eta (H_odd + 2 gamma)."""
    steps = 100 if quick else 400
    data, eta, decay = digits(seed), 0.2, 1e-3
    rows = drawn(len(data[0]), BATCH, steps, seed)
    began, generator = fixed(PAIRS, start(seed)), np.random.default_rng(seed)
    drawn_split = {k: generator.normal(size=v.shape) for k, v in began.items()}
    even = fixed(PAIRS, drawn_split)
    split = {k: 1e-8 * (drawn_split[k] - even[k]) for k in began}

    def step(w: Any, chosen: Any) -> Any:
        batch = jax.tree.map(lambda array: jnp.asarray(array)[chosen], data)
        slope = jax.grad(tanh_loss)(w, batch)
        return {k: w[k] - eta * (slope[k] + decay * w[k]) for k in w}

    def both(carry: Any, chosen: Any) -> Any:
        w, tangent, apart = carry
        moved, tangent = jax.jvp(lambda v: step(v, chosen), (w,), (tangent,))
        size = jnp.sqrt(sum(jnp.sum(t**2) for t in tangent.values()))
        apart = step(apart, chosen)
        return (moved, tangent, apart), (size, PAIRS.distance(apart))

    with jax.enable_x64(True):
        w, z = (jax.tree.map(jnp.asarray, part) for part in (began, split))
        carry = (w, z, jax.tree.map(jnp.add, w, z))
        _, (predicted, measured) = jax.lax.scan(both, carry, jnp.asarray(rows))
    predicted, measured = np.asarray(predicted), np.asarray(measured)
    what = f"pairs split by 1e-8, {steps} steps: size/product of 1-eta(H+2 gamma)"
    yield below(f"{what} - 1", np.abs(measured / predicted - 1).max(), 1e-5)
    kept = (1 - eta * decay) ** np.arange(1, steps + 1) * predicted[0]
    without = float(measured[-1] / kept[-1])
    yield close("the same by weight decay alone", 1.0, without, 0.05, control=True)
    k = np.arange(0, steps, 10)
    curves = (
        Curve("measured", k, measured[k]),
        Curve("predicted", k, predicted[k], "predicted"),
        Curve("weight decay alone", k, kept[k], "control"),
    )
    yield Panel("pairs split by 1e-8", "step", "distance", curves, ylog=True)


# ------------------------------------------------------------------ equal units as one


def _merged(seed: int, quick: bool) -> Iterator[Claim]:
    """Pairs of equal units as single ones with rates of their own."""
    steps = 200 if quick else 1000
    data = digits(seed)
    rows = drawn(len(data[0]), BATCH, steps, seed)
    began = fixed(PAIRS, start(seed))
    small = {
        "first": began["first"][:, ::2],
        "bias": began["bias"][::2],
        "second": 2 * began["second"][::2],
        "last": began["last"],
    }
    cases = {
        "gradient descent": (optax.sgd(0.2), 0.5),
        "Adam": (optax.adam(1e-3, eps=1e-30), 1.0),
    }
    for name, (rule, inward) in list(cases.items())[: 1 if quick else 2]:
        whole, _ = trained(began, tanh_loss, data, rule, rows)
        rates = {"first": inward, "bias": inward, "second": 2.0}
        for given, control in ((rates, False), (None, True)):
            one, _ = trained(small, tanh_loss, data, rule, rows, rates=given)
            gaps = (
                one["first"] - whole["first"][:, ::2],
                one["second"] - 2 * whole["second"][::2],
                one["last"] - whole["last"],
            )
            worst = max(float(np.abs(gap).max()) for gap in gaps)
            how = "rates (eta/2, 2 eta)" if inward < 1 else "rates (eta, 2 eta)"
            how = "equal rates" if control else how
            what = f"pairs as one unit, {name}, {how}, {steps} steps"
            yield below(what, worst, 1e-10, control=control)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving what a mirror implies.")
    found: list[Claim | Panel] = [*identities()]
    setting.report("Splitting equal pairs.")
    found += _growth(seed, quick)
    setting.report("Training on the planes.")
    found += _planes(seed, quick)
    setting.report("Training linear layers with mirrors.")
    found += _rotations(seed, quick)
    setting.report("Measuring the Hessian.")
    found += _hessian(seed, quick)
    setting.report("Training equal units as one.")
    found += _merged(seed, quick)
    return Evidence.of(_DERIVATION, found)


_DERIVATION = (
    r"\ell(\theta) = F(z^2, y), \quad z = O^T\theta: \qquad "
    r"\partial_z\ell|_{z=0} = 0, \quad \partial_z\partial_y\ell|_{z=0} = 0",
    r"\gamma_0(z) = \frac{\ell(0,y)-\ell(z,y)}{z^2} = -\tfrac12\ell_{zz} + O(z^2)",
    r"k\ \text{equal units}: \quad \eta_w = \eta/k,\ \eta_U = k\eta,\ U = ku",
)

THEOREM = Theorem(
    name="symmetry-constraint",
    title="A mirror of the loss is a plane that training cannot leave",
    statement=r"""Let the columns of $O$ be orthonormal, $P = OO^T$, and let the loss
have the mirror $\ell((1-2P)\theta)=\ell(\theta)$: two units that can be swapped, an odd
unit whose sign can be turned, or any direction between two linear layers. Where
$O^T\theta=0$,

- $O^T\nabla\ell=0$, for every batch: a rule that commutes with the mirror never leaves
  the plane. Gradient descent and momentum do so with every mirror; Adam, RMSProp and
  Lion with mirrors of the axes and swaps, and with no other.
- $PH(1-P)=0$. A small split grows by the product of $1-\eta(PHP+2\gamma)$.
- From $\theta$ with $P\theta\ne0$ the plane has the lower
  $\ell+\gamma|\theta|^2$ exactly if $\gamma>\gamma_0 =
  [\ell((1-P)\theta)-\ell(\theta)]/|P\theta|^2$, which tends to
  $-\lambda_{min}(PHP)/2$ at the plane.

On the plane a network is a smaller one of $\frac{1}{|G|}\sum_g\mathrm{tr}\,\rho(g)$
parameters: $k$ equal units $(w,u)$ are one unit $(w,ku)$ with learning rates $\eta/k$
for $w$ and $k\eta$ for $ku$; by Adam, $\eta$ and $k\eta$. A random shift of the weights
in the loss removes the plane.""",
    source="Ziyin, Symmetry induces structure and constraint of learning (2024), and "
    "Ziyin, Xu, Poggio & Chuang, Parameter symmetry breaking and restoration "
    "determines the hierarchical learning in AI systems (2025); rules and rates are "
    "derived here.",
    prove=_prove,
    has_quick=True,
)
