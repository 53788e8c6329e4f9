"""What pickle does not find by its name: functions of JAX, and those within others.

`jax.nn.relu` and every jitted function are objects around the function of that name,
for which pickle looks in vain. Whoever loads this module teaches pickle, and whatever
builds on it (multiprocessing, joblib, dask), where they are.

Optax makes its transformations and schedules of functions within functions, which have
no name to be found by. What holds such is handed to cloudpickle, which joblib and dask
bring along: it writes the code itself down. So it can be pickled by any pickler.
"""

from __future__ import annotations

import copyreg
import pickle
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


def packed(content: dict[str, Any], what: object) -> dict[str, Any] | bytes:
    """What any pickler takes, and `unpacked` makes the content of again.

    Args:
        content: as it is where pickle takes it; else written by cloudpickle.
        what: it belongs to, for messages.

    Raises:
        PicklingError: neither takes it; says what to do.
    """
    try:
        pickle.dumps(content)
        return content
    # Pickle ends in one of five, and objects of their own code in any other.
    except Exception as error:
        first = error
    try:
        import cloudpickle
    except ModuleNotFoundError:
        raise pickle.PicklingError(
            f"{what} has functions that pickle cannot find by a name ({first}). "
            "`pip install cloudpickle`, or make it anew in the other process."
        ) from first
    try:
        return cloudpickle.dumps(content)
    except Exception as error:
        raise pickle.PicklingError(
            f"{what} cannot be pickled: {type(error).__name__}: {error}. Make it anew "
            "in the other process, from what can be."
        ) from error


def unpacked(content: dict[str, Any] | bytes) -> dict[str, Any]:
    """What was packed."""
    return pickle.loads(content) if isinstance(content, bytes) else content
