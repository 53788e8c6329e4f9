"""Elementwise activations that can be undone, and what it takes to scale them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.symbolic.algebra.blocks import ones


@dataclass(frozen=True)
class Activation:
    """An elementwise function sigma that can be undone.

    Attributes:
        slope: sigma/sigma', of a NumPy array.
        direction: sigma/sigma', of a block.
        moved: of (x, s), where sigma is e^s sigma(x); nan where there is no such place.
    """

    slope: Callable[[Any], Any]
    direction: Callable[[Any], Any]
    moved: Callable[[Any, Any], Any]


def _moved_tanh(x: Any, s: Any) -> Any:
    # 1 - e^s tanh|x| without the difference of two numbers near 1.
    size, grown = jnp.abs(x), jnp.exp(s)
    gap = 2 * grown / (jnp.exp(2 * size) + 1) - jnp.expm1(s)
    gap = jnp.where(gap > 0, gap, jnp.nan)
    return jnp.sign(x) * jnp.log1p(2 * grown * jnp.tanh(size) / gap) / 2


def _moved_sigmoid(x: Any, s: Any) -> Any:
    gap = jnp.exp(s) * jax.nn.sigmoid(-x) - jnp.expm1(s)
    gap = jnp.where(gap > 0, gap, jnp.nan)
    return s + jax.nn.log_sigmoid(x) - jnp.log(gap)


#: Those whose sigma/sigma' is another one than that of a power.
ACTIVATIONS = {
    "tanh": Activation(
        lambda x: np.sinh(2 * x) / 2, lambda block: sp.sinh(2 * block) / 2, _moved_tanh
    ),
    "sigmoid": Activation(
        lambda x: 1 + np.exp(x), lambda block: ones + sp.exp(block), _moved_sigmoid
    ),
}
