"""The theorems by name, and `verify`."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagrangian.elapsed import elapsed
from lagrangian.errors import LagrangianError, nearest

if TYPE_CHECKING:
    from lagrangian.theorems.theorem import Theorem, Verification

#: By name, the chapter whose file of that name has the `THEOREM`.
_CHAPTERS = {
    "kinetic-symmetry-breaking": "dynamics",
    "noether-learning-dynamics": "dynamics",
    "conservation-laws": "conservation",
    "counting-laws": "conservation",
    "momentum-counts": "conservation",
    "architecture-laws": "conservation",
    "embedding-charges": "conservation",
    "charge-sets-sharpness": "conservation",
    "weight-balancing": "conservation",
    "teleportation": "conservation",
    "implicit-bias": "conservation",
    "dynamic-tanh": "conservation",
    "input-expansion": "conservation",
    "rich-and-lazy": "conservation",
    "linear-paths": "conservation",
    "broken-conservation": "dynamics",
    "implicit-adaptive-optimization": "adaptive",
    "equilibrium": "adaptive",
    "adam-stability": "adaptive",
    "meta-adaptive": "adaptive",
    "discrete-noether": "dynamics",
    "equation-of-motion": "dynamics",
    "entropy-as-charge": "dynamics",
    "phase-transitions": "noise",
    "law-of-balance": "noise",
    "symmetry-constraint": "noise",
    "curie": "noise",
    "noise-equilibrium": "noise",
    "symmetry-to-symmetry": "noise",
    "depth-gauge": "depth",
    "learning-a-symmetry": "depth",
}
NAMES = tuple(_CHAPTERS)


def theorem(name: str) -> Theorem:
    """The theorem of that name.

    Raises:
        LagrangianError: there is none; lists the nearest.
    """
    check_known(name)
    module = f"{_CHAPTERS[name]}.{name.replace('-', '_')}"
    return import_module(f"lagrangian.theorems.{module}").THEOREM


def check_known(name: str) -> None:
    """Raise unless there is a theorem of that name.

    Raises:
        LagrangianError: lists the nearest.
    """
    if name not in _CHAPTERS:
        raise LagrangianError(f"no theorem `{name}`. {nearest(name, _CHAPTERS)}")


def chapter(name: str) -> str:
    """The chapter that a theorem stands in.

    Raises:
        LagrangianError: there is none; lists the nearest.
    """
    check_known(name)
    return _CHAPTERS[name]


def title_and_source(name: str) -> tuple[str, str]:
    """Of a theorem, read from its file: to import it would load JAX for two lines.

    Raises:
        LagrangianError: there is none; lists the nearest.
    """
    check_known(name)
    file = Path(__file__).parent / _CHAPTERS[name] / f"{name.replace('-', '_')}.py"
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if [ast.unparse(target) for target in node.targets] == ["THEOREM"]:
                given = {k.arg: k.value for k in node.value.keywords}
                title, source = given["title"], given["source"]
                return ast.literal_eval(title), ast.literal_eval(source)
    raise AssertionError(f"{file} has no THEOREM")


def verify(
    name: str,
    seed: int = 0,
    subject: tuple[Any, Any, Any] | None = None,
    report: Callable[[str], None] | None = None,
    quick: bool = False,
) -> Verification:
    """Verify a catalogued theorem end to end: derive, predict, measure, and control.

    Args:
        name: of the theorem, such as "discrete-noether".
        seed: of everything random.
        subject: (model, loss, data) of your own, as `train` takes them, for the
            theorems that can be verified on any network.
        report: is called with a sentence when a part begins.
        quick: at most ten seconds: fewer sizes and shorter runs, with a claim and a
            control of each kind. A theorem that has no such version runs whole, and
            the verification says so.

    Returns:
        A `Verification`, which prints as a table and draws its `figure()`.

    Raises:
        LagrangianError: an unknown name, or a theorem that takes no subject.

    >>> import lagrangian as lg
    >>> lg.verify("curie", seed=1, quick=True).verdict
    'verified'
    """
    from lagrangian.lowering.platform import where_float64_is
    from lagrangian.theorems.theorem import Setting, Verification

    found = theorem(name)
    if subject is not None and not found.takes_subject:
        raise LagrangianError(
            f"`{name}` is about systems of its own and takes no `subject`. "
            "`discrete-noether` can be verified on your network and data. Leave "
            "`subject` out."
        )
    quick = quick and found.has_quick
    setting = Setting(seed, quick, report or (lambda sentence: None), subject)
    clock = nullcontext() if report else elapsed(f"verifying {name}")
    start = time.perf_counter()
    with where_float64_is(), clock:
        evidence = found.prove(setting)
    return Verification(found, evidence, seed, time.perf_counter() - start, quick)
