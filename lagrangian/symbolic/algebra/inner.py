"""Inner products of blocks, each in the one form that stands for all equal ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy import default_sort_key
from sympy.printing.precedence import PRECEDENCE

from lagrangian.symbolic.algebra.blocks import (
    Applied,
    BlockExpression,
    block_terms,
    is_block,
    ones,
)
from lagrangian.symbolic.algebra.losses import Gradient
from lagrangian.symbolic.algebra.matrices import Matmul, Transposed, trace_rootings


class Inner(BlockExpression):
    """`<a, b>`: the sum of the elementwise product of two blocks.

    Bilinear and symmetric; linear maps and matrix factors are moved across by
    transposition and elementwise factors are pooled, so that equal inner products are
    equal expressions.

    Args:
        left, right: blocks, or expressions of them, of one shape.

    >>> from lagrangian.symbolic.algebra.blocks import blocks
    >>> w, v = blocks("w v")
    >>> Inner(2*w + v, w)
    <v, w> + 2*|w|^2

    Raises:
        TypeError: an argument that is a scalar.
    """

    is_extended_real = True
    block_valued = False

    def __new__(cls, left: Any, right: Any) -> Any:
        left, right = sp.sympify(left), sp.sympify(right)
        for side in (left, right):
            if not side.is_zero and not is_block(side):
                raise TypeError(
                    f"`Inner` takes two blocks, and `{side}` is a scalar. "
                    "Multiply the inner product by it instead."
                )
        return sp.Add(
            *(
                a * b * _canonical_pair(x, y)
                for a, x in block_terms(left)
                for b, y in block_terms(right)
            )
        )

    @property
    def precedence(self) -> int:
        """For SymPy's text printer, which must bracket |w|^2 inside a power."""
        return PRECEDENCE["Pow" if self.args[0] == self.args[1] else "Atom"]

    def _eval_derivative(self, symbol: Any) -> Any:
        from lagrangian.symbolic.algebra.calculus import gradient

        return gradient(self, symbol)

    def _sympystr(self, printer: Any) -> str:
        left, right = (printer._print(a) for a in self.args)
        return f"|{left}|^2" if left == right else f"<{left}, {right}>"

    def _latex(self, printer: Any) -> str:
        left, right = (_latex_side(a, printer) for a in self.args)
        if left == right:
            return rf"\left|{left}\right|^{{2}}"
        return rf"\left\langle {left},\, {right}\right\rangle"


def _latex_side(side: Any, printer: Any) -> str:
    """With a sign for the elementwise product, which is none of matrices."""
    factors = sp.Mul.make_args(side)
    if len(factors) == 1 or not all(map(is_block, factors)):
        return printer._print(side)
    return r" \odot ".join(printer.parenthesize(f, PRECEDENCE["Mul"]) for f in factors)


def _canonical_pair(left: Any, right: Any) -> Any:
    """The inner product of two single terms, in the one form that stands for it.

    It has many: transposing a linear map or a matrix moves it across. All of them are
    written out, a declared invariance is applied where one of them shows it, and the
    smallest stands for all. Where one form turns up with both signs, it is zero.
    """
    forms: dict[tuple[Any, Any], Any] = {}
    for sign, x, y in _rootings(left, right):
        for side, other in ((x, y), (y, x)):
            rewritten = _by_invariance(side, other)
            if rewritten is not None:
                return sign * rewritten
        if forms.setdefault((x, y), sign) != sign:
            return sp.S.Zero
    pair = min(forms, key=_form_key)
    return forms[pair] * sp.Expr.__new__(Inner, *pair)


def _rootings(left: Any, right: Any) -> Iterator[tuple[Any, Any, Any]]:
    traces = trace_rootings(left, right)
    if traces:
        yield from traces
        return
    for side, other in ((left, right), (right, left)):
        # <x, D grad f[d]> is symmetric in x and every d.
        if isinstance(side, Gradient) and side.directions:
            for i, (block, direction) in enumerate(side.directions):
                rest = side.directions[:i] + side.directions[i + 1 :]
                turned = Gradient(side.loss, block, *rest, (side.block, other))
                yield 1, direction, turned
    pooled = _pooled(left, right)
    if not pooled:
        # <1/w, w> is the number of entries of w, which <1, 1> would not know.
        yield 1, *sorted((left, right), key=default_sort_key)
        return
    for sign, factors in _tree_rootings(pooled):
        for i, factor in enumerate(factors):
            # Any factor may stand alone on one side; a gradient has to be tried so.
            if i == 0 or isinstance(factor, Gradient):
                others = sp.Mul(*factors[:i], *factors[i + 1 :])
                yield sign, factor, others


def _by_invariance(side: Any, other: Any) -> Any | None:
    if not isinstance(side, Gradient) or side.directions:
        return None
    terms = side.loss.eliminate(side.block, other)
    if terms is None:
        return None
    return sp.Add(*(c * Inner(Gradient(side.loss, b), x) for c, b, x in terms))


def _tree_rootings(
    factors: list[Any], came_from: Any = None
) -> Iterator[tuple[int, tuple]]:
    """Every root of a product of maps as (sign, sorted factors of the root).

    The sum of a product of factors, some of which are maps of further products, is a
    tree: its nodes are elementwise products and its edges linear maps. Transposing a
    map moves the root along its edge. `came_from` is the factor that leads back to
    the node from which the walk came.
    """
    yield 1, tuple(sorted(factors, key=default_sort_key))
    for position, factor in enumerate(factors):
        if not isinstance(factor, Applied) or factor is came_from:
            continue
        linear_map, inside = factor.args
        others = sp.Mul(*factors[:position], *factors[position + 1 :])
        transposed = linear_map if linear_map.parity else linear_map.T
        back = sp.Expr.__new__(Applied, transposed, others)
        sign = -1 if linear_map.parity == -1 else 1
        for further, form in _tree_rootings([back, *_factors(inside)], back):
            yield sign * further, form


def _form_key(pair: tuple[Any, Any]) -> tuple:
    """Plain left sides and few maps first, for the eye; then any fixed order."""
    left, right = pair
    compound = isinstance(left, Matmul) + isinstance(left, Transposed)
    mapped = sum(isinstance(f, Applied) for f in (left, *sp.Mul.make_args(right)))
    return compound, mapped, default_sort_key(left), default_sort_key(right)


def _pooled(left: Any, right: Any) -> list[Any]:
    """The factors of both sides, `ones` beside a single other; [] if all cancel."""
    if left == right == ones:
        return [ones, ones]
    factors = [f for f in _factors(left * right) if f != ones and is_block(f)]
    return [*factors, ones] if len(factors) == 1 else factors


def _factors(product: Any) -> list[Any]:
    """Elementwise factors, whole powers written out: w**2 v gives w, w, v."""
    factors: list[Any] = []
    for factor in sp.Mul.make_args(product):
        base, exponent = factor.as_base_exp()
        if exponent.is_Integer and exponent > 0:
            factors += [base] * int(exponent)
        else:
            factors.append(factor)
    return factors
