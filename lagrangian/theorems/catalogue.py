"""The theorems by name, and `verify`."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from lagrangian.errors import LagrangianError, nearest
from lagrangian.theorems.theorem import Setting, Theorem, Verification

#: By name, the chapter whose file of that name has the `THEOREM`.
_CHAPTERS = {
    "kinetic-symmetry-breaking": "dynamics",
    "noether-learning-dynamics": "dynamics",
    "conservation-laws": "conservation",
    "broken-conservation": "dynamics",
    "implicit-adaptive-optimization": "adaptive",
    "equilibrium": "adaptive",
    "discrete-noether": "dynamics",
}
NAMES = tuple(_CHAPTERS)


def theorem(name: str) -> Theorem:
    """The theorem of that name.

    Raises:
        LagrangianError: there is none; lists the nearest.
    """
    if name not in _CHAPTERS:
        raise LagrangianError(f"no theorem `{name}`. {nearest(name, _CHAPTERS)}")
    module = f"{_CHAPTERS[name]}.{name.replace('-', '_')}"
    return import_module(f"lagrangian.theorems.{module}").THEOREM


def verify(
    name: str,
    seed: int = 0,
    subject: tuple[Any, Any, Any] | None = None,
    report: Callable[[str], None] | None = None,
) -> Verification:
    """Verify a catalogued theorem end to end: derive, predict, measure, and control.

    Args:
        name: of the theorem, such as "discrete-noether".
        seed: of everything random.
        subject: (model, loss, data) of your own, as `train` takes them, for the
            theorems that can be verified on any network.
        report: is called with a sentence when a part begins.

    Raises:
        LagrangianError: an unknown name, or a theorem that takes no subject.
    """
    found = theorem(name)
    if subject is not None and not found.takes_subject:
        raise LagrangianError(
            f"`{name}` is about systems of its own and takes no `subject`. "
            "`discrete-noether` can be verified on your network and data."
        )
    setting = Setting(seed, report or (lambda sentence: None), subject)
    start = time.perf_counter()
    evidence = found.prove(setting)
    return Verification(found, evidence, seed, time.perf_counter() - start)
