"""The rules of single blocks, where a rule does not treat all of them alike.

A rule says how it treats a block by `of`: one that was read from an optax chain knows
of masks and of groups. A subclass that writes `optax()` anew, and masks the decay of
its class there or gives blocks a learning rate of their own, is read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.unread import Unread
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.symbolic.algebra.blocks import Block

#: Steps at which the rates of two schedules are compared, and by how much they may
#: differ that are the same but for rounding.
_SAMPLED, _ROUNDING = (0, 1, 10, 1000), 1e-5


@dataclass(frozen=True, eq=False)
class Rules:
    """A rule, and what it is to the blocks that it does not treat as it says.

    Attributes:
        whole: the rule that makes the updates.
        own: by the name of a block; the same object for all that are treated alike.
    """

    whole: Rule
    own: Mapping[str, Rule] = field(default_factory=dict)

    def of(self, block: Block) -> Rule:
        return self.own.get(block.name, self.whole)

    def alone(self, blocks: Iterable[Block]) -> Rule | None:
        """The one rule of all these blocks; None if there are several."""
        found = {id(rule): rule for rule in map(self.of, blocks)}
        return found.popitem()[1] if len(found) == 1 else None

    @property
    def all(self) -> list[Rule]:
        """Each of the rules once, the whole one first."""
        found = {id(rule): rule for rule in (self.whole, *self.own.values())}
        return list(found.values())

    def trace(self, state: Any) -> dict[str, Any]:
        """`Rule.trace` of each block, by name; without those that keep none."""
        return self._each(lambda rule: rule.trace(state))

    def covector(self, after: Any, gradient: Any, params: Any) -> dict[str, Any]:
        """`Rule.covector` of each block, by name."""
        return self._each(lambda rule: rule.covector(after, gradient, params))

    def metric(self, after: Any, gradient: Any, before: Any) -> dict[str, Any]:
        """`Rule.metric` of each block, by name; without those that have none."""
        return self._each(lambda rule: rule.metric(after, gradient, before))

    def _each(self, ask: Any) -> dict[str, Any]:
        told = {id(rule): _named(ask(rule)) for rule in self.all}
        found = {n: a for n, a in told[id(self.whole)].items() if n not in self.own}
        for name, rule in self.own.items():
            if name in told[id(rule)]:
                found[name] = told[id(rule)][name]
        return found


def _named(tree: Any) -> dict[str, Any]:
    return {} if tree is None else named_leaves(tree)


def rules_of(rule: Rule, params: Any) -> Rules:
    """How a rule treats each of these parameters."""
    names = named_leaves(params)
    if _is_written_anew(rule):
        return Rules(rule, _read(rule, params, names))
    own = {name: rule.of(Block(name)) for name in names}
    return Rules(rule, {n: other for n, other in own.items() if other is not rule})


def _is_written_anew(rule: Rule) -> bool:
    """Whether a subclass wrote `optax()`, and left what its class says of itself."""
    for kind in type(rule).__mro__:
        if "memory" in vars(kind):
            return False
        if "optax" in vars(kind):
            decays = any(f.name == "weight_decay" for f in fields(rule))
            return rule.is_euclidean and decays
    return False


def _read(rule: Any, params: Any, names: Iterable[str]) -> dict[str, Rule]:
    """The rule with the decay and the learning rate that blocks are found to have.

    What is read of momentum or gain is not taken over: that the updates are those of
    the rule is what a check is to find out.
    """
    whole = Unread.made_by(rule.optax()).read(params)
    decoupled = replace(rule, weight_decay=1.0).decoupled_decay
    decay_of = "decoupled_decay" if decoupled else "coupled_decay"
    found: dict[Any, Rule] = {}
    own = {}
    for name in names:
        read = whole.of(Block(name))
        if not read.is_euclidean:
            continue
        key = decay, rate = getattr(read, decay_of), _rate(rule, read)
        gap = abs(decay - rule.weight_decay)
        if rate is rule.learning_rate and gap <= _ROUNDING * rule.weight_decay:
            continue
        if key not in found:
            found[key] = replace(rule, weight_decay=decay, learning_rate=rate)
        own[name] = found[key]
    return own


def _rate(rule: Rule, read: Rule) -> Any:
    """The learning rate that was read; the rule's own if the two are the same."""
    with jax.ensure_compile_time_eval():
        said, found = (
            np.array([float(r.rate(jnp.asarray(k))) for k in _SAMPLED])
            for r in (rule, read)
        )
    alike = np.all(np.abs(said - found) <= _ROUNDING * np.abs(said))
    return rule.learning_rate if alike else read.learning_rate
