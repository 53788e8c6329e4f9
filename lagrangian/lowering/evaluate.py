"""From a SymPy expression to JAX operations, shared subexpressions computed once.

The expression graph is walked while JAX traces, so nothing is printed and executed:
what comes out is an ordinary JAX function of its inputs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp
from sympy.core.function import AppliedUndef

from lagrangian.errors import CannotLower, nearest
from lagrangian.lowering.batched_scalars import evaluate_levels, is_large
from lagrangian.lowering.functions import (
    FUNCTIONS,
    LOGIC,
    ORDERED,
    ORDERS,
    fraction,
    has_counterpart,
    number,
    rational_power,
)
from lagrangian.symbolic.algebra.blocks import (
    Applied,
    Block,
    ConstantBlock,
    LinearMap,
    ones,
)
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.matrices import Matmul, Transposed


def check_lowerable(
    expressions: Mapping[str, Any], inputs: Iterable[Any], opaque: Iterable[Any] = ()
) -> None:
    """Raise before any tracing if an expression cannot be evaluated.

    Args:
        expressions: what will be lowered, by the name that an error should give it.
        inputs: the symbols, and linear maps, that will have values.
        opaque: names of the losses that will have an implementation.

    Raises:
        CannotLower: a symbol without a value, or a function without a JAX counterpart.
    """
    inputs, opaque = set(inputs) | {ones}, set(opaque)
    seen: set[Any] = set()
    for place, expression in expressions.items():
        is_matrix = isinstance(expression, sp.MatrixBase)
        pending = list(expression) if is_matrix else [sp.sympify(expression)]
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            if isinstance(node, sp.Expr) and node.is_number and node.is_extended_real:
                continue  # evaluated exactly, by SymPy
            _check_node(node, place, inputs, opaque)
            # The names and invariances inside a loss are not evaluated.
            pending += node.blocks if isinstance(node, Loss) else node.args


def _check_node(node: Any, place: str, inputs: set[Any], opaque: set[Any]) -> None:
    if isinstance(node, sp.Symbol) and node not in inputs:
        raise CannotLower(
            f"`lower` got no value for `{node}`, which the {place} contains. "
            f"Pass `{{{node}: ...}}`."
        )
    if isinstance(node, LinearMap) and node.base not in inputs:
        raise CannotLower(
            f"`lower` got no function for the linear map `{node.base}`, which the "
            f"{place} contains. Pass `{{{node.base}: function}}`."
        )
    if isinstance(node, Loss) and node.name not in opaque:
        raise CannotLower(
            f"`lower` got no function for the loss `{node}`, which the {place} "
            f"contains. Pass `losses={{{node.name!r}: function}}`."
        )
    if not has_counterpart(node):
        inner = node.expr if isinstance(node, sp.Derivative) else node
        name = inner.func if isinstance(inner, sp.Function) else type(node).__name__
        orders = ORDERS.get(type(node))
        reason = f" (the order must be one of {_span(orders)})" if orders else ""
        if isinstance(inner, AppliedUndef):
            reason = " (it is undefined: put an expression in its place)"
        raise CannotLower(
            f"`{name}` in the {place} has no JAX counterpart here{reason}: {node}. "
            "Write it in functions of `jax.numpy`, or put numbers in."
        )


def _span(orders: range) -> str:
    return str(list(orders)) if len(orders) < 5 else f"{orders[0]}, ..., {orders[-1]}"


def evaluate(
    expressions: Iterable[Any],
    values: Mapping[Any, Any],
    losses: Mapping[str, Callable[..., Any]] | None = None,
) -> list[Any]:
    """The values of `expressions` under `values`, as JAX arrays.

    Numbers are rounded once, to the precision of the values, whose type the results
    have. Many scalars at one state are evaluated together, level by level.

    Args:
        expressions: SymPy scalars, blocks or matrices; equal subexpressions are
            evaluated once. A matrix gives an array of shape (..., rows, columns).
        values: an array for each symbol, a function for each linear map.
        losses: an implementation for each opaque loss by name, called with its blocks
            in their order.
    """
    expressions = list(expressions)
    flat: list[Any] = []
    for expression in expressions:
        is_matrix = isinstance(expression, sp.MatrixBase)
        flat += list(expression) if is_matrix else [sp.sympify(expression)]
    dtype = _dtype(values)
    if is_large(flat, values):
        rows = evaluate_levels(flat, values, dtype)
        # XLA sees through slices that the caller stacks again.
        results: Any = (
            jax.lax.index_in_dim(rows, i, keepdims=False) for i in range(len(flat))
        )
    else:
        results = map(_Walk(dict(values), losses or {}, dtype), flat)
    return [
        _assemble(expression.shape, results)
        if isinstance(expression, sp.MatrixBase)
        else next(results)
        for expression in expressions
    ]


def evaluate_rows(
    expressions: Iterable[Any], values: Mapping[Any, Any], lanes: tuple[int, ...] = ()
) -> Any:
    """The values of scalars, as one array of shape (expressions, *lanes).

    For programs that must compile quickly: many are evaluated level by level in lanes,
    too, where one operation for each would run no faster, and compile for minutes.

    Args:
        values: numbers, and arrays of shape `lanes` or (), for each symbol.
    """
    flat, dtype = [sp.sympify(e) for e in expressions], _dtype(values)
    if is_large(flat, values, lanes):
        return evaluate_levels(flat, values, dtype, lanes)
    walk = _Walk(dict(values), {}, dtype)
    return jnp.stack(
        [jnp.broadcast_to(jnp.asarray(walk(e), dtype), lanes) for e in flat]
    )


def _dtype(values: Mapping[Any, Any]) -> Any:
    """The floating-point type of the arrays among the values."""
    types = [v.dtype for v in values.values() if hasattr(v, "dtype")]
    types = [t for t in types if jnp.issubdtype(t, jnp.floating)]
    return jnp.result_type(*types) if types else jnp.result_type(float)


def _assemble(shape: tuple[int, int], results: Iterator[Any]) -> Any:
    entries = [next(results) for _ in range(shape[0] * shape[1])]
    array = jnp.stack(jnp.broadcast_arrays(*entries), -1)
    return array.reshape(array.shape[:-1] + shape)


class _Walk:
    """One evaluation: remembers every node that it has met."""

    def __init__(self, known: dict[Any, Any], losses: Mapping[str, Any], dtype: Any):
        self.known, self.losses, self.dtype = known, losses, dtype

    def __call__(self, node: Any) -> Any:
        if node not in self.known:
            self.known[node] = self.node(node)
        return self.known[node]

    def node(self, node: Any) -> Any:
        is_sum_or_product = node.is_Add or node.is_Mul
        if node.is_number and not is_sum_or_product:
            return number(node, self.dtype)
        if node == ones:
            return 1.0
        if node.is_Add:
            return self.joined(operator.add, node.args)
        if node.is_Mul:
            return self.product(node)
        if node.is_Pow:
            return self.power(node)
        if isinstance(node, Inner):
            return self.inner(node)
        if isinstance(node, Applied):
            return self.applied(node)
        if isinstance(node, Matmul):
            return self.joined(jnp.matmul, node.args)
        if isinstance(node, Transposed):
            return jnp.swapaxes(self(node.args[0]), -1, -2)
        if isinstance(node, Gradient):
            return self.gradient(node)
        if isinstance(node, Loss):
            return self.losses[node.name](*map(self, node.blocks))
        if isinstance(node, sp.Piecewise):
            return self.piecewise(node)
        if node in (sp.true, sp.false):
            return bool(node)
        if type(node) in ORDERED:
            order, argument = node.args
            return ORDERED[type(node)](int(order), self(argument))
        function = FUNCTIONS.get(type(node)) or LOGIC.get(type(node))
        if node.is_Symbol:
            known = (str(s) for s in self.known if isinstance(s, sp.Symbol))
            raise CannotLower(
                f"there is no value for `{node}` here. {nearest(str(node), known)}"
            )
        if function is None:
            raise CannotLower(
                f"`{type(node).__name__}` has no JAX counterpart: {node}. Write it in "
                "functions of `jax.numpy`."
            )
        return function(*map(self, node.args))

    def product(self, node: Any) -> Any:
        above, below = fraction(node)
        value = self.joined(operator.mul, above) if above else 1.0
        if below:
            value = value / self.joined(operator.mul, below)
        return value

    def joined(self, operation: Callable[[Any, Any], Any], nodes: Any) -> Any:
        """A sum or product of nodes, whose shapes must go together."""
        values = [self(node) for node in nodes]
        try:
            return reduce(operation, values)
        except (TypeError, ValueError) as error:
            shapes = {n: jnp.shape(v) for n, v in zip(nodes, values, strict=True)}
            raise _do_not_fit(shapes) from error

    def power(self, node: Any) -> Any:
        base, exponent = node.args
        if exponent.is_Rational:
            return rational_power(self(base), exponent)
        return self(base) ** self(exponent)

    def inner(self, node: Any) -> Any:
        left, right = (jnp.asarray(self(argument)) for argument in node.args)
        try:
            return inner_product(left, right, unit_axis(node))
        except (TypeError, ValueError) as error:
            shapes = dict(zip(node.args, (left.shape, right.shape), strict=True))
            raise _do_not_fit(shapes) from error

    def applied(self, node: Any) -> Any:
        linear_map, argument = node.args[0], self(node.args[1])
        function = self.known[linear_map.base]
        if linear_map.transposed:
            # A map between blocks of different shapes says from which.
            shape = getattr(function, "domain", jnp.shape(argument))
            before = jax.ShapeDtypeStruct(shape, jnp.result_type(argument))
            return jax.linear_transpose(function, before)(argument)[0]
        return function(argument)

    def gradient(self, node: Gradient) -> Any:
        index = node.loss.blocks.index(node.block)
        if not node.directions:
            return self.gradients(node.loss)[index]
        arguments = tuple(map(self, node.loss.blocks))
        function = jax.grad(self.losses[node.loss.name], index)
        for block, direction in node.directions:
            tangents = tuple(
                jnp.broadcast_to(self(direction), value.shape)
                if b == block
                else jnp.zeros_like(value)
                for b, value in zip(node.loss.blocks, arguments, strict=True)
            )
            function = _along(function, tangents)
        return function(*arguments)

    def gradients(self, loss: Loss) -> Any:
        key = ("gradients", loss)
        if key not in self.known:
            function = self.losses[loss.name]
            arguments = tuple(map(self, loss.blocks))
            self.known[key] = jax.grad(function, tuple(range(len(arguments))))(
                *arguments
            )
        return self.known[key]

    def piecewise(self, node: Any) -> Any:
        value: Any = jnp.asarray(math.nan, self.dtype)
        for expression, condition in reversed(node.args):
            value = jnp.where(self(condition), self(expression), value)
        return value


def _do_not_fit(shapes: Mapping[Any, tuple[int, ...]]) -> CannotLower:
    """The error of arrays that cannot be added or multiplied, by what they are of."""
    got = ", ".join(f"`{node}` {shape}" for node, shape in shapes.items() if shape)
    given = [node for node in shapes if node.has(ConstantBlock)]
    whose = f"`{given[0]}`" if given else "one of them"
    return CannotLower(
        f"the shapes of {got} do not go together. Pass {whose} in a shape that does."
    )


def _along(function: Callable[..., Any], tangents: tuple) -> Callable[..., Any]:
    """The directional derivative of a function, as a function of the same arguments."""
    return lambda *arguments: jax.jvp(function, arguments, tangents)[1]


def unit_axis(node: Inner) -> int | None:
    """The axis that an inner product keeps; None if it sums over all of them.

    Raises:
        CannotLower: its blocks do not agree.
    """
    axes = {block.unit_axis for block in node.atoms(Block)} or {None}
    if len(axes) > 1:
        raise CannotLower(
            f"{node} joins blocks whose `unit_axis` differ: "
            f"{sorted(map(str, axes))}. Make them with the same one."
        )
    return axes.pop()


def inner_product(left: Any, right: Any, unit_axis: int | None = None) -> Any:
    """The sum of left * right over all axes, or over all but `unit_axis`."""
    if unit_axis is None:
        return jnp.sum(left * right)
    array = left * right
    axes = tuple(a for a in range(array.ndim) if a != unit_axis % array.ndim)
    return jnp.sum(array, axis=axes)
