"""The coefficients of `TaylorSeries.expand` in machine code, for one lane.

Of few nodes, every order is written out: what is known to be zero or one falls away,
and no loop costs more than what is in it. Of many, the orders are one loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.lowering.functions import FUNCTIONS, number
from lagrangian.lowering.groups import SATURATING
from lagrangian.lowering.kernels.linear_solve import (
    is_diagonal,
    needs_pivots,
    solve_ldl,
)
from lagrangian.lowering.native.code import INTEGER, Code, NotNative, Value
from lagrangian.lowering.native.factors import Looped, WrittenOut, dot, real
from lagrangian.lowering.native.program import emit_function, larger, smaller
from lagrangian.lowering.recurrences import (
    ONE,
    Form,
    Integral,
    Node,
    Power,
    Product,
    Quotient,
)
from lagrangian.lowering.taylor import Expansion, TaylorSeries

#: So many products of coefficients are written out; of more, loops take less time, and
#: a fourth of it to compile.
_WRITTEN_OUT = 2_000
#: Compiling more nodes, or eliminating more unknowns, takes longer than XLA does. No
#: tolerance asks for higher orders, whose factors lie on the stack.
_MOST_NODES, _MOST_UNKNOWNS, _HIGHEST_ORDER = 320, 10, 64

#: The value of a coefficient of linear forms.
Weigh = Callable[[Any], Any]


def coefficients(series: TaylorSeries) -> Iterable[Any]:
    """The coefficients of all linear forms of a series, each once."""
    forms = [form for some in series.forms for form in some]
    for node in series.nodes:
        forms += [node.left, node.right, *getattr(node, "arguments", ())]
        forms += [node.numerator] if isinstance(node, Quotient) else []
    return dict.fromkeys(c for form in forms for c in form.values())


def check_native(series: TaylorSeries, order: int) -> None:
    """Raise if a series of this order is not for machine code.

    Raises:
        NotNative: it is too large, or its matrix needs pivots.
    """
    if order > _HIGHEST_ORDER:
        raise NotNative("too high an order")
    if len(series.nodes) > _MOST_NODES:
        raise NotNative("too many nodes")
    if series.size > _MOST_UNKNOWNS and not is_diagonal(series.matrix):
        raise NotNative("too many unknowns")
    if needs_pivots(series.matrix):
        raise NotNative("a zero on the diagonal of the mass matrix")


class Recursion:
    """One expansion, as it is written.

    Args:
        code: where it is written to.
        series: whose.
        weigh: a value for each of its `coefficients`.
        order: of the last coefficient.
    """

    def __init__(self, code: Code, series: TaylorSeries, weigh: Weigh, order: int):
        self.code, self.series, self.weigh, self.order = code, series, weigh, order
        self.early = [node for node in series.nodes if not node.late]
        self.late = [node for node in series.nodes if node.late]
        products = len(series.nodes) * order * (order + 1) // 2
        self.written_out = products <= _WRITTEN_OUT
        kind = WrittenOut if self.written_out else Looped
        self.factors = kind(code, series.nodes, order)
        #: Left factors of order 0.
        self.first: dict[Node, Any] = {}

    def expand(self, y: Any, t: Any, unit: Any) -> Expansion:
        """As `TaylorSeries.expand`, for arrays of one lane."""
        series, n = self.series, self.series.count
        y, t, unit = list(y[:, 0]), t.item(), unit.item()
        entries, right, residual, rates = series.forms
        z = {ONE: 1.0, **dict(zip(series.inputs, [*y[: 2 * n], t], strict=True))}
        z |= {node: 0.0 for node in series.nodes}
        for node in self.early:
            z[node] = self._value(node, z)
        matrix = np.empty((series.size, series.size), object)
        matrix.flat[:] = self._linear(entries, z)
        inverse = self._inverse(matrix)
        x = self._applied(inverse, self._linear(right, z))
        sizes = [self._gross(form, z) for form in right]
        gross = self._applied(np.frompyfunc(abs, 1, 1)(inverse), sizes)[:n]
        z |= zip(series.unknowns, x, strict=True)
        for node in self.late:
            z[node] = self._value(node, z)
        for node in series.nodes:
            if not isinstance(node, Product):
                self.factors.right(node, 0, self._form(node.right, z))

        def following(v: Any, x: Any, z: Any, scale: Any) -> list[Any]:
            return [scale * s for s in (*v, *x[:n], *self._linear(rates, z))]

        def next_after(k: Any, row: Any, clock: Any) -> list[Any]:
            """Row k + 1 of the terms, from row k and that of time."""
            self.factors.begin(k)
            order = real(self.code, k)
            inputs = [*row[: 2 * n], clock]
            z = {ONE: 0.0, **dict(zip(series.inputs, inputs, strict=True))}
            for node in self.early:
                z[node] = self._coefficient(node, z, k, order)
            x = self._applied(inverse, self._linear(residual, z))
            z.update(zip(series.unknowns, x, strict=True))
            for node in self.late:
                z[node] = self._coefficient(node, z, k, order)
            for node in series.nodes:
                if not isinstance(node, Product):
                    self.factors.right(node, k, self._form(node.right, z))
            return following(row[n : 2 * n], x, z, unit * (1.0 / (order + 1.0)))

        rows = [y, following(y[n : 2 * n], x, z, unit)]
        if self.written_out:
            for k in range(1, self.order):
                rows.append(next_after(k, rows[k], unit if k == 1 else 0.0))
        else:
            rows = self._in_a_loop(rows, next_after, unit)
        terms = np.array(rows, object)[:, :, None]
        masses = np.diagonal(matrix)[:n]
        return Expansion(
            terms,
            np.array([self._reach(unit)], object),
            *(np.array(list(column), object)[:, None] for column in (gross, masses)),
        )

    def _in_a_loop(self, rows: list[Any], next_after: Any, unit: Any) -> list[Any]:
        """All rows of the terms, from the first two."""
        code, width = self.code, len(rows[0])
        # Row k of time is in place k, and what lies behind is zero.
        clock = code.memory(self.order + 1)
        code.write(unit, clock, place=1)
        stored = code.memory((self.order + 1) * width)
        for i, value in enumerate([*rows[0], *rows[1]]):
            code.write(value, stored, place=i)

        def body(k: Value, _: Any) -> Sequence[Any]:
            here = code.at(stored, code.binary("mul", k, width, INTEGER))
            row = [code.read(here, place=i) for i in range(width)]
            following = next_after(k, row, code.read(clock, place=k))
            for i, value in enumerate(following):
                code.write(value, here, place=width + i)
            return ()

        code.repeat(1, self.order, body)
        count = (self.order + 1) * width
        flat = [code.read(stored, place=i) for i in range(count)]
        return [flat[i : i + width] for i in range(0, count, width)]

    # ------------------------------------------------------------ linear algebra

    def _form(self, form: Form, z: Any) -> Any:
        terms = [self.weigh(weight) * z[key] for key, weight in form.items()]
        return sum(terms[1:], terms[0]) if terms else 0.0

    def _linear(self, forms: Sequence[Form], z: Any) -> list[Any]:
        return [self._form(form, z) for form in forms]

    def _gross(self, form: Form, z: Any) -> Any:
        return sum(abs(self.weigh(weight) * z[key]) for key, weight in form.items())

    def _inverse(self, matrix: Any) -> Any:
        """As `invert`."""
        try:
            return self._inverted(matrix)
        except ZeroDivisionError as error:  # of constants
            raise NotNative("a mass matrix that needs pivots") from error

    def _inverted(self, matrix: Any) -> Any:
        size = len(matrix)
        if is_diagonal(self.series.matrix):
            return np.array([1.0 / matrix[i, i] for i in range(size)], object)
        columns = [
            solve_ldl(self.series.matrix, matrix, [float(i == j) for i in range(size)])
            for j in range(size)
        ]
        return np.array(columns, object).T

    def _applied(self, inverse: Any, right: Sequence[Any]) -> list[Any]:
        if inverse.ndim == 1:
            return [a * b for a, b in zip(inverse, right, strict=True)]
        return [dot(self.code, zip(row, right, strict=True)) for row in inverse]

    # ------------------------------------------------------------ of each kind

    def _value(self, node: Node, z: Any) -> Any:
        """The coefficient of order 0, as the groups of `groups` have it."""
        self.first[node] = left = self._form(node.left, z)
        if isinstance(node, Product):
            right = self._form(node.right, z)
            self.factors.left(node, 0, left)
            self.factors.right(node, 0, right)
            return left * right
        # Most convolutions leave out j = 0.
        self.factors.left(node, 0, 0.0)
        if isinstance(node, Quotient):
            return self._form(node.numerator, z) / left
        if isinstance(node, Power):
            return self._power(left, _number(node.exponent))
        if isinstance(node, Integral) and node.function is not None:
            arguments = self._linear(node.arguments, z)
            if node.function in (sp.sin, sp.cos):
                return self.code.call(node.function.__name__, arguments)
            return emit_function(self.code, FUNCTIONS[node.function], arguments)
        return 0.0

    def _coefficient(self, node: Node, z: Any, k: Any, order: Any) -> Any:
        """That of order k >= 1, with all that comes before it in its history."""
        left = self._form(node.left, z)
        self.factors.left(node, k, order * left if isinstance(node, Integral) else left)
        if isinstance(node, Product):
            self.factors.right(node, k, self._form(node.right, z))
        rate = _number(node.exponent) + 1.0 if isinstance(node, Power) else None
        total = self.factors.convolved(node, k, rate)
        if isinstance(node, Quotient):
            return (self._form(node.numerator, z) - total) * (1.0 / self.first[node])
        if isinstance(node, Power):
            return total * ((1.0 / self.first[node]) * (1.0 / order))
        return total * (1.0 / order) if isinstance(node, Integral) else total

    def _power(self, base: Any, exponent: float) -> Any:
        if abs(exponent) in (0.5, 1.5):  # a quarter of the time
            root = self.code.call("llvm.sqrt.f64", [base])
            value = root if abs(exponent) == 0.5 else base * root
            return value if exponent > 0 else 1.0 / value
        return self.code.call("pow", [base, exponent])

    def _reach(self, unit: Any) -> Any:
        """As `Group.reach`, of all nodes that are watched."""
        reach: Any = math.inf
        code = self.code
        for node, left in self.first.items():
            if isinstance(node, Quotient | Power):
                room = abs(left)
            elif isinstance(node, Integral) and node.function in SATURATING:
                near, far = SATURATING[node.function]
                room = larger(code, (abs(left) - far) * 0.5, near)
            else:
                continue
            first, second = map(abs, self.factors.early_lefts(node))
            if isinstance(node, Integral):
                second = second * 0.5
            filled = code.call("llvm.sqrt.f64", [room / second])
            here = smaller(code, room / first, filled)
            reach = smaller(code, unit * here, reach)
        return reach


def _number(exponent: Any) -> float:
    if not exponent.is_number:
        raise NotNative("an exponent without a number")
    return float(number(exponent, np.float64))
