"""Weights that come from elsewhere, put into a Flax model by a mapping of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lagrangian.errors import LagrangianError, nearest
from lagrangian.lowering.pytrees import named_leaves

#: Where an array comes from: its name, or that with a function of it.
Source = str | tuple[str, Callable[[np.ndarray], np.ndarray]]


def load_weights(
    model: Any, arrays: Mapping[str, Any], mapping: Mapping[str, Source]
) -> Any:
    """A copy of `model` with these arrays in the place of its own.

    A `kernel` is turned from the order of PyTorch, (out, in, *window), into that of
    Flax, (*window, in, out); every other array is taken as it is. A function says it
    otherwise, for fused or flipped kernels: `("qkv.weight", lambda a: a[:64].T)`.

    >>> import numpy as np
    >>> from flax import nnx
    >>> from lagrangian.networks.weights import load_weights
    >>> weights = {"0.weight": np.arange(6.0).reshape(3, 2), "0.bias": np.zeros(3)}
    >>> model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    >>> names = {"kernel": "0.weight", "bias": "0.bias"}
    >>> load_weights(model, weights, names).kernel[...].tolist()
    [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]

    Args:
        model: a Flax NNX module, or a pytree such as Linen's `variables`. It is not
            changed.
        arrays: by name, as `{k: v.numpy() for k, v in module.state_dict().items()}` or
            `load_arrays("weights.npz")` has them.
        mapping: for each array of the model, "conv1.kernel" say, where it comes
            from. Parameters must all have a place in it; other state, such as the
            `mean` and `var` of a normalisation, stays as it is if it has none.

    Returns:
        The copy, in the dtypes of `model`.

    Raises:
        LagrangianError: a parameter without a source, a name that is in neither model
            nor arrays, another shape, numbers that are not finite, or an array that
            nothing was made of.
    """
    is_module = isinstance(model, nnx.Module)
    graph: Any = None
    state = model
    if is_module:
        graph, state = nnx.split(model)
    leaves, structure = jax.tree.flatten(state)
    names = list(named_leaves(state))
    known = dict(zip(names, leaves, strict=True))
    needed = named_leaves(nnx.state(model, nnx.Param)) if is_module else known
    _check_names(mapping, known, needed, arrays)
    loaded = [
        _as(name, leaf, mapping[name], arrays) if name in mapping else leaf
        for name, leaf in known.items()
    ]
    changed = jax.tree.unflatten(structure, loaded)
    return nnx.merge(graph, changed, copy=True) if is_module else changed


def _name(source: Source) -> str:
    return source if isinstance(source, str) else source[0]


def _check_names(
    mapping: Mapping[str, Source],
    known: Mapping[str, Any],
    needed: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> None:
    if missing := [name for name in needed if name not in mapping]:
        raise LagrangianError(
            f"`mapping` says nothing of the model's `{missing[0]}`"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}. Name an array "
            "for each parameter."
        )
    for name, source in mapping.items():
        if name not in known:
            raise LagrangianError(
                f"`mapping` has `{name}`, which the model has not. "
                f"{nearest(name, known)}"
            )
        if _name(source) not in arrays:
            raise LagrangianError(
                f"`arrays` has no `{_name(source)}`. {nearest(_name(source), arrays)}"
            )
    used = {_name(source) for source in mapping.values()}
    if left := sorted(set(arrays) - used):
        raise LagrangianError(
            f"nothing is made of the array `{left[0]}`"
            f"{f' and {len(left) - 1} more' if left[1:] else ''}. Name it in "
            "`mapping`, or leave it out of `arrays`."
        )


def _as(name: str, leaf: Any, source: Source, arrays: Mapping[str, Any]) -> Any:
    """The array for one leaf, in its dtype."""
    there = np.asarray(arrays[_name(source)])
    if isinstance(source, tuple):
        array = np.asarray(source[1](there))
    elif name.rpartition(".")[2] == "kernel":
        array = np.transpose(there, (*range(2, there.ndim), *range(there.ndim)[1::-1]))
    else:
        array = there
    if array.shape != leaf.shape:
        raise LagrangianError(
            f"the model's `{name}` has shape {leaf.shape}, and `{_name(source)}`, of "
            f"shape {there.shape}, makes {array.shape}. Pass another one, or a "
            f"function as in `({_name(source)!r}, lambda a: a.T)`."
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise LagrangianError(
            f"`{_name(source)}` has something in it that is no finite number. Pass "
            "finite numbers."
        )
    return jnp.asarray(array, leaf.dtype)
