"""Arrays along a path, which a prompt shows by their ends."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

#: More numbers are shown by the first and the last three.
_MOST = 12


class Series(np.ndarray):
    """An array like any other, but for how it prints: the ends of what is long.

    >>> np.linspace(0, 1, 201).view(Series)[:100]
    array([0.   , 0.005, 0.01 , ..., 0.485, 0.49 , 0.495], shape=(100,))
    """

    def __repr__(self) -> str:
        with np.printoptions(threshold=_MOST, edgeitems=3):
            return repr(np.asarray(self))

    def __str__(self) -> str:
        with np.printoptions(threshold=_MOST, edgeitems=3):
            return str(np.asarray(self))


def series(tree: Any) -> Any:
    """NumPy's arrays in a pytree as series; what JAX traces as it is."""
    return jax.tree.map(
        lambda x: x.view(Series) if isinstance(x, np.ndarray) else x, tree
    )
