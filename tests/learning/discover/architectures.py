"""Public architectures, written anew at small width, as their own code writes them."""

import jax
import jax.numpy as jnp
import numpy as np

from .written import (
    Case,
    arrays,
    attend,
    cross_entropy,
    layer_norm,
    numbers,
    regression,
    rms_norm,
    rotated,
)

#: Width of the stream, heads and their width, hidden units, classes or tokens, time.
D, H, W, F, K, T = 4, 2, 2, 4, 3, 4
TOKENS = 6


def labels(*shape, classes=K):
    return np.random.default_rng(3).integers(0, classes, shape)


def classify(forward, parameters, inputs, targets):
    return Case(
        parameters,
        lambda p, b: cross_entropy(forward(p, b[0]), b[1]),
        (inputs, targets),
    )


def predict_tokens(forward, parameters):
    """Each next token from those before."""
    tokens = labels(96, T, classes=TOKENS)
    return classify(forward, parameters, tokens, labels(96, T, classes=TOKENS))


def conv(x, kernel, stride=1, groups=1, padding="SAME"):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def batch_norm(x, scale, bias):
    x = x - x.mean((0, 1, 2))
    return x / jnp.sqrt((x**2).mean((0, 1, 2)) + 1e-5) * scale + bias


def norm(x, p, name):
    return layer_norm(x) * p[name + "_scale"] + p[name + "_bias"]


def norms(*names, width=D):
    return {n + s: (width,) for n in names for s in ("_scale", "_bias")}


def resnet(width=3):
    def forward(p, x):
        x = jax.nn.relu(batch_norm(conv(x, p["stem"]), p["s0"], p["b0"]))
        y = jax.nn.relu(batch_norm(conv(x, p["conv1"]), p["s1"], p["b1"]))
        y = batch_norm(conv(y, p["conv2"]), p["s2"], p["b2"])
        return jax.nn.relu(x + y).mean((1, 2)) @ p["head"] + p["head_bias"]

    vectors = {n + i: (width,) for n in "sb" for i in "012"}
    parameters = arrays(
        stem=(3, 3, 1, width),
        conv1=(3, 3, width, width),
        conv2=(3, 3, width, width),
        head=(width, K),
        head_bias=(K,),
        **vectors,
    )
    return classify(forward, parameters, numbers(32, 6, 6, 1), labels(32))


def heads_of(x, width=W):
    return x.reshape(*x.shape[:-1], -1, width)


def block(p, x, mask=True):
    """Attention from one kernel, and a GELU layer, each behind LayerNorm."""
    y = norm(x, p, "n1") @ p["qkv"] + p["qkv_bias"]
    q, k, v = (heads_of(z) for z in jnp.split(y, 3, -1))
    if mask:
        z = attend(q, k, v)
    else:
        scores = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
        z = jnp.einsum("bhts,bshd->bthd", scores, v)
    x = x + z.reshape(*x.shape[:-1], H * W) @ p["o"] + p["o_bias"]
    y = jax.nn.gelu(norm(x, p, "n2") @ p["up"] + p["up_bias"])
    return x + y @ p["down"] + p["down_bias"]


BLOCK = {
    "qkv": (D, 3 * H * W),
    "qkv_bias": (3 * H * W,),
    "o": (H * W, D),
    "o_bias": (D,),
    "up": (D, F),
    "up_bias": (F,),
    "down": (F, D),
    "down_bias": (D,),
}


def vit(patch=4):
    def forward(p, x):
        x = x @ p["patch"] + p["patch_bias"] + p["positions"]
        x = norm(block(p, x, mask=False), p, "last")
        return x.mean(1) @ p["head"] + p["head_bias"]

    parameters = arrays(
        patch=(patch, D),
        patch_bias=(D,),
        positions=(T, D),
        head=(D, K),
        head_bias=(K,),
        **norms("n1", "n2", "last"),
        **BLOCK,
    )
    return classify(forward, parameters, numbers(64, T, patch), labels(64))


def gpt2():
    def forward(p, x):
        x = p["tokens"][x] + p["positions"]
        return norm(block(p, x), p, "last") @ p["tokens"].T

    parameters = arrays(
        tokens=(TOKENS, D),
        positions=(T, D),
        **norms("n1", "n2", "last"),
        **BLOCK,
    )
    return predict_tokens(forward, parameters)


def llama(offset=0.0, tied=False, gate=jax.nn.silu):
    """RMSNorm, rotary embeddings, two queries that share keys, gated layers."""

    def forward(p, x):
        x = p["tokens"][x] * (np.sqrt(D) if tied else 1.0)
        y = rms_norm(x, offset + p["n1"])
        q, k, v = (heads_of(y @ p[n]) for n in "qkv")
        k, v = (jnp.repeat(z, H, axis=2) for z in (rotated(k), v))
        y = attend(rotated(q), k, v)
        x = x + y.reshape(*x.shape[:-1], H * W) @ p["o"]
        y = rms_norm(x, offset + p["n2"])
        if tied:
            one, two = jnp.split(y @ p["gate_up"], 2, -1)
        else:
            one, two = y @ p["gate"], y @ p["up"]
        x = x + (gate(one) * two) @ p["down"]
        x = rms_norm(x, offset + p["last"])
        return x @ (p["tokens"].T if tied else p["head"])

    gates = {"gate_up": (D, 2 * F)} if tied else {"gate": (D, F), "up": (D, F)}
    gates |= {} if tied else {"head": (D, TOKENS)}
    parameters = arrays(
        tokens=(TOKENS, D),
        q=(D, H * W),
        k=(D, W),
        v=(D, W),
        o=(H * W, D),
        down=(F, D),
        n1=(D,),
        n2=(D,),
        last=(D,),
        **gates,
    )
    return predict_tokens(forward, parameters)


def gemma():
    return llama(offset=1.0, tied=True, gate=jax.nn.gelu)


def convnext(width=3):
    def forward(p, x):
        x = norm(conv(x, p["stem"], 2) + p["stem_bias"], p, "n0")
        y = norm(conv(x, p["depth"], groups=width) + p["depth_bias"], p, "n1")
        y = jax.nn.gelu(y @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]
        x = norm((x + y * p["gamma"]).mean((1, 2)), p, "last")
        return x @ p["head"] + p["head_bias"]

    parameters = arrays(
        stem=(2, 2, 1, width),
        stem_bias=(width,),
        depth=(3, 3, 1, width),
        depth_bias=(width,),
        up=(width, 2 * width),
        up_bias=(2 * width,),
        down=(2 * width, width),
        down_bias=(width,),
        gamma=(width,),
        head=(width, K),
        head_bias=(K,),
        **norms("n0", "n1", "last", width=width),
    )
    return classify(forward, parameters, numbers(32, 8, 8, 1), labels(32))


def mixer(patch=4, mixed=3):
    def forward(p, x):
        x = x @ p["patch"] + p["patch_bias"]
        y = norm(x, p, "n1").swapaxes(1, 2)
        y = jax.nn.gelu(y @ p["mix1"] + p["mix1_bias"]) @ p["mix2"] + p["mix2_bias"]
        x = x + y.swapaxes(1, 2)
        y = jax.nn.gelu(norm(x, p, "n2") @ p["up"] + p["up_bias"])
        x = norm(x + y @ p["down"] + p["down_bias"], p, "last")
        return x.mean(1) @ p["head"] + p["head_bias"]

    parameters = arrays(
        patch=(patch, D),
        patch_bias=(D,),
        mix1=(T, mixed),
        mix1_bias=(mixed,),
        mix2=(mixed, T),
        mix2_bias=(T,),
        up=(D, F),
        up_bias=(F,),
        down=(F, D),
        down_bias=(D,),
        head=(D, K),
        head_bias=(K,),
        **norms("n1", "n2", "last"),
    )
    return classify(forward, parameters, numbers(64, T, patch), labels(64))


def unet():
    def forward(p, x):
        skip = jax.nn.relu(conv(x, p["first"]) + p["first_bias"])
        y = jax.lax.reduce_window(
            skip, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        y = jax.nn.relu(conv(y, p["deep"]) + p["deep_bias"])
        y = jnp.repeat(jnp.repeat(y, 2, 1), 2, 2)
        y = jnp.concatenate([skip, y], -1)
        y = jax.nn.relu(conv(y, p["last"]) + p["last_bias"])
        return y @ p["head"] + p["head_bias"]

    parameters = arrays(
        first=(3, 3, 1, 2),
        first_bias=(2,),
        deep=(3, 3, 2, 3),
        deep_bias=(3,),
        last=(3, 3, 5, 2),
        last_bias=(2,),
        head=(2, K),
        head_bias=(K,),
    )
    return classify(forward, parameters, numbers(32, 4, 4, 1), labels(32, 4, 4))


def mamba(inner=4, states=2, low=1):
    """A selective state space: one kernel for x and z, one for dt, B and C."""

    def forward(p, x):
        y = rms_norm(x, p["norm"]) @ p["in"]
        y, z = jnp.split(y, 2, -1)
        padded = jnp.pad(y, ((0, 0), (2, 0), (0, 0)))
        y = sum(padded[:, i : i + x.shape[1]] * p["conv"][i] for i in range(3))
        y = jax.nn.silu(y + p["conv_bias"])
        dt, b, c = jnp.split(y @ p["x"], (low, low + states), -1)
        dt = jax.nn.softplus(dt @ p["dt"] + p["dt_bias"])

        def step(h, now):
            u, dt, b, c = now
            decay = jnp.exp(-dt[..., None] * jnp.exp(p["A_log"]))
            h = decay * h + (dt * u)[..., None] * b[:, None]
            return h, (h * c[:, None]).sum(-1)

        start = jnp.zeros((len(x), inner, states))
        rows = tuple(a.swapaxes(0, 1) for a in (y, dt, b, c))
        _, out = jax.lax.scan(step, start, rows)
        out = out.swapaxes(0, 1) + y * p["skip"]
        return x + (out * jax.nn.silu(z)) @ p["out"]

    parameters = arrays(
        norm=(D,),
        **{"in": (D, 2 * inner)},
        conv=(3, inner),
        conv_bias=(inner,),
        x=(inner, low + 2 * states),
        dt=(low, inner),
        dt_bias=(inner,),
        A_log=(inner, states),
        skip=(inner,),
        out=(inner, D),
    )
    return regression(forward, parameters, numbers(32, T, D), (32, T, D))


def experts(count=3, hidden=3, chosen=2):
    """Each row to the experts with the largest scores, which share it."""

    def forward(p, x):
        scores = x @ p["router"]
        best, which = jax.lax.top_k(scores, chosen)
        shares = jax.nn.softmax(best)
        gates = (jax.nn.one_hot(which, count) * shares[..., None]).sum(-2)
        y = jax.nn.relu(jnp.einsum("bd,edf->bef", x, p["up"]))
        return x + jnp.einsum("bef,efd,be->bd", y, p["down"], gates)

    parameters = arrays(
        router=(D, count), up=(count, D, hidden), down=(count, hidden, D)
    )
    return regression(forward, parameters, numbers(64, D), (64, D))


def lstm(width=3):
    """All gates from one kernel for the input and one for the state."""

    def forward(p, x):
        x = p["tokens"][x].swapaxes(0, 1)

        def step(carry, row):
            h, c = carry
            gates = row @ p["input"] + h @ p["state"] + p["bias"]
            i, f, g, o = jnp.split(gates, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((x.shape[1], width)), jnp.zeros((x.shape[1], width))
        _, h = jax.lax.scan(step, start, x)
        return h.swapaxes(0, 1) @ p["head"] + p["head_bias"]

    parameters = arrays(
        tokens=(TOKENS, D),
        input=(D, 4 * width),
        state=(width, 4 * width),
        bias=(4 * width,),
        head=(width, TOKENS),
        head_bias=(TOKENS,),
    )
    return predict_tokens(forward, parameters)
