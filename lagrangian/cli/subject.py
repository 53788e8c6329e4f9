"""The arguments that name a network and its data, the user's own or the library's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from lagrangian.cli.parser import Parser

#: For a network without data of its own.
DEFAULT_DATA = "digits"


def add_data(command: Parser) -> None:
    """Add `--data`."""
    command.add_argument(
        "--data",
        metavar="PATH",
        completes=_datasets,
        help="your own: an .npz file, a folder of .npy files or of images; or the name "
        f"of a set, such as gaussian-mixture ({DEFAULT_DATA})",
    )


def add_model(command: Parser) -> None:
    """Add the argument that names the network."""
    command.add_argument(
        "model",
        nargs="?",
        metavar="MODULE:CLASS",
        help="your own Flax network, in a module of the current directory, whose code "
        "runs; without it, one of the library's that fits the data",
    )


def _datasets() -> Iterable[str]:
    from lagrangian.networks.datasets import DATASETS

    return DATASETS


def load_subject(options: argparse.Namespace) -> Any:
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
