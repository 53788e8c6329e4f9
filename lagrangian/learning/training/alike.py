"""Laws that are the same but for the names of their blocks and linear maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp

from lagrangian.learning.rules.rule import metric_block
from lagrangian.symbolic.algebra.blocks import ConstantBlock, LinearMap, ones
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.laws.discrete import ROLES, role
from lagrangian.symbolic.laws.noether import Law

Names = Mapping[Any, Any]


def renaming(one: Law, other: Law) -> Names | None:
    """What turns one law into another: new names of its blocks, their roles, and maps.

    Returns:
        None where the other law is not `one` under such names.
    """
    names: dict[Any, Any] = {}
    for w, v in zip(_blocks(one), _blocks(other), strict=False):
        names |= {w: v, w.dot: v.dot, metric_block(w): metric_block(v)}
        names |= {role(w, name): role(v, name) for name in ROLES}
    for f, g in zip(_maps(one), _maps(other), strict=False):
        names[f] = g
        if isinstance(f, LinearMap) and isinstance(g, LinearMap):
            if f.parity == g.parity == 0:
                names[f.T] = g.T
    pairs = zip(_says(one), _says(other), strict=True)
    return names if all(a.xreplace(names) == b for a, b in pairs) else None


def renamed(terms: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Expressions under new names. Each inner product is brought into its form once."""
    products = {node for e in terms.values() for node in e.atoms(Inner)}
    new = {**names, **{node: node.xreplace(names) for node in products}}
    return {name: e.xreplace(new) for name, e in terms.items()}


def _blocks(law: Law) -> list[Any]:
    return list(dict.fromkeys([*law.symmetry.xi, *law.lagrangian.coordinates]))


def _maps(law: Law) -> list[Any]:
    """Its linear maps and constant blocks, by the blocks that move by them."""
    found: dict[Any, None] = {}
    for direction in law.symmetry.xi.values():
        atoms = direction.atoms(LinearMap, ConstantBlock) - {ones}
        maps = sorted(atoms, key=sp.default_sort_key)
        found |= dict.fromkeys(getattr(m, "base", m) for m in maps)
    return list(found)


def _says(law: Law) -> Iterator[Any]:
    """Everything that the terms of a law are derived from, what differs most first."""
    theory, symmetry = law.lagrangian, law.symmetry
    yield sp.Tuple(*theory.coordinates)
    yield sp.Dict(symmetry.xi)
    yield from (sp.Dict(symmetry.shifts), sp.Dict(symmetry.boundaries))
    yield sp.Tuple(*law.components.values())
    yield sp.Dict({sp.Symbol(name): change for name, change in law.changes.items()})
    yield sp.Tuple(theory.T, theory.V, theory.damping, theory.dissipation)
    yield from (sp.Dict(theory.forces), sp.Tuple(*theory.constraints.expressions))
