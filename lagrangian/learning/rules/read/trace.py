"""An optax transformation as jaxprs, on arrays of few elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.read.counts import counts_of
from lagrangian.lowering.pytrees import named_leaves

#: Of an axis of the arrays that are traced.
_FEW = 2
#: Of an axis where nothing depends on how many there are.
_MANY = 256
#: What fields are not called: the gradient, the parameter, the loss, the step, noise.
TAKEN = ("g", "q", "f", "k", "xi")
#: Further arguments of `update`, by which it is tried.
_EXTRA = (), ("value",), ("value", "grad", "value_fn"), ("obj_fn",)


@dataclass(frozen=True)
class Field:
    """An array of the optimiser's state.

    Attributes:
        name: what it is called, with a number where two are called alike.
        leaf: the parameter array to which it belongs; None for one of the whole tree.
        shape, dtype: as traced.
        prefix: where in the state it is, or the tree of which it is a leaf.
        rest: where it is below the path of its parameter, if there are several.
    """

    name: str
    leaf: str | None
    shape: tuple[int, ...]
    dtype: Any
    prefix: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Traced:
    """`init` and `update` of a transformation.

    Attributes:
        leaves: the shape of each parameter array, by dotted path.
        fields: of the state, in the order of its leaves.
        init: from the parameters to the state.
        update: from gradients, state, parameters, and `extra`, to updates and state.
        extra: the names of further arguments that `update` needs ("value").
        scales: whether the state of large arrays has the same form; where it has not,
            what is read is the rule of small ones.
        like: the shapes of the parameters; None where none were given.
        counts: of the literals in `update` that are numbers of elements, as a mean has
            one, what they are: `counts_of`.
    """

    leaves: dict[str, tuple[int, ...]]
    fields: tuple[Field, ...]
    init: ClosedJaxpr
    update: ClosedJaxpr
    extra: tuple[str, ...]
    scales: bool
    like: Any
    counts: Mapping[Any, Any]


def trace(transformation: Any, parameters: Any = None) -> Traced:
    """Trace a transformation on arrays of two elements an axis.

    Args:
        transformation: of optax.
        parameters: a pytree of arrays (or of shapes) for rules that depend on its
            structure; a matrix `kernel` and a vector `bias` if None.

    Raises:
        LagrangianError: it is no transformation, or cannot be traced on these.
    """
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise LagrangianError(
            f"`tx` is a {type(transformation).__name__}. Pass an "
            "`optax.GradientTransformation`, such as `optax.adam(1e-3)`."
        )
    # Numbers in the code are rounded to float32, which hides the rounding of 1 - 0.9.
    with jax.enable_x64(False):
        try:
            return _trace(optax.with_extra_args_support(transformation), parameters)
        except LagrangianError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            raise LagrangianError(
                f"`tx` could not be traced on {_described(parameters)}: "
                f"{type(error).__name__}: {first}. Where it depends on the structure "
                "of the parameters (labels, masks), pass them: `lg.rule(tx, "
                "parameters)`."
            ) from error


def _trace(transformation: Any, parameters: Any) -> Traced:
    q = _small(parameters)
    init, state = jax.make_jaxpr(transformation.init, return_shape=True)(q)
    for extra in _EXTRA:
        update = _with_extra(transformation, extra)
        given = [jnp.zeros(())] * ("value" in extra)
        try:
            jaxpr, (moved, after) = jax.make_jaxpr(update, return_shape=True)(
                q, state, q, *given
            )
            break
        except (TypeError, ValueError):
            if extra == _EXTRA[-1]:
                raise
    if jax.tree.structure(moved) != jax.tree.structure(q):
        raise LagrangianError(
            "`tx` returns updates of another structure than the parameters. Make its "
            "`update` return a tree like that of the gradients."
        )
    if _forms(after) != _forms(state):
        raise LagrangianError(
            "the state of `tx` changes its form in an update, and JAX's loops need one "
            "form. Mend its `update`, or `init`, so that both make the same arrays."
        )
    leaves = {name: leaf.shape for name, leaf in named_leaves(q).items()}
    scales = _scales(transformation, state, parameters)
    like = None if parameters is None else _large(parameters)
    counts = _counts(transformation, parameters, update, jaxpr)
    fields = _fields(state, q)
    return Traced(leaves, fields, init, jaxpr, extra, scales, like, counts)


def _counts(
    transformation: Any, parameters: Any, update: Any, jaxpr: ClosedJaxpr
) -> dict[Any, Any]:
    """The numbers in the code that are numbers of elements."""
    q = _small(parameters, _FEW + 1)
    try:
        state = transformation.init(q)
        told = len(jaxpr.in_avals) - len(jax.tree.leaves((q, state, q)))
        larger = jax.make_jaxpr(update)(q, state, q, *[jnp.zeros(())] * told)
    except (TypeError, ValueError):
        return {}  # it is for arrays of these sizes alone
    return counts_of(jaxpr.jaxpr, larger.jaxpr, _FEW)


def _with_extra(transformation: Any, extra: tuple[str, ...]) -> Any:
    def update(gradients: Any, state: Any, q: Any, *given: Any) -> Any:
        keywords: dict[str, Any] = {}
        if "value" in extra:
            keywords["value"] = given[0]
        if "value_fn" in extra:
            keywords |= {"grad": gradients, "value_fn": unknown_loss}
        if "obj_fn" in extra:
            keywords["obj_fn"] = unknown_loss
        return transformation.update(gradients, state, q, **keywords)

    return update


@jax.custom_jvp
def unknown_loss(q: Any) -> Any:
    """A loss of which nothing is known, for rules that call it."""
    return jax.pure_callback(_never, jax.ShapeDtypeStruct((), jnp.float32), q)


@unknown_loss.defjvp
def _(primals: Any, tangents: Any) -> Any:
    slopes = jax.tree.map(jnp.vdot, _unknown_gradient(*primals), tangents[0])
    return unknown_loss(*primals), sum(jax.tree.leaves(slopes))


@jax.custom_jvp
def _unknown_gradient(q: Any) -> Any:
    return jax.pure_callback(_never, _like(q), q)


@_unknown_gradient.defjvp
def _(primals: Any, tangents: Any) -> Any:
    curved = jax.pure_callback(_never, _like(primals[0]), *primals, *tangents)
    return _unknown_gradient(*primals), curved


def _like(q: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), q)


def _never(*_: Any) -> Any:
    raise RuntimeError("the loss of a trace has no value")


def _small(parameters: Any, few: int = _FEW) -> Any:
    """Arrays of the same structure, with few elements an axis."""

    def small(leaf: Any) -> Any:
        return jnp.zeros([few if n > 1 else n for n in leaf.shape], jnp.float32)

    return jax.tree.map(small, _large(parameters))


def _large(parameters: Any) -> Any:
    """The shapes of the parameters; of a matrix and a vector if there are none."""
    if parameters is None:
        parameters = {
            "bias": jax.ShapeDtypeStruct((_MANY,), jnp.float32),
            "kernel": jax.ShapeDtypeStruct((_MANY, _MANY), jnp.float32),
        }

    def shape(leaf: Any) -> Any:
        size = leaf.shape if hasattr(leaf, "shape") else np.shape(leaf)
        return jax.ShapeDtypeStruct(size, jnp.float32)

    return jax.tree.map(shape, parameters)


def _scales(transformation: Any, state: Any, parameters: Any) -> bool:
    """Whether the state has the form of `state` on arrays that are not small."""
    large = jax.eval_shape(transformation.init, _large(parameters))
    if jax.tree.structure(large) != jax.tree.structure(state):
        return False
    sizes = [
        (few.shape, many.shape)
        for few, many in zip(
            jax.tree.leaves(state), jax.tree.leaves(large), strict=True
        )
    ]
    return all(
        len(few) == len(many)
        and all(n in (m, _FEW) for n, m in zip(few, many, strict=True))
        for few, many in sizes
    )


def _fields(state: Any, q: Any) -> tuple[Field, ...]:
    paths = {
        tuple(map(_key, path)): name
        for (path, _), name in zip(
            jax.tree_util.tree_leaves_with_path(q), named_leaves(q), strict=True
        )
    }
    shapes = {name: leaf.shape for name, leaf in named_leaves(q).items()}
    fields, taken = [], {}  # type: ignore[var-annotated]
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        keys = tuple(map(_key, path))
        prefix, owner, rest = _owner(keys, leaf.shape, paths, shapes)
        words = [key for key in prefix if not key.isdigit()]
        name = words[-1].rstrip("_") if words else "state"
        name = "".join(c if c.isalnum() else "_" for c in name) + "".join(rest)
        name += "_kept" if name in TAKEN else ""
        numbers = taken.setdefault(name, {})
        number = numbers.setdefault(prefix, len(numbers) + 1)
        name = name if number == 1 else f"{name}_{number}"
        fields.append(Field(name, owner, leaf.shape, leaf.dtype, prefix, rest))
    return tuple(fields)


def _owner(
    keys: tuple[str, ...], shape: Any, paths: Any, shapes: Any
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """The path before the one of a parameter in it, that parameter, and the rest.

    The one that stands last, since a group may be called as a parameter is; what lies
    below such a group is the `inner_state` of optax's masks.
    """
    for end in range(len(keys), -1, -1):
        if "inner_state" in keys[end:]:
            break
        for start in range(end + 1):
            found = paths.get(keys[start:end])
            if found is not None and (end > start or shapes[found] == shape):
                return keys[:start], found, keys[end:]
    return keys, None, ()


def subtree(state: Any, prefix: tuple[str, ...]) -> Any:
    """What lies in a state at the `prefix` of a field."""
    for key in prefix:
        if isinstance(state, Mapping):
            named = {str(k): v for k, v in state.items()}
            state = named[key]
        elif hasattr(state, key):
            state = getattr(state, key)
        else:
            state = state[int(key)]
    return state


def _forms(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _key(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _described(parameters: Any) -> str:
    if parameters is None:
        return "a matrix `kernel` and a vector `bias`"
    kind = "a mapping" if isinstance(parameters, Mapping) else type(parameters).__name__
    return f"the parameters given, {kind}"
