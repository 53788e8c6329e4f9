"""Field theories on a periodic domain as flows, by the method of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.errors import CannotLower, InvalidLagrangian, LagrangianError
from lagrangian.flows.arguments import (
    Array,
    State,
    Times,
    check_tolerance,
    output_times,
    whole_number,
)
from lagrangian.flows.fields.field_structure import FieldStructure, energy_guard
from lagrangian.flows.fields.field_trajectory import FieldTrajectory
from lagrangian.flows.fields.periodic import PeriodicDomain
from lagrangian.flows.solvers.solver import Demands, Solver, solve, stopped_early
from lagrangian.flows.structure import Parametric
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.kernels.linear_solve import solve_mass
from lagrangian.lowering.platform import float64
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.fields import Field, in_real_parts
from lagrangian.symbolic.algebra.shown import few
from lagrangian.symbolic.mechanics.field_theory import FieldTheory


@jax.tree_util.register_pytree_node_class
class FieldFlow(AtPrompt, Parametric):
    """The motion of a field theory on a periodic domain; made by `lower`.

    An immutable pytree whose leaves are its parameters, as `Flow` is.

    The action is discretised, not the equations: the density is summed over the points
    of a uniform grid, with phi_x = D phi for the Fourier differentiation matrix D
    (Trefethen, "Spectral Methods in MATLAB", chapter 3). D is antisymmetric, so that
    the semi-discrete equations are those of a Lagrangian,

        d/dt dL/d(phi_t) = dL/dphi - D dL/d(phi_x),

    and its charges follow from its symmetries. Where they hold for the density:

    - the energy, and the charge of a motion xi that is linear in the fields with
      constant coefficients (a phase, an internal rotation, a shift), stay constant to
      the tolerance of the time integration, at any number of points;
    - momentum, and the charge of any other motion, stay constant up to the error of
      interpolation and aliasing, which falls faster than any power of the number of
      points where the fields are smooth and periodic.

    Attributes:
        theory: the `FieldTheory`.
        components: the real fields of the state, in their order; a complex field gives
            its real part and its imaginary part.
        domain: the `PeriodicDomain`; `domain.grid[x]` are the coordinates of the
            points, shape (points,) in one space dimension, (points, points) in two.

    A state is a pair (q, v) of the components and their time derivatives, arrays of
    shape (components, *points).

    Raises:
        CannotLower, InvalidLagrangian: what `lower` raises them for.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    >>> flow = lg.lower(wave, interval=(0, 1), points=8)
    >>> print(flow)
    FieldFlow(phi; 8 points on [0, 1); float64, cpu)
    >>> flow.domain.grid[phi.over[1]][:3].tolist()
    [0.0, 0.125, 0.25]
    """

    def __init__(
        self,
        theory: FieldTheory,
        parameters: Mapping[Any, Any],
        interval: Sequence[Any] | np.ndarray | None,
        points: int | Sequence[int] | None,
    ):
        domain = _domain(theory, interval, points)
        self.structure = FieldStructure(theory, domain, parameters)
        self.parameters = dict(parameters)
        matrix, forcing, fluxes = self.structure.system
        names = [phi.name for phi in self.components]
        still = self.structure.still
        moving = [jet.d(time) for jet in still]
        rows = zip(names, matrix.tolist(), forcing, fluxes, strict=True)
        equations = {
            f"equation for `{name}`": sp.Tuple(*row, force, *flux.values())
            for name, row, force, flux in rows
        }
        check_lowerable(
            {"density": theory.real_form.density} | equations,
            [*still, *moving, *theory.variables, *self.parameters],
        )
        self._check_regular()

    @property
    def theory(self) -> FieldTheory:
        """The `FieldTheory`."""
        return self.structure.theory

    @property
    def components(self) -> tuple[Any, ...]:
        """The real fields of the state, in their order."""
        return self.structure.components

    @property
    def domain(self) -> PeriodicDomain:
        """The `PeriodicDomain`."""
        return self.structure.domain

    _next = "`.integrate({phi: ...}, {phi: ...}, t=(0, 1))`, `.energy(q, v)`"
    _engine = frozenset(
        "field sizes structure tree_flatten tree_unflatten evaluate_moving".split()
    )

    def __str__(self) -> str:
        names = few(phi.name for phi in self.components)
        return f"FieldFlow({names}; {self.domain}; float64, {jax.default_backend()})"

    def _check_regular(self) -> None:
        """Raise if the matrix before phi_tt is singular at a state in general position.

        Its rank is the largest there.
        """
        matrix = self.structure.system[0]
        chance = np.random.default_rng(0)
        values = {
            s: float(np.mean(self.parameters.get(s, chance.uniform(0.3, 0.7))))
            for s in sorted(matrix.free_symbols, key=sp.default_sort_key)
        }
        with float64():
            numbers = np.array(evaluate([matrix], values)[0], np.float64)
        if not np.isfinite(numbers).all():
            return
        _, sizes, directions = np.linalg.svd(numbers)
        if sizes[-1] > 1e-12 * sizes[0]:
            return
        largest = int(np.argmax(np.abs(directions[-1])))
        raise InvalidLagrangian(
            "the density is degenerate: no second time derivative follows for "
            f"`{self.components[largest]}`. Add a term in "
            f"`{self.components[largest].d(time)}`, as a gauge-fixing term is."
        )

    def _jet(self, symbol: Any, q: Any, v: Any, t: Any) -> Any:
        """A component or a derivative of it at every point."""
        if symbol.base not in self.components:
            raise CannotLower(
                f"this flow has no field `{symbol.base}`. It has "
                f"{', '.join(f'`{phi}`' for phi in self.components)}. Write one of "
                "them."
            )
        order = symbol.index.count(time.name)
        if order > 2:
            raise CannotLower(
                f"`{symbol}` is above the second time derivative. Write it by the "
                "equations of motion, which end there."
            )
        state = self.acceleration(q, v, t) if order == 2 else (q, v)[order]
        array = state[self.components.index(symbol.base)]
        for name in symbol.index:
            if name != time.name:
                array = self.domain.derivative(array, sp.Symbol(name, real=True))
        return array

    def _evaluate(self, expressions: list[Any], q: Any, v: Any, t: Any) -> list[Any]:
        found = sp.Tuple(*expressions).atoms(Field)
        jets = {
            symbol: self._jet(symbol, q, v, t)
            for symbol in sorted(found, key=sp.default_sort_key)
        }
        grid = {x: jnp.asarray(at, q.dtype) for x, at in self.domain.grid.items()}
        values = {time: t, **self.parameters, **grid, **jets}
        results = evaluate(expressions, values)
        return [jnp.broadcast_to(result, self.domain.shape) for result in results]

    def acceleration(self, q: Array, v: Array, t: ArrayLike = 0.0) -> Any:
        """The second time derivatives, shape (components, *points); a JAX function.

        Args:
            q, v: the state, of shape (components, *points) each.
            t: the time, a number.

        Returns:
            float64 of shape (components, *points).
        """
        matrix, forcing, fluxes = self.structure.system
        size = len(self.components)
        flowing = [flux for by_space in fluxes for flux in by_space.values()]
        flat = self._evaluate([*matrix, *forcing, *flowing], q, v, t)
        entries = [flat[i * size : (i + 1) * size] for i in range(size)]
        right = flat[size * size : size * (size + 1)]
        rest = iter(flat[size * (size + 1) :])
        for i, by_space in enumerate(fluxes):
            for x, flux in by_space.items():
                values = next(rest)
                if flux != 0:
                    right[i] = right[i] - self.domain.derivative(values, x)
        return jnp.stack(solve_mass(matrix, entries, right))

    def evaluate(
        self, expression: Expression, q: Array, v: Array, t: ArrayLike = 0.0
    ) -> Any:
        """The real part of an expression at every point; a JAX function.

        Args:
            expression: in the fields of the theory and their derivatives (of any order
                in space, up to the second in time), its variables and parameters.
            q, v: the state, of shape (components, *points) each.
            t: the time, a number.

        Returns:
            float64 of shape (*points).

        Raises:
            CannotLower: another field, a third derivative by time, a symbol without a
                value.
        """
        return self._evaluate([in_real_parts(expression)], q, v, t)[0]

    def evaluate_moving(
        self, expression: Expression, q: Array, v: Array, a: Array, t: ArrayLike
    ) -> Any:
        """As `evaluate`, which knows the accelerations `a` itself."""
        return self.evaluate(expression, q, v, t)

    def sizes(self, state: Array) -> Any:
        """The largest size of each component, in the layout of the state."""
        axes = tuple(range(1, state.ndim))
        return jnp.broadcast_to(jnp.abs(state).max(axes, keepdims=True), state.shape)

    def integral(
        self, expression: Expression, q: Array, v: Array, t: ArrayLike = 0.0
    ) -> Any:
        """The integral of an expression over the domain; a JAX function.

        Args:
            expression, q, v, t: as for `evaluate`, with the same shapes.

        Returns:
            A float64 scalar.

        Raises:
            CannotLower: as `evaluate`.
        """
        return self.domain.integral(self.evaluate(expression, q, v, t))

    def energy(self, q: Array, v: Array, t: ArrayLike = 0.0) -> Any:
        """The integral of T^t_t at a state; a JAX function.

        Args:
            q, v, t: as for `evaluate`, with the same shapes.

        Returns:
            A float64 scalar.
        """
        return self.integral(self.theory.energy_density, q, v, t)

    def integrate(
        self,
        q0: State,
        v0: State,
        t: Times,
        *,
        solver: Solver | diffrax.AbstractSolver | None = None,
        tol: float = 1e-9,
        points: int = 201,
        max_steps: int = 1_000_000,
    ) -> FieldTrajectory:
        """One trajectory in float64, whatever the global JAX configuration is.

        Args:
            q0, v0: the fields and their time derivatives at the start, as mappings from
                fields to arrays over the grid, numbers, or functions that take the
                arrays of `domain.grid` in their order; or as arrays of shape
                (components, *points).
            t: the output times, increasing; a pair is an interval, of which `points`
                evenly spaced times are kept.
            solver: a solver of this library or of diffrax; `diffrax.Dopri8()` if None.
            tol: of each step, relative to the sizes of each field and its velocity.
            points: how many output times an interval has.
            max_steps: where to give up.

        Returns:
            A `FieldTrajectory`.

        Raises:
            IntegrationFailed: `max_steps` did not reach the end, the state stopped
                being finite, or the energy did not change as its balance says; carries
                the trajectory until then.
            LagrangianError: an argument that cannot be, named.
        """
        times = output_times(t, points)
        check_tolerance(tol)
        with float64():
            state = (self._pack(q0, "q0"), self._pack(v0, "v0"))
            solver = diffrax.Dopri8() if solver is None else solver
            guard = energy_guard(self.structure)
            most = whole_number(max_steps, "max_steps", 1)
            demands = Demands(tol, None, np.inf, most, guard.rates)
            found = solve(self, *state, times, solver, demands)
        path = FieldTrajectory(self, found.t, found.q, found.v, found.steps)
        guard.check(self, found, solver, tol, path)
        if found.stopped:
            raise stopped_early(found, path)
        return path

    def _pack(self, state: Any, what: str) -> Any:
        shape = (len(self.components), *self.domain.shape)
        if not isinstance(state, Mapping):
            array = jnp.asarray(state, jnp.float64)
            if array.shape != shape:
                raise LagrangianError(
                    f"`{what}` has shape {array.shape}; expected {shape}, (components, "
                    "*points)."
                )
            return array
        rows: list[Any] = []
        for phi in self.theory.fields:
            if phi.conjugated:
                continue
            if phi not in state:
                raise LagrangianError(
                    f"`{what}` has no value for `{phi}`. Pass `{{{phi}: 0.0, ...}}`."
                )
            given = state[phi]
            value = given(*self.domain.grid.values()) if callable(given) else given
            value = np.asarray(value)
            if phi.is_real and np.iscomplexobj(value):
                raise LagrangianError(
                    f"`{what}` is complex for the real field `{phi}`. Make it with "
                    f'`lg.fields("{phi}", over=..., complex=True)`.'
                )
            if value.shape not in ((), self.domain.shape):
                raise LagrangianError(
                    f"`{what}` has shape {value.shape} for `{phi}`; expected "
                    f"{self.domain.shape}, that of the grid."
                )
            rows += [value] if phi.is_real else [value.real, value.imag]
        return jnp.stack(
            [
                jnp.broadcast_to(jnp.asarray(r, jnp.float64), self.domain.shape)
                for r in rows
            ]
        )


def _domain(theory: FieldTheory, interval: Any, points: Any) -> PeriodicDomain:
    space = tuple(x for x in theory.variables if x != time)
    if time not in theory.variables or not space:
        raise CannotLower(
            "`lower` needs fields over time and at least one space variable, such as "
            '`lg.fields("phi", over="t x")`; these are over '
            f"{', '.join(f'`{x}`' for x in theory.variables)}."
            " Pass a theory of such fields."
        )
    if interval is None or points is None:
        raise CannotLower(
            "`lower` needs a periodic domain for a field theory. Pass "
            "`interval=(0.0, 1.0), points=64`."
        )
    return PeriodicDomain(space, interval, points)
