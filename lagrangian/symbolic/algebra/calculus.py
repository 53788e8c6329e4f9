"""Differentiation of scalars and blocks: one directional derivative carries it all.

`variation` is the derivative along a motion of the symbols. The total time derivative
is the variation along the velocities; a gradient is read off a variation by moving
every factor away from the direction; and a Noether law is the variation of the
Lagrangian along the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy import default_sort_key

from lagrangian.symbolic.algebra.blocks import (
    Applied,
    Block,
    BlockExpression,
    ConstantBlock,
    EngineBlock,
    is_block,
    ones,
)
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.graph import partials, summed
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.matrices import Matmul, Transposed, matmul, transpose

_direction = EngineBlock("_direction")


def variation(expression: Expression, motion: Mapping[Any, Any]) -> Any:
    """The derivative of `expression` as every symbol s moves by `motion[s]`.

    Symbols that `motion` does not name stand still. Linear in the motion; scalars stay
    scalars and blocks stay blocks.

    Args:
        expression: a scalar or a block, in any symbols.
        motion: for each symbol that moves its direction, a scalar or a block as it is.

    Returns:
        An expression of the kind of `expression`.

    Raises:
        NotImplementedError: a function of blocks that has no rule here, such as `Max`.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> lg.variation(x**2 + y, {x: y, y: -x})
    2*x*y - x
    """
    expression = sp.sympify(expression)
    motion = {s: sp.sympify(d) for s, d in motion.items()}
    if not expression.has(Block, ConstantBlock, BlockExpression):
        moving = {symbol: d for symbol, d in motion.items() if d != 0}
        slopes = partials(expression, moving)
        return summed(
            (*term, moving[symbol]) for symbol in moving for term in slopes[symbol]
        )
    return _vary(expression, motion, {})


def _vary(node: Any, motion: Mapping[Any, Any], known: dict[Any, Any]) -> Any:
    if node in motion:
        return motion[node]
    if node not in known:
        known[node] = _vary_node(node, motion, known)
    return known[node]


def _vary_node(node: Any, motion: Mapping[Any, Any], known: dict[Any, Any]) -> Any:
    if not node.free_symbols & motion.keys():
        return sp.S.Zero
    if isinstance(node, Loss):
        moving = {b: _vary(b, motion, known) for b in node.blocks}
        if node.is_invariant(moving):
            return sp.S.Zero
        return sp.Add(*(Inner(Gradient(node, b), d) for b, d in moving.items()))
    if isinstance(node, Gradient):
        return _vary_gradient(node, motion, known)
    if isinstance(node, Applied):
        return node.args[0](_vary(node.args[1], motion, known))
    if isinstance(node, Transposed):
        return transpose(_vary(node.args[0], motion, known))
    if isinstance(node, Matmul):
        changes = [_vary(factor, motion, known) for factor in node.args]
        return sp.Add(
            *(
                matmul(*node.args[:i], change, *node.args[i + 1 :])
                for i, change in enumerate(changes)
                if change != 0
            )
        )
    if isinstance(node, Inner):
        left, right = node.args
        return _paired(_vary(left, motion, known), right, left) + _paired(
            _vary(right, motion, known), left, right
        )
    if not node.has(Block, ConstantBlock, BlockExpression):
        return variation(node, motion)
    moved = [_vary(argument, motion, known) for argument in node.args]
    if node.is_Add:
        return sp.Add(*moved)
    if node.is_Mul:
        return sp.Add(
            *(
                sp.Mul(*node.args[:i], change, *node.args[i + 1 :])
                for i, change in enumerate(moved)
                if change != 0
            )
        )
    if node.is_Pow:
        base, exponent = node.args
        return (
            exponent * base ** (exponent - 1) * moved[0]
            + node * sp.log(base) * moved[1]
        )
    if isinstance(node, sp.sign):
        return sp.S.Zero  # everywhere but where it jumps
    if isinstance(node, sp.Function):
        return sp.Add(
            *(node.fdiff(i + 1) * change for i, change in enumerate(moved) if change)
        )
    raise NotImplementedError(f"no derivative rule for `{type(node).__name__}`: {node}")


def _paired(change: Any, other: Any, side: Any) -> Any:
    """<change of side, other>; the change of log(w) along w is the scalar 1."""
    if change == 0 or is_block(change):
        return Inner(change, other)
    if other != ones:
        return change * Inner(ones, other)
    w = min(side.atoms(Block), key=default_sort_key)
    return change * Inner(w, 1 / w)


def _vary_gradient(node: Any, motion: Mapping[Any, Any], known: dict[Any, Any]) -> Any:
    """Its blocks move along one more direction, and its directions move themselves."""
    further = [
        Gradient(node.loss, node.block, *node.directions, (b, _vary(b, motion, known)))
        for b in node.loss.blocks
    ]
    for i, (b, direction) in enumerate(node.directions):
        turned = (b, _vary(direction, motion, known))
        others = node.directions[:i] + node.directions[i + 1 :]
        further.append(Gradient(node.loss, node.block, *others, turned))
    return sp.Add(*further)


def gradient(expression: Expression, symbol: sp.Expr) -> Any:
    """The gradient of a scalar `expression` with respect to a scalar or block symbol.

    For a block, the block g with `variation(expression, {symbol: d}) == <g, d>` for
    every d.

    Args:
        expression: a scalar.
        symbol: a coordinate, a block, a field, or one of their derivatives.

    Returns:
        A scalar, or for a block a block of its shape.

    Raises:
        TypeError: an expression that is no scalar function of the block.
        NotImplementedError: as of `variation`.

    >>> import lagrangian as lg
    >>> w, x = lg.Block("w"), lg.coordinates("x")
    >>> lg.gradient(lg.Inner(w, w) / 2, w), lg.gradient(x**3, x)
    (w, 3*x**2)
    """
    expression = sp.sympify(expression)
    if not isinstance(symbol, Block | ConstantBlock):
        return variation(expression, {symbol: sp.S.One})
    change = sp.expand_mul(variation(expression, {symbol: _direction}))
    total = sp.S.Zero
    for term in sp.Add.make_args(change):
        if term == 0:
            continue
        products = [f for f in sp.Mul.make_args(term) if f.has(_direction)]
        if len(products) != 1 or not isinstance(products[0], Inner):
            raise TypeError(
                f"`{expression}` is not a scalar function of `{symbol}`. Pass a "
                "scalar, such as an inner product `lg.Inner(w, w)`."
            )
        (product,) = products
        left, right = product.args
        if left.has(_direction):
            left, right = right, left
        total += (term / product) * _release(left, right)
    return total


def _release(free: Any, bound: Any) -> Any:
    """The block g with <free, bound> == <g, direction>, by transposition."""
    if bound == _direction:
        return free
    if isinstance(bound, Applied):
        return _release(bound.args[0].T(free), bound.args[1])
    if isinstance(bound, Transposed):
        return _release(transpose(free), bound.args[0])
    if isinstance(bound, Matmul):
        (i,) = (i for i, factor in enumerate(bound.args) if factor.has(_direction))
        before = [transpose(factor) for factor in reversed(bound.args[:i])]
        behind = [transpose(factor) for factor in reversed(bound.args[i + 1 :])]
        return _release(matmul(*before, free, *behind), bound.args[i])
    if isinstance(bound, Gradient):
        # Second derivatives commute: <a, D grad_u f[v: d]> = <D grad_v f[u: a], d>.
        ((i, (moved, direction)),) = (
            (i, pair)
            for i, pair in enumerate(bound.directions)
            if pair[1].has(_direction)
        )
        others = bound.directions[:i] + bound.directions[i + 1 :]
        turned = Gradient(bound.loss, moved, *others, (bound.block, free))
        return _release(turned, direction)
    held = [factor for factor in bound.args if factor.has(_direction)]
    rest = bound / held[0]
    return _release(rest if free == ones and is_block(rest) else free * rest, held[0])


def total_derivative(expression: Expression) -> Any:
    """d/dt along any path: every coordinate moves with its own `dot`, and time runs.

    Args:
        expression: in coordinates and their derivatives, blocks, and `lg.time`.

    Returns:
        An expression of the kind of `expression`, with one more dot.

    Raises:
        NotImplementedError: as of `variation`.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> lg.total_derivative(x**2 * lg.time)
    2*t*x*x.dot + x**2
    """
    expression = sp.sympify(expression)
    motion: dict[Any, Any] = {c: c.dot for c in expression.atoms(Coordinate)}
    return variation(expression, motion | {time: sp.S.One})


def pairing(left: Any, right: Any) -> Any:
    """The product of two scalars, or the inner product of two blocks."""
    if left == 0 or right == 0:
        return sp.S.Zero
    return Inner(left, right) if is_block(left) or is_block(right) else left * right
