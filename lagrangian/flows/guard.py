"""Runs guarded by their own laws: a path that breaks the balance of one is wrong.

The engine knows the energy of a system, what moves it (forces, friction, explicit
time), and so how it must change along any motion. A solver that steps over a barrier,
or whose errors add up, breaks that balance: charge - charge(0) - (integral of the
rate) is then no longer zero. This is checked after every run, at the output times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.symmetry import TimeTranslation
from lagrangian.symbolic.laws.noether import Law, noether

#: A balance may be off by so many errors of one step, and by one more for each step.
_ERRORS = 100
#: Fixed steps answer for no tolerance, but what breaks a law by so much is no motion.
_FIXED = 0.5
#: At most so many output times are looked at before one is found to be wrong.
_LOOKS = 256

_EPS = np.finfo(float).eps
#: A relative change of a state, small for its functions and large for rounding.
_NUDGE = 2.0**-26

#: Functions that NumPy has, so that nothing need be compiled to evaluate them.
_IN_NUMPY = (
    *(sp.sin, sp.cos, sp.tan, sp.asin, sp.acos, sp.atan, sp.atan2, sp.exp, sp.log),
    *(sp.sinh, sp.cosh, sp.tanh, sp.asinh, sp.acosh, sp.atanh, sp.Abs, sp.sign),
)


class Balance(NamedTuple):
    """A charge and its rate of change along every motion."""

    name: str
    charge: Any
    rate: Any


class Broken(NamedTuple):
    """The first output time at which a balance does not hold, and by how much."""

    index: int
    name: str
    missed: float
    allowed: float


class Guard:
    """The balances that the paths of a flow must keep.

    Args:
        flow: the flow.
        laws: laws of its Lagrangian beside that of the energy.

    Raises:
        LagrangianError: something that is no law, or one of another system.
    """

    def __init__(self, flow: Any, laws: Sequence[Law] = ()):
        self.flow = flow
        energy = noether(flow.lagrangian, TimeTranslation())
        self.balances = [Balance("energy", energy.charge, energy.rate)]
        for law in laws:
            if not isinstance(law, Law):
                raise LagrangianError(
                    f"`laws` has {law!r}. Pass laws, such as "
                    "`lg.noether(system, lg.Translation(x))`."
                )
            foreign = set(law.lagrangian.coordinates) - {*flow.lagrangian.coordinates}
            if foreign:
                raise LagrangianError(
                    f"`laws` has a law about `{min(foreign, key=str)}`, which this "
                    "flow does not move. Derive it from the Lagrangian that was "
                    "lowered."
                )
            name = f"charge of {law.symmetry!r}"
            self.balances.append(Balance(name, law.charge, law.rate))
        self.rates = tuple(b.rate for b in self.balances if b.rate != 0)

    @cached_property
    def _terms(self) -> list[Callable[..., list[Any]]]:
        return [_evaluator(self.flow, b.charge) for b in self.balances]

    def broken(
        self, t: Any, q: Any, v: Any, integrals: Any, tol: float, steps: Any
    ) -> Broken | None:
        """The first break along a path, of arrays with the times first.

        Args:
            integrals: of `rates`; None if the solver did not compute them, and only
                charges that are constant are checked.
            tol: of each step; infinite for fixed steps.
        """
        path = (t, q, v, integrals)
        if len(t) > _LOOKS:
            some = np.linspace(0, len(t) - 1, _LOOKS).astype(int)
            path = jax.tree.map(lambda x: x[some], path)
        if self._first(*path, tol, steps) is None:
            return None
        exactly = bool(np.isfinite(tol))
        return self._first(t, q, v, integrals, tol, steps, exactly)

    def _first(
        self,
        t: Any,
        q: Any,
        v: Any,
        integrals: Any,
        tol: float,
        steps: Any,
        exactly: bool = False,
    ) -> Broken | None:
        first: Broken | None = None
        found = self.missed(t, q, v, integrals, tol, steps, exactly)
        for name, missed, allowed in found:
            wrong = np.flatnonzero(~(missed <= allowed))
            if len(wrong) and (first is None or wrong[0] < first.index):
                i = int(wrong[0])
                first = Broken(i, name, float(missed[i]), float(allowed[i]))
        return first

    def kept(
        self, flow: Any, start: Any, end: Any, integrals: Any, tol: float, steps: Any
    ) -> Any:
        """Whether the balances hold between two states; a JAX function.

        Args:
            flow: the guarded one, perhaps with other parameters.
            start, end: (q, v, t).
        """
        relative, kept, k = _explained(tol, steps), jnp.asarray(True), 0
        for balance in self.balances:
            moved: Any = 0.0
            if balance.rate != 0:
                moved, k = integrals[k], k + 1
            terms = sp.Add.make_args(balance.charge)
            first, last = (
                [jnp.asarray(flow.evaluate(term, *at)) for term in terms]
                for at in (start, end)
            )
            rounded = tuple(map(_nudged, end))
            erring = start[0] + _nudged(end[0] - start[0]), _nudged(end[1]), end[2]
            gross = jnp.maximum(sum(map(jnp.abs, first)), sum(map(jnp.abs, last)))
            allowed = relative * (gross + jnp.abs(moved))
            shares = _EPS * (_ERRORS + steps), relative
            for state, share in zip((rounded, erring), shares, strict=True):
                other = [flow.evaluate(term, *state) for term in terms]
                change = sum(jnp.abs(a - b) for a, b in zip(last, other, strict=True))
                allowed += share * change / _NUDGE
            missed = jnp.abs(sum(last) - sum(first) - moved)
            kept &= missed <= allowed
        return kept

    def missed(
        self,
        t: Any,
        q: Any,
        v: Any,
        integrals: Any,
        tol: float,
        steps: Any,
        exactly: bool = False,
    ) -> list[tuple[str, Any, Any]]:
        """For each balance, what is missing from it at each time, and what may be.

        As far as the tolerance and rounding can explain it: relative to the largest
        sum of the sizes of the charge's terms. The times are the first axis.

        Args:
            exactly: whether the errors of the states are followed into the charge:
                their rounding, which matters for an angle after a million turns, and
                `tol` of what has moved, for an energy that grows steeply with it.
        """
        relative = np.asarray(_explained(tol, steps))
        result, k = [], 0
        for balance, terms in zip(self.balances, self._terms, strict=True):
            moved: Any = 0.0
            if balance.rate != 0:
                if integrals is None:
                    continue
                moved, k = integrals[..., k], k + 1
            values = terms(t, q, v)
            # As many as there are times, if no term depends on the state.
            charge = sum(values) + np.zeros(np.shape(t))
            gross = sum(map(np.abs, values)) + np.abs(moved) + np.zeros(np.shape(t))
            allowed = relative * gross.max(axis=0)
            if exactly:
                rounded = terms(*jax.tree.map(_nudged, (t, q, v)))
                moved_on = jax.tree.map(lambda x: x[0] + _nudged(x - x[0]), q)
                erring = terms(t, moved_on, jax.tree.map(_nudged, v))
                for other, share in (
                    (rounded, _EPS * (_ERRORS + steps)),
                    (erring, relative),
                ):
                    pairs = zip(values, other, strict=True)
                    change = sum(np.abs(a - b) for a, b in pairs) / _NUDGE
                    change = np.where(np.isfinite(change), change, 0.0)
                    allowed = allowed + share * change.max(axis=0)
            missed = np.abs(charge - charge[0] - moved)
            result.append(
                (balance.name, missed, np.broadcast_to(allowed, missed.shape))
            )
        return result


def _nudged(x: Any) -> Any:
    """Each number of a state changed by a small share, every other one downwards."""
    signs = (-1.0) ** np.arange(x.shape[-1]) if np.ndim(x) else 1.0
    return x * (1 + _NUDGE * signs)


def _explained(tol: float, steps: Any) -> Any:
    """By how much, of its size, a balance may be off after so many steps."""
    if np.isinf(tol):
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


def _evaluator(flow: Any, charge: Any) -> Callable[..., list[Any]]:
    """The terms of a charge as a function of t, q and v along a path."""
    terms = sp.Add.make_args(sp.sympify(charge))
    lagrangian = flow.lagrangian
    plain = not lagrangian.has_blocks and all(
        isinstance(f, _IN_NUMPY) for f in charge.atoms(sp.Function)
    )
    if not plain or charge.has(sp.Piecewise):
        return _by_jax(flow, terms)
    parameters = {s: value for s, value in flow.parameters.items() if charge.has(s)}
    symbols = [time, *lagrangian.coordinates, *(c.dot for c in lagrangian.coordinates)]
    symbols += parameters
    stand_ins = [sp.Dummy() for _ in symbols]
    plain_terms = sp.Tuple(*terms).xreplace(dict(zip(symbols, stand_ins, strict=True)))
    function = sp.lambdify(stand_ins, list(plain_terms), "numpy", cse=True)
    numbers = [np.asarray(value, np.float64) for value in parameters.values()]

    def values(t: Any, q: Any, v: Any) -> list[Any]:
        columns = [np.moveaxis(x, -1, 0) for x in (q, v)]
        with np.errstate(all="ignore"):
            return function(t, *columns[0], *columns[1], *numbers)

    return values


def _by_jax(flow: Any, terms: Sequence[Any]) -> Callable[..., list[Any]]:
    def values(t: Any, q: Any, v: Any) -> list[Any]:
        with jax.enable_x64(True):

            @jax.vmap
            def along(q: Any, v: Any, t: Any) -> Any:
                found = [flow.evaluate(term, q, v, t) for term in terms]
                return [jnp.sum(jnp.asarray(x, jnp.float64)) for x in found]

            return [np.asarray(x) for x in along(q, v, jnp.asarray(t))]

    return values
