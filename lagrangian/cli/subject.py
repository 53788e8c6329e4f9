"""The arguments that name a network and its data, the user's own or the library's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from lagrangian.cli.parser import Parser


def add_data(command: Parser) -> None:
    """Add `--data`."""
    command.add_argument(
        "--data",
        metavar="PATH",
        completes=_datasets,
        help="your own: an .npz file, a folder of .npy files or of images; or the name "
        "of a set, such as gaussian-mixture (digits)",
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
    from lagrangian.networks.subject import load_subject

    return load_subject(options.model, options.data, options.seed)
