"""Blocks by name in any pytree: the path of a leaf, joined by dots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from lagrangian.errors import UnknownBlock, nearest


def named_leaves(tree: Any) -> dict[str, Any]:
    """The array leaves of a pytree by their dotted path (`"conv1.kernel"`).

    Dictionaries, sequences, dataclasses and Flax states all work; a Flax `Variable`
    counts as its value.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_dotted(path): leaf for path, leaf in leaves}


def pick(leaves: dict[str, Any], names: Iterable[str], where: str) -> dict[str, Any]:
    """The named leaves only.

    Raises:
        UnknownBlock: a name that `where` does not have; lists the nearest ones.
    """
    names = list(names)
    for name in names:
        if name not in leaves:
            raise UnknownBlock(
                f"{where} has no block `{name}`. {nearest(name, leaves)}"
            )
    return {name: leaves[name] for name in names}


def _dotted(path: tuple) -> str:
    parts = []
    for key in path:
        name = getattr(key, "key", getattr(key, "name", getattr(key, "idx", None)))
        parts.append(str(name))
    # A Flax Variable is a node with the one child `value`.
    if len(parts) > 1 and parts[-1] in ("value", "raw_value"):
        parts.pop()
    return ".".join(parts)
