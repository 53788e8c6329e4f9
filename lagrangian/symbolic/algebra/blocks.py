"""Coordinate-free blocks: whole arrays of parameters as single symbols.

A network has millions of coordinates, and its laws need none of them singly: they are
statements about inner products. So a `Block` is one symbol; products of blocks are
elementwise; linear maps act on them here, matrix products in `matrices.py`; and
`Inner(a, b)` (`inner.py`) sums an elementwise product over the block's axes.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.symbol import Str
from sympy.printing.pretty.stringpict import prettyForm

from lagrangian.symbolic.algebra.coordinates import (
    Coordinate,
    _latex_name,
    _make,
    _settled,
)
from lagrangian.symbolic.algebra.own_symbols import OwnSymbol

# ------------------------------------------------------------------ symbols


def _checked_parity(name: Any, parity: Any) -> int:
    if parity not in (-1, 0, 1):
        raise ValueError(
            f"`parity` of `{name}` is {parity}. "
            "Pass 1 (symmetric), -1 (antisymmetric) or 0 (neither)."
        )
    return int(parity)


class Block(Coordinate):
    """An array of parameters as one coordinate, with its time derivatives.

    `unit_axis` marks the axis of an array that holds many blocks side by side (the
    kernels of a layer's output units, say): inner products then sum over the other
    axes only, and every charge is a vector with one entry a unit.

    Args:
        name: the dotted path of a parameter, by which `train` and `lower` find it.
        order: how many dots, as of `Coordinate`.
        unit_axis: an axis of that array, counted from either end; None for one block.
        assumptions: as `sympy.Symbol` takes them; real unless they say otherwise.

    >>> import lagrangian as lg
    >>> w = lg.Block("dense.kernel", unit_axis=-1)
    >>> w.dot, w.unit_axis
    (dense.kernel.dot, -1)
    """

    __slots__ = ("unit_axis",)
    unit_axis: int | None
    block_valued = True

    def __new__(
        cls, name: str, order: int = 0, unit_axis: int | None = None, **assumptions: Any
    ) -> Block:
        return _make(cls, name, order, (unit_axis,), _settled(assumptions))

    @classmethod
    def _build(cls, name: str, order: int, extra: tuple, assumptions: tuple) -> Any:
        symbol = super()._build(name, order, extra, assumptions)
        (symbol.unit_axis,) = extra
        return symbol

    def _extra(self) -> tuple:
        return (self.unit_axis,)


class ConstantBlock(OwnSymbol):
    """An array that does not move in time: a direction, a diagonal metric, a matrix.

    Its shape is that of the array which `lower` or `maps` gives for it; it must go with
    the blocks beside it by the rules of broadcasting.

    Args:
        name: how it prints.
        parity: of a matrix: 1 if it is symmetric, -1 if antisymmetric, 0 for any.
        assumptions: as `sympy.Symbol` takes them; real unless they say otherwise.

    Raises:
        ValueError: another parity.

    >>> import lagrangian as lg
    >>> w, c = lg.Block("w"), lg.ConstantBlock("c")
    >>> lg.gradient(lg.Inner(c, w), w)
    c
    """

    __slots__ = ("parity",)
    parity: int
    block_valued = True

    def __new__(cls, name: str, parity: int = 0, **assumptions: Any) -> Any:
        symbol: Any = sp.Symbol.__xnew__(cls, name, **({"real": True} | assumptions))
        symbol.parity = _checked_parity(name, parity)
        return symbol

    def _hashable_content(self) -> tuple:
        return (*super()._hashable_content(), self.parity)

    def __getnewargs_ex__(self) -> tuple:
        return (self.name, self.parity), self._assumptions_orig

    def _latex(self, printer: Any) -> str:
        return r"\mathbf{1}" if self == ones else _latex_name(self.name, printer)


class EngineBlock(ConstantBlock):
    """A constant block that the engine names, as it does an `EngineSymbol`."""


#: The block whose entries are all 1, of whatever shape its partner in `Inner` has.
ones = ConstantBlock("1")


def blocks(names: str, **keywords: Any) -> Any:
    """Blocks from names separated by spaces or commas; one name gives one block.

    Args:
        names: dotted paths of parameters, such as "dense.kernel dense.bias".
        keywords: as `lg.Block` takes them, `unit_axis` among them; for all.

    Returns:
        One `Block`, or a tuple of them.

    >>> import lagrangian as lg
    >>> w, b = lg.blocks("dense.kernel dense.bias", unit_axis=-1)
    >>> w, b.dot
    (dense.kernel, dense.bias.dot)
    """
    return sp.symbols(names, cls=Block, **keywords)


def is_block(expression: Any) -> bool:
    """Whether `expression` is an array (elementwise in its blocks), not a scalar."""
    known = getattr(expression, "block_valued", None)
    if known is not None:
        return known
    return any(is_block(argument) for argument in expression.args)


# ------------------------------------------------------------------ expressions


class BlockExpression(sp.Expr):
    """What our own nodes share: they commute elementwise and print as their text."""

    is_commutative = True
    block_valued = True
    args: Any

    def _pretty(self, printer: Any) -> Any:
        return prettyForm(sp.sstr(self))


def block_terms(expression: Any) -> list[tuple[Any, Any]]:
    """Pairs (scalar coefficient, product of blocks) whose products sum to the block."""
    if expression.is_zero:
        return []
    if expression.is_Add:
        return [term for part in expression.args for term in block_terms(part)]
    if not expression.is_Mul:
        return [(sp.S.One, expression)]
    scalars, factors = [], []
    for factor in expression.args:
        (factors if is_block(factor) else scalars).append(factor)
    for position, factor in enumerate(factors):
        if factor.is_Add:
            others = sp.Mul(*scalars, *factors[:position], *factors[position + 1 :])
            return [t for part in factor.args for t in block_terms(part * others)]
    return [(sp.Mul(*scalars), sp.Mul(*factors))]


def collected(expression: Any) -> Any:
    """A block as the sum of its products, each with one factored coefficient."""
    if not is_block(expression):
        return expression
    coefficients: dict[Any, Any] = {}
    for coefficient, product in block_terms(expression):
        coefficients[product] = coefficients.get(product, sp.S.Zero) + coefficient
    return sp.Add(*(sp.factor(c) * product for product, c in coefficients.items()))


# ------------------------------------------------------------------ linear maps


class LinearMap(sp.Basic):
    """A constant linear map on blocks: `A = LinearMap("A")`, then `A(w)` and `A.T(w)`.

    What it computes is said by a function of an array, in `lower` or in `maps`.

    Args:
        name: how it prints.
        parity: 1 for a symmetric map, -1 for an antisymmetric one, 0 for any.
        transposed: whether this is the transpose of the map of that name.

    Raises:
        ValueError: another parity.

    >>> import lagrangian as lg
    >>> A, w = lg.LinearMap("A"), lg.Block("w")
    >>> lg.gradient(lg.Inner(w, A(w)) / 2, w), A.T
    (A(w)/2 + A.T(w)/2, A.T)
    """

    args: Any

    def __new__(cls, name: Any, parity: Any = 0, transposed: Any = False) -> LinearMap:
        parity = _checked_parity(name, parity)
        name = name if isinstance(name, Str) else Str(str(name))
        flag = sp.sympify(bool(transposed) and parity == 0)
        return sp.Basic.__new__(cls, name, sp.Integer(parity), flag)

    @property
    def name(self) -> str:
        """How it prints."""
        return self.args[0].name

    @property
    def parity(self) -> int:
        """1 for a symmetric map, -1 for an antisymmetric one, 0 for any."""
        return int(self.args[1])

    @property
    def transposed(self) -> bool:
        """Whether this is the transpose of the map that the user named."""
        return bool(self.args[2])

    @property
    def base(self) -> LinearMap:
        """The map that the user named, not its transpose."""
        return LinearMap(self.args[0], self.args[1])

    @property
    def T(self) -> Any:
        """The transpose, as a function of blocks (antisymmetric maps change sign)."""
        if self.parity == 1:
            return self
        if self.parity == -1:
            return lambda block: -self(block)
        return LinearMap(self.args[0], 0, not self.transposed)

    def __call__(self, block: Any) -> Any:
        """The image of a block.

        Args:
            block: a block, or an expression of blocks.

        Returns:
            An expression that is a block.
        """
        return Applied(self, sp.sympify(block))

    def _sympystr(self, printer: Any) -> str:
        return self.name + (".T" if self.transposed else "")

    def _latex(self, printer: Any) -> str:
        return _latex_name(self.name, printer) + ("^{T}" if self.transposed else "")


class Applied(BlockExpression):
    """A linear map applied to a block; linear in the block by construction."""

    def __new__(cls, linear_map: LinearMap, block: sp.Expr) -> Any:
        terms = [
            coefficient * sp.Expr.__new__(cls, linear_map, core)
            for coefficient, core in block_terms(block)
        ]
        return sp.Add(*terms)

    def _sympystr(self, printer: Any) -> str:
        return f"{printer._print(self.args[0])}({printer._print(self.args[1])})"

    def _latex(self, printer: Any) -> str:
        inside = printer._print(self.args[1])
        if self.args[1].is_Mul:
            inside = rf"\left({inside}\right)"
        return f"{printer._print(self.args[0])} {inside}"
