"""`lagrangian discover` and `train`: the symmetries of a network, and their laws."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagrangian.cli.arguments import assignment, positive_int, seed
from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output
from lagrangian.cli.shell import check_backend, say
from lagrangian.cli.subject import add_data, add_model, load_subject
from lagrangian.cli.systems import stage
from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.files import check_writable, write_figure
from lagrangian.learning.rules.names import RULES, rule_of_name

if TYPE_CHECKING:
    from lagrangian.learning.discover.discovery import Discovery


def add(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    discover = commands.add_parser(
        "discover", help="the symmetries of a network's loss, with the evidence"
    )
    discover.set_defaults(run=_discover)
    add_model(discover)
    add_data(discover)
    discover.add_argument("--seed", type=seed, default=0)
    add_output(discover, what="discover.json")

    train = commands.add_parser(
        "train", help="train a network, and check the laws of its symmetries"
    )
    train.set_defaults(run=_train)
    add_model(train)
    add_data(train)
    train.add_argument(
        "--rule",
        default="heavy-ball",
        completes=RULES,
        help=f"{', '.join(RULES)}; or module:name, an optax transformation of yours "
        "(%(default)s)",
    )
    train.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a number of the rule, such as learning_rate=0.05 or momentum=0.9",
    )
    train.add_argument("--steps", type=positive_int, default=1000)
    train.add_argument("--batch-size", type=positive_int, default=128)
    train.add_argument("--seed", type=seed, default=0)
    add_output(
        train, out=Path("results"), what="train.json, .npz and .png (%(default)s)"
    )


def _discover(options: argparse.Namespace) -> int:
    output = Output(options)
    if options.out:
        check_writable(options.out / "discover.json", "--out")
    check_backend()
    found = _found(load_subject(options), options.seed)
    output.line(found)
    data = {
        "dimension": found.dimension,
        "parameters": found.parameters,
        "rounding": found.rounding,
        "rows": [asdict(row) for row in found.rows],
    }
    output.give(data)
    output.write(options.out, "discover", data)
    return 0


def _found(subject: Any, seed: int) -> Discovery:
    from lagrangian.learning.discover.discovery import discover

    with stage("looking for symmetries"):
        return discover(*subject, seed=seed)


def _train(options: argparse.Namespace) -> int:
    output = Output(options)
    check_writable(options.out / "train.json", "--out")
    check_backend()
    rule = _rule(options.rule, dict(options.set))
    model, loss, data = load_subject(options)

    from lagrangian.learning.checking.check import check
    from lagrangian.learning.training.train import train
    from lagrangian.plots import plot_losses

    found = _found((model, loss, data), options.seed)
    output.line(f"{len(found)} kinds of symmetries; training by {options.rule}")
    try:
        run = train(
            model,
            loss,
            data,
            rule,
            options.steps,
            observe=found,
            batch_size=min(options.batch_size, len(data[0])),
            seed=options.seed,
            save=options.out / "train.npz",
        )
    except TrainingStopped as error:
        say(str(error))
        say(f"its records until then are in {options.out / 'train.npz'}.")
        return 1
    report = check(run)
    output.line(f"{run}\n\n{report}" if len(report) else f"{run}\nNo law to check.")
    output.line(f"Wrote {options.out / 'train.npz'}.")
    result = {
        "rule": repr(run.rule),
        "steps": run.steps,
        "last_loss": run.losses[-1],
        "holds": report.holds,
        "laws": json.loads(report.to_json()),
    }
    output.give(result)
    output.write(options.out, "train", result)
    draw = lambda: plot_losses(run.time[1:], run.losses)
    output.line(write_figure(options.out / "train.png", draw))
    return 0 if report.holds else 1


def _rule(name: str, values: dict[str, float]) -> Any:
    """A rule of the library by its name, or the user's own by `module:name`.

    Raises:
        LagrangianError: there is none, or it takes no such numbers.
    """
    if ":" in name:
        if values:
            raise LagrangianError(
                f"`--set` is for rules of the library; `{name}` has numbers of its "
                "own. Leave it out, or name a rule."
            )
        return _own_rule(name)
    return rule_of_name(name, values)


def _own_rule(name: str) -> Any:
    from optax import GradientTransformation

    from lagrangian.learning.rules.rule import Rule
    from lagrangian.networks.user import load_object

    rule = load_object(name)
    if not isinstance(rule, GradientTransformation | Rule):
        raise LagrangianError(
            f"`{name}` is a `{type(rule).__name__}`. Name an optax transformation, as "
            "in `tx = optax.adam(1e-3)`."
        )
    return rule
