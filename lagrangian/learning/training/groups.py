"""Decays and learning rates that a rule's own transformation gives to single blocks.

A subclass of a rule may mask its decay, or give groups of parameters their own rates,
where it writes `optax()`. What it then does to each block is found by trying it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.rules.rule import Rule
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.laws.discrete import role

#: By how much two numbers may differ that are the same but for rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Group:
    """The rule with the decay of one block, and its rate as a share of the rule's."""

    rule: Rule
    share: float = 1.0


def groups_of(rule: Rule, params: Any) -> dict[str, Group]:
    """For each block that is not moved as the rule says: how it is moved.

    Only for Euclidean rules, whose first step from rest is linear in the gradient and
    the parameters; of others the update itself is measured.
    """
    ours = type(rule).optax.__module__.startswith("lagrangian.learning.rules.")
    has_decay = any(field.name == "weight_decay" for field in fields(rule))
    if ours or not rule.is_euclidean or not has_decay:
        return {}
    with jax.ensure_compile_time_eval():
        return _tried(rule, params)


def _tried(rule: Any, params: Any) -> dict[str, Group]:
    if callable(rule.learning_rate) and not float(rule.rate(jnp.asarray(0))) > 0:
        # A warm-up: its first step says nothing.
        rule_now = replace(rule, learning_rate=1.0)
    else:
        rule_now = rule
    generator = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(generator.uniform(0.5, 1.5, leaf.shape), leaf.dtype),
        params,
    )
    zero = jax.tree.map(jnp.zeros_like, drawn)
    tx = rule_now.optax()
    pushed, _ = tx.update(drawn, tx.init(zero), zero)
    shrunk, _ = tx.update(zero, tx.init(drawn), drawn)
    rate = float(rule_now.rate(jnp.asarray(0)))
    by_gradient, by_decay = _first_moves(rule)
    values = named_leaves(drawn)
    pushed, shrunk = named_leaves(pushed), named_leaves(shrunk)
    found = {}
    for name, leaf in values.items():
        push = _factor(pushed[name], leaf)
        shrink = _factor(shrunk[name], leaf)
        if push is None or shrink is None or push == 0:
            continue  # no one number: the check will say that the rule is another
        share = _near(push / (by_gradient * rate), 1.0)
        decay = _near(shrink / (by_decay * rate * share), rule.weight_decay)
        if (share, decay) != (1.0, rule.weight_decay):
            found[name] = Group(replace(rule, weight_decay=decay), share)
    return found


def _first_moves(rule: Any) -> tuple[float, float]:
    """The first velocity from rest, over the gradient and over weight decay times q."""
    w, unit = Block("w"), replace(rule, weight_decay=1.0)

    def velocity(gradient: float, q: float) -> float:
        covector = unit.gain * (gradient + unit.coupled_decay * q)
        values = {w: q, role(w, "gradient"): gradient, role(w, "next trace"): covector}
        return float(unit.velocity(w).xreplace(values))

    return velocity(1.0, 0.0), velocity(0.0, 1.0)


def _factor(moved: Any, leaf: Any) -> float | None:
    """The number by which every entry was multiplied, if it is one number."""
    shares = np.asarray(moved, np.float64) / np.asarray(leaf, np.float64)
    middle = float(np.median(shares))
    alike = np.max(np.abs(shares - middle)) <= _ROUNDING * abs(middle)
    return middle if alike else None


def _near(value: float, expected: float) -> float:
    """The number that was meant: `expected`, or the rounding of an inexact one."""
    if abs(value - expected) <= _ROUNDING * abs(expected):
        return expected
    return float(f"{value:.4g}")


def group_of(law_blocks: Any, groups: Mapping[str, Group], rule: Rule) -> Group | None:
    """The one group that all blocks of a law are in; None if there are several."""
    found = {groups.get(w.name, Group(rule)) for w in law_blocks}
    return found.pop() if len(found) == 1 else None
