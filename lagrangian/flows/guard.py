"""Runs guarded by their own laws: a path that breaks the balance of one is wrong.

The engine knows the energy of a system, what moves it (forces, friction, explicit
time), and so how it must change along any motion. A solver that steps over a barrier,
or whose errors add up, breaks that balance: charge - charge(0) - (integral of the
rate) is then no longer zero. This is checked after every run, at the output times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows.arguments import is_traced, known
from lagrangian.flows.structure import Structure, kept
from lagrangian.lowering.in_numpy import InNumpy, NotInNumpy
from lagrangian.lowering.platform import float64
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.symmetry import TimeTranslation
from lagrangian.symbolic.exact.boundary import KINKED
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: A balance may be off by so many errors of one step, and by one more for each step.
_ERRORS = 100
#: Fixed steps answer for no tolerance, but what breaks a law by so much is no motion.
_FIXED = 0.5
#: At most so many output times are looked at before one is found to be wrong.
_LOOKS = 256

_EPS = np.finfo(float).eps
#: A relative change of a state, small for its functions and large for rounding.
_NUDGE = 2.0**-26


class Balance(NamedTuple):
    """A charge and its rate of change along every motion."""

    name: str
    charge: Any
    rate: Any


class Seen(NamedTuple):
    """What a guard looks at: states with the times as first axis, or one of them.

    `integrals` are those of the guard's rates; None if a solver has not computed them,
    and only charges that are constant are checked.
    """

    t: Any
    q: Any
    v: Any
    integrals: Any


class Broken(NamedTuple):
    """The first output time at which a balance does not hold, and by how much."""

    index: int
    name: str
    missed: float
    allowed: float


class Guard:
    """The balances that the paths of flows of one structure must keep.

    Args:
        structure: that of the flows.
        balances: their terms add up over the numbers of a block, the points of a grid.
        laws: those among them that the user asked for.
    """

    def __init__(self, structure: Any, balances: Sequence[Balance], laws: Any = ()):
        self.structure, self.balances, self.laws = structure, balances, tuple(laws)
        self.rates = tuple(b.rate for b in balances if b.rate != 0)

    @cached_property
    def _terms(self) -> list[Callable[..., list[Any]]]:
        return [_evaluator(self.structure, b.charge) for b in self.balances]

    def check(self, flow: Any, found: Any, solver: Any, tol: float, path: Any) -> None:
        """Raise if what a solver has found breaks a balance.

        Args:
            found: its `Solution`; `path` is what the error carries of it.

        Raises:
            IntegrationFailed: with the path until the first break.
        """
        if not getattr(solver, "adaptive", True):
            tol = np.inf
        looked = Seen(found.t, found.q, found.v, found.integrals)
        if len(found.t) and (broken := self.broken(flow, looked, tol, found.steps)):
            raise failure(broken, found.t[broken.index], path.until(broken.index))

    def broken(self, flow: Any, path: Seen, tol: float, steps: Any) -> Broken | None:
        """The first break along a path.

        Args:
            flow: whose path it is.
            tol: of each step; infinite for fixed steps.
        """
        count, some = len(path.t), path
        if count > _LOOKS:
            looks = np.linspace(0, count - 1, _LOOKS).astype(int)
            some = jax.tree.map(lambda x: x[looks], path)
        if self._first(flow, some, tol, steps, False) is None:
            return None
        return self._first(flow, path, tol, steps, bool(np.isfinite(tol)))

    def _first(
        self, flow: Any, path: Seen, tol: float, steps: Any, exactly: bool
    ) -> Broken | None:
        first: Broken | None = None
        found = self.missed(flow, path, tol, steps, exactly)
        for name, missed, allowed in found:
            wrong = np.flatnonzero(~(missed <= allowed))
            if len(wrong) and (first is None or wrong[0] < first.index):
                i = int(wrong[0])
                first = Broken(i, name, float(missed[i]), float(allowed[i]))
        return first

    def kept(self, flow: Any, start: Seen, end: Seen, tol: float, steps: Any) -> Any:
        """Whether the balances hold between two states; a JAX function."""
        both = jax.tree.map(lambda *x: jnp.stack(x), start, end)
        found = self.missed(flow, both, tol, steps, exactly=True)
        parts = [missed[1] <= allowed[1] for _, missed, allowed in found]
        return jax.lax.stop_gradient(jnp.all(jnp.stack(parts)))

    def missed(
        self, flow: Any, path: Seen, tol: float, steps: Any, exactly: bool = False
    ) -> list[tuple[str, Any, Any]]:
        """For each balance, what is missing from it at each time, and what may be.

        As far as the tolerance and rounding can explain it: relative to the largest
        sum of the sizes of the charge's terms. The times are the first axis. A JAX
        function of what is traced.

        Args:
            exactly: whether the errors of the states are followed into the charge:
                their rounding, which matters for an angle after a million turns, and
                `tol` of what has moved, for an energy that grows steeply with it.
        """
        t, q, v, integrals = path
        traced = is_traced(flow, path)
        xp: Any = jnp if traced else np
        relative = xp.asarray(_explained(tol, steps))
        result, k = [], 0
        for i, balance in enumerate(self.balances):
            moved: Any = 0.0
            if balance.rate != 0:
                if integrals is None:
                    continue
                moved, k = integrals[..., k], k + 1
            terms = _by_jax(balance.charge) if traced else self._terms[i]
            at = partial(terms, flow)
            values = at(t, q, v)
            # As many as there are times, if no term depends on the state.
            still = xp.zeros(np.shape(t))
            charge = sum(values) + still
            gross = sum(map(abs, values)) + abs(moved) + still
            allowed = relative * gross.max(axis=0)
            if exactly:
                rounded = at(*jax.tree.map(_nudged, (t, q, v)))
                moved_on = jax.tree.map(lambda x: x[0] + _nudged(x - x[0]), q)
                erring = at(t, moved_on, jax.tree.map(_nudged, v))
                for other, share in (
                    (rounded, _EPS * (_ERRORS + steps)),
                    (erring, relative),
                ):
                    pairs = zip(values, other, strict=True)
                    change = sum(abs(a - b) for a, b in pairs) / _NUDGE
                    change = xp.where(xp.isfinite(change), change, 0.0)
                    allowed = allowed + share * change.max(axis=0)
            missed = abs(charge - charge[0] - moved)
            allowed = xp.broadcast_to(allowed, missed.shape)
            result.append((balance.name, missed, allowed))
        return result


@kept
def guard_of(structure: Structure, laws: tuple[Law, ...]) -> Guard:
    """The guard of a structure by its energy and laws of its Lagrangian.

    Raises:
        LagrangianError: something that is no law, or one of another system.
    """
    lagrangian = structure.lagrangian
    balances = [_energy(lagrangian)]
    for written in laws:
        if not isinstance(written, Law):
            raise LagrangianError(
                f"`laws` has {written!r}. Pass laws, such as "
                "`lg.noether(system, lg.Translation(x))`."
            )
        law = structure.exponents.law(written)
        foreign = set(law.lagrangian.coordinates) - {*lagrangian.coordinates}
        if foreign:
            raise LagrangianError(
                f"`laws` has a law about `{min(foreign, key=str)}`, which this flow "
                "does not move. Derive it from the Lagrangian that was lowered."
            )
        name = f"charge of {law.symmetry!r}"
        balances.append(Balance(name, law.charge, law.rate))
    return Guard(structure, balances, laws)


def _energy(lagrangian: Any) -> Balance:
    """The energy and how it changes.

    A potential that jumps at some time changes it by a jump, of which no rate tells: it
    is left out of the energy, and does its work as a force. What jumps in the kinetic
    energy or in a damping leaves no balance to look at.
    """
    jumping = [U for U in sp.Add.make_args(lagrangian.V) if _jumps_in_time(U)]
    others = sp.Tuple(lagrangian.T, lagrangian.damping)
    if _jumps_in_time(others) or (jumping and lagrangian.has_blocks):
        return Balance("energy", sp.S.Zero, sp.S.Zero)
    if jumping:
        pushed, coordinates = sp.Add(*jumping), lagrangian.coordinates
        given = lagrangian.forces
        lagrangian = Lagrangian(
            lagrangian.T,
            lagrangian.V - pushed,
            damping=lagrangian.damping,
            forces={q: given.get(q, sp.S.Zero) - pushed.diff(q) for q in coordinates},
            dissipation=lagrangian.dissipation,
            constraints=lagrangian.constraints.expressions,
            coordinates=coordinates,
        )
    law = noether(lagrangian, TimeTranslation())
    return Balance("energy", law.charge, law.rate)


def _jumps_in_time(expression: Any) -> bool:
    return any(f.has(time) for f in expression.atoms(*KINKED))


def _nudged(x: Any) -> Any:
    """Each number of a state changed by a small share, every other one downwards."""
    signs = (-1.0) ** np.arange(x.shape[-1]) if np.ndim(x) else 1.0
    return x * (1 + _NUDGE * signs)


def _explained(tol: float, steps: Any) -> Any:
    """By how much, of its size, a balance may be off after so many steps."""
    if not is_traced(tol) and np.isinf(tol):
        return _FIXED
    return (tol + 2 * _EPS) * (_ERRORS + steps)


def failure(broken: Broken, t: float, trajectory: Any) -> Exception:
    """The error of a path that breaks a balance."""
    return IntegrationFailed(
        f"the path breaks the balance of the {broken.name} by {broken.missed:.2g} at "
        f"t = {t:g}, where the tolerance explains {broken.allowed:.2g}: it is wrong "
        "from there on. Something shorter than a step may have been stepped over: "
        "pass a smaller `max_step` or `tol` (the error's `trajectory` holds the path "
        "until then).",
        trajectory,
    )


def _evaluator(structure: Any, charge: Any) -> Callable[..., list[Any]]:
    """The terms of a charge as a function of the flow, and t, q and v along a path."""
    if not isinstance(structure, Structure) or structure.lagrangian.has_blocks:
        return _by_jax(charge)
    coordinates = structure.lagrangian.coordinates
    symbols = [time, *coordinates, *(c.dot for c in coordinates)]
    parameters = sorted(charge.free_symbols & set(structure.symbols), key=str)
    try:
        terms = InNumpy(sp.Add.make_args(charge), [*symbols, *parameters])
    except NotInNumpy:
        return _of_numbers_by_jax(charge)

    def values(flow: Any, t: Any, q: Any, v: Any) -> list[Any]:
        numbers = [np.float64(flow.parameters[s]) for s in parameters]
        columns = [np.moveaxis(x, -1, 0) for x in (q, v)]
        known = [t, *columns[0], *columns[1], *numbers]
        with np.errstate(all="ignore"):
            return terms(dict(zip([*symbols, *parameters], known, strict=True)))

    return values


def _of_numbers_by_jax(charge: Any) -> Callable[..., list[Any]]:
    """The same where NumPy lacks a function; of one path, or of many members'."""
    terms = sp.Add.make_args(charge)

    def values(flow: Any, t: Any, q: Any, v: Any) -> list[Any]:
        with float64():
            found = [flow.evaluate(term, q, v, jnp.asarray(t)) for term in terms]
            return known([jnp.broadcast_to(x, np.shape(t)) for x in found])

    return values


def _by_jax(charge: Any) -> Callable[..., list[Any]]:
    terms = sp.Add.make_args(sp.sympify(charge))

    def values(flow: Any, t: Any, q: Any, v: Any) -> list[Any]:
        with float64():

            def at(state: Any) -> Any:
                found = [flow.evaluate(term, *state) for term in terms]
                return [jnp.sum(jnp.asarray(x, jnp.float64)) for x in found]

            states = q, v, jnp.asarray(t)
            # Networks are large: one state after another.
            each = jax.lax.map if isinstance(q, dict) else lambda f, x: jax.vmap(f)(x)
            return known(each(at, states))

    return values
