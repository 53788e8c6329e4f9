"""What is claimed of a run: the rule that makes it, and the laws under that rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.groups import Rules
from lagrangian.learning.training.unread import Unread
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law, noether


def read_for(rule: Rule, parameters: Any, laws: Iterable[Law | Symmetry]) -> Rule:
    """The rule that a transformation is of these parameters, if it can be read.

    And if the laws that are given, and not only their symmetries, are those of it.
    """
    if not isinstance(rule, Unread):
        return rule
    read = rule.read(parameters)
    for law in laws:
        if isinstance(law, Law) and law.lagrangian != read.lagrangian(
            law.symmetry.loss
        ):
            reason = (
                f"the law of {law.symmetry!r} was derived from the Lagrangian of "
                f"another rule than {read} (pass the symmetry itself)"
            )
            return replace(rule, reason=reason)
    return read


def as_laws(laws: Iterable[Any], rules: Rules) -> tuple[Law, ...]:
    """`laws`, with the law under its blocks' rule in the place of each symmetry.

    Raises:
        LagrangianError: something in it is neither.
    """
    for law in laws:
        if not isinstance(law, Law | Symmetry):
            raise LagrangianError(
                f"`observe` has {law!r} in it, a {type(law).__name__}. Pass laws, as "
                "`lg.noether(rule.lagrangian(symmetry.loss), symmetry)` is, or "
                "symmetries, such as those of `lg.discover`."
            )
    return tuple(law if isinstance(law, Law) else _law_of(law, rules) for law in laws)


def _law_of(symmetry: Symmetry, rules: Rules) -> Law:
    rule = rules.alone(symmetry.blocks) or rules.whole
    return noether(rule.lagrangian(symmetry.loss), symmetry)
