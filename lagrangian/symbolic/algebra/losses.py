"""Opaque losses: functions of blocks of which only invariances are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy import default_sort_key
from sympy.core.symbol import Str

from lagrangian.symbolic.algebra.blocks import (
    Block,
    BlockExpression,
    block_terms,
    is_block,
)
from lagrangian.symbolic.algebra.expressions import Expression


class Loss(BlockExpression):
    """An opaque scalar function of blocks, with the invariances declared for it.

    Args:
        name: how it prints, and the key of its implementation in `lower`.
        arguments: a block, or several. They may be expressions, as in
            `Loss("h", q + sp.exp(-alpha)*q.dot)`.
        invariances: generators, each a mapping from a block to its motion, along which
            the loss does not change: sum over blocks of <grad f, xi> = 0.

    Raises:
        TypeError: an argument that is a scalar.

    >>> import lagrangian as lg
    >>> w = lg.Block("w")
    >>> lg.gradient(lg.Loss("f", w), w)
    grad f
    """

    is_extended_real = True
    block_valued = False

    def __new__(cls, name: Any, arguments: Any, invariances: Any = ()) -> Loss:
        name = name if isinstance(name, Str) else Str(str(name))
        if isinstance(arguments, sp.Expr):
            arguments = (arguments,)
        for block in arguments:
            if not is_block(sp.sympify(block)):
                raise TypeError(
                    f"`Loss` takes blocks, and `{block}` is none. "
                    'Make one with `lg.blocks("w")`.'
                )
        invariances = [sp.Dict(generator) for generator in invariances]
        return sp.Expr.__new__(cls, name, sp.Tuple(*arguments), sp.Tuple(*invariances))

    @property
    def name(self) -> str:
        """How it prints, and the key of its implementation in `lower`."""
        return self.args[0].name

    @property
    def blocks(self) -> tuple[Any, ...]:
        """Its arguments."""
        return tuple(self.args[1])

    def gradient(self, block: Block) -> Any:
        """The gradient with respect to one block; 0 if the loss does not have it.

        Args:
            block: an argument of the loss.

        Returns:
            A block-valued expression, or 0.
        """
        return Gradient(self, block) if block in self.blocks else sp.S.Zero

    def is_invariant(self, motion: Mapping[Any, Any]) -> bool:
        """Whether the motion (block to direction) is a multiple of a declared one.

        Args:
            motion: a direction for each block that moves.

        Returns:
            True or False.
        """
        motion = {b: xi for b, xi in motion.items() if b in self.blocks and xi != 0}
        if not motion:
            return True
        return any(_is_multiple(motion, generator) for generator in self.args[2])

    def eliminate(self, block: Block, direction: Expression) -> list[tuple] | None:
        """<grad f, direction> by a declared invariance, where one determines it.

        Of the terms of an invariance, which sum to zero, the last is the one that the
        others stand for.

        Args:
            block: by which the gradient is.
            direction: with what it is paired, one product of blocks.

        Returns:
            The others as (coefficient, block, direction), or None if no invariance
            ends in this term.
        """
        for generator in self.args[2]:
            terms = [
                (coefficient, b, core)
                for b in self.blocks
                for coefficient, core in block_terms(generator.get(b, sp.S.Zero))
            ]
            if terms and terms[-1][1:] == (block, direction):
                *others, (scale, _, _) = terms
                return [(-c / scale, b, core) for c, b, core in others]
        return None

    def _eval_derivative(self, symbol: Any) -> Any:
        return self.gradient(symbol)

    def _sympystr(self, printer: Any) -> str:
        return f"{self.name}({', '.join(map(printer._print, self.blocks))})"

    def _latex(self, printer: Any) -> str:
        arguments = ", ".join(map(printer._print, self.blocks))
        return rf"{self.name}\left({arguments}\right)"


def _is_multiple(motion: Mapping[Any, Any], generator: Any) -> bool:
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


class Gradient(BlockExpression):
    """The gradient of an opaque loss by one block, or a derivative of that gradient.

    `directions` are pairs (block, direction) along which the gradient is further
    differentiated: one pair is a Hessian-vector product. Symmetric and multilinear in
    the directions by construction.
    """

    def __new__(cls, loss: Loss, block: Block, *directions: Any) -> Any:
        expanded: list[tuple[Any, tuple]] = [(sp.S.One, ())]
        for moved, direction in directions:
            expanded = [
                (left * right, (*pairs, sp.Tuple(moved, core)))
                for left, pairs in expanded
                for right, core in block_terms(direction)
            ]
        return sp.Add(
            *(
                c * sp.Expr.__new__(cls, loss, block, *sorted(p, key=default_sort_key))
                for c, p in expanded
            )
        )

    @property
    def loss(self) -> Loss:
        return self.args[0]

    @property
    def block(self) -> Block:
        return self.args[1]

    @property
    def directions(self) -> tuple[tuple[Block, Any], ...]:
        return tuple((moved, direction) for moved, direction in self.args[2:])

    def _written(self, printer: Any, wrap: str) -> tuple[str, str]:
        """Which block it is by, if there are several, and the loss at its point."""
        where = printer._print(self.block)
        plain = all(b.is_Symbol for b in self.loss.blocks)
        point = self.loss.name if plain else printer._print(self.loss)
        return ("" if len(self.loss.blocks) == 1 else wrap.format(where)), point

    def _sympystr(self, printer: Any) -> str:
        where, point = self._written(printer, "[{}]")
        text = f"grad{where} {point}"
        if not self.directions:
            return text
        along = ", ".join(
            f"{printer._print(b)}: {printer._print(d)}" if where else printer._print(d)
            for b, d in self.directions
        )
        return f"D^{len(self.directions)}({text})[{along}]"

    def _latex(self, printer: Any) -> str:
        where, point = self._written(printer, "_{{{}}}")
        text = rf"\nabla{where} {point}"
        if not self.directions:
            return text
        power = "" if len(self.directions) == 1 else f"^{{{len(self.directions)}}}"
        along = ", ".join(printer._print(d) for _, d in self.directions)
        return rf"D{power}{text}\left[{along}\right]"
