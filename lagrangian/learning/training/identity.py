"""What a training run is: the same content, in whichever process it is written down."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sympy as sp

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.batches import Batches
from lagrangian.learning.training.fingerprint import data_of, fingerprint
from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.step import TrainingStep

_PACKAGES = ("lagrangian", "jax", "jaxlib", "flax", "optax", "numpy", "sympy")
_FUNCTION = re.compile(r"<function (\S+) at 0x[0-9a-fA-F]+>")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_STEP = (
    "what a step computes is another: the loss, a layer, an activation, a constant "
    "such as an epsilon or a dropout rate, `maps`, or a unit axis"
)


@dataclass(frozen=True)
class Identity:
    """A run by its content, and what its bits may depend on besides.

    Attributes:
        about: what must be the same, by the name that messages give it.
        versions: what may differ, with a warning.
    """

    about: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """A digest of what must be the same whatever the versions are."""
        lasting = {k: v for k, v in self.about.items() if k != "step"}
        return _digest(json.dumps(lasting, sort_keys=True))

    def as_json(self) -> dict[str, Any]:
        """For a file, and for `check`."""
        return {"about": dict(self.about), "versions": dict(self.versions)}

    def check(self, there: Mapping[str, Any], folder: Path) -> None:
        """Raise if what is written in a folder is another run.

        Other versions may lower the same step to another program: then it is not
        compared, and a warning says that the bits may differ.

        Raises:
            LagrangianError: says in what it differs.
        """
        about, versions = there["about"], there["versions"]
        changed = [
            f"{name} {versions.get(name)}, now {value}"
            for name, value in self.versions.items()
            if versions.get(name) != value
        ]
        different = [
            _STEP
            if name == "step"
            else f"its {name} is {about.get(name)}, this run's is {value}"
            for name, value in self.about.items()
            if about.get(name) != value and not (name == "step" and changed)
        ]
        if different:
            raise LagrangianError(
                f"`checkpoint`: the folder {folder} holds another run: "
                f"{'; '.join(different)}. Pass another folder, or delete this one."
            )
        if changed:
            warnings.warn(
                f"`checkpoint`: the run in {folder} was begun with "
                f"{', '.join(changed)}. It goes on, but not bit for bit as it would "
                "have, and whether the loss is the same cannot be told.",
                stacklevel=4,
            )


def identity(step: TrainingStep, batches: Batches, seed: int, devices: int) -> Identity:
    """What a run is that takes `step`s over `batches`."""
    parts, rule = step.parts, step.watch.rule
    observation = step.start[2].layout.observation
    return Identity(
        {
            "rule": in_words(rule),
            "laws": ", ".join(repr(law.symmetry) for law in observation.laws) or "none",
            "terms of the laws": _terms(observation),
            "batch size": str(batches.size),
            "seed": str(seed),
            "data": batches.described(),
            "model": fingerprint((parts.parameters, parts.rest)),
            "step": program(step, step.start, batches.first),
        },
        {name: version(name) for name in _PACKAGES}
        | {"platform": jax.default_backend(), "devices": str(devices)},
    )


def in_words(rule: Rule) -> str:
    """A rule in words that are the same in every process.

    Functions are called by their names; what they compute is in the `program`.
    """
    return _ADDRESS.sub("", _FUNCTION.sub(r"\1", repr(rule)))


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", None) or _ADDRESS.sub("", repr(value))


def _terms(observation: Observation) -> str:
    """A digest of the algebra that turns what is recorded into what a law says."""
    return _digest(
        "\n".join(
            f"{law.symmetry!r} {name}: {sp.srepr(term)}"
            for law in observation.laws
            for name, term in observation.terms[law].items()
        )
    )


def program(function: Any, *arguments: Any) -> str:
    """A digest of what a function computes, constants included.

    Of its jaxpr, in which variables are numbered and functions have no addresses. A
    function of Python that the program calls back is known by its name alone.
    """
    lines: list[str] = []
    _write(jax.make_jaxpr(function)(*arguments), lines)
    return _digest("\n".join(lines))


def _write(jaxpr: Any, lines: list[str]) -> None:
    """Write a jaxpr and those within it down, line by line."""
    constants, inner = getattr(jaxpr, "consts", ()), getattr(jaxpr, "jaxpr", jaxpr)
    lines += [f"constant {_value(constant)}" for constant in constants]
    numbers: dict[Any, int] = {}

    def known(variable: Any) -> str:
        if hasattr(variable, "val"):  # a literal
            return _value(variable.val)
        return f"{numbers.setdefault(variable, len(numbers))}:{variable.aval}"

    lines.append(f"takes {[known(v) for v in (*inner.constvars, *inner.invars)]}")
    for equation in inner.eqns:
        taken = [known(v) for v in equation.invars]
        made = [known(v) for v in equation.outvars]
        lines.append(f"{equation.primitive} {taken} {made}")
        for name, value in sorted(equation.params.items()):
            lines.append(f"{name}:")
            _parameter(value, lines)
    lines.append(f"gives {[known(v) for v in inner.outvars]}")


def _parameter(value: Any, lines: list[str]) -> None:
    if hasattr(getattr(value, "jaxpr", value), "eqns"):
        _write(value, lines)
    elif isinstance(value, tuple | list):
        for item in value:
            _parameter(item, lines)
    elif isinstance(value, set | frozenset):
        lines.append(str(sorted(map(str, value))))
    elif callable(value):
        lines.append(_named(value))
    else:
        lines.append(_value(value))


def _value(value: Any) -> str:
    """A number, an array, or anything else that is written alike in every process."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = np.asarray(data_of(value))
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        return f"{array.dtype}{array.shape}{content}"
    return _ADDRESS.sub("", repr(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
