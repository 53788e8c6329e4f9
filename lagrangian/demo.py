"""The main job: digits, a convolutional network, and the laws of its training.

`first_light` does all the work and returns numbers and arrays; `main` prints them and
writes the figure and the report.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lagrangian.files import write_atomically, write_figure
from lagrangian.learning.checking.check import check
from lagrangian.learning.checking.predict import predict
from lagrangian.learning.checking.report import Report
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train
from lagrangian.networks.digits import (
    ConvolutionalNetwork,
    accuracy,
    cross_entropy,
    load_digits,
)
from lagrangian.symbolic.algebra.symmetry import Scale, Symmetry, Translation
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.adaptive.rmsprop import (
    angles,
    equilibrium_angle,
    rmsprop_average,
)

RULE = HeavyBall(learning_rate=0.05, momentum=0.9, weight_decay=5e-3)
BATCH_SIZE = 64


@dataclass
class FirstLight:
    """Everything that the main job found."""

    run: Run
    laws: list[Law]
    control: Law
    report: Report
    control_report: Report
    accuracy: float

    def scales(self) -> dict[str, Law]:
        """The scale laws by block."""
        return {
            law.symmetry.blocks[0].name: law
            for law in self.laws
            if isinstance(law.symmetry, Scale)
        }

    def adaptation(self) -> dict[str, dict[str, float]]:
        """For each scale-symmetric block, the norm as RMSProp's average, and the angle.

        `average_deviation` is the median over steps and units of |average/r^4 - 1|;
        `angle` the root mean square over units and the second half of the run.
        """
        half = self.run.steps // 2
        found = {}
        for block, law in self.scales().items():
            norm = self.run[law].quantity.astype(np.float64) ** 2
            turned = angles(self.run, law)[half:]
            found[block] = {
                "average_deviation": float(
                    np.median(np.abs(rmsprop_average(self.run, law) / norm - 1))
                ),
                "angle": float(np.sqrt(np.mean(turned**2))),
                "angle_predicted": equilibrium_angle(RULE),
            }
        return found


def symmetries() -> tuple[list[Symmetry], Symmetry]:
    """The symmetries of the network, and the control: a scale that is none."""
    return (
        [
            Scale("conv1.kernel", unit_axis=-1),
            Scale("conv2.kernel", unit_axis=-1),
            Translation("dense.kernel", unit_axis=0),
            Translation("dense.bias"),
        ],
        Scale("dense.kernel"),
    )


def first_light(
    steps: int = 2000,
    seed: int = 0,
    say: Callable[[str], object] = lambda text: None,
    save: Path | None = None,
) -> FirstLight:
    """Derive the laws, train on digits under observation, and check them.

    Args:
        steps: how many updates.
        seed: of the split, the initial parameters and the order of the examples.
        say: receives progress in words.
        save: where to write the records of the run.
    """
    from flax import nnx

    found, absent = symmetries()
    laws = [noether(RULE.lagrangian(s.loss), s) for s in found]
    control = noether(RULE.lagrangian(absent.loss), absent)
    say(derivation())

    data, held_out = load_digits(seed)
    model = ConvolutionalNetwork(nnx.Rngs(seed))
    say(
        f"\nTraining {type(model).__name__} on {len(data[1])} digits, {steps} steps of "
        f"{BATCH_SIZE}, with {RULE}"
    )
    run = train(
        model,
        cross_entropy,
        data,
        RULE,
        steps,
        observe=[*laws, control],
        batch_size=BATCH_SIZE,
        seed=seed,
        save=save,
    )
    return FirstLight(
        run=run,
        laws=laws,
        control=control,
        report=check(run, laws),
        control_report=check(run, [control]),
        accuracy=accuracy(run.model, held_out),
    )


def derivation() -> str:
    """What the engine derives for any block w of the network, in text."""
    scale, translation = Scale("w"), Translation("w")
    by_scale = noether(RULE.lagrangian(scale.loss), scale)
    by_translation = noether(RULE.lagrangian(translation.loss), translation)
    (equation,) = by_scale.lagrangian.equations
    return (
        "A learning rule is a kinetic energy, a loss is a potential.\n"
        f"  {by_scale.lagrangian}\n"
        f"Euler-Lagrange:\n  {equation.lhs} = 0\n"
        f"Noether, if f does not change with the scale of w:\n{by_scale}\n"
        f"  that is, {by_scale.oscillator}\n"
        "Noether, if f does not change when all entries of w move together:\n"
        f"  {by_translation.oscillator}\n"
        "with m = eta (1 + beta)/2, mu = 1 - beta, t = eta step."
    )


def figure(result: FirstLight) -> Any:
    """The four panels."""
    from lagrangian.plots import plot_first_light

    run, scales = result.run, result.scales()
    moving = [law for law in result.laws if np.ptp(run[law].quantity) > 1e-3]
    return plot_first_light(
        charges={
            f"{law.symmetry.name} of {law.symmetry.blocks[0].name}": (
                predict(run, law),
                run[law].quantity,
            )
            for law in moving
        },
        averages={
            block: (rmsprop_average(run, law), run[law].quantity ** 2)
            for block, law in scales.items()
        },
        angles={
            block: np.sqrt(np.mean(angles(run, law) ** 2, axis=1))
            for block, law in scales.items()
        },
        equilibrium=equilibrium_angle(RULE),
        control=(
            result.control.symmetry.blocks[0].name,
            predict(run, result.control),
            run[result.control].quantity,
        ),
    )


def summary(result: FirstLight) -> str:
    """The tables and sentences that the main job prints."""
    lines = ["\nThe symmetric blocks", str(result.report)]
    lines += ["\nNormalisation acts like RMSProp"]
    for block, found in result.adaptation().items():
        lines.append(
            f"  {block}: |w|^4 is RMSProp's average to {found['average_deviation']:.1%}"
            f" (median); angle per step {found['angle']:.4f} rad, predicted "
            f"{found['angle_predicted']:.4f}"
        )
    lines += ["\nControl: a layer that no normalisation follows must fail"]
    lines += [str(result.control_report)]
    verdict = "failed, as it must" if not result.control_report.holds else "HELD"
    lines += [
        f"\nAccuracy on held-out digits: {result.accuracy:.2%}. "
        f"Laws: {sum(r.holds for r in result.report)} of {len(result.report)} hold; "
        f"the control {verdict}."
    ]
    return "\n".join(lines)


def as_json(result: FirstLight, seconds: float) -> str:
    """Every number, seed and version."""
    packages = ("lagrangian", "jax", "flax", "optax", "sympy", "diffrax", "numpy")
    return json.dumps(
        {
            "rule": asdict(RULE),
            "steps": result.run.steps,
            "batch_size": result.run.batch_size,
            "seed": result.run.seed,
            "dtype": str(result.run.dtype),
            "accuracy_held_out": result.accuracy,
            "loss_final": float(result.run.losses[-1]),
            "laws": [asdict(row) for row in result.report],
            "control": [asdict(row) for row in result.control_report],
            "adaptation": result.adaptation(),
            "seconds": round(seconds, 2),
            "versions": {name: version(name) for name in packages}
            | {"python": platform.python_version()},
        },
        indent=2,
    )


def main(
    folder: Path,
    steps: int = 2000,
    seed: int = 0,
    say: Callable[[str], object] = print,
) -> bool:
    """Run the main job, say what it finds, write `folder`; whether all is as claimed.

    The report and then the figure are written at the end, each whole or not at all; the
    records of the run are saved even if the training stops early.

    Raises:
        CannotSave: the operating system refuses to write to `folder`.
    """
    import time

    start = time.perf_counter()
    result = first_light(steps, seed, say, folder / "first_light.npz")
    say(summary(result))
    report = as_json(result, time.perf_counter() - start).encode()
    written = write_atomically(
        folder / "first_light.json", lambda file: file.write(report)
    )
    say(f"Wrote {written}.")
    say(write_figure(folder / "first_light.png", lambda: figure(result)))
    return result.report.holds and not result.control_report.holds
