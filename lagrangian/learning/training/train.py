"""Training a Flax model in jitted scans while its laws are recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain, pairwise
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from optax import GradientTransformation
from tqdm import tqdm

from lagrangian.errors import LagrangianError
from lagrangian.files import check_writable
from lagrangian.learning.model import split
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.batches import batches_of
from lagrangian.learning.training.checkpoint import Checkpoint
from lagrangian.learning.training.claims import read_for
from lagrangian.learning.training.identity import identity
from lagrangian.learning.training.loop import Loop
from lagrangian.learning.training.observed import coarsest, watching
from lagrangian.learning.training.recorder import Recorder
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.signals import ending_in_order
from lagrangian.learning.training.step import TrainingStep
from lagrangian.learning.training.unread import Unread
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: Steps of one scan at most.
_LONGEST = 200


def train(
    model: PyTree,
    loss: Callable[[Any, Any], Any],
    data: PyTree | Iterable[PyTree],
    rule: Rule | GradientTransformation,
    steps: int,
    *,
    observe: Iterable[Law | Symmetry] = (),
    maps: Mapping[Any, Any] | None = None,
    batch_size: int | None = 128,
    replacement: bool = False,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    state: PyTree | None = None,
    mesh: Mesh | None = None,
    callback: Callable[[Run], Any] | None = None,
    every: int = 100,
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
        rule: the learning rule; or any optax transformation, whose rule is read from
            its code by `lg.rule`.
        steps: how many updates. An iterator that ends before ends the run, with a
            warning.
        observe: laws, or symmetries, whose laws are those of the rule; of blocks that
            are named by the paths of the parameters.
        maps: a function for every linear map that the laws contain, and an array for
            every constant block, such as the matrix of a `GeneralLinear`. Those of
            symmetries that `discover` found are known.
        batch_size: examples a step, drawn without replacement in each epoch; None for
            all of the data in every step. An iterator has its own.
        replacement: whether the examples are drawn with replacement instead, so that
            all batches are independent, as theories of gradient noise take them to be.
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
        callback: is given the run until now, with its model, after every `every` steps:
            for validation, logging, averages of the parameters. `True` ends the run;
            nothing else that it returns, or does to the model, changes the training.
        every: how many steps lie between two calls.
        progress: whether a terminal shows a progress bar (after two seconds).

    Returns:
        A `Run`.

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
        CannotLower: a linear map or constant block of a law without a value.
        InvalidSymmetry: a symmetry that moves time, or what is no block.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> rule = lg.HeavyBall(0.01, momentum=0.9)
    >>> run = lg.train(model, loss, data, rule, steps=50, observe=[scale])
    >>> run.model["w"].shape, bool(run.losses[-1] < run.losses[0])
    ((3,), True)
    """
    _check_counts(steps=steps, every=every)
    if batch_size is not None:
        _check_counts(batch_size=batch_size)
    rule = rule if isinstance(rule, Rule) else Unread.made_by(rule, "rule")
    if save is not None:
        check_writable(save, "save")
    parts = split(model)
    leaves = named_leaves(parts.parameters)
    dtype = _dtype(leaves)
    with jax.enable_x64(dtype == np.float64), ExitStack() as stack:
        batches = batches_of(data, batch_size, seed, replacement)
        observe = (observe,) if isinstance(observe, Law | Symmetry) else tuple(observe)
        rule = read_for(rule, parts.parameters, observe)
        # Each step hands its row to the scan, so that the state holds one.
        watch = watching(rule, observe, maps, 1)
        pick(leaves, [w.name for w in watch.observation.blocks], parts.name)
        step = TrainingStep(parts, loss, watch, state)
        loss_dtype = step.check(batches.first)
        place, share = _placement(mesh, batches.size)
        states, mark, carry = None, None, step.start
        if checkpoint is not None:
            run_is = identity(step, batches, seed, mesh.size if mesh else 1)
            states = stack.enter_context(Checkpoint(checkpoint, run_is))
            mark, carry = states.restore(carry)
            if mark and mark.steps > steps:
                raise LagrangianError(
                    f"`steps` is {steps}, and the run in {states.folder} has done "
                    f"{mark.steps} already. Pass at least that."
                )
        about: dict[str, Any] = {"rule": rule, "dtype": dtype, "seed": seed}
        about["batch_size"] = batches.size
        layout, kinds = step.start[2].layout, (loss_dtype, dtype)
        folder = states.folder if states else None
        recorder = Recorder(
            *(layout.observation, layout.shapes, dict(layout.sizes)),
            *(steps, kinds, folder, int(step.start[2].steps)),
            **about,
        )
        stack.callback(recorder.close)
        recorder.open(mark)
        if states is not None or save is not None:
            stack.enter_context(ending_in_order())
        carry, constant = place(carry), place(batches.constant)
        loop = Loop(
            *(step, batches, share, constant),
            *(recorder, states, carry, recorder.mark()),
        )
        length = _chunk_length(steps) if callback is None else _divisor(every)
        is_done = False
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
                for chunk in _one_ahead(loop.chunks(steps, length)):
                    before = recorder.steps
                    bar.update(loop.take(chunk))
                    if callback and recorder.steps // every > before // every:
                        told = callback(loop.run())
                        # Many functions return something, and mean nothing by it.
                        is_done = isinstance(told, bool | np.bool_) and bool(told)
                        if is_done:
                            break
        finally:
            loop.keep(save)
        if recorder.steps < steps and not is_done:
            warnings.warn(
                f"`data` ended after {recorder.steps} of the {steps} `steps`: so did "
                "the run.",
                stacklevel=2,
            )
        return loop.run()


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise LagrangianError(f"`{name}` is {value}; pass a whole number above 0.")


def _placement(mesh: Mesh | None, batch: int) -> tuple[Any, Any]:
    """Functions that put a pytree on every device, and share an array out."""
    if mesh is None:
        return (lambda tree: tree), (lambda array: array)
    if batch % mesh.size:
        raise LagrangianError(
            f"`mesh` has {mesh.size} devices, which cannot share {batch} examples a "
            f"step evenly. Pass a `batch_size` that is a multiple of {mesh.size}."
        )
    # That of `jax.make_mesh` would ask for shardings in the types of arrays, which
    # models that are written without them do not have.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    everywhere = NamedSharding(mesh, PartitionSpec())
    shared = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return (
        lambda tree: jax.device_put(tree, everywhere),
        lambda array: jax.lax.with_sharding_constraint(array, shared),
    )


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
    divisors = [n for n in range(10, min(steps, _LONGEST) + 1) if steps % n == 0]
    return min(divisors, key=lambda n: abs(n - 50), default=min(steps, 100))


def _divisor(every: int) -> int:
    """The longest chunk of which a whole number makes `every` steps."""
    return max(n for n in range(1, min(every, _LONGEST) + 1) if every % n == 0)
