"""From one symmetric network to the next: plateaus, and the modes that noise forbids.

A hidden unit at zero is a plane that gradient descent never leaves (the theorem
`symmetry-constraint`), and a small start is close to many of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.theorems.noise.decayed_networks import Digits, digits
from lagrangian.theorems.noise.transverse import (
    MODES,
    Modes,
    learned,
    least_loss,
    modes,
    noisy,
    transverse,
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
    identity,
    order,
)

#: A learning rate at which batches of one keep the weakest mode at zero.
FORBIDDING = 0.1


# ------------------------------------------------------------------ derivation


a, sigma, s, start, t = sp.symbols("a sigma s s_0 t", positive=True)
u, w = sp.symbols("u w", positive=True)


def _flow() -> tuple[dict[Any, Any], Any]:
    """Gradient flow of one mode u w, and ds/dt of s = u w where u = w."""
    loss = a * u**2 * w**2 - 2 * sigma * u * w
    flow = {u: -loss.diff(u), w: -loss.diff(w)}
    moved = (u * flow[w] + w * flow[u]).subs(w, u).subs(u, sp.sqrt(s))
    return flow, sp.factor(moved)


def _identities() -> Iterator[Claim]:
    """The logistic law of a balanced mode, and when it is half learned."""
    flow, moved = _flow()
    yield identity("ds/dt - 4 s (sigma - a s)", moved - 4 * s * (sigma - a * s))
    kept = (u * flow[u] - w * flow[w]) * 2
    yield identity("gradient flow keeps u^2-w^2", kept)
    grown = sp.exp(4 * sigma * t)
    solution = sigma * start * grown / (sigma + a * start * (grown - 1))
    residual = solution.diff(t) - moved.subs(s, solution)
    yield identity("the logistic solution", residual)
    half = sp.log((sigma - a * start) / (a * start)) / (4 * sigma)
    reached = solution.subs(t, half) - sigma / (2 * a)
    yield identity("s(t_half) - sigma/2a", reached)
    early = half.subs(sigma, sigma / 2)
    reached = solution.subs(t, early) - sigma / (2 * a)
    yield identity("s(t) - sigma/2a at the time of 2 sigma", reached, control=True)
    # A unit (w, u) beside a network with the residual M: the tangent of its plane.
    size = sp.Matrix([[0, 2 * sigma], [2 * sigma, 0]])
    rate = max(size.eigenvals(), key=lambda value: value.subs(sigma, 1))
    yield identity("growth of a unit that is not yet there - 2 sigma", rate - 2 * sigma)


# ------------------------------------------------------------------ plateaus


def half_time(sigma: Any, start: Any) -> Any:
    """When a mode is half learned, at E xx^T = 1."""
    return np.log((sigma - start) / start) / (4 * sigma)


@partial(jax.jit, static_argnames="steps")
def _descend(
    layers: Any, signal: Any, left: Any, right: Any, eta: Any, steps: int
) -> Any:
    """Full-batch gradient descent on whitened data: only E yx^T counts."""

    def step(layers: Any, _: Any) -> Any:
        *between, last = layers
        whole = between[0]
        for matrix in (*between[1:], last):
            whole = matrix @ whole
        slope = jax.grad(_loss)(layers, signal)
        moved = [m - eta * g for m, g in zip(layers, slope, strict=True)]
        return moved, jnp.einsum("oi,ok,ki->i", left, whole, right)

    return jax.lax.scan(step, layers, length=steps)[1]


def _loss(layers: Any, signal: Any) -> Any:
    whole = layers[0]
    for matrix in layers[1:]:
        whole = matrix @ whole
    return jnp.sum(whole**2) - 2 * jnp.sum(whole * signal)


def path(data: Digits, layers: Any, eta: float, time: float) -> np.ndarray:
    """The singular values of all modes before every step, of shape (steps, modes)."""
    found = modes(data)
    with jax.enable_x64(True):
        layers = [jnp.asarray(matrix) for matrix in layers]
        steps = int(time / eta)
        return np.asarray(
            _descend(layers, data.signal, found.outputs, found.inputs, eta, steps)
        )


def half_times(values: np.ndarray, sigma: np.ndarray, eta: float) -> np.ndarray:
    """When each mode passes half of its value, between two steps."""
    times = []
    for mode, size in enumerate(sigma):
        s = np.maximum(values[:, mode], 1e-300)
        # ln(s/(sigma - s)) is straight along the logistic curve.
        after = int(np.argmax(s > size / 2))
        logits = np.log(s[after - 1 : after + 1] / (size - s[after - 1 : after + 1]))
        times.append(eta * (after - 1 - logits[0] / (logits[1] - logits[0])))
    return np.array(times)


def _plateaus(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    data = digits(seed)
    found, start = modes(data), 1e-6
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(MODES, MODES)))[0]
    aligned = (
        np.sqrt(start) * turn @ found.inputs.T,
        np.sqrt(start) * found.outputs @ turn.T,
    )
    predicted = half_time(found.sigma, start)
    rates, time = np.array([0.02, 0.01, 0.005]), 1.4 * predicted[-1]
    errors = []
    for eta in rates:
        values = path(data, aligned, eta, time)
        errors.append(half_times(values, found.sigma, eta) / predicted - 1)
    worst = np.abs(errors).max(axis=1)
    what = f"aligned start, {MODES} modes: t_half/predicted - 1"
    yield order(what, 1, rates, worst)
    yield below(f"{what}, eta = .005", worst[-1], 5e-3)
    slow = half_times(values, found.sigma, rates[-1]) / half_time(
        found.sigma / 2, start
    )
    what = "aligned start: t_half by the rate 2 sigma"
    yield below(f"{what} - 1", np.abs(slow - 1).max(), 0.2, control=True)
    yield _plateau_panel(values, found.sigma, rates[-1], start)
    if not quick:
        yield from _generic(data, found, seed)
        yield from _deeper(data, found)


def _generic(data: Digits, found: Modes, seed: int) -> Iterator[Claim]:
    """From a small random start the growing half of each mode counts.

    While one mode is learned it pushes those that share units with it; of the time that
    all need, 2 ln(1/eps)/sigma to leading order, that is the less the smaller eps is.
    """
    generator, eps, eta = np.random.default_rng(seed), 1e-8, 0.01
    layers = (
        eps * generator.normal(size=(12, data.signal.shape[1])),
        eps * generator.normal(size=(data.signal.shape[0], 12)),
    )
    growing = (layers[0] @ found.inputs + layers[1].T @ found.outputs) / 2
    start = (growing**2).sum(axis=0)
    predicted = half_time(found.sigma, start)
    values = path(data, layers, eta, 2.0 * predicted[-1])
    measured = half_times(values, found.sigma, eta)
    worst = np.abs(measured[:3] / predicted[:3] - 1).max()
    yield below(
        "random start of 1e-8, first 3 modes: t_half/predicted - 1", worst, 0.03
    )


def _deeper(data: Digits, found: Modes) -> Iterator[Claim]:
    """One more layer has other plateaus."""
    size, eta = 1e-4, 0.01
    root = size ** (1 / 3)
    layers = (
        root * found.inputs.T,
        root * np.eye(MODES),
        root * found.outputs,
    )
    values = path(data, layers, eta, 200.0)
    measured = half_times(values, found.sigma, eta)
    worst = np.abs(measured / half_time(found.sigma, size) - 1).max()
    what = "two hidden layers: t_half of one"
    yield below(f"{what} - 1", worst, 0.2, control=True)


def _plateau_panel(
    values: np.ndarray, sigma: np.ndarray, eta: float, start: float
) -> Panel:
    k = np.arange(0, len(values), 20)
    t = eta * k
    curves = []
    for mode, size in enumerate(sigma):
        grown = np.exp(4 * size * t)
        curve = size * start * grown / (size + start * (grown - 1))
        shown = "measured" if mode == 0 else "_"
        curves.append(Curve(shown, t, values[k, mode]))
        shown = "predicted" if mode == 0 else "_"
        curves.append(Curve(shown, t, curve, "predicted"))
    return Panel(
        f"{MODES} modes of the digits", "time", "singular value", tuple(curves)
    )


# ------------------------------------------------------------------ what noise forbids


def _noise(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """Batches of one against the weakest mode of the digits, behind eight learned."""
    steps, units = (8000, 8) if quick else (40_000, 8)
    sigma = modes(noisy(seed)).sigma[units]
    slow, fast = 0.02, FORBIDDING
    rates = np.array([slow, fast] if quick else [0.01, slow, 0.04, fast])
    found = [transverse(seed, eta, units, steps=steps) for eta in rates]
    values, errors = np.array(found).T
    exponent = dict(zip(rates, found, strict=True))
    for eta, grows in ((slow, True), (fast, False)):
        value, error = exponent[eta]
        share = learned(seed, eta, units, 2 * steps) / sigma
        what = f"mode {units + 1}, batches of 1, eta = {eta:g}"
        if grows:
            yield above(f"{what}: exponent/standard error", value / error, 5.0)
            yield above(f"{what}: least singular value/sigma", share, 0.5)
        else:
            yield above(f"{what}: minus exponent/standard error", -value / error, 5.0)
            yield below(f"{what}: least singular value/sigma", share, 1e-3)
            said = f"{what}: exponent of gradient descent"
            yield close(said, 2 * sigma, value, 0.1, control=True)
    if quick:
        return
    line = np.polyfit(rates[:3], values[:3], 1, w=1 / errors[:3])[1]
    what = "exponent at eta -> 0, by a straight line"
    yield close(what, 2 * sigma, float(line), 0.1)
    value, error = exponent[0.04]
    what = "eta = .04: the exponent of gradient descent"
    yield close(what, 2 * sigma, value, 0.1, control=True)
    yield from _full_batch(seed, units, fast)
    ends = np.array([0, rates[-1]])
    curves = (
        Curve("gradient descent", ends, np.full(2, 2 * sigma), "predicted"),
        Curve("forbidden below", ends, np.zeros(2), "control"),
        Curve("batches of 1", rates, values, "points"),
    )  # fmt: skip
    title = f"growth of mode {units + 1} of the digits"
    yield Panel(title, "learning rate", "per unit of time", curves)


def _full_batch(seed: int, units: int, eta: float) -> Iterator[Claim]:
    """The same network learns the mode without the noise, at the same rate."""
    data = noisy(seed)
    found = modes(data)
    first, second = least_loss(found, units)
    first = np.vstack([first, 1e-2 * found.inputs[:, units]])
    second = np.hstack([second, 1e-2 * found.outputs[:, units : units + 1]])
    values = path(data, (first, second), eta, 200.0)
    what = f"mode {units + 1}, full batches, eta = {eta:g}: s/sigma"
    yield close(what, 1.0, float(values[-1, units] / found.sigma[units]), 1e-3)


def above(what: str, measured: float, bound: float, *, control: bool = False) -> Claim:
    """The measured number is at least `bound`."""
    holds = bool(measured >= bound)
    return Claim(what, bound, float(measured), f"at least {bound:g}", holds, control)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the plateaus.")
    found: list[Claim | Panel] = [*_identities()]
    setting.report("Training from small starts.")
    found += _plateaus(seed, quick)
    setting.report("Training with batches of one.")
    found += _noise(seed, quick)
    return Evidence.of(_derivation(), found)


def _derivation() -> tuple[str, ...]:
    _, moved = _flow()
    grown = sp.Symbol("grown", positive=True)
    logistic = sigma * start * grown / (sigma + a * start * (grown - 1))
    (half,) = sp.solve(logistic - sigma / (2 * a), grown)
    return (
        rf"\dot s = {sp.latex(moved)}",
        rf"e^{{4\sigma t_{{1/2}}}} = {sp.latex(half)}",
    )


THEOREM = Theorem(
    name="symmetry-to-symmetry",
    title="A small start learns mode after mode, and noise forbids the weakest",
    statement=r"""A hidden unit at zero is a plane of symmetry that training cannot
leave, and a small start is close to all of them. With one hidden layer, whitened inputs
$E xx^T=a$ and balanced layers, each singular value $\sigma$ of $E yx^T$ is learned by
$\dot s = 4s(\sigma-as)$: the network waits at one symmetric state after the other, and
passes half of mode $i$ at
$$t_i = \frac{1}{4\sigma_i}\ln\frac{\sigma_i-as_0}{as_0}.$$
From a random start, $s_0=|(W_1q_i+W_2^Tp_i)/2|^2$, the growing half of the mode.

Beside a network that has learned the modes before, the unit of the next one grows at
the rate $2\sigma$ by full batches. By batches of one it grows at a transverse Lyapunov
exponent that is lower by $O(\eta)$ and passes zero: at a learning rate at which
gradient descent learns a mode, the noise of SGD keeps its unit at zero.""",
    source="Ziyin, Xu, Poggio & Chuang, Parameter symmetry breaking and restoration "
    "determines the hierarchical learning in AI systems (2025), for the idea that "
    "learning goes from symmetry to symmetry; times and exponents are derived here.",
    prove=_prove,
    has_quick=True,
)
