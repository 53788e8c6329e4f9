"""Velocities from momenta: the branch of the inverse that goes through rest.

A momentum that is not linear in the velocities has several inverses. The one that
belongs to the motion is found among candidates by numbers: in random states, from which
rest is reached without the mass matrix becoming singular, it gives the velocity back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.mechanics.comparison import comes_back

#: So many operations make it worth while to look for a shorter form.
_LONG = 40

_P, _S = sp.symbols("P S", cls=sp.Dummy, positive=True)


@dataclass(frozen=True)
class Inverse:
    """Velocities, and the energy <p, v> - L, as functions of the momenta p."""

    velocities: dict[Any, Any]
    energy: Any

    def at(self, values: Mapping[Any, Any]) -> Inverse:
        """With expressions in place of symbols."""
        found = {v: e.xreplace(values) for v, e in self.velocities.items()}
        return Inverse(found, self.energy.xreplace(values))

    @property
    def length(self) -> int:
        """How many operations it has."""
        return int(sp.count_ops([*self.velocities.values(), self.energy]))

    def shortest(self) -> Inverse:
        """The same, its energy as it is or simplified."""
        simplified = Inverse(self.velocities, sp.simplify(self.energy))
        return min(self, simplified, key=lambda found: found.length)

    def gives_back(
        self, function: Any, slopes: Mapping[Any, Any], momenta: Mapping[Any, Any]
    ) -> bool:
        """Whether velocities and <p, v> - L come back from momenta, by numbers."""
        results = [*(self.velocities[v] for v in momenta), self.energy]
        return comes_back(function, slopes, momenta, results)


def invert(function: Any, momenta: Mapping[Any, Any]) -> Inverse:
    """Solve dL/dv = p for some velocities v of L.

    Args:
        function: L, in which other velocities stand for themselves.
        momenta: the symbol p, real, of each velocity v.

    Raises:
        InvalidLagrangian: the momenta do not determine the velocities, or no inverse
            was found that gives them back.
    """
    slopes = {v: function.diff(v) for v in momenta}
    matrix = sp.Matrix([[slopes[v].diff(w) for w in momenta] for v in momenta])
    if not matrix.has(*momenta):
        found = _quadratic(function, slopes, matrix, momenta)
        if found.gives_back(function, slopes, momenta):
            return found
        raise _unsolved(slopes, momenta)
    parts = _parts(function, list(momenta))
    velocities, energy = {}, -parts.pop((), sp.S.Zero)
    for speeds, part in parts.items():
        own = {v: momenta[v] for v in speeds}
        found = _of_part(part, own)
        velocities |= found.velocities
        energy += found.energy
    return Inverse({v: velocities[v] for v in momenta}, energy)


def _parts(function: Any, speeds: list[Any]) -> dict[tuple[Any, ...], Any]:
    """L as a sum of functions of disjoint sets of velocities; () has none of them."""
    parts: dict[tuple[Any, ...], Any] = {}
    for term in sp.Add.make_args(sp.expand_mul(function)):
        inside = {v for v in speeds if term.has(v)}
        joined = term
        for others in [key for key in parts if inside & set(key)]:
            joined += parts.pop(others)
            inside |= set(others)
        key = tuple(v for v in speeds if v in inside)
        parts[key] = parts.get(key, sp.S.Zero) + joined
    return parts


def _of_part(part: Any, momenta: Mapping[Any, Any]) -> Inverse:
    slopes = {v: part.diff(v) for v in momenta}
    matrix = sp.Matrix([[slopes[v].diff(w) for w in momenta] for v in momenta])
    if not matrix.has(*momenta):
        return _quadratic(part, slopes, matrix, momenta)

    def holds(found: Inverse) -> bool:
        return found.gives_back(part, slopes, momenta)

    def of_square() -> Iterator[Inverse]:
        return iter(()) if form is None else _radial(*form, momenta, holds)

    def of_solve() -> Iterator[Inverse]:
        return filter(holds, _solved(part, slopes, momenta))

    form = _of_one_square(part, list(momenta))
    ways = [of_square, of_solve]
    if len(momenta) == 1 and form is not None and not form[0].is_algebraic_expr(_S):
        ways.reverse()
    right: list[Inverse] = []
    for way in ways:
        # Of several velocities SymPy's `solve` may take minutes.
        if right and len(momenta) > 1:
            break
        for found in way():
            right.append(found.shortest())
            if right[-1].length < _LONG:
                return right[-1]
    if not right:
        raise _unsolved(slopes, momenta)
    return min(right, key=lambda found: found.length)


def _unsolved(slopes: Mapping[Any, Any], momenta: Mapping[Any, Any]) -> Exception:
    equations = [sp.Eq(momenta[v], p, evaluate=False) for v, p in slopes.items()]
    return InvalidLagrangian(
        "the momenta could not be solved for the velocities: "
        f"{', '.join(map(sp.sstr, equations))}. Give `T` a form that SymPy's `solve` "
        "inverts, or work with the Lagrangian."
    )


# ------------------------------------------------------------------ candidates


def _quadratic(
    function: Any,
    slopes: Mapping[Any, Any],
    matrix: Any,
    momenta: Mapping[Any, Any],
) -> Inverse:
    """v = M^-1 (p - b) and <p - b, v>/2 - L at rest, b the momenta at rest."""
    if sp.simplify(matrix.det(method="berkowitz")) == 0:
        raise InvalidLagrangian(
            "the mass matrix is singular, so the momenta of "
            f"{', '.join(f'`{v.base}`' for v in momenta)} do not determine their "
            f"velocities: {sp.sstr(matrix)}. The Lagrangian is degenerate, or further "
            "coordinates are coupled to these. Add a kinetic term, or give those as "
            "well."
        )
    still = dict.fromkeys(momenta, sp.S.Zero)
    excess = [p - slopes[v].xreplace(still) for v, p in momenta.items()]
    solution = matrix.applyfunc(sp.cancel).LUsolve(sp.Matrix(excess))
    velocities = {v: sp.cancel(x) for v, x in zip(momenta, solution, strict=True)}
    work = sp.Add(*(e * velocities[v] for e, v in zip(excess, momenta, strict=True)))
    return Inverse(velocities, sp.factor_terms(work / 2) - function.xreplace(still))


def _solved(
    part: Any, slopes: Mapping[Any, Any], momenta: Mapping[Any, Any]
) -> Iterator[Inverse]:
    equations = [slopes[v] - p for v, p in momenta.items()]
    for solution in _solutions(equations, list(momenta)):
        if len(solution) < len(momenta):
            continue
        for root in (lambda e: e, _with_real_roots):
            velocities = {v: root(solution[v]) for v in momenta}
            work = sp.Add(*(p * velocities[v] for v, p in momenta.items()))
            yield Inverse(velocities, work - part.xreplace(velocities))


def _solutions(equations: Any, unknown: Any) -> list[dict[Any, Any]]:
    try:
        return sp.solve(equations, unknown, dict=True)
    except NotImplementedError:
        return []


def _with_real_roots(expression: Any) -> Any:
    """With the real odd roots, where SymPy takes the principal ones."""
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Rational and e.exp.q % 2 and e.exp.q > 1,
        lambda e: (
            (sp.sign(e.base) * sp.Abs(e.base) ** sp.Rational(1, e.exp.q)) ** e.exp.p
        ),
    )


def _of_one_square(part: Any, speeds: list[Any]) -> tuple[Any, Any, Any] | None:
    """f, A and b where L = f(<v, A v>) + <b, v>, f as an expression in `_S`."""
    if len(speeds) == 1:
        (v,) = speeds
        odd = sp.expand((part - part.xreplace({v: -v})) / 2)
        slope = sp.simplify(odd / v)
        if slope.has(v):
            return None
        even = sp.expand(part - odd).xreplace({v: sp.sqrt(_S)})
        return even, sp.Matrix([1]), sp.Matrix([slope])
    squares = [
        square
        for node in sp.preorder_traversal(part)
        if (square := _square(node, speeds)) is not None and square != 0
    ]
    if not squares:
        return None
    scale = next((c for v in speeds if (c := squares[0].coeff(v, 2)) != 0), sp.S.One)
    reference = sp.expand(squares[0] / scale)
    left = _in_square(part, reference, speeds)
    linear = [left.diff(v) for v in speeds]
    if any(b.has(_S, *speeds) for b in linear):
        return None
    matrix = sp.hessian(reference, speeds) / 2
    return left.xreplace(dict.fromkeys(speeds, sp.S.Zero)), matrix, sp.Matrix(linear)


def _square(node: Any, speeds: list[Any]) -> Any | None:
    """The quadratic part of a polynomial of second degree in the velocities."""
    if not isinstance(node, sp.Expr) or not node.is_polynomial(*speeds):
        return None
    polynomial = sp.Poly(node, *speeds)
    if polynomial.total_degree() > 2:
        return None
    return sp.Add(
        *(
            c * sp.Mul(*(v**k for v, k in zip(speeds, powers, strict=True)))
            for powers, c in polynomial.terms()
            if sum(powers) == 2
        )
    )


def _in_square(node: Any, reference: Any, speeds: list[Any]) -> Any:
    """With `_S` in place of the multiples of one square of the velocities."""
    if not node.has(*speeds):
        return node
    square = _square(node, speeds)
    if square is not None:
        ratio = sp.cancel(square / reference)
        if not ratio.has(*speeds):
            return sp.expand(node - square) + ratio * _S
    if not node.args:
        return node
    return node.func(*(_in_square(a, reference, speeds) for a in node.args))


def _radial(
    f: Any,
    matrix: Any,
    linear: Any,
    momenta: Mapping[Any, Any],
    holds: Callable[[Inverse], bool],
) -> Iterator[Inverse]:
    """Of L = f(S) + <b, v> with S = <v, A v>: p - b = 2 f'(S) A v.

    So with P = <p - b, A^-1 (p - b)> there is one equation, 4 f'(S)^2 S = P, and
    v = A^-1 (p - b)/(2 f'(S)). What `holds` is written short, in the one symbol P.
    """
    if matrix.det() == 0:
        return
    excess = sp.Matrix(list(momenta.values())) - linear
    along = [sp.cancel(x) for x in matrix.LUsolve(excess)]
    size = sp.Add(*(e * x for e, x in zip(excess, along, strict=True)))
    resting, moving = f.as_independent(_S, as_Add=True)
    slope = sp.simplify(moving.diff(_S))
    energy = 2 * _S * slope - moving

    def inverse(square: Any, share: Any, short: Callable[[Any], Any]) -> Inverse:
        """v = share A^-1 (p - b), where <v, A v> = square."""
        share = short(share)
        if len(along) == 1 and share.subs(_P, 0).has(sp.zoo, sp.oo, sp.nan):
            # As a root of |p|, which is zero at rest, where p P^-k is no number.
            speed = short(sp.sqrt(_P) * share).xreplace({_P: size})
            velocities = [sp.sign(excess[0]) * speed]
        else:
            velocities = [x * share.xreplace({_P: size}) for x in along]
        work = short(energy.xreplace({_S: square})).xreplace({_P: size})
        return Inverse(dict(zip(momenta, velocities, strict=True)), work - resting)

    for square in _squares(4 * slope**2 * _S):
        # Short if 2 f' is above zero, and right in any case.
        for share in (sp.sqrt(square / _P), 1 / (2 * slope.xreplace({_S: square}))):
            if holds(inverse(square, share, lambda e: e)):
                short = inverse(sp.simplify(square), share, sp.simplify)
                if holds(short):
                    yield short


def _squares(size: Any) -> Iterator[Any]:
    """The values of `_S` at which `size` is `_P`."""
    factor, power = sp.powsimp(size).as_independent(_S, as_Add=False)
    base, exponent = power.as_base_exp()
    if base == _S:
        yield (_P / factor) ** (1 / exponent)
    else:
        yield from (found[_S] for found in _solutions([size - _P], [_S]))
