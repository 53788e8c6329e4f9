"""Laws lowered to functions of states: arrays for scalars, pytrees for blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp
from jax.typing import ArrayLike
from jaxtyping import PyTree

from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.exponents import Exponents, parts
from lagrangian.lowering.kernels.linear_solve import solve_mass
from lagrangian.lowering.pytrees import named_leaves, pick
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


class LoweredLaw(AtPrompt):
    """A law as JAX functions of (q, v, t): calling it gives every term by name.

    Made by `lower`. Works under `jit`, `grad` and `vmap`.

    The terms are those of the `Law`, together with `rate` and, where the law is an
    oscillator, `quantity` and `source`. Accelerations (of a generator that contains
    velocities) and multipliers (of constraints) are those of the equations.

    Attributes:
        law: the `Law`, with numbers for the parameters of exponents.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> law = lg.lower(lg.noether(spring, lg.TimeTranslation()), {})
    >>> float(law({x: 1.0}, {x: 2.0})["charge"])
    2.5
    """

    _next = "`lowered(q, v, t)`, a dictionary of the terms, under `jax.jit` as well"

    def __init__(
        self,
        law: Law,
        parameters: Mapping[Any, Any],
        losses: Mapping[str, Callable[..., Any]],
    ):
        written = [*parts(law.lagrangian), *law.terms().values()]
        law = Exponents(written, parameters).law(law)
        self.law = law
        self._parameters, self._losses = dict(parameters), dict(losses)
        self._terms = law.terms() | {"rate": law.rate}
        if law.oscillator is not None:
            self._terms["quantity"] = law.oscillator.quantity
            self._terms["source"] = law.oscillator.source
        coordinates = law.lagrangian.coordinates
        symbols = [*coordinates, *(q.dot for q in coordinates), time]
        expressions: dict[str, Any] = {
            f"{name} term of the law": e for name, e in self._terms.items()
        }
        self._solves = self._needs_solution()
        if self._solves:
            symbols += self._solution_symbols
            matrix, right = law.lagrangian.saddle_point
            expressions["mass matrix"] = sp.Tuple(*matrix)
            expressions["equations"] = sp.Tuple(*right)
        check_lowerable(expressions, [*self._parameters, *symbols], self._losses)

    def __str__(self) -> str:
        return f"LoweredLaw({self.law.symmetry!r}; {', '.join(self._terms)})"

    @property
    def _solution_symbols(self) -> list[Any]:
        system = self.law.lagrangian
        return [*(q.ddot for q in system.coordinates), *system.constraints.multipliers]

    def _needs_solution(self) -> bool:
        if self.law.lagrangian.has_blocks:
            return False
        found = sp.Tuple(*self._terms.values()).free_symbols
        return not found.isdisjoint(self._solution_symbols)

    def _solution(self, values: dict[Any, Any]) -> dict[Any, Any]:
        """Accelerations and multipliers at a state."""
        matrix, right = self.law.lagrangian.saddle_point
        size = matrix.rows
        flat = evaluate([*matrix, *right], values)
        entries = [flat[i * size : (i + 1) * size] for i in range(size)]
        solution = solve_mass(matrix, entries, flat[size * size :])
        held = len(self.law.lagrangian.coordinates)
        solution[held:] = [-x for x in solution[held:]]
        return dict(zip(self._solution_symbols, solution, strict=True))

    def __call__(self, q: PyTree, v: PyTree, t: ArrayLike = 0.0) -> dict[str, Any]:
        """Every term at a state.

        Args:
            q, v: for blocks, pytrees that have the law's blocks among their leaves (a
                Flax state, a dictionary by dotted path); for scalars, mappings from
                coordinates to numbers.
            t: the time, a number.

        Returns:
            A scalar by each name, or an array (units,) of blocks with units; in
            the precision of the state.

        Raises:
            UnknownBlock: a block that the state does not have.
        """
        values = bind(self.law.lagrangian, q, v, t, self._parameters)
        if self._solves:
            values |= self._solution(values)
        results = evaluate(self._terms.values(), values, self._losses)
        return dict(zip(self._terms, results, strict=True))


def bind(
    lagrangian: Lagrangian, q: Any, v: Any, t: Any, parameters: Mapping[Any, Any]
) -> dict[Any, Any]:
    """The values of all symbols at a state given as pytrees or as mappings."""
    values: dict[Any, Any] = {**parameters, time: t}
    for state, order, what in ((q, 0, "position"), (v, 1, "velocity")):
        if lagrangian.has_blocks:
            names = [c.name for c in lagrangian.coordinates]
            chosen = pick(named_leaves(state), names, f"the {what}")
        else:
            chosen = {c.name: state[c] for c in lagrangian.coordinates}
        for c in lagrangian.coordinates:
            values[(c, c.dot)[order]] = chosen[c.name]
    return values
