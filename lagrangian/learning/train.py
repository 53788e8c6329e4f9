"""Training a Flax model in one jitted scan while its laws are recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from lagrangian.errors import LagrangianError, TrainingStopped
from lagrangian.learning.observe import Observer
from lagrangian.learning.recorder import Recorder
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.run import Run
from lagrangian.learning.step import prepare
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.symbolic.blocks import LinearMap
from lagrangian.symbolic.noether import Law


def train(
    model: nnx.Module,
    loss: Callable[[Any, Any], Any],
    data: Any,
    rule: Rule,
    steps: int,
    *,
    observe: Sequence[Law] = (),
    maps: Mapping[LinearMap, Callable[..., Any]] | None = None,
    batch_size: int | None = 128,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Run:
    """Train a copy of `model` by minibatches and record the laws in `observe`.

    The steps run in jitted scans; the charges are computed on the device beside the
    update, from the very arrays that optax used.

    Args:
        model: a Flax NNX module; its batch statistics and random streams are carried
            along. It is not changed: the trained copy is `run.model`.
        loss: `loss(model, batch)`, a scalar.
        data: arrays with one leading axis, in any pytree; a batch has its structure.
        rule: the learning rule.
        steps: how many updates.
        observe: laws of blocks that are named by the paths of the parameters.
        maps: a function for every linear map that the laws contain.
        batch_size: examples a step, drawn without replacement in each epoch; None for
            all of the data in every step.
        seed: of the order of the examples.
        save: a `.npz` file for the records, written at the end and also when the
            training stops early.
        progress: whether a terminal shows a progress bar (after two seconds).

    Raises:
        UnknownBlock: a law names a block that the model does not have.
        TrainingStopped: the loss was not finite at some step; the error carries the
            step and the run until then.
        LagrangianError: a loss that is not a scalar, or a model that is not NNX.
    """
    if not isinstance(model, nnx.Module):
        raise LagrangianError(
            f"`model` is a {type(model).__name__}; `train` takes a `flax.nnx.Module`."
        )
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    dtype = _dtype(parameters)
    with jax.enable_x64(dtype == np.float64):
        data = jax.tree.map(jnp.asarray, data)
        observers = [Observer(law, rule, maps) for law in observe]
        for observer in observers:
            pick(named_leaves(parameters), observer.names, type(model).__name__)
        size = _size(data)
        batch = size if batch_size is None else min(batch_size, size)
        order = _order(size, batch, seed, shuffled=batch_size is not None)
        step, carry = prepare(graph, parameters, rest, loss, rule, observers)
        _check_scalar(step, carry, data, batch)

        def scan(carry: Any, data: Any, chosen: Any) -> Any:
            def body(carry: Any, rows: Any) -> Any:
                return step(carry, jax.tree.map(lambda a: a[rows], data))

            return jax.lax.scan(body, carry, chosen)

        recorder = Recorder(
            observe, rule=rule, dtype=dtype, seed=seed, batch_size=batch
        )
        jitted, length = jax.jit(scan), _chunk_length(steps)
        try:
            # tqdm's `disable=None` is silence where the output is no terminal.
            with tqdm(
                total=steps, unit="step", delay=2, disable=None if progress else True
            ) as bar:
                while recorder.steps < steps:
                    rows = min(length, steps - recorder.steps)
                    chosen = np.stack([next(order) for _ in range(rows)])
                    after, records = jitted(carry, data, chosen)
                    bad_loss = recorder.extend(jax.device_get(records))
                    if bad_loss is not None:
                        raise _stopped(recorder, bad_loss, _model(graph, carry))
                    carry = after
                    bar.update(rows)
        finally:
            if save is not None and recorder.chunks:
                recorder.run(_model(graph, carry)).save(save)
        return recorder.run(_model(graph, carry))


def _model(graph: Any, carry: Any) -> Any:
    _, parameters, rest, _ = carry
    return nnx.merge(graph, parameters, rest)


def _stopped(recorder: Recorder, loss: float, model: Any) -> TrainingStopped:
    return TrainingStopped(
        f"training stopped at step {recorder.steps}: the loss is {loss}"
        f"{'' if np.isnan(loss) or np.isinf(loss) else ' and a gradient is not finite'}"
        ". Everything until then is in this error's `run`. Lower the learning rate, or "
        "check the data.",
        recorder.steps,
        recorder.run(model),
    )


def _dtype(parameters: Any) -> np.dtype:
    found = {
        np.dtype(leaf.dtype)
        for leaf in jax.tree.leaves(parameters)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
    if not found:
        raise LagrangianError(
            "`model` has no floating-point parameters (`nnx.Param`) to train."
        )
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
    return lengths.pop()


def _order(size: int, batch: int, seed: int, shuffled: bool) -> Iterator[np.ndarray]:
    """Rows of the data, a batch at a time; what an epoch leaves over is dropped."""
    generator = np.random.default_rng(seed)
    while True:
        rows = generator.permutation(size) if shuffled else np.arange(size)
        for start in range(0, size - batch + 1, batch):
            yield rows[start : start + batch]


def _check_scalar(step: Any, carry: Any, data: Any, batch: int) -> None:
    sample = jax.tree.map(lambda a: a[:batch], data)
    try:
        jax.eval_shape(step, carry, sample)
    except TypeError as error:
        if "scalar-output" not in str(error):
            raise
        raise LagrangianError(
            f"`loss` must return a scalar for a batch. Reduce it, as in "
            f"`losses.mean()`. ({str(error).splitlines()[0]})"
        ) from None


def _chunk_length(steps: int) -> int:
    """How many steps one scan does: a divisor of `steps` near 50 if there is one.

    A last chunk of another length would have to be compiled again.
    """
    divisors = [n for n in range(10, min(steps, 200) + 1) if steps % n == 0]
    return min(divisors, key=lambda n: abs(n - 50), default=min(steps, 100))
