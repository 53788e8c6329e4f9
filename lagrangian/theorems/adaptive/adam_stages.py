"""Adam on the steps of Adam, as `optax.chain` composes them, on gradients as given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.theorems.adaptive.adam_runs import Pair, bound, steps_on
from lagrangian.theorems.theorem import Claim, below, close

#: The decay rates of the stages, the last of which bounds the step.
CHAINS: tuple[tuple[Pair, ...], ...] = (
    ((0.9, 0.999), (0.9, 0.999)),
    ((0.9, 0.8), (0.9, 0.95)),
    ((0.9, 0.999), (0.0, 0.9)),
    ((0.95, 0.9), (0.9, 0.8), (0.9, 0.99)),
)
#: Of which the last stage alone has no bound.
UNBOUNDED: tuple[Pair, ...] = ((0.9, 0.999), (0.9, 0.75))


def chain_steps(pairs: Sequence[Pair], gradients: np.ndarray) -> np.ndarray:
    """The steps of k-Adam per learning rate, of the shape of the gradients.

    Args:
        pairs: (b1, b2) of each stage, the first first.
        gradients: of shape (steps, ...).
    """
    with jax.enable_x64(True):
        return np.asarray(_chain(tuple(pairs))(jnp.asarray(gradients, jnp.float64)))


@cache
def _chain(pairs: tuple[Pair, ...]) -> Callable[[Any], Any]:
    """Its steps on gradients: one program for all of one shape."""
    rule = optax.chain(*(optax.scale_by_adam(*pair, eps=0.0) for pair in pairs))

    def step(state: Any, slope: Any) -> Any:
        update, state = rule.update(slope, state)
        return state, update

    return jax.jit(lambda s: jax.lax.scan(step, rule.init(s[0]), s)[1])


def gradients_for(pair: Pair, wanted: np.ndarray) -> np.ndarray:
    """Gradients for which Adam makes the wanted steps, of which the first is 1.

    A step is u = m/sqrt(v) but for its bias factors: a quadratic in the gradient.
    """
    (b, c), m, v, found = pair, 0.0, 0.0, []
    for n, u in enumerate(wanted, 1):
        share = (u * (1 - b**n)) ** 2 / (1 - c**n)
        quadratic = [
            (1 - b) ** 2 - share * (1 - c),
            2 * b * m * (1 - b),
            (b * m) ** 2 - share * c * v,
        ]
        if n == 1:
            slope = np.sign(u)
        else:
            roots = np.roots(quadratic)
            slopes = roots[np.abs(roots.imag) < 1e-12].real
            slope = next(s for s in slopes if (b * m + (1 - b) * s) * u > 0)
        m, v = b * m + (1 - b) * slope, c * v + (1 - c) * slope**2
        found.append(slope)
    return np.array(found)


def bounded_by_the_last(seed: int, quick: bool) -> Iterator[Claim]:
    """No step is larger than that bound; and it is attained."""
    generator = np.random.default_rng([seed, 8])
    steps = 60 if quick else 200
    normal = generator.normal(size=(steps, 300))
    sparse = normal * (generator.random(normal.shape) < 0.05)
    sparse[0] = 1.0  # 0/0 else, as eps is zero
    drawn = [normal, generator.standard_cauchy(normal.shape), sparse]
    gradients = np.concatenate(drawn, axis=1)
    n = np.arange(1, steps + 1)
    chains = CHAINS[1::2] if quick else CHAINS
    reached, first, scaled = [], [], []
    for pairs in chains:
        found = np.abs(chain_steps(pairs, gradients))
        reached.append((found / bound(pairs[-1:], n)[0][:, None]).max())
        first.append((found / bound(pairs[:1], n)[0][:, None]).max())
        larger = np.abs(chain_steps(pairs, gradients * 2.0**40 / 3))
        scaled.append(np.abs(larger - found).max() / found.max())
    what = f"{len(chains)} chains of Adam, random gradients:"
    yield below(
        f"{what} max |u_n|/B_n - 1, of the last stage",
        max(0.0, max(reached) - 1),
        1e-12,
    )
    yield below(f"{what} gradients 4e11 times as large", max(scaled), 1e-10)
    what = "Adam on Adam, random gradients: max |u_n|/B_n - 1, of the first stage"
    alone = np.abs(chain_steps(UNBOUNDED, gradients))
    over = (alone / bound(UNBOUNDED[:1], n)[0][:, None]).max()
    yield below(what, max(0.0, over - 1), 1e-12, control=True)
    # What is the worst for the last stage can be had from the first.
    last, length = (0.9, 0.85), 12
    worst = (last[1] / last[0]) ** np.arange(length)
    slopes = gradients_for((0.9, 0.999), worst)
    made = chain_steps([(0.9, 0.999), last], slopes[:, None])[-1, 0]
    (told,) = bound([last], length)[0]
    what = f"2-Adam, n = {length}, the gradients that are worst: |u_n|"
    yield close(what, told, abs(made), 1e-10)
    what = f"2-Adam, n = {length}, those that are worst for the first stage: |u_n|"
    other = (0.9 / 0.999) ** np.arange(length - 1.0, -1, -1)
    made = chain_steps([(0.9, 0.999), last], other[:, None])[-1, 0]
    yield close(what, told, abs(made), 1e-10, control=True)
    yield _silent(quick)


def _silent(quick: bool) -> Claim:
    """Where the gradient has become zero, the last stage averages a fading step.

    It fades like (b/sqrt(c))^n of the first stage, or slower than the averages of the
    last, which then have its size: the step does not grow.
    """
    first, last = (0.9, 0.815), (0.9, 0.8)
    gradients = np.zeros((300, 1))
    gradients[:20, 0] = np.random.default_rng(0).normal(size=20)
    found = np.abs(chain_steps([first, last], gradients))[:, 0]
    alone = np.abs(steps_on([last], gradients.T))[0]
    rates = [np.log(u[-1] / u[200]) / 99 for u in (alone, found)]
    what = "no gradient: growth of Adam (0.9, 0.8) alone, and on (0.9, 0.815)"
    stated = (0.5 * np.log(0.81 / 0.8), 0.0)
    gap = max(abs(r - s) for r, s in zip(rates, stated, strict=True))
    return below(f"{what}, less {stated[0]:.5f} and 0", gap, 1e-6)
