"""The learning rules by name, for the shell and for pages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lagrangian.errors import LagrangianError, nearest

#: The class, by its file in this folder.
RULES = {
    "heavy-ball": "heavy_ball.HeavyBall",
    "adam": "adaptive.Adam",
    "rmsprop": "adaptive.RMSProp",
    "lion": "adaptive.Lion",
}


def rule_of_name(name: str, values: Mapping[str, float]) -> Any:
    """A rule of the library by its name with its numbers, or a user's own.

    Args:
        name: one of `RULES`; or "module:name" for an optax transformation, or a `Rule`,
            in a module that is imported: its code runs.
        values: the numbers of a rule of the library.

    Raises:
        LagrangianError: there is none, or it takes no such numbers.
    """
    if ":" in name:
        if values:
            raise LagrangianError(
                f"`--set` is for rules of the library; `{name}` has numbers of its "
                "own. Leave it out, or name a rule."
            )
        return _own_rule(name)
    if name not in RULES:
        raise LagrangianError(
            f"no rule `{name}`. {nearest(name, RULES)} Your own optax transformation "
            "is `module:name`."
        )
    module, _, kind_name = RULES[name].partition(".")
    kind = getattr(import_module(f"lagrangian.learning.rules.{module}"), kind_name)
    known = inspect.signature(kind).parameters
    if unknown := [key for key in values if key not in known]:
        raise LagrangianError(
            f"`{name}` has no `{unknown[0]}`. {nearest(unknown[0], known)}"
        )
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in values:
            raise LagrangianError(
                f"`{name}` got no value for `{key}`. Write `--set {key}=0.05`, or what "
                "yours is."
            )
    flags = {key for key in values if isinstance(known[key].default, bool)}
    return kind(**{k: bool(v) if k in flags else v for k, v in values.items()})


def _own_rule(name: str) -> Any:
    from optax import GradientTransformation

    from lagrangian.learning.rules.rule import Rule
    from lagrangian.networks.user import load_object

    rule = load_object(name)
    if not isinstance(rule, GradientTransformation | Rule):
        raise LagrangianError(
            f"`{name}` is a `{type(rule).__name__}`. Name an optax transformation, as "
            "in `tx = optax.adam(1e-3)`."
        )
    return rule
