"""How many laws mirror flows have, in the geometry of the entropy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.count_laws import Closure, lie_closure
from lagrangian.theorems.theorem import Claim, equal


@cache
def mirror_closure(
    sizes: tuple[int, int, int], kind: str, seed: int
) -> tuple[Closure, int]:
    """Where mirror flows of two layers go, and D.

    "factors": entropy on both factors of U V^T. "convex": a ReLU network with entropy
    on the weights that go out, and squares elsewhere.
    """
    inputs, width, outputs = sizes
    chance = np.random.default_rng([seed, *sizes])
    x = chance.normal(size=(40, inputs))
    cuts = np.cumsum([outputs * width, inputs * width])

    def seen(w: Any) -> Any:
        u, v, b = jnp.split(w, cuts)
        u, v = u.reshape(outputs, width), v.reshape(inputs, width)
        if kind == "factors":
            return jnp.ravel(u @ v.T)
        return jnp.ravel(jax.nn.relu(x @ v + b) @ u.T)

    size = cuts[-1] + (width if kind == "convex" else 0)
    start = 0.5 + chance.random(size)
    if kind == "convex":
        v = chance.normal(size=(inputs, width))
        # So small that no unit is on for all inputs, or off.
        bias = chance.uniform(-0.5, 0.5, width) * np.linalg.norm(v, axis=0)
        start[cuts[0] :] = np.concatenate([v.ravel(), bias])
    count = inputs * outputs if kind == "factors" else 40 * outputs
    bent = np.arange(size) < (size if kind == "factors" else cuts[0])

    def field(combination: Any, w: Any) -> Any:
        slope = jax.grad(lambda w: combination @ seen(w))(w)
        return jnp.where(bent, w, 1.0) * slope

    return lie_closure(field, count, start, seed), size


def inertial_closure(inputs: int, outputs: int, friction: float, seed: int) -> Closure:
    """The same for one factor in motion, z' = -z grad and q' = z - friction q.

    That is q'' + friction q' = -(q' + friction q) grad, on (q, q', t).
    """
    size = inputs + outputs
    chance = np.random.default_rng([seed, inputs, outputs])
    start = np.concatenate([0.5 + chance.random(2 * size), [0.0]])

    def field(combination: Any, x: Any) -> Any:
        q, v = x[:size], x[size:-1]
        seen = lambda q: jnp.ravel(jnp.outer(q[:outputs], q[outputs:]))
        slope = jax.grad(lambda q: combination[:-1] @ seen(q))(q)
        drift = jnp.concatenate([v, -friction * v, jnp.ones(1)])
        pull = jnp.concatenate([jnp.zeros(size), (v + friction * q) * slope])
        return combination[-1] * drift + jnp.append(pull, 0.0)

    return lie_closure(field, inputs * outputs + 1, start, seed)


#: Directions reached by the factorisation 2-3-1.
MIRROR_LEVELS = (2, 3, 5, 6, 6)


def mirror_claims(seed: int, quick: bool) -> Iterator[Claim]:
    """One law a factor; more for scalars; one a unit of an input-convex network."""
    cases = [((2, r, 1), "factors", r) for r in (1, 2, 3)]
    cases += [((1, r, 1), "factors", 2 * r - 1) for r in (1, 2, 3)]
    cases += [((2, r, 1), "convex", r) for r in (1, 2)]
    for sizes, kind, predicted in cases[4:5] if quick else cases:
        found, _ = mirror_closure(sizes, kind, seed)
        name = "mirror flow, {} {}".format(kind, "-".join(map(str, sizes)))
        yield equal(f"{name}: laws", predicted, found.count.laws)
    found, _ = mirror_closure((1, 2, 1), "factors", seed)
    what = "mirror flow, factors 1-2-1: one law a factor"
    yield equal(what, 2, found.count.laws, control=True)
    if not quick:
        for friction in (0.0, 0.7):
            found = inertial_closure(2, 1, friction, seed)
            what = f"mirror flow in motion, factors 2-1-1, friction {friction:g}: laws"
            yield equal(what, 0, found.count.laws)
        found, _ = mirror_closure((2, 3, 1), "factors", seed)
        what = "mirror flow, factors 2-3-1: directions with 0, 1, 2, 3, 4 brackets"
        yield equal(what, MIRROR_LEVELS, found.levels)
