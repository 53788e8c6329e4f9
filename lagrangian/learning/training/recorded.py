"""The run that an observed transformation has in its state, taken out by the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.learning.training.observed import ObservedState, closing
from lagrangian.learning.training.recorder import Recorder
from lagrangian.learning.training.run import Run
from lagrangian.lowering.pytrees import named_leaves, pick


@dataclass(frozen=True)
class Rows:
    """What was recorded of the steps from `start` on, a row a step."""

    start: int
    losses: np.ndarray
    rates: np.ndarray
    products: np.ndarray

    @classmethod
    def split(cls, start: int, rows: np.ndarray) -> Rows:
        """The rows of an `ObservedState`, in the order of the steps."""
        return cls(start, rows[:, 0], rows[:, 1], rows[:, 2:])

    @property
    def end(self) -> int:
        return self.start + len(self.losses)

    @property
    def records(self) -> dict[str, np.ndarray]:
        """What a `Recorder` takes of them."""
        products = self.products
        return {"loss": self.losses, "rate": self.rates, "products": products}

    def followed_by(self, other: Rows) -> Rows:
        return Rows(
            self.start,
            np.concatenate([self.losses, other.losses]),
            np.concatenate([self.rates, other.rates]),
            np.concatenate([self.products, other.products]),
        )


def rows_since(state: ObservedState, start: int) -> Rows:
    """The rows of the steps from `start` on, of which none was overwritten."""
    steps, held = jax.device_get((state.steps, state.rows))
    return Rows.split(start, held[np.arange(start, int(steps)) % state.layout.capacity])


def recorded(
    source: PyTree, model: PyTree | None = None, *, after: Run | None = None
) -> Run:
    """The run in the state of an `lg.observed` transformation, for `lg.check`.

    The state holds the last `capacity` steps. Of a longer training take them out in
    time, and pass the run that you have, which is continued:

        run = None
        for step, batch in enumerate(batches):
            train_step(model, optimizer, batch)
            if step % 50 == 49:
                run = lg.recorded(optimizer, model, after=run)

    Args:
        source: a state of the optimiser; or what has one as `opt_state`, such as an
            `nnx.Optimizer` or a `TrainState`. Of a replicated one, that of one device.
        model: the model now, or its parameters: `run.model`. Without it (a `TrainState`
            has it) the last step is not yet in the run, since what it led to is not
            known.
        after: the run until then.

    Returns:
        A run whose `start` is its first step, and whose losses are nan where `update`
        was not told its `value`.

    Raises:
        LagrangianError: there is no observed state, or more than one; nothing was
            recorded yet; or steps after `after` were overwritten.
        TrainingStopped: a step was not finite; the run until then is in the error.
    """
    state = _observed_state(source)
    layout, steps = state.layout, int(jax.device_get(state.steps))
    held = max(0, steps - layout.capacity)
    before = None if after is None else after.rows
    if before is None:
        rows = rows_since(state, held)
    elif not before.end >= held:
        raise LagrangianError(
            f"the steps {before.end} to {held - 1} were overwritten: the state holds "
            f"the last {layout.capacity}. Call `lg.recorded` more often, or pass a "
            "larger `capacity` to `lg.observed`."
        )
    elif before.end > steps:
        raise LagrangianError(
            f"`after` has {before.end} steps, and the state {steps}: it is of another "
            "run. Leave `after` out."
        )
    else:
        rows = before.followed_by(rows_since(state, before.end))
    if model is None:
        model = getattr(source, "params", None)
    return _run(state, rows, model)


def _run(state: ObservedState, rows: Rows, model: Any) -> Run:
    layout = state.layout
    observation = layout.observation
    carried = sum(
        int(np.prod(shape))
        for shape, _ in zip(layout.shapes, observation.carried, strict=False)
    )
    if model is None:
        end, last = len(rows.losses) - 1, rows.products[-1:, :carried]
    else:
        end, last = len(rows.losses), _closing(state, model)
    if end < 1:
        raise LagrangianError(
            "no step was recorded yet"
            + (", or the last one only. Pass the model as well." if end == 0 else ".")
        )
    recorder = Recorder(
        observation,
        layout.shapes,
        dict(layout.sizes),
        end,
        (rows.losses.dtype, layout.dtype),
        None,
        rule=observation.rule,
        dtype=layout.dtype,
        seed=None,
        batch_size=None,
    )
    records = {
        # A loss that nobody told is no sign of a failure.
        "loss": np.nan_to_num(rows.losses[:end], posinf=np.inf, neginf=-np.inf),
        "rate": rows.rates[:end],
        "products": rows.products[:end],
    }
    good = recorder.extend(records, np.reshape(last, -1))
    told = rows.losses[: recorder.steps]
    run = replace(recorder.run(model), losses=told, start=rows.start, rows=rows)
    if good is not None:
        step = rows.start + good
        raise TrainingStopped(
            f"training was not finite from step {step} on. Everything until then is in "
            "this error's `run`. Lower the learning rate, or check the data.",
            step,
            run,
        )
    return run


_compiled = jax.jit(closing, static_argnums=0)


def _closing(state: ObservedState, model: Any) -> np.ndarray:
    layout = state.layout
    parameters = nnx.state(model) if isinstance(model, nnx.Module) else model
    leaves = named_leaves(parameters)
    names = [w.name for w in layout.observation.blocks]
    with jax.enable_x64(layout.dtype == np.float64):
        inner = nnx.as_pure(state.inner_state)
        return np.asarray(_compiled(layout, pick(leaves, names, "the model"), inner))


def _observed_state(source: Any) -> ObservedState:
    tree = getattr(source, "opt_state", source)

    def is_one(node: Any) -> bool:
        return isinstance(node, ObservedState)

    found = [s for s in jax.tree.leaves(tree, is_leaf=is_one) if is_one(s)]
    if len(found) != 1:
        raise LagrangianError(
            f"there {'are several states' if found else 'is no state'} of an observed "
            f"transformation in this {type(source).__name__}. Wrap one transformation, "
            "`lg.observed(tx, laws)`, and pass the optimiser that was made with it, or "
            "its state."
        )
    # An `nnx.Optimizer` has its arrays in variables.
    (steps,), (rows,) = map(jax.tree.leaves, (found[0].steps, found[0].rows))
    return replace(found[0], steps=steps, rows=rows)
