"""Convolutions that are as fast in a loop as they are outside of one.

XLA's CPU backend has a fast convolution for arrays whose axes are in one order: batch,
space, features, and space, features in, features out for the kernel. It brings others
into that order at the top level of a program only, and computes those in the body of a
loop number by number, twenty to forty times slower. The gradients of convolutions are
such others. Here the axes are put in order before XLA sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import Literal

from lagrangian.lowering.platform import on_cpu
from lagrangian.lowering.programs import equations


def ordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of pytrees of arrays, for the body of a loop.

    Where it has no such convolution, and where there is no CPU, it is left as it is.
    """
    if not on_cpu():
        return function

    def call(*given: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*given)
        flat = _evaluate(program.jaxpr, program.consts, jax.tree.leaves(given))
        return jax.tree.unflatten(jax.tree.structure(shape), flat)

    return call


def _evaluate(
    program: Any, constants: Sequence[Any], values: Sequence[Any]
) -> list[Any]:
    """What a program returns, with its convolutions in order."""
    known: dict[Any, Any] = dict(zip(program.constvars, constants, strict=True))
    known.update(zip(program.invars, values, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in program.eqns:
        given = [read(v) for v in equation.invars]
        if _is_unordered(equation):
            results = [_convolve(*given, **equation.params)]
        else:
            params = {k: _rewritten(p) for k, p in equation.params.items()}
            params = equation.primitive.get_bind_params(params)
            results = equation.primitive.bind(*given, **params)
            if not equation.primitive.multiple_results:
                results = [results]
        known.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in program.outvars]


def _rewritten(parameter: Any) -> Any:
    """A parameter of an equation; of programs in it, those that compute the same."""
    if type(parameter) is tuple:  # the branches of a `cond`
        return tuple(map(_rewritten, parameter))
    program = getattr(parameter, "jaxpr", parameter)
    if not hasattr(program, "eqns") or not _has_unordered(program):
        return parameter
    given = [
        jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type)
        for v in program.invars
    ]
    constants = getattr(parameter, "consts", ())
    new = jax.make_jaxpr(lambda *values: _evaluate(program, constants, values))(*given)
    return new if program is not parameter else new.jaxpr


def _has_unordered(program: Any) -> bool:
    return any(map(_is_unordered, equations(program)))


def _is_unordered(equation: Any) -> bool:
    if equation.primitive.name != "conv_general_dilated":
        return False
    params = equation.params
    # One of several groups of examples has no fast path anyway.
    return params["batch_group_count"] == 1 and (
        params["dimension_numbers"] != _in_order(equation.invars[0].aval.ndim)
    )


def _in_order(ndim: int) -> lax.ConvDimensionNumbers:
    """By the axes of batch and features, out and in features, and of space."""
    space, last = tuple(range(1, ndim - 1)), ndim - 1
    arrays, kernel = (0, last, *space), (last, last - 1, *range(ndim - 2))
    return lax.ConvDimensionNumbers(arrays, kernel, arrays)


def _convolve(x: Any, kernel: Any, *, dimension_numbers: Any, **options: Any) -> Any:
    """A convolution in order, between transpositions."""
    of_x, of_kernel, of_result = dimension_numbers
    order = _in_order(x.ndim)

    def put(array: Any, there: Sequence[int], here: Sequence[int]) -> Any:
        axes = dict(zip(there, here, strict=True))
        return lax.transpose(array, [axes[k] for k in range(array.ndim)])

    result = lax.conv_general_dilated_p.bind(
        put(x, order.lhs_spec, of_x),
        put(kernel, order.rhs_spec, of_kernel),
        dimension_numbers=order,
        **options,
    )
    return put(result, of_result, order.out_spec)
