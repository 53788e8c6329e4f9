"""The parser of the command line: the nearest name, and what completion offers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lagrangian.errors import nearest


class Parser(argparse.ArgumentParser):
    """One of argparse's that answers a misspelt option with the nearest.

    `add_argument` takes `completes` besides: the words, or a function that gives them,
    which complete the argument; they are for the shell alone.
    """

    def __init__(self, *args: Any, **options: Any):
        #: By option, or by the name of a positional argument, what completes it; None
        #: for an option that takes no value.
        self.offered: dict[str, Any] = {}
        super().__init__(*args, **options)

    def add_argument(self, *names: Any, completes: Any = (), **options: Any) -> Any:
        action = super().add_argument(*names, **options)
        for name in names:
            self.offered[name] = None if action.nargs == 0 else completes
        return action

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, left = super().parse_known_args(args, namespace)
        for word in left:
            if word.startswith("-"):
                options = (name for name in self.offered if name[:1] == "-")
                self.error(f"no option `{word}`. {nearest(word, options)}")
        return known, left


def one_of(what: str, names: Iterable[str]) -> Callable[[str], str]:
    """A type of arguments: one of the names, or the nearest is offered."""
    names = tuple(names)

    def named(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(
                f"no {what} `{text}`. {nearest(text, names)}"
            )
        return text

    return named


def add_output(
    command: Parser, *, latex: bool = False, out: Path | None = None, what: str = ""
) -> None:
    """Add `--json`, `--latex` where there are formulas, and `--out`."""
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON alone")
    command.offered["--json"] = None
    if latex:
        form.add_argument("--latex", action="store_true", help="print LaTeX alone")
        command.offered["--latex"] = None
    if what:
        command.add_argument(
            "--out", type=Path, default=out, metavar="FOLDER", help=f"for {what}"
        )


def candidates(
    parser: Parser, commands: dict[str, Parser], words: Sequence[str]
) -> list[str]:
    """What may stand in the place of the last word, which is begun."""
    *before, begun = words or [""]
    command = commands.get(before[0]) if before else None
    if command is None:
        found = [] if before else [*commands, *parser.offered]
    elif begun.startswith("-"):
        found = list(command.offered)
    else:
        last = before[-1]
        takes = command.offered.get(last) if last.startswith("-") else None
        positional = [x for name, x in command.offered.items() if name[:1] != "-"]
        offers = [takes] if takes is not None else positional
        found = [n for offer in offers for n in (offer() if callable(offer) else offer)]
    return sorted(name for name in found if name.startswith(begun))
