"""An optax transformation that records, in its own state, what laws need of a step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.claims import as_laws, read_for
from lagrangian.learning.training.groups import Rules, rules_of
from lagrangian.learning.training.maps import check_maps
from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.unread import Unread
from lagrangian.lowering.kernels.fused import computed_after
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: Of the records in a state, unless its capacity is given.
_BYTES = 2**18
#: The count of steps is two numbers to this base: a float32 counts to 2^24 alone.
_BASE = 2**20


@dataclass(frozen=True, eq=False)
class Layout:
    """What the rows of a state mean. There is one for each form of the parameters."""

    observation: Observation
    capacity: int
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[str, int], ...]
    dtype: np.dtype

    @cached_property
    def width(self) -> int:
        """Of a row: the loss, the learning rate, and the products."""
        return 2 + sum(map(math.prod, self.shapes))


@dataclass(frozen=True)
class ObservedState:
    """The state of an observed transformation: a pytree of arrays.

    All that is recorded is one array. In a loop of Flax each array of a state is taken
    apart and put together in Python in every step, which costs as much as recording.

    Attributes:
        inner_state: of the transformation that is observed.
        record: `rows`, one after the other, and the two digits of `steps`.
        layout: no part of the arrays.
    """

    inner_state: Any
    record: Any
    layout: Layout

    @property
    def steps(self) -> Any:
        """How many were made, as int32."""
        high, low = self.record[-2].astype(np.int32), self.record[-1].astype(np.int32)
        return high * np.int32(_BASE) + low

    @property
    def rows(self) -> Any:
        """Of the last steps, that of step k in row k modulo their number: the loss (nan
        where `update` was not told its `value`), the learning rate, and the inner
        products.
        """
        return self.record[:-2].reshape(self.layout.capacity, self.layout.width)

    def after(self, inner_state: Any, row: Any) -> ObservedState:
        """The state after one more step, which made this row."""
        width, dtype = self.layout.width, self.record.dtype
        # Without a sign an index is in its bounds, so that nobody checks it.
        index = self.steps.astype(jnp.uint32) % jnp.uint32(self.layout.capacity)
        place = (index * jnp.uint32(width),)
        record = jax.lax.dynamic_update_slice(self.record, row.astype(dtype), place)
        counted = _digits(optax.safe_increment(self.steps), dtype)
        return ObservedState(inner_state, record.at[-2:].set(counted), self.layout)


def _digits(steps: Any, dtype: Any) -> Any:
    return jnp.stack(jnp.divmod(steps, _BASE)).astype(dtype)


jax.tree_util.register_dataclass(ObservedState, ["inner_state", "record"], ["layout"])


def observed(
    tx: optax.GradientTransformation | Rule,
    laws: Iterable[Law | Symmetry],
    *,
    maps: Mapping[Any, Any] | None = None,
    capacity: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`tx`, recording in its state what `laws` need: for a training loop of your own.

    It makes the updates that `tx` makes, and goes where `tx` goes: `nnx.Optimizer`,
    a `TrainState`, `optax.chain`, `optax.MultiSteps`, `jit`, `scan`, a checkpoint.
    `lg.recorded` takes the run out of the state. Pass the loss as
    `update(..., value=loss)` to have it in the run.

    Returns:
        An optax transformation.

    >>> import jax, optax
    >>> import jax.numpy as jnp
    >>> import lagrangian as lg
    >>> def loss(q):
    ...     return jnp.sin(q["w"][0] / jnp.linalg.norm(q["w"]))
    >>> tx = lg.observed(optax.adam(1e-2), [lg.Scale("w")])
    >>> q = {"w": jnp.array([1.0, 2.0])}
    >>> state = tx.init(q)
    >>> for step in range(5):
    ...     value, gradient = jax.value_and_grad(loss)(q)
    ...     updates, state = tx.update(gradient, state, q, value=value)
    ...     q = optax.apply_updates(q, updates)
    >>> lg.check(lg.recorded(state, q)).holds
    True

    Args:
        tx: any optax transformation, whose rule is read from its code by `lg.rule` when
            it is initialised; or a learning rule, `lg.HeavyBall(0.1, 0.9)` say. Of what
            cannot be read the exact discrete law is recorded, that holds for every
            update, and `lg.check` says why it is that alone.
        laws: laws, or symmetries, such as `lg.discover` finds, whose laws are those of
            the rule. Blocks are named by the paths of the parameters.
        maps: a function for each linear map in the laws, and an array for each constant
            block, as `lg.train` takes them.
        capacity: how many steps the state holds; take them out before they are
            overwritten. By default as many as fill 256 KiB, and 16 at least: where the
            loop does not donate the state, every step copies that, and much more than
            that costs more than the step.

    Raises:
        LagrangianError: `tx` is no transformation, `laws` holds something else, or
            `capacity` is no whole number above 0.
        UnknownBlock: when it is initialised, for a block that the parameters lack.
        CannotLower: when it is initialised, a linear map or constant block without a
            value.
        InvalidSymmetry: when it is initialised, a symmetry that moves time.
    """
    is_whole = capacity is None or isinstance(capacity, int | np.integer)
    if not is_whole or (capacity is not None and capacity < 1):
        raise LagrangianError(f"`capacity` is {capacity}; pass a whole number above 0.")
    watch = watching(
        tx if isinstance(tx, Rule) else Unread.made_by(tx), laws, maps, capacity
    )
    return optax.GradientTransformationExtraArgs(watch.init, watch.update)


def watching(
    rule: Rule, laws: Any, maps: Mapping[Any, Any] | None, capacity: int | None
) -> Watch:
    """What observes `laws` under a rule."""
    laws = (laws,) if isinstance(laws, Law | Symmetry) else tuple(laws)
    rules = Rules(rule)
    observation = Observation(as_laws(laws, rules), rules, maps)
    inner = _with_any_arguments(rule.optax())
    return Watch(rule, laws, observation, inner, capacity)


def _with_any_arguments(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """One that is told nothing which it would refuse, as optax's `sam` does."""
    tx = optax.with_extra_args_support(tx)
    known = inspect.signature(tx.update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return tx

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        told = {name: value for name, value in extra.items() if name in known}
        return tx.update(updates, state, params, **told)

    return optax.GradientTransformationExtraArgs(tx.init, update)


@dataclass(frozen=True, eq=False)
class Watch:
    """The two functions of an observed transformation."""

    rule: Rule
    laws: tuple[Law | Symmetry, ...]
    observation: Observation
    inner: optax.GradientTransformationExtraArgs
    capacity: int | None
    layouts: dict[Any, Layout] = field(default_factory=dict)

    def init(self, params: Any) -> Any:
        return self._start(params, self.inner.init(params), 0)

    def resume(self, params: Any, state: Any) -> ObservedState:
        """Nothing recorded yet, and a state of the transformation, observed or not.

        Raises:
            LagrangianError: it is none of this transformation.
        """
        inner = state.inner_state if isinstance(state, ObservedState) else state
        wanted = jax.tree.structure(jax.eval_shape(self.inner.init, params))
        if jax.tree.structure(inner) != wanted:
            raise LagrangianError(
                f"`state` is no state of {self.rule}: its form is "
                f"{jax.tree.structure(inner)}, and not {wanted}. Pass what "
                "`rule.optax()` returned as its state."
            )
        # A schedule of the rule goes on where those inside of the state do.
        counts = [count for _, count in optax.tree.get_all_with_path(inner, "count")]
        return self._start(params, inner, counts[0] if counts else 0)

    def _start(self, params: Any, inner_state: Any, steps: Any) -> ObservedState:
        leaves = named_leaves(params)
        form = tuple((name, a.shape, np.dtype(a.dtype)) for name, a in leaves.items())
        if form not in self.layouts:
            self.layouts[form] = self._layout(params, leaves)
        layout = self.layouts[form]
        wide = jnp.promote_types(layout.dtype, jnp.float32)  # for loss, learning rate
        counted = _digits(jnp.asarray(steps, jnp.int32), wide)  # as optax counts
        rows = jnp.zeros(layout.capacity * layout.width, wide)
        return ObservedState(inner_state, jnp.concatenate([rows, counted]), layout)

    def _layout(self, params: Any, leaves: dict[str, Any]) -> Layout:
        pick(leaves, [w.name for w in self.observation.blocks], "the parameters")
        check_units(self.observation.blocks, leaves)
        observation = self._observing(params)
        check_maps(observation.laws, observation.given, leaves)
        shapes, dtype = tuple(observation.shapes(leaves)), coarsest(leaves)
        sizes = tuple((name, leaf.size) for name, leaf in leaves.items())
        layout = Layout(observation, self.capacity or 0, shapes, sizes, dtype)
        if self.capacity:
            return layout
        size = jnp.promote_types(dtype, jnp.float32).itemsize * max(layout.width, 64)
        return replace(layout, capacity=max(16, _BYTES // size))

    def _observing(self, params: Any) -> Observation:
        """The laws under the rule as it treats these parameters."""
        rules = rules_of(read_for(self.rule, params, self.laws), params)
        if rules.whole is self.rule and not rules.own:
            return self.observation
        return Observation(as_laws(self.laws, rules), rules, self.observation.given)

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        if params is None:
            raise LagrangianError(
                "an observed transformation needs the parameters. Call "
                "`tx.update(gradient, state, params)`."
            )
        steps, observation = state.steps, state.layout.observation
        gradient = updates
        if isinstance(params, optax.LookaheadParams):  # that of its fast half
            still = jax.tree.map(jnp.zeros_like, params.slow)
            gradient = optax.LookaheadParams(updates, still)
        rules = observation.rules
        rate = jnp.asarray(observation.rule.rate(steps))
        if observation.precedes_update:
            # Then the update can take the place of what it was computed from.
            before = {"gradient": gradient, "trace": rules.trace(state.inner_state)}
            row = _row(observation, params, before, rate)
            kept = state.inner_state, params
            kept = computed_after(row, kept, never=steps < 0)
            moved, inner_state = self.inner.update(updates, *kept, **extra)
        else:
            moved, inner_state = self.inner.update(
                updates, state.inner_state, params, **extra
            )
            made = _made(
                *(rules, gradient, state.inner_state, params, moved, inner_state)
            )
            row = _row(observation, params, made, rate)
        value = jnp.asarray(extra.get("value", jnp.nan))
        parts = [a.astype(state.record.dtype).reshape(-1) for a in (value, rate, row)]
        return moved, state.after(inner_state, jnp.concatenate(parts))


def _made(
    rules: Rules, gradient: Any, before: Any, params: Any, moved: Any, after: Any
) -> dict[str, Any]:
    """What there is to be seen of a step, by role."""
    return {
        "gradient": gradient,
        "next": optax.apply_updates(params, moved),
        "next trace": rules.covector(after, gradient, params),
        "update": moved,
        "trace": rules.trace(before),
        "metric": rules.metric(after, gradient, before),
    }


def _row(
    observation: Observation, params: Any, states: dict[str, Any], rate: Any
) -> Any:
    return observation.step(named_leaves(params), _named(states), rate)


def newest(state: ObservedState) -> Any:
    """The row of the last step."""
    return state.rows[(state.steps - 1) % state.layout.capacity]


def closing(layout: Layout, params: Any, inner_state: Any) -> Any:
    """What a run that ends here records of its last state."""
    observation = layout.observation
    states = _named({"trace": observation.rules.trace(inner_state)})
    return observation.closing(named_leaves(params), states)


def coarsest(leaves: Mapping[str, Any]) -> np.dtype:
    """The coarsest dtype of some arrays."""
    found = {np.dtype(leaf.dtype) for leaf in leaves.values()}
    return min(found, key=lambda d: d.itemsize)


def _named(states: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arrays by name."""
    return {role: named_leaves(tree) for role, tree in states.items()}


def check_units(blocks: Iterable[Any], leaves: Mapping[str, Any]) -> None:
    """Raise if a block's unit axis is none of its array's."""
    for block in blocks:
        axis, ndim = block.unit_axis, leaves[block.name].ndim
        if axis is not None and not -ndim <= axis < ndim:
            raise LagrangianError(
                f"`unit_axis` is {axis} for `{block.name}`, whose shape is "
                f"{leaves[block.name].shape}. Pass one from {-ndim} to {ndim - 1}."
            )
