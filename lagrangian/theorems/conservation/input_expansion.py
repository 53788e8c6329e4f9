"""What constant inputs do to training: a faster bias, and no more parity.

`constant_inputs` has the networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp

from lagrangian.symbolic.algebra.blocks import blocks, ones
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.discrete import (
    Steps,
    learning_rate,
    role,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.conservation.constant_inputs import (
    CONSTANTS,
    ETA,
    POINTS,
    UNITS,
    apart,
    charges,
    curve,
    data,
    faster,
    fitted,
    floor,
    loss,
    start,
    trained,
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
)

#: Of two networks that should be the same, and of a charge.
SAME, KEPT = 1e-10, 1e-12


def factor(adam: bool = False) -> float:
    """By which the bias of the plain network is faster."""
    sizes = np.abs(CONSTANTS) if adam else CONSTANTS**2
    return 1 + float(sizes.sum())


# ------------------------------------------------------------------ derivation


def translation(scale: sp.Expr) -> tuple[Law, sp.Expr]:
    """The law of v -> v + s z, b -> b - s c z, z a constant of a unit, by the steps.

    With all units in one block, along the direction of v that has ones.
    """
    v, b = blocks("v b")
    symmetry = Symmetry({v: ones, b: -scale * ones}, name="translation")
    law = noether(Steps(symmetry.loss), symmetry)
    moved = Inner(ones, v) - scale * Inner(ones, b)
    later = {v: v - learning_rate * role(v, "next trace")}
    later[b] = b - learning_rate * role(b, "next trace")
    change = sp.expand(moved.xreplace(later) - moved)
    traces = Inner(ones, role(v, "next trace")) - scale * Inner(
        ones, role(b, "next trace")
    )
    return law, sp.expand(change + learning_rate * traces)


def identities() -> Iterator[Claim]:
    c = sp.Symbol("c", real=True)
    law, gap = translation(c)
    what = "change of <1, v - c b> in a step + eta <1, p_v - c p_b>"
    yield identity(what, gap)
    driven = law.rate.subs(weight_decay, 0)
    momentum = sp.Symbol("beta", nonnegative=True, real=True)
    what = "p' of that direction - beta p, without decay: what drives it"
    left = sp.expand(driven - (momentum - 1) * law.charge)
    yield identity(what, left)
    yield identity("the same with decay", law.rate - driven, control=True)
    eta, slope = sp.symbols("eta g", real=True)
    constants = sp.symbols("c_1:4", real=True)
    weights, bias = sp.symbols("v_1:4", real=True), sp.Symbol("b", real=True)
    before = bias + sum(k * v for k, v in zip(constants, weights, strict=True))
    moved = {v: v - eta * k * slope for k, v in zip(constants, weights, strict=True)}
    after = before.subs(moved, simultaneous=True).subs(bias, bias - eta * slope)
    rate = eta * (1 + sum(k**2 for k in constants))
    yield identity("B' - B + eta (1 + sum c^2) g", after - before + rate * slope)
    yield identity("B' - B + eta g", after - before + eta * slope, control=True)
    even, odd, f = sp.symbols("e o f", real=True)
    misses = ((f - even - odd) ** 2 + (-f - even + odd) ** 2) / 4
    what = "odd f, y = even + odd, mean loss at x and -x - e^2/2 - (f - o)^2/2"
    yield identity(what, misses - even**2 / 2 - (f - odd) ** 2 / 2)


# ------------------------------------------------------------------ digits


def _digits(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    wide, plain = start(seed)
    steps = 200 if quick else 500
    for beta in (0.9,) if quick else (0.0, 0.9):
        rule, name = optax.sgd(ETA, beta), f"digits, momentum {beta:g}, {steps} steps"
        first, seen = trained(seed, wide, rule, steps, _charges_and_bias)
        kept = seen[:, :-1]
        what = f"{name}: motion of v_k - c_k b, {kept[0].size} charges"
        yield below(what, np.abs(kept - kept[0]).max(), KEPT)
        fast = optax.chain(rule, faster(factor()))
        second, told = trained(seed, plain, fast, steps, lambda w: w["bias"])
        what = f"{name}: distance from the plain network, its bias"
        yield below(f"{what} {factor():.2f} times as fast", apart(first, second), SAME)
        slow, _ = trained(seed, plain, rule, steps)
        yield below(f"{what} as fast", apart(first, slow), SAME, control=True)
        panel = _biases(kept[0], seen[:, -1], told)
    decayed = optax.chain(optax.add_decayed_weights(0.05), optax.sgd(ETA))
    first, kept = trained(seed, wide, decayed, steps, charges)
    told = (1 - ETA * 0.05) ** np.arange(steps)[:, None, None] * kept[0]
    what = "digits, weight decay: v_k - c_k b, less (1 - eta lambda)^n of it"
    yield below(what, np.abs(kept - told).max(), KEPT)
    what = "digits, weight decay: motion of v_k - c_k b"
    yield below(what, np.abs(kept - kept[0]).max(), KEPT, control=True)
    both = optax.chain(
        optax.add_decayed_weights(0.05), optax.sgd(ETA), faster(factor())
    )
    second, _ = trained(seed, plain, both, steps)
    what = "digits, weight decay: distance from the plain network"
    yield below(f"{what}, its bias faster", apart(first, second), SAME, control=True)
    pulled = optax.chain(
        faster(factor()), optax.add_decayed_weights(0.05), optax.sgd(ETA)
    )
    second, _ = trained(seed, plain, pulled, steps)
    what = f"{what}, its bias faster but for the decay"
    yield below(what, apart(first, second), SAME)
    yield from _adam(seed)
    yield panel


def _adam(seed: int) -> Iterator[Claim]:
    """Adam does not see the size of c but its sign."""
    wide, plain = start(seed)
    adam = optax.adam(1e-3, eps=0.0)
    first, _ = trained(seed, wide, adam, 60)
    for name, by in (("1 + sum |c|", factor(True)), ("1 + sum c^2", factor())):
        fast = optax.chain(adam, faster(by))
        second, _ = trained(seed, plain, fast, 60)
        what = f"digits, Adam, 60 steps: distance from the plain network, bias {name}"
        control = name != "1 + sum |c|"
        yield below(what, apart(first, second), 1e-9, control=control)


def _charges_and_bias(w: Any) -> Any:
    return jnp.concatenate([charges(w), w["bias"][None]])


def _biases(kept: np.ndarray, found: np.ndarray, plain: np.ndarray) -> Panel:
    """b of the wide network, and what the plain one and the charges say of it.

    v_k = q_k + c_k b, so that B = b + sum c v is (1 + sum c^2) b + sum c q.
    """
    told = (plain - CONSTANTS @ kept) / factor()
    steps, curves = np.arange(0, len(told), max(1, len(told) // 40)), []
    for unit in range(5):
        labels = ("b", "from the plain network") if unit == 0 else ("_", "_")
        curves.append(Curve(labels[0], steps, found[steps, unit]))
        curves.append(Curve(labels[1], steps, told[steps, unit], "predicted"))
    title = "biases with constant inputs, five units on the digits"
    return Panel(title, "step", "", tuple(curves))


def _directions(seed: int) -> Iterator[Claim]:
    """How many directions have no slope for any example: K a unit more, and no other.

    By the rank of the gradients of single examples at a random point.
    """
    generator = np.random.default_rng(seed)
    inputs, _ = data(seed)
    inputs = inputs[:1400] + generator.normal(size=(1400, 64)) / 10
    labels = generator.integers(0, 10, 1400)
    found = []
    for w in start(seed):
        with jax.enable_x64(True):
            slopes = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(
                jax.tree.map(jnp.asarray, w),
                (jnp.asarray(inputs)[:, None], jnp.asarray(labels)[:, None]),
            )
        rows = [np.asarray(a).reshape(1400, -1) for a in jax.tree.leaves(slopes)]
        matrix = np.concatenate(rows, axis=1)
        sizes = np.linalg.svd(matrix, compute_uv=False)
        found.append(matrix.shape[1] - int((sizes > 1e-12 * sizes[0]).sum()))
    what = "digits: directions without slope with constant inputs, more than without"
    yield equal(what, len(CONSTANTS) * UNITS, found[0] - found[1])
    what = "the same, one for each constant"
    yield equal(what, len(CONSTANTS), found[0] - found[1], control=True)


def _spread(seed: int) -> Claim:
    """The start of B, at four constants pi and U(+-1/sqrt(fan in))."""
    generator = np.random.default_rng(seed)
    drawn = generator.uniform(-1, 1, size=(6, 200_000)) / np.sqrt(5)
    begin = drawn[0] + np.pi * drawn[1:5].sum(axis=0)
    what = "four constants pi at the start: spread of B over that of w"
    told = float(np.sqrt(1 + 4 * np.pi**2))
    return close(what, told, float(begin.std() / drawn[5].std()), 0.01)


# ------------------------------------------------------------------ parity


def _parity(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Without biases an odd network has the floor of the even part."""
    least, curves = floor(), []
    for constant in (0.0, 1.0) if quick else (0.0, 0.1, 1.0):
        value, odd, says = fitted(seed, constant)
        name = f"no biases, tanh, c = {constant:g}"
        broken = constant > 0
        what = f"{name}: f(x) + f(-x)"
        yield below(what, odd, 1e-12, control=broken)
        yield close(f"{name}: loss", least, value, 0.03, control=broken)
        if constant == 1.0 or not broken:
            style = "control" if broken else "measured"
            curves.append(Curve(f"c = {constant:g}", POINTS, says, style))
    _, odd, _ = fitted(seed, 0.0, jax.nn.softplus)
    yield below("no biases, softplus: f(x) + f(-x)", odd, 1e-12, control=True)
    odd_part = (curve() - curve()[::-1]) / 2
    curves.append(Curve("odd part of the target", POINTS, odd_part, "predicted"))
    yield Panel("networks without biases, fitted", "x", "", tuple(curves))


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the charges of constant inputs.")
    found: list[Claim | Panel] = [*identities(), _spread(seed)]
    setting.report("Training with constant inputs, and without.")
    found += _digits(seed, quick)
    setting.report("Fitting networks without biases.")
    found += _parity(seed, quick)
    if not quick:
        setting.report("Counting directions without slope.")
        found += _directions(seed)
    law, _ = translation(sp.Symbol("c", real=True))
    change = sp.latex(sp.expand(law.rate))
    return Evidence.of((rf"\Delta {sp.latex(law.charge)} = {change}",), found)


THEOREM = Theorem(
    name="input-expansion",
    title="Constant inputs are a faster bias, and break nothing but a parity",
    statement=r"""Give a network inputs beside its own that never change,
$c_1,\dots,c_K$: a unit of its first layer then sees $w\cdot x+B$, $B=b+\sum_kc_kv_k$.
The loss depends on $B$ alone, so that $v_k\to v_k+s$, $b\to b-c_ks$ is a symmetry: $K$
translations for each unit *more* than before. Training by gradient descent, with any
momentum and on any minibatches, keeps

- $v_k-c_kb$ of every unit, at every step; weight decay makes it fade like
  $(1-\eta\lambda)^n$ without momentum;
- the function of the plain network that starts with the bias $B_0$, and whose bias has
  the learning rate $\eta(1+\sum c_k^2)$, not counting weight decay. With Adam it is
  $\eta(1+\sum|c_k|)$.

The paper reads expanded inputs as symmetry breaking. In a network with biases they
break no symmetry of the parameters. What they change is the rate of the bias, and its
start: at the usual $U(\pm1/\sqrt{1+K})$, of one input, $B_0$ is spread
$\sqrt{1+\sum c_k^2}$ times as wide as $w$. Images that are enlarged have larger feature
maps as well, which is not looked at here.

One symmetry of functions they do break: a network without biases and with an odd
activation is odd, $f(-x)=-f(x)$, and half its mean squared error on points that are
symmetric around zero is at least half the mean square of the even part of the target.
One constant input removes that floor.""",
    source="Zhang, Cheng, Li, Wang, Chen, Pang & Meng, Symmetry breaking in neural "
    "network optimization: insights from input dimension expansion (2024), for inputs "
    "that are constant; the charges, the rate and the floor are derived here.",
    prove=_prove,
    has_quick=True,
)
