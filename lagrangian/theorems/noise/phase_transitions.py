"""What weight decay does to a network as it grows: one transition a mode.

`order_parameter` derives them; `decayed_networks` trains on the digits. A linear
network is trained on the rows of `Digits.rotated`, where it has the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lagrangian.theorems.noise.decayed_networks import (
    Digits,
    Network,
    digits,
    imbalance,
    losses,
    multiplied,
    repeated,
    settled,
    start,
)
from lagrangian.theorems.noise.nonlinear_units import nonlinear_claims
from lagrangian.theorems.noise.order_parameter import (
    branch,
    derivation,
    identities,
    number,
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
    order,
)

MODES = 9


def _trained(data: Digits, layers: int, gamma: float, seed: int, width: int) -> Network:
    """One network from a generic start at a weight decay far below any transition."""
    outputs, inputs = data.signal.shape
    sizes = [inputs, *[width] * layers, outputs]
    return settled(data, start(sizes, 1, seed), [gamma], steps=6000)


def _sizes(network: Network) -> np.ndarray:
    """The singular values of the product, of shape (replicas, modes)."""
    return np.linalg.svd(multiplied(network), compute_uv=False)[:, :MODES]


# ------------------------------------------------------------------ the cascade


def cascade(
    seed: int, layers: int, gammas: int
) -> tuple[np.ndarray, np.ndarray, Network]:
    """All modes of the ten classes, learned from whitened digits.

    Returns:
        the weight decays, halfway between the ends of the modes; the singular values of
        E yx^T; and the networks at rest.
    """
    data = digits(seed).rotated()
    sigma = np.linalg.svd(data.signal, compute_uv=False)[:MODES]
    ends = np.sort(number("gamma_sp", sigma, layers))
    between = np.concatenate(
        [[0.6 * ends[0]], (ends[1:] + ends[:-1]) / 2, [1.1 * ends[-1]]]
    )
    chosen = between[np.linspace(0, MODES, gammas).astype(int)]
    # Without decay every mode is learned.
    before = _trained(data, layers, 0.0, seed, 10)
    many = repeated(before, gammas)
    return chosen, sigma, settled(data, many, chosen, raised_from=0.0)


def _cascades(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    for layers in (2,) if quick else (1, 2):
        gamma, sigma, network = cascade(seed, layers, 4 if quick else MODES + 1)
        predicted = branch(sigma, gamma[:, None], layers)
        measured = _sizes(network)
        what = f"D = {layers}, {MODES} modes of the digits at {len(gamma)} gammas"
        error = np.abs(measured - predicted).max()
        yield below(f"{what}: singular values - predicted", error, 1e-10)
        learned = (measured > 1e-6).sum(axis=1)
        missed = np.abs(learned - (predicted > 0).sum(axis=1)).max()
        yield below(f"D = {layers}: number of learned modes", missed, 0)
        yield below(f"D = {layers}: charges at rest", imbalance(network), 1e-12)
        other = np.abs(measured - branch(sigma, gamma[:, None], 3 - layers)).max()
        what = f"D = {layers}: the formula of D = {3 - layers}"
        yield below(what, other, 1e-3, control=True)
        yield _cascade_panel(gamma, sigma, measured, layers)


def _cascade_panel(
    gamma: np.ndarray, sigma: np.ndarray, measured: np.ndarray, layers: int
) -> Panel:
    fine = np.linspace(0, gamma[-1], 400)
    lines = branch(sigma, fine[:, None], layers)
    curves = []
    for mode in range(MODES):
        label = "predicted" if mode == 0 else "_"
        curves.append(Curve(label, fine, lines[:, mode], "predicted"))
    x = np.repeat(gamma, MODES)
    curves.append(Curve("trained", x, measured.ravel(), "points"))
    title = f"{MODES} modes of the digits, {layers} hidden layer{'s'[: layers > 1]}"
    return Panel(title, "weight decay", "singular value", tuple(curves))


# ------------------------------------------------------------------ one mode


def onset(
    alive: Callable[[np.ndarray], np.ndarray], low: float, high: float, count: int
) -> float:
    """The weight decay where something ends: a grid between, twice."""
    for _ in range(2):
        grid = np.linspace(low, high, count)
        found = alive(grid)
        last = int(np.flatnonzero(found).max(initial=0))
        low, high = grid[last], grid[min(last + 1, count - 1)]
    return (low + high) / 2


def _thresholds(seed: int, quick: bool) -> Iterator[Claim]:
    """Where one mode ends: the parity of the digits, odd or even."""
    count = 6 if quick else 16
    tolerance = 0.01 if quick else 0.001
    raw = digits(seed, whitened=False, parity=True).rotated()
    c = float(np.linalg.norm(raw.signal))
    first = _trained(raw, 1, 0.5 * c, seed, 3)

    def learned(gamma: np.ndarray) -> np.ndarray:
        found = multiplied(settled(raw, repeated(first, count), gamma))
        return np.linalg.norm(found, axis=(1, 2)) > 1e-6

    found = onset(learned, 0.9 * c, 1.1 * c, count)
    yield close("D = 1, not whitened: gamma_c by bisection", c, found, tolerance)
    if quick:
        return
    data = digits(seed, parity=True).rotated()
    c = float(np.linalg.norm(data.signal))
    low = 0.2 * number("gamma_c", c, 2)
    second = _trained(data, 2, low, seed, 3)

    def raised(gamma: np.ndarray) -> Network:
        many = repeated(second, len(gamma))
        return settled(data, many, gamma, raised_from=low)

    def survives(gamma: np.ndarray) -> np.ndarray:
        return _sizes(raised(gamma))[:, 0] > 1e-6

    def pays(gamma: np.ndarray) -> np.ndarray:
        return losses(data, raised(gamma), gamma) < data.power

    end, level = number("gamma_sp", c, 2), number("gamma_c", c, 2)
    found = onset(survives, 0.9 * end, 1.1 * end, count)
    yield close("D = 2: gamma_sp by bisection", end, found, tolerance)
    found = onset(pays, 0.9 * level, 1.1 * level, count)
    yield close("D = 2: gamma_c, where L = E y^2", level, found, tolerance)
    at = raised(np.array([level]))
    jump = 3 * number("s_c", c, 2) ** (2 / 3)
    slope = sum(float((m**2).sum()) for m in at)
    yield close("D = 2: dL/dgamma at gamma_c, then 0", jump, slope, 1e-8)
    small = start([data.inputs.shape[1], 3, 3, 1], 1, seed, 0.01)
    size = _sizes(settled(data, small, [0.5 * level]))[0, 0]
    global_minimum = branch(c, 0.5 * level, 2)
    what = "D = 2: a small start reaches the global minimum"
    yield close(what, float(global_minimum), size, 0.01, control=True)


def _any_covariance(seed: int, quick: bool) -> Iterator[Claim]:
    """(A + gamma |beta|^(2/(D+1)-2)) beta = c, without whitening."""
    data = digits(seed, whitened=False, parity=True).rotated()
    c = float(np.linalg.norm(data.signal))
    for layers in (1,) if quick else (1, 2, 3):
        gamma = 0.5 * float(number("gamma_c", c, layers))
        network = settled(data, _trained(data, layers, 0.2 * gamma, seed, 3), [gamma])
        beta = multiplied(network)[0, 0]
        size = np.linalg.norm(beta)
        pull = data.covariance @ beta + gamma * size ** (2 / (layers + 1) - 2) * beta
        what = f"D = {layers}, not whitened: stationary condition"
        residual = np.abs(pull - data.signal[0]).max()
        yield below(what, residual, 1e-12)
        if layers == 1:
            white = float(branch(c, gamma, layers))
            what = "D = 1, not whitened: |beta| by the formula for white data"
            yield close(what, white, float(size), 0.01, control=True)


def _order_of_the_transition(seed: int) -> Iterator[Claim]:
    """At D = 1 the second derivative of the least loss jumps, by any covariance."""
    data = digits(seed, whitened=False, parity=True).rotated()
    c = data.signal[0]
    critical, n = float(np.linalg.norm(c)), c / np.linalg.norm(c)
    distances, h = np.array([0.1, 0.05, 0.025]), 0.005
    grid = critical * (1 - distances[:, None] + h * np.array([-1, 0, 1]))
    gamma = grid.ravel()
    before = _trained(data, 1, 0.5 * critical, seed, 3)
    network = settled(data, repeated(before, len(gamma)), gamma, steps=40_000)
    least = losses(data, network, gamma).reshape(grid.shape)
    step = h * critical
    second = (least[:, 0] - 2 * least[:, 1] + least[:, 2]) / step**2
    jump = 2 / (n @ data.covariance @ n)
    yield order(
        "D = 1: L'' tends to its jump", 1, distances, np.abs(-second / jump - 1)
    )
    size = np.linalg.norm(multiplied(network), axis=(1, 2)).reshape(grid.shape)[:, 1]
    yield order("D = 1: s vanishes with gamma_c - gamma", 1, distances, size)
    squares = sum((m**2).sum(axis=(1, 2)) for m in network).reshape(grid.shape)[:, 1]
    slope = (least[:, 2] - least[:, 0]) / (2 * step)
    worst = float(np.abs(slope / squares - 1).max())
    yield below("D = 1: dL/dgamma/sum |W|^2 - 1", worst, 5e-3)


def _decays(seed: int) -> Iterator[Claim]:
    """Layers of different decays have their geometric mean; one alone has none."""
    data = digits(seed, parity=True).rotated()
    c = float(np.linalg.norm(data.signal))
    before = _trained(data, 1, 0.2 * c, seed, 3)
    pair = np.array([[0.2 * c], [0.8 * c]])
    size = float(_sizes(settled(data, before, pair))[0, 0])
    yield close("D = 1, decays .2 and .8 of gamma_c: s", 0.6 * c, size, 1e-10)
    alone = np.array([[1.5 * c], [0.0]])
    # It never rests: s tends to |c| as one layer grows without bound.
    found = settled(data, before, alone, steps=200, eta=0.02)
    size = float(_sizes(found)[0, 0])
    what = "D = 1, 1.5 gamma_c on one layer alone: s"
    yield below(what, size, 1e-6, control=True)


# ------------------------------------------------------------------ hysteresis


def loop(
    seed: int, layers: int, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Weight decay up from the trained network, and down again.

    On the way down every rest is shaken by 1e-3, for a network that stands at zero
    would stay there at any depth.

    Returns:
        gamma, s on the way up, s on the way down, |c|.
    """
    data = digits(seed, parity=True).rotated()
    c = float(np.linalg.norm(data.signal))
    end = float(number("gamma_sp", c, layers))
    gamma = np.linspace(0.43, 1.15, points) * end
    network, last = _trained(data, layers, 0.2 * end, seed, 3), 0.2 * end
    generator = np.random.default_rng(seed)
    found: list[list[float]] = []
    for way, kick in ((gamma, 0.0), (gamma[::-1], 1e-3)):
        found.append([])
        for value in way:
            shaken = [m + kick * generator.normal(size=m.shape) for m in network]
            network = settled(data, shaken, [value], steps=5000, raised_from=last)
            last = float(value)
            found[-1].append(float(_sizes(network)[0, 0]))
    return gamma, np.array(found[0]), np.array(found[1][::-1]), c


def _hysteresis(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    curves = []
    for layers in (2,) if quick else (1, 2):
        gamma, up, down, c = loop(seed, layers, 5 if quick else 13)
        predicted = branch(np.array(c), gamma, layers)
        name = f"D = {layers}"
        error = np.abs(up - predicted).max()
        yield below(f"{name}: s on the way up - predicted", error, 1e-8)
        lag = np.abs(down - up).max()
        if layers == 1:
            yield below(f"{name}: s comes back on the way down", lag, 1e-8)
        else:
            yield below(f"{name}: s stays zero on the way down", down.max(), 1e-6)
            what = f"{name}: s comes back on the way down"
            yield below(what, lag, 1e-8, control=True)
        fine = np.linspace(gamma[0], gamma[-1], 300)
        line = branch(np.array(c), fine, layers)
        curves += [
            Curve(f"{name}, predicted", fine, line, "predicted"),
            Curve(f"{name}, up", gamma, up, "points"),
            Curve(f"{name}, down", gamma, down, "points"),
        ]
    yield Panel("one mode, up and down again", "weight decay", "s", tuple(curves))


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the transitions.")
    found: list[Claim | Panel] = [*identities()]
    setting.report("Training the cascade on the digits.")
    found += _cascades(seed, quick)
    setting.report("Looking for the thresholds.")
    found += _thresholds(seed, quick)
    found += _any_covariance(seed, quick)
    setting.report("Up and down again.")
    found += _hysteresis(seed, quick)
    found += _decays(seed)
    if not quick:
        setting.report("Training close to the transition.")
        found += _order_of_the_transition(seed)
        found += nonlinear_claims(seed)
    return Evidence.of(derivation(), found)


THEOREM = Theorem(
    name="phase-transitions",
    title="Weight decay unlearns a network mode by mode, by phase transitions",
    statement=r"""Train a linear network of $D$ hidden layers on
$E|f-y|^2 + \gamma\sum_i|W_i|^2$, $E xx^T = a I$. At rest the charges of $GL(h)$
vanish, so that each singular value $\sigma$ of $E yx^T$ has one order parameter, the
singular value $s$ of the product, at a minimum of
$\ell(s) = a s^2 - 2\sigma s + \gamma(D+1)s^{2/(D+1)}$:

- $D=0$: $s = \sigma/(a+\gamma)$, no transition;
- $D=1$: $s = (\sigma-\gamma)_+/a$, of second order at $\gamma_c=\sigma$;
- $D\ge2$: of first order, $s_c = \frac{\sigma(D-1)}{aD}$ jumps to zero at
  $\gamma_c = \frac{\sigma}{D}s_c^{(D-1)/(D+1)}$, but training from below stays on its
  branch until $s_c/2$ at $\gamma_{sp} = a\frac{D+1}{D-1}(s_c/2)^{2D/(D+1)}$, and never
  comes back.

For one output and any covariance $A$, $(A + \gamma|\beta|^{2/(D+1)-2})\beta = E xy$,
and $\gamma_c=|E xy|$ at $D=1$ whatever $A$ is. Layers of different decay count by their
geometric mean, so that decay on one layer alone makes no transition. With tanh units,
$s = (\sigma-\gamma)/(a + 2m/3h)$ close to it, $m=E\,y(n\cdot x)^3$, $n=E xy/\sigma$;
for ReLU units $\gamma_c = \max_{|w|=1}|E\,y\,\mathrm{relu}(w\cdot x)|$.""",
    source="Ziyin & Ueda, Exact phase transitions in deep learning (2022); the "
    "branches, their ends, any covariance and nonlinear units are derived here.",
    prove=_prove,
    has_quick=True,
)
