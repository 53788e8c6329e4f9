"""The orbit of a model under a symmetry: the models that it is moved to, by how far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import PyTree

from lagrangian.errors import CannotLower, InvalidSymmetry, LagrangianError
from lagrangian.learning.finite import motions
from lagrangian.learning.model import in_double, split, split_in_double
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.platform import float64
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.symmetry import Symmetry

#: How often an interval is halved: until rounding.
_HALVINGS = 64


@dataclass(frozen=True, eq=False, repr=False)
class Orbit(AtPrompt):
    """The models exp(s xi) q to which a symmetry takes a model q.

    Called with s, it returns a model again, of the model's own dtypes; all is computed
    in float64. Scales, rescales, translations, the general linear group and rescales
    through tanh or a sigmoid are closed forms; other affine generators the exponential
    series to rounding; nonlinear ones are integrated, at a relative error of 1e-13 a
    step. So `Orbit(symmetry, orbit(t))(s)` is `orbit(s + t)`.

    Where the blocks have units, as in `lg.Scale("kernel", unit_axis=-1)`, s may be an
    array (units,), which moves each unit by its own share.

    Args:
        symmetry: whose blocks are named by the paths of the parameters.
        model: a Flax NNX module, or a pytree of parameters. It is not changed.
        maps: as for `train`: a function for each linear map in the generator, an array
            for each constant block. What `discover` found brings its own, those of
            one element of the group.

    Raises:
        InvalidSymmetry: the symmetry moves time, or what is no block, or one array
            twice.
        UnknownBlock: a block that the model does not have.
        CannotLower: a linear map, block or symbol without a value, or with one whose
            shape does not go with the parameters.
        LagrangianError: a model without floating-point parameters.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> model = {"first": np.array([[3.0, 1.0]]), "second": np.array([[1.0], [2.0]])}
    >>> first = lg.blocks("first", unit_axis=-1)
    >>> second = lg.blocks("second", unit_axis=0)
    >>> orbit = lg.Orbit(lg.Rescale(first, second), model)
    >>> moved = orbit(np.log([2, 4]))
    >>> moved["first"].round(12).tolist(), moved["second"].round(12).tolist()
    ([[6.0, 4.0]], [[0.5], [0.5]])

    Where on it each unit is balanced, for |a|^2 - |b|^2 grows with s:

    >>> def imbalance(model):
    ...     return (model["first"] ** 2).sum(0) - (model["second"] ** 2).sum(1)
    >>> s = orbit.root(imbalance, between=(-3, 3))
    >>> np.exp(2 * s).round(12).tolist()                 # |b|/|a|
    [0.333333333333, 2.0]
    """

    symmetry: Symmetry
    model: PyTree
    maps: Mapping[Any, Any] | None = field(default=None)

    def __post_init__(self) -> None:
        symmetry = self.symmetry
        if symmetry.shifts or len(symmetry.blocks) != len(symmetry.xi):
            raise InvalidSymmetry(
                f"{symmetry!r} moves more than blocks of parameters, so it takes no "
                'model to another. Pass one such as `lg.Scale("dense.kernel")`.'
            )
        names = [block.name for block in symmetry.blocks]
        pick(named_leaves(split(self.model).parameters), names, "the model")
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidSymmetry(
                f"{symmetry!r} moves `{twice.pop()}` by two blocks with different "
                "units. Write its motion for one of them."
            )
        what = {f"motion of {q.name}": d for q, d in symmetry.xi.items()}
        check_lowerable(what, [*symmetry.xi, *self._values])
        self._check_shapes()

    def _check_shapes(self) -> None:
        """Raise unless each block moves by an array of its own shape."""
        leaves = named_leaves(split(self.model).parameters)
        values = self._values | {q: leaves[q.name] for q in self.symmetry.xi}
        with float64():
            motions = jax.eval_shape(
                lambda: evaluate(self.symmetry.xi.values(), values)
            )
        for q, motion in zip(self.symmetry.xi, motions, strict=True):
            shape = jnp.shape(leaves[q.name])
            if jnp.broadcast_shapes(motion.shape, shape) != shape:
                raise CannotLower(
                    f"the motion of `{q}` has the shape {motion.shape}, and `{q}` that "
                    f"of {shape}. Pass `maps` that keep it."
                )

    _next = "`orbit(s)`, a model of the same loss, `.root(function, between=(-3, 3))`"

    def __str__(self) -> str:
        return f"Orbit({self.symmetry!r}; {split(self.model).name})"

    def __getstate__(self) -> dict[str, Any]:
        # What was compiled is made anew.
        return {"symmetry": self.symmetry, "model": self.model, "maps": self.maps}

    def __call__(self, s: ArrayLike) -> Any:
        """The model exp(s xi) q, which shares no variable with the given one.

        Args:
            s: how far, a number; or one for each unit.

        Returns:
            A model of the given one's kind and dtypes.

        Raises:
            LagrangianError: an s of another shape, or one at which the orbit is at an
                end: tanh(w) cannot grow to 1.
        """
        with float64():
            parts = split(self.model)
            moved = self._compiled(parts.parameters, self._checked(s))
            _check_finite(moved, s)
            # Copied, so that both models can be trained.
            rest = jax.tree.map(lambda leaf: leaf, parts.rest)
            return parts.merge(moved, rest)

    def root(
        self, function: Callable[[Any], Any], between: tuple[float, float]
    ) -> np.ndarray:
        """The s at which a function of the model on the orbit is zero, by bisection.

        Args:
            function: takes a model in float64, as `orbit(s)` of one, to a number, or to
                one for each unit, of which each depends on that unit's own s.
                Traceable by JAX. Where it is monotone along the orbit the root is the
                only one; else it is one of them.
            between: the ends of the interval of s that is searched.

        Returns:
            a scalar, or shape (units,): right to 2^-64 of the interval, and to the
            rounding of the function.

        Raises:
            LagrangianError: the function has the same sign at both ends, or is not
                finite there; says what was searched, and what it is there.
        """
        low, high = map(float, between)
        if not low < high:
            raise LagrangianError(
                f"`between` is {between!r}. Pass two numbers, the smaller one first, "
                "such as `(-3, 3)`."
            )
        with float64():
            parts = split_in_double(self.model)

            def at(s: Any) -> Any:
                moved = self._moved(parts.parameters, s)
                return jnp.asarray(function(parts.merge(moved, parts.rest)))

            shape = jax.eval_shape(at, jnp.zeros(())).shape
            if shape:
                self._checked(jnp.zeros(shape))
            ends = jnp.full(shape, low), jnp.full(shape, high)
            compiled = jax.jit(at)
            _check_bracket(between, *(np.asarray(compiled(end)) for end in ends))
            return np.asarray(jax.jit(lambda ends: _bisected(at, *ends))(ends))

    # ------------------------------------------------------------------ inside

    @cached_property
    def _values(self) -> dict[Any, Any]:
        return dict(getattr(self.symmetry, "maps", {})) | dict(self.maps or {})

    @cached_property
    def _motions(self) -> list[Any]:
        return motions(self.symmetry.xi, self._values)

    @cached_property
    def _compiled(self) -> Callable[[Any, Any], Any]:
        return jax.jit(self._moved)

    @cached_property
    def _units(self) -> set[int | None]:
        """How many units each moved block has; None for one without."""
        leaves = named_leaves(split(self.model).parameters)
        return {
            None if q.unit_axis is None else jnp.shape(leaves[q.name])[q.unit_axis]
            for q, direction in self.symmetry.xi.items()
            if direction != 0
        }

    def _checked(self, s: Any) -> Any:
        s = jnp.asarray(s, float)
        if s.ndim > 1 or (s.ndim and {*s.shape} != self._units):
            counts = sorted(self._units, key=str)
            raise LagrangianError(
                f"`s` has the shape {s.shape}. Pass a number; or one for each unit, "
                "where all blocks that move have a `unit_axis` with as many: those of "
                f"{self.symmetry!r} have {counts}."
            )
        return s

    def _moved(self, parameters: Any, s: Any) -> Any:
        leaves, structure = jax.tree.flatten(parameters)
        named = dict(zip(named_leaves(parameters), leaves, strict=True))
        arrays = {q: in_double(named[q.name]) for q in self.symmetry.xi}
        ways = {q: _along_units(s, q, array) for q, array in arrays.items()}
        for motion in self._motions:
            for q, array in motion(arrays, ways).items():
                whole = jnp.broadcast_to(array, arrays[q].shape)
                named[q.name] = whole.astype(named[q.name].dtype)
        return jax.tree.unflatten(structure, named.values())


def _along_units(s: Any, block: Any, array: Any) -> Any:
    """s, so that it broadcasts along the units of an array."""
    if not s.ndim:
        return s
    shape = [1] * array.ndim
    shape[block.unit_axis] = len(s)
    return s.reshape(shape)


def _bisected(at: Callable[[Any], Any], low: Any, high: Any) -> Any:
    """Where `at` has another sign than at `low` first, for each entry by itself."""
    side = jnp.sign(at(low))

    def halve(_: Any, ends: Any) -> Any:
        low, high = ends
        middle = (low + high) / 2
        same = jnp.sign(at(middle)) == side
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    _, found = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    return jnp.where(side == 0, low, found)


def _check_finite(moved: Any, s: Any) -> None:
    if isinstance(s, Tracer):
        return
    for path, array in named_leaves(moved).items():
        if not jnp.isfinite(array).all():
            raise LagrangianError(
                f"the orbit has no model at s = {_short(s)}: `{path}` is not finite "
                "there. It ends before, or the model was not finite; pass an s that is "
                "nearer to 0."
            )


def _check_bracket(between: Any, at_low: np.ndarray, at_high: np.ndarray) -> None:
    first, last = np.atleast_1d(at_low), np.atleast_1d(at_high)
    wrong = ~(np.isfinite(first) & np.isfinite(last))
    why = "is not finite at both ends of"
    if not wrong.any():
        wrong, why = first * last > 0, "does not change its sign in"
    if wrong.any():
        unit = int(np.argmax(wrong))
        which = f" for {wrong.sum()} of {wrong.size} units" if at_low.ndim else ""
        of = f" of unit {unit}" if at_low.ndim else ""
        raise LagrangianError(
            f"`function` {why} the interval that was searched{which}: from s = "
            f"{between[0]:g} to {between[1]:g}, its value{of} goes from "
            f"{first[unit]:.4g} to {last[unit]:.4g}. Pass another `between`, or a "
            "function that is monotone along the orbit."
        )


def _short(s: Any) -> str:
    return f"{float(s):g}" if np.ndim(s) == 0 else f"{np.asarray(s)}"
