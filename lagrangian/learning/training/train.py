"""Training a Flax model in jitted scans while its laws are recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, pairwise
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from tqdm import tqdm

from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.files import check_writable
from lagrangian.learning.model import split
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.batches import batches_of
from lagrangian.learning.training.checkpoint import Checkpoint
from lagrangian.learning.training.failure import check_gradient, locate
from lagrangian.learning.training.identity import identity
from lagrangian.learning.training.observed import coarsest, watching
from lagrangian.learning.training.recorded import rows_since
from lagrangian.learning.training.recorder import Recorder
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.signals import ending_in_order
from lagrangian.learning.training.step import TrainingStep
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: Steps of one scan at most: as many as the state of the optimiser holds.
LONGEST = 200


def train(
    model: PyTree,
    loss: Callable[[Any, Any], Any],
    data: PyTree | Iterable[PyTree],
    rule: Rule,
    steps: int,
    *,
    observe: Iterable[Law | Symmetry] = (),
    maps: Mapping[Any, Any] | None = None,
    batch_size: int | None = 128,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    state: PyTree | None = None,
    mesh: Mesh | None = None,
    progress: bool = True,
) -> Run:
    """Train a copy of `model` by minibatches and record the laws in `observe`.

    The steps run in jitted scans; what the laws need is computed on the device beside
    the update, from the very arrays that optax used.

    Args:
        model: a Flax NNX module, whose batch statistics and random streams are carried
            along; or a pytree of parameters, such as Linen's `variables["params"]`. It
            is not changed: the trained copy is `run.model`.
        loss: `loss(model, batch)`, a scalar; or (scalar, auxiliary), as for `has_aux`.
        data: arrays with one leading axis, in any pytree; a batch has its structure. Or
            an iterator of batches: a generator, a loader of grain, PyTorch or
            TensorFlow, anything that yields pytrees of arrays.
        rule: the learning rule.
        steps: how many updates. An iterator that ends before ends the run, with a
            warning.
        observe: laws, or symmetries, whose laws are those of the rule; of blocks that
            are named by the paths of the parameters.
        maps: a function for every linear map that the laws contain, and an array for
            every constant block, such as the matrix of a `GeneralLinear`. Those of
            symmetries that `discover` found are known.
        batch_size: examples a step, drawn without replacement in each epoch; None for
            all of the data in every step. An iterator has its own.
        seed: of the order of the examples, where they are drawn.
        save: a `.npz` file for the records, written at the end and also when the
            training stops early.
        checkpoint: a folder for long runs. The records are streamed to it, so that
            memory does not grow with `steps`, and the state is saved in it every few
            seconds, and on Ctrl-C, SIGTERM and SIGHUP. The same call continues a run
            that was stopped or killed, with the same result bit for bit; with more
            `steps`, one that had ended. Pass an iterator from its beginning again: the
            batches that are done are skipped. What is compared, what is refused and
            what is survived stands in docs/faults.md.
        state: of the optimiser, `rule.optax()`, to start from; at rest if None.
        mesh: devices to share every batch among; the gradient is the mean over all.
        progress: whether a terminal shows a progress bar (after two seconds).

    Raises:
        UnknownBlock: a law names a block that the model does not have.
        TrainingStopped: the loss was not finite at some step; the error carries the
            step and the run until then.
        LagrangianError: a loss that is not a scalar or has no gradient, parameters that
            are no real arrays, labels beyond int32, a batch that `mesh` cannot share
            out, or a `checkpoint` of another run, of damaged records, or in use.
        CannotSave: a file cannot be written; says what is saved, and carries the run
            if all of it was computed.
        UserWarning: a damaged state was skipped for an older one, or the run was begun
            with other versions.
    """
    _check_counts(steps, batch_size)
    if not isinstance(rule, Rule):
        raise LagrangianError(
            f"`rule` is a {type(rule).__name__}. Pass a learning rule, such as "
            "`lg.HeavyBall(0.1, momentum=0.9)`, which is its optax twin as well."
        )
    if save is not None:
        check_writable(save, "save")
    parts = split(model)
    leaves = named_leaves(parts.parameters)
    dtype = _dtype(leaves)
    with jax.enable_x64(dtype == np.float64), ExitStack() as stack:
        batches = batches_of(data, batch_size, seed)
        watch = watching(rule, observe, maps, LONGEST)
        pick(leaves, [w.name for w in watch.observation.blocks], parts.name)
        _check_units(watch.observation.blocks, leaves)
        step = TrainingStep(parts, loss, watch, state)
        loss_dtype = step.check(batches.first)
        place, share = _placement(mesh, batches.size)
        states, folder, mark, carry = None, None, None, step.start
        if checkpoint is not None:
            devices = 1 if mesh is None else mesh.size
            run_is = identity(step, batches, seed, devices)
            states = stack.enter_context(Checkpoint(checkpoint, run_is))
            folder, (mark, carry) = states.folder, states.restore(carry)
        done = mark.steps if mark else 0
        if done > steps:
            raise LagrangianError(
                f"`steps` is {steps}, and the run in {folder} has done {done} "
                "already. Pass at least that."
            )
        layout, first = step.start[2].layout, int(step.start[2].steps)
        recorder = Recorder(
            layout.observation,
            layout.shapes,
            dict(layout.sizes),
            steps,
            (loss_dtype, dtype),
            folder,
            rule=rule,
            dtype=dtype,
            seed=seed,
            batch_size=batches.size,
        )
        stack.callback(recorder.close)
        recorder.open(mark)
        mark = recorder.mark()
        if states is not None or save is not None:
            stack.enter_context(ending_in_order())
        carry, constant = place(carry), place(batches.constant)

        def chosen(item: Any) -> Any:
            return batches.pick(constant, item)

        @jax.jit
        def scan(carry: Any, constant: Any, items: Any) -> Any:
            def body(carry: Any, item: Any) -> Any:
                batch = jax.tree.map(share, batches.pick(constant, item))
                return step(carry, batch), None

            carry, _ = jax.lax.scan(body, carry, items)
            return carry, step.closing(carry)

        def chunks(carry: Any) -> Iterator[Any]:
            for items in batches.chunks(done, steps, _chunk_length(steps)):
                results = scan(carry, constant, items)
                carry = results[0]
                yield items, results

        try:
            # tqdm's `disable=None` is silence where the output is no terminal.
            with tqdm(
                total=steps,
                initial=recorder.steps,
                unit="step",
                delay=2,
                disable=None if progress else True,
            ) as bar:
                # A chunk runs while the records of the one before are looked at.
                for items, (after, closing) in _one_ahead(chunks(carry)):
                    if recorder.steps == 0:
                        check_gradient(step, carry, after, chosen(_item(items, 0)))
                    rows = rows_since(after[2], first + recorder.steps)
                    good = recorder.extend(rows.records, jax.device_get(closing))
                    if good is not None:
                        until = [chosen(_item(items, k)) for k in range(good + 1)]
                        raise _stopped(step, recorder, carry, until)
                    bar.update(recorder.steps - mark.steps)
                    carry, mark = after, recorder.mark()
                    if states is not None and states.is_due:
                        recorder.flush()
                        states.save(mark, carry)
        finally:
            try:
                if states is not None:
                    # Of a chunk that stopped within, the records go further.
                    recorder.flush()
                    states.save(mark, carry)
            finally:
                if save is not None and recorder.steps:
                    recorder.run(step.model(carry)).save(save)
        if mark.steps < steps:
            warnings.warn(
                f"`data` ended after {mark.steps} of the {steps} `steps`: so did the "
                "run.",
                stacklevel=2,
            )
        return recorder.run(step.model(carry))


def _check_counts(steps: int, batch_size: int | None) -> None:
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if name == "batch_size" and value is None:
            continue
        if not isinstance(value, int | np.integer) or value < 1:
            raise LagrangianError(f"`{name}` is {value}; pass a whole number above 0.")


def _check_units(blocks: Sequence[Any], leaves: Mapping[str, Any]) -> None:
    """Raise if a block's unit axis is none of its array's."""
    for block in blocks:
        axis, ndim = block.unit_axis, leaves[block.name].ndim
        if axis is not None and not -ndim <= axis < ndim:
            raise LagrangianError(
                f"`unit_axis` is {axis} for `{block.name}`, whose shape is "
                f"{leaves[block.name].shape}. Pass one from {-ndim} to {ndim - 1}."
            )


def _placement(mesh: Mesh | None, batch: int) -> tuple[Any, Any]:
    """Functions that put a pytree on every device, and share an array out."""
    if mesh is None:
        return (lambda tree: tree), (lambda array: array)
    if batch % mesh.size:
        raise LagrangianError(
            f"`mesh` has {mesh.size} devices, which cannot share {batch} examples a "
            f"step evenly. Pass a `batch_size` that is a multiple of {mesh.size}."
        )
    everywhere = NamedSharding(mesh, PartitionSpec())
    shared = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return (
        lambda tree: jax.device_put(tree, everywhere),
        lambda array: jax.lax.with_sharding_constraint(array, shared),
    )


def _stopped(
    step: TrainingStep, recorder: Recorder, carry: Any, batches: Sequence[Any]
) -> TrainingStopped:
    """The error for a chunk, on the last of whose batches a step was not finite."""
    one, before = jax.jit(step), None
    for batch in batches[:-1]:
        before, carry = carry, one(carry, batch)
    place = locate(step, carry, batches[-1])
    if before is not None and place.startswith("the parameters"):
        # Without a law nothing else is watched: they became so in the step before.
        place = locate(step, before, batches[-2])
    run = recorder.run(step.model(carry))
    charges = [
        f"{law.symmetry!r} {np.abs(record.quantity[-1]).max():.4g}"
        for law, record in run.records.items()
        if run.steps
    ]
    last = f" The last finite charges: {', '.join(charges)}." if charges else ""
    return TrainingStopped(
        f"training stopped at step {recorder.steps}: {place}.{last} Everything until "
        "then is in this error's `run`. Lower the learning rate, or check the data.",
        recorder.steps,
        run,
    )


def _item(items: Any, index: int) -> Any:
    """One of the items that are stacked."""
    return jax.tree.map(lambda a: a[index], items)


def _dtype(leaves: Mapping[str, Any]) -> np.dtype:
    found = {np.dtype(leaf.dtype) for leaf in leaves.values()}
    if len(found) > 1:
        names = ", ".join(sorted(map(str, found)))
        warnings.warn(
            f"the parameters mix dtypes ({names}); residuals are judged by the "
            "coarsest. Give every layer the same `param_dtype`.",
            stacklevel=3,
        )
    return coarsest(leaves)


def _one_ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same items, each when the next one has been made."""
    return (item for item, _ in pairwise(chain(items, [None])))


def _chunk_length(steps: int) -> int:
    """How many steps one scan does: a divisor of `steps` near 50 if there is one.

    A last chunk of another length would have to be compiled again.
    """
    divisors = [n for n in range(10, min(steps, LONGEST) + 1) if steps % n == 0]
    return min(divisors, key=lambda n: abs(n - 50), default=min(steps, 100))
