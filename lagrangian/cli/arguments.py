"""The types of the command line's arguments: text to a value, or what is wrong."""

from __future__ import annotations

import argparse
import math

#: More output times than this are a slip of the keyboard, and no memory holds them.
MOST_TIMES = 10_000_000
#: What every generator of random numbers takes.
MOST_SEED = 2**31 - 1


def assignment(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no NAME=NUMBER; write one such as g=9.81"
        ) from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(
            f"`{text}` is no NAME=NUMBER with a finite number; write one such as g=9.81"
        )
    return name.strip(), value


def positive(text: str) -> float:
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no positive number; write one such as 0.5"
        )
    return number


def not_negative(text: str) -> float:
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no number from zero on; write one such as 0.5"
        )
    return number


def positive_int(text: str) -> int:
    # `isdigit` would take superscripts, and `int` does not read them.
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no positive whole number; write 1 or more"
        )
    return int(text)


def not_negative_int(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no whole number from zero on; write 0 or more"
        )
    return int(text)


def seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 10 or int(text) > MOST_SEED:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no seed; write a whole number from 0 to {MOST_SEED}"
        )
    return int(text)


def several(text: str) -> int:
    number = positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"`{text}` is too few; write 2 or more")
    if number > MOST_TIMES:
        raise argparse.ArgumentTypeError(
            f"`{text}` is too many; write {MOST_TIMES} or less"
        )
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no port; write a whole number from 0 (a free one) to 65535"
        )
    return int(text)
