"""All problems, and their references."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from . import constrained, handmade, library, random_systems
from .case import OUTPUTS, Case, Problem
from .measure import Reference

FILE = Path(__file__).with_name("references.npz")


@cache
def problems(quick: bool = False) -> tuple[Problem, ...]:
    """Every problem, or the quick ones."""
    found = [
        *handmade.problems(),
        *constrained.problems(),
        *library.problems(),
        *random_systems.problems(),
    ]
    return tuple(p for p in found if p.quick or not quick)


@cache
def stored() -> dict[str, tuple[str, np.ndarray]]:
    """Fingerprint and numbers of each case in the file."""
    with np.load(FILE) as file:
        ends = np.cumsum(file["counts"])
        parts = np.split(file["numbers"], ends[:-1])
        names, marks = file["names"].tolist(), file["fingerprints"].tolist()
    return dict(zip(names, zip(marks, parts, strict=True), strict=True))


def store(found: dict[str, tuple[str, np.ndarray]]) -> None:
    """Write the file anew, in the order of names."""
    names = sorted(found)
    np.savez_compressed(
        FILE,
        names=names,
        fingerprints=[found[k][0] for k in names],
        counts=[len(found[k][1]) for k in names],
        numbers=np.concatenate([found[k][1] for k in names]),
    )


def packed(reference: Reference) -> np.ndarray:
    rows = [*reference.states[1:], reference.scale, reference.growth]
    return np.concatenate(rows)


def reference(case: Case) -> Reference | None:
    """The true motion, or None where there is none to the end.

    Raises:
        KeyError: a case that is new or was changed since the file was written.
    """
    if not case.solvable:
        return None
    mark, numbers = stored()[case.name]
    if mark != case.fingerprint:
        raise KeyError(f"{case.name} has changed: run scripts/trust_references.py")
    first = np.concatenate([case.q, case.v])
    rows = np.concatenate([first, numbers]).reshape(OUTPUTS + 3, len(first))
    return Reference(case.times, rows[:-2], rows[-2], rows[-1])
