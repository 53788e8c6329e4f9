"""Layers as public code writes them, at small width: fused, reshaped, tied, rotated.

A case is a pytree of parameters, a loss of it, and a batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen


class Case(NamedTuple):
    parameters: Any
    loss: Any
    batch: Any


def arrays(seed=0, **shapes):
    """Random arrays in float32, by name."""
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(size=shape) / np.sqrt(max(shape[:1] or (1,)))).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def squares(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def regression(forward, parameters, inputs, outputs):
    """The mean square of a forward pass against random targets."""
    targets = numbers(*outputs, seed=2)
    return Case(
        parameters, lambda p, b: squares(forward(p, b[0]), b[1]), (inputs, targets)
    )


def layer_norm(x, scale=None, epsilon=1e-5):
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return x if scale is None else x * scale


def rms_norm(x, scale, epsilon=1e-6):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale


def attend(q, k, v):
    """Causal attention of arrays (batch, time, heads, width)."""
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1])
    mask = np.tril(np.ones(scores.shape[-2:], bool))
    scores = jnp.where(mask, scores, -1e9)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)


def rotated(x, pairs="halves"):
    """Rotary embeddings of (batch, time, heads, width)."""
    width, time = x.shape[-1], x.shape[1]
    angles = np.arange(time)[:, None] / 10 ** (2 * np.arange(width // 2) / width)
    c, s = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    if pairs == "halves":
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * c - b * s, b * c + a * s], -1)
    a, b = x[..., ::2], x[..., 1::2]
    return jnp.stack([a * c - b * s, b * c + a * s], -1).reshape(x.shape)


D, H, W, T = 8, 2, 3, 4


def attention(
    cut="separate", bias=False, rotary=None, heads=H, groups=H, width=W, cosine=False
):
    """One layer of attention; its weights cut as one codebase or another does.

    With `cosine` the temperature of the softmax is the length of the query.
    """
    inputs = numbers(32, T, D)
    own, shared = heads * width, groups * width

    def heads_of(x, count):
        return x.reshape(*x.shape[:-1], count, width)

    def forward(p, x):
        if cut == "separate":
            q, k, v = (jnp.einsum("btd,dhk->bthk", x, p[n]) for n in "qkv")
            if bias:
                q, k, v = (
                    y + p[n + "b"] for y, n in zip((q, k, v), "qkv", strict=True)
                )
        elif cut == "matrices":
            q, k, v = (x @ p[n] for n in "qkv")
            q, k, v = heads_of(q, heads), heads_of(k, groups), heads_of(v, groups)
        elif cut == "fused":
            y = x @ p["qkv"] + (p["qkvb"] if bias else 0)
            q, k, v = (heads_of(z, heads) for z in jnp.split(y, 3, -1))
        else:  # as GPT-NeoX: each head has its own q, k, v side by side
            y = (x @ p["qkv"]).reshape(*x.shape[:-1], heads, 3, width)
            q, k, v = (y[..., i, :] for i in range(3))
        if rotary:
            q, k = rotated(q, rotary), rotated(k, rotary)
        if cosine:
            q = q / jnp.sqrt((q**2).sum(-1, keepdims=True) + 1e-3)
        if groups != heads:
            k, v = (jnp.repeat(z, heads // groups, axis=2) for z in (k, v))
        z = attend(q, k, v)
        if cut == "separate":
            return jnp.einsum("bthk,hkd->btd", z, p["o"])
        return z.reshape(*x.shape[:-1], own) @ p["o"]

    if cut == "separate":
        shapes = {n: (D, heads, width) for n in "qkv"} | {"o": (heads, width, D)}
        shapes |= {n + "b": (heads, width) for n in "qkv"} if bias else {}
    elif cut == "matrices":
        shapes = {"q": (D, own), "k": (D, shared), "v": (D, shared), "o": (own, D)}
    else:
        shapes = {"qkv": (D, 3 * own), "o": (own, D)}
        shapes |= {"qkvb": (3 * own,)} if bias else {}
    return regression(forward, arrays(**shapes), inputs, inputs.shape)


def gated(fused, hidden=5):
    """SwiGLU with gate and up in one kernel, or in two."""
    inputs = numbers(32, D)

    def forward(p, x):
        if fused:
            gate, up = jnp.split(x @ p["gate_up"], 2, -1)
        else:
            gate, up = x @ p["gate"], x @ p["up"]
        return (jax.nn.silu(gate) * up) @ p["down"]

    shapes = (
        {"gate_up": (D, 2 * hidden)}
        if fused
        else {"gate": (D, hidden), "up": (D, hidden)}
    )
    shapes |= {"down": (hidden, D)}
    return regression(forward, arrays(**shapes), inputs, inputs.shape)


def normalised(offset, width=6):
    """A norm whose scale is 1 + scale, as Gemma has it, or the scale itself."""
    inputs = numbers(32, width)

    def forward(p, x):
        return jnp.tanh(rms_norm(x, offset + p["scale"]) @ p["w"])

    parameters = arrays(scale=(width,), w=(width, 4))
    return regression(forward, parameters, inputs, (32, 4))


def tied_autoencoder(inputs=6, hidden=4):
    x = numbers(32, inputs)

    def forward(p, x):
        return (x @ p["w"] + p["b"]) @ p["w"].T + p["c"]

    parameters = arrays(w=(inputs, hidden), b=(hidden,), c=(inputs,))
    return Case(parameters, lambda p, x: squares(forward(p, x), x), x)


def temperature(inputs=6, hidden=4, classes=3):
    """Logits times exp(t), behind ReLU units."""
    x, y = numbers(32, inputs), np.random.default_rng(0).integers(0, classes, 32)

    def loss(p, batch):
        logits = jnp.exp(p["log_scale"]) * (jax.nn.relu(batch[0] @ p["a"]) @ p["b"])
        cost = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1])
        return cost.mean()

    return Case(
        arrays(a=(inputs, hidden), b=(hidden, classes), log_scale=()), loss, (x, y)
    )


def phases(units=3, inputs=5):
    """Complex units of which only the modulus is read."""
    x = numbers(32, inputs)

    def forward(p, x):
        modulus = jnp.sqrt((x @ p["re"]) ** 2 + (x @ p["im"]) ** 2 + 0.1)
        return jnp.tanh(modulus) @ p["out"]

    parameters = arrays(re=(inputs, units), im=(inputs, units), out=(units, 2))
    return regression(forward, parameters, x, (32, 2))


def positions(centred, width=4, tokens=7):
    """Learned positions added to embeddings of tokens, with something behind them."""
    x = np.random.default_rng(0).integers(0, tokens, (64, T))

    def forward(p, x):
        h = p["tokens"][x] + p["positions"]
        h = layer_norm(h) if centred else jnp.tanh(h)
        return jnp.tanh(h @ p["w"]).mean(1)

    parameters = arrays(tokens=(tokens, width), positions=(T, width), w=(width, 3))
    return regression(forward, parameters, x, (64, 3))


def frozen():
    """The first of two ReLU layers is frozen by `stop_gradient`."""
    x = numbers(32, 5)

    def forward(p, x):
        h = jax.nn.relu(x @ jax.lax.stop_gradient(p["first"]))
        return jax.nn.relu(h @ p["second"]) @ p["third"]

    parameters = arrays(first=(5, 4), second=(4, 3), third=(3, 2))
    return regression(forward, parameters, x, (32, 2))


def simsiam(width=4, hidden=3):
    """Two views, a predictor on one, `stop_gradient` on the other."""
    x = numbers(32, 2, 5)

    def loss(p, x):
        z = jax.nn.relu(x @ p["encode"]) @ p["project"]
        guess = jax.nn.relu(z[:, 0] @ p["first"]) @ p["second"]
        target = jax.lax.stop_gradient(z[:, 1])
        return squares(guess, target)

    parameters = arrays(
        encode=(5, hidden),
        project=(hidden, width),
        first=(width, hidden),
        second=(hidden, width),
    )
    return Case(parameters, loss, x)


def batch_normalised(seed=0):
    """Two Linen blocks Dense - BatchNorm - ReLU that are told float32, Dense on top."""

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            for _ in range(2):
                x = linen.Dense(5, dtype=jnp.float32)(x)
                norm = linen.BatchNorm(use_running_average=False, dtype=jnp.float32)
                x = linen.relu(norm(x))
            return linen.Dense(3, dtype=jnp.float32)(x)

    return _linen(Network(), numbers(32, 6), seed)


def layer_normalised(epsilon=1e-5):
    """LayerNorm behind a Dense, as Linen has it in float32."""

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.LayerNorm(epsilon=epsilon, dtype=jnp.float32)(linen.Dense(5)(x))
            return linen.Dense(3)(linen.tanh(x))

    return _linen(Network(), numbers(32, 6))


def recurrent(cell=linen.LSTMCell, width=3):
    """A Linen cell run by `nn.RNN`, with its caches in float32."""

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(linen.RNN(cell(width))(x)[:, -1])

    return _linen(Network(), numbers(32, T, 4))


def mixed(width=8):
    """Parameters in float32, computed in bfloat16: the usual set-up."""

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Dense(width, dtype=jnp.bfloat16)(x))
            return linen.Dense(3, dtype=jnp.bfloat16)(x).astype(jnp.float32)

    return _linen(Network(), numbers(32, 6))


def _linen(module, x, seed=0):
    variables = module.init(jax.random.key(seed), x)
    state = {k: v for k, v in variables.items() if k != "params"}
    mutable = [*state, "intermediates"]

    def loss(p, batch):
        out, _ = module.apply({"params": p, **state}, batch[0], mutable=mutable)
        return cross_entropy(out, batch[1])

    classes = module.apply(variables, x, mutable=mutable)[0].shape[-1]
    labels = np.random.default_rng(0).integers(0, classes, len(x))
    return Case(variables["params"], loss, (x, labels))


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def unexercised():
    """A token that never occurs, and a unit that is always off."""
    x = np.random.default_rng(0).integers(0, 5, (64, T))  # of 7 tokens

    def forward(p, x):
        h = jax.nn.relu(p["tokens"][x] @ p["w"] + p["b"])
        return jnp.tanh(h @ p["v"]).mean(1)

    parameters = arrays(tokens=(7, 4), w=(4, 5), b=(5,), v=(5, 3))
    parameters["b"][2] = -1e3
    return regression(forward, parameters, x, (64, 3))
