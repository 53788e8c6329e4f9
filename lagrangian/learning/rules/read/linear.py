"""What is linear in the gradients of the past: a filter, its gain and its age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.part import Part, State, count, g, q


def coefficients(expression: Any, variables: Iterable[Any]) -> dict[Any, Any] | None:
    """The factors of the variables in a linear expression; None if it is none.

    >>> from lagrangian.learning.rules.read.part import g, q
    >>> coefficients(3 * g - q / 2, [g, q]), coefficients(g * q, [g, q])
    ({g: 3, q: -1/2}, None)
    """
    variables = list(variables)
    present = expression.free_symbols & set(variables)
    if not present:
        return {} if expression == 0 else None
    if expression.xreplace(dict.fromkeys(present, sp.S.Zero)) != 0:
        return None
    factors = {}
    for v in variables:
        if v not in present:
            continue
        factor = expression.diff(v)
        if factor.free_symbols & present or factor.has(sp.Derivative, sp.Subs):
            return None
        if factor != 0:
            factors[v] = factor
    return factors


@dataclass(frozen=True)
class Filter:
    """u = C s + D g + E q and s' = A s + B g + K q, with coefficients of any kind.

    The coefficients have no g, q and s in them; what they do have is held fixed. B is
    divided by `feed`, C by `factor`, and D by both, so that they are numbers where they
    can be.

    Attributes:
        states: those of s, in their order.
        A, B, K, C, D, E, feed, factor: the coefficients.
        output: u as it is written, with s' in it.
    """

    states: tuple[State, ...]
    A: Any
    B: Any
    K: Any
    C: Any
    D: Any
    E: Any
    feed: Any
    factor: Any
    output: Mapping[Any, Any]

    @cached_property
    def response(self) -> Any:
        """What a constant gradient of one moves in a step, once all have met it."""
        return self.scale * self._response

    @property
    def scale(self) -> Any:
        return self.factor * self.feed

    @cached_property
    def _response(self) -> Any:
        return self._sum(self.B) + self.D

    @cached_property
    def age(self) -> Any:
        """How many steps old the gradients in a move are, on average."""
        if not self.states:
            return sp.S.Zero
        return (self.C * self._resolvent**2 * self.B)[0] / self._response

    @cached_property
    def decays(self) -> tuple[Any, Any] | None:
        """(lambda, move): u has lambda q wherever it has g, and `move` q besides.

        None where what q does is no such thing.
        """
        feeds = [*self.B, self.D]
        pulls = [*self.K, self.E]
        pivot = next((i for i, b in enumerate(feeds) if b != 0), None)
        if not any(pulls) or pivot is None:
            return sp.S.Zero, self.E
        full = self.feed if pivot < len(self.states) else self.scale
        share = ratio(pulls[pivot], feeds[pivot] * full)
        if not share.is_number:  # added to the move, as nothing else can be told
            share = sp.S.Zero
        rows = zip(self.K, self.B, strict=True)
        if any(sp.expand(k - share * b * self.feed) != 0 for k, b in rows):
            return None
        return share, self.E - share * self.D * self.scale

    @cached_property
    def _resolvent(self) -> Any:
        return (sp.eye(len(self.states)) - self.A).inv()

    def _sum(self, entries: Any) -> Any:
        if not self.states:
            return sp.S.Zero
        return (self.C * self._resolvent * entries)[0]

    @property
    def poles(self) -> tuple[Any, ...]:
        """The shares of each state that a step keeps."""
        return tuple(self.A[i, i] for i in range(len(self.states)))

    @cached_property
    def stable(self) -> bool:
        """Whether every gradient is forgotten."""
        if not self.states:
            return True
        if not all(a.is_number for a in self.A):
            return False
        return all(abs(v) < 1 for v in self.A.eigenvals())

    def late(self) -> Filter:
        """The same long after the start, when averages are full."""

        def told(expression: Any) -> Any:
            return forgotten(expression, self.poles)

        matrices = (self.A, self.B, self.K, self.C)
        A, B, K, C = (m.applyfunc(told) for m in matrices)
        feed, factor = told(self.feed), told(self.factor)
        D, E = told(self.D), told(self.E)
        return _filter(self.states, A, B, K, C, D, E, feed, factor, self.output)


def _filter(
    states: Any,
    A: Any,
    B: Any,
    K: Any,
    C: Any,
    D: Any,
    E: Any,
    feed: Any,
    factor: Any,
    output: Any,
) -> Filter:
    """The filter with what its coefficients share taken out."""
    feeds, out = _common(B), _common(C if any(C) else [D])
    B = B.applyfunc(lambda b: ratio(b, feeds))
    C = C.applyfunc(lambda c: ratio(c, out))
    D = ratio(D, feeds * out)
    return Filter(states, A, B, K, C, D, E, feed * feeds, factor * out, output)


def _common(entries: Any) -> Any:
    """The factor of the first entry that is not zero, but for its number."""
    first = next((e for e in entries if e != 0), sp.S.One)
    return _apart(first)[1]


def ratio(expression: Any, divisor: Any) -> Any:
    """The quotient, with numbers apart: SymPy multiplies them into sums otherwise."""
    # What is written in cases does not cancel by itself.
    (above, left), (below, right) = _apart(expression), _apart(divisor)
    return (above / below) * (sp.S.One if left == right else left / right)


def _apart(expression: Any) -> tuple[Any, Any]:
    """The number in front, out of sums as well."""
    number, rest = expression.as_coeff_Mul()
    if rest.is_Add:
        content, rest = rest.primitive()
        if rest.could_extract_minus_sign():
            content, rest = -content, -rest
        number *= content
    return number, rest


def linear_states(part: Part, constant: bool) -> tuple[State, ...]:
    """The states that are sums over past gradients, and parameters.

    Args:
        constant: whether the weights in them have to be numbers, and they start at
            zero.
    """
    left, chosen = list(part.states), []  # type: ignore[var-annotated]
    variables = [g, q]
    while True:
        new = [s for s in left if _is_linear(s, variables, constant)]
        if not new:
            return tuple(s for s in part.states if s in chosen)
        for state in new:
            left.remove(state)
            chosen.append(state)
            variables += [state.before, state.after]


def _is_linear(state: State, variables: Any, constant: bool) -> bool:
    if state.before.is_integer or not state.start.is_number:
        return False
    if constant and state.start != 0:
        return False
    found = coefficients(state.update, [*variables, state.before])
    if not found or not set(found) - {state.before, q}:
        return False
    if constant and not all(f.is_number for f in found.values()):
        return False
    return found.get(state.before, sp.S.Zero).is_number


def filter_of(expression: Any, states: Sequence[State], with_q: bool) -> Filter | None:
    """The filter that an expression is; None if it is not linear in these.

    States in which it is not linear are held fixed.
    """
    found = _filter_of(expression, states, with_q)
    for state in states if found is None else ():
        others = [s for s in states if s != state]
        found = found or _filter_of(expression, others, with_q)
    return found


def _filter_of(expression: Any, states: Sequence[State], with_q: bool) -> Filter | None:
    variables = [g, *([q] if with_q else [])]
    variables += [v for s in states for v in (s.before, s.after)]
    output = coefficients(expression, variables)
    if not output:
        return None
    used = _needed(output, states)
    rows = {s.after: coefficients(s.update, variables) or {} for s in used}
    before = [s.before for s in used]

    def resolved(row: Mapping[Any, Any], depth: int = 0) -> dict[Any, Any]:
        """A row in the states before the step."""
        out: dict[Any, Any] = {}
        for v, factor in row.items():
            if v in rows and depth < 8:
                for w, inner in resolved(rows[v], depth + 1).items():
                    out[w] = out.get(w, 0) + factor * inner
            else:
                out[v] = out.get(v, 0) + factor
        return out

    def split(row: Mapping[Any, Any]) -> tuple[list[Any], Any, Any]:
        told = resolved(row)
        zero = sp.S.Zero
        return [told.get(b, zero) for b in before], told.get(g, zero), told.get(q, zero)

    table = [split(rows[s.after]) for s in used]
    c, d, e = split(output)
    return _filter(
        tuple(used),
        sp.Matrix([a for a, _, _ in table]) if used else sp.zeros(0, 0),
        sp.Matrix([b for _, b, _ in table]) if used else sp.zeros(0, 1),
        sp.Matrix([k for _, _, k in table]) if used else sp.zeros(0, 1),
        sp.Matrix([c]) if used else sp.zeros(1, 0),
        d,
        e,
        sp.S.One,
        sp.S.One,
        output,
    )


def _needed(output: Mapping[Any, Any], states: Sequence[State]) -> list[State]:
    pending, found = set(output), []
    while True:
        new = [s for s in states if s not in found and {s.before, s.after} & pending]
        if not new:
            return [s for s in states if s in found]
        found += new
        for state in new:
            pending |= state.update.free_symbols


def fading(node: Any) -> Any:
    """beta < 1 of a power that goes like beta^k with the step k; None of all else.

    >>> from lagrangian.learning.rules.read.part import count
    >>> fading(sp.Rational(1, 100) ** (count + 1)), fading(count**2)
    (1/100, None)
    """
    if not (isinstance(node, sp.Pow) and node.base.is_number and node.exp.has(count)):
        return None
    share = node.base ** node.exp.diff(count)
    return share if share.is_number and 0 < share < 1 else None


def forgotten(expression: Any, poles: Iterable[Any]) -> Any:
    """With beta^k at zero for every beta of `poles`: long after the start."""
    shares = set(poles)
    return expression.replace(
        lambda node: fading(node) in shares, lambda node: sp.S.Zero
    )


def factored(expression: Any) -> tuple[Any, Any]:
    """(rate, rest): the factor of numbers and of the step alone, and what is left.

    What makes up for averages that start at zero, (1 - beta^k), stays with the rest.
    """
    rate, rest = sp.S.One, sp.S.One
    number, product = _apart(expression)
    for factor in (number, *sp.Mul.make_args(product)):
        own = factor.free_symbols <= {count}
        # A power by itself is a rate that decays.
        inside = factor.atoms(sp.Pow) - {factor}
        corrects = any(fading(power) is not None for power in inside)
        if own and not corrects:
            rate *= factor
        else:
            rest *= factor
    return rate, rest
