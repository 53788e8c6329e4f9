"""Matrix products and transposes of blocks."""

from __future__ import annotations

from functools import reduce
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import (
    BlockExpression,
    ConstantBlock,
    block_terms,
    is_block,
)
from lagrangian.symbolic.algebra.expressions import Expression


class Matmul(BlockExpression):
    """The matrix product of two or more blocks; made by `matmul`."""

    def __new__(cls, *factors: Any) -> Any:
        return matmul(*factors)

    def _sympystr(self, printer: Any) -> str:
        return "@".join(map(printer._print, self.args))

    def _latex(self, printer: Any) -> str:
        return r"\,".join(map(printer._print, self.args))


class Transposed(BlockExpression):
    """The transpose of a block; made by `transpose`."""

    def __new__(cls, block: Expression) -> Any:
        return transpose(block)

    def _sympystr(self, printer: Any) -> str:
        return f"{printer._print(self.args[0])}.T"

    def _latex(self, printer: Any) -> str:
        return f"{{{printer._print(self.args[0])}}}^{{T}}"


def matmul(*factors: Any) -> Any:
    """The matrix product of blocks, multiplied out over sums and scalar factors.

    Args:
        factors: from left to right: blocks, or expressions of them.

    Returns:
        A block: of shape (a, c) for two factors (a, b) and (b, c).

    >>> from lagrangian.symbolic.algebra.blocks import blocks
    >>> u, v = blocks("u v")
    >>> matmul(2*u + v, transpose(u))
    2*u@u.T + v@u.T

    Raises:
        TypeError: a factor that is a scalar.
    """
    factors = tuple(map(sp.sympify, factors))
    for factor in factors:
        if not factor.is_zero and not is_block(factor):
            raise TypeError(
                f"`matmul` takes blocks, and `{factor}` is a scalar. "
                "Multiply the product by it instead."
            )
    terms: list[tuple[Any, tuple]] = [(sp.S.One, ())]
    for factor in factors:
        terms = [
            (left * right, (*word, *_word(core)))
            for left, word in terms
            for right, core in block_terms(factor)
        ]
    return sp.Add(
        *(
            c * (sp.Expr.__new__(Matmul, *word) if len(word) > 1 else word[0])
            for c, word in terms
        )
    )


def transpose(block: Expression) -> Any:
    """The transpose of a block, moved inwards to its factors.

    Args:
        block: a block, or an expression of blocks.

    Returns:
        A block: of shape (b, a) for one of shape (a, b).

    >>> import lagrangian as lg
    >>> a, b = lg.blocks("a b")
    >>> lg.transpose(lg.matmul(a, b)), lg.transpose(lg.transpose(a))
    (b.T@a.T, a)
    """
    terms = []
    for coefficient, core in block_terms(sp.sympify(block)):
        if isinstance(core, Matmul):
            turned = matmul(*map(transpose, reversed(core.args)))
        elif isinstance(core, Transposed):
            turned = core.args[0]
        elif isinstance(core, ConstantBlock) and core.parity:
            turned = core.parity * core
        elif core.is_Mul or core.is_Pow:
            turned = core.func(*(transpose(a) if is_block(a) else a for a in core.args))
        else:
            turned = sp.Expr.__new__(Transposed, core)
        terms.append(coefficient * turned)
    return sp.Add(*terms)


def _word(core: Any) -> tuple:
    return core.args if isinstance(core, Matmul) else (core,)


def trace_rootings(left: Any, right: Any) -> list[tuple[Any, Any, Any]]:
    """All forms (sign, x, y) in which <left, right> = sign <x, y> can be written.

    <left, right> is the trace of a cyclic word of matrices, which may be read from any
    factor on, and backwards with every factor transposed. Empty unless both sides are
    matrix products of plain factors and at least one is a product or a transpose.
    """
    if not any(isinstance(side, Matmul | Transposed) for side in (left, right)):
        return []
    if any(factor.is_Mul for side in (left, right) for factor in _word(side)):
        return []
    sign, word = _signed_word([*map(transpose, reversed(_word(left))), *_word(right)])
    back_sign, back = _signed_word([transpose(factor) for factor in reversed(word)])
    forms = []
    for s, letters in ((sign, word), (sign * back_sign, back)):
        for i in range(len(letters)):
            first, *rest = letters[i:] + letters[:i]
            turn, plain = _signed_word([transpose(first)])
            forms.append((s * turn, plain[0], reduce_word(rest)))
    return forms


def reduce_word(letters: list[Any]) -> Any:
    """The product of one or more plain factors."""
    return letters[0] if len(letters) == 1 else sp.Expr.__new__(Matmul, *letters)


def _signed_word(letters: list[Any]) -> tuple[Any, list[Any]]:
    """The signs of antisymmetric letters drawn out of a word."""
    pairs = [letter.as_coeff_Mul() for letter in letters]
    return reduce(lambda s, p: s * p[0], pairs, sp.S.One), [p[1] for p in pairs]
