"""Taylor recurrences of explicit equations, derived from their expressions.

The Taylor coefficients of a sum, product, quotient, power or smooth function follow
from those of its arguments by a convolution over the lower orders (Jorba & Zou, "A
software package for the numerical integration of ODEs by means of high-order Taylor
methods", 2005). Here an expression is cut into such nodes, each a `Node`, and what lies
between them, which is linear, into a `Form`.

With U_j the coefficient of t^j in U, the nodes are, for k >= 1,

    product    W = A B        W_k = sum_j A_j B_{k-j}
    quotient   W = A / B      W_k = (A_k - sum_{j>0} B_j W_{k-j}) / B_0
    power      W = B^a        W_k = sum_{j>0} ((a + 1) j - k) B_j W_{k-j} / (k B_0)
    integral   W' = G B'      W_k = sum_j j B_j G_{k-j} / k

where an integral stands for every function f(B) whose derivative G can be written in
functions again: sin and cos of each other, tan of its own square, and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sympy as sp

from lagrangian.errors import CannotLower
from lagrangian.symbolic.algebra.canonical import product, total
from lagrangian.symbolic.algebra.graph import slope

#: A linear form: the coefficient of each symbol or node; `ONE` stands for a constant.
Form = dict[Any, Any]
ONE = sp.S.One

#: Functions whose derivatives can be written in functions of this set. Those of gamma
#: and its kin cannot, so that they have no recurrence; those with kinks have no series.
SMOOTH = {
    *(sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc),
    *(sp.asin, sp.acos, sp.atan, sp.acot, sp.asec, sp.acsc, sp.atan2),
    *(sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech, sp.csch),
    *(sp.asinh, sp.acosh, sp.atanh, sp.acoth, sp.asech, sp.acsch),
    *(sp.exp, sp.log, sp.erf, sp.erfc, sp.erfinv),
    *(sp.Ei, sp.Ci, sp.fresnels, sp.fresnelc),
}


N = TypeVar("N", bound="Node")


@dataclass(eq=False)
class Node:
    """One recurrence, in which `left` is convolved with `right`: B with W, B with G.

    `level` counts the nodes that a coefficient needs before it, at the same order. A
    node is `late` if it can only be known after the accelerations.
    """

    left: Form
    right: Form = field(default_factory=dict)
    level: int = field(default=0, kw_only=True)
    late: bool = field(default=False, kw_only=True)

    @property
    def run(self) -> tuple[Any, ...]:
        """Nodes of a kind that have this in common are computed together."""
        return ()


class Product(Node):
    """A B, the one kind whose coefficient needs that of `right` of the same order."""


class LaggedProduct(Node):
    """sum_{j>0} A_j B_{k-j}, for a B that is known an order later."""


@dataclass(eq=False, kw_only=True)
class Quotient(Node):
    """A / B, with A for its `numerator`."""

    numerator: Form


@dataclass(eq=False, kw_only=True)
class Power(Node):
    """B^a, with a for its `exponent`."""

    exponent: Any


@dataclass(eq=False, kw_only=True)
class Integral(Node):
    """A part of f(B, ...): one for each of its `arguments`, of which this is `left`.

    The first part has the `function`, and starts from its value; the others from zero.
    """

    arguments: tuple[Form, ...]
    function: Any = None

    @property
    def run(self) -> tuple[Any, ...]:
        return str(self.function), len(self.arguments)


class Recurrences:
    """The nodes behind a set of expressions, each once.

    Args:
        inputs: the symbols whose series are known: coordinates, velocities, time.
        unknowns: those that are known last at each order: accelerations, multipliers.
            All other symbols are constants.

    Attributes:
        nodes: in an order in which each follows those that it needs.
    """

    def __init__(self, inputs: Iterable[Any], unknowns: Iterable[Any] = ()):
        self.nodes: list[Node] = []
        self._unknowns = set(unknowns)
        self._moving = {*inputs, *self._unknowns}
        self._forms: dict[Any, Form] = {}
        self._known_to_move: dict[Any, bool] = {}
        self._unfinished: list[tuple[Node, Any]] = []

    def add(self, expression: Any, place: str) -> Form:
        """The linear form, in inputs and nodes, that an expression is.

        Raises:
            CannotLower: a function without a recurrence, named with its place.
        """
        form = self._form(sp.sympify(expression), place)
        while self._unfinished:
            node, derivative = self._unfinished.pop()
            node.right = self._form(derivative, place)
        return form

    def lagged_product(self, left: Form, right: Any) -> Node:
        """The node for a `right`, an input or unknown, that is known an order later."""
        return self._new(LaggedProduct(left, {right: ONE}), left)

    def _form(self, expression: Any, place: str) -> Form:
        if expression in self._moving:
            return {expression: ONE}
        if not self._moves(expression):
            return {ONE: expression} if expression != 0 else {}
        if expression not in self._forms:
            self._forms[expression] = self._derive(expression, place)
        return self._forms[expression]

    def _moves(self, expression: Any) -> bool:
        """Whether it contains a symbol that moves."""
        if expression not in self._known_to_move:
            if expression.is_Add or expression.is_Mul or expression.is_Pow:
                moves = any(map(self._moves, expression.args))
            else:
                moves = not self._moving.isdisjoint(expression.free_symbols)
            self._known_to_move[expression] = moves
        return self._known_to_move[expression]

    def _derive(self, expression: Any, place: str) -> Form:
        if expression.is_Add:
            return combine((ONE, self._form(a, place)) for a in expression.args)
        if expression.is_Mul:
            return self._product(expression, place)
        if expression.is_Pow:
            return self._power(*expression.args, place)
        if isinstance(expression, sp.exp) or type(expression) in SMOOTH:
            return self._function(expression, place)
        raise CannotLower(
            f"`{type(expression).__name__}` in the {place} has no Taylor recurrence: "
            f"{expression}. Integrate with another solver, such as "
            "`solver=diffrax.Dopri8()`."
        )

    def _product(self, expression: Any, place: str) -> Form:
        factors = [factor for factor in expression.args if self._moves(factor)]
        constant = product(f for f in expression.args if not self._moves(f))
        above, below = [], []
        for factor in factors:
            base, exponent = factor.as_base_exp()
            if factor.is_Pow and exponent == -1:
                below.append(base)
            else:
                above.append(factor)
        form = self._times(above, place) if above else {ONE: ONE}
        if below:
            divisor = self._times(below, place)
            form = self._quotient(form, divisor, product(factors))
        return scale(constant, form)

    def _times(self, factors: Sequence[Any], place: str) -> Form:
        """A product of moving factors, two at a time."""
        so_far, form = factors[0], self._form(factors[0], place)
        for factor in factors[1:]:
            so_far = product((so_far, factor))
            if so_far not in self._forms:
                right = self._form(factor, place)
                node = self._new(Product(form, right), form, right)
                self._forms[so_far] = {node: ONE}
            form = self._forms[so_far]
        return form

    def _quotient(self, above: Form, below: Form, expression: Any) -> Form:
        if expression not in self._forms:
            node = self._new(Quotient(below, numerator=above), below, above)
            node.right = {node: ONE}
            self._forms[expression] = node.right
        return self._forms[expression]

    def _power(self, base: Any, exponent: Any, place: str) -> Form:
        if exponent.free_symbols & self._moving:
            return self._form(sp.exp(exponent * sp.log(base)), place)
        if exponent.is_Integer and exponent > 1:
            # Products do not divide by the base, which may pass through zero.
            half = base ** (exponent // 2)
            return self._times([half, base**exponent / half], place)
        form = self._form(base, place)
        if exponent == -1:
            return self._quotient({ONE: ONE}, form, 1 / base)
        node = self._new(Power(form, exponent=exponent), form)
        node.right = {node: ONE}
        return node.right

    def _function(self, expression: Any, place: str) -> Form:
        arguments = tuple(self._form(a, place) for a in expression.args)
        parts = [
            self._new(Integral(argument, arguments=arguments), *arguments)
            for argument in arguments
        ]
        parts[0].function = expression.func
        # The derivative may contain the function itself, so it must be known by now.
        form = dict.fromkeys(parts, ONE)
        self._forms[expression] = form
        self._unfinished += [
            (part, product(slope(expression, i))) for i, part in enumerate(parts)
        ]
        return form

    def _new(self, node: N, *needed: Form) -> N:
        keys = [key for form in needed for key in form]
        nodes = [key for key in keys if isinstance(key, Node)]
        node.level = 1 + max((key.level for key in nodes), default=0)
        node.late = any(key.late for key in nodes) or bool(self._unknowns & {*keys})
        self.nodes.append(node)
        return node


def combine(terms: Iterable[tuple[Any, Form]]) -> Form:
    """The sum of coefficient times form."""
    gathered: dict[Any, list[Any]] = {}
    for coefficient, form in terms:
        for key, value in form.items():
            gathered.setdefault(key, []).append(_times(coefficient, value))
    sums = {key: total(values) for key, values in gathered.items()}
    return {key: value for key, value in sums.items() if value != 0}


def scale(constant: Any, form: Mapping[Any, Any]) -> Form:
    """A constant times a form."""
    return {key: _times(constant, value) for key, value in form.items()}


def _times(constant: Any, value: Any) -> Any:
    return value if constant == ONE else product((constant, value))
