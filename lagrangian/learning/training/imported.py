"""A run that was recorded by any other program, as an observed run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.claims import read_for
from lagrangian.learning.training.observed import Watch, watching
from lagrangian.learning.training.recorded import recorded
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.unread import Unread
from lagrangian.networks.user_data import load_arrays
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: Steps that are on the device at a time.
_CHUNK = 64
#: By how much q' may differ from q + u, in units of epsilon.
_ROUNDING = 4
_KINDS = ("parameters", "gradients", "updates")


def imported(
    source: str | os.PathLike[str] | Mapping[str, Any],
    laws: Iterable[Law | Symmetry],
    rule: Rule | optax.GradientTransformation | None = None,
    *,
    maps: Mapping[Any, Any] | None = None,
) -> Run:
    """The run that arrays tell of, from any framework, for `lg.check`.

    The rule's momentum is computed anew from the gradients, and held against what moved
    the parameters: that the run was made by this rule is checked, not believed.

    Returns:
        A `Run`, without a model of its own but the arrays.

    >>> import numpy as np
    >>> import lagrangian as lg
    >>> q, steps = np.array([1.0, 2.0]), {"parameters/w": [], "gradients/w": []}
    >>> for _ in range(20):
    ...     slope = np.cos(np.arctan2(q[1], q[0])) / (q @ q)  # of sin(angle)
    ...     gradient = slope * np.array([-q[1], q[0]])
    ...     steps["parameters/w"].append(q)
    ...     steps["gradients/w"].append(gradient)
    ...     q = q - 0.1 * gradient
    >>> steps["parameters/w"].append(q)
    >>> run = lg.imported(steps, [lg.Scale("w")], lg.HeavyBall(0.1))
    >>> lg.check(run).holds
    True

    Args:
        source: an `.npz` file, or arrays by name. For each block NAME

            - `parameters/NAME`, of shape (steps + 1, ...): before every step, and after
              the last one;
            - `gradients/NAME`, of shape (steps, ...), of the loss of each step;
            - `updates/NAME`, of shape (steps, ...), what was added; by default the
              differences of the parameters;

            and `losses`, of shape (steps,), if they are known. Where the rule looks at
            the whole tree (a global norm), all blocks are needed.
        laws: laws, or symmetries, of blocks by these names.
        rule: by which the run is said to be made: a learning rule, or an optax
            transformation, that starts from rest. If None, no rule is claimed: that the
            gradients have the symmetry, and that the updates moved the parameters, is
            what is checked.
        maps: as `lg.train` takes them.

    Raises:
        LagrangianError: arrays that are missing, or of shapes that do not fit.
        TrainingStopped: a step was not finite.
        UnknownBlock: a law of a block that `source` does not have.
        CannotLower: a linear map or constant block of a law without a value.
    """
    arrays = source if isinstance(source, Mapping) else load_arrays(source)
    steps, trees, losses = _trees(arrays)
    laws = (laws,) if isinstance(laws, Law | Symmetry) else tuple(laws)
    parameters, gradients, updates = trees
    dtypes = {a.dtype for tree in trees for a in tree.values()}
    with jax.enable_x64(np.dtype(np.float64) in dtypes):
        first = {name: jnp.asarray(a[0]) for name, a in parameters.items()}
        whole = _rule(rule, first, laws)
        watch = _told(watching(whole, laws, maps, _CHUNK))
        state, run = watch.init(first), None
        replay = jax.jit(lambda state, told: jax.lax.scan(_step(watch), state, told)[0])
        for start in range(0, steps, _CHUNK):
            rows = slice(start, min(start + _CHUNK, steps))
            told = jax.tree.map(
                lambda a, rows=rows: jnp.asarray(a[rows]),
                (gradients, parameters, updates, losses),
            )
            state = replay(state, told)
            now = {name: jnp.asarray(a[rows.stop]) for name, a in parameters.items()}
            run = recorded(state, now, after=run)
    assert run is not None  # there is a step
    return run


@dataclass(frozen=True, repr=False)
class _Unnamed(Unread):
    """Whatever moved the parameters."""

    reason: str = "no rule was named by which the run was made"

    def __repr__(self) -> str:
        return "any rule"

    def read(self, parameters: Any) -> Rule:
        return self


def _rule(rule: Any, first: Any, laws: Any) -> Rule:
    if rule is None:
        return _Unnamed(1.0, optax.identity())
    if isinstance(rule, Rule):
        return rule
    return read_for(Unread.made_by(rule, "rule"), first, laws)


def _told(watch: Watch) -> Watch:
    """One whose transformation goes on by itself, and moves as it is told."""
    inner = watch.inner

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        moved = extra.pop("moved")
        return moved, inner.update(updates, state, params, **extra)[1]

    return replace(
        watch, inner=optax.GradientTransformationExtraArgs(inner.init, update)
    )


def _step(watch: Watch) -> Any:
    def step(state: Any, told: Any) -> tuple[Any, None]:
        gradient, params, moved, value = told
        _, state = watch.update(gradient, state, params, moved=moved, value=value)
        return state, None

    return step


def _check_moved(name: str, q: np.ndarray, gap: np.ndarray) -> None:
    """Raise if something else than the updates moved a block."""
    axes = tuple(range(1, q.ndim))
    small = _ROUNDING * np.finfo(q.dtype).eps * np.abs(q).max(axis=axes)
    if (far := np.abs(gap).max(axis=axes) > small[1:] + small[:-1]).any():
        step = int(np.argmax(far))
        raise LagrangianError(
            f"`parameters/{name}` were not moved by `updates/{name}` in step {step}: "
            "something else changed them. Record both of one loop."
        )


def _trees(arrays: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]], Any]:
    """How many steps, the three kinds of arrays by the names of blocks, the losses."""
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
    losses = None
    for key, value in arrays.items():
        kind, _, name = key.partition("/")
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise LagrangianError(
                f"`{key}` is of dtype {array.dtype}. Pass floating-point numbers."
            )
        if key == "losses":
            losses = array
        elif kind in found and name:
            found[kind][name] = array
        else:
            raise LagrangianError(
                f"`{key}` is none of `parameters/NAME`, `gradients/NAME`, "
                "`updates/NAME` and `losses`. Rename it, or leave it out."
            )
    parameters, gradients, updates = found.values()
    if not gradients or parameters.keys() != gradients.keys():
        other = sorted(parameters.keys() ^ gradients.keys()) or ["NAME"]
        raise LagrangianError(
            f"`source` needs both `parameters/{other[0]}` and `gradients/{other[0]}`. "
            "Add the one that is missing."
        )
    steps = len(next(iter(gradients.values())))
    for name, q in parameters.items():
        moved = np.diff(q, axis=0)
        updates.setdefault(name, moved)
        shape = q.shape[1:]
        for kind, array, count in (
            ("parameters", q, steps + 1),
            ("gradients", gradients[name], steps),
            ("updates", updates[name], steps),
        ):
            if array.shape != (count, *shape):
                raise LagrangianError(
                    f"`{kind}/{name}` has shape {array.shape}, and {(count, *shape)} "
                    f"is wanted: of {steps} steps. Record one of that shape in each "
                    "step."
                )
        _check_moved(name, q, moved - updates[name])
    if unknown := sorted(updates.keys() - parameters.keys()):
        raise LagrangianError(
            f"`source` has no `parameters/{unknown[0]}`. Add them, or leave out what "
            "belongs to them."
        )
    if losses is None:
        losses = np.full(steps, np.nan)
    if losses.shape != (steps,) or not steps:
        raise LagrangianError(
            f"`losses` has shape {losses.shape}, and there are {steps} steps. Pass one "
            "for each step."
        )
    return steps, [parameters, gradients, updates], losses
