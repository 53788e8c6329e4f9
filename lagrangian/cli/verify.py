"""`lagrangian list` and `lagrangian verify`: the theorems, and their verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lagrangian.cli.arguments import out_folder, seed
from lagrangian.cli.shell import check_backend
from lagrangian.errors import LagrangianError
from lagrangian.files import check_writable, write_atomically, write_figure

if TYPE_CHECKING:
    from lagrangian.theorems.theorem import Verification

#: For a network without data of its own.
DEFAULT_DATA = "digits"


def add(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    listed = commands.add_parser("list", help="the theorems, with their sources")
    listed.set_defaults(run=_list)

    verify = commands.add_parser("verify", help="derive, measure and judge a theorem")
    verify.set_defaults(run=_verify)
    verify.add_argument("name", nargs="?", help="of the theorem; `list` lists them")
    verify.add_argument("--all", action="store_true", help="every theorem, in turn")
    verify.add_argument("--seed", type=seed, default=0)
    verify.add_argument(
        "--quick",
        action="store_true",
        help="in ten seconds: fewer sizes, shorter runs; of the theorems that have it",
    )
    verify.add_argument(
        "--data",
        metavar="PATH",
        help="your own: an .npz file, a folder of .npy files or of images; or the name "
        "of a generated set, such as gaussian-mixture",
    )
    verify.add_argument(
        "--model",
        metavar="MODULE:CLASS",
        help="your own Flax NNX network, in a module of the current directory, whose "
        "code runs",
    )
    out_folder(verify)


def _list(options: argparse.Namespace) -> int:
    from lagrangian.theorems.catalogue import NAMES, title_and_source

    for name in NAMES:
        title, source = title_and_source(name)
        print(f"{name}: {title}\n  {source}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from lagrangian.theorems.catalogue import NAMES, check_known, theorem

    if options.all == (options.name is not None):
        raise LagrangianError(
            "`verify` needs the name of a theorem (`lagrangian list` lists them), or "
            "`--all`."
        )
    subject = None
    names = NAMES if options.all else (options.name,)
    for name in names:
        check_known(name)
        check_writable(options.out / f"{name}.json", "--out")
    check_backend()
    if options.all and (options.data or options.model):
        raise LagrangianError(
            "`--data` and `--model` go with one theorem: `discrete-noether`."
        )
    if options.data or options.model:
        _check_takes_subject(theorem(options.name))
        subject = _subject(options)
    verdicts = {name: _verify_one(name, options, subject) for name in names}
    if options.all:
        print()
        for name, holds in verdicts.items():
            print(f"{name}: {'verified' if holds else 'REFUTED'}")
    return 0 if all(verdicts.values()) else 1


def _check_takes_subject(theorem: Any) -> None:
    if not theorem.takes_subject:
        raise LagrangianError(
            f"`{theorem.name}` is about systems of its own; `--data` and `--model` are "
            "for `discrete-noether`."
        )


def _verify_one(name: str, options: argparse.Namespace, subject: Any) -> bool:
    """Verify one theorem, print the table and write the report; whether it holds."""
    from lagrangian.theorems.catalogue import verify

    with tqdm(bar_format="{elapsed} {desc}", disable=None, leave=False) as bar:
        report = bar.set_description_str
        found = verify(name, options.seed, subject, report, options.quick)
    print(found)
    _write(found, options.out)
    return found.holds


def _write(found: Verification, folder: Path) -> None:
    """The report, and then the figure, which needs another library."""
    name = found.theorem.name
    report = write_atomically(
        folder / f"{name}.json", lambda file: file.write(found.to_json().encode())
    )
    print(f"Wrote {report}.")
    print(write_figure(folder / f"{name}.png", found.figure))


def _subject(options: argparse.Namespace) -> Any:
    """(model, loss, data) of the user, or the library's own where one is not given."""
    from lagrangian.networks.datasets import DATASETS, make_dataset
    from lagrangian.networks.digits import cross_entropy
    from lagrangian.networks.networks import default_network, mean_square
    from lagrangian.networks.user import load_model, make_model
    from lagrangian.networks.user_data import load_data

    chosen = options.data or DEFAULT_DATA
    if chosen in DATASETS:
        dataset = make_dataset(chosen, options.seed)
    else:
        dataset = load_data(chosen)
    named = options.model
    factory = load_model(named) if named else default_network(dataset)
    model = make_model(factory, dataset, options.seed)
    loss = mean_square if dataset.classes is None else cross_entropy
    return model, loss, (dataset.inputs, dataset.targets)
