"""A small pre-norm transformer on the rows of digits, with three norms.

The residual stream has `CHANNELS` channels. Its *writers* are the arrays that add to
it, its *readers* those that stand behind a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.networks.digits import load_digits

CHANNELS, ROWS, PIXELS, CLASSES = 6, 8, 8, 10
#: Of values, of queries, and of the hidden layer.
VALUES, QUERIES, HIDDEN = 3, 2, 5
NORMS = ("LayerNorm", "RMSNorm", "DyT")

Parameters = dict[str, Any]


def layer_norm(x: Any, alpha: Any = 1.0, epsilon: float = 0.0) -> Any:
    """(x - mean)/std over the channels."""
    del alpha
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def rms_norm(x: Any, alpha: Any = 1.0, epsilon: float = 0.0) -> Any:
    del alpha
    return x / jnp.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)


def dyt(x: Any, alpha: Any = 1.0, epsilon: float = 0.0) -> Any:
    """tanh(alpha x), of every element by itself."""
    del epsilon
    return jnp.tanh(alpha * x)


_NORM: dict[str, Callable[..., Any]] = {
    "LayerNorm": layer_norm,
    "RMSNorm": rms_norm,
    "DyT": dyt,
}


def blocks_of(w: Mapping[str, Any]) -> int:
    """How many blocks a network has, by the names of its parameters."""
    return sum(name.startswith("q") for name in w)


def places(blocks: int) -> list[str]:
    """The names of the norms: two in each block, and the last."""
    inner = [f"{kind}{i}" for i in range(blocks) for kind in ("attend", "think")]
    return [*inner, "last"]


def writers(w: Mapping[str, Any]) -> list[str]:
    """The names of what adds to the stream."""
    return [n for n in w if n.startswith(("embed", "positions", "o", "w2_", "b2_"))]


def readers(w: Mapping[str, Any]) -> list[str]:
    """The names of what stands behind a norm, without biases."""
    return [name for name in w if name.startswith(("q", "k", "v", "w1_", "head"))]


def alphas(w: Mapping[str, Any]) -> list[str]:
    return [name for name in w if name.startswith("alpha")]


def start(norm: str, seed: int, blocks: int = 2, affine: bool = False) -> Parameters:
    """Random parameters, in float64."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape) / np.sqrt(shape[0])

    found: Parameters = {
        "embed": normal(PIXELS, CHANNELS),
        "positions": 0.5 * generator.normal(size=(ROWS, CHANNELS)),
    }
    for i in range(blocks):
        found |= {
            f"q{i}": normal(CHANNELS, QUERIES),
            f"k{i}": normal(CHANNELS, QUERIES),
            f"v{i}": normal(CHANNELS, VALUES),
            f"o{i}": normal(VALUES, CHANNELS),
            f"w1_{i}": normal(CHANNELS, HIDDEN),
            f"b1_{i}": 0.1 * generator.normal(size=HIDDEN),
            f"w2_{i}": normal(HIDDEN, CHANNELS),
            f"b2_{i}": 0.1 * generator.normal(size=CHANNELS),
        }
    found |= {"head": normal(CHANNELS, CLASSES), "bias": np.zeros(CLASSES)}
    for place in places(blocks):
        if norm == "DyT":
            found[f"alpha_{place}"] = np.array(0.5)
        if affine:
            found[f"gamma_{place}"] = 1 + 0.1 * generator.normal(size=CHANNELS)
            found[f"beta_{place}"] = 0.1 * generator.normal(size=CHANNELS)
    return found


def loss_of(
    norm: str, epsilon: float = 0.0
) -> Callable[[Mapping[str, Any], tuple[Any, Any]], Any]:
    """The cross entropy of the network, by (parameters, (images, labels))."""

    def loss(w: Mapping[str, Any], batch: tuple[Any, Any]) -> Any:
        def normed(x: Any, place: str) -> Any:
            y = _NORM[norm](x, w.get(f"alpha_{place}", 1.0), epsilon)
            if f"gamma_{place}" in w:
                y = w[f"gamma_{place}"] * y + w[f"beta_{place}"]
            return y

        images, labels = batch
        x = images @ w["embed"] + w["positions"]
        for i in range(blocks_of(w)):
            y = normed(x, f"attend{i}")
            pairs = (y @ w[f"q{i}"]) @ jnp.swapaxes(y @ w[f"k{i}"], -1, -2)
            x = x + jax.nn.softmax(pairs) @ (y @ w[f"v{i}"]) @ w[f"o{i}"]
            y = normed(x, f"think{i}")
            hidden = jax.nn.gelu(y @ w[f"w1_{i}"] + w[f"b1_{i}"])
            x = x + hidden @ w[f"w2_{i}"] + w[f"b2_{i}"]
        told = normed(x, "last").mean(axis=-2) @ w["head"] + w["bias"]
        says = jax.nn.log_softmax(told)
        return -jnp.take_along_axis(says, labels[:, None], axis=1).mean()

    return loss


@cache
def digits(seed: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Images as rows of pixels, (examples, ROWS, PIXELS), and labels.

    With noise on the pixels, as those at the border are the same in all scans, and what
    never changes has symmetries of its own.
    """
    (images, labels), _ = load_digits(seed)
    generator = np.random.default_rng(seed)
    rows = images[:examples].reshape(-1, ROWS, PIXELS).astype(float)
    return rows + 0.1 * generator.normal(size=rows.shape), labels[:examples]
