"""Coordinate-free blocks: whole arrays of parameters as single symbols.

A network has millions of coordinates, and its laws need none of them singly: they are
statements about inner products. So a `Block` is one symbol; products of blocks are
elementwise; `Inner(a, b)` sums an elementwise product over the block's axes; linear
maps act on blocks; and a `Loss` is an opaque function of blocks of which only the
gradients, and the invariances that somebody declared, are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp
from sympy import default_sort_key
from sympy.core.symbol import Str
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pretty.stringpict import prettyForm

from lagrangian.symbolic.coordinates import Coordinate, _latex_name, _make

# ------------------------------------------------------------------ symbols


class Block(Coordinate):
    """An array of parameters as one coordinate, with its time derivatives.

    `unit_axis` marks the axis of an array that holds many blocks side by side (the
    kernels of a layer's output units, say): inner products then sum over the other
    axes only, and every charge is a vector with one entry a unit.
    """

    __slots__ = ("unit_axis",)
    unit_axis: int | None

    def __new__(
        cls, name: str, order: int = 0, unit_axis: int | None = None, **assumptions: Any
    ) -> Block:
        assumptions.setdefault("real", True)
        return _make(cls, name, order, (unit_axis,), tuple(sorted(assumptions.items())))

    @classmethod
    def _build(cls, name: str, order: int, extra: tuple, assumptions: dict) -> Any:
        symbol = super()._build(name, order, extra, assumptions)
        (symbol.unit_axis,) = extra
        return symbol

    def _extra(self) -> tuple:
        return (self.unit_axis,)


class ConstantBlock(sp.Symbol):
    """An array that does not move in time: a direction, a diagonal metric."""

    def __new__(cls, name: str, **assumptions: Any) -> Any:
        return sp.Symbol.__xnew__(cls, name, **({"real": True} | assumptions))

    def _latex(self, printer: Any) -> str:
        return r"\mathbf{1}" if self == ones else _latex_name(self.name, printer)


#: The block whose entries are all 1, of whatever shape its partner in `Inner` has.
ones = ConstantBlock("1")


def blocks(names: str, **keywords: Any) -> Any:
    """Blocks from names separated by spaces or commas; one name gives one block."""
    return sp.symbols(names, cls=Block, **keywords)


def is_block(expression: Any) -> bool:
    """Whether `expression` is an array (elementwise in its blocks), not a scalar."""
    if isinstance(expression, Block | ConstantBlock | Applied | Gradient):
        return True
    if isinstance(expression, Inner | Loss) or not expression.args:
        return False
    return any(is_block(argument) for argument in expression.args)


class _Expression(sp.Expr):
    """What block expressions share: they commute, and pretty-print as their text."""

    is_commutative = True
    args: Any

    def _pretty(self, printer: Any) -> Any:
        return prettyForm(sp.sstr(self))


# ------------------------------------------------------------------ linear maps


class LinearMap(sp.Basic):
    """A constant linear map on blocks: `A = LinearMap("A")`, then `A(w)` and `A.T(w)`.

    `parity` is +1 for a symmetric map, -1 for an antisymmetric one, 0 for any.
    """

    def __new__(cls, name: Any, parity: Any = 0, transposed: Any = False) -> LinearMap:
        parity = sp.Integer(parity)
        if parity not in (-1, 0, 1):
            raise ValueError(
                f"`parity` of the linear map `{name}` is {parity}. "
                "Pass 1 (symmetric), -1 (antisymmetric) or 0 (neither)."
            )
        transposed = sp.sympify(bool(transposed)) if parity == 0 else sp.false
        name = name if isinstance(name, Str) else Str(str(name))
        return sp.Basic.__new__(cls, name, parity, transposed)

    args: Any

    @property
    def name(self) -> str:
        return self.args[0].name

    @property
    def parity(self) -> int:
        return int(self.args[1])

    @property
    def transposed(self) -> bool:
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
        return Applied(self, sp.sympify(block))

    def _sympystr(self, printer: Any) -> str:
        return self.name + (".T" if self.transposed else "")

    def _latex(self, printer: Any) -> str:
        return _latex_name(self.name, printer) + ("^{T}" if self.transposed else "")


class Applied(_Expression):
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


# ------------------------------------------------------------------ inner products


class Inner(_Expression):
    """`<a, b>`: the sum of the elementwise product of two blocks.

    Bilinear and symmetric; maps are moved to the right argument by transposition and
    elementwise factors are pooled, so that equal inner products are equal expressions.

    >>> w, v = blocks("w v")
    >>> Inner(2*w + v, w)
    <v, w> + 2*|w|^2
    """

    is_extended_real = True

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
        from lagrangian.symbolic.calculus import gradient

        return gradient(self, symbol)

    def _sympystr(self, printer: Any) -> str:
        left, right = (printer._print(a) for a in self.args)
        return f"|{left}|^2" if left == right else f"<{left}, {right}>"

    def _latex(self, printer: Any) -> str:
        left, right = (printer._print(a) for a in self.args)
        if left == right:
            return rf"\left|{left}\right|^{{2}}"
        return rf"\left\langle {left},\, {right}\right\rangle"


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


def _canonical_pair(left: Any, right: Any) -> Any:
    """The inner product of two single terms, in the one form that stands for it.

    The sum of a product of factors, some of which are maps of further products, is a
    tree: its nodes are elementwise products and its edges linear maps. Transposing a
    map moves the root along its edge, so one inner product has as many forms as nodes;
    the smallest one stands for all of them.
    """
    forms: dict[tuple, int] = {}
    for sign, factors in _rootings(_factors(left * right)):
        if forms.setdefault(factors, sign) != sign:
            return sp.S.Zero  # equal to its own negative
        for i, factor in enumerate(factors):
            if isinstance(factor, Gradient):
                other = sp.Mul(*factors[:i], *factors[i + 1 :])
                rewritten = factor.loss.rewrite(factor.block, other)
                if rewritten is not None:
                    return sign * rewritten
    factors = min(forms, key=_form_key)
    first, *others = factors
    return forms[factors] * sp.Expr.__new__(Inner, first, sp.Mul(*others))


def _rootings(factors: list[Any], came_from: Any = None) -> Iterator[tuple[int, tuple]]:
    """Every root of the tree as (sign, sorted factors of the root's product).

    `came_from` is the factor that leads back to the node from which the walk came.
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
        for further, form in _rootings([back, *_factors(inside)], back):
            yield sign * further, form


def _form_key(factors: tuple) -> tuple:
    """Fewer maps at the root first, for the eye; then any fixed order."""
    mapped = sum(isinstance(factor, Applied) for factor in factors)
    return mapped, [default_sort_key(factor) for factor in factors]


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


# ------------------------------------------------------------------ opaque losses


class Loss(_Expression):
    """An opaque scalar function of blocks, with the invariances declared for it.

    `invariances` are generators, each a mapping from a block to its motion, along
    which the loss does not change: sum over blocks of <grad f, xi> = 0.
    """

    is_extended_real = True

    def __new__(cls, name: Any, arguments: Any, invariances: Any = ()) -> Loss:
        name = name if isinstance(name, Str) else Str(str(name))
        if isinstance(arguments, Block):
            arguments = (arguments,)
        for block in arguments:
            if not isinstance(block, Block) or block.order:
                raise TypeError(
                    f"`Loss` takes blocks, and `{block}` is none. "
                    'Make one with `lg.blocks("w")`.'
                )
        invariances = [sp.Dict(generator) for generator in invariances]
        return sp.Expr.__new__(cls, name, sp.Tuple(*arguments), sp.Tuple(*invariances))

    @property
    def name(self) -> str:
        return self.args[0].name

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self.args[1])

    def gradient(self, block: Block) -> Any:
        """The gradient with respect to one block; 0 if the loss does not have it."""
        return Gradient(self, block) if block in self.blocks else sp.S.Zero

    def is_invariant(self, motion: Mapping[Any, Any]) -> bool:
        """Whether the motion (block to direction) is a multiple of a declared one."""
        motion = {b: xi for b, xi in motion.items() if b in self.blocks and xi != 0}
        if not motion:
            return True
        return any(_is_multiple(motion, generator) for generator in self.args[2])

    def rewrite(self, block: Block, direction: Any) -> Any | None:
        """<grad f, direction> by a declared invariance, where one determines it.

        Of the terms of an invariance, which sum to zero, the last is the one that the
        others stand for. None if no invariance ends in this term.
        """
        for generator in self.args[2]:
            terms = [
                (b, coefficient, core)
                for b in self.blocks
                for coefficient, core in block_terms(generator.get(b, sp.S.Zero))
            ]
            if not terms:
                continue
            *others, (last, scale, core) = terms
            if last == block and core == direction:
                return -sp.Add(
                    *(c * Inner(Gradient(self, b), x) / scale for b, c, x in others)
                )
        return None

    def _eval_derivative(self, symbol: Any) -> Any:
        return self.gradient(symbol)

    def _sympystr(self, printer: Any) -> str:
        return f"{self.name}({', '.join(map(printer._print, self.blocks))})"

    def _latex(self, printer: Any) -> str:
        arguments = ", ".join(map(printer._print, self.blocks))
        return rf"{self.name}\left({arguments}\right)"


def _is_multiple(motion: Mapping[Any, Any], generator: Mapping[Any, Any]) -> bool:
    nonzero = {b: xi for b, xi in generator.items() if xi != 0}
    if set(motion) != set(nonzero):
        return False
    ratios = set()
    for block, direction in motion.items():
        ratio = sp.cancel(direction / nonzero[block])
        if is_block(ratio):
            return False
        ratios.add(ratio)
    return len(ratios) == 1


class Gradient(_Expression):
    """The gradient of an opaque loss with respect to one of its blocks."""

    def __new__(cls, loss: Loss, block: Block) -> Gradient:
        return sp.Expr.__new__(cls, loss, block)

    @property
    def loss(self) -> Loss:
        return self.args[0]

    @property
    def block(self) -> Block:
        return self.args[1]

    def _sympystr(self, printer: Any) -> str:
        if len(self.loss.blocks) == 1:
            return f"grad {self.loss.name}"
        return f"grad[{printer._print(self.block)}] {self.loss.name}"

    def _latex(self, printer: Any) -> str:
        if len(self.loss.blocks) == 1:
            return rf"\nabla {self.loss.name}"
        return rf"\nabla_{{{printer._print(self.block)}}} {self.loss.name}"
