"""The run that an observed transformation has in its state, taken out by the host."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.learning.training.folder import Folder, kind_of, one_folder
from lagrangian.learning.training.observed import Layout, ObservedState, closing
from lagrangian.learning.training.recorder import Recorder, Rows
from lagrangian.learning.training.run import Run
from lagrangian.lowering.pytrees import named_leaves, pick


def rows_since(state: ObservedState, start: int) -> Rows:
    """The rows of the steps from `start` on, of which none was overwritten."""
    wanted = np.arange(start, state.steps) % state.layout.capacity
    return Rows.split(start, state.rows[wanted])


def recorded(
    source: PyTree,
    model: PyTree | None = None,
    *,
    after: Run | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Run:
    """The run in the state of an `lg.observed` transformation, for `lg.check`.

    The state holds the last `capacity` steps. Of a longer training take them out in
    time, and pass the run that you have, which is continued:

        run = None
        for step, batch in enumerate(batches):
            train_step(model, optimizer, batch)
            if step % 50 == 49:
                run = lg.recorded(optimizer, model, after=run)

    With `folder="records"` in the place of `after=run` the steps are added to files
    there, so that a run of any length needs no more memory than one of `capacity`
    steps; and the same loop, restored from a checkpoint of its own, goes on there.

    Args:
        source: a state of the optimiser; or what has one as `opt_state`, such as an
            `nnx.Optimizer` or a `TrainState`. Of a replicated one, that of one device.
        model: the model now, or its parameters: `run.model`. Without it (a `TrainState`
            has it) the last step is not yet in the run, since what it led to is not
            known.
        after: the run until then.
        folder: where the records are streamed to: a new or an empty one, or that of the
            calls before. Steps that it has beyond the state's, of a loop that was
            killed, are made anew.

    Returns:
        A run whose `start` is its first step, and whose losses are nan where `update`
        was not told its `value`.

    Raises:
        LagrangianError: there is no observed state, or more than one; nothing was
            recorded yet; steps after `after`, or those in the folder, were overwritten;
            or the folder has other files, or the records of another run.
        CannotSave: the operating system refuses to write to the folder.
        TrainingStopped: a step was not finite; the run until then is in the error.
        UnknownBlock: a `model` without a block of the laws.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> import jax, optax
    >>> data = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    >>> def loss(model):
    ...     return ((data @ model["w"]) ** 2).mean() / (model["w"] ** 2).sum()
    >>> model = {"w": np.ones(3, np.float32)}
    >>> tx = lg.observed(optax.sgd(0.01), [lg.Scale("w")], capacity=20)
    >>> state = tx.init(model)
    >>> for _ in range(20):
    ...     updates, state = tx.update(jax.grad(loss)(model), state, model)
    ...     model = optax.apply_updates(model, updates)
    >>> run = lg.recorded(state, model)
    >>> run.steps, lg.check(run)[0].verdict
    (20, 'holds')
    """
    state = _observed_state(source)
    if model is None:
        model = getattr(source, "params", None)
    if folder is not None:
        if after is not None:
            raise LagrangianError(
                "`folder` and `after` are two ways to go on. Leave `after` out: the "
                "folder has the steps until then."
            )
        with one_folder(folder) as known:
            return _streamed(state, model, known)
    steps = int(state.steps)
    held = max(0, steps - state.layout.capacity)
    before = None if after is None else after.rows
    if after is not None and before is None:
        raise LagrangianError(
            "`after` is no run that `lg.recorded` took into memory. Pass one, or the "
            "`folder` that it was streamed to."
        )
    if before is None:
        rows = rows_since(state, held)
    else:
        _check_follows(before.end, held, state)
        if before.end > steps:
            raise LagrangianError(
                f"`after` has {before.end} steps, and the state {steps}: it is of "
                "another run. Leave `after` out."
            )
        rows = before.followed_by(rows_since(state, before.end))
    end, last = _last(state, rows, model)
    # What `after` has was looked at, and is not copied.
    known = rows.some(0, 0 if after is None else after.steps)
    layout, new = state.layout, end - known.count
    recorder = _recorder(layout, new, rows.start, rows.losses.dtype, before=known)
    good = recorder.extend(rows.some(known.count, end).records, last, silent=True)
    _check_any(recorder)
    run = replace(recorder.run(model), start=rows.start, rows=rows)
    return _unless_stopped(run, good)


def _streamed(state: ObservedState, model: Any, known: Folder) -> Run:
    """Add to the records in a folder what the state has beyond them."""
    layout, steps = state.layout, int(state.steps)
    held = max(0, steps - layout.capacity)
    kind = kind_of(layout)
    known.check(kind)
    start = held if known.about is None else known.about["start"]
    recorder = _recorder(layout, 0, start, state.record.dtype, known.path)
    with ExitStack() as stack:
        stack.callback(recorder.close)
        if known.about is None:
            recorder.open(None)
        else:
            recorder.reopen()
        end = start + recorder.steps
        _check_follows(end, held, state)
        # Without a model the last step is left for the next call.
        end = min(end, steps if model is not None else max(start, steps - 1))
        _check_same(recorder, rows_since(state, max(held, start)), start, end, known)
        recorder.steps = end - start
        rows = rows_since(state, end)
        count, last = _last(state, rows, model)
        good = recorder.extend(rows.some(0, count).records, last, silent=True)
        _check_any(recorder)
        run = replace(recorder.run(model), start=start)
        known.write(start, kind)
    return _unless_stopped(run, good)


def _check_same(
    recorder: Recorder, rows: Rows, start: int, end: int, known: Folder
) -> None:
    """Raise unless what the state and the folder both have is the same."""
    count = end - rows.start
    if not count:
        return
    there = recorder.records(rows.start - start, end - start)
    ours = rows.some(0, count).records
    if any((there[name] != ours[name]).any() for name in ("rate", "products")):
        raise LagrangianError(
            f"`folder`: {known.path} has the records of another run: its steps "
            f"{rows.start} to {end - 1} are not those of this state. Pass another one."
        )


def _check_follows(end: int, held: int, state: ObservedState) -> None:
    """Raise if steps behind the recorded ones are gone."""
    if end < held:
        raise LagrangianError(
            f"the steps {end} to {held - 1} were overwritten: the state holds the last "
            f"{state.layout.capacity}. Call `lg.recorded` more often, or pass a larger "
            "`capacity` to `lg.observed`."
        )


def _last(state: ObservedState, rows: Rows, model: Any) -> tuple[int, np.ndarray]:
    """How many of the rows have an end, and the carried products there."""
    if model is not None:
        return rows.count, np.reshape(_closing(state, model), -1)
    shapes = state.layout.shapes[: len(state.layout.observation.carried)]
    carried = sum(map(math.prod, shapes))
    return max(0, rows.count - 1), np.reshape(rows.last[:, :carried], -1)


def _check_any(recorder: Recorder) -> None:
    before = recorder.before
    if not recorder.steps and (before is None or not before.count):
        raise LagrangianError(
            "no step was recorded yet, or the last one only. After a step, pass the "
            "model as well."
        )


def _recorder(
    layout: Layout,
    steps: int,
    start: int,
    dtype: Any,
    folder: Path | None = None,
    before: Rows | None = None,
) -> Recorder:
    return Recorder(
        layout.observation,
        layout.shapes,
        dict(layout.sizes),
        steps,
        (dtype, layout.dtype),
        folder,
        start,
        "folder",
        before,
        rule=layout.observation.rule,
        dtype=layout.dtype,
        seed=None,
        batch_size=None,
    )


def _unless_stopped(run: Run, good: int | None) -> Run:
    if good is None:
        return run
    step = run.start + run.steps
    raise TrainingStopped(
        f"training was not finite from step {step} on. Everything until then is in "
        "this error's `run`. Lower the learning rate, or check the data.",
        step,
        run,
    )


_compiled = jax.jit(closing, static_argnums=0)


def _closing(state: ObservedState, model: Any) -> np.ndarray:
    layout = state.layout
    leaves = _arrays(model, [w.name for w in layout.observation.blocks])
    with jax.enable_x64(layout.dtype == np.float64):
        inner = nnx.as_pure(state.inner_state)
        return np.asarray(_compiled(layout, leaves, inner))


def _arrays(model: Any, names: list[str]) -> dict[str, Any]:
    """The named arrays of a model, or of its parameters."""
    if isinstance(model, nnx.Module):
        try:
            found = {name: attrgetter(name)(model) for name in names}
        except AttributeError:  # one is in a list, or not there
            found = {"": None}
        if all(isinstance(value, nnx.Variable) for value in found.values()):
            return nnx.as_pure(found)
        model = nnx.state(model)  # which takes the whole model apart
    return pick(named_leaves(model), names, "the model")


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
    (record,) = jax.tree.leaves(found[0].record)
    return replace(found[0], record=jax.device_get(record))
