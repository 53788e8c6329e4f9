"""An optax transformation that records, in its own state, what laws need of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.groups import groups_of
from lagrangian.learning.training.maps import check_maps
from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.unread import Unread
from lagrangian.lowering.kernels.fused import computed_after
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law, noether

#: Of the records in a state, unless its capacity is given.
_BYTES = 2**18


@dataclass(frozen=True, eq=False)
class Layout:
    """What the rows of a state mean. There is one for each form of the parameters."""

    observation: Observation
    capacity: int
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[str, int], ...]
    dtype: np.dtype


@dataclass(frozen=True)
class ObservedState:
    """The state of an observed transformation: a pytree of arrays.

    Attributes:
        inner_state: of the transformation that is observed.
        steps: how many were made.
        rows: of the last steps, that of step k in row k modulo their number: the loss
            (nan where `update` was not told its `value`), the learning rate, and the
            inner products.
        layout: no part of the arrays.
    """

    inner_state: Any
    steps: Any
    rows: Any
    layout: Layout


jax.tree_util.register_dataclass(
    ObservedState, ["inner_state", "steps", "rows"], ["layout"]
)


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
        tx: a learning rule; or any optax transformation, of which the exact discrete
            law is recorded, that holds for every update. A transformation of which the
            rule is known, `lg.HeavyBall(0.1, 0.9)` say, has a continuous law as well.
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
    """
    rule = tx if isinstance(tx, Rule) else Unread.made_by(tx)
    is_whole = capacity is None or isinstance(capacity, int | np.integer)
    if not is_whole or (capacity is not None and capacity < 1):
        raise LagrangianError(f"`capacity` is {capacity}; pass a whole number above 0.")
    watch = watching(rule, laws, maps, capacity)
    return optax.GradientTransformationExtraArgs(watch.init, watch.update)


def watching(
    rule: Rule, laws: Any, maps: Mapping[Any, Any] | None, capacity: int | None
) -> Watch:
    """What observes `laws` under a rule."""
    observation = Observation(as_laws(laws, rule), rule, maps)
    inner = optax.with_extra_args_support(rule.optax())
    return Watch(rule, observation, inner, capacity)


def as_laws(laws: Any, rule: Rule) -> tuple[Law, ...]:
    """`laws`, with the law under `rule` in the place of each symmetry.

    Raises:
        LagrangianError: something in it is neither.
    """
    single = isinstance(laws, Law | Symmetry)
    listed = (laws,) if single else tuple(laws)
    for law in listed:
        if not isinstance(law, Law | Symmetry):
            raise LagrangianError(
                f"`observe` has {law!r} in it, a {type(law).__name__}. Pass laws, as "
                "`lg.noether(rule.lagrangian(symmetry.loss), symmetry)` is, or "
                "symmetries, such as those of `lg.discover`."
            )
    return tuple(
        law if isinstance(law, Law) else noether(rule.lagrangian(law.loss), law)
        for law in listed
    )


@dataclass(frozen=True, eq=False)
class Watch:
    """The two functions of an observed transformation."""

    rule: Rule
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
        pick(leaves, [w.name for w in self.observation.blocks], "the parameters")
        check_units(self.observation.blocks, leaves)
        observation = self.observation
        check_maps(observation.laws, observation.given, leaves)
        if groups := groups_of(self.rule, params):
            laws, maps = observation.laws, observation.given
            observation = Observation(laws, self.rule, maps, groups)
        shapes, dtype = tuple(observation.shapes(leaves)), coarsest(leaves)
        sizes = tuple((name, leaf.size) for name, leaf in leaves.items())
        wide = jnp.promote_types(dtype, jnp.float32)  # for loss and learning rate
        width = 2 + sum(int(np.prod(shape)) for shape in shapes)
        capacity = self.capacity or max(16, _BYTES // (wide.itemsize * max(width, 64)))
        key = capacity, shapes, sizes, dtype
        layout = self.layouts.setdefault(key, Layout(observation, *key))
        return ObservedState(
            inner_state,
            jnp.asarray(steps, jnp.int32),  # as optax counts
            jnp.zeros((capacity, width), wide),
            layout,
        )

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        if params is None:
            raise LagrangianError(
                "an observed transformation needs the parameters. Call "
                "`tx.update(gradient, state, params)`."
            )
        gradient, steps, observation = updates, state.steps, state.layout.observation
        rate = jnp.asarray(self.rule.rate(steps))
        if observation.precedes_update:
            # Then the update can take the place of what it was computed from.
            before = {"gradient": gradient, "trace": self.rule.trace(state.inner_state)}
            row = _row(observation, params, before, rate)
            kept = state.inner_state, params
            kept = computed_after(row, kept, never=steps < 0)
            moved, inner_state = self.inner.update(gradient, *kept, **extra)
        else:
            moved, inner_state = self.inner.update(
                gradient, state.inner_state, params, **extra
            )
            made = self._made(gradient, state.inner_state, params, moved, inner_state)
            row = _row(observation, params, made, rate)
        value = jnp.asarray(extra.get("value", jnp.nan))
        whole = jnp.concatenate(
            [part.astype(state.rows.dtype).reshape(-1) for part in (value, rate, row)]
        )
        return moved, ObservedState(
            inner_state,
            optax.safe_increment(steps),
            state.rows.at[steps % state.layout.capacity].set(whole),
            state.layout,
        )

    def _made(
        self, gradient: Any, before: Any, params: Any, moved: Any, after: Any
    ) -> dict[str, Any]:
        """What there is to be seen of a step, by role."""
        return {
            "gradient": gradient,
            "next": optax.apply_updates(params, moved),
            "next trace": self.rule.covector(after, gradient, params),
            "update": moved,
            "trace": self.rule.trace(before),
            "metric": self.rule.metric(after, gradient, before),
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
    states = _named({"trace": observation.rule.trace(inner_state)})
    return observation.closing(named_leaves(params), states)


def coarsest(leaves: Mapping[str, Any]) -> np.dtype:
    """The coarsest dtype of some arrays."""
    found = {np.dtype(leaf.dtype) for leaf in leaves.values()}
    return min(found, key=lambda d: d.itemsize)


def _named(states: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of those that the rule has, the arrays by name."""
    return {k: named_leaves(tree) for k, tree in states.items() if tree is not None}


def check_units(blocks: Iterable[Any], leaves: Mapping[str, Any]) -> None:
    """Raise if a block's unit axis is none of its array's."""
    for block in blocks:
        axis, ndim = block.unit_axis, leaves[block.name].ndim
        if axis is not None and not -ndim <= axis < ndim:
            raise LagrangianError(
                f"`unit_axis` is {axis} for `{block.name}`, whose shape is "
                f"{leaves[block.name].shape}. Pass one from {-ndim} to {ndim - 1}."
            )
