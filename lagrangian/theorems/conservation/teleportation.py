"""Moves along the orbit of a symmetry: what they gain, and where they have no end.

`teleported_identities` has what is exact, `teleported_quadratics` and
`teleported_units` the losses and networks that are moved, `layer_actions` how GL(h)
acts between layers that are not linear.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg

from lagrangian.theorems.conservation.layer_actions import (
    loss_changes,
    published_teleport,
)
from lagrangian.theorems.conservation.teleported_identities import (
    orbit_claims,
    quadratic_claims,
)
from lagrangian.theorems.conservation.teleported_networks import SIZES, Teleported
from lagrangian.theorems.conservation.teleported_quadratics import (
    booth_claims,
    regression_claims,
)
from lagrangian.theorems.conservation.teleported_units import rescale_claims
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

#: How far T is from zero, in the actions on layers.
SIZES_OF_T = (1e-3, 1e-4, 1e-5)
#: Steps of the training before sharpness is measured, and how far it is moved then.
TRAINED, MOVES = 3000, (0.0, 1.2, 1.6, 2.0, 2.4, 2.8)


# ------------------------------------------------------------------ GL(h)


def matrix_claims(seed: int) -> Iterator[Claim]:
    """Two linear layers on digits, moved by exp(s A)."""
    found, s = Teleported("linear", seed), 0.7
    normal = np.random.default_rng([seed, 3]).normal(size=(SIZES[1], SIZES[1]))
    g, before = found.slope(found.start), found.square(found.start)
    for kind, sign in (("symmetric", 1), ("antisymmetric", -1)):
        matrix = (normal + sign * normal.T) / np.sqrt(8 * SIZES[1])
        moved = found.mixed(matrix, s)
        up, down = (scipy.linalg.expm(t * s * matrix) for t in (1, -1))
        first, second = g["first"] @ down.T, up.T @ g["second"]
        predicted = float((first**2).sum() + (second**2).sum())
        name = f"digits, linear, A {kind}"
        change = found.value(moved) / found.value(found.start) - 1
        yield below(f"{name}: change of the loss", change, 1e-12)
        measured = found.square(moved)
        yield close(f"{name}: |grad f|^2", predicted, measured, 1e-12)
        if sign == -1:
            gain = measured / before - 1
            yield below(f"{name}: gain of |grad f|^2", gain, 1e-12)
            what, bound = f"{name}: it helps", 1e-6
            yield Claim(what, "gain > 0", gain, "above 1e-06", gain > bound, True)


# ------------------------------------------------------------------ sharpness


def sharpness_claims(seed: int) -> Iterator[Claim | Panel]:
    """Near a minimum, whether a rate that does not move along is too large there."""
    found = Teleported("ReLU", seed, TRAINED)
    places = [found.at(s) for s in MOVES]
    pairs = [found.stiffest(w) for w in places]
    sharp = np.array([sharpness for sharpness, _ in pairs])
    # The bound 2/eta lies in a gap, of those between two and four of them the widest.
    logs = np.sort(np.log(sharp))
    widest = 1 + int(np.argmax(np.diff(logs)[1:4]))
    rate = float(2 / np.exp(logs[widest : widest + 2].mean()))
    grown = np.array(
        [
            found.growth(w, direction, rate)
            for w, (_, direction) in zip(places, pairs, strict=True)
        ]
    )
    name = "digits, ReLU, trained, moved by six s"
    too_large, parts = [bool(x) for x in rate * sharp > 2], [bool(x) for x in grown > 1]
    yield equal(f"{name}: does a displacement grow", too_large, parts)
    said = np.abs(1 - rate * sharp)
    worst = (np.abs(grown - said) / (1 + said)).max()
    yield below(f"{name}: growth a step less |1 - eta l|", worst, 0.05)
    stays = [bool(rate * sharp[MOVES.index(0.0)] > 2)] * len(MOVES)
    what = f"{name}: the same, from the sharpness at s = 0"
    yield equal(what, stays, parts, control=True)
    line = np.linspace(0, 1.05 * (rate * sharp).max(), 101)
    curves = (
        Curve("|1 - eta l|", line, np.abs(1 - line), "predicted"),
        Curve("measured", rate * sharp, grown, "points"),
    )
    title = "a step near a minimum, at one rate"
    yield Panel(title, "rate times sharpness", "growth a step", curves)


# ------------------------------------------------------------------ layers


def layer_claims(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """The action between nonlinear layers: invariant, and as it was published."""
    sizes = np.array(SIZES_OF_T)
    exact = np.abs(loss_changes(seed, sizes))
    large = loss_changes(seed, [0.1, 0.3])
    linear = np.abs(loss_changes(seed, sizes, exact=False))
    public = np.abs(loss_changes(seed, sizes, updated=False, exact=False))
    name = "GL between leaky ReLU layers"
    for what, changes in (("small T", exact), ("|T| = 0.1 and 0.3", large)):
        worst = np.abs(changes).max()
        yield below(f"{name}, {what}: change of the loss", worst, 1e-11)
    yield order(f"{name}, 1 - T for g^-1: change, order in T", 2, sizes, linear)
    what = f"{name}, published: change, order in T"
    yield order(what, 1, sizes, public)
    yield order(f"{what}, said to be 2", 2, sizes, public, control=True)
    what = f"{name}, published: change of the loss"
    yield below(what, public.max(), 1e-11, control=True)
    if not quick:
        kept = published_teleport(seed)
        what = "published teleport: loss after it over loss before"
        yield close(what, 1.0, kept, 0.01, control=True)
    curves = (
        Curve("published", sizes, public, "control"),
        Curve("order 1", sizes, public[0] * sizes / sizes[0], "predicted"),
        Curve("1 - T for the inverse", sizes, linear, "measured"),
        Curve("order 2", sizes, linear[0] * (sizes / sizes[0]) ** 2, "predicted"),
        Curve("invariant", sizes, np.maximum(exact, 1e-16), "points"),
    )
    title = "change of the loss by an action on layers"
    yield Panel(title, "size of T", "relative change", curves, True, True)


# ------------------------------------------------------------------ evidence


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving what the gradient does along an orbit.")
    found: list[Claim | Panel] = [*orbit_claims(), *quadratic_claims()]
    setting.report("Moving quadratics along their level sets.")
    found += booth_claims()
    if not quick:
        found += regression_claims(seed)
    setting.report("Moving networks on digits along their orbits.")
    found += [*rescale_claims(seed, quick), *matrix_claims(seed)]
    if not quick:
        setting.report("Comparing learning rates with the sharpness on the orbit.")
        found += sharpness_claims(seed)
    setting.report("Acting on layers that are not linear.")
    found += layer_claims(seed, quick)
    derivation = (
        r"\langle\nabla f,\xi\rangle=0,\ \xi=Aq\quad\Rightarrow\quad"
        r"\tfrac{d}{ds}\tfrac12|\nabla f|^2=-\langle\nabla f,A\nabla f\rangle",
        r"\langle q,Aq\rangle_{k+1}-\langle q,Aq\rangle_k"
        r"=\eta^2\langle\nabla f,A\nabla f\rangle",
    )
    return Evidence.of(derivation, found)


THEOREM = Theorem(
    name="teleportation",
    title="Moves along an orbit: exact on quadratics, without a maximum on rescalings",
    statement=r"""Let $f(e^{sA}q)=f(q)$. Teleportation moves the parameters along such
an orbit, at no change of the loss, to where $\lvert\nabla f\rvert$ is larger. Along it
$$\frac{d}{ds}\,\tfrac12\lvert\nabla f\rvert^2=-\langle\nabla f,A\,\nabla f\rangle,$$
so that rotations change nothing. And a step of gradient descent moves the charge
$\langle q,Aq\rangle$ by $\eta^2\langle\nabla f,A\nabla f\rangle$: always towards where
the gradient is smaller, which takes such a move back.

On a quadratic the largest gradient of a level set is in the direction of the largest
eigenvalue: $\lvert\nabla f\rvert^2=2fl_{\max}$. Moved there once, the gradient has
Newton's direction for ever, and $f(t)=f(0)\,e^{-2l_{\max}t}$, or $(1-\eta l_{\max})^2$
a step. On the orbit of a rescaling $a\to e^sa$, $b\to e^{-s}b$, the one of ReLU units,
$$\lvert\nabla f\rvert^2(s)=e^{-2s}\lvert g_a\rvert^2+e^{2s}\lvert g_b\rvert^2$$
has a minimum, $2\lvert g_a\rvert\lvert g_b\rvert$, and no maximum: how far to go is a
hyperparameter of its own. The sharpness grows as well, so that a learning rate that
stays the same ends above $2/l$, which is where displacements grow.

For layers with a bijective activation in between, $g$ acts on one batch by
$\sigma^{-1}(g\,\sigma(Vh))\,h^+$ and $U g^{-1}$, with the activations $h$ of the layers
as they are by then. The public code of the regression keeps the activations of the
old weights, and takes $1-T$ for the inverse of $g=1+T$. The second changes the loss
at order 2 in $T$, the first at order 1, and ascent of the gradient finds directions in
which that matters: with the published numbers a teleport lowers the loss itself. What
the authors prove is for exact actions, and stands; with one hidden layer there is no
error of order 1; and their figures on functions of two variables are not concerned.
What changes is how much of the acceleration that was seen on three layers is due to
the gradient.""",
    source="Zhao, Dehmamy, Walters & Yu, Symmetry teleportation for accelerated "
    "optimization (2022); the slope along an orbit, the orbit of rescalings and the "
    "orders of the published action are derived here.",
    prove=_prove,
    has_quick=True,
)
