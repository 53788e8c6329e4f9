"""Identities as sparse linear equations over a function field, and their solutions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import prod
from random import Random
from typing import Any

from sympy.polys.fields import FracElement
from sympy.polys.matrices import DomainMatrix
from sympy.polys.rings import PolyElement

from lagrangian.symbolic.exact.function_ring import FunctionRing

#: The field of the random tests.
PRIME = 2**61 - 1

#: A solution: the coefficient of each unknown that takes part, by its number.
Solution = dict[int, Any]


def linear_system(
    ring: FunctionRing, columns: Iterable[tuple[int, Hashable, PolyElement]]
) -> list[dict[int, Any]]:
    """The rows that say: the sum of unknown times polynomial vanishes identically.

    Each unknown is a combination of `ring.basis`: number k stands for the unknowns from
    k*len(ring.basis) on, over the field of the parameters.

    Args:
        ring: where the polynomials, in normal form, come from.
        columns: (number of the unknown, name of the identity, polynomial).
    """
    rows: dict[Any, dict[int, Any]] = {}
    size = len(ring.basis)
    for unknown, identity, p in columns:
        for place, multiple in enumerate(ring.multiples(p), unknown * size):
            for monomial, value in ring.split(multiple).items():
                row = rows.setdefault((identity, monomial), {})
                row[place] = row[place] + value if place in row else value
    kept = ({u: v for u, v in row.items() if v} for row in rows.values())
    return [row for row in kept if row]


def null_space(
    rows: Sequence[Mapping[int, Any]], size: int, ring: FunctionRing
) -> list[dict[int, Any]]:
    """All solutions of the rows, a basis in reduced echelon form, over `ring.field`.

    Elimination modulo a prime, at random values of the parameters, tells which unknowns
    each vector of the basis involves; the vector itself is then found exactly among
    these few. The number of vectors cannot be too small, since no rank grows by
    inserting values; nor too large, since every one solves the rows. (That is tested at
    further random values here, and proved where the solution is used.)
    """
    chance = Random(0)
    for _ in range(8):
        value = _sample(ring, chance)
        residues = [{u: n for u, v in row.items() if (n := value(v))} for row in rows]
        supports = _supports(residues, size)
        vectors = [_on_support(rows, residues, support, ring) for support in supports]
        basis = [vector for vector in vectors if vector is not None]
        value = _sample(ring, chance)
        if len(basis) == len(supports) and _annihilate(rows, basis, value):
            return basis
    raise ArithmeticError("eight random samples of the parameters were all special.")


def _sample(ring: FunctionRing, chance: Random) -> Callable[[Any], int]:
    """Evaluation modulo a prime at random values of the parameters."""
    point = [chance.randrange(1, PRIME) for _ in ring.constant]

    def residue(number: Any) -> int:
        return int(number.numerator) * pow(int(number.denominator), -1, PRIME) % PRIME

    def value(element: Any) -> int:
        if isinstance(element, FracElement):
            return value(element.numer) * pow(value(element.denom), -1, PRIME) % PRIME
        if not isinstance(element, PolyElement):
            return residue(element)
        return (
            sum(
                residue(number)
                * prod(pow(x, n, PRIME) for x, n in zip(point, powers, strict=True))
                for powers, number in element.items()
            )
            % PRIME
        )

    return value


def _supports(rows: Iterable[Mapping[int, int]], size: int) -> list[list[int]]:
    """The unknowns in each vector of the reduced null space modulo the prime."""
    pivots: dict[int, dict[int, int]] = {}  # by the last unknown of the row
    for row in sorted(rows, key=len):
        _is_new(row, pivots)
    supports = {u: [u] for u in range(size) if u not in pivots}
    for last in sorted(pivots):
        row = {u: n for u, n in pivots[last].items() if u != last}
        pivots[last] = {**_reduced(row, pivots), last: 1}
        for u in pivots[last]:
            if u != last:
                supports[u].append(last)
    return list(supports.values())


def _is_new(row: Mapping[int, int], pivots: dict[int, dict[int, int]]) -> bool:
    """Whether a row does not follow from the pivots, which it is added to then."""
    left = _reduced(row, pivots)
    if left:
        last = max(left)
        inverse = pow(left[last], -1, PRIME)
        pivots[last] = {u: n * inverse % PRIME for u, n in left.items()}
    return bool(left)


def _reduced(row: Mapping[int, int], pivots: Mapping[int, Mapping[int, int]]) -> dict:
    """The row without the unknowns that the pivots stand for."""
    left, done = dict(row), {}
    while left:
        last = max(left)
        factor = left[last]
        if last not in pivots:
            done[last] = left.pop(last)
            continue
        for u, n in pivots[last].items():
            left[u] = (left.get(u, 0) - factor * n) % PRIME
            if not left[u]:
                del left[u]
    return done


def _on_support(
    rows: Sequence[Mapping[int, Any]],
    residues: Sequence[Mapping[int, int]],
    support: list[int],
    ring: FunctionRing,
) -> dict[int, Any] | None:
    """The one solution in these unknowns, if there is exactly one, with a leading 1."""
    lift = ring.field.field.new if ring.constant else ring.field.convert
    place = {u: i for i, u in enumerate(support)}
    pivots: dict[int, dict[int, int]] = {}
    elements = {}
    for row, values in zip(rows, residues, strict=True):
        if _is_new({u: n for u, n in values.items() if u in place}, pivots):
            elements[len(elements)] = {
                place[u]: lift(v) for u, v in row.items() if u in place
            }
    if len(elements) != len(support) - 1:
        return None
    if not elements:
        return {support[0]: ring.field.one}
    matrix = DomainMatrix(elements, (len(elements), len(support)), ring.field)
    (kernel,) = matrix.nullspace().rep.values()
    if 0 not in kernel:
        return None
    return {support[i]: v / kernel[0] for i, v in kernel.items()}


def _annihilate(
    rows: Iterable[Mapping[int, Any]],
    vectors: Sequence[Mapping[int, Any]],
    value: Callable[[Any], int],
) -> bool:
    numbers = [{u: value(v) for u, v in vector.items()} for vector in vectors]
    for row in rows:
        residues = {u: value(v) for u, v in row.items()}
        for vector in numbers:
            if sum(n * vector.get(u, 0) for u, n in residues.items()) % PRIME:
                return False
    return True


def echelon(vectors: Sequence[Mapping[int, Any]], ring: FunctionRing) -> list[dict]:
    """The reduced row echelon form of sparse vectors."""
    if not vectors:
        return []
    names = sorted({u for vector in vectors for u in vector})
    place = {u: i for i, u in enumerate(names)}
    elements = {
        i: {place[u]: v for u, v in vector.items()} for i, vector in enumerate(vectors)
    }
    matrix = DomainMatrix(elements, (len(vectors), len(names)), ring.field)
    reduced, pivots = matrix.rref()
    return [
        {names[j]: v for j, v in reduced.rep[i].items()} for i in range(len(pivots))
    ]
