"""`lagrangian discover` and `train`: the symmetries of a network, and their laws."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lagrangian.cli.arguments import assignment, positive_int, seed
from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output
from lagrangian.cli.shell import check_backend, say
from lagrangian.cli.subject import add_data, add_model, load_subject
from lagrangian.cli.systems import stage
from lagrangian.errors import TrainingStopped
from lagrangian.files import check_writable, write_figure
from lagrangian.learning.rules.names import RULES, rule_of_name


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
    subject = load_subject(options)

    from lagrangian.learning.discover.discovery import discover

    with stage("looking for symmetries"):
        found = discover(*subject, seed=options.seed)
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


def _train(options: argparse.Namespace) -> int:
    output = Output(options)
    check_writable(options.out / "train.json", "--out")
    check_backend()
    rule = rule_of_name(options.rule, dict(options.set))
    subject = load_subject(options)

    from lagrangian.learning.checking.lesson import lesson
    from lagrangian.plots import plot_losses

    save = options.out / "train.npz"
    parts: Any = lesson(
        *subject,
        rule,
        options.steps,
        batch_size=options.batch_size,
        seed=options.seed,
        save=save,
    )
    with stage("looking for symmetries"):
        found = next(parts)
    output.line(f"{len(found)} kinds of symmetries; training by {options.rule}")
    try:
        run = next(parts)
    except TrainingStopped as error:
        say(str(error))
        say(f"its records until then are in {save}.")
        return 1
    report = next(parts)
    output.line(f"{run}\n\n{report}" if len(report) else f"{run}\nNo law to check.")
    output.line(f"Wrote {save}.")
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
