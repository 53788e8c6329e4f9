"""Whole numbers in training data, which JAX would wrap where its type is too small."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lagrangian.errors import LagrangianError


def check_range(array: Any) -> None:
    """Raise if an array has whole numbers that JAX's type for them does not hold.

    Raises:
        LagrangianError: says which, and the range.
    """
    if getattr(array.dtype, "kind", "") not in "iu" or not np.size(array):
        return
    held = np.iinfo(jax.dtypes.canonicalize_dtype(array.dtype))
    low, high = int(array.min()), int(array.max())
    if low < held.min or high > held.max:
        raise LagrangianError(
            f"`data` has whole numbers from {low} to {high}, and JAX's {held.dtype} "
            f"goes from {held.min} to {held.max}. Write the classes as numbers from 0: "
            "`np.unique(labels, return_inverse=True)[1]`."
        )
