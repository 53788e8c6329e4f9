"""What a row of the table means, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from lagrangian.learning.discover.in_double import called, evaluated, opened
from lagrangian.learning.discover.measure import (
    ABSENT,
    APPROXIMATE,
    EXACT,
    OF_GRADIENT,
    OF_LOSS,
    UNEXERCISED,
    Evidence,
)
from lagrangian.learning.discover.probe import Probe
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.discrete import Steps
from lagrangian.symbolic.laws.noether import noether

#: A constant below this that is added before a root is an epsilon.
SMALL = 0.02
#: An epsilon explains a defect of at most so many times its share, and at least as few.
LIKELY = 1e3

_MEANINGS = {
    "scale": "What is written there may be multiplied by any factor: what follows"
    " divides by its size, as a normalisation does.",
    "rescale": "What one side is multiplied by, the other is divided by: in between"
    " all is homogeneous, as linear maps and ReLU are.",
    "translation": "A constant may be added: what follows subtracts it again, as a"
    " mean or softmax does, or a bias takes it back.",
    "general linear (symmetric)": "A matrix on the one side, its inverse on the"
    " other: in between there are linear maps only.",
    "rotation": "A rotation on the one side is undone on the other, or only lengths"
    " are read: in between all is linear, up to a norm.",
    "turn": "Two parts turn into each other, as the real and the imaginary part of a"
    " number of which only the modulus is read.",
}


def explain(row: Evidence, roots: list[tuple[float, float]], short: str) -> str:
    """Why a row is what it is, with its numbers.

    Args:
        row: of the table.
        roots: of the loss, as `epsilons` returns them.
        short: the shortest type in which the loss computes, or nothing.
    """
    units = "one generator" if row.generators == 1 else f"{row.generators} generators"
    lines = [f"{row.description}: {units}."]
    if row.kind == UNEXERCISED:
        lines.append(
            "Their gradient is zero for every example of the batch and at all random"
            " parameters, so that nothing can be said of them. It is no symmetry."
        )
        return "\n".join(lines)
    if row.zero == 0 and np.isinf(row.nonzero):
        lines.append("Its gradient is zero at all random parameters.")
    elif row.family in _MEANINGS and row.kind != ABSENT:
        lines.append(_MEANINGS[row.family])
    lines.append(
        f"<grad, xi> is {row.residual:.0e} of what random signs would give, and a"
        f" finite transformation changes the loss {row.defect:.0e} times as much as a"
        " random displacement of the same length."
    )
    lines.append(_verdict(row, roots))
    if short and row.kind in (EXACT, OF_GRADIENT):
        lines.append(
            f"The loss rounds to {short}: in training the law holds up to"
            f" {float(jnp.finfo(short).eps):.0e}."
        )
    return "\n".join(lines)


def implied(symmetry: Symmetry, row: Evidence, exact: Sequence[Evidence]) -> str:
    """What a candidate implies: its law in a step; and what an absent one leaves out.

    Args:
        symmetry: the candidate.
        row: what was measured of it.
        exact: rows that were found.
    """
    lines = []
    if row.kind in (APPROXIMATE, ABSENT):
        for other in exact:
            left_out = [path for path in other.blocks if path not in row.blocks]
            if left_out and set(row.blocks) < set(other.blocks):
                lines.append(
                    f"There is one that moves {', '.join(left_out)} as well:"
                    f" {other.description}."
                )
    holds = row.kind in (EXACT, OF_GRADIENT)
    loss = symmetry.loss if holds else Loss("f", symmetry.blocks)
    lines.append(
        "In every step, where the trace p becomes beta p + kappa (grad f + lambda q),"
        " its charge changes by what follows"
        + (":" if holds else ", of which `loss` is no rounding:")
    )
    return "\n".join([*lines, str(noether(Steps(loss), symmetry))])


def _verdict(row: Evidence, roots: list[tuple[float, float]]) -> str:
    if row.kind == EXACT:
        return "That is rounding: it is exact, and so is its law in discrete training."
    if row.kind == OF_GRADIENT:
        return (
            "The gradient has it, and the loss has not: something on the way is cut off"
            " by `stop_gradient`. Its law holds in training."
        )
    if row.kind == OF_LOSS:
        return (
            "The loss has it, and the gradient has not: something on the way is cut off"
            " by `stop_gradient`. Its law does not hold in training."
        )
    if row.kind == ABSENT:
        return (
            "It is no symmetry: what follows, or another path to the loss, sees the"
            " motion. Its law has a source of this size."
        )
    shares = {e: e / size for e, size in roots if size > 0}
    likely = [e for e, s in shares.items() if 1 / LIKELY < row.residual / s < LIKELY]
    if row.kind == APPROXIMATE and likely:
        size = dict(roots)[likely[0]]
        return (
            f"It would be exact without an epsilon: {likely[0]:.0e} is added to what is"
            f" about {size:.1g} before a root. Its law has a source of this size."
        )
    return (
        "It is only nearly so: something in between is nearly homogeneous, as GELU and"
        " SiLU are far from zero. Its law has a source of this size."
    )


def epsilons(probe: Probe) -> list[tuple[float, float]]:
    """Small constants that are added before a root, and the mean of what to.

    Measured at the given parameters; those inside of loops are left out.
    """
    sites = list(_sites(probe.program.jaxpr))
    if not sites:
        return []
    batch = probe.rows(probe.batch, np.random.default_rng(0))
    leaves = [*probe.parameters.values(), *batch]

    @jax.jit
    def measured(*values: Any) -> list[Any]:
        kept: dict[int, Any] = {}

        def watch(equation: Any, given: list[Any]) -> None:
            for number, (site, place, _) in enumerate(sites):
                if equation is site:
                    kept[number] = jnp.abs(given[place]).mean()

        evaluated(probe.program, watch=watch)(*values)
        return [kept.get(number, jnp.zeros(())) for number in range(len(sites))]

    sizes = [float(size) for size in measured(*leaves)]
    smallest: dict[float, float] = {}
    for (_, _, epsilon), size in zip(sites, sizes, strict=True):
        if size > 0:
            smallest[epsilon] = min(size, smallest.get(epsilon, size))
    return sorted(smallest.items())


def _sites(jaxpr: Any) -> Any:
    """Sums with an epsilon whose root is taken, and the place of the other term."""
    rooted = {
        variable
        for equation in jaxpr.eqns
        if equation.primitive.name in ("rsqrt", "sqrt", "pow")
        for variable in equation.invars
        if not isinstance(variable, Literal)
    }
    for equation in jaxpr.eqns:
        inner = called(equation)
        if inner is not None:
            yield from _sites(opened(inner)[0])
        if equation.primitive.name != "add" or equation.outvars[0] not in rooted:
            continue
        for place, variable in enumerate(equation.invars):
            if isinstance(variable, Literal) and 0 < float(variable.val) < SMALL:
                yield equation, 1 - place, float(variable.val)
