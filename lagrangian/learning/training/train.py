"""Training a Flax model in jitted scans while its laws are recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.files import check_writable
from lagrangian.learning.model import split, traced_loss
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.checkpoint import Checkpoint
from lagrangian.learning.training.failure import check_gradient, locate
from lagrangian.learning.training.identity import identity
from lagrangian.learning.training.observe import Observation
from lagrangian.learning.training.recorder import Recorder
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.signals import ending_in_order
from lagrangian.learning.training.step import TrainingStep
from lagrangian.learning.training.whole_numbers import check_range
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.laws.noether import Law


def train(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    rule: Rule,
    steps: int,
    *,
    observe: Sequence[Law] = (),
    maps: Mapping[Any, Any] | None = None,
    batch_size: int | None = 128,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
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
        loss: `loss(model, batch)`, a scalar.
        data: arrays with one leading axis, in any pytree; a batch has its structure.
        rule: the learning rule.
        steps: how many updates.
        observe: laws of blocks that are named by the paths of the parameters.
        maps: a function for every linear map that the laws contain, and an array for
            every constant block, such as the matrix of a `GeneralLinear`. Those of
            symmetries that `discover` found are known.
        batch_size: examples a step, drawn without replacement in each epoch; None for
            all of the data in every step.
        seed: of the order of the examples.
        save: a `.npz` file for the records, written at the end and also when the
            training stops early.
        checkpoint: a folder for long runs. The records are streamed to it, so that
            memory does not grow with `steps`, and the state is saved in it every few
            seconds, and on Ctrl-C, SIGTERM and SIGHUP. The same call continues a run
            that was stopped or killed, with the same result bit for bit; with more
            `steps`, one that had ended. What is compared, what is refused and what is
            survived stands in docs/faults.md.
        mesh: devices to share every batch among; the gradient is the mean over all.
        progress: whether a terminal shows a progress bar (after two seconds).

    Raises:
        UnknownBlock: a law names a block that the model does not have.
        TrainingStopped: the loss was not finite at some step; the error carries the
            step and the run until then.
        LagrangianError: a loss that is not a scalar or has no gradient, parameters that
            are no real arrays, labels beyond int32, a batch that `mesh` cannot share
            out, or a `checkpoint` of another run, of damaged records, or in use.
        CannotSave: the operating system refuses to write a file; names it, says what
            is saved, and carries the run if all of it was computed.
        UserWarning: a damaged state was skipped for an older one, or the run was begun
            with other versions.
    """
    _check_counts(steps, batch_size)
    if not isinstance(rule, Rule):
        raise LagrangianError(
            f"`rule` is a {type(rule).__name__}. Pass a learning rule, such as "
            "`lg.HeavyBall(0.1, momentum=0.9)`, which is its optax twin as well."
        )
    observe = _laws(observe)
    if save is not None:
        check_writable(save, "save")
    parts = split(model)
    leaves = named_leaves(parts.parameters)
    dtype = _dtype(leaves)
    with jax.enable_x64(dtype == np.float64), ExitStack() as stack:
        data = jax.tree.map(_numbers, data)
        observation = Observation(observe, rule, maps)
        pick(leaves, [w.name for w in observation.blocks], parts.name)
        _check_units(observation.blocks, leaves)
        size = _size(data)
        batch = size if batch_size is None else min(batch_size, size)
        step = TrainingStep(parts, loss, rule, observation)
        example = jax.tree.map(lambda a: a[:batch], data)
        record, shapes = _shapes(step, example)
        place, share = _placement(mesh, batch)
        states, folder, mark, carry = None, None, None, step.start
        if checkpoint is not None:
            devices = 1 if mesh is None else mesh.size
            run_is = identity(step, data, example, batch, seed, devices)
            states = stack.enter_context(Checkpoint(checkpoint, run_is))
            folder = states.folder
            mark, carry = states.restore(carry)
        done = mark.steps if mark else 0
        if done > steps:
            raise LagrangianError(
                f"`steps` is {steps}, and the run in {folder} has done {done} "
                "already. Pass at least that."
            )
        recorder = Recorder(
            observation,
            shapes,
            {name: leaf.size for name, leaf in leaves.items()},
            steps,
            (record["loss"].dtype, dtype),
            folder,
            rule=rule,
            dtype=dtype,
            seed=seed,
            batch_size=batch,
        )
        stack.callback(recorder.close)
        recorder.open(mark)
        mark = recorder.mark()
        if states is not None or save is not None:
            stack.enter_context(ending_in_order())
        carry, data = place(carry), place(data)

        @jax.jit
        def scan(carry: Any, data: Any, chosen: Any) -> Any:
            def body(carry: Any, rows: Any) -> Any:
                return step(carry, jax.tree.map(lambda a: share(a[rows]), data))

            carry, records = jax.lax.scan(body, carry, chosen)
            return carry, records, step.closing(carry)

        order = _order(size, batch, seed, shuffled=batch_size is not None)
        order = islice(order, done, None)
        length = _chunk_length(steps)

        def chunks(carry: Any) -> Iterator[Any]:
            for start in range(done, steps, length):
                chosen = np.stack(list(islice(order, min(length, steps - start))))
                results = scan(carry, data, chosen)
                carry = results[0]
                yield chosen, results

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
                for chosen, (after, records, closing) in _one_ahead(chunks(carry)):
                    if recorder.steps == 0:
                        check_gradient(step, carry, after, _rows(data, chosen[0]))
                    good = recorder.extend(*jax.device_get((records, closing)))
                    if good is not None:
                        chosen = chosen[: good + 1]
                        raise _stopped(step, recorder, carry, data, chosen)
                    carry, mark = after, recorder.mark()
                    bar.update(len(chosen))
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
        return recorder.run(step.model(carry))


def _check_counts(steps: int, batch_size: int | None) -> None:
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if name == "batch_size" and value is None:
            continue
        if not isinstance(value, int | np.integer) or value < 1:
            raise LagrangianError(f"`{name}` is {value}; pass a whole number above 0.")


def _laws(observe: Sequence[Law]) -> Sequence[Law]:
    """`observe`, if it holds laws and nothing else."""
    listed = (observe,) if isinstance(observe, Law) else tuple(observe)
    for law in listed:
        if not isinstance(law, Law):
            raise LagrangianError(
                f"`observe` has {law!r} in it, a {type(law).__name__}. Pass laws, as "
                "`lg.noether(rule.lagrangian(symmetry.loss), symmetry)` is."
            )
    return listed


def _numbers(leaf: Any) -> Any:
    array = np.asarray(leaf) if isinstance(leaf, list | tuple | str) else leaf
    kind = getattr(getattr(array, "dtype", None), "kind", "f")
    if kind in "OSU":
        raise LagrangianError(
            f"`data` has an array of dtype {array.dtype}. Pass numbers: "
            "`np.unique(names, return_inverse=True)[1]` numbers the names of classes."
        )
    if kind in "iu":
        check_range(array)
    return jnp.asarray(array)


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
    step: TrainingStep, recorder: Recorder, carry: Any, data: Any, chosen: Any
) -> TrainingStopped:
    """The error for a chunk whose last chosen step is the first that is not finite."""
    one, before = jax.jit(step), None
    for rows in chosen[:-1]:
        before, (carry, _) = carry, one(carry, _rows(data, rows))
    place = locate(step, carry, _rows(data, chosen[-1]))
    if before is not None and place.startswith("the parameters"):
        # Without a law nothing else is watched: they became so in the step before.
        place = locate(step, before, _rows(data, chosen[-2]))
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


def _rows(data: Any, rows: Any) -> Any:
    """A batch."""
    return jax.tree.map(lambda a: a[rows], data)


def _dtype(leaves: Mapping[str, Any]) -> np.dtype:
    found = {np.dtype(leaf.dtype) for leaf in leaves.values()}
    if len(found) > 1:
        names = ", ".join(sorted(map(str, found)))
        warnings.warn(
            f"the parameters mix dtypes ({names}); residuals are judged by the "
            "coarsest. Give every layer the same `param_dtype`.",
            stacklevel=3,
        )
    return min(found, key=lambda d: d.itemsize)


def _size(data: Any) -> int:
    lengths = {a.shape[0] if a.ndim else -1 for a in jax.tree.leaves(data)}
    if len(lengths) != 1 or -1 in lengths:
        raise LagrangianError(
            "the arrays of `data` need one common leading axis, the examples; "
            f"their lengths are {sorted(map(str, lengths))}."
        )
    if lengths == {0}:
        raise LagrangianError("`data` has no examples: its arrays have length 0.")
    return lengths.pop()


def _order(size: int, batch: int, seed: int, shuffled: bool) -> Iterator[np.ndarray]:
    """Rows of the data, a batch at a time; what an epoch leaves over is dropped."""
    generator = np.random.default_rng(seed)
    while True:
        rows = generator.permutation(size) if shuffled else np.arange(size)
        for start in range(0, size - batch + 1, batch):
            yield rows[start : start + batch]


def _shapes(step: TrainingStep, batch: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """Of a step's record and of the products, found without computing them."""
    try:
        with traced_loss():
            return step.shapes(batch)
    except TypeError as error:
        if "scalar-output" not in str(error):
            raise
        raise LagrangianError(
            f"`loss` must return a scalar for a batch. Reduce it, as in "
            f"`losses.mean()`. ({str(error).splitlines()[0]})"
        ) from None


def _one_ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same items, each when the next one has been made."""
    return (item for item, _ in pairwise(chain(items, [None])))


def _chunk_length(steps: int) -> int:
    """How many steps one scan does: a divisor of `steps` near 50 if there is one.

    A last chunk of another length would have to be compiled again.
    """
    divisors = [n for n in range(10, min(steps, 200) + 1) if steps % n == 0]
    return min(divisors, key=lambda n: abs(n - 50), default=min(steps, 100))
