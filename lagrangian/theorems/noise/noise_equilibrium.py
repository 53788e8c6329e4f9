"""Where on the orbit of a symmetry SGD stops: where the gradients are least noisy.

`least_noise` has the identities, `noisy_networks` the runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy.stats import t as student

from lagrangian.learning.gradient_noise import gradient_noise
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.theorems.noise.least_noise import derivation, identities
from lagrangian.theorems.noise.noisy_networks import (
    ReluRun,
    Teacher,
    relu_loss,
    relu_moments,
    relu_problem,
    relu_run,
    stream,
    teacher,
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

ETA = 0.05
#: Of w against u; a unit's row of w and column of u.
UNITS = Rescale(Block("inward", unit_axis=0), Block("outward", unit_axis=-1))


# ------------------------------------------------------------------ ReLU on digits


def _steps(seed: int, quick: bool) -> Iterator[Claim]:
    """The step is exact, and on average what the moments say."""
    # From a network on its way: of the first steps of all, a few decide alone.
    runs, steps = (8 if quick else 16), 2000
    start = tuple(m[0] for m in relu_run(seed, ETA, steps, runs=runs).layers)
    run = relu_run(seed, ETA, steps, runs=runs, layers=start)
    yield below("ReLU, batches of 1: C' - C - eta^2 <g,Ag>", run.residual, 1e-12)
    variance = run.variance.sum(axis=1)
    alive = (variance > 0).all(axis=0)
    variance, pushed = variance[:, alive], run.pushed.sum(axis=1)[:, alive]
    moved = (run.charge[:, -1] - run.charge[:, 0])[:, alive]
    what = f"{runs} x {steps} steps: C less eta^2 (tr A Sigma + grad A grad)"
    off = (moved - pushed).sum(axis=0) / np.sqrt(variance.sum(axis=0))
    yield below(f"{what}, standard errors: rms of the units", _together(off), 2.0)
    # Of all units together, weighted as they are expected to move: by the other runs,
    # for a run's own push answers to its chance, and would be biased.
    weights = (pushed.sum(axis=0) - pushed) / (variance.sum(axis=0) - variance)
    along = (weights * moved).sum(axis=1)
    off = along - (weights * pushed).sum(axis=1)
    bound = _bound(runs)
    what = f"{what} of all units: mean of the runs over its standard error"
    yield below(f"{what} (99.9 %)", off.mean() / _error(off), bound)
    what = "the same as if C stayed: mean of the runs over its standard error"
    yield below(what, along.mean() / _error(along), bound, control=True)
    if not quick:
        tanh = relu_run(seed, ETA, 500, activation=jnp.tanh)
        what = "tanh: C' - C - eta^2 <g,Ag>"
        yield below(what, tanh.residual, 1e-12, control=True)
    yield from _moments(seed, run)


def _together(off: np.ndarray) -> float:
    """The root of the mean square, without NaN: 1 for right standard errors."""
    return float(np.sqrt(np.nanmean(off**2)))


def _error(of_runs: np.ndarray) -> float:
    """The standard error of the mean of independent runs."""
    return float(of_runs.std(ddof=1) / np.sqrt(len(of_runs)))


def _bound(runs: int) -> float:
    """What a mean of zero exceeds in one of 1000 measurements, in standard errors."""
    return float(student.ppf(0.9995, runs - 1))


def _moments(seed: int, run: ReluRun) -> Iterator[Claim]:
    """`lg.gradient_noise` on the network, and on its orbit at the equilibrium."""
    data = relu_problem(seed)
    w, u = (matrix[0] for matrix in run.layers)
    noise = gradient_noise({"inward": w, "outward": u}, relu_loss, data, UNITS)
    pushed, _, inward, outward, _ = relu_moments(seed, (w, u))
    gap = np.abs(noise.batch(1) - pushed).max() / np.abs(noise.trace).max()
    yield below("tr A Sigma + grad A grad by lg.gradient_noise", gap, 1e-12)
    # tr Sigma of both sides, from two generators: of w and u, and of each alone.
    # A unit that no example turns on has neither.
    alive = inward > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(alive, (inward / outward) ** 0.25, 1.0)
    there = {"inward": w * scale[:, None], "outward": u / scale}
    rest = gradient_noise(there, relu_loss, data, UNITS).trace
    worst = float(np.abs(rest[alive] / noise.trace[alive]).max())
    yield below("tr A Sigma at l* = ln(tr_in/tr_out)/4, over that here", worst, 1e-12)


def _rest(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    """In the end C is at rest, and noise balanced; full batches stay as they are."""
    steps, parts, runs = (20_000, 10, 4) if quick else (400_000, 40, 16)
    run = relu_run(seed, ETA, steps, parts=parts, every=50, runs=runs)
    full = relu_run(seed, ETA, 4000, parts=parts, every=50, full=True)
    stays = np.abs(full.ratio[0, -1])
    if quick:
        nearer = np.abs(run.ratio[:, -1]) / stays
        what = "ln tr Sigma_in/tr Sigma_out, SGD over full batch"
        yield below(f"{what}: median", np.nanmedian(nearer), 0.7)
    else:
        yield from _balance(run)
        what = "norm balance instead: median |C|"
        yield below(what, np.median(np.abs(run.charge[:, -1])), 0.1, control=True)
    what = "ln tr Sigma_in/tr Sigma_out by full batches: smallest"
    yield below(what, stays.min(), 0.05, control=True)
    x = np.arange(1, parts + 1) / parts
    curves = [Curve("equilibrium", x, np.zeros(parts), "predicted")]
    for unit in range(run.ratio.shape[-1]):
        curves.append(Curve("SGD" if unit == 0 else "_", x, run.ratio[0, :, unit]))
    for unit in (0, 1, 2):
        shown = "full batch" if unit == 0 else "_"
        curves.append(Curve(shown, x, full.ratio[0, :, unit], "control"))
    title = "ln tr Sigma_in/tr Sigma_out, units of a ReLU layer on the digits"
    yield Panel(title, "share of the run", "", tuple(curves))


def _balance(run: ReluRun) -> Iterator[Claim]:
    """Over the second half of the runs, in standard errors that the runs give.

    Only of units that relax by e^-5 in each half. The others answer to few digits:
    they learn slowly or no more, and are still on their way.
    """
    half = run.folds.shape[1] // 2
    folds = [part.sum(axis=1) for part in (run.folds[:, :half], run.folds[:, half:])]
    relaxed = np.minimum(*folds) > 5
    count = f"{relaxed.sum()} of {relaxed.size} units in {len(relaxed)} runs relaxed"
    yield below(f"{count}: share of the others", 1 - relaxed.mean(), 0.25)
    inward, outward, moved = (
        np.where(relaxed, of_units, np.nan)
        for of_units in (
            run.inward[:, half:].sum(axis=1),
            run.outward[:, half:].sum(axis=1),
            run.charge[:, -1] - run.charge[:, half],
        )
    )
    what = "ln tr Sigma_in/tr Sigma_out of a unit in a run: root mean square"
    yield below(what, _together(np.log(inward / outward)), 0.05)
    # C moves by eta^2 (|g_w|^2 - |g_u|^2) exactly. Over half of what both sides push
    # it is the logarithm of their quotient, where that is small.
    off = 2 * moved / (inward + outward)
    what = "ln |g_w|^2/|g_u|^2 of all steps"
    yield below(f"{what}, a unit in a run: root mean square", _together(off), 0.05)
    # The units of a run depend on each other; the runs do not.
    means = np.nanmean(off, axis=1)
    mean, error, bound = means.mean(), _error(means), _bound(len(means))
    seen = (bound + float(student.ppf(0.9, len(means) - 1))) * error
    what = f"{what}: mean of the runs over its standard error"
    yield below(f"{what} (99.9 %; 9 in 10 show {seen:.1g})", mean / error, bound)
    ins, outs = run.layers[0].shape[-1], run.layers[1].shape[-2]
    apart = (mean - np.log(ins / outs)) / error
    what = f"{what}, less ln {ins}/{outs}: as much noise in every weight"
    yield below(what, apart, bound, control=True)


# ------------------------------------------------------------------ linear teachers


def _sharpness(given: Teacher, first: np.ndarray, second: np.ndarray) -> float:
    """Tr H at a global minimum: 2 (d_y tr W S_x W^T + tr S_x |U|^2)."""
    inward = (first**2 * given.inputs).sum(axis=(-1, -2)).mean()
    outward = (second**2).sum(axis=(-1, -2)).mean()
    return float(2 * (len(given.noise) * inward + given.inputs.sum() * outward))


def _spectrum(given: Teacher, first: np.ndarray) -> np.ndarray:
    """The mean eigenvalues of W S_x W^T, falling."""
    squares = (first * given.inputs) @ first.swapaxes(-1, -2)
    return np.linalg.eigvalsh(squares).mean(axis=(0, 1))[::-1]


def _start(given: Teacher) -> list[np.ndarray]:
    """A global minimum of equal norms: U^T U = W W^T."""
    left, sizes, right = np.linalg.svd(given.whole)
    root = np.sqrt(sizes)
    return [root[:, None] * right, left * root]


def _two_layers(seed: int, quick: bool) -> Iterator[Claim | Panel]:
    given = teacher()
    rest = given.at_rest(2)
    rates = np.array([0.008] if quick else [0.016, 0.008, 0.004])
    replicas = 8 if quick else 24
    predicted = given.modes / given.alpha
    sharp = _sharpness(given, *(m[None] for m in rest))
    started = _start(given)
    spectra, sharps, last = [], [], []
    for eta in rates:
        time = 500 if quick else (5600 if eta == 0.004 else 1800 * 0.016 / eta)
        last = stream(given, started, eta, time, replicas=replicas, seed=seed)
        spectra.append(_spectrum(given, last[0]))
        sharps.append(_sharpness(given, *last))
    errors = np.abs(np.array(spectra) / predicted - 1)
    closest = errors[-1].max(), abs(sharps[-1] / sharp - 1)
    bound = 0.15 if quick else 0.05
    what = f"2 layers, eta = {rates[-1]:g}"
    yield below(f"{what}: eigenvalues of W S_x W^T/predicted - 1", closest[0], bound)
    flat = 0.03 if quick else 0.015
    yield below(f"{what}: Tr H/predicted - 1", closest[1], flat)
    if not quick:
        what = "2 layers: eigenvalues of W S_x W^T"
        yield order(what, 1, rates, errors[:, [0, 2]].mean(axis=1), 0.25)
        sizes = np.abs(np.array(sharps) / sharp - 1)
        yield order("2 layers: Tr H", 1, rates, sizes, 0.25)
    flattest = float(
        4
        * np.sqrt(len(given.noise) * given.inputs.sum())
        * np.linalg.svd(given.whole * np.sqrt(given.inputs), compute_uv=False).sum()
    )
    isotropic = np.linalg.svd(given.whole * np.sqrt(given.inputs), compute_uv=False)
    isotropic = isotropic * np.sqrt(given.inputs.sum() / len(given.noise))
    wrong = np.abs(spectra[-1] / isotropic - 1).max()
    what = "2 layers: eigenvalues as if the label noise were isotropic, over measured"
    yield below(f"{what} - 1", wrong, bound, control=True)
    first, second = last
    gap = second.swapaxes(-1, -2) @ second - first @ first.swapaxes(-1, -2)
    size = np.abs(gap.mean(axis=(0, 1))).max() / np.abs(second).max() ** 2
    yield below("2 layers: norm balance U^T U - W W^T", size, 0.02, control=True)
    still = stream(given, started, 0.016, 300.0, replicas=1, full=True)
    off = np.abs(_spectrum(given, still[0]) / predicted - 1).max()
    what = "2 layers, expected gradients: eigenvalues/predicted - 1"
    yield below(what, off, bound, control=True)
    if not quick:
        what = "2 layers: Tr H of the flattest minimum"
        yield close(what, flattest, sharps[-1], flat, control=True)
    curves = (
        Curve("predicted", np.arange(1, 4), predicted, "predicted"),
        Curve("SGD", np.arange(1, 4), spectra[-1], "points"),
        Curve("full batch", np.arange(1, 4), _spectrum(given, still[0]), "control"),
    )
    yield Panel("eigenvalues of W S_x W^T, two layers", "mode", "", curves)


def _three_layers(seed: int) -> Iterator[Claim]:
    """All singular values of the matrix in the middle become equal."""
    given, eta = teacher(), 0.004
    rest = given.at_rest(3)
    left, sizes, right = np.linalg.svd(given.whole)
    root = np.cbrt(sizes)
    start = [root[:, None] * right, np.diag(root), left * root]
    found = stream(given, start, eta, 2400.0, seed=seed)
    still = stream(given, start, eta, 100.0, replicas=1, full=True)
    predicted = np.linalg.svd(rest[1], compute_uv=False)
    for what, layers, control in (("SGD", found, False), ("full batch", still, True)):
        middle = np.linalg.svd(layers[1], compute_uv=False).mean(axis=(0, 1))
        worst = np.abs(middle / predicted - 1).max()
        said = f"3 layers, {what}: singular values of the middle one/predicted - 1"
        yield below(said, worst, 0.1, control=control)


# ------------------------------------------------------------------ the theorem


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving steps, orbits and equilibria.")
    found: list[Claim | Panel] = [*identities()]
    setting.report("Training a ReLU layer step by step.")
    found += _steps(seed, quick)
    setting.report("Training it to its equilibrium.")
    found += _rest(seed, quick)
    setting.report("Training linear layers on a teacher.")
    found += _two_layers(seed, quick)
    if not quick:
        found += _three_layers(seed)
    return Evidence.of(derivation(), found)


THEOREM = Theorem(
    name="noise-equilibrium",
    title="SGD slides along symmetries to where its gradients are least noisy",
    statement=r"""Let $A$ be a symmetric generator under which the loss of every example
is invariant, $C=\langle\theta,A\theta\rangle$. A step of SGD on a batch of gradient $g$
obeys $C' = (1-2\eta\gamma)^2C+\eta^2\langle g,Ag\rangle$ exactly, so that on average
$$\Delta C = -4\eta\gamma C + \eta^2\left(\mathrm{tr}(A\Sigma)/S
+ \nabla L^TA\nabla L\right).$$
Gradients turn by $e^{-lA}$ along the orbit $\theta_l=e^{lA}\theta$, so that this push
is $-\Phi'(l)$ of the convex $\Phi(l)=\frac T2\mathrm{tr}\,\Sigma(\theta_l)
+2\gamma|\theta_l|^2$, $T=\eta/S$: SGD stops at the one point of the orbit where noise
and weight decay are least. For $A=\pm1$ it is where
$$e^{4l^*}=\frac{T\,\mathrm{tr}\,\Sigma_{++}+4\gamma|\theta_-|^2}
{T\,\mathrm{tr}\,\Sigma_{--}+4\gamma|\theta_+|^2}:$$
without decay each ReLU unit has as much gradient noise before as behind it, and not
equal norms.

For $f=UWx$, $y=Vx+e$, with $S_x=Exx^T$, $S_e=Eee^T$, and the singular values $K$ of
$S_e^{1/2}VS_x^{1/2}$, $W S_xW^T$ has the eigenvalues $K/\alpha$,
$\alpha=\sqrt{\mathrm{tr}S_e/\mathrm{tr}S_x}$: the covariance of the labels' noise
decides how sharp the minimum is. In deeper linear networks all singular values of every
matrix but the first and the last become equal.

The paper states that gradient descent conserves $C$. So does its continuous limit; at a
finite learning rate it moves by $\eta^2\nabla L^TA\nabla L$ a step. Norm balance is the
equilibrium only where noise is isotropic and inputs are as many as outputs.""",
    source="Ziyin, Wang, Li & Wu, Parameter symmetry and noise equilibrium of "
    "stochastic gradient descent (2024), and Ziyin, Wang & Wu, The implicit bias of "
    "gradient noise: a symmetry perspective (2024); the least noise and the spectra "
    "are derived here.",
    prove=_prove,
    has_quick=True,
)
