"""`lagrangian list` and `lagrangian verify`: the theorems, and their verdicts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lagrangian.cli.arguments import seed
from lagrangian.cli.output import Output
from lagrangian.cli.parser import add_output
from lagrangian.cli.shell import check_backend
from lagrangian.cli.subject import add_data, load_subject
from lagrangian.errors import LagrangianError
from lagrangian.files import check_writable, write_atomically, write_figure

if TYPE_CHECKING:
    from lagrangian.theorems.theorem import Verification


def add(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    listed = commands.add_parser("list", help="the theorems, with their sources")
    listed.set_defaults(run=_list)
    add_output(listed)

    verify = commands.add_parser("verify", help="derive, measure and judge a theorem")
    verify.set_defaults(run=_verify)
    verify.add_argument(
        "name",
        nargs="?",
        help="of the theorem; `list` lists them",
        completes=_names,
    )
    verify.add_argument("--all", action="store_true", help="every theorem, in turn")
    verify.add_argument("--seed", type=seed, default=0)
    verify.add_argument(
        "--quick",
        action="store_true",
        help="in ten seconds: fewer sizes, shorter runs; of the theorems that have it",
    )
    add_data(verify)
    verify.add_argument(
        "--model",
        metavar="MODULE:CLASS",
        help="your own Flax NNX network, in a module of the current directory, whose "
        "code runs",
    )
    add_output(verify, out=Path("results"), what="report and figure (%(default)s)")


def _names() -> tuple[str, ...]:
    from lagrangian.theorems.catalogue import NAMES

    return NAMES


def _list(options: argparse.Namespace) -> int:
    from lagrangian.theorems.catalogue import NAMES, title_and_source

    output = Output(options)
    listed = []
    for name in NAMES:
        title, source = title_and_source(name)
        output.line(f"{name}: {title}\n  {source}")
        listed.append({"name": name, "title": title, "source": source})
    output.give(listed)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from lagrangian.theorems.catalogue import NAMES, check_known, theorem

    if options.all == (options.name is not None):
        raise LagrangianError(
            "`verify` needs a theorem: write its name (`lagrangian list` lists them), "
            "or `--all`."
        )
    subject = None
    names = NAMES if options.all else (options.name,)
    for name in names:
        check_known(name)
        check_writable(options.out / f"{name}.json", "--out")
    check_backend()
    if options.all and (options.data or options.model):
        raise LagrangianError(
            "`--data` and `--model` go with one theorem: `discrete-noether`. Name "
            "that one."
        )
    if options.data or options.model:
        _check_takes_subject(theorem(options.name))
        subject = load_subject(options)
    output = Output(options)
    reports: dict[str, Any] = {}
    verdicts = {}
    for name in names:
        found = _verify_one(name, options, subject, output)
        verdicts[name] = found.holds
        reports[name] = found.to_json()
    if options.all:
        output.line()
        for name, holds in verdicts.items():
            output.line(f"{name}: {'verified' if holds else 'REFUTED'}")
    output.give([json.loads(report) for report in reports.values()])
    return 0 if all(verdicts.values()) else 1


def _check_takes_subject(theorem: Any) -> None:
    if not theorem.takes_subject:
        raise LagrangianError(
            f"`{theorem.name}` is about systems of its own; `--data` and `--model` are "
            "for `discrete-noether`. Leave them out."
        )


def _verify_one(
    name: str, options: argparse.Namespace, subject: Any, output: Output
) -> Verification:
    """Verify one theorem, print the table and write the report."""
    from lagrangian.theorems.catalogue import verify

    with tqdm(bar_format="{elapsed} {desc}", disable=None, leave=False) as bar:
        report = bar.set_description_str
        found = verify(name, options.seed, subject, report, options.quick)
    output.line(found)
    _write(found, options.out, output)
    return found


def _write(found: Verification, folder: Path, output: Output) -> None:
    """The report, and then the figure, which needs another library."""
    name = found.theorem.name
    report = write_atomically(
        folder / f"{name}.json", lambda file: file.write(found.to_json().encode())
    )
    output.line(f"Wrote {report}.")
    output.line(write_figure(folder / f"{name}.png", found.figure))
