"""A computed path of fields: its states, and any quantity along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.flows.path import Path, numbers
from lagrangian.flows.series import series
from lagrangian.flows.to_xarray import Labelled
from lagrangian.lowering.platform import float64
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.fields import Field, real_parts
from lagrangian.symbolic.laws.noether import Law


class FieldTrajectory(Path):
    """Fields at the output times, in float64; made by `lg.FieldFlow`.

    Attributes:
        flow: whose path it is.
        t: times, shape (times,).
        q, v: components and their time derivatives, shape (times, components, *points).
        steps: how many steps the solver took.

    `path[phi]`, and `path[phi.d("t")]` or any other derivative, has shape
    (times, *points); it is complex for a complex field.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    >>> flow = lg.lower(wave, interval=(0, 1), points=8)
    >>> path = flow.integrate({phi: 0.0}, {phi: 1.0}, t=(0, 2), points=3)
    >>> path[phi].round(9)[-1].tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    """

    def __init__(
        self, flow: Any, t: np.ndarray, q: np.ndarray, v: np.ndarray, steps: int
    ):
        self.flow, self.t, self.q, self.v, self.steps = flow, t, q, v, steps

    _next = "`path[phi]`, `.energy_drift`, `.charge(law)`, `.plot()`, `.save(file)`"

    def __str__(self) -> str:
        return (
            f"FieldTrajectory({self.flow}; {len(self.t)} times in "
            f"[{self.t[0]:g}, {self.t[-1]:g}]; {self.steps} steps)"
        )

    def __getitem__(self, symbol: Field) -> np.ndarray:
        """A field or a derivative of it along the path.

        Args:
            symbol: a `Field` of the theory, up to the second derivative by time.

        Returns:
            float64, or complex128 for a complex field, of shape (times, *points).

        Raises:
            CannotLower: another field.
        """
        if symbol.is_real:
            return self.evaluate(symbol)
        u, v = map(self.evaluate, real_parts(symbol))
        return u - 1j * v if symbol.conjugated else u + 1j * v

    def labelled(self) -> dict[str, Labelled]:
        """The components, their time derivatives and the energy."""
        axes = tuple(map(str, self.flow.domain.space))
        found: dict[str, Labelled] = {}
        for i, phi in enumerate(self.flow.components):
            found[phi.name] = axes, self.q[:, i]
            found[f"{phi.name}.d(t)"] = axes, self.v[:, i]
        return found | {"energy": ((), self.energy)}

    def grid(self) -> dict[str, np.ndarray]:
        """The coordinates of the points by space variable."""
        domain = self.flow.domain
        return {
            str(x): np.moveaxis(points, i, 0).reshape(points.shape[i], -1)[:, 0]
            for i, (x, points) in enumerate(domain.grid.items())
        }

    def described(self) -> dict[str, Any]:
        """The density, and the parameters as JSON."""
        return {
            "density": str(self.flow.theory.density),
            "parameters": numbers(self.flow.parameters),
        }

    def plot(self) -> Any:
        """A Matplotlib figure of every component over space and time.

        In more than one space dimension, of the last time.
        """
        from lagrangian.plots import plot_fields

        grid, space = list(self.grid().values()), list(map(str, self.flow.domain.space))
        if len(grid) == 1:
            shown = {phi.name: self[phi].T for phi in self.flow.components}
            return plot_fields(shown, [*grid, self.t], [*space, "t"])
        shown = {
            phi.name: self[phi][-1].reshape(*map(len, grid[:2]), -1)[..., 0]
            for phi in self.flow.components
        }
        return plot_fields(shown, grid[:2], space[:2])

    def until(self, index: int) -> FieldTrajectory:
        """The path before one of its output times."""
        parts = (x[:index] for x in (self.t, self.q, self.v))
        return FieldTrajectory(self.flow, *parts, self.steps)

    def _along(self, function: Callable[..., Any]) -> np.ndarray:
        with float64():
            found = jax.vmap(function)(self.q, self.v, jnp.asarray(self.t))
            return series(np.asarray(found))

    def evaluate(self, expression: Expression) -> np.ndarray:
        """The real part of an expression, shape (times, *points).

        Args:
            expression: as for `FieldFlow.evaluate`.

        Returns:
            float64 of shape (times, *points).

        Raises:
            CannotLower: as `FieldFlow.evaluate`.
        """
        return self._along(lambda q, v, t: self.flow.evaluate(expression, q, v, t))

    def integral(self, expression: Expression) -> np.ndarray:
        """The integral of an expression over the domain at each time.

        Args:
            expression: as for `FieldFlow.evaluate`.

        Returns:
            float64 of shape (times,).

        Raises:
            CannotLower: as `FieldFlow.evaluate`.
        """
        return self._along(lambda q, v, t: self.flow.integral(expression, q, v, t))

    def charge(self, law: Law) -> np.ndarray:
        """The charge of a law at each time: the integral of J^t.

        On a periodic domain its rate is the integral of the divergence, if the current
        itself is periodic: `path.integral(law.divergence)`.

        Args:
            law: of the theory of this path.

        Returns:
            float64 of shape (times,).

        Raises:
            LagrangianError: fields that are not over time.
        """
        return self.integral(law.charge)

    @property
    def energy(self) -> np.ndarray:
        """The energy at each time: the integral of T^t_t."""
        return self.integral(self.flow.theory.energy_density)

    @property
    def energy_drift(self) -> float:
        """The largest |E(t) - E(0)|, relative to the largest integral of |T^t_t|.

        Zero where nothing moves.
        """
        size = self.integral(sp.Abs(self.flow.theory.real_form.energy_density)).max()
        drift = np.abs(self.energy - self.energy[0]).max()
        return float(drift / size) if drift else 0.0
