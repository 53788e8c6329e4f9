"""The types of the command line's arguments: text to a value, or what is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path


def assignment(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no NAME=NUMBER, such as g=9.81"
        ) from None


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is no positive number")
    return number


def positive_int(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"`{text}` is no positive whole number")
    return int(text)


def several(text: str) -> int:
    number = positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"`{text}` is too few: the start and the end")
    return number


def out_folder(command: argparse.ArgumentParser) -> None:
    """Add `--out` to a command."""
    command.add_argument(
        "--out", type=Path, default=Path("results"), help="folder to write to"
    )
