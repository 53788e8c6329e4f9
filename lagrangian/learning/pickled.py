"""Functions of JAX in a model are pickled by their names, as other functions are.

`jax.nn.relu` and every jitted function are objects around the function of that name,
for which pickle looks in vain. Whoever loads this module teaches pickle, and whatever
builds on it (multiprocessing, joblib, dask), where they are.
"""

from __future__ import annotations

import copyreg
import sys
from typing import Any

import jax


def _named(function: Any) -> Any:
    """The name of a function that its module knows by it; else what it says itself."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return name if found is function else function.__reduce_ex__(4)


for _kind in (jax.custom_jvp, jax.custom_vjp, type(jax.jit(lambda: None))):
    copyreg.pickle(_kind, _named)
