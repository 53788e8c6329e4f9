"""How a model cuts its own arrays: read from the program that JAX traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from jax.extend.core import ClosedJaxpr, Literal

from lagrangian.learning.discover.axes import Axis, Cut, meet, reshape
from lagrangian.learning.discover.in_double import called, opened, scan_counts

Axes = list[Axis]


def cuts_of_arguments(program: ClosedJaxpr, count: int) -> list[list[Cut]]:
    """For each of the first arguments, as a flat array, the parts that it is cut into.

    Axes are followed through the program: a kernel whose outputs are split into
    queries, keys and values, and reshaped into heads, is cut likewise, and so is its
    bias. Empty where there are more parts than a layer has.
    """
    axes: dict[Any, Axes] = {}
    wholes = []
    for variable in program.jaxpr.invars[:count]:
        whole = Axis(prod(variable.aval.shape))
        whole.factor(_of(axes, variable))
        wholes.append(whole)
    _follow(program.jaxpr, axes)
    return [whole.cuts() for whole in wholes]


def _of(axes: dict[Any, Axes], variable: Any) -> Axes:
    if isinstance(variable, Literal):
        return [Axis(n) for n in getattr(variable.aval, "shape", ())]
    if variable not in axes:
        axes[variable] = [Axis(n) for n in getattr(variable.aval, "shape", ())]
    return axes[variable]


def _follow(jaxpr: Any, axes: dict[Any, Axes]) -> None:
    for equation in jaxpr.eqns:
        inside = [_of(axes, v) for v in equation.invars]
        outside = [_of(axes, v) for v in equation.outvars]
        name, params = equation.primitive.name, equation.params
        inner = called(equation)
        if inner is not None:
            _call(opened(inner)[0], inside, outside)
        elif name in _RULES:
            _RULES[name](params, inside, outside)
        elif name.startswith(("reduce_", "arg")) and "axes" in params:
            _reduce(params, inside, outside)
        else:
            _elementwise(inside, outside)


def _call(jaxpr: Any, inside: Sequence[Axes], outside: Sequence[Axes]) -> None:
    """A program with arguments and results whose axes are known."""
    axes: dict[Any, Axes] = {}
    for variable, known in zip(jaxpr.invars, inside, strict=True):
        axes[variable] = list(known)
    _follow(jaxpr, axes)
    for variable, known in zip(jaxpr.outvars, outside, strict=True):
        if known is not None:
            meet(_of(axes, variable), known)


def _elementwise(inside: Sequence[Axes], outside: Sequence[Axes]) -> None:
    """Axes of one length run along with each other; those of length 1 are spread."""
    for out in outside:
        for given in inside:
            if len(given) == len(out):
                meet(given, out)


def _reduce(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    gone = {int(a) for a in params["axes"]}
    for given, out in zip(inside, outside, strict=False):
        meet([a for i, a in enumerate(given) if i not in gone], out)


def _reshape(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    reshape(inside[0], outside[0])


def _transpose(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    meet([inside[0][int(i)] for i in params["permutation"]], outside[0])


def _broadcast(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    for given, place in zip(inside[0], params["broadcast_dimensions"], strict=True):
        given.join(outside[0][int(place)])


def _squeeze(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    gone = {int(a) % len(inside[0]) for a in params["dimensions"]}
    meet([a for i, a in enumerate(inside[0]) if i not in gone], outside[0])


def _slice(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    (given,), (out,) = inside, outside
    steps = params["strides"] or (1,) * len(given)
    starts, ends = params["start_indices"], params["limit_indices"]
    cut = [i for i, a in enumerate(given) if a.length != out[i].length]
    for i in cut:
        rest = given[i].length - ends[i]
        if steps[i] == 1:
            given[i].segment([Axis(starts[i]), out[i], Axis(rest)])
        elif given[i].length == out[i].length * steps[i]:
            # Every second entry, as in rotary embeddings of neighbours.
            which = [Axis(starts[i]), Axis(1), Axis(steps[i] - starts[i] - 1)]
            step = Axis(steps[i])
            step.segment(which)
            given[i].factor([out[i], step])
    _beside(given, out, cut)


def _beside(given: Axes, out: Axes, cut: list[int]) -> None:
    """What the other axes of an array become in one segment of it."""
    for i, axis in enumerate(given):
        if i in cut or axis.length == 1:
            continue
        for j in cut:
            if given[j].has_whole_with(axis):
                out[j].apart(axis).join(out[i])
                break
        else:
            axis.join(out[i])


def _split(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    axis = params["axis"]
    inside[0][axis].segment([out[axis] for out in outside])
    for out in outside:
        _beside(inside[0], out, [axis])


def _concatenate(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    _split({"axis": params["dimension"]}, outside, inside)


def _dot(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    contracted, batch = params["dimension_numbers"]
    left, right = inside[0], inside[1]
    for one, other in (contracted, batch):
        for first, second in zip(one, other, strict=True):
            left[first].join(right[second])
    free = [
        a
        for side, gone, both in (
            (left, contracted[0], batch[0]),
            (right, contracted[1], batch[1]),
        )
        for i, a in enumerate(side)
        if i not in gone and i not in both
    ]
    meet([*(left[i] for i in batch[0]), *free], outside[0])


def _convolve(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    given = inside[0][numbers.lhs_spec[1]]
    out = outside[0][numbers.out_spec[1]]
    written, read = (inside[1][i] for i in numbers.rhs_spec[:2])
    written.join(out)
    if groups == 1:
        given.join(read)
    else:
        which = Axis(groups)
        given.factor([which, read])
        out.factor([which, Axis(out.length // groups)])


def _gather(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(inside[0])) if i not in gone]
    for place, i in zip(numbers.offset_dims, kept, strict=False):
        if sizes[i] == inside[0][i].length:
            inside[0][i].join(outside[0][place])


def _scan(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    step = opened(params["jaxpr"])[0]
    fixed, carried = scan_counts(
        step, [len(a) for a in inside], [len(a) for a in outside]
    )
    given = [*inside[: fixed + carried], *(a[1:] for a in inside[fixed + carried :])]
    out = [*outside[:carried], *(a[1:] for a in outside[carried:])]
    for first, last in zip(inside[fixed : fixed + carried], outside, strict=False):
        meet(first, last)
    _call(step, given, out)


def _while(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    first = params["cond_nconsts"]
    carried = inside[first + params["body_nconsts"] :]
    for before, after in zip(carried, outside, strict=True):
        meet(before, after)
    _call(opened(params["body_jaxpr"])[0], inside[first:], outside)


def _cond(params: Mapping[str, Any], inside: Any, outside: Any) -> None:
    for branch in params["branches"]:
        _call(opened(branch)[0], inside[1:], outside)


_RULES: dict[str, Callable[[Mapping[str, Any], Any, Any], None]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
    "gather": _gather,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
