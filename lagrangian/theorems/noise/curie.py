"""Curie's principle for training: what a rule keeps, and how an instability breaks it.

Signed permutations of tanh units, and turns of linear ones, on the digits.
`split_units` has the growth of a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp
from optax import GradientTransformation

from lagrangian.learning.unit_symmetry import UnitSymmetry
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.theorems.noise.sampled import drawn, trained
from lagrangian.theorems.noise.split_units import Weights, split_units
from lagrangian.theorems.noise.symmetry_constraint import (
    cross_entropy,
    digits,
    linear_loss,
    tanh_loss,
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
    equal,
    identity,
    order,
)

UNITS, BATCH = 4, 64
#: Along which axis an array has the hidden units.
AXES = {"first": -1, "bias": -1, "second": 0}
RULES: dict[str, GradientTransformation] = {
    "gradient descent": optax.sgd(0.1),
    "heavy ball": optax.sgd(0.02, 0.9),
    "Adam": optax.adam(1e-3),
    "Lion": optax.lion(1e-4),
}


def start(seed: int) -> Weights:
    generator = np.random.default_rng(seed)
    return {
        "first": generator.normal(size=(64, UNITS)) / 8,
        "bias": 0.1 * generator.normal(size=UNITS),
        "second": generator.normal(size=(UNITS, 10)) / 3,
        "last": np.zeros(10),
    }


def moved(weights: Mapping[str, Any], order: Any, signs: Any) -> Weights:
    """With unit order[j], times its sign, in the place j."""
    found = {name: np.asarray(array) for name, array in weights.items()}
    for name, axis in AXES.items():
        ahead = np.moveaxis(found[name], axis, -1)
        found[name] = np.moveaxis(ahead[..., list(order)] * np.array(signs), -1, axis)
    return found


def stabiliser(weights: Mapping[str, Any]) -> frozenset[Any]:
    """The signed permutations of the units that change no bit of the weights."""
    return frozenset(
        (places, signs)
        for places in permutations(range(UNITS))
        for signs in product((1, -1), repeat=UNITS)
        if all(
            np.array_equal(array, weights[name])
            for name, array in moved(weights, places, signs).items()
        )
    )


def starts(seed: int) -> dict[str, Weights]:
    """Networks by the symmetries that they have."""

    def with_units(places: list[int], signs: list[int]) -> Weights:
        return moved(start(seed), places, signs)

    return {
        "four units": start(seed),
        "two equal": with_units([0, 0, 2, 3], [1, 1, 1, 1]),
        "three equal": with_units([0, 0, 0, 3], [1, 1, 1, 1]),
        "two opposite": with_units([0, 0, 2, 3], [1, -1, 1, 1]),
        "a dead one": with_units([0, 1, 2, 3], [1, 1, 1, 0]),
        "two dead, two equal": with_units([0, 0, 2, 3], [1, 1, 0, 0]),
    }


# ------------------------------------------------------------------ identities


def _identities() -> Iterator[Claim]:
    """Of two units, and a loss that does not change when they are swapped."""
    x, y, d, mean, eta = sp.symbols("x y d mean eta", real=True)
    a, b = sp.symbols("a b")
    at = {x: mean + d / 2, y: mean - d / 2}

    def there(expression: Any) -> Any:
        return expression.subs(at, simultaneous=True).doit()

    # A polynomial in x + y and x y, so that what is zero is seen to be.
    powers = [(i, j) for i in range(4) for j in range(4)]
    polynomial = sum(sp.Symbol(f"c_{i}{j}") * a**i * b**j for i, j in powers)
    loss = polynomial.subs({a: x + y, b: x * y})
    step = sp.expand(d - eta * there(loss.diff(x) - loss.diff(y)))
    yield identity("two equal units: difference after a step", step.subs(d, 0))
    block = there(loss.diff(x, 2) - loss.diff(x, y)).subs(d, 0)
    what = "difference d after a step, its linear term: 1 - eta (H_11 - H_12)"
    yield identity(what, step.coeff(d, 1) - (1 - eta * block))
    what = "the same with H_11 alone"
    alone = there(loss.diff(x, 2)).subs(d, 0)
    yield identity(what, step.coeff(d, 1) - (1 - eta * alone), control=True)
    yield identity("its quadratic term", step.coeff(d, 2))
    yield identity("its cubic term", step.coeff(d, 3), control=True)
    broken = sp.expand(d - eta * there((loss + x).diff(x) - (loss + x).diff(y)))
    what = "two equal units, a loss without the symmetry: difference after a step"
    yield identity(what, broken.subs(d, 0), control=True)


# ------------------------------------------------------------------ what is kept


@jax.custom_jvp
def _tanh(x: Any) -> Any:
    """tanh with a derivative that is even to the last bit.

    JAX's is g (1 + t) (1 - t), whose rounding changes with the sign of t: opposite
    units part by 1e-17 then, and by as much more as a small difference grows.
    """
    return jnp.tanh(x)


@_tanh.defjvp
def _tanh_slope(at: Any, along: Any) -> Any:
    t = jnp.tanh(at[0])
    return t, along[0] * (1 - t * t)


def odd_loss(w: Mapping[str, Any], batch: Any) -> Any:
    """`tanh_loss`, as odd in rounding as it is by mathematics."""
    images, labels = batch
    hidden = _tanh(images @ w["first"] + w["bias"])
    return cross_entropy(hidden @ w["second"] + w["last"], labels)


def _kept(seed: int, quick: bool) -> Iterator[Claim]:
    """The stabiliser of where training begins is in that of where it ends."""
    steps = 100 if quick else 500
    data = digits(seed)
    rows = drawn(len(data[0]), BATCH, steps, seed)
    names = ("gradient descent", "Adam") if quick else tuple(RULES)
    for called, began in starts(seed).items():
        if quick and called not in ("two opposite", "two dead, two equal"):
            continue
        before = stabiliser(began)
        for name in names:
            end, _ = trained(began, odd_loss, data, RULES[name], rows)
            kept = before & stabiliser(end)
            what = f"{called}, {name}, {steps} steps: symmetries kept, bit for bit"
            yield equal(what, len(before), len(kept))
    yield from _not_kept(seed, rows)
    yield from _turns(seed)


def _dropped(w: Mapping[str, Any], batch: Any) -> Any:
    """Without some of the units, drawn for each example."""
    images, labels, mask = batch
    hidden = jnp.tanh(images @ w["first"] + w["bias"]) * mask
    return cross_entropy(hidden @ w["second"] + w["last"], labels)


def _not_kept(seed: int, rows: np.ndarray) -> Iterator[Claim]:
    data, began = digits(seed), starts(seed)["two equal"]
    before, rule = stabiliser(began), RULES["gradient descent"]
    mask = np.random.default_rng(seed).random((len(data[0]), UNITS)) < 0.5
    noisy = (*data, 2.0 * mask)
    end, _ = trained(began, _dropped, noisy, rule, rows)
    what = "two equal, dropout: symmetries kept"
    yield equal(what, len(before), len(before & stabiliser(end)), control=True)
    uneven = began | {"second": start(seed)["second"]}
    end, _ = trained(uneven, tanh_loss, data, rule, rows)
    gap = np.abs(end["first"][:, 0] - end["first"][:, 1]).max()
    what = "equal inputs, unequal outgoing weights: difference of the inputs"
    yield below(what, gap, 1e-6, control=True)


def _turns(seed: int) -> Iterator[Claim]:
    """A turn by 120 degrees of linear units: what Adam does not commute with."""
    generator = np.random.default_rng(seed)
    frame, _ = np.linalg.qr(generator.normal(size=(UNITS, UNITS)))
    angle, turn = 2 * np.pi / 3, np.eye(UNITS)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    blocks = Block("first", unit_axis=-1), Block("second", unit_axis=0)
    symmetry = UnitSymmetry(frame @ turn @ frame.T, blocks, 3)
    weights = {name: start(seed)[name] for name in ("first", "second")}
    with jax.enable_x64(True):
        began = {k: np.asarray(v) for k, v in symmetry.fixed(weights).items()}
    data = digits(seed)
    rows = drawn(len(data[0]), BATCH, 100, seed)
    for name, rule in list(RULES.items())[:3]:
        _, distance = trained(
            began, linear_loss, data, rule, rows, watch=symmetry.distance
        )
        what = f"linear units, a turn by 120 degrees, {name}: distance"
        yield below(what, distance.max(), 1e-12, control=name == "Adam")


# ------------------------------------------------------------------ how it breaks


def _growth(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    sizes = np.array([1e-4, 2e-4, 4e-4, 8e-4])
    steps = 150 if quick else 400
    predicted, alone, measured = split_units(
        digits(seed), starts(seed)["two equal"], sizes, steps, seed
    )
    what = f"difference of 1e-4, {steps} steps: growth"
    yield close(what, predicted[-1], measured[0, -1], 1e-3)
    what = f"{what} by H_11 alone"
    yield close(what, alone[-1], measured[0, -1], 1e-3, control=True)
    errors = np.abs(measured[:, -1] / predicted[-1] - 1)
    yield order("growth/predicted - 1, in the difference", 2, sizes, errors)
    n = np.arange(1, steps + 1, 5)
    shown = n - 1
    curves = (
        Curve("difference of 1e-4", n, measured[0, shown], "points"),
        Curve("1 - eta (H_11 - H_12)", n, predicted[shown], "predicted"),
        Curve("1 - eta H_11", n, alone[shown], "control"),
    )
    title = "difference of two units, over the initial one"
    yield Panel(title, "step", "", curves, ylog=True)
    told = errors[0] * (sizes / sizes[0]) ** 2
    curves = (
        Curve("measured", sizes, errors, "points"),
        Curve("order 2", sizes, told, "predicted"),
    )
    title = "growth/predicted - 1"
    yield Panel(title, "initial difference", "", curves, xlog=True, ylog=True)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the growth of a difference.")
    found: list[Claim | Panel] = [*_identities()]
    setting.report("Splitting equal units.")
    found += _growth(seed, quick)
    setting.report("Training networks with symmetries.")
    found += _kept(seed, quick)
    return Evidence.of(_DERIVATION, found)


_DERIVATION = (
    r"\Phi(g\theta) = g\,\Phi(\theta), \quad g\theta_0 = \theta_0 "
    r"\quad\Rightarrow\quad "
    r"g\,\theta_t = g\,\Phi^t(\theta_0) = \Phi^t(g\theta_0) = \theta_t",
    r"d' = \left(1-\eta(H_{11}-H_{12})\right)d + O(d^3)",
)

THEOREM = Theorem(
    name="curie",
    title="Training keeps every symmetry of its start, and loses it by instability",
    statement=r"""Let a group $G$ of orthogonal maps leave the loss alone, and let the
learning rule $\Phi$ commute with it. Then
$$\mathrm{Stab}(\theta_0)\subset\mathrm{Stab}(\theta_t)$$
exactly, at every step and for every batch: Curie's principle for the map from the start
of training to its end. Gradient descent and momentum commute with every such $G$. Adam
and Lion do with signed permutations, as of equal, opposite or dead tanh units; and not
with turns of linear units.

A symmetry is lost where it is not exact, by instability. A difference $d$ of two equal
units obeys
$$d' = (1-\eta(H_{11}-H_{12}))\,d+O(d^3)$$
along the symmetric path, with the blocks of the Hessian of one unit and of the two: it
grows by the product of these, up to a relative error of order $|d_0|^2$. Dropout, which
has the symmetry on average only, breaks it in the first step. So does rounding, where a
program is not as symmetric as its formula.

The paper states that an equivariant function cannot break the symmetry of its input.
The function here is training itself.""",
    source="Kaba & Ravanbakhsh, Symmetry breaking and equivariant neural networks "
    "(2023), applied here to the learning rule; the growth is derived here.",
    prove=_prove,
    has_quick=True,
)
