"""The verdict on a run: right, refused, or wrong without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lagrangian as lg

from .case import Case, Problem
from .drivers import integrate

TOLERANCES = (*(10.0**-k for k in range(3, 15)), None)
#: What `integrate` takes when no tolerance is given.
DEFAULT_TOL = 1e-9
#: How many tolerances of error, magnified by the motion, a right run may have.
ALLOWANCE = 100
#: Rounding errors of a run, before the motion magnifies them.
ROUNDING = 1000 * np.finfo(float).eps


@dataclass(frozen=True)
class Reference:
    """The true states (q, v) at the output times, with their scale and growth.

    `growth` is in the units of each component: what a change of all components by
    their scale, at any time, becomes of it at any later time. At least the scale.
    """

    times: np.ndarray
    states: np.ndarray
    scale: np.ndarray
    growth: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """`error` is in units of tolerance times growth, `relative` of the scale.

    `vacuous` verdicts allow errors as large as the motion in every component.
    """

    word: str
    error: float = np.nan
    relative: float = np.nan
    vacuous: bool = False
    message: str = ""


def judge(run: Callable[[], Any], reference: Reference | None, tol: float) -> Verdict:
    """Right, refused or WRONG: what `run`, which returns states, does with its case.

    Without a reference there is no motion to the end, and only a refusal is right.
    """
    try:
        states = np.asarray(run(), float)
    except lg.LagrangianError as refusal:
        word = "right" if reference is None else "refused"
        return Verdict(word, message=f"{type(refusal).__name__}: {refusal}")
    except Exception as crash:  # an error, but none that says what to do
        return Verdict("crashed", message=f"{type(crash).__name__}: {crash}")
    if reference is None:
        return Verdict("WRONG", message="went on where no motion does")
    return compare(states, reference, tol)


def compare(states: np.ndarray, reference: Reference, tol: float) -> Verdict:
    """The verdict on states at the output times."""
    apart = np.abs(states - reference.states).max(axis=0)
    apart = np.where(np.isnan(apart), np.inf, apart)
    allowed = (ALLOWANCE * tol + ROUNDING) * reference.growth
    right = bool((apart <= allowed).all())
    tiny = np.finfo(float).tiny
    return Verdict(
        "right" if right else "WRONG",
        float((apart / np.maximum(tol * reference.growth, tiny)).max()),
        float((apart / np.maximum(reference.scale, tiny)).max()),
        bool((allowed >= reference.scale).all()),
    )


def verdicts(
    problem: Problem,
    references: Callable[[Case], Reference | None],
    tolerances: Sequence[float | None],
    driver: Callable[..., Callable[[], Any]] = integrate,
    default: float = DEFAULT_TOL,
) -> Iterator[tuple[Case, float | None, Verdict]]:
    """What a driver makes of every case of a problem, whose flow is made once."""
    flow = problem.lower()
    for tol in tolerances:
        for case in problem.cases:
            verdict = judge(driver(flow, case, tol), references(case), tol or default)
            yield case, tol, verdict
